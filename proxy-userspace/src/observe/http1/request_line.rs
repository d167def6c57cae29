//! HTTP/1: the request line; the method and the start of the target are kept.
//!
//! ```text
//! (CRLF | LF)*  method{1,20}  SP  target{1,65536}  SP  "HTTP/1." digit  (CRLF | LF)
//! ```
//!
//! Before the first line there may be two empty lines, with more it is no HTTP; between requests there may
//! be 255.
//!
//! Only the whole line counts: a token, or a token and a word, is how many protocols start
//! (`PING`, `EHLO name`), and they must not be mistaken for HTTP.

use super::{
    super::{MAX_AUTHORITY, Method, Progress, Version},
    kept::{Kept, split},
};

/// Empty lines tolerated before the first request line (RFC 9112, section 2.2, asks for at least one).
const MAX_EMPTY_LINES: u8 = 2;
/// Bytes in a method. The longest registered one, `UPDATEREDIRECTREF`, has 17.
const MAX_METHOD: u8 = 20;
/// Bytes in a request target.
const MAX_TARGET: usize = 64 * 1024;
/// Bytes kept of a target: enough for the longest authority behind a scheme.
const MAX_KEPT_TARGET: usize = MAX_AUTHORITY + "https://".len();
/// Bytes kept of a method: those that are told apart have no more.
const MAX_KEPT_METHOD: usize = "OPTIONS".len();
/// What the version starts with.
pub(super) const VERSION: &[u8] = b"HTTP/1.";

/// Follows a client's bytes through an HTTP/1 request line.
#[derive(Debug)]
pub(super) struct RequestLine {
    expecting: Expecting,
    is_first: bool,
    method: Kept<MAX_KEPT_METHOD>,
    target: Kept<MAX_KEPT_TARGET>,
    version: Version,
    length: usize,
}

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
    Target { length: usize },
    /// The byte of `VERSION` at this index.
    Name { index: u8 },
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
        Self {
            expecting: Expecting::Start { empty_lines: 0 },
            is_first: true,
            method: Kept::new(),
            target: Kept::new(),
            version: Version::Http11,
            length: 0,
        }
    }

    /// Starts anew, after a request.
    pub(super) const fn begin(&mut self) {
        self.expecting = Expecting::Start { empty_lines: 0 };
        self.is_first = false;
        self.method.clear();
        self.target.clear();
        self.version = Version::Http11;
        self.length = 0;
    }

    /// Whether a method has begun to come.
    pub(super) fn is_begun(&self) -> bool {
        !self.method.bytes().is_empty()
    }

    /// Whether nothing of it has come.
    pub(super) const fn is_blank(&self) -> bool {
        self.length == 0
    }

    /// Whether it cannot be followed because its target is too long.
    pub(super) const fn is_too_long(&self) -> bool {
        self.length > MAX_TARGET
    }

    /// Bytes of the line so far, empty lines before it included.
    pub(super) const fn length(&self) -> usize {
        self.length
    }

    /// The method, once its end has come.
    pub(super) fn method(&self) -> Method {
        let is_whole = matches!(self.expecting, Expecting::Target { .. }) || !self.target().is_empty();
        if is_whole && !self.method.is_cut() {
            Method::from_bytes(self.method.bytes())
        } else {
            Method::Other
        }
    }

    /// The start of the target. Once the line is complete.
    pub(super) fn target(&self) -> &[u8] {
        self.target.bytes()
    }

    /// Whether there was more of the target.
    pub(super) const fn is_target_cut(&self) -> bool {
        self.target.is_cut()
    }

    /// The version. Once the line is complete.
    pub(super) const fn version(&self) -> Version {
        self.version
    }

    /// Takes the next bytes, up to the line's end; answers with those behind it as well. `Failed` is for
    /// good; nothing is to be fed after `Matched`.
    pub(super) fn take<'a>(&mut self, mut bytes: &'a [u8]) -> (Progress, &'a [u8]) {
        while let Some((&first, mut rest)) = bytes.split_first() {
            let mut progress = Progress::More;
            if let Expecting::Target { length } = self.expecting
                && first != b' '
            {
                // The longest part of most heads: as much of it at once as there is.
                let room = MAX_TARGET - length;
                let run = bytes.iter().take(room).take_while(|byte| is_visible(**byte)).count();
                let target;
                (target, rest) = split(bytes, run);
                self.target.extend(target);
                self.expecting = Expecting::Target { length: length + run };
                if run == 0 {
                    self.expecting = Expecting::Failed;
                    progress = Progress::Failed;
                }
            } else {
                progress = self.push(first);
            }
            self.length += bytes.len() - rest.len();
            bytes = rest;
            if progress != Progress::More {
                return (progress, bytes);
            }
        }
        (Progress::More, bytes)
    }

    /// Takes the next byte, of anything but a target.
    fn push(&mut self, byte: u8) -> Progress {
        use Expecting::{Digit, Failed, LineEnd, LineLf, Method, Name, Start, StartLf, Target};
        let most_empty_lines = if self.is_first { MAX_EMPTY_LINES } else { u8::MAX };
        self.expecting = match (self.expecting, byte) {
            (LineEnd | LineLf, b'\n') => return Progress::Matched,
            (LineEnd, b'\r') => LineLf,
            (Start { empty_lines }, b'\r') if empty_lines < most_empty_lines => StartLf { empty_lines },
            (Start { empty_lines }, b'\n') if empty_lines < most_empty_lines => {
                Start { empty_lines: empty_lines + 1 }
            }
            (StartLf { empty_lines }, b'\n') => Start { empty_lines: empty_lines + 1 },
            (Start { .. }, _) if is_token(byte) => {
                self.method.extend(&[byte]);
                Method { length: 1 }
            }
            (Method { length }, _) if is_token(byte) && length < MAX_METHOD => {
                self.method.extend(&[byte]);
                Method { length: length + 1 }
            }
            (Method { .. }, b' ') => Target { length: 0 },
            (Target { length: 1.. }, b' ') => Name { index: 0 },
            (Name { index }, _) if VERSION.get(usize::from(index)) == Some(&byte) => {
                if usize::from(index) + 1 == VERSION.len() { Digit } else { Name { index: index + 1 } }
            }
            (Digit, b'0'..=b'9') => {
                self.version = if byte == b'0' { Version::Http10 } else { Version::Http11 };
                LineEnd
            }
            _ => Failed,
        };
        if matches!(self.expecting, Failed) { Progress::Failed } else { Progress::More }
    }
}

