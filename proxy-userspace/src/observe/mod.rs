//! Protocol detection and HTTP, watched as the bytes pass, which never holds one back.
//!
//! ```text
//!            ┌ server byte ─▶ opaque (server-first) ─ unless it may be the SETTINGS of HTTP/2 ─┐
//! silent ────┤                                                                                  ▼
//!            └ client byte ─┬ 0x16 ─▶ ClientHello ─▶ tls                              the preface only
//!                           └ else ─▶ request line ─▶ http/1 ── h2c ──┐                         │
//!                                   ╲ preface ─▶ http/2 (grpc) ◀──────┴─────────────────────────┘
//!
//! http/1, http/2 ──▶ requests and exchanges, told to a Listener ──▶ settled: tunnel, or lost
//! ```
//!
//! Every part is an automaton that takes bytes however they are cut, and what it holds is bounded. An
//! observer that has nothing more to look for holds nothing on the heap but what it has to report.

mod exchange;
#[doc(hidden)]
pub mod fuzzing;
mod http1;
mod http2;
mod observation;
mod parties;
mod tls;
mod trace;
mod wall_clock;

pub use exchange::{
    End, Exchange, Kind, Listener, Lost, MAX_AUTHORITY, MAX_TARGET, Method, Request, UNREADABLE_AUTHORITY,
    Version,
};
pub use observation::{DetectedBy, Observation, Protocol};
pub use parties::Parties;
pub use trace::TraceContext;
pub use wall_clock::WallClock;

use std::time::Instant;

use http1::Http1;
use http2::Http2;
use tls::{ClientHello, HelloReader};

/// Bytes that one connection may hold on the heap, whatever the peers send, but for the fixed size of its state
/// (less than 2 KiB). What would need more is left out, or ends that it is followed.
const MAX_HELD: usize = 32 * 1024;

/// Watches one connection, both directions.
#[derive(Debug)]
pub struct Observer {
    state: State,
}

/// What was seen, and what is awaited.
#[derive(Debug)]
enum State {
    /// Nothing was seen.
    Silent,
    /// Only the server has spoken, and so far as an HTTP/2 server may.
    ServerFirst(Box<Http2>),
    /// The client has begun with what may be HTTP.
    Opening(Box<Opening>),
    /// The client has begun with what may be TLS.
    Hello(Box<HelloReader>),
    /// HTTP/1.
    Http1(Box<Http1>),
    /// HTTP/2; the first request will tell whether it is gRPC.
    Http2(Box<Http2>),
    /// Decided, and nothing more to look for.
    Settled { protocol: Protocol, detected_by: DetectedBy },
    /// Decided: TLS.
    Tls(Box<ClientHello>),
}

/// What an automaton answers to a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// It may match yet.
    More,
    /// It has matched.
    Matched,
    /// It cannot match any more.
    Failed,
}

/// Why a follower of HTTP takes no more bytes.
#[derive(Debug)]
enum Stop {
    /// It is another protocol. Only before the follower has recognised its own.
    Other,
    /// It cannot be followed any further, which is yet to be told.
    Lost(Lost),
    /// From here on it is no HTTP any more; the listener knows.
    Tunnel,
    /// From the server's byte at this index on, and from the client's next one, it is HTTP/2; the listener
    /// knows. The request that began and ended then is open as stream 1.
    Http2 { rest: usize, request: Box<Request>, began: Instant, ended: Instant },
}

impl Observer {
    /// For a connection to be inspected (decision `detect`).
    pub const fn inspecting() -> Self {
        Self { state: State::Silent }
    }

    /// For a connection not to be inspected (decision `opaque`): settled from the start.
    pub const fn not_inspecting() -> Self {
        Self { state: State::Settled { protocol: Protocol::Opaque, detected_by: DetectedBy::Config } }
    }

    /// Watches bytes on their way from the client to the server, read at `now`.
    pub fn client_bytes(&mut self, bytes: &[u8], now: Instant, listener: &mut dyn Listener) {
        let Some(&first) = bytes.first() else {
            return;
        };
        match &mut self.state {
            State::Silent if HelloReader::begins_with(first) => self.state = State::Hello(Box::default()),
            State::Silent => {
                // As a rule the first bytes decide: nothing is put on the heap before they have been looked at.
                let mut opening = Opening::by_client();
                let next = opening.client_bytes(bytes, now, listener);
                self.state = next.unwrap_or_else(|| State::Opening(Box::new(opening)));
                return;
            }
            State::ServerFirst(http2) => {
                self.state = State::Opening(Box::new(Opening::after_server(std::mem::take(&mut **http2))));
            }
            State::Opening(_)
            | State::Hello(_)
            | State::Http1(_)
            | State::Http2(_)
            | State::Settled { .. }
            | State::Tls(_) => {}
        }
        let next = match &mut self.state {
            State::Opening(opening) => opening.client_bytes(bytes, now, listener),
            State::Hello(reader) => reader.watch(bytes).map(State::from),
            State::Http1(http1) => {
                let stop = http1.client_bytes(bytes, now, listener).err();
                stop.map(|stop| after_http1(stop, http1, &[], now, listener))
            }
            State::Http2(http2) => {
                let stop = http2.client_bytes(bytes, now, listener).err();
                stop.map(|stop| after_http2(&stop, http2, listener))
            }
            State::Silent | State::ServerFirst(_) | State::Settled { .. } | State::Tls(_) => None,
        };
        if let Some(next) = next {
            self.state = next;
        }
    }

