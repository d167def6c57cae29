//! gRPC-Web in its binary form: the trailers are the last message of the body.
//!
//! ```text
//! (flags  length{4}  message)*        flags: 0x80 for trailers, written as header fields; 0x01 if compressed
//! ```

use super::{super::Lost, fields::Fields, kept::split, response_head::GrpcStatus};

/// Bytes kept of `grpc-status`: more than 32 bits can have digits.
const MAX_STATUS: usize = 16;

/// Follows the data of a response's body up to `grpc-status` in its trailers.
#[derive(Debug, Default)]
pub(super) struct GrpcWeb {
    expecting: Expecting,
    fields: Fields<MAX_STATUS>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, Default)]
enum Expecting {
    /// A message's flags.
    #[default]
    Flags,
    /// The rest of its length, of which so many bytes were read.
    Length { flags: u8, length: u32, read: u8 },
    /// So much of the message.
    Message { left: u32 },
    /// So much of the trailers.
    Trailers { left: u32 },
    /// Nothing: the trailers were read, or cannot be.
    Ended,
}

impl GrpcWeb {
    /// Takes the next bytes of data.
    pub(super) fn take(&mut self, mut data: &[u8], status: &mut GrpcStatus) {
        while let Some((&first, rest)) = data.split_first() {
            (self.expecting, data) = match self.expecting {
                Expecting::Flags => (Expecting::Length { flags: first, length: 0, read: 0 }, rest),
                Expecting::Length { flags, length, read } => {
                    let length = length << 8 | u32::from(first);
                    let next = match (read, flags) {
                        (0..3, _) => Expecting::Length { flags, length, read: read + 1 },
                        (_, 0x80) if length > 0 => Expecting::Trailers { left: length },
                        (_, 0x80..) => Expecting::Ended,
                        (_, _) if length == 0 => Expecting::Flags,
                        (_, _) => Expecting::Message { left: length },
                    };
                    (next, rest)
                }
                Expecting::Message { left } => {
                    let (_, rest, left) = split_u32(data, left);
                    (if left == 0 { Expecting::Flags } else { Expecting::Message { left } }, rest)
                }
                Expecting::Trailers { left } => {
                    let (trailers, rest, left) = split_u32(data, left);
                    (self.trailers(trailers, left, status).unwrap_or(Expecting::Ended), rest)
                }
                Expecting::Ended => return,
            };
        }
    }

    /// Reads trailers, of which so many bytes are left; there is no empty line behind them.
    fn trailers(&mut self, trailers: &[u8], left: u32, status: &mut GrpcStatus) -> Result<Expecting, Lost> {
        if self.fields.take(trailers, status)?.is_some() {
            return Ok(Expecting::Ended);
        }
        if left > 0 {
            return Ok(Expecting::Trailers { left });
        }
        self.fields.finish(status);
        Ok(Expecting::Ended)
    }
}

/// The first `length` bytes, or all that there are; the rest; and how many of `length` are still to come.
fn split_u32(bytes: &[u8], length: u32) -> (&[u8], &[u8], u32) {
    let (part, rest) = split(bytes, usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len()));
    (part, rest, length.saturating_sub(u32::try_from(part.len()).unwrap_or(u32::MAX)))
}
