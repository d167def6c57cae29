//! HTTP/1: a connection whose client has begun with a request line.

use crate::{
    conversation::{Conversation, Turn},
    follow,
};

/// What the client opens with where the input is no request line, so that none is wasted on detection.
const OPENING: &[u8] = b"GET /first HTTP/1.1\r\n";

/// The target `http1`.
pub fn http1(input: &[u8]) {
    let mut conversation = Conversation::parse(input);
    if !opens_with_a_request_line(&conversation) {
        conversation.turns.insert(0, Turn::Client(OPENING.to_vec()));
    }
    follow::hold(&conversation);
}

fn opens_with_a_request_line(conversation: &Conversation) -> bool {
    let Some(Turn::Client(bytes)) = conversation.turns.first() else { return false };
    let line = bytes.trim_ascii_start().split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.windows(8).any(|version| version.starts_with(b" HTTP/1."))
}
