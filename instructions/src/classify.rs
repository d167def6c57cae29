//! The observer: what a connection's first bytes are, and a request and its answer on one that goes on.

use std::{hint::black_box, time::Instant};

use anyhow::{Result, ensure};
use sluice::observe::{Exchange, Listener, Lost, Observer, Protocol, Request};

use crate::repeat;

const HTTP1: &[u8] = include_bytes!("../../proxy-userspace/src/observe/testdata/http1_curl.bin");
const HTTP2: &[u8] = include_bytes!("../../proxy-userspace/src/observe/testdata/http2_curl.bin");
const TLS: &[u8] = include_bytes!("../../proxy-userspace/src/observe/testdata/tls_curl.bin");
/// What a client of Redis begins with.
const RESP: &[u8] = b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
const BANNER: &[u8] = b"220 mail.test ESMTP ready\r\n";

/// A request of a client that keeps its connection.
pub(crate) const REQUEST: &[u8] =
    b"GET /items/17 HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: test/1\r\nAccept: */*\r\n\r\n";
/// Its answer.
pub(crate) const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\nhello, world";

/// Settings of an HTTP/2 server, none of them.
const SERVER_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
/// The lowest stream that the requests here are on: the first flight above has stream 1.
const FIRST_STREAM: u32 = 3;
/// GET, http, /, and the authority that the first request has put into the table: its oldest entry of three.
const NEXT_REQUEST: &[u8] = &[0x82, 0x86, 0x84, 0x80 | 64];
/// 200.
const NEXT_ANSWER: &[u8] = &[0x88];
/// Flags of a HEADERS frame: END_STREAM and END_HEADERS.
const WHOLE: u8 = 0x1 | 0x4;

pub(crate) fn http1() -> Result<()> {
    by_client(HTTP1, Protocol::Http1)
}

pub(crate) fn http2() -> Result<()> {
    by_client(HTTP2, Protocol::Http2)
}

pub(crate) fn tls() -> Result<()> {
    by_client(TLS, Protocol::Tls)
}

pub(crate) fn opaque() -> Result<()> {
    by_client(RESP, Protocol::Opaque)
}

/// A client's first bytes.
fn by_client(bytes: &'static [u8], expected: Protocol) -> Result<()> {
    let now = Instant::now();
    repeat(|turn| {
        let mut observer = Observer::inspecting();
        turn.count(|| observer.client_bytes(black_box(bytes), now, &mut Told::default()));
        expect(&observer, expected)
    })
}

pub(crate) fn banner() -> Result<()> {
    let now = Instant::now();
    repeat(|turn| {
        let mut observer = Observer::inspecting();
        turn.count(|| observer.server_bytes(black_box(BANNER), now, &mut Told::default()));
        expect(&observer, Protocol::Opaque)
    })
}

fn expect(observer: &Observer, expected: Protocol) -> Result<()> {
    let seen = observer.observation().protocol;
    ensure!(seen == expected, "expected {}, the observer saw {}", expected.label(), seen.label());
    Ok(())
}

pub(crate) fn http1_exchange() -> Result<()> {
    let now = Instant::now();
    let mut observer = Observer::inspecting();
    repeat(|turn| {
        let mut told = Told::default();
        turn.count(|| {
            observer.client_bytes(black_box(REQUEST), now, &mut told);
            observer.server_bytes(black_box(ANSWER), now, &mut told);
        });
        told.one()
    })
}

pub(crate) fn http2_exchange() -> Result<()> {
    let now = Instant::now();
    let mut observer = Observer::inspecting();
    observer.client_bytes(HTTP2, now, &mut Told::default());
    observer.server_bytes(SERVER_SETTINGS, now, &mut Told::default());
    let mut stream = FIRST_STREAM;
    repeat(|turn| {
        let (request, answer) = (headers(stream, NEXT_REQUEST), headers(stream, NEXT_ANSWER));
        stream += 2;
        let mut told = Told::default();
        turn.count(|| {
            observer.client_bytes(&request, now, &mut told);
            observer.server_bytes(&answer, now, &mut told);
        });
        told.one()
    })
}

/// A HEADERS frame that is a whole message.
fn headers(stream: u32, block: &[u8]) -> Vec<u8> {
    let len = u8::try_from(block.len()).unwrap_or(u8::MAX);
    let mut frame = vec![0, 0, len, 1, WHOLE];
    frame.extend(stream.to_be_bytes());
    frame.extend(block);
    frame
}

/// How many exchanges were told.
#[derive(Default)]
struct Told(u32);

impl Told {
    fn one(&self) -> Result<()> {
        ensure!(self.0 == 1, "expected one exchange, the observer told of {}", self.0);
        Ok(())
    }
}

impl Listener for Told {
    fn request(&mut self, _: &Request) {}
    fn exchange(&mut self, _: &Exchange<'_>) {
        self.0 += 1;
    }
    fn upgraded(&mut self, _: &str) {}
    fn untracked(&mut self, _: Lost) {}
    fn lost(&mut self, _: Lost, _: usize) {}
}
