//! Shows a conversation to an observer, whole and cut, and compares what is told.

use std::time::Instant;

use sluice::observe::{Observation, Observer, Protocol};

use crate::{
    conversation::{Conversation, Turn},
    memory::Watch,
    record::Record,
};

/// Bytes on the heap for the protocol that a connection has turned out to be, everything counted: what the
/// observer itself is made of, what it holds, and what it needs for a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) http1: usize,
    pub(crate) http2: usize,
    pub(crate) tls: usize,
    /// Until it is known, and where it is none of them.
    pub(crate) other: usize,
}

/// What `observe` promises: HTTP/2 32 KiB, and what grows has its old room beside the new one for a moment; a
/// ClientHello 16 KiB with its header and then the names in it; HTTP/1 the texts of 64 requests.
pub(crate) const BOUNDS: Bounds =
    Bounds { http1: 20 * 1024, http2: 64 * 1024, tls: 24 * 1024, other: 20 * 1024 };

/// What an observer says in the end.
#[derive(Debug, PartialEq, Eq)]
struct Word {
    observation: Observation,
    is_known: bool,
    wants_bytes: bool,
    told: u64,
}

/// Holds the observers to their promises with this conversation.
pub(crate) fn hold(conversation: &Conversation) {
    let start = Instant::now();
    let follow = |cut: Option<u16>| {
        let mut record = Record::new(conversation.wants_details, start);
        let word = follow(conversation, cut, &mut record);
        (word, record)
    };
    let (whole, _) = follow(None);
    let (cut, _) = follow(Some(conversation.cut));
    if whole != cut {
        differ(conversation, start);
    }
}

/// Says how what is told differs.
fn differ(conversation: &Conversation, start: Instant) -> ! {
    let lines = |cut: Option<u16>| {
        let mut record = Record::with_lines(conversation.wants_details, start);
        let word = follow(conversation, cut, &mut record);
        (record.into_lines(), word)
    };
    let (whole, cut) = (lines(None), lines(Some(conversation.cut)));
    panic!("it matters how the bytes are cut\n{conversation:#?}\nin one piece: {whole:#?}\ncut: {cut:#?}");
}

/// Follows a conversation to its end.
fn follow(conversation: &Conversation, cut: Option<u16>, record: &mut Record) -> Word {
    let watch = Watch::start();
    let keeps_lines = record.lines_are_kept();
    let mut observer = Observer::inspecting();
    for (at, turn) in conversation.turns.iter().enumerate() {
        let now = record.time(at);
        let mut pieces = Pieces::of(turn.bytes(), cut);
        match turn {
            Turn::Client(_) => pieces.each(|piece| observer.client_bytes(piece, now, record)),
            Turn::Server(_) => pieces.each(|piece| observer.server_bytes(piece, now, record)),
            Turn::Finish => observer.server_finished(now, record),
        }
        if !keeps_lines {
            check_memory(&observer, record, &watch);
        }
    }
    observer.close(conversation.end, record.time(conversation.turns.len()), record);
    record.close();
    Word {
        observation: observer.observation(),
        is_known: observer.is_known(),
        wants_bytes: observer.wants_bytes(),
        told: record.digest(),
    }
}

/// Holds the observer to its bounds.
fn check_memory(observer: &Observer, record: &Record, watch: &Watch) {
    let (peak, live) = (watch.peak(), watch.live());
    // What is reported allocates too.
    let Observation { protocol, sni, alpn, .. } = observer.observation();
    let bound = match protocol {
        Protocol::Http1 if record.is_h2c => BOUNDS.http2,
        Protocol::Http1 => BOUNDS.http1,
        Protocol::Http2 | Protocol::Grpc => BOUNDS.http2,
        Protocol::Tls => BOUNDS.tls,
        // It may have begun with what the others begin with.
        Protocol::Opaque => BOUNDS.other,
    };
    assert!(peak <= bound, "{peak} bytes for {protocol:?}, more than {bound}");
    if !observer.wants_bytes() {
        let reported = if protocol == Protocol::Tls {
            // The parts that are shared out, a vector that may have grown to twice its use, the box itself.
            sni.map_or(0, |sni| sni.len()) + alpn.iter().map(String::len).sum::<usize>() + 32 * 24 + 64
        } else {
            0
        };
        assert!(live <= reported, "{live} bytes for a settled {protocol:?}, to report {reported}");
    }
}

/// Bytes in pieces.
struct Pieces<'a> {
    rest: &'a [u8],
    cut: Cut,
}

/// How long the next piece is.
enum Cut {
    /// All.
    Not,
    /// One byte.
    Bytes,
    /// By chance.
    Chance(u32),
}

impl<'a> Pieces<'a> {
    fn of(bytes: &'a [u8], cut: Option<u16>) -> Self {
        let cut = match cut {
            None => Cut::Not,
            Some(0) => Cut::Bytes,
            Some(seed) => Cut::Chance(u32::from(seed)),
        };
        Self { rest: bytes, cut }
    }

    fn each(&mut self, mut show: impl FnMut(&'a [u8])) {
        while !self.rest.is_empty() {
            let length = self.cut.next().min(self.rest.len());
            let (piece, rest) = self.rest.split_at(length);
            self.rest = rest;
            show(piece);
        }
    }
}

impl Cut {
    fn next(&mut self) -> usize {
        match self {
            Self::Not => usize::MAX,
            Self::Bytes => 1,
            Self::Chance(state) => {
                // Xorshift: never zero, as it did not begin so.
                *state ^= *state << 13;
                *state ^= *state >> 17;
                *state ^= *state << 5;
                // Mostly a few bytes; now and then as many as a record or a frame has. None is a piece too.
                let longest = [2, 8, 40, 1000][*state as usize % 4];
                (*state >> 8) as usize % longest
            }
        }
    }
}
