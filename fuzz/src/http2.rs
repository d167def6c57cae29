//! HTTP/2: a connection whose client has begun with the preface.

use crate::{
    conversation::{Conversation, Turn},
    follow,
};

/// What a client opens with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The target `http2`. The preface is not of the input: a byte of it changed would be another protocol.
pub fn http2(input: &[u8]) {
    let mut conversation = Conversation::parse(input);
    match conversation.turns.first_mut() {
        Some(Turn::Client(bytes)) => drop(bytes.splice(0..0, PREFACE.iter().copied())),
        // The server may speak first, if it is with SETTINGS.
        Some(Turn::Server(bytes)) if bytes.get(3) == Some(&4) => {
            conversation.turns.insert(1, Turn::Client(PREFACE.to_vec()));
        }
        Some(Turn::Server(_) | Turn::Finish) | None => {
            conversation.turns.insert(0, Turn::Client(PREFACE.to_vec()));
        }
    }
    follow::hold(&conversation);
}
