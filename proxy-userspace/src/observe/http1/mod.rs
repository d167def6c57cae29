//! HTTP/1: requests and responses, matched in order.
//!
//! ```text
//! client ─▶ request line ─▶ fields ─┬─▶ body ─▶ request line …
//!                                   ├ Expect ─▶ asking ─ declined ─▶ body, or request line …
//!                                   └ CONNECT ─▶ connecting ─ refused ─▶ request line …
//! server ─▶ status line ─▶ fields ─┬─▶ body ─▶ status line …
//!                                  ├ 1xx ─▶ status line …
//!                                  └ 101, CONNECT's 2xx ─▶ tunnel, HTTP/2
//! ```
//!
//! A client that breaks the rules is followed no further, but what it has asked for is, until it is answered.
//!
//! Lines and fields are followed as they come; what is kept of them is of a fixed size. Bodies are skipped
//! over, but for the frames of gRPC-Web.

mod answers;
mod body;
mod declined;
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
    declined::{Declined, Fits},
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
    /// The body, if the server wants it: the client has asked, and waits for the answer, or until it is
    /// tired of waiting.
    Asking(Body),
    /// The body or the next request: the server has answered without having asked for the body.
    Declined(Box<Declined>),
    /// After `CONNECT`: what is behind it depends on the answer.
    Connecting {
        has_gone_on: bool,
    },
    /// What follows on a request for an upgrade is no HTTP: it depends on the answer what it is.
    Adrift,
    /// Nothing that can be followed. What it has asked for may yet be answered.
    Stray {
        /// Why the connection is lost once that is done.
        why: Lost,
        /// Whether that includes the head that was begun last.
        has_begun: bool,
    },
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
            Err(Stop::Lost(why @ (Lost::MalformedHttp1 | Lost::HeadTooLarge))) => {
                if self.pending.awaits_upgrade(0) {
                    self.client = Client::Adrift;
                    return Ok(());
                }
                self.stray(why, listener)
            }
            followed => followed,
        }
    }

    /// The client's bytes cannot be followed any further; the server's are until it has answered.
    fn stray(&mut self, why: Lost, listener: &mut dyn Listener) -> Result<(), Stop> {
        let has_begun = self.has_begun();
        if matches!(self.client, Client::Body(_) | Client::Declined(_)) {
            self.pending.request_given_up(listener);
        }
        if !has_begun && self.pending.awaiting().is_none() {
            return Err(why.into());
        }
        self.client = Client::Stray { why, has_begun };
        Ok(())
    }

    /// Whether the client has begun a head that is not complete.
    fn has_begun(&self) -> bool {
        match self.client {
            Client::Line => self.request.line.is_begun(),
            Client::Fields => true,
            Client::Stray { has_begun, .. } => has_begun,
            Client::Body(_)
            | Client::Asking(_)
            | Client::Declined(_)
            | Client::Connecting { .. }
            | Client::Adrift => false,
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
                Client::Asking(body) => self.client = Client::Body(*body),
                Client::Declined(declined) => {
                    let (line, fields) = (&mut self.request.line, &mut self.request_fields);
                    let (fits, rest) = declined.take(bytes, now, line, fields)?;
                    self.after_declined(fits, listener)?;
                    bytes = rest;
                }
                Client::Connecting { has_gone_on } => {
                    *has_gone_on = true;
                    return Ok(());
                }
                Client::Adrift | Client::Stray { .. } => return Ok(()),
            }
        }
        Ok(())
    }

    /// It is known, or not yet, what the client sends that was declined.
    fn after_declined(&mut self, fits: Fits, listener: &mut dyn Listener) -> Result<(), Lost> {
        if fits == Fits::Both {
            return Ok(());
        }
        let Client::Declined(declined) = std::mem::replace(&mut self.client, Client::Line) else {
            return Ok(());
        };
        let is_line_complete = match (fits, declined.next) {
            (Fits::Request { is_line_complete }, _) => {
                self.pending.request_given_up(listener);
                is_line_complete
            }
            (_, Some((ended, line))) => {
                self.request.line = line;
                self.pending.request_ended(ended, listener);
                matches!(fits, Fits::Body { is_line_complete: true })
            }
            (_, None) => {
                self.request.line.begin();
                self.client = Client::Body(declined.body);
                false
            }
        };
        if is_line_complete { self.begin_fields(listener.wants_details()) } else { Ok(()) }
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
        self.request.begin();
        let (method, expects) = (request.method, self.request.expects());
        self.pending.push(request, upgrade, now, listener)?;
        self.client = match (method, body) {
            (Method::Connect, _) => Client::Connecting { has_gone_on: false },
            (_, Body::Ended) => Client::Line,
            (_, body) if expects => Client::Asking(body),
            (_, body) => Client::Body(body),
        };
        if !matches!(self.client, Client::Body(_) | Client::Asking(_)) {
            self.pending.request_ended(now, listener);
        }
        Ok(())
    }

    /// The connection is over; so is what is open.
    pub(super) fn close(&mut self, end: End, now: Instant, listener: &mut dyn Listener) {
        if let Client::Declined(declined) = &self.client
            && let Some(ended) = declined.ended()
        {
            self.pending.request_ended(ended, listener);
        }
        self.pending.close(end, now, listener);
        if let Client::Stray { why, .. } = self.client {
            self.client = Client::Adrift;
            listener.lost(why, 0);
        }
    }

    /// The bytes cannot be followed any further. What is known of an answer is told first.
    pub(super) fn lost(&mut self, why: Lost, listener: &mut dyn Listener) {
        self.pending.tell_if_answered(listener);
        listener.lost(why, self.pending.len());
    }

    /// How many requests are open.
    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.pending.len()
    }

    /// Bytes held on the heap.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let declined = if matches!(self.client, Client::Declined(_)) { size_of::<Declined>() } else { 0 };
        let grpc_web = self.grpc_web.as_ref().map_or(0, |_| size_of::<GrpcWeb>());
        self.request.held() + self.pending.held() + grpc_web + declined
    }
}

#[cfg(test)]
mod tests;
