//! A message's body: where it ends, and what of it is data.
//!
//! ```text
//! chunk*  "0" line  trailers          chunk: hex+ line  data  (CRLF | LF)
//!                                     line:  (SP | HTAB | ";" anything)?  (CRLF | LF)
//! ```

use memchr::memchr;

use super::{
    super::Lost,
    fields::{Fields, Interest},
    kept::split,
};

/// What remains of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes; not zero.
    Length(u64),
    /// Chunks and trailers.
    Chunked(Chunks),
    /// All until the connection is finished.
    UntilClose,
    /// Nothing.
    Ended,
}

/// What comes next among chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunks {
    /// A digit of the size, or what ends it.
    Size { size: u64, has_begun: bool },
    /// The rest of the size's line.
    Extension { size: u64 },
    /// The LF of the size's line.
    SizeLf { size: u64 },
    /// So much data; not zero.
    Data { left: u64 },
    /// The line's end after the data.
    DataEnd,
    /// The LF after the data.
    DataLf,
    /// The trailers.
    Trailers,
}

impl Body {
    /// So many bytes.
    pub(super) const fn of_length(length: u64) -> Self {
        if length == 0 { Self::Ended } else { Self::Length(length) }
    }

    /// Before the first chunk.
    pub(super) const fn chunked() -> Self {
        Self::Chunked(Chunks::NEXT)
    }

    /// Takes the next bytes, as far as they are the body's; answers with those behind it. The data goes to
    /// `data`, and the trailers through `fields` to `trailers`.
    pub(super) fn take<'a, const N: usize>(
        &mut self,
        mut bytes: &'a [u8],
        fields: &mut Fields<N>,
        trailers: &mut impl Interest,
        mut data: impl FnMut(&'a [u8]),
    ) -> Result<&'a [u8], Lost> {
        loop {
            match self {
                Self::Ended => return Ok(bytes),
                Self::UntilClose => {
                    data(bytes);
                    return Ok(&[]);
                }
                Self::Length(left) => {
                    let (part, rest) = split_u64(bytes, *left);
                    data(part);
                    *self = Self::of_length(*left - part.len() as u64);
                    bytes = rest;
                }
                Self::Chunked(Chunks::Trailers) => match fields.take(bytes, trailers)? {
                    Some(rest) => {
                        *self = Self::Ended;
                        bytes = rest;
                    }
                    None => return Ok(&[]),
                },
                Self::Chunked(Chunks::Data { left }) => {
                    let (part, rest) = split_u64(bytes, *left);
                    data(part);
                    *left -= part.len() as u64;
                    if *left == 0 {
                        *self = Self::Chunked(Chunks::DataEnd);
                    }
                    bytes = rest;
                }
                Self::Chunked(chunks) => {
                    bytes = chunks.framing(bytes)?;
                    if *chunks == Chunks::Trailers {
                        fields.begin(0);
                    }
                }
            }
            if bytes.is_empty() {
                return Ok(bytes);
            }
        }
    }
}

impl Chunks {
    /// Before a chunk.
    const NEXT: Self = Self::Size { size: 0, has_begun: false };

    /// Takes the next byte of what is neither data nor trailers, or the rest of a line.
    fn framing<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Lost> {
        let Some((&first, mut rest)) = bytes.split_first() else {
            return Ok(bytes);
        };
        *self = match (*self, first) {
            (
                Self::Size { size, has_begun: true } | Self::Extension { size } | Self::SizeLf { size },
                b'\n',
            ) => {
                if size == 0 {
                    Self::Trailers
                } else {
                    Self::Data { left: size }
                }
            }
            (Self::Size { size, has_begun: true }, b'\r') => Self::SizeLf { size },
            (Self::Size { size, has_begun: true }, b';' | b' ' | b'\t') => Self::Extension { size },
            (Self::Size { size, .. }, _) => {
                // There may be any number of zeros in front; beyond 64 bits there is no size.
                let digit = char::from(first).to_digit(16).ok_or(Lost::MalformedHttp1)?;
                let higher = size.checked_mul(16).ok_or(Lost::MalformedHttp1)?;
                Self::Size { size: higher | u64::from(digit), has_begun: true }
            }
            (Self::Extension { size }, _) => {
                rest = split(bytes, memchr(b'\n', bytes).unwrap_or(bytes.len())).1;
                Self::Extension { size }
            }
            (Self::DataEnd, b'\r') => Self::DataLf,
            (Self::DataEnd | Self::DataLf, b'\n') => Self::NEXT,
            _ => return Err(Lost::MalformedHttp1),
        };
        Ok(rest)
    }
}

/// The first `length` bytes, or all that there are, and the rest.
fn split_u64(bytes: &[u8], length: u64) -> (&[u8], &[u8]) {
    usize::try_from(length).map_or((bytes, &[]), |length| split(bytes, length.min(bytes.len())))
}
