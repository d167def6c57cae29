//! Protocol detection that watches a connection's bytes as they pass, and never holds one back.
//!
//! ```text
//!            ┌ server byte ─▶ opaque (server-first) ─ unless it may be the SETTINGS of HTTP/2 ─┐
//! silent ────┤                                                                                  ▼
//!            └ client byte ─┬ 0x16 ─▶ ClientHello ─▶ tls                              the preface only
//!                           └ else ─▶ request line ─▶ http/1                                    │
//!                                   ╲ preface ─▶ http/2 ─▶ first HEADERS ─▶ grpc ◀──────────────┘
//! ```
//!
//! Every part is an automaton that takes bytes however they are cut, and what it holds is bounded. An
//! observer that has decided, or has seen nothing, holds nothing on the heap but what it has to report.

mod hpack;
mod http1;
mod http2;
mod huffman;
mod observation;
mod tls;

pub use observation::{DetectedBy, Observation, Protocol};

use http1::RequestLine;
use http2::{FirstRequest, Preface, ServerSettings};
use tls::{ClientHello, HelloReader};

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
    ServerSettings(ServerSettings),
    /// The client has begun with what may be HTTP.
    Opening(Opening),
    /// The client has begun with what may be TLS.
    Hello(Box<HelloReader>),
    /// HTTP/2; the first request will tell whether it is gRPC.
    Frames(Box<FirstRequest>),
    /// Decided, for good.
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

impl Observer {
    /// For a connection to be inspected (decision `detect`).
    pub const fn inspecting() -> Self {
        Self { state: State::Silent }
    }

    /// For a connection not to be inspected (decision `opaque`): settled from the start.
    pub const fn not_inspecting() -> Self {
        Self { state: State::Settled { protocol: Protocol::Opaque, detected_by: DetectedBy::Config } }
    }

    /// Watches bytes on their way from the client to the server.
    pub fn client_bytes(&mut self, bytes: &[u8]) {
        let Some(&first) = bytes.first() else {
            return;
        };
        match self.state {
            State::Silent if HelloReader::begins_with(first) => self.state = State::Hello(Box::default()),
            State::Silent => self.state = State::Opening(Opening::by_client()),
            State::ServerSettings(_) => self.state = State::Opening(Opening::after_server()),
            State::Opening(_)
            | State::Hello(_)
            | State::Frames(_)
            | State::Settled { .. }
            | State::Tls(_) => {}
        }
        let next = match &mut self.state {
            State::Opening(opening) => opening.watch(bytes),
            State::Hello(reader) => reader.watch(bytes).map(State::from),
            State::Frames(frames) => frames.watch(bytes).map(State::by_client),
            State::Silent | State::ServerSettings(_) | State::Settled { .. } | State::Tls(_) => None,
        };
        if let Some(next) = next {
            self.state = next;
        }
    }

    /// Watches bytes on their way from the server to the client. They matter only before the client's.
    pub fn server_bytes(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if matches!(self.state, State::Silent) {
            self.state = State::ServerSettings(ServerSettings::default());
        }
        if let State::ServerSettings(settings) = &mut self.state
            && !settings.watch(bytes)
        {
            self.state = State::Settled { protocol: Protocol::Opaque, detected_by: DetectedBy::ServerFirst };
        }
    }

    /// The best that is known now; at the connection's close, the final word.
    pub fn observation(&self) -> Observation {
        use {DetectedBy::ClientBytes, Protocol::Opaque};
        match &self.state {
            State::Silent => Observation::plain(Opaque, DetectedBy::Silent),
            State::ServerSettings(_) => Observation::plain(Opaque, DetectedBy::ServerFirst),
            State::Opening(opening) => Observation::plain(Opaque, opening.otherwise),
            State::Hello(reader) if reader.is_tls() => Observation::plain(Protocol::Tls, ClientBytes),
            State::Hello(_) => Observation::plain(Opaque, ClientBytes),
            State::Frames(_) => Observation::plain(Protocol::Http2, ClientBytes),
            State::Settled { protocol, detected_by } => Observation::plain(*protocol, *detected_by),
            State::Tls(hello) => Observation {
                sni: hello.sni.clone(),
                alpn: hello.alpn.clone(),
                ..Observation::plain(Protocol::Tls, ClientBytes)
            },
        }
    }

    /// Whether nothing can change the observation any more, so that no more bytes need be shown.
    pub const fn is_settled(&self) -> bool {
        matches!(self.state, State::Settled { .. } | State::Tls(_))
    }

    /// Bytes held on the heap while undecided, but for the fixed size of the state.
    #[cfg(test)]
    fn held(&self) -> usize {
        match &self.state {
            State::Hello(reader) => reader.held(),
            State::Frames(frames) => frames.held(),
            State::Silent
            | State::ServerSettings(_)
            | State::Opening(_)
            | State::Settled { .. }
            | State::Tls(_) => 0,
        }
    }
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

/// The start of a client's bytes: the HTTP/1 and HTTP/2 automata side by side, both may start on `PRI `.
#[derive(Debug)]
struct Opening {
    http1: RequestLine,
    http2: Preface,
    /// What makes the connection opaque if neither matches.
    otherwise: DetectedBy,
}

impl Opening {
    /// The client speaks first.
    const fn by_client() -> Self {
        Self { http1: RequestLine::new(), http2: Preface::new(), otherwise: DetectedBy::ClientBytes }
    }

    /// The server has begun as an HTTP/2 server does: there is nothing else it may be.
    const fn after_server() -> Self {
        Self { http1: RequestLine::failed(), http2: Preface::new(), otherwise: DetectedBy::ServerFirst }
    }

    /// Takes the client's next bytes; answers with the next state when one of the two has matched or both
    /// have failed.
    fn watch(&mut self, bytes: &[u8]) -> Option<State> {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match (self.http1.push(byte), self.http2.push(byte)) {
                (Progress::Matched, _) => return Some(State::by_client(Protocol::Http1)),
                (_, Progress::Matched) => {
                    let mut frames = Box::<FirstRequest>::default();
                    return Some(frames.watch(rest).map_or(State::Frames(frames), State::by_client));
                }
                (Progress::Failed, Progress::Failed) => {
                    return Some(State::Settled { protocol: Protocol::Opaque, detected_by: self.otherwise });
                }
                (Progress::More, _) | (_, Progress::More) => {}
            }
        }
        None
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
