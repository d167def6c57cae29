//! HTTP/2 with prior knowledge: the prefaces of both sides, and the client's first request.
//!
//! ```text
//! preface ── SETTINGS, WINDOW_UPDATE, … (skipped by length) ── HEADERS ── CONTINUATION* ── content type
//! HEADERS payload: [pad length 1] [priority 5] fragment [padding]
//! ```

use super::{
    super::{Progress, Protocol, append},
    hpack,
};

/// What a client opens with (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes in a frame's header.
const FRAME_HEADER: usize = 9;
/// Bytes in a header block that is read.
const MAX_BLOCK: usize = 16 * 1024;
/// Bytes of HEADERS that give the stream's priority.
const PRIORITY_LENGTH: usize = 5;

/// Frame types.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;

/// Frame flags.
const END_HEADERS: u8 = 0x04;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// Follows a client's bytes through the preface.
#[derive(Debug)]
pub(super) struct Preface {
    /// Bytes matched; `None` if it does not match.
    matched: Option<usize>,
}

impl Default for Preface {
    fn default() -> Self {
        Self { matched: Some(0) }
    }
}

impl Preface {
    /// Takes the next byte. `Failed` is for good; nothing is to be pushed after `Matched`.
    pub(super) fn push(&mut self, byte: u8) -> Progress {
        self.matched = self.matched.filter(|&at| PREFACE.get(at) == Some(&byte)).map(|at| at + 1);
        match self.matched {
            Some(matched) if matched == PREFACE.len() => Progress::Matched,
            Some(_) => Progress::More,
            None => Progress::Failed,
        }
    }
}

/// Follows a server's bytes through the header of the SETTINGS frame that opens its side.
///
/// Servers may send it before they have read anything (RFC 9113, section 3.4), and those of gRPC's C
/// core, Node and nghttp2 do: the server speaks first, and it is still HTTP/2.
#[derive(Debug, Default)]
pub(super) struct ServerSettings {
    /// The header so far.
    header: [u8; FRAME_HEADER],
    /// How much of it was seen.
    seen: usize,
}

impl ServerSettings {
    /// Takes the server's next bytes; `false` if they are no such frame.
    pub(super) fn watch(&mut self, bytes: &[u8]) -> bool {
        for &byte in bytes {
            let Some(place) = self.header.get_mut(self.seen) else {
                break;
            };
            *place = byte;
            let plausible = match self.seen {
                0 => byte == 0,
                // A setting is six bytes.
                2 => u16::from_be_bytes([self.header[1], byte]).is_multiple_of(6),
                3 => byte == SETTINGS,
                1 => true,
                // No flags (it acknowledges nothing yet), stream 0.
                _ => byte == 0,
            };
            if !plausible {
                return false;
            }
            self.seen += 1;
        }
        true
    }
}

/// Follows a client's frames after the preface, until its first header block is complete.
/// Holds `MAX_BLOCK` bytes at most.
#[derive(Debug, Default)]
pub(super) struct FirstRequest {
    /// What comes next.
    stage: Stage,
    /// The stream of the header block, once that has begun.
    stream: Option<u32>,
    /// Whether the fragment at hand is the block's last.
    last: bool,
    /// The header block so far.
    block: Vec<u8>,
}

/// Where in a frame the next byte falls.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Its header.
    Header { bytes: [u8; FRAME_HEADER], seen: usize },
    /// The length of its padding; `prelude` and `left` are as in `Prelude`.
    PadLength { prelude: usize, left: usize },
    /// Bytes before the fragment; `left` counts them, the fragment and the padding.
    Prelude { prelude: usize, left: usize, padding: usize },
    /// A fragment of the header block.
    Fragment { left: usize, padding: usize },
    /// Bytes of no interest.
    Skip { left: usize },
}

impl Default for Stage {
    fn default() -> Self {
        Self::Header { bytes: [0; FRAME_HEADER], seen: 0 }
    }
}

/// The frames break the rules, or are too large to be read.
struct Unreadable;

impl FirstRequest {
    /// Takes the client's next bytes; answers when the protocol is settled. Nothing is to be fed after that.
    pub(super) fn watch(&mut self, bytes: &[u8]) -> Option<Protocol> {
        match self.advance(bytes) {
            Ok(false) => None,
            Ok(true) if hpack::is_grpc(&self.block) == Ok(true) => Some(Protocol::Grpc),
            Ok(true) | Err(Unreadable) => Some(Protocol::Http2),
        }
    }

