//! A connection as an input holds it.
//!
//! ```text
//! cut (2 bytes) · options (1 byte) · turns
//! ```
//!
//! Turns are parted by marks, two bytes each, rather than by lengths: so a byte more or less, which is what
//! libFuzzer tries most, leaves the rest as it was. The client speaks first unless a mark comes first.
//!
//! | mark | what follows |
//! |---|---|
//! | `FB C`, `FB S` | bytes of the client, of the server |
//! | `FB c`, `FB s` | a frame of HTTP/2 of the client, of the server: type, flags, stream, payload; the length is made right |
//! | `FB F` | the server has finished |
//! | `FB E` | the byte FB |
//!
//! Other bytes after FB are bytes like FB itself.

use sluice::observe::End;

/// What a mark begins with: rare in text, and no frame's type.
const MARK: u8 = 0xfb;
/// Bytes before the turns.
const HEADER: usize = 3;
/// Bytes in the header of a frame of HTTP/2.
const FRAME_HEADER: usize = 9;

/// What passes on a connection, and how.
#[derive(Debug, PartialEq, Eq)]
pub struct Conversation {
    /// How the bytes are cut: each for itself where it is zero, else by chance from this seed.
    pub cut: u16,
    /// Whether the listener wants details.
    pub wants_details: bool,
    /// How the connection ends.
    pub end: End,
    /// In their order.
    pub turns: Vec<Turn>,
}

/// One step of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// The client sends.
    Client(Vec<u8>),
    /// The server sends.
    Server(Vec<u8>),
    /// The server finishes.
    Finish,
}

impl Turn {
    /// What is sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Client(bytes) | Self::Server(bytes) => bytes,
            Self::Finish => &[],
        }
    }

    fn push(&mut self, more: &[u8]) {
        match self {
            Self::Client(bytes) | Self::Server(bytes) => bytes.extend_from_slice(more),
            Self::Finish => {}
        }
    }
}

/// Bytes between two marks, and what the first mark was.
struct Piece {
    mark: u8,
    bytes: Vec<u8>,
}

impl Conversation {
    /// Reads an input; every input is a conversation.
    #[must_use]
    pub fn parse(input: &[u8]) -> Self {
        let (header, body) = input.split_at(input.len().min(HEADER));
        let option = |at: usize| header.get(at).copied().unwrap_or_default();
        let mut turns: Vec<Turn> = Vec::new();
        for Piece { mark, bytes } in pieces(body) {
            let is_client = mark.eq_ignore_ascii_case(&b'C');
            match (mark, turns.last_mut()) {
                (b'F', _) => {
                    turns.push(Turn::Finish);
                    // What comes behind is the server's: it must not matter.
                    turns.push(Turn::Server(bytes));
                }
                (b'c', Some(turn @ Turn::Client(_))) | (b's', Some(turn @ Turn::Server(_))) => {
                    turn.push(&frame(&bytes));
                }
                (mark, _) => {
                    let bytes = if mark.is_ascii_lowercase() { frame(&bytes) } else { bytes };
                    turns.push(if is_client { Turn::Client(bytes) } else { Turn::Server(bytes) });
                }
            }
        }
        turns.retain(|turn| matches!(turn, Turn::Finish) || !turn.bytes().is_empty());
        Self {
            cut: u16::from_be_bytes([option(0), option(1)]),
            wants_details: option(2) & 1 != 0,
            end: [End::Cut, End::ClientReset, End::ServerReset, End::ClientLeft][usize::from(option(2) >> 6)],
            turns,
        }
    }

    /// An input that is this conversation.
    #[must_use]
    pub fn to_input(&self) -> Vec<u8> {
        let end = match self.end {
            End::Cut => 0,
            End::ClientReset => 1,
            End::ServerReset => 2,
            End::ClientLeft | End::Complete => 3,
        };
        let [high, low] = self.cut.to_be_bytes();
        let mut input = vec![high, low, end << 6 | u8::from(self.wants_details)];
        for turn in &self.turns {
            let mark = match turn {
                Turn::Client(_) => b'C',
                Turn::Server(_) => b'S',
                Turn::Finish => b'F',
            };
            input.extend([MARK, mark]);
            write(&mut input, turn.bytes());
        }
        input
    }

