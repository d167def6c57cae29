//! The bytes that are transferred: the same for every run, and a checksum that a lost, doubled or
//! swapped block changes.

use std::sync::LazyLock;

/// A prime, so that no buffer size divides it and a misplaced block always shows.
const PERIOD: usize = 65_521;

/// The period, twice, so that every slice is in one piece.
static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let period = std::iter::repeat_with(|| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    });
    period.take(PERIOD).collect::<Vec<_>>().repeat(2)
});

/// The longest slice that [`at`] gives, bytes.
pub const MAX_SLICE: usize = PERIOD;

/// The bytes of the pattern from `offset`, at most `len` and at most [`MAX_SLICE`] of them.
#[must_use]
pub fn at(offset: u64, len: u64) -> &'static [u8] {
    let start = usize::try_from(offset % PERIOD as u64).expect("below the period");
    let len = usize::try_from(len).unwrap_or(usize::MAX).min(MAX_SLICE);
    &BLOCK[start..start + len]
}

/// The checksum of the first `len` bytes of the pattern.
#[must_use]
pub fn checksum(len: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let mut offset = 0;
    while offset < len {
        let slice = at(offset, len - offset);
        hasher.update(slice);
        offset += slice.len() as u64;
    }
    hasher.finalize()
}

/// What arrived at one end: how much, and which.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    bytes: u64,
    hasher: crc32fast::Hasher,
}

impl Tally {
    /// Adds the next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.hasher.update(bytes);
    }

    /// How many bytes there were.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The checksum of all of them.
    #[must_use]
    pub fn checksum(&self) -> u32 {
        self.hasher.clone().finalize()
    }

    /// Whether it was the first `len` bytes of the pattern, all of them and in order.
    #[must_use]
    pub fn is_pattern(&self, len: u64) -> bool {
        self.bytes == len && self.checksum() == checksum(len)
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_SLICE, Tally, at, checksum};

    #[test]
    fn a_checksum_does_not_depend_on_how_the_bytes_are_cut() {
        let mut tally = Tally::default();
        let mut offset = 0;
        while offset < 200_000 {
            let slice = at(offset, (200_000 - offset).min(997));
            tally.add(slice);
            offset += slice.len() as u64;
        }
        assert!(tally.is_pattern(200_000));
    }

    #[test]
    fn swapped_blocks_change_the_checksum() {
        let mut tally = Tally::default();
        tally.add(at(4096, 4096));
        tally.add(at(0, 4096));
        assert_ne!(tally.checksum(), checksum(8192));
        assert_eq!(at(7, u64::MAX).len(), MAX_SLICE);
    }
}
