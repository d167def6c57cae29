//! Tests of the follower: a corpus of exchanges, cut in every way.

mod bodies;
mod expectations;
mod heads;
mod limits;
mod order;
mod unfinished;
mod upgrades;

use std::fmt::Write as _;

use proptest::prelude::*;

use self::Turn::{Client, Close, Finish, Server};
use super::{
    super::{Exchange, Kind, MAX_HELD, Request},
    *,
};

/// What passes on a connection, in an order that it may happen in.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// The client sends.
    Client(&'static [u8]),
    /// The server sends.
    Server(&'static [u8]),
    /// The server finishes.
    Finish,
    /// The connection is over.
    Close(End),
}

/// A connection, and what is to be told of it.
struct Scenario {
    name: &'static str,
    turns: &'static [Turn],
    /// `> METHOD VERSION AUTHORITY TARGET …` for a request, `< METHOD STATUS BYTES …` for an exchange.
    told: &'static [&'static str],
}

/// Every connection of the corpus.
fn corpus() -> impl Iterator<Item = &'static Scenario> {
    [bodies::CORPUS, expectations::CORPUS, heads::CORPUS, order::CORPUS, unfinished::CORPUS, upgrades::CORPUS]
        .into_iter()
        .flatten()
}

/// Writes down what it is told.
#[derive(Default)]
struct Record {
    lines: Vec<String>,
    requests: usize,
    ended: usize,
}

impl Listener for Record {
    fn wants_details(&self) -> bool {
        true
    }

    fn request(&mut self, request: &Request) {
        self.requests += 1;
        let Request { version, method, kind, authority, target, trace } = request;
        let (authority, target) = (authority.as_deref().unwrap_or("-"), target.as_deref().unwrap_or("-"));
        let mut line = format!("> {} {} {authority} {target}", method.label(), version.label());
        if *kind != Kind::Http {
            write!(line, " {kind:?}").unwrap();
        }
        if let Some(trace) = trace {
            write!(line, " trace={:x}", u128::from_be_bytes(trace.trace_id)).unwrap();
        }
        self.lines.push(line);
    }

    fn exchange(&mut self, exchange: &Exchange<'_>) {
        self.ended += 1;
        let status = exchange.status.map_or("-".to_owned(), |status| status.to_string());
        let mut line = format!("< {} {status} {}", exchange.request.method.label(), exchange.response_bytes);
        if let Some(status) = exchange.grpc_status {
            write!(line, " grpc={status}").unwrap();
        }
        if exchange.request_ended.is_none() {
            line.push_str(" unended");
        }
        if exchange.end != End::Complete {
            write!(line, " {:?}", exchange.end).unwrap();
        }
        assert_eq!(exchange.status.is_some(), exchange.response_began.is_some());
        self.lines.push(line);
    }

    fn upgraded(&mut self, to: &str) {
        self.lines.push(format!("upgraded {to}"));
    }

    fn untracked(&mut self, why: Lost) {
        panic!("HTTP/1 tracks every request, {why:?}");
    }

    fn lost(&mut self, why: Lost, open: usize) {
        self.ended += open;
        self.lines.push(format!("lost {} {open}", why.label()));
    }
}

/// A connection that is followed until it cannot be.
struct Followed {
    http1: Http1,
    record: Record,
    is_stopped: bool,
    /// Bytes that the server has sent.
    server_bytes: usize,
}

impl Followed {
    fn new() -> Self {
        Self { http1: Http1::new(), record: Record::default(), is_stopped: false, server_bytes: 0 }
    }

    /// Shows the pieces of a turn.
    fn turn<'a>(&mut self, turn: Turn, pieces: impl IntoIterator<Item = &'a [u8]>) {
        let now = Instant::now();
        for piece in pieces {
            let fed = match turn {
                _ if self.is_stopped => Ok(()),
                Client(_) => self.http1.client_bytes(piece, now, &mut self.record),
                Server(_) => {
                    self.server_bytes += piece.len();
                    self.http1.server_bytes(piece, now, &mut self.record)
                }
                Finish => self.http1.server_finished(now, &mut self.record),
                Close(end) => {
                    self.http1.close(end, now, &mut self.record);
                    assert_eq!(self.http1.open(), 0);
                    Ok(())
                }
            };
            assert!(self.http1.held() <= MAX_HELD, "{} bytes are held", self.http1.held());
            if let Err(stop) = fed {
                self.stop(stop, piece);
            }
        }
    }

    /// As the observer does.
    fn stop(&mut self, stop: Stop, piece: &[u8]) {
        self.is_stopped = true;
        match stop {
            Stop::Other => self.record.lines.push("other".to_owned()),
            Stop::Lost(why) => self.http1.lost(why, &mut self.record),
            Stop::Tunnel => self.record.lines.push("tunnel".to_owned()),
            Stop::Http2 { rest, request, .. } => {
                self.record.ended += 1;
                let head_bytes = self.server_bytes - piece.len() + rest;
                self.record.lines.push(format!("http/2 {} {head_bytes}", request.method.label()));
            }
        }
    }

    /// What was told in the end.
    fn told(mut self) -> Vec<String> {
        if !self.is_stopped {
            self.turn(Close(End::Cut), [&b""[..]]);
        }
        assert_eq!(self.record.ended, self.record.requests, "every request ends once");
        self.record.lines
    }
}

/// The bytes of a turn.
const fn bytes_of(turn: Turn) -> &'static [u8] {
    match turn {
        Client(bytes) | Server(bytes) => bytes,
        Finish | Close(_) => b"",
    }
}