/// A byte of a token: `tchar` of RFC 9110, section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

/// A byte of a target, or of a field's name: no control, no space. Bytes above ASCII are sent in practice.
pub(super) const fn is_visible(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a line stands after all its bytes, stopping at the first decision: whole and byte by byte.
    fn follow(bytes: &[u8]) -> Progress {
        let mut whole = RequestLine::new();
        let mut cut = RequestLine::new();
        let (progress, _) = whole.take(bytes);
        let by_bytes =
            bytes.chunks(1).map(|byte| cut.take(byte).0).find(|&progress| progress != Progress::More);
        assert_eq!(by_bytes.unwrap_or(Progress::More), progress, "{bytes:?}");
        assert_eq!((cut.target(), cut.length()), (whole.target(), whole.length()), "{bytes:?}");
        progress
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
    fn a_line_tells_method_target_and_version() {
        let mut line = RequestLine::new();
        let (progress, rest) = line.take(b"\r\nOPTIONS /a?b HTTP/1.0\r\nHost: x");
        assert_eq!((progress, rest), (Progress::Matched, &b"Host: x"[..]));
        assert_eq!((line.method(), line.target()), (Method::Options, &b"/a?b"[..]));
        assert_eq!((line.version(), line.length()), (Version::Http10, 25));
        line.begin();
        assert!(line.is_blank());
        line.take(b"GET\xc3 ");
        line.begin();
        line.take(b"OPTIONSX * HTTP/1.7\n");
        assert_eq!(
            (line.method(), line.target(), line.version()),
            (Method::Other, &b"*"[..], Version::Http11)
        );
    }

    #[test]
    fn a_target_is_bounded() {
        let mut line = b"GET ".to_vec();
        line.resize(line.len() + MAX_TARGET, b'a');
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
