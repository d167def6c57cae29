//! The requests that are open, in their order, and the answer to the first of them.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::super::{End, Exchange, Listener, Lost, Request, TraceContext};

/// Requests that may be open at once. Clients that pipeline send a few dozen.
pub(super) const MAX_OPEN: usize = 64;
/// Bytes of their authorities, targets and traces, from the second open request on.
pub(super) const MAX_TEXTS: usize = 4 * 1024;

/// The requests that are open, and the answer to the first.
///
/// ```text
/// client ─▶ head ── push ─▶ body ── request_ended ─┐
///                                                  ├─▶ told, and gone
/// server ─▶ head ─ answer ─▶ body ─ response_ended ┘
/// ```
///
/// A response may end first: then its request is still open, the last one that there is.
#[derive(Debug)]
pub(super) struct Pending {
    queue: VecDeque<Open>,
    /// Bytes of the texts of those in the queue.
    texts: usize,
    answer: Answer,
}

/// A request that is open.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) request: Request,
    /// When its head was complete.
    pub(super) began: Instant,
    /// When its body was.
    pub(super) ended: Option<Instant>,
    /// What it asks to be upgraded to.
    pub(super) upgrade: Option<Box<str>>,
    texts: usize,
}

/// The final response to the first request, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// When its head was complete.
    pub(super) began: Option<Instant>,
    /// When its body was.
    ended: Option<Instant>,
    pub(super) status: Option<u16>,
    pub(super) grpc_status: Option<u32>,
    /// Bytes of its body so far, framing included.
    pub(super) bytes: u64,
}

impl Pending {
    /// None.
    pub(super) const fn new() -> Self {
        let answer = Answer { began: None, ended: None, status: None, grpc_status: None, bytes: 0 };
        Self { queue: VecDeque::new(), texts: 0, answer }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Takes a request whose head is complete, and tells of it.
    pub(super) fn push(
        &mut self,
        request: Request,
        upgrade: Option<Box<str>>,
        now: Instant,
        listener: &mut dyn Listener,
    ) -> Result<(), Lost> {
        let shared = self.queue.back().and_then(|last| last.request.authority.as_ref());
        let texts = texts_of(&request, shared) + upgrade.as_deref().map_or(0, str::len);
        if self.queue.len() >= MAX_OPEN || !self.queue.is_empty() && self.texts + texts > MAX_TEXTS {
            return Err(Lost::TooManyRequests);
        }
        listener.request(&request);
        self.texts += texts;
        self.queue.push_back(Open { request, began: now, ended: None, upgrade, texts });
        Ok(())
    }

    /// The last request's body is complete.
    pub(super) fn request_ended(&mut self, now: Instant, listener: &mut dyn Listener) {
        if let Some(last) = self.queue.back_mut() {
            last.ended = Some(now);
        }
        self.tell_if_over(listener);
    }

    /// The request that the server's next response is for.
    pub(super) fn awaiting(&self) -> Option<&Open> {
        self.queue.front().filter(|_| self.answer.ended.is_none())
    }

    /// Whether a request from this place in the queue on asks for an upgrade.
    pub(super) fn awaits_upgrade(&self, from: usize) -> bool {
        self.queue.iter().skip(from).any(|open| open.upgrade.is_some())
    }

    /// The answer to the first request.
    pub(super) const fn answer_mut(&mut self) -> &mut Answer {
        &mut self.answer
    }

    /// The answer is complete.
    pub(super) fn response_ended(&mut self, now: Instant, listener: &mut dyn Listener) {
        self.answer.ended = Some(now);
        self.tell_if_over(listener);
    }

    /// The answer is complete, and there will be no more of its request.
    pub(super) fn switched(&mut self, now: Instant, listener: &mut dyn Listener) {
        if let Some(open) = self.take_first() {
            std::mem::take(&mut self.answer).tell(&open, now, End::Complete, listener);
        }
    }

    /// Hands over the first request, untold.
    pub(super) fn take_first(&mut self) -> Option<Open> {
        let open = self.queue.pop_front()?;
        self.texts -= open.texts;
        Some(open)
    }

    /// The connection is over; so are they all.
    pub(super) fn close(&mut self, end: End, now: Instant, listener: &mut dyn Listener) {
        while let Some(open) = self.take_first() {
            let answer = std::mem::take(&mut self.answer);
            let (end, ended) = answer.ended.map_or((end, now), |ended| (End::Complete, ended));
            answer.tell(&open, ended, end, listener);
        }
    }

    fn tell_if_over(&mut self, listener: &mut dyn Listener) {
        if let (Some(ended), Some(Open { ended: Some(_), .. })) = (self.answer.ended, self.queue.front()) {
            self.switched(ended, listener);
        }
    }

    /// Bytes held on the heap.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.queue.capacity() * size_of::<Open>() + self.texts
    }
}

impl Answer {
    fn tell(&self, open: &Open, ended: Instant, end: End, listener: &mut dyn Listener) {
        listener.exchange(&Exchange {
            request: &open.request,
            began: open.began,
            request_ended: open.ended,
            response_began: self.began,
            ended,
            status: self.status,
            grpc_status: self.grpc_status,
            response_bytes: self.bytes,
            end,
        });
    }
}

/// Bytes that a request holds beside what it shares with the one before.
fn texts_of(request: &Request, shared: Option<&Arc<str>>) -> usize {
    let authority =
        request.authority.as_ref().filter(|own| shared.is_none_or(|shared| !Arc::ptr_eq(own, shared)));
    authority.map_or(0, |authority| authority.len())
        + request.target.as_deref().map_or(0, str::len)
        + request.trace.as_ref().map_or(0, |_| size_of::<TraceContext>())
}
