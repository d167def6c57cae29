//! The requests that are open, in their order, and the answer to the first of them.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::super::{End, Exchange, Listener, Lost, Request, TraceContext};

/// Requests that may be open at once. Clients that pipeline send a few dozen.
pub(super) const MAX_OPEN: usize = 128;
/// Bytes of their authorities and of what they ask to be upgraded to, from the second open request on.
pub(super) const MAX_TEXTS: usize = 8 * 1024;
/// Bytes of their targets and traces, from the second open request on. A request that has no room for its own
/// is followed without: they are for witnesses, who must not make a difference to what is followed.
pub(super) const MAX_DETAILS: usize = 8 * 1024;
/// Room that the queue keeps when nothing is open.
const KEPT_ROOM: usize = 4;
/// Bytes that every shared string takes besides its own.
const COUNTS: usize = 2 * size_of::<usize>();

/// The requests that are open, and the answer to the first.
///
/// ```text
/// client ─▶ head ── push ─▶ body ── request_ended ─┐
///                                                  ├─▶ told, and gone
/// server ─▶ head ─ answer ─▶ body ─ response_ended ┘
/// ```
///
/// A response may end first: then its request is still open, the last one that there is, until its body has
/// ended or is given up.
#[derive(Debug)]
pub(super) struct Pending {
    queue: VecDeque<Open>,
    /// What those in the queue hold, each with a bound of its own.
    texts: usize,
    details: usize,
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
    /// Whether its body never will be.
    is_given_up: bool,
    /// What it asks to be upgraded to.
    pub(super) upgrade: Option<Box<str>>,
    /// Bytes that it holds for its authority, unless the one before has the same, and its upgrade.
    texts: u16,
    /// Bytes that it holds for its target and its trace.
    details: u16,
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
        Self { queue: VecDeque::new(), texts: 0, details: 0, answer }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Takes a request whose head is complete, and tells of it.
    pub(super) fn push(
        &mut self,
        mut request: Request,
        upgrade: Option<Box<str>>,
        now: Instant,
        listener: &mut dyn Listener,
    ) -> Result<(), Lost> {
        if self.queue.len() >= MAX_OPEN {
            return Err(Lost::TooManyRequests);
        }
        let shared = self.queue.back().and_then(|last| last.request.authority.as_ref());
        let texts = texts_of(&request, shared) + upgrade.as_deref().map_or(0, str::len);
        if !self.queue.is_empty() {
            if self.texts + texts > MAX_TEXTS {
                return Err(Lost::MemoryBound);
            }
            if self.details + details_of(&request) > MAX_DETAILS {
                (request.target, request.trace) = (None, None);
            }
        }
        let details = details_of(&request);
        listener.request(&request);
        self.texts += texts;
        self.details += details;
        // Neither is more than some hundred bytes.
        let (texts, details) = (u16::try_from(texts), u16::try_from(details));
        let (texts, details) = (texts.unwrap_or(u16::MAX), details.unwrap_or(u16::MAX));
        self.queue.push_back(Open {
            request,
            began: now,
            ended: None,
            is_given_up: false,
            upgrade,
            texts,
            details,
        });
        Ok(())
    }

    /// The last request's body is complete.
    pub(super) fn request_ended(&mut self, now: Instant, listener: &mut dyn Listener) {
        if let Some(last) = self.queue.back_mut() {
            last.ended = Some(now);
        }
        self.tell_if_over(listener);
    }

    /// No more of the last request will come.
    pub(super) fn request_given_up(&mut self, listener: &mut dyn Listener) {
        if let Some(last) = self.queue.back_mut() {
            last.is_given_up = true;
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
        self.texts -= usize::from(open.texts);
        self.details -= usize::from(open.details);
        if self.queue.is_empty() && self.queue.capacity() > KEPT_ROOM {
            self.queue.shrink_to(KEPT_ROOM);
        }
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

    /// Nothing more can be known of the requests: tells of the first if its answer is complete.
    pub(super) fn tell_if_answered(&mut self, listener: &mut dyn Listener) {
        if let Some(ended) = self.answer.ended {
            self.switched(ended, listener);
        }
    }

    fn tell_if_over(&mut self, listener: &mut dyn Listener) {
        if self.queue.front().is_some_and(|open| open.ended.is_some() || open.is_given_up) {
            self.tell_if_answered(listener);
        }
    }

    /// Bytes held on the heap.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.queue.capacity() * size_of::<Open>() + self.texts + self.details
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

/// Bytes that a request holds for its authority, if it does not share that with the one before.
fn texts_of(request: &Request, shared: Option<&Arc<str>>) -> usize {
    let authority =
        request.authority.as_ref().filter(|own| shared.is_none_or(|shared| !Arc::ptr_eq(own, shared)));
    authority.map_or(0, |authority| COUNTS + authority.len())
}

/// Bytes that a request holds for its target and its trace.
fn details_of(request: &Request) -> usize {
    request.target.as_ref().map_or(0, |target| COUNTS + target.len())
        + request.trace.as_ref().map_or(0, |_| size_of::<TraceContext>())
}
