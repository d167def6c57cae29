//! The header fields of a message, and the trailers: what is of no interest is skipped over, not stored.
//!
//! ```text
//! (name ":" OWS value OWS (CRLF | LF) (fold (CRLF | LF))*)*  (CRLF | LF)       fold: (SP | HTAB) value
//! ```
//!
//! A name may have any visible byte: what is no token is no name that matters. Whitespace in it or behind
//! it is malformed, because recipients differ about what such a field says.

use memchr::{memchr, memchr2};

use super::{
    super::Lost,
    kept::{Kept, split},
    request_line::is_visible,
};

/// Bytes of a head, its first line included, or of the trailers.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// Bytes in the longest name that is of interest, and one more: a name that is cut is none of them.
const MAX_NAME: usize = "transfer-encoding".len() + 1;

/// Who is interested in fields.
pub(super) trait Interest {
    /// Whether the value of the field of this name, in lower case, is to be kept.
    fn keeps(&self, name: &[u8]) -> bool;
    /// Takes a field that is kept; its value has no whitespace around it.
    fn field(&mut self, name: &[u8], value: Value<'_>);
}

/// A field's value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    /// Its start.
    pub(super) bytes: &'a [u8],
    /// Whether it is more than its start.
    pub(super) is_cut: bool,
}

impl<'a> Value<'a> {
    /// The elements of a list, but for empty ones.
    pub(super) fn elements(self) -> impl Iterator<Item = &'a [u8]> {
        self.bytes.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
    }
}

/// A value without the whitespace around it, of which HTTP has two kinds (RFC 9110, section 5.6.3).
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Nobody who is interested.
pub(super) struct Nobody;

impl Interest for Nobody {
    fn keeps(&self, _name: &[u8]) -> bool {
        false
    }

    fn field(&mut self, _name: &[u8], _value: Value<'_>) {}
}

/// Follows bytes through fields, up to the empty line behind them. Keeps up to `N` bytes of a value.
#[derive(Debug)]
pub(super) struct Fields<const N: usize> {
    expecting: Expecting,
    /// Bytes that may still come.
    left: usize,
    name: Kept<MAX_NAME>,
    value: Kept<N>,
    /// What becomes of the value.
    fate: Fate,
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Expecting {
    /// A field, a fold of the one before, or the empty line.
    Line,
    /// The LF of the empty line.
    EmptyLf,
    /// The name, or the colon after it.
    Name,
    /// The whitespace before a value, or the value.
    Padding,
    /// The rest of the value, or the line's end.
    Value,
}

/// What becomes of a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// There is no field yet.
    None,
    Skipped,
    Kept,
}

impl<const N: usize> Default for Fields<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Fields<N> {
    /// Before the first byte.
    pub(super) const fn new() -> Self {
        Self {
            expecting: Expecting::Line,
            left: MAX_HEAD,
            name: Kept::new(),
            value: Kept::new(),
            fate: Fate::None,
        }
    }

    /// Starts anew, in a head whose first line took so many bytes.
    pub(super) const fn begin(&mut self, line_bytes: usize) {
        self.expecting = Expecting::Line;
        self.left = MAX_HEAD.saturating_sub(line_bytes);
        self.fate = Fate::None;
    }

    /// Takes the next bytes. Answers with those behind the empty line, once it is there.
    pub(super) fn take<'a>(
        &mut self,
        bytes: &'a [u8],
        interest: &mut impl Interest,
    ) -> Result<Option<&'a [u8]>, Lost> {
        let (mut rest, beyond) = split(bytes, self.left.min(bytes.len()));
        let readable = rest.len();
        while let Some((&first, after_first)) = rest.split_first() {
            match self.expecting {
                Expecting::Line => match first {
                    b' ' | b'\t' if self.fate != Fate::None => {
                        if self.fate == Fate::Kept {
                            self.value.fold();
                        }
                        self.expecting = Expecting::Padding;
                    }
                    b'\r' => {
                        self.expecting = Expecting::EmptyLf;
                        rest = after_first;
                    }
                    b'\n' => self.expecting = Expecting::EmptyLf,
                    _ => {
                        self.finish(interest);
                        self.name.clear();
                        self.expecting = Expecting::Name;
                    }
                },
                Expecting::EmptyLf if first == b'\n' => {
                    self.finish(interest);
                    let end = bytes.len() - beyond.len() - after_first.len();
                    return Ok(Some(split(bytes, end).1));
                }
                Expecting::EmptyLf => return Err(Lost::MalformedHttp1),
                Expecting::Name => {
                    let end = memchr2(b':', b'\n', rest).unwrap_or(rest.len());
                    let (part, after) = split(rest, end);
                    if !part.iter().all(|&byte| is_visible(byte)) {
                        return Err(Lost::MalformedHttp1);
                    }
                    self.name.extend_lower(part);
                    rest = match after.split_first() {
                        None => after,
                        Some((b':', after)) if !self.name.bytes().is_empty() => {
                            self.begin_value(interest);
                            after
                        }
                        Some(_) => return Err(Lost::MalformedHttp1),
                    };
                }
                Expecting::Padding if matches!(first, b' ' | b'\t') => rest = after_first,
                Expecting::Padding => self.expecting = Expecting::Value,
                Expecting::Value => {
                    let end = memchr(b'\n', rest).unwrap_or(rest.len());
                    let (part, after) = split(rest, end);
                    if self.fate == Fate::Kept {
                        self.value.extend(part);
                    }
                    rest = match after.split_first() {
                        None => after,
                        Some((_, after)) => {
                            self.expecting = Expecting::Line;
                            after
                        }
                    };
                }
            }
        }
        self.left -= readable;
        if beyond.is_empty() { Ok(None) } else { Err(Lost::HeadTooLarge) }
    }

    /// Tells of the last field whose line has ended, where the head may go on, but nobody waits for it.
    pub(super) fn finish_line(&mut self, interest: &mut impl Interest) {
        if matches!(self.expecting, Expecting::Line | Expecting::EmptyLf) {
            self.finish(interest);
        }
    }

    /// Tells of the last field, where nothing more comes: it may have been folded until now.
    pub(super) fn finish(&mut self, interest: &mut impl Interest) {
        if self.fate == Fate::Kept {
            let value = self.value.bytes();
            // The CR of the line's end.
            let value = value.strip_suffix(b"\r").unwrap_or(value);
            interest.field(self.name.bytes(), Value { bytes: trim(value), is_cut: self.value.is_cut() });
        }
        self.fate = Fate::None;
    }

    /// The name and its colon are there.
    fn begin_value(&mut self, interest: &impl Interest) {
        let is_kept = interest.keeps(self.name.bytes());
        self.value.clear();
        (self.fate, self.expecting) =
            if is_kept { (Fate::Kept, Expecting::Padding) } else { (Fate::Skipped, Expecting::Value) };
    }
}
