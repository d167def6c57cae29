//! Exchanges of HTTP, kept as files: `tests/corpus/http/*.txt`.
//!
//! | line | meaning |
//! |---|---|
//! | `# …`, empty | a comment |
//! | `? WORD VALUE…` | what is told of the connection: `protocol`, `requests`, `statuses` (each), `upgraded`, `lost`, `grpc` |
//! | `> TEXT`, `>h HEX` | one write of the client |
//! | `< TEXT`, `<h HEX` | one write of the server, when all before it has arrived |
//! | `> !fin`, `< !fin` | the end of a side |
//!
//! In TEXT, `\r`, `\n`, `\t`, `\\` and `\xHH` stand for a byte, and `\*N(T)` for N times T. A space is a
//! byte, at the line's end too. In HEX, spaces stand for nothing, and `"TEXT"` is without spaces.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};

use crate::peer::steps::unhex;

/// What one side does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The client writes.
    Client(Vec<u8>),
    /// The server writes.
    Server(Vec<u8>),
    /// The client ends its side.
    ClientFin,
    /// The server ends its side.
    ServerFin,
}

/// One exchange.
#[derive(Clone, Debug)]
pub struct Script {
    /// The file's name, without its ending.
    pub name: String,
    /// What is done, in order.
    pub steps: Vec<Step>,
    /// What is told of it: word and values.
    pub told: BTreeMap<String, Vec<String>>,
}

/// The files, in the program itself: it also runs where they are not.
macro_rules! files {
    ($($name:literal)+) => {
        &[$(($name, include_str!(concat!("../corpus/http/", $name, ".txt")))),+]
    };
}

const FILES: &[(&str, &str)] = files! {
    "grpc_unary"
    "http10_keep_alive"
    "http10_with_host"
    "http10_without_host"
    "http1_absolute_form"
    "http1_asterisk_form"
    "http1_bare_line_feeds"
    "http1_bytes_above_127"
    "http1_chunked_both_ways"
    "http1_chunks_that_look_like_http"
    "http1_connect"
    "http1_connect_refused"
    "http1_connect_with_a_length"
    "http1_connection_headers"
    "http1_empty_lines_before_a_request"
    "http1_expectation_declined"
    "http1_expectation_failed"
    "http1_get"
    "http1_half_a_head"
    "http1_half_close_before_the_answer"
    "http1_head_keeps_its_length"
    "http1_head_of_chunked"
    "http1_head_too_large"
    "http1_interim_responses"
    "http1_lengths_that_differ"
    "http1_malformed_after_a_good_request"
    "http1_malformed_chunk_size"
    "http1_malformed_response"
    "http1_no_length_no_body"
    "http1_obs_fold"
    "http1_odd_header_case_and_order"
    "http1_odd_whitespace"
    "http1_pipelined"
    "http1_prefix_of_http2"
    "http1_response_before_the_request_ends"
    "http1_response_to_the_end_of_file"
    "http1_timed_out_by_the_server"
    "http1_too_many_requests"
    "http1_unasked_response"
    "http1_unknown_method"
    "http1_upgrade"
    "http1_upgrade_refused"
    "http1_websocket"
    "http2_extended_connect"
    "http2_get"
    "http2_goaway"
    "http2_head_and_no_content"
    "http2_header_block_too_large"
    "http2_interim_responses"
    "http2_interleaved"
    "http2_malformed_frame"
    "http2_malformed_hpack"
    "http2_padding_priority_and_continuation"
    "http2_post_with_trailers"
    "http2_push"
    "http2_reset_streams"
    "http2_table_sizes"
    "http2_upgrade"
    "http2_without_authority"
    "not_http"
    "server_first"
};

/// All exchanges, by name.
///
/// # Panics
/// When one cannot be read.
#[must_use]
pub fn all() -> Vec<Script> {
    let parse = |(name, text): &(&str, &str)| {
        Script::parse(name, text).unwrap_or_else(|error| panic!("{name}.txt: {error:#}"))
    };
    FILES.iter().map(parse).collect()
}

