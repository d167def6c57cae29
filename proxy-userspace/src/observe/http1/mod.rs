//! HTTP/1: requests and responses, matched in order.
//!
//! ```text
//! client ─▶ request line ─▶ fields ─┬─▶ body ─▶ request line …
//!                                   └ CONNECT ─▶ connecting ─ refused ─▶ request line …
//! server ─▶ status line ─▶ fields ─┬─▶ body ─▶ status line …
//!                                  ├ 1xx ─▶ status line …
//!                                  └ 101, CONNECT's 2xx ─▶ tunnel, HTTP/2
//! ```
//!
//! Lines and fields are followed as they come; what is kept of them is of a fixed size. Bodies are skipped
//! over, but for the frames of gRPC-Web.

mod answers;
mod body;
mod fields;
mod framing;
mod grpc_web;
mod kept;
mod pending;
mod request_head;
mod request_line;
mod response_head;
mod status_line;
mod upgrade;

use std::time::Instant;

use self::{
    body::Body,
    fields::{Fields, Nobody},
    grpc_web::GrpcWeb,
    pending::Pending,
    request_head::RequestHead,
    response_head::ResponseHead,
};
use super::{End, Listener, Lost, MAX_AUTHORITY, Method, Progress, Stop, trace::TraceHeaders};

/// Bytes kept of a value in a request: the longest authority, and a CR behind it.
const MAX_REQUEST_VALUE: usize = MAX_AUTHORITY + 1;
/// Bytes kept of a value in a response: all are short.
const MAX_RESPONSE_VALUE: usize = 128;

const _: () = assert!(TraceHeaders::MAX_VALUE < MAX_REQUEST_VALUE, "a request's fields are kept long enough");

/// Follows a connection's HTTP/1 messages, both directions.
#[derive(Debug)]
pub(super) struct Http1 {
    is_http: bool,
    /// Whether the server spoke before the first request line was complete.
    server_was_early: bool,
    client: Client,
    request: RequestHead,
    request_fields: Fields<MAX_REQUEST_VALUE>,
    server: Server,
    response: ResponseHead,
    response_fields: Fields<MAX_RESPONSE_VALUE>,
    grpc_web: Option<Box<GrpcWeb>>,
    pending: Pending,
}

/// What the client's next bytes are.
#[derive(Debug)]
enum Client {
    Line,
    Fields,
    Body(Body),
    /// After `CONNECT`: what is behind it depends on the answer.
    Connecting {
        has_gone_on: bool,
    },
    /// What follows on a request for an upgrade is no HTTP: it depends on the answer what it is.
    Adrift,
}

/// What the server's next bytes are.
#[derive(Debug)]
enum Server {
    Line,
    Fields,
    Body { body: Body, is_grpc: bool },
}

impl From<Lost> for Stop {
    fn from(why: Lost) -> Self {
        Self::Lost(why)
    }
}

impl Http1 {
    /// Before the client's first byte.
    pub(super) fn new() -> Self {
        Self {
            is_http: false,
            server_was_early: false,
            client: Client::Line,
            request: RequestHead::new(),
            request_fields: Fields::new(),
            server: Server::Line,
            response: ResponseHead::new(),
            response_fields: Fields::new(),
            grpc_web: None,
            pending: Pending::new(),
        }
    }

    /// Whether the first request line was complete.
    pub(super) const fn is_http(&self) -> bool {
        self.is_http
    }

    /// Takes the client's next bytes. Nothing is to be fed after an error.
    pub(super) fn client_bytes(
        &mut self,
        bytes: &[u8],
        now: Instant,
        listener: &mut dyn Listener,
    ) -> Result<(), Stop> {
        match self.follow_client(bytes, now, listener) {
            Err(Stop::Lost(Lost::MalformedHttp1 | Lost::HeadTooLarge)) if self.pending.awaits_upgrade(0) => {
                self.client = Client::Adrift;
                Ok(())
            }
            followed => followed,
        }
    }

    fn follow_client(
        &mut self,
        mut bytes: &[u8],
        now: Instant,
        listener: &mut dyn Listener,
    ) -> Result<(), Stop> {
        while !bytes.is_empty() {
            match &mut self.client {
                Client::Line => {
                    let (progress, rest) = self.request.line.take(bytes);
                    match progress {
                        Progress::More => return Ok(()),
                        Progress::Matched => self.begin_fields(listener.wants_details())?,
                        Progress::Failed if !self.is_http => return Err(Stop::Other),
                        Progress::Failed if self.request.line.is_too_long() => {
                            return Err(Lost::HeadTooLarge.into());
                        }
                        Progress::Failed => return Err(Lost::MalformedHttp1.into()),
                    }
                    bytes = rest;
                }
                Client::Fields => {
                    let Some(rest) = self.request_fields.take(bytes, &mut self.request)? else {
                        return Ok(());
                    };
                    self.begin_request(now, listener)?;
                    bytes = rest;
                }
                Client::Body(body) => {
                    bytes = body.take(bytes, &mut self.request_fields, &mut Nobody, |_data| {})?;
                    if *body == Body::Ended {
                        self.client = Client::Line;
                        self.pending.request_ended(now, listener);
                    }
                }
                Client::Connecting { has_gone_on } => {
                    *has_gone_on = true;
                    return Ok(());
                }
                Client::Adrift => return Ok(()),
            }
        }
        Ok(())
    }

    /// The request line is complete.
    fn begin_fields(&mut self, wants_details: bool) -> Result<(), Lost> {
        self.is_http = true;
        if self.server_was_early {
            return Err(Lost::UnaskedResponse);
        }
        self.request_fields.begin(self.request.line.length());
        self.request.begin_fields(wants_details);
        self.client = Client::Fields;
        Ok(())
    }

    /// The request's head is complete.
    fn begin_request(&mut self, now: Instant, listener: &mut dyn Listener) -> Result<(), Lost> {
        let (request, body, upgrade) = self.request.finish()?;
        self.request.line.begin();
        let method = request.method;
        self.pending.push(request, upgrade, now, listener)?;
        self.client = match (method, body) {
            (Method::Connect, _) => Client::Connecting { has_gone_on: false },
            (_, Body::Ended) => Client::Line,
            (_, body) => Client::Body(body),
        };
        if !matches!(self.client, Client::Body(_)) {
            self.pending.request_ended(now, listener);
        }
        Ok(())
    }

    /// The connection is over; so is what is open.
    pub(super) fn close(&mut self, end: End, now: Instant, listener: &mut dyn Listener) {
        self.pending.close(end, now, listener);
    }

    /// How many requests are open.
    pub(super) fn open(&self) -> usize {
        self.pending.len()
    }

    /// Bytes held on the heap.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.request.held() + self.pending.held() + self.grpc_web.as_ref().map_or(0, |_| size_of::<GrpcWeb>())
    }
}

#[cfg(test)]
mod tests;