    /// Watches bytes on their way from the server to the client, read at `now`.
    pub fn server_bytes(&mut self, bytes: &[u8], now: Instant, listener: &mut dyn Listener) {
        if bytes.is_empty() {
            return;
        }
        if matches!(self.state, State::Silent) {
            self.state = State::ServerFirst(Box::default());
        }
        let next = match &mut self.state {
            State::ServerFirst(http2) => {
                http2.server_bytes(bytes, now, listener).is_err().then_some(State::Settled {
                    protocol: Protocol::Opaque,
                    detected_by: DetectedBy::ServerFirst,
                })
            }
            State::Opening(opening) => {
                opening.server_bytes(bytes, now, listener);
                None
            }
            State::Http1(http1) => {
                let stop = http1.server_bytes(bytes, now, listener).err();
                stop.map(|stop| after_http1(stop, http1, bytes, now, listener))
            }
            State::Http2(http2) => {
                let stop = http2.server_bytes(bytes, now, listener).err();
                stop.map(|stop| after_http2(&stop, http2, listener))
            }
            State::Silent | State::Hello(_) | State::Settled { .. } | State::Tls(_) => None,
        };
        if let Some(next) = next {
            self.state = next;
        }
    }

    /// The server has finished (FIN).
    pub fn server_finished(&mut self, now: Instant, listener: &mut dyn Listener) {
        if let State::Http1(http1) = &mut self.state
            && let Err(stop) = http1.server_finished(now, listener)
        {
            self.state = after_http1(stop, http1, &[], now, listener);
        }
    }

    /// The connection is over: so is every request that is still open.
    pub fn close(&mut self, end: End, now: Instant, listener: &mut dyn Listener) {
        match &mut self.state {
            State::Http1(http1) => http1.close(end, now, listener),
            State::Http2(http2) => http2.close(end, now, listener),
            State::Silent
            | State::ServerFirst(_)
            | State::Opening(_)
            | State::Hello(_)
            | State::Settled { .. }
            | State::Tls(_) => {}
        }
    }

    /// The best that is known now; at the connection's close, the final word.
    pub fn observation(&self) -> Observation {
        use {DetectedBy::ClientBytes, Protocol::Opaque};
        match &self.state {
            State::Silent => Observation::plain(Opaque, DetectedBy::Silent),
            State::ServerFirst(_) => Observation::plain(Opaque, DetectedBy::ServerFirst),
            State::Opening(opening) => Observation::plain(Opaque, opening.otherwise),
            State::Hello(reader) if reader.is_tls() => Observation::plain(Protocol::Tls, ClientBytes),
            State::Hello(_) => Observation::plain(Opaque, ClientBytes),
            State::Http1(_) => Observation::plain(Protocol::Http1, ClientBytes),
            State::Http2(http2) => Observation::plain(protocol_of(http2), ClientBytes),
            State::Settled { protocol, detected_by } => Observation::plain(*protocol, *detected_by),
            State::Tls(hello) => Observation {
                sni: hello.sni.clone(),
                alpn: hello.alpn.clone(),
                ..Observation::plain(Protocol::Tls, ClientBytes)
            },
        }
    }

    /// Whether nothing can change the observation any more.
    pub const fn is_known(&self) -> bool {
        match &self.state {
            State::Http2(http2) => http2.is_grpc().is_some(),
            State::Http1(_) | State::Settled { .. } | State::Tls(_) => true,
            State::Silent | State::ServerFirst(_) | State::Opening(_) | State::Hello(_) => false,
        }
    }

    /// Whether more bytes can tell more.
    pub const fn wants_bytes(&self) -> bool {
        !matches!(self.state, State::Settled { .. } | State::Tls(_))
    }

    /// Bytes held on the heap, but for the fixed size of the state.
    #[cfg(test)]
    fn held(&self) -> usize {
        match &self.state {
            State::Hello(reader) => reader.held(),
            State::Opening(opening) => {
                opening.http1.as_ref().map_or(0, Http1::held) + opening.http2.as_ref().map_or(0, Http2::held)
            }
            State::Http1(http1) => http1.held(),
            State::Http2(http2) | State::ServerFirst(http2) => http2.held(),
            State::Silent | State::Settled { .. } | State::Tls(_) => 0,
        }
    }
}

