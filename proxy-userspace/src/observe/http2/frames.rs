//! One direction's frames: header blocks are put together, all else is skipped by its length.
//!
//! ```text
//! HEADERS       payload: [pad length 1] [priority 5]        fragment [padding]
//! PUSH_PROMISE  payload: [pad length 1] promised stream 4   fragment [padding]
//! CONTINUATION  payload:                                    fragment
//! ```

use std::borrow::Cow;

use super::super::{Lost, append};

/// Bytes in a frame's header.
const FRAME_HEADER: usize = 9;
/// Bytes in a header block that is read. nginx, Apache and gRPC refuse heads of 8 to 32 KiB.
pub(super) const MAX_BLOCK: usize = 16 * 1024;
/// Bytes of HEADERS that give the stream's priority.
const PRIORITY_LENGTH: usize = 5;
/// Bytes of a stream's number.
const STREAM_LENGTH: usize = 4;
/// Bytes that can come before a fragment.
const MAX_PRELUDE: usize = 1 + PRIORITY_LENGTH;
/// Bytes in RST_STREAM.
const RESET_LENGTH: usize = 4;

/// Frame types.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;

/// Frame flags.
const END_STREAM: u8 = 0x01;
const END_HEADERS: u8 = 0x04;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// What a direction's frames say.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// A header block is complete: the stream's head, or its trailers.
    Headers { stream: u32, block: Cow<'a, [u8]>, end_stream: bool },
    /// A header block is complete: of a request that nobody sent, on the stream `promised`.
    Promise { stream: u32, promised: u32, block: Cow<'a, [u8]> },
    /// So many bytes of a stream's DATA have passed, padding included.
    Data { stream: u32, length: usize, end_stream: bool },
    /// The stream is reset. Why is of no interest.
    Reset { stream: u32 },
}

/// Puts one direction's frames together. Holds [`MAX_BLOCK`] bytes at most, and only while a header
/// block is open.
#[derive(Debug, Default)]
pub(super) struct Frames {
    stage: Stage,
    /// The header block that has begun and not ended.
    open: Option<Block>,
    /// What of it came in earlier reads or frames.
    fragments: Vec<u8>,
    /// Bytes of it that have come and that the frame at hand announces: as much may be held of it. How it is cut
    /// makes no difference to this.
    announced: usize,
}

/// Whose header block it is.
#[derive(Debug, Clone, Copy)]
struct Block {
    stream: u32,
    /// The stream that it promises, if it is no head or trailers.
    promised: Option<u32>,
    end_stream: bool,
    /// Whether the frame at hand is its last.
    is_last: bool,
}

/// Where in a frame the next byte falls. `left` counts bytes.
#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Its header.
    Header { bytes: [u8; FRAME_HEADER], seen: usize },
    /// What comes before the fragment.
    Prelude { bytes: [u8; MAX_PRELUDE], seen: usize, shape: Shape, left: usize },
    /// A fragment of the open block.
    Fragment { left: usize, padding: usize },
    /// The payload of DATA.
    Data { stream: u32, left: usize, end_stream: bool },
    /// The payload of RST_STREAM.
    Reset { stream: u32, left: usize },
    /// Bytes of no interest.
    Skip { left: usize },
}

/// What a prelude is made of.
#[derive(Debug, Clone, Copy)]
struct Shape {
    is_padded: bool,
    has_priority: bool,
    is_promise: bool,
}

impl Shape {
    /// How many bytes it has, [`MAX_PRELUDE`] at most: what promises has no priority.
    const fn length(self) -> usize {
        let pad_length = if self.is_padded { 1 } else { 0 };
        pad_length
            + match self {
                Self { is_promise: true, .. } => STREAM_LENGTH,
                Self { has_priority: true, .. } => PRIORITY_LENGTH,
                _ => 0,
            }
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::Header { bytes: [0; FRAME_HEADER], seen: 0 }
    }
}

