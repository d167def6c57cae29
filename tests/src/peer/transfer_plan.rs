//! What happens in a random transfer, as both ends know it from the seed.

use crate::scale::Scale;

/// A generator of numbers (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64, lane: u64, index: u64) -> Self {
        let mut random = Self(seed ^ lane.rotate_left(48) ^ index.rotate_left(16));
        // Neighbours begin alike.
        random.next();
        random.fork()
    }

    /// Another one, whose numbers have nothing to do with those that come.
    pub(super) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `most`.
    pub(super) fn up_to(&mut self, most: u64) -> u64 {
        self.next() % most.saturating_add(1).max(1)
    }

    pub(super) fn is_one_in(&mut self, count: u64) -> bool {
        self.up_to(count - 1) == 0
    }
}

/// What happens.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) shape: Shape,
    /// To the server, and to the client.
    pub(super) bytes: [u64; 2],
    /// The client, and the server.
    pub(super) ends: [End; 2],
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// Both send at once, then FIN.
    Duplex,
    /// The client sends, then FIN; then the server does.
    HalfClose,
    /// They take turns.
    PingPong { rounds: u64 },
    /// One of them sends, then RST. If that is the server, the client has said that it is there.
    Reset { by_client: bool },
}

/// How one end goes about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) nonblocking: bool,
    /// Bytes of one call, at most.
    pub(super) write_max: u64,
    pub(super) read_max: u64,
    pub(super) by_sendfile: bool,
    pub(super) is_slow: bool,
}

impl Plan {
    pub(super) fn new(seed: u64, lane: u64, index: u64) -> Self {
        let mut random = Random::new(!seed, lane, index);
        let shape = match random.up_to(9) {
            0..=3 => Shape::Duplex,
            4..=5 => Shape::HalfClose,
            6..=7 => Shape::PingPong { rounds: 1 + random.up_to(49) },
            _ => Shape::Reset { by_client: random.is_one_in(2) },
        };
        let bytes = [bytes(&mut random), bytes(&mut random)];
        let most = bytes[0].max(bytes[1]);
        Self { shape, bytes, ends: [End::new(&mut random, most), End::new(&mut random, most)] }
    }
}

impl End {
    /// `bytes` is what goes one way at most: small calls would take for ever where that is much.
    fn new(random: &mut Random, bytes: u64) -> Self {
        const SIZES: [u64; 6] = [40, 1_500, 16_384, 65_536, 300_000, 1_500_000];
        const CALLS: u64 = 2_000;
        let mut call = || SIZES[usize::try_from(random.up_to(5)).expect("small")].max(bytes / CALLS);
        let (write_max, read_max) = (call(), call());
        Self {
            nonblocking: random.is_one_in(2),
            write_max,
            read_max,
            by_sendfile: random.is_one_in(10),
            is_slow: random.is_one_in(6),
        }
    }
}

/// How much goes one way.
fn bytes(random: &mut Random) -> u64 {
    let large = Scale::current().pick(8 << 20, 3 << 20);
    let most = match random.up_to(99) {
        0..=7 => 1,
        8..=39 => 200,
        40..=69 => 20_000,
        70..=89 => 200_000,
        90..=97 => large / 8,
        _ => large,
    };
    random.up_to(most)
}
