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
    pending::{Open, Pending},
    request_head::RequestHead,
    response_head::{GrpcStatus, ResponseHead},
};
use super::{End, Kind, Listener, Lost, MAX_AUTHORITY, Method, Progress, Stop, trace::TraceHeaders};

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

    /// Takes the server's next bytes. Nothing is to be fed after an error.
    pub(super) fn server_bytes(
        &mut self,
        bytes: &[u8],
        now: Instant,
        listener: &mut dyn Listener,
    ) -> Result<(), Stop> {
        if !self.is_http {
            self.server_was_early |= !bytes.is_empty();
            return Ok(());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match &mut self.server {
                Server::Line if self.pending.awaiting().is_none() => {
                    let is_idle = self.response.line.is_idle(rest);
                    return if is_idle { Ok(()) } else { Err(Lost::UnaskedResponse.into()) };
                }
                Server::Line => {
                    let Some(after) = self.response.line.take(rest)? else {
                        return Ok(());
                    };
                    self.response_fields.begin(self.response.line.length());
                    self.server = Server::Fields;
                    rest = after;
                }
                Server::Fields => {
                    let Some(after) = self.response_fields.take(rest, &mut self.response)? else {
                        return Ok(());
                    };
                    self.begin_response(bytes.len() - after.len(), now, listener)?;
                    self.response.begin();
                    rest = after;
                }
                Server::Body { body, is_grpc } => {
                    let answer = self.pending.answer_mut();
                    let (mut in_trailers, mut in_data) = (GrpcStatus::default(), GrpcStatus::default());
                    let grpc_web = &mut self.grpc_web;
                    let after = body.take(rest, &mut self.response_fields, &mut in_trailers, |data| {
                        if let Some(grpc_web) = grpc_web {
                            grpc_web.take(data, &mut in_data);
                        }
                    })?;
                    answer.bytes += (rest.len() - after.len()) as u64;
                    if *is_grpc {
                        answer.grpc_status = in_data.0.or(in_trailers.0).or(answer.grpc_status);
                    }
                    rest = after;
                    if *body == Body::Ended {
                        self.end_response(now, listener);
                    }
                }
            }
        }
        Ok(())
    }

    /// A response's head is complete, and so many of the server's bytes were taken.
    fn begin_response(
        &mut self,
        taken: usize,
        now: Instant,
        listener: &mut dyn Listener,
    ) -> Result<(), Stop> {
        let Some(open) = self.pending.awaiting() else {
            return Err(Lost::UnaskedResponse.into());
        };
        let (status, method) = (self.response.line.status(), open.request.method);
        if status == 101 {
            return Err(self.switch(taken, now, listener));
        }
        if status < 200 {
            self.server = Server::Line;
            return Ok(());
        }
        let is_grpc = open.request.kind != Kind::Http;
        self.grpc_web = self.response.grpc_web(&open.request);
        let answer = self.pending.answer_mut();
        answer.began = Some(now);
        answer.status = Some(status);
        answer.grpc_status = self.response.grpc_status().0.filter(|_| is_grpc);
        if method == Method::Connect && status < 300 {
            self.pending.switched(now, listener);
            listener.upgraded("connect");
            return Err(Stop::Tunnel);
        }
        self.refuse(method)?;
        match self.response.body(method)? {
            Body::Ended => self.end_response(now, listener),
            body @ (Body::Length(_) | Body::Chunked(_) | Body::UntilClose) => {
                self.server = Server::Body { body, is_grpc };
            }
        }
        Ok(())
    }

    /// The answer to the first request is neither an upgrade nor a tunnel. If it asked for one, its client
    /// must not have gone on as if it had it.
    fn refuse(&mut self, method: Method) -> Result<(), Lost> {
        match self.client {
            Client::Connecting { has_gone_on } if method == Method::Connect => {
                if has_gone_on {
                    return Err(Lost::Ambiguous);
                }
                self.client = Client::Line;
            }
            Client::Adrift if !self.pending.awaits_upgrade(1) => return Err(Lost::Ambiguous),
            Client::Line | Client::Fields | Client::Body(_) | Client::Connecting { .. } | Client::Adrift => {}
        }
        Ok(())
    }

    /// The server switches protocols, and so many of its bytes were taken.
    fn switch(&mut self, taken: usize, now: Instant, listener: &mut dyn Listener) -> Stop {
        let asked = self.pending.awaiting().and_then(|open| open.upgrade.as_deref());
        let Some(to) = self.response.upgrade().or(asked).map(Box::<str>::from) else {
            return Lost::MalformedHttp1.into();
        };
        if &*to == "h2c" {
            return self.switch_to_http2(taken, listener);
        }
        let answer = self.pending.answer_mut();
        answer.began = Some(now);
        answer.status = Some(101);
        self.pending.switched(now, listener);
        listener.upgraded(&to);
        // What the client sent behind its request may have been taken for further requests.
        if self.pending.len() > 0 { Lost::Ambiguous.into() } else { Stop::Tunnel }
    }

    /// The request that asked for it is told by HTTP/2. Its client has to have waited, with nothing sent
    /// behind the request: what there is would be the start of HTTP/2.
    fn switch_to_http2(&mut self, taken: usize, listener: &mut dyn Listener) -> Stop {
        listener.upgraded("h2c");
        let has_waited = matches!(self.client, Client::Line) && self.request.line.is_blank();
        let open = if has_waited && self.pending.len() == 1 { self.pending.take_first() } else { None };
        match open {
            Some(Open { request, began, ended: Some(ended), .. }) => {
                Stop::Http2 { rest: taken, request: Box::new(request), began, ended }
            }
            Some(_) | None => Lost::Ambiguous.into(),
        }
    }

    fn end_response(&mut self, now: Instant, listener: &mut dyn Listener) {
        self.server = Server::Line;
        self.pending.response_ended(now, listener);
    }

    /// The server has finished: a response that lasts until then is complete.
    pub(super) fn server_finished(&mut self, now: Instant, listener: &mut dyn Listener) {
        if matches!(self.server, Server::Body { body: Body::UntilClose, .. }) {
            self.end_response(now, listener);
        }
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
