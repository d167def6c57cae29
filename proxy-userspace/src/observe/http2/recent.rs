//! Strings that come again and again on a connection, and are shared.

use std::sync::Arc;

/// How many strings are remembered: a gRPC client calls few methods on a connection, and they alternate.
const KEPT: usize = 8;

/// The strings that were new most recently. Holds eight at most.
#[derive(Debug, Default)]
pub(super) struct Recent {
    strings: Vec<Arc<str>>,
    /// Which one the next new string replaces.
    oldest: usize,
}

impl Recent {
    /// A string, shared with the last time it was asked for if it is remembered; of bytes that are no
    /// UTF-8, or a character that is cut, what is before. `None` if that is nothing.
    pub(super) fn share(&mut self, bytes: &[u8]) -> Option<Arc<str>> {
        if let Some(known) = self.strings.iter().find(|known| known.as_bytes() == bytes) {
            return Some(Arc::clone(known));
        }
        let valid = bytes.utf8_chunks().next()?.valid();
        if valid.is_empty() {
            return None;
        }
        let new = Arc::from(valid);
        if self.strings.len() < KEPT {
            self.strings.push(Arc::clone(&new));
        } else if let Some(place) = self.strings.get_mut(self.oldest) {
            *place = Arc::clone(&new);
            self.oldest = (self.oldest + 1) % KEPT;
        }
        Some(new)
    }

    /// Bytes held on the heap.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let counts = 2 * size_of::<usize>();
        self.strings.capacity() * size_of::<Arc<str>>()
            + self.strings.iter().map(|string| counts + string.len()).sum::<usize>()
    }
}
