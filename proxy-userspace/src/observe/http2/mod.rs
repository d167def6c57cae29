//! HTTP/2 in the clear: the prefaces, the frames, the header blocks, the streams.

mod first_request;
mod hpack;
mod huffman;

use std::time::Instant;

use self::first_request::{FirstRequest, Preface, ServerSettings};
use super::{End, Listener, Progress, Protocol, Request, Stop};

/// Follows a connection's HTTP/2 streams, both directions.
#[derive(Debug, Default)]
pub(super) struct Http2 {
    preface: Preface,
    settings: ServerSettings,
    first: FirstRequest,
    is_http: bool,
    is_grpc: Option<bool>,
}

impl Http2 {
    /// Before the first byte of either side.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// After an upgrade from HTTP/1, whose request is open as stream 1; before the first byte of either
    /// side in HTTP/2. It began at `began`, and its body had ended at `ended`.
    pub(super) fn upgraded(_request: Request, _began: Instant, _ended: Instant) -> Self {
        Self::default()
    }

    /// Whether the client's preface was complete.
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
        _now: Instant,
        _listener: &mut dyn Listener,
    ) -> Result<(), Stop> {
        while let (false, Some((&byte, rest))) = (self.is_http, bytes.split_first()) {
            match self.preface.push(byte) {
                Progress::More => {}
                Progress::Matched => self.is_http = true,
                Progress::Failed => return Err(Stop::Other),
            }
            bytes = rest;
        }
        if self.is_http && self.is_grpc.is_none() {
            self.is_grpc = self.first.watch(bytes).map(|protocol| protocol == Protocol::Grpc);
            if self.is_grpc.is_some() {
                self.first = FirstRequest::default();
            }
        }
        Ok(())
    }

    /// Takes the server's next bytes. Nothing is to be fed after an error.
    pub(super) fn server_bytes(
        &mut self,
        bytes: &[u8],
        _now: Instant,
        _listener: &mut dyn Listener,
    ) -> Result<(), Stop> {
        if !self.is_http && !self.settings.watch(bytes) {
            return Err(Stop::Other);
        }
        Ok(())
    }

    /// The connection is over; so is what is open.
    pub(super) fn close(&mut self, _end: End, _now: Instant, _listener: &mut dyn Listener) {}

    /// How many requests are open.
    pub(super) fn open(&self) -> usize {
        0
    }

    /// Bytes held on the heap.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.first.held()
    }
}