/// What HTTP/2 is known to carry.
const fn protocol_of(http2: &Http2) -> Protocol {
    match http2.is_grpc() {
        Some(true) => Protocol::Grpc,
        Some(false) | None => Protocol::Http2,
    }
}

/// What follows when HTTP/1 is not followed any further; `bytes` are the server's, where they stopped it.
fn after_http1(
    stop: Stop,
    http1: &mut Http1,
    bytes: &[u8],
    now: Instant,
    listener: &mut dyn Listener,
) -> State {
    match stop {
        Stop::Lost(why) => http1.lost(why, listener),
        Stop::Tunnel | Stop::Other => {}
        Stop::Http2 { rest, request, began, ended } => {
            let mut http2 = Box::new(Http2::upgraded(*request, began, ended));
            let rest = bytes.get(rest..).unwrap_or_default();
            return match http2.server_bytes(rest, now, listener) {
                Ok(()) => State::Http2(http2),
                Err(stop) => after_http2(&stop, &mut http2, listener),
            };
        }
    }
    State::by_client(Protocol::Http1)
}

/// What follows when HTTP/2 is not followed any further.
fn after_http2(stop: &Stop, http2: &mut Http2, listener: &mut dyn Listener) -> State {
    match stop {
        Stop::Lost(why) => http2.lost(*why, listener),
        // After an upgrade, when the preface does not come.
        Stop::Other => http2.lost(Lost::MalformedHttp2, listener),
        Stop::Tunnel | Stop::Http2 { .. } => {}
    }
    State::by_client(protocol_of(http2))
}

impl State {
    /// Settled by what the client sent.
    const fn by_client(protocol: Protocol) -> Self {
        Self::Settled { protocol, detected_by: DetectedBy::ClientBytes }
    }
}

impl From<tls::Read> for State {
    fn from(read: tls::Read) -> Self {
        match read {
            tls::Read::Tls(hello) => Self::Tls(Box::new(hello)),
            tls::Read::Other => Self::by_client(Protocol::Opaque),
        }
    }
}

/// The start of a client's bytes, followed as HTTP/1 and as HTTP/2: both may start on `PRI `.
#[derive(Debug)]
struct Opening {
    http1: Option<Http1>,
    http2: Option<Http2>,
    /// What makes the connection opaque if it is neither.
    otherwise: DetectedBy,
}

impl Opening {
    /// The client speaks first.
    fn by_client() -> Self {
        Self { http1: Some(Http1::new()), http2: Some(Http2::new()), otherwise: DetectedBy::ClientBytes }
    }

    /// The server has begun as an HTTP/2 server does: there is nothing else it may be.
    const fn after_server(http2: Http2) -> Self {
        Self { http1: None, http2: Some(http2), otherwise: DetectedBy::ServerFirst }
    }

    /// Takes the client's next bytes; answers with the next state when they are known for one of the two, or
    /// for neither.
    fn client_bytes(&mut self, bytes: &[u8], now: Instant, listener: &mut dyn Listener) -> Option<State> {
        if let Some(http2) = &mut self.http2 {
            let followed = http2.client_bytes(bytes, now, listener);
            match (followed, http2.is_http()) {
                (Ok(()), true) => return self.http2.take().map(|http2| State::Http2(Box::new(http2))),
                (Err(stop), true) => return Some(after_http2(&stop, http2, listener)),
                (Ok(()), false) => {}
                (Err(_other), false) => self.http2 = None,
            }
        }
        if let Some(http1) = &mut self.http1 {
            let followed = http1.client_bytes(bytes, now, listener);
            match (followed, http1.is_http()) {
                (Ok(()), true) => return self.http1.take().map(|http1| State::Http1(Box::new(http1))),
                (Err(stop), true) => return Some(after_http1(stop, http1, &[], now, listener)),
                (Ok(()), false) => {}
                (Err(_other), false) => self.http1 = None,
            }
        }
        let is_neither = self.http1.is_none() && self.http2.is_none();
        is_neither.then_some(State::Settled { protocol: Protocol::Opaque, detected_by: self.otherwise })
    }

    /// Takes the server's next bytes: they may come while the client's preface or request line is cut.
    fn server_bytes(&mut self, bytes: &[u8], now: Instant, listener: &mut dyn Listener) {
        if self.http2.as_mut().is_some_and(|http2| http2.server_bytes(bytes, now, listener).is_err()) {
            self.http2 = None;
        }
        if self.http1.as_mut().is_some_and(|http1| http1.server_bytes(bytes, now, listener).is_err()) {
            self.http1 = None;
        }
    }
}

/// Appends to a buffer that never grows beyond `limit`. Its room follows what came, not what was announced.
fn append(buffer: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    let needed = buffer.len() + bytes.len();
    if needed > buffer.capacity() {
        let room = (2 * buffer.capacity()).max(512).min(limit).max(needed);
        buffer.reserve_exact(room - buffer.len());
    }
    buffer.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