    /// An input of which `to_input` would make the same, with frames of HTTP/2 marked where there are any behind
    /// the first `prefaces` bytes of the client.
    #[must_use]
    pub fn to_framed_input(&self, mut preface: usize) -> Vec<u8> {
        let mut input = Self { turns: Vec::new(), ..*self }.to_input();
        for turn in &self.turns {
            let (mark, mut rest) = match turn {
                Turn::Client(bytes) => {
                    let (before, rest) = bytes.split_at(preface.min(bytes.len()));
                    preface -= before.len();
                    if !before.is_empty() {
                        input.extend([MARK, b'C']);
                        write(&mut input, before);
                    }
                    (b'c', rest)
                }
                Turn::Server(bytes) => (b's', &bytes[..]),
                Turn::Finish => {
                    input.extend([MARK, b'F']);
                    continue;
                }
            };
            while let Some((header, behind)) = rest.split_first_chunk::<FRAME_HEADER>()
                && let [a, b, c, kind, flags, 0, 0, 0, stream] = *header
                && let Some((payload, behind)) =
                    behind.split_at_checked(u32::from_be_bytes([0, a, b, c]) as usize)
            {
                input.extend([MARK, mark]);
                write(&mut input, &[kind, flags, stream]);
                write(&mut input, payload);
                rest = behind;
            }
            if !rest.is_empty() {
                input.extend([MARK, mark.to_ascii_uppercase()]);
                write(&mut input, rest);
            }
        }
        input
    }
}

/// Appends bytes, their marks escaped.
fn write(input: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        input.push(byte);
        if byte == MARK {
            input.push(b'E');
        }
    }
}

/// The pieces between marks.
fn pieces(body: &[u8]) -> Vec<Piece> {
    let mut piece = Piece { mark: b'C', bytes: Vec::new() };
    let mut pieces = Vec::new();
    let mut bytes = body.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let mark = if byte == MARK { bytes.next_if(|next| b"CScsFE".contains(next)) } else { None };
        match mark {
            None | Some(b'E') => piece.bytes.push(byte),
            Some(mark) => pieces.push(std::mem::replace(&mut piece, Piece { mark, bytes: Vec::new() })),
        }
    }
    pieces.push(piece);
    pieces
}

/// A frame of HTTP/2 with its length: type, flags, stream and payload.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let Some((&[kind, flags, stream], payload)) = bytes.split_first_chunk() else {
        return bytes.to_vec();
    };
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    [&length[..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(turns: &[Turn]) -> Conversation {
        Conversation { cut: 0x1234, wants_details: true, end: End::ServerReset, turns: turns.to_vec() }
    }

    #[test]
    fn an_input_reads_as_the_conversation_that_it_was_made_of() {
        let turns = [
            Turn::Client(b"GET \xfb\xfbC\xfb".to_vec()),
            Turn::Server(b"\xfbE".to_vec()),
            Turn::Finish,
            Turn::Client(vec![0xfb]),
        ];
        let conversation = conversation(&turns);
        assert_eq!(Conversation::parse(&conversation.to_input()), conversation);
    }

    #[test]
    fn an_input_of_frames_is_the_same_bytes() {
        let turns = [
            Turn::Client(b"PREFACE\0\0\x01\x06\0\0\0\0\0\xfb\0\0\x02\x00\x01\0\0\0\x01ab".to_vec()),
            Turn::Server(b"\0\0\0\x04\0\0\0\0\0".to_vec()),
            Turn::Finish,
        ];
        let conversation = conversation(&turns);
        let input = conversation.to_framed_input(7);
        assert_eq!(input[3..], *b"\xfbCPREFACE\xfbc\x06\0\0\xfbE\xfbc\0\x01\x01ab\xfbs\x04\0\0\xfbF");
        let read = Conversation::parse(&input);
        // The preface is a turn of its own, or one with the frames behind it.
        assert_eq!(read.turns, turns);
    }
}
