//! The server's side: responses, and what they make of the requests that they answer.

use std::time::Instant;

use super::{
    super::{Kind, Listener, Lost, Method, Stop},
    Client, Http1, Server,
    body::Body,
    declined::Declined,
    pending::Open,
    response_head::GrpcStatus,
};

impl Http1 {
    /// Takes the server's next bytes. Nothing is to be fed after an error.
    pub(in super::super) fn server_bytes(
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
            let is_asked = self.pending.awaiting().is_some() || self.has_begun();
            match &mut self.server {
                Server::Line if !is_asked => {
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
                        self.end_response(now, listener)?;
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
        let status = self.response.line.status();
        if status >= 200 && self.pending.awaiting().is_none() {
            self.take_begun(now, listener)?;
        }
        let Some(open) = self.pending.awaiting() else {
            // A head that is not complete yet gets an interim response.
            self.server = Server::Line;
            return if self.has_begun() && status != 101 {
                Ok(())
            } else {
                Err(Lost::UnaskedResponse.into())
            };
        };
        let method = open.request.method;
        if status == 101 {
            return Err(self.switch(taken, now, listener));
        }
        if status < 200 {
            if let (Client::Asking(body), 1, 100) = (&self.client, self.pending.len(), status) {
                self.client = Client::Body(*body);
            }
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
        self.decline();
        match self.response.body(method)? {
            Body::Ended => self.end_response(now, listener)?,
            body @ (Body::Length(_) | Body::Chunked(_) | Body::UntilClose) => {
                self.server = Server::Body { body, is_grpc };
            }
        }
        Ok(())
    }

    /// The server answers a head that the client has not completed, as with 408 or 400: it counts as far as it
    /// has come, and is the last that is followed.
    fn take_begun(&mut self, now: Instant, listener: &mut dyn Listener) -> Result<(), Lost> {
        if !self.has_begun() {
            return Err(Lost::UnaskedResponse);
        }
        let why = if let Client::Stray { why, .. } = self.client { why } else { Lost::UnaskedResponse };
        self.request_fields.finish_line(&mut self.request);
        let request = self.request.begun(listener.wants_details());
        self.pending.push(request, None, now, listener)?;
        self.pending.request_given_up(listener);
        self.client = Client::Stray { why, has_begun: false };
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
            Client::Line
            | Client::Fields
            | Client::Body(_)
            | Client::Asking(_)
            | Client::Declined(_)
            | Client::Connecting { .. }
            | Client::Adrift
            | Client::Stray { .. } => {}
        }
        Ok(())
    }

    /// If the answer to the last request says that its body is not asked for, its client may go on without.
    fn decline(&mut self) {
        if let (Client::Asking(body), 1) = (&self.client, self.pending.len()) {
            self.client = Client::Declined(Box::new(Declined::new(*body)));
        }
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

    fn end_response(&mut self, now: Instant, listener: &mut dyn Listener) -> Result<(), Lost> {
        self.server = Server::Line;
        self.pending.response_ended(now, listener);
        if let Client::Stray { why, has_begun: false } = self.client
            && self.pending.awaiting().is_none()
        {
            return Err(why);
        }
        Ok(())
    }

    /// The server has finished: a response that lasts until then is complete. Nothing is to be fed after an
    /// error.
    pub(in super::super) fn server_finished(
        &mut self,
        now: Instant,
        listener: &mut dyn Listener,
    ) -> Result<(), Stop> {
        if matches!(self.server, Server::Body { body: Body::UntilClose, .. }) {
            self.end_response(now, listener)?;
        }
        Ok(())
    }
}
