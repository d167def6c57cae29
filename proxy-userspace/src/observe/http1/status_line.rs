//! HTTP/1: the status line, one byte at a time; the reason is skipped over.
//!
//! ```text
//! (CR | LF)*  "HTTP/1." digit  SP  digit{3}  (SP reason)?  (CRLF | LF)
//! ```

use memchr::memchr;

use super::{super::Lost, fields::MAX_HEAD, kept::split, request_line::VERSION};

/// Follows a server's bytes through a status line.
#[derive(Debug)]
pub(super) struct StatusLine {
    expecting: Expecting,
    status: u16,
    length: usize,
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Expecting {
    /// The byte of `VERSION` at this index; before the first, empty lines too.
    Version { index: u8 },
    /// The minor version's digit.
    Minor,
    /// The space before the status.
    Space,
    /// The status's digit at this index.
    Status { index: u8 },
    /// The space before the reason, or the line's end.
    StatusEnd,
    /// The reason, or the line's end.
    Reason,
    /// The LF after the line's CR.
    LineLf,
}

impl StatusLine {
    /// Before the first byte.
    pub(super) const fn new() -> Self {
        Self { expecting: Expecting::Version { index: 0 }, status: 0, length: 0 }
    }

    /// Whether nothing has come but empty lines, and nothing but that is in these bytes.
    pub(super) fn is_idle(&self, bytes: &[u8]) -> bool {
        matches!(self.expecting, Expecting::Version { index: 0 })
            && bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// The status, from 100 to 999. Once the line is complete.
    pub(super) const fn status(&self) -> u16 {
        self.status
    }

    /// Bytes in the line so far.
    pub(super) const fn length(&self) -> usize {
        self.length
    }

    /// Takes the next bytes; answers with those behind the line, once it is complete.
    pub(super) fn take<'a>(&mut self, mut bytes: &'a [u8]) -> Result<Option<&'a [u8]>, Lost> {
        use Expecting::{LineLf, Minor, Reason, Space, Status, StatusEnd, Version};
        while let Some((&first, mut rest)) = bytes.split_first() {
            self.expecting = match (self.expecting, first) {
                (StatusEnd | Reason | LineLf, b'\n') => {
                    self.length += 1;
                    return Ok(Some(rest));
                }
                (Version { index: 0 }, b'\r' | b'\n') => Version { index: 0 },
                (Version { index }, _) if VERSION.get(usize::from(index)) == Some(&first) => {
                    if usize::from(index) + 1 == VERSION.len() { Minor } else { Version { index: index + 1 } }
                }
                (Minor, b'0'..=b'9') => Space,
                (Space, b' ') => Status { index: 0 },
                (Status { index }, b'0'..=b'9') => {
                    self.status = self.status * 10 + u16::from(first - b'0');
                    match index {
                        0 | 1 => Status { index: index + 1 },
                        _ if self.status >= 100 => StatusEnd,
                        _ => return Err(Lost::MalformedHttp1),
                    }
                }
                (StatusEnd, b'\r') => LineLf,
                (StatusEnd, b' ') => Reason,
                (Reason, _) => {
                    rest = split(bytes, memchr(b'\n', bytes).unwrap_or(bytes.len())).1;
                    Reason
                }
                _ => return Err(Lost::MalformedHttp1),
            };
            self.length += bytes.len() - rest.len();
            if self.length > MAX_HEAD {
                return Err(Lost::HeadTooLarge);
            }
            bytes = rest;
        }
        Ok(None)
    }
}
