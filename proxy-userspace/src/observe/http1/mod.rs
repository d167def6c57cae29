//! HTTP/1: requests and responses, matched in order.

mod request_line;

use std::time::Instant;

use self::request_line::RequestLine;
use super::{End, Listener, Progress, Stop};

/// Follows a connection's HTTP/1 messages, both directions.
#[derive(Debug)]
pub(super) struct Http1 {
    line: RequestLine,
    is_http: bool,
}

impl Http1 {
    /// Before the client's first byte.
    pub(super) const fn new() -> Self {
        Self { line: RequestLine::new(), is_http: false }
    }

    /// Whether the first request line was complete.
    pub(super) const fn is_http(&self) -> bool {
        self.is_http
    }

    /// Takes the client's next bytes. Nothing is to be fed after an error.
    pub(super) fn client_bytes(
        &mut self,
        bytes: &[u8],
        _now: Instant,
        _listener: &mut dyn Listener,
    ) -> Result<(), Stop> {
        for &byte in bytes {
            if self.is_http {
                break;
            }
            match self.line.push(byte) {
                Progress::More => {}
                Progress::Matched => self.is_http = true,
                Progress::Failed => return Err(Stop::Other),
            }
        }
        Ok(())
    }

    /// Takes the server's next bytes. Nothing is to be fed after an error.
    pub(super) fn server_bytes(
        &mut self,
        _bytes: &[u8],
        _now: Instant,
        _listener: &mut dyn Listener,
    ) -> Result<(), Stop> {
        Ok(())
    }

    /// The server has finished: a response that lasts until then is complete.
    pub(super) fn server_finished(&mut self, _now: Instant, _listener: &mut dyn Listener) {}

    /// The connection is over; so is what is open.
    pub(super) fn close(&mut self, _end: End, _now: Instant, _listener: &mut dyn Listener) {}

    /// How many requests are open.
    pub(super) fn open(&self) -> usize {
        0
    }

    /// Bytes held on the heap.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        0
    }
}
