//! HTTP/2 in the clear: the prefaces, the frames, the header blocks, the streams.
//!
//! ```text
//! client ──▶ preface ──▶ frames ──▶ header blocks (HPACK) ──▶ a stream opens: a request
//!                              └──▶ END_STREAM, RST_STREAM ─┐
//!                              ┌──▶ END_STREAM, RST_STREAM ─┴▶ the stream is over: an exchange
//! server ──▶ SETTINGS ──▶ frames ──▶ header blocks (HPACK) ──▶ status, trailers
//! ```
//!
//! A response that ends before its request is told when the request has ended too, when either side
//! resets the stream, or when the connection closes; it ended when its last byte had passed all the same.
//!
//! Streams that a server promises are no requests, as nobody has sent any: their blocks are read for the
//! state of HPACK, and their frames are skipped. GOAWAY says nothing that streams do not say themselves;
//! those that the server will not answer end with the connection.

mod frames;
mod head;
pub(super) mod hpack;
mod huffman;
mod preface;
mod recent;
mod streams;

use std::time::Instant;

use self::{
    frames::{Event, Frames},
    head::{RequestHead, ResponseHead},
    hpack::Decoder,
    preface::{Preface, ServerSettings},
    streams::{Stream, Streams},
};
use super::{End, Kind, Listener, Lost, MAX_HELD, Method, Progress, Request, Stop};

/// Follows a connection's HTTP/2 streams, both directions.
///
/// Holds no more than [`MAX_HELD`] on the heap, whatever the peers send: that is room for two tables of the usual
/// 4 KiB, 128 streams, and what their requests are called. A table of 64 KiB has room while its entries are of
/// no interest. When no stream is open little more than the tables is held.
#[derive(Debug)]
pub(super) struct Http2 {
    /// Until the client's preface is complete.
    preface: Option<Preface>,
    settings: ServerSettings,
    /// Whether it is known to be HTTP/2.
    is_http: bool,
    is_grpc: Option<bool>,
    client: Frames,
    server: Frames,
    requests: Decoder,
    responses: Decoder,
    streams: Streams,
    /// The highest stream that the server has promised.
    promised: u32,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            preface: Some(Preface::default()),
            settings: ServerSettings::default(),
            is_http: false,
            is_grpc: None,
            client: Frames::default(),
            server: Frames::default(),
            requests: Decoder::default(),
            responses: Decoder::default(),
            streams: Streams::default(),
            promised: 0,
        }
    }
}

impl Http2 {
    /// Before the first byte of either side.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// After an upgrade from HTTP/1, whose request is open as stream 1; before the first byte of either
    /// side in HTTP/2. It began at `began`, and its body had ended at `ended`.
    pub(super) fn upgraded(request: Request, began: Instant, ended: Instant) -> Self {
        let is_grpc = Some(request.kind == Kind::Grpc);
        let mut streams = Streams::default();
        let mut stream = Stream::new(streams.shared.adopt(request), began, None);
        stream.end_request(ended);
        let none_left = streams.open(1, stream);
        debug_assert!(none_left.is_none(), "the first of many that there is room for");
        Self { is_http: true, is_grpc, streams, ..Self::default() }
    }

    /// Whether it is known to be HTTP/2: the client's preface was complete, or it came from HTTP/1.
    pub(super) const fn is_http(&self) -> bool {
        self.is_http
    }

    /// Whether the first request is one of gRPC; `None` until its head is complete.
    pub(super) const fn is_grpc(&self) -> Option<bool> {
        self.is_grpc
    }

    /// Takes the client's next bytes. Nothing is to be fed after an error.
    pub(super) fn client_bytes(
        &mut self,
        mut bytes: &[u8],
        now: Instant,
        listener: &mut dyn Listener,
    ) -> Result<(), Stop> {
        while let Some(preface) = &mut self.preface
            && let Some((&byte, rest)) = bytes.split_first()
        {
            bytes = rest;
            match preface.push(byte) {
                Progress::More => {}
                Progress::Matched => (self.preface, self.is_http) = (None, true),
                Progress::Failed => return Err(self.stop(Lost::MalformedHttp2)),
            }
        }
        self.client_frames(bytes, now, listener).map_err(|why| self.stop(why))
    }

    /// Takes the server's next bytes. Nothing is to be fed after an error.
    pub(super) fn server_bytes(
        &mut self,
        bytes: &[u8],
        now: Instant,
        listener: &mut dyn Listener,
    ) -> Result<(), Stop> {
        if !self.settings.watch(bytes) {
            return Err(self.stop(Lost::MalformedHttp2));
        }
        self.server_frames(bytes, now, listener).map_err(|why| self.stop(why))
    }

    /// The connection is over; so is what is open.
    pub(super) fn close(&mut self, end: End, now: Instant, listener: &mut dyn Listener) {
        self.streams.end_all(end, now, listener);
    }

    /// The bytes cannot be followed any further. What is known of answers is told first.
    pub(super) fn lost(&mut self, why: Lost, listener: &mut dyn Listener) {
        self.streams.end_answered(listener);
        listener.lost(why, self.streams.len());
    }