impl Frames {
    /// Reads on to the next event, and takes from `bytes` what it has read. `None` when all are taken. `most`
    /// bytes may be held.
    ///
    /// # Errors
    /// The frames break the rules, or the header block is too large. Nothing is to be fed after that.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8], most: usize) -> Result<Option<Event<'a>>, Lost> {
        loop {
            match &mut self.stage {
                Stage::Header { bytes: header, seen } => {
                    if !fill(header, seen, bytes) {
                        return Ok(None);
                    }
                    let header = *header;
                    self.begin(header, most)?;
                }
                Stage::Prelude { bytes: prelude, seen, shape, left } => {
                    let shape = *shape;
                    let wanted = prelude.get_mut(..shape.length()).unwrap_or_default();
                    if !fill(wanted, seen, bytes) {
                        return Ok(None);
                    }
                    let (prelude, left) = (*prelude, *left);
                    self.begin_fragment(prelude, shape, left, most)?;
                }
                Stage::Fragment { left, padding } => {
                    let (taken, padding) = (take(bytes, left), *padding);
                    let (is_whole, block) = (*left == 0, self.open);
                    if is_whole {
                        self.stage = Stage::Skip { left: padding };
                    }
                    match block {
                        Some(block) if is_whole && block.is_last => {
                            self.open = None;
                            self.announced = 0;
                            return Ok(Some(block.complete(&mut self.fragments, taken)));
                        }
                        Some(_) | None => append(&mut self.fragments, taken, self.announced),
                    }
                    if !is_whole {
                        return Ok(None);
                    }
                }
                Stage::Data { stream, left, end_stream } => {
                    let length = take(bytes, left).len();
                    let (stream, end_stream, is_whole) = (*stream, *end_stream, *left == 0);
                    if is_whole {
                        self.stage = Stage::default();
                    }
                    if length > 0 || is_whole {
                        return Ok(Some(Event::Data { stream, length, end_stream: end_stream && is_whole }));
                    }
                    return Ok(None);
                }
                Stage::Reset { stream, left } => {
                    take(bytes, left);
                    if *left > 0 {
                        return Ok(None);
                    }
                    let stream = *stream;
                    self.stage = Stage::default();
                    return Ok(Some(Event::Reset { stream }));
                }
                Stage::Skip { left } => {
                    take(bytes, left);
                    if *left > 0 {
                        return Ok(None);
                    }
                    self.stage = Stage::default();
                }
            }
        }
    }

    /// Goes on from a frame's header to its payload.
    fn begin(
        &mut self,
        [a, b, c, kind, flags, id @ ..]: [u8; FRAME_HEADER],
        most: usize,
    ) -> Result<(), Lost> {
        let left = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes(id) & 0x7fff_ffff;
        let has = |flag: u8| flags & flag != 0;
        if let Some(block) = &mut self.open {
            // A header block is not interrupted.
            if kind != CONTINUATION || stream != block.stream {
                return Err(Lost::MalformedHttp2);
            }
            block.is_last = has(END_HEADERS);
            return self.fragment(left, 0, most);
        }
        self.stage = match kind {
            DATA | HEADERS | RST_STREAM | PUSH_PROMISE | CONTINUATION if stream == 0 => {
                return Err(Lost::MalformedHttp2);
            }
            CONTINUATION => return Err(Lost::MalformedHttp2),
            DATA => Stage::Data { stream, left, end_stream: has(END_STREAM) },
            RST_STREAM if left == RESET_LENGTH => Stage::Reset { stream, left },
            RST_STREAM => return Err(Lost::MalformedHttp2),
            HEADERS | PUSH_PROMISE => {
                let is_promise = kind == PUSH_PROMISE;
                let shape =
                    Shape { is_padded: has(PADDED), has_priority: has(PRIORITY) && !is_promise, is_promise };
                self.open = Some(Block {
                    stream,
                    promised: None,
                    end_stream: has(END_STREAM) && !is_promise,
                    is_last: has(END_HEADERS),
                });
                let left = left.checked_sub(shape.length()).ok_or(Lost::MalformedHttp2)?;
                Stage::Prelude { bytes: [0; MAX_PRELUDE], seen: 0, shape, left }
            }
            _ => Stage::Skip { left },
        };
        Ok(())
    }

    /// Goes on from the prelude to the fragment and the padding, `left` bytes together.
    fn begin_fragment(
        &mut self,
        prelude: [u8; MAX_PRELUDE],
        shape: Shape,
        left: usize,
        most: usize,
    ) -> Result<(), Lost> {
        let [first, rest @ ..] = prelude;
        let padding = if shape.is_padded { usize::from(first) } else { 0 };
        if let (true, Some(block)) = (shape.is_promise, &mut self.open) {
            let id = if shape.is_padded { rest.first_chunk() } else { prelude.first_chunk() };
            let promised = id.map(|&id: &[u8; STREAM_LENGTH]| u32::from_be_bytes(id) & 0x7fff_ffff);
            block.promised = promised;
        }
        let left = left.checked_sub(padding).ok_or(Lost::MalformedHttp2)?;
        self.fragment(left, padding, most)
    }

    /// Goes on to a fragment, if the block does not grow too large with it.
    fn fragment(&mut self, left: usize, padding: usize, most: usize) -> Result<(), Lost> {
        let announced = self.announced + left;
        if announced > MAX_BLOCK {
            return Err(Lost::HeadTooLarge);
        }
        if announced > most {
            return Err(Lost::MemoryBound);
        }
        self.announced = announced;
        self.stage = Stage::Fragment { left, padding };
        Ok(())
    }

    /// Bytes held on the heap, or that will be before the next frame.
    pub(super) const fn held(&self) -> usize {
        self.announced
    }

    /// Bytes held on the heap now.
    #[cfg(test)]
    pub(super) const fn held_now(&self) -> usize {
        self.fragments.capacity()
    }
}

impl Block {
    /// The event of its end: `fragments` came before, and `last` now.
    fn complete<'a>(self, fragments: &mut Vec<u8>, last: &'a [u8]) -> Event<'a> {
        let block = if fragments.is_empty() {
            Cow::Borrowed(last)
        } else {
            append(fragments, last, MAX_BLOCK);
            // Blocks are rarely cut: the room is given back.
            Cow::Owned(std::mem::take(fragments))
        };
        let Self { stream, promised, end_stream, .. } = self;
        match promised {
            Some(promised) => Event::Promise { stream, promised, block },
            None => Event::Headers { stream, block, end_stream },
        }
    }
}

/// Takes from `bytes` what `place` lacks beyond `seen`; `true` once it is full.
fn fill(place: &mut [u8], seen: &mut usize, bytes: &mut &[u8]) -> bool {
    let lacking = place.get_mut(*seen..).unwrap_or_default();
    let (taken, rest) = bytes.split_at(bytes.len().min(lacking.len()));
    let is_full = taken.len() == lacking.len();
    if let Some(lacking) = lacking.get_mut(..taken.len()) {
        lacking.copy_from_slice(taken);
    }
    *seen += taken.len();
    *bytes = rest;
    is_full
}

/// Takes `left` bytes from `bytes`, or all there are.
fn take<'a>(bytes: &mut &'a [u8], left: &mut usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(bytes.len().min(*left));
    *left -= taken.len();
    *bytes = rest;
    taken
}
