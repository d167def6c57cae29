//! Tests of the follower: conversations written by hand, cut in every way.

mod bounds;
mod conversations;
mod rules;

use std::{fmt::Write as _, time::Duration};

use super::{frames::MAX_BLOCK, streams::MAX_OPEN, *};
use crate::observe::{Exchange, TraceContext};

/// Frame types and flags.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY_FRAME: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 32;
/// A head that is all.
const WHOLE: u8 = END_HEADERS | END_STREAM;

/// What a client opens with, SETTINGS included.
const OPENING: &[u8] =
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x00\x01\x00\x00";
/// What a server opens with.
const SERVER_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}
use Side::{Client, Server};

/// What is sent, in turn; each at a second of its own.
type Steps = Vec<(Side, Vec<u8>)>;

/// A frame.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block: fields that go into no table, all raw.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "one byte gives the length");
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// HEADERS with these fields.
fn headers(flags: u8, stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, flags, stream, &block(fields))
}

/// A GET that is all.
fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &[&[0x82, 0x86, 0x84][..], &block(&[(":authority", "a.test")])].concat())
}

/// The head of a call of gRPC.
fn call(stream: u32, path: &str) -> Vec<u8> {
    let fields = [(":path", path), ("content-type", "application/grpc"), ("host", "b.test")];
    frame(HEADERS, END_HEADERS, stream, &[&[0x83, 0x86][..], &block(&fields)].concat())
}

/// A response's head with status 200.
fn ok(flags: u8, stream: u32) -> Vec<u8> {
    frame(HEADERS, flags, stream, &[0x88])
}

/// Writes down what it learns.
struct Recorder {
    start: Instant,
    events: Vec<String>,
    with_details: bool,
}

impl Recorder {
    fn new(with_details: bool) -> Self {
        Self { start: Instant::now(), events: Vec::new(), with_details }
    }

    /// A time as the number of its step, or `-`.
    fn step(&self, at: Option<Instant>) -> String {
        at.map_or("-".to_owned(), |at| (at - self.start).as_secs().to_string())
    }
}

/// A request in few words.
fn words(request: &Request) -> String {
    let mut words = format!(
        "{} {:?} {} {}",
        request.method.label(),
        request.kind,
        request.authority.as_deref().unwrap_or("-"),
        request.target.as_deref().unwrap_or("-")
    );
    if let Some(TraceContext { sampled, .. }) = request.trace.as_deref() {
        write!(words, " traced({sampled})").unwrap();
    }
    words
}

impl Listener for Recorder {
    fn wants_details(&self) -> bool {
        self.with_details
    }

    fn request(&mut self, request: &Request) {
        assert_eq!(request.version, crate::observe::Version::Http2);
        self.events.push(format!("request {}", words(request)));
    }

    fn exchange(&mut self, exchange: &Exchange<'_>) {
        let text = |number: Option<u32>| number.map_or("-".to_owned(), |number| number.to_string());
        self.events.push(format!(
            "{} {}: {} grpc {} {} bytes {}/{}/{}/{}",
            match exchange.end {
                End::Complete => "complete",
                End::ClientReset => "client-reset",
                End::ClientLeft => "client-left",
                End::ServerReset => "server-reset",
                End::Cut => "cut",
            },
            words(exchange.request),
            text(exchange.status.map(u32::from)),
            text(exchange.grpc_status),
            exchange.response_bytes,
            self.step(Some(exchange.began)),
            self.step(exchange.request_ended),
            self.step(exchange.response_began),
            self.step(Some(exchange.ended)),
        ));
    }

    fn upgraded(&mut self, to: &str) {
        self.events.push(format!("upgraded {to}"));
    }

    fn untracked(&mut self, why: Lost) {
        self.events.push(format!("untracked {}", why.label()));
    }

    fn lost(&mut self, why: Lost, open: usize) {
        self.events.push(format!("lost {} {open}", why.label()));
    }
}

/// Follows the steps, each cut by `pieces`, from this follower on; then the connection closes.
fn follow_from<'a>(
    mut http2: Http2,
    mut recorder: Recorder,
    steps: &'a [(Side, Vec<u8>)],
    mut pieces: impl FnMut(&'a [u8]) -> Vec<&'a [u8]>,
) -> Vec<String> {
    let second = |step: usize| Duration::from_secs(u64::try_from(step).unwrap());
    for (step, (side, bytes)) in steps.iter().enumerate() {
        let now = recorder.start + second(step);
        for piece in pieces(bytes) {
            let followed = match side {
                Client => http2.client_bytes(piece, now, &mut recorder),
                Server => http2.server_bytes(piece, now, &mut recorder),
            };
            assert!(http2.held() <= MAX_HELD, "{} bytes", http2.held());
            match followed {
                Ok(()) => {}
                Err(Stop::Lost(why)) => {
                    assert!(http2.is_http());
                    http2.lost(why, &mut recorder);
                    return recorder.events;
                }
                Err(stop) => {
                    assert!(!http2.is_http() && matches!(stop, Stop::Other));
                    recorder.events.push("other".to_owned());
                    return recorder.events;
                }
            }
        }
    }
    let now = recorder.start + second(steps.len());
    http2.close(End::Cut, now, &mut recorder);
    assert_eq!(http2.open(), 0);
    recorder.events
}

/// What is learnt from the steps, each in one piece.
fn follow(steps: &[(Side, Vec<u8>)]) -> Vec<String> {
    follow_from(Http2::new(), Recorder::new(false), steps, |bytes| vec![bytes])
}

/// A conversation from its openings on.
fn opened(steps: impl IntoIterator<Item = (Side, Vec<u8>)>) -> Steps {
    [(Client, OPENING.to_vec()), (Server, SERVER_SETTINGS.to_vec())].into_iter().chain(steps).collect()
}