    /// Takes the next bytes; `true` once the header block is complete.
    fn advance(&mut self, mut bytes: &[u8]) -> Result<bool, Unreadable> {
        loop {
            // Stages that have nothing left to read end here, before the next byte is asked for.
            match self.stage {
                Stage::Skip { left: 0 } => self.stage = Stage::default(),
                Stage::Prelude { prelude: 0, left, padding } => {
                    let fragment = left.checked_sub(padding).ok_or(Unreadable)?;
                    if self.block.len() + fragment > MAX_BLOCK {
                        return Err(Unreadable);
                    }
                    self.stage = Stage::Fragment { left: fragment, padding };
                }
                Stage::Fragment { left: 0, .. } if self.last => return Ok(true),
                Stage::Fragment { left: 0, padding } => self.stage = Stage::Skip { left: padding },
                Stage::Header { .. }
                | Stage::PadLength { .. }
                | Stage::Prelude { .. }
                | Stage::Fragment { .. }
                | Stage::Skip { .. } => {
                    if bytes.is_empty() {
                        return Ok(false);
                    }
                    bytes = self.read(bytes)?;
                }
            }
        }
    }

    /// Reads from `bytes`, which are not empty, within the present stage, and gives back the rest.
    fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Unreadable> {
        match &mut self.stage {
            Stage::Header { bytes: header, seen } => {
                let (taken, rest) = bytes.split_at(bytes.len().min(FRAME_HEADER - *seen));
                for (place, byte) in header.iter_mut().skip(*seen).zip(taken) {
                    *place = *byte;
                }
                *seen += taken.len();
                if *seen == FRAME_HEADER {
                    let header = *header;
                    self.stage = self.begin(header)?;
                }
                Ok(rest)
            }
            &mut Stage::PadLength { prelude, left } => {
                let (padding, rest) = bytes.split_first().ok_or(Unreadable)?;
                self.stage = Stage::Prelude { prelude, left, padding: usize::from(*padding) };
                Ok(rest)
            }
            Stage::Prelude { prelude, left, .. } => {
                let skipped = (*prelude).min(bytes.len());
                *prelude -= skipped;
                *left = left.checked_sub(skipped).ok_or(Unreadable)?;
                Ok(bytes.split_at(skipped).1)
            }
            Stage::Fragment { left, .. } => {
                let (taken, rest) = bytes.split_at(bytes.len().min(*left));
                *left -= taken.len();
                append(&mut self.block, taken, MAX_BLOCK);
                Ok(rest)
            }
            Stage::Skip { left } => {
                let (taken, rest) = bytes.split_at(bytes.len().min(*left));
                *left -= taken.len();
                Ok(rest)
            }
        }
    }

    /// The stage that follows a frame's header.
    fn begin(&mut self, [a, b, c, kind, flags, id @ ..]: [u8; FRAME_HEADER]) -> Result<Stage, Unreadable> {
        let left = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes(id) & 0x7fff_ffff;
        self.last = flags & END_HEADERS != 0;
        match (kind, self.stream) {
            (CONTINUATION, Some(open)) if stream == open => {
                Ok(Stage::Prelude { prelude: 0, left, padding: 0 })
            }
            // A header block is not interrupted, and no request starts with data.
            (_, Some(_)) | (CONTINUATION | DATA, None) => Err(Unreadable),
            (HEADERS, None) if stream != 0 => {
                self.stream = Some(stream);
                let prelude = if flags & PRIORITY == 0 { 0 } else { PRIORITY_LENGTH };
                let pad_length = usize::from(flags & PADDED != 0);
                if left < pad_length + prelude {
                    return Err(Unreadable);
                }
                if pad_length == 0 {
                    Ok(Stage::Prelude { prelude, left, padding: 0 })
                } else {
                    Ok(Stage::PadLength { prelude, left: left - pad_length })
                }
            }
            (HEADERS, None) => Err(Unreadable),
            (_, None) => Ok(Stage::Skip { left }),
        }
    }

    /// Bytes held on the heap.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.block.capacity()
    }
}

#[cfg(test)]
#[path = "first_request_tests.rs"]
mod tests;
