//! HTTP/1: the request line, one byte at a time, nothing stored.
//!
//! ```text
//! (CRLF | LF){0,2}  method{1,20}  SP  target{1,65536}  SP  "HTTP/1." digit  (CRLF | LF)
//! ```
//!
//! Only the whole line counts: a token, or a token and a word, is how many protocols start
//! (`PING`, `EHLO name`), and they must not be mistaken for HTTP.

use super::super::Progress;

/// Empty lines tolerated before the request line (RFC 9112, section 2.2, asks for at least one).
const MAX_EMPTY_LINES: u8 = 2;
/// Bytes in a method. The longest registered one, `UPDATEREDIRECTREF`, has 17.
const MAX_METHOD: u8 = 20;
/// Bytes in a request target.
const MAX_TARGET: u32 = 64 * 1024;
/// What the version starts with.
const VERSION: &[u8] = b"HTTP/1.";

/// Follows a client's bytes through an HTTP/1 request line.
#[derive(Debug)]
pub(super) struct RequestLine(Expecting);

/// What the next byte has to be.
#[derive(Debug, Clone, Copy)]
enum Expecting {
    /// An empty line, or the first byte of the method.
    Start { empty_lines: u8 },
    /// The LF of an empty line.
    StartLf { empty_lines: u8 },
    /// The rest of the method, or the space after it.
    Method { length: u8 },
    /// The target, or the space after it.
    Target { length: u32 },
    /// The byte of `VERSION` at this index.
    Version { index: u8 },
    /// The minor version's digit.
    Digit,
    /// The line's CR or LF.
    LineEnd,
    /// The LF after the line's CR.
    LineLf,
    /// Nothing: this is not HTTP/1.
    Failed,
}

impl RequestLine {
    /// Before the first byte.
    pub(super) const fn new() -> Self {
        Self(Expecting::Start { empty_lines: 0 })
    }

    /// Takes the next byte. `Failed` is for good; nothing is to be pushed after `Matched`.
    pub(super) fn push(&mut self, byte: u8) -> Progress {
        use Expecting::{Digit, Failed, LineEnd, LineLf, Method, Start, StartLf, Target, Version};
        self.0 = match (self.0, byte) {
            (LineEnd | LineLf, b'\n') => return Progress::Matched,
            (LineEnd, b'\r') => LineLf,
            (Start { empty_lines }, b'\r') if empty_lines < MAX_EMPTY_LINES => StartLf { empty_lines },
            (Start { empty_lines }, b'\n') if empty_lines < MAX_EMPTY_LINES => {
                Start { empty_lines: empty_lines + 1 }
            }
            (StartLf { empty_lines }, b'\n') => Start { empty_lines: empty_lines + 1 },
            (Start { .. }, _) if is_token(byte) => Method { length: 1 },
            (Method { length }, _) if is_token(byte) && length < MAX_METHOD => Method { length: length + 1 },
            (Method { .. }, b' ') => Target { length: 0 },
            (Target { length: 1.. }, b' ') => Version { index: 0 },
            (Target { length }, _) if is_target(byte) && length < MAX_TARGET => Target { length: length + 1 },
            (Version { index }, _) if VERSION.get(usize::from(index)) == Some(&byte) => {
                if usize::from(index) + 1 == VERSION.len() { Digit } else { Version { index: index + 1 } }
            }
            (Digit, b'0'..=b'9') => LineEnd,
            _ => Failed,
        };
        if matches!(self.0, Failed) { Progress::Failed } else { Progress::More }
    }
}

/// A byte of a token: `tchar` of RFC 9110, section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// A byte of a target: no control, no space. Bytes above ASCII are sent in practice.
const fn is_target(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a line stands after all its bytes, stopping at the first decision.
    fn follow(bytes: &[u8]) -> Progress {
        let mut line = RequestLine::new();
        for &byte in bytes {
            let progress = line.push(byte);
            if progress != Progress::More {
                return progress;
            }
        }
        Progress::More
    }

    #[test]
    fn request_lines_match() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "GET / HTTP/1.0\n",
            "OPTIONS * HTTP/1.1\r\n",
            "CONNECT example.test:443 HTTP/1.1\r\n",
            "M-SEARCH * HTTP/1.1\r\n",
            "UPDATEREDIRECTREF /r HTTP/1.1\r\n",
            "get http://example.test/\u{e9} HTTP/1.1\r\n",
            "\r\nPOST /a HTTP/1.1\r\n",
            "\r\n\nPOST /a HTTP/1.1\r\n",
        ] {
            assert_eq!(follow(line.as_bytes()), Progress::Matched, "{line:?}");
        }
    }

    #[test]
    fn other_lines_fail() {
        for line in [
            "PING\r\n",
            "EHLO client.test\r\n",
            "GET /index.html\r\n",
            "GET / HTTP/2.0\r\n",
            "GET / HTTP/1.x\r\n",
            "GET / HTTP/1.1 \r\n",
            "GET / HTTP/1.1\rX",
            "GET  / HTTP/1.1\r\n",
            "GET  HTTP/1.1\r\n",
            "GET /a b HTTP/1.1\r\n",
            "GET /\u{7f} HTTP/1.1\r\n",
            " GET / HTTP/1.1\r\n",
            "\r\n\r\n\r\nGET / HTTP/1.1\r\n",
            "\rGET / HTTP/1.1\r\n",
            "ABCDEFGHIJKLMNOPQRSTU",
            "*3\r\n",
            "{}",
            "",
        ] {
            let wanted = if line.is_empty() { Progress::More } else { Progress::Failed };
            assert_eq!(follow(line.as_bytes()), wanted, "{line:?}");
        }
    }

    #[test]
    fn a_sixteen_byte_token_is_not_yet_anything() {
        assert_eq!(follow(b"ABCDEFGHIJKLMNOP"), Progress::More);
    }

    #[test]
    fn a_target_is_bounded() {
        let mut line = b"GET ".to_vec();
        line.resize(line.len() + MAX_TARGET as usize, b'a');
        assert_eq!(follow(&[&line, &b" HTTP/1.1\r\n"[..]].concat()), Progress::Matched);
        line.push(b'a');
        assert_eq!(follow(&line), Progress::Failed);
    }

    #[test]
    fn the_token_bytes_are_those_of_rfc_9110() {
        let tokens: Vec<u8> = (0..=255).filter(|&byte| is_token(byte)).collect();
        let wanted = b"!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~";
        assert_eq!(tokens, wanted);
    }
}
