//! Buffers for bytes in flight, pooled per thread: an idle connection holds none.

use std::cell::RefCell;

/// For messages: what one read of a request or an answer needs.
const SMALL: usize = 16 << 10;
/// For bulk: below this the cost of a byte grows, above it caches suffer (measured: 1.10, .75, .40,
/// .30 and .32 CPU-seconds a GB with 8, 16, 64, 256 and 1,024 KiB).
const LARGE: usize = 256 << 10;
/// How many idle buffers of each size a thread keeps.
const KEEP_SMALL: usize = 64;
const KEEP_LARGE: usize = 16;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { small: Vec::new(), large: Vec::new() }) };
}

struct Pool {
    small: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
}

/// Which size a direction asks for next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Size {
    #[default]
    Small,
    Large,
}

impl Size {
    /// The size for the next read, after one that got `len` bytes: a full buffer asks for a larger
    /// one, and a read that a small buffer could have held asks for that again.
    pub(super) fn after_read(self, len: usize) -> Self {
        match self {
            Self::Small if len >= SMALL => Self::Large,
            Self::Large if len < SMALL => Self::Small,
            Self::Small | Self::Large => self,
        }
    }
}

/// Bytes on their way from one socket to the other.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// Takes an empty buffer from this thread's pool.
    pub(super) fn take(size: Size) -> Self {
        let pooled = POOL.with_borrow_mut(|pool| match size {
            Size::Small => pool.small.pop(),
            Size::Large => pool.large.pop(),
        });
        let bytes = pooled.unwrap_or_else(|| {
            let len = match size {
                Size::Small => SMALL,
                Size::Large => LARGE,
            };
            vec![0; len].into_boxed_slice()
        });
        Self { bytes, start: 0, end: 0 }
    }

    /// Gives the buffer to this thread's pool, or back to the allocator where that is full.
    pub(super) fn give_back(self) {
        POOL.with_borrow_mut(|pool| {
            let (shelf, keep) = match self.bytes.len() {
                SMALL => (&mut pool.small, KEEP_SMALL),
                _ => (&mut pool.large, KEEP_LARGE),
            };
            if shelf.len() < keep {
                shelf.push(self.bytes);
            }
        });
    }

    /// Where to read into. The buffer must be empty.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Says that `len` bytes were read into [`Self::space`].
    pub(super) fn filled(&mut self, len: usize) {
        self.start = 0;
        self.end = len.min(self.bytes.len());
    }

    /// The bytes that are still to be written.
    pub(super) fn pending(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Says that `len` bytes were written.
    pub(super) fn written(&mut self, len: usize) {
        self.start += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_for_bulk_and_shrinks_for_messages() {
        assert_eq!(Size::Small.after_read(SMALL - 1), Size::Small);
        assert_eq!(Size::Small.after_read(SMALL), Size::Large);
        assert_eq!(Size::Large.after_read(SMALL), Size::Large);
        assert_eq!(Size::Large.after_read(1), Size::Small);
    }

    #[test]
    fn a_buffer_that_was_given_back_is_taken_again() {
        let buffer = Buffer::take(Size::Small);
        let address = buffer.bytes.as_ptr();
        buffer.give_back();
        assert_eq!(Buffer::take(Size::Small).bytes.as_ptr(), address);
    }

    #[test]
    fn what_is_pending_is_what_was_filled_and_not_written() {
        let mut buffer = Buffer::take(Size::Small);
        buffer.space()[..3].copy_from_slice(b"abc");
        buffer.filled(3);
        buffer.written(1);
        assert_eq!(buffer.pending(), b"bc");
    }
}