/// What is told of these turns, each cut by `cut`, which is given its index and its bytes.
fn told<'a>(turns: &[Turn], mut cut: impl FnMut(usize, &'a [u8]) -> Vec<&'a [u8]>) -> Vec<String> {
    let mut followed = Followed::new();
    for (index, &turn) in turns.iter().enumerate() {
        followed.turn(turn, cut(index, bytes_of(turn)));
    }
    followed.told()
}

/// What is told of these turns, uncut.
fn told_whole(turns: &[Turn]) -> Vec<String> {
    told(turns, |_, bytes| vec![bytes])
}

/// Pieces of `bytes`, their lengths taken from `lengths` in turn.
fn pieces<'a>(mut bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for &length in lengths {
        let (piece, rest) = bytes.split_at(length.min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

#[test]
fn the_corpus_is_told_as_it_is() {
    for scenario in corpus() {
        assert_eq!(told_whole(scenario.turns), scenario.told, "{}", scenario.name);
    }
}

#[test]
fn the_corpus_is_told_the_same_byte_by_byte() {
    for scenario in corpus() {
        let by_bytes =
            told(
                scenario.turns,
                |_, bytes| {
                    if bytes.is_empty() { vec![bytes] } else { bytes.chunks(1).collect() }
                },
            );
        assert_eq!(by_bytes, scenario.told, "{}", scenario.name);
    }
}

#[test]
fn the_corpus_is_told_the_same_cut_in_two_anywhere() {
    for scenario in corpus() {
        for (cut_turn, &turn) in scenario.turns.iter().enumerate() {
            for at in 1..bytes_of(turn).len() {
                let cut_once = told(scenario.turns, |index, bytes| match bytes.split_at_checked(at) {
                    Some((head, tail)) if index == cut_turn => vec![head, tail],
                    _ => vec![bytes],
                });
                assert_eq!(cut_once, scenario.told, "{}: turn {cut_turn} cut at {at}", scenario.name);
            }
        }
    }
}

#[test]
fn a_connection_may_be_cut_short_anywhere() {
    for scenario in corpus() {
        for (last, &turn) in scenario.turns.iter().enumerate() {
            for end in 0..bytes_of(turn).len() {
                // What is asserted is that every request ends once.
                told(&scenario.turns[..=last], |index, bytes| {
                    vec![if index == last { &bytes[..end] } else { bytes }]
                });
            }
        }
    }
}

/// Bytes that either side may send, sound and unsound.
const FRAGMENTS: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /b HTTP/1.0\nContent-Length: 3\n\nabc",
    b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n\r\n",
    b"PUT /e HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    b"PUT /e HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET /w HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
    b"GET /h HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
    b"POST /s/m HTTP/1.1\r\nContent-Type: application/grpc-web\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web\r\n\r\n\0\0\0\0\x01x\x80\0\0\0\x0egrpc-status: 0",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n\0",
    b"HTTP/1.1 304 Not Modified\r\n\r\n",
    b"\r\n",
    b"\xff\x00 :\r",
    b"Host: b\r\n c\r\n",
];

proptest! {
    #[test]
    fn the_corpus_is_told_the_same_however_cut(
        index in 0..corpus().count(),
        lengths in prop::collection::vec(prop::collection::vec(0..40_usize, 0..30), 1..5),
    ) {
        let scenario = corpus().nth(index).unwrap();
        let cut = told(scenario.turns, |turn, bytes| pieces(bytes, &lengths[turn % lengths.len()]));
        prop_assert_eq!(cut, scenario.told);
    }

    #[test]
    fn anything_is_told_the_same_however_cut(
        turns in prop::collection::vec((any::<bool>(), 0..FRAGMENTS.len()), 0..20),
        end in prop::sample::select(vec![Finish, Close(End::Cut), Close(End::ServerReset)]),
        lengths in prop::collection::vec(prop::collection::vec(0..20_usize, 0..9), 1..5),
    ) {
        let start = Client(b"GET /first HTTP/1.1\r\n\r\n");
        let turns = turns.into_iter().map(|(is_client, fragment)| {
            if is_client { Client(FRAGMENTS[fragment]) } else { Server(FRAGMENTS[fragment]) }
        });
        let turns: Vec<Turn> = [start].into_iter().chain(turns).chain([end]).collect();
        let cut = told(&turns, |turn, bytes| pieces(bytes, &lengths[turn % lengths.len()]));
        prop_assert_eq!(cut, told_whole(&turns));
    }

    #[test]
    fn a_corrupted_connection_is_told_the_same_however_cut(
        index in 0..corpus().count(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..4),
        lengths in prop::collection::vec(0..40_usize, 0..30),
    ) {
        let turns = corpus().nth(index).unwrap().turns;
        let mut all: Vec<Vec<u8>> = turns.iter().map(|&turn| bytes_of(turn).to_vec()).collect();
        for (turn, at, byte) in changes {
            let bytes = turn.get_mut(&mut all);
            if !bytes.is_empty() {
                *at.get_mut(bytes) = byte;
            }
        }
        let follow = |lengths: &[usize]| {
            let mut followed = Followed::new();
            for (&turn, bytes) in turns.iter().zip(&all) {
                followed.turn(turn, pieces(bytes, lengths));
            }
            followed.told()
        };
        prop_assert_eq!(follow(&lengths), follow(&[]));
    }

    #[test]
    fn random_bytes_never_panic(
        turns in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 0..20),
    ) {
        let mut followed = Followed::new();
        followed.turn(Client(b""), [&b"GET / HTTP/1.1\r\n"[..]]);
        for (is_client, bytes) in &turns {
            followed.turn(if *is_client { Client(b"") } else { Server(b"") }, [&bytes[..]]);
        }
        followed.told();
    }
}