    /// How many requests are open.
    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.streams.len()
    }

    /// Bytes held on the heap, or that will be before the next frame.
    pub(super) fn held(&self) -> usize {
        self.client.held()
            + self.server.held()
            + self.requests.held()
            + self.responses.held()
            + self.streams.held()
    }

    /// Ends with an error if more is held than may be. While a block is read there may be more: of one block at
    /// most, on a connection that is lost right after.
    fn check_held(&mut self) -> Result<(), Lost> {
        if self.held() > MAX_HELD {
            self.requests.shrink();
            self.responses.shrink();
        }
        if self.held() > MAX_HELD { Err(Lost::MemoryBound) } else { Ok(()) }
    }

    /// Bytes that a direction may hold of a header block; `held` is what it holds now.
    fn left_for_block(&self, held: usize) -> usize {
        (MAX_HELD + held).saturating_sub(self.held())
    }

    /// What it means that the bytes cannot be followed.
    const fn stop(&self, why: Lost) -> Stop {
        if self.is_http { Stop::Lost(why) } else { Stop::Other }
    }

    fn client_frames(
        &mut self,
        mut bytes: &[u8],
        now: Instant,
        listener: &mut dyn Listener,
    ) -> Result<(), Lost> {
        while let Some(event) = self.client.next(&mut bytes, self.left_for_block(self.client.held()))? {
            match event {
                Event::Headers { stream, block, end_stream } => {
                    self.client_headers(stream, &block, now, listener)?;
                    if end_stream {
                        self.request_ended(stream, now, listener);
                    }
                }
                Event::Data { stream, end_stream, .. } => {
                    if is_promised(stream) || self.is_idle(stream) {
                        return Err(Lost::MalformedHttp2);
                    }
                    if end_stream {
                        self.request_ended(stream, now, listener);
                    }
                }
                Event::Reset { stream } if self.is_idle(stream) => return Err(Lost::MalformedHttp2),
                Event::Reset { stream } => self.streams.end(stream, End::ClientReset, now, listener),
                Event::Promise { .. } => return Err(Lost::MalformedHttp2),
            }
        }
        Ok(())
    }

    fn server_frames(
        &mut self,
        mut bytes: &[u8],
        now: Instant,
        listener: &mut dyn Listener,
    ) -> Result<(), Lost> {
        while let Some(event) = self.server.next(&mut bytes, self.left_for_block(self.server.held()))? {
            match event {
                Event::Headers { stream, block, end_stream } => {
                    self.server_headers(stream, &block, end_stream, now, listener)?;
                    if end_stream {
                        self.response_ended(stream, now, listener);
                    }
                }
                Event::Data { stream, length, end_stream } => {
                    if self.is_idle(stream) {
                        return Err(Lost::MalformedHttp2);
                    }
                    if let Some(stream) = self.streams.answered(stream) {
                        stream.response_bytes += length as u64;
                    }
                    if end_stream {
                        self.response_ended(stream, now, listener);
                    }
                }
                Event::Reset { stream } if self.is_idle(stream) => return Err(Lost::MalformedHttp2),
                Event::Reset { stream } => self.streams.end(stream, End::ServerReset, now, listener),
                Event::Promise { stream, promised, block } => {
                    self.responses.read(&block, |_, _| {})?;
                    self.check_held()?;
                    let is_new = is_promised(promised) && self.is_idle(promised);
                    if is_promised(stream) || self.is_idle(stream) || !is_new {
                        return Err(Lost::MalformedHttp2);
                    }
                    self.promised = promised;
                }
            }
        }
        Ok(())
    }

    /// The client's header block: a request's head, or its trailers.
    fn client_headers(
        &mut self,
        id: u32,
        block: &[u8],
        now: Instant,
        listener: &mut dyn Listener,
    ) -> Result<(), Lost> {
        let mut head = RequestHead::new(listener.wants_details());
        self.requests.read(block, |name, value| head.field(name, value))?;
        if is_promised(id) {
            return Err(Lost::MalformedHttp2);
        }
        if self.is_idle(id) {
            let (request, protocol) = head.request(&mut self.streams.shared);
            self.is_grpc.get_or_insert(request.kind == Kind::Grpc);
            listener.request(&request);
            if self.streams.open(id, Stream::new(request, now, protocol)).is_some() {
                listener.untracked(Lost::TooManyRequests);
            }
        }
        self.check_held()
    }

    /// The server's header block: the head of a response, final or not, or its trailers.
    fn server_headers(
        &mut self,
        id: u32,
        block: &[u8],
        end_stream: bool,
        now: Instant,
        listener: &mut dyn Listener,
    ) -> Result<(), Lost> {
        let mut head = ResponseHead::default();
        self.responses.read(block, |name, value| head.field(name, value))?;
        self.check_held()?;
        if self.is_idle(id) {
            return Err(if is_promised(id) { Lost::MalformedHttp2 } else { Lost::UnaskedResponse });
        }
        let Some(stream) = self.streams.answered(id) else {
            return Ok(());
        };
        let is_first = !stream.has_response();
        if is_first && !end_stream && matches!(head.status, Some(100..=199)) {
            return Ok(());
        }
        if end_stream {
            stream.grpc_status = head.grpc_status;
        }
        if is_first {
            stream.begin_response(now);
            stream.status = head.status;
            if stream.request.method == Method::Connect && matches!(head.status, Some(200..=299)) {
                listener.upgraded(stream.protocol.as_deref().unwrap_or("connect"));
            }
        }
        Ok(())
    }

    /// The client has ended a stream.
    fn request_ended(&mut self, id: u32, now: Instant, listener: &mut dyn Listener) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.end_request(now);
            if stream.is_over() {
                self.streams.end(id, End::Complete, now, listener);
            }
        }
    }

    /// The server has ended a stream.
    fn response_ended(&mut self, id: u32, now: Instant, listener: &mut dyn Listener) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.end_response(now);
            if stream.is_over() {
                self.streams.end(id, End::Complete, now, listener);
            }
        }
    }

    /// Whether nobody has opened this stream yet, nor one after it.
    const fn is_idle(&self, id: u32) -> bool {
        if is_promised(id) { id > self.promised } else { self.streams.is_idle(id) }
    }
}

/// Whether a stream is one that a server opens.
const fn is_promised(id: u32) -> bool {
    id.is_multiple_of(2)
}

#[cfg(test)]
mod tests;
