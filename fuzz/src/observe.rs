//! The observer as a whole: a connection of whatever protocol, from either side's first byte on.

use crate::{conversation::Conversation, follow};

/// The target `observe`.
pub fn observe(input: &[u8]) {
    follow::hold(&Conversation::parse(input));
}