impl Script {
    /// Reads an exchange.
    ///
    /// # Errors
    /// When a line means nothing; the error names it.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let mut script = Self { name: name.to_owned(), steps: Vec::new(), told: BTreeMap::new() };
        for (index, line) in text.lines().enumerate() {
            script.line(line).with_context(|| format!("line {}", index + 1))?;
        }
        Ok(script)
    }

    fn line(&mut self, line: &str) -> Result<()> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let (mark, rest) = line.split_once(' ').context("expected a mark, a space and a value")?;
        match (mark, rest) {
            ("?", told) => {
                let mut words = told.split_whitespace().map(str::to_owned);
                let word = words.next().context("expected a word")?;
                self.told.insert(word, words.collect());
            }
            (">", "!fin") => self.steps.push(Step::ClientFin),
            ("<", "!fin") => self.steps.push(Step::ServerFin),
            (">", text) => self.steps.push(Step::Client(unescape(text)?)),
            ("<", text) => self.steps.push(Step::Server(unescape(text)?)),
            (">h", hex) => self.steps.push(Step::Client(from_hex(hex)?)),
            ("<h", hex) => self.steps.push(Step::Server(from_hex(hex)?)),
            (other, _) => bail!("expected '#', '?', '>', '<', '>h' or '<h', got '{other}'"),
        }
        Ok(())
    }

    /// The same exchange with every byte a write of its own.
    #[must_use]
    pub fn byte_by_byte(&self) -> Self {
        let cut = |step: &Step| match step {
            Step::Client(bytes) => bytes.iter().map(|byte| Step::Client(vec![*byte])).collect(),
            Step::Server(bytes) => bytes.iter().map(|byte| Step::Server(vec![*byte])).collect(),
            end @ (Step::ClientFin | Step::ServerFin) => vec![end.clone()],
        };
        Self { steps: self.steps.iter().flat_map(cut).collect(), ..self.clone() }
    }

    /// How many bytes are sent in all.
    #[must_use]
    pub fn len(&self) -> usize {
        let len = |step: &Step| match step {
            Step::Client(bytes) | Step::Server(bytes) => bytes.len(),
            Step::ClientFin | Step::ServerFin => 0,
        };
        self.steps.iter().map(len).sum()
    }

    /// Whether nothing is sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let kind = rest.chars().next().context("a backslash at the end")?;
        rest = &rest[kind.len_utf8()..];
        match kind {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            '\\' => bytes.push(b'\\'),
            'x' => {
                let (byte, after) = rest.split_at_checked(2).context("expected two digits after \\x")?;
                bytes.extend(unhex(byte)?);
                rest = after;
            }
            '*' => {
                let (count, after) = rest.split_once('(').context("expected \\*N(T)")?;
                let (text, after) = after.split_once(')').context("expected \\*N(T)")?;
                bytes.extend(unescape(text)?.repeat(count.parse().context("expected a number after \\*")?));
                rest = after;
            }
            other => bail!("unknown escape '\\{other}'"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

fn from_hex(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        match word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) {
            Some(text) => bytes.extend(unescape(text)?),
            None => bytes.extend(unhex(word).with_context(|| format!("'{word}'"))?),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{FILES, Script, Step, all};

    #[test]
    fn a_script_is_read_line_by_line() {
        let text = "# what\n\n? statuses 200 404\n> GET\\r\\n\\x00\\*3(ab)\n<h 0001 \"x\\n\" ff\n< !fin\n";
        let script = Script::parse("one", text).unwrap();
        assert_eq!(script.told["statuses"], ["200", "404"]);
        let client = Step::Client(b"GET\r\n\0ababab".to_vec());
        assert_eq!(script.steps, [client, Step::Server(b"\0\x01x\n\xff".to_vec()), Step::ServerFin]);
        assert_eq!(script.len(), 17);
        assert_eq!(script.byte_by_byte().steps.len(), 18);
    }

    #[test]
    fn a_line_that_means_nothing_is_named() {
        let error = Script::parse("one", "> a\n! b\n").unwrap_err();
        assert_eq!(format!("{error:#}"), "line 2: expected '#', '?', '>', '<', '>h' or '<h', got '!'");
    }

    #[test]
    fn every_file_is_listed_and_can_be_read() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/http");
        let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().file_name());
        let mut files: Vec<_> = files.map(|name| name.into_string().unwrap()).collect();
        files.sort();
        let listed: Vec<_> = FILES.iter().map(|(name, _)| format!("{name}.txt")).collect();
        assert_eq!(listed, files);
        assert!(all().iter().all(|script| !script.is_empty()));
    }
}
