//! The streams that clients open: each a request and its response.

use std::{
    collections::VecDeque,
    num::NonZeroU64,
    time::{Duration, Instant},
};

use super::head::Shared;
use crate::observe::{End, Exchange, Listener, Request};

/// Streams that are followed at once. Servers are to allow 100 at least (RFC 9113, section 6.5.2).
pub(super) const MAX_OPEN: usize = 128;
/// Bytes that they may hold, with what they share: a stream beyond them is not followed. The rest of what a
/// connection may hold is for tables and header blocks, however many streams are open.
pub(super) const MAX_STREAMS_HELD: usize = 23 * 1024;
/// Room that is kept for streams when none is open.
const KEPT_ROOM: usize = 4;
/// Room that is made at once for more: little is left that is not used.
const STEP: usize = 16;

/// The streams that are open, by their number.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// In the order of their numbers, which is that of their opening.
    places: VecDeque<Place>,
    /// So that nothing but a place moves when a stream among them ends.
    slots: Vec<Option<Stream>>,
    /// Slots that are empty.
    empty: Vec<u16>,
    /// The highest number so far.
    highest: u32,
    /// What their requests share.
    pub(super) shared: Shared,
}

/// Where a stream is.
#[derive(Debug, Clone, Copy)]
struct Place {
    id: u32,
    slot: u16,
}

/// A request and its response, so far.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) request: Request,
    /// When the request's head was complete.
    began: Instant,
    request_ended: Since,
    /// What the request asks the stream to be (extended CONNECT), in lower case.
    pub(super) protocol: Option<Box<str>>,
    response_began: Since,
    response_ended: Since,
    pub(super) response_bytes: u64,
    pub(super) status: Option<u16>,
    pub(super) grpc_status: Option<u32>,
}

/// When something was, if it was: nanoseconds since the stream began, and one. Half as large as an instant.
type Since = Option<NonZeroU64>;

impl Streams {
    /// Whether the client has not yet opened this stream, nor any after it.
    pub(super) const fn is_idle(&self, id: u32) -> bool {
        id > self.highest
    }

    /// Opens a stream that is idle. Answers with it if there is no room: then it is open to the peers alone, and
    /// its frames are those of a stream that is over.
    pub(super) fn open(&mut self, id: u32, stream: Stream) -> Option<Stream> {
        self.highest = id;
        let has_room = self.places.len() < MAX_OPEN && self.held_after_next() <= MAX_STREAMS_HELD;
        if has_room && self.is_full() {
            self.grow();
        }
        let new_slot = || u16::try_from(self.slots.len()).ok();
        let slot = if has_room { self.empty.pop().or_else(new_slot) } else { None };
        let Some(slot) = slot else {
            self.shared.release(&stream.request, stream.protocol.as_deref());
            return Some(stream);
        };
        match self.slots.get_mut(usize::from(slot)) {
            Some(place) => *place = Some(stream),
            None => self.slots.push(Some(stream)),
        }
        self.places.push_back(Place { id, slot });
        None
    }

    /// A stream, if it is open.
    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        let at = self.find(id)?;
        self.slots.get_mut(usize::from(self.places.get(at)?.slot))?.as_mut()
    }

    /// A stream, if it is open and its response has not ended: what a server sends behind the end is no part of it.
    pub(super) fn answered(&mut self, id: u32) -> Option<&mut Stream> {
        self.get_mut(id).filter(|stream| stream.response_ended.is_none())
    }

    /// Ends a stream, if it is open, and tells of it. `end` is how, unless its response is complete.
    pub(super) fn end(&mut self, id: u32, end: End, now: Instant, listener: &mut dyn Listener) {
        let Some(place) = self.find(id).and_then(|at| self.places.remove(at)) else {
            return;
        };
        self.empty_slot(place, end, now, listener);
        self.shrink_if_empty();
    }

    /// Ends all streams, as [`Streams::end`] does.
    pub(super) fn end_all(&mut self, end: End, now: Instant, listener: &mut dyn Listener) {
        while let Some(place) = self.places.pop_front() {
            self.empty_slot(place, end, now, listener);
        }
        self.shrink_if_empty();
    }

    /// Ends those streams whose response has ended.
    pub(super) fn end_answered(&mut self, listener: &mut dyn Listener) {
        for place in std::mem::take(&mut self.places) {
            let slot = self.slots.get(usize::from(place.slot)).and_then(Option::as_ref);
            match slot.and_then(|stream| stream.at(stream.response_ended)) {
                Some(ended) => self.empty_slot(place, End::Complete, ended, listener),
                None => self.places.push_back(place),
            }
        }
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes held on the heap.
    pub(super) fn held(&self) -> usize {
        self.places.capacity() * size_of::<Place>()
            + self.slots.capacity() * size_of::<Option<Stream>>()
            + self.empty.capacity() * size_of::<u16>()
            + self.shared.held()
    }

    /// Bytes held on the heap when one more is open.
    fn held_after_next(&self) -> usize {
        let each = size_of::<Place>() + size_of::<Option<Stream>>() + size_of::<u16>();
        self.held() + if self.is_full() { self.step() * each } else { 0 }
    }

    const fn is_full(&self) -> bool {
        self.slots.len() == self.slots.capacity() && self.empty.is_empty()
    }

    /// For how many more room is made when there is none left.
    fn step(&self) -> usize {
        if self.slots.capacity() == 0 { KEPT_ROOM } else { STEP.min(MAX_OPEN - self.places.len()) }
    }

    /// Makes room for the next ones.
    fn grow(&mut self) {
        let step = self.step();
        self.slots.reserve_exact(step);
        self.places.reserve_exact(step);
        self.empty.reserve_exact(self.slots.capacity());
    }

    /// Gives back the room of those that were open, where it is more than a few take.
    fn shrink_if_empty(&mut self) {
        if self.places.is_empty() && self.slots.capacity() > KEPT_ROOM {
            self.slots.clear();
            self.empty.clear();
            self.slots.shrink_to(KEPT_ROOM);
            self.empty.shrink_to(KEPT_ROOM);
            self.places.shrink_to(KEPT_ROOM);
        }
    }

    /// Where a stream is among the places.
    fn find(&self, id: u32) -> Option<usize> {
        // Most end in the order in which they began.
        match self.places.front() {
            Some(first) if first.id == id => Some(0),
            _ => self.places.binary_search_by_key(&id, |place| place.id).ok(),
        }
    }

    /// Ends the stream that was at this place.
    fn empty_slot(&mut self, place: Place, end: End, now: Instant, listener: &mut dyn Listener) {
        if let Some(stream) = self.slots.get_mut(usize::from(place.slot)).and_then(Option::take) {
            stream.tell(end, now, listener);
            self.shared.release(&stream.request, stream.protocol.as_deref());
            self.empty.push(place.slot);
        }
    }
}

impl Stream {
    /// A request whose head is complete.
    pub(super) const fn new(request: Request, began: Instant, protocol: Option<Box<str>>) -> Self {
        Self {
            request,
            began,
            request_ended: None,
            protocol,
            response_began: None,
            response_ended: None,
            response_bytes: 0,
            status: None,
            grpc_status: None,
        }
    }

    /// The request's last byte has passed.
    pub(super) fn end_request(&mut self, now: Instant) {
        self.request_ended = self.request_ended.or(self.since(now));
    }

    /// The head of the final response is complete, or there were trailers alone.
    pub(super) fn begin_response(&mut self, now: Instant) {
        self.response_began = self.response_began.or(self.since(now));
    }

    /// Whether the head of the final response, or trailers, have come.
    pub(super) const fn has_response(&self) -> bool {
        self.response_began.is_some()
    }

    /// The response's last byte has passed.
    pub(super) fn end_response(&mut self, now: Instant) {
        self.response_ended = self.response_ended.or(self.since(now));
    }

    fn since(&self, now: Instant) -> Since {
        let nanos = now.saturating_duration_since(self.began).as_nanos();
        NonZeroU64::new(u64::try_from(nanos).unwrap_or(u64::MAX).saturating_add(1))
    }

    fn at(&self, since: Since) -> Option<Instant> {
        let since = Duration::from_nanos(since?.get() - 1);
        Some(self.began.checked_add(since).unwrap_or(self.began))
    }

    /// Whether both sides have ended it.
    pub(super) const fn is_over(&self) -> bool {
        self.request_ended.is_some() && self.response_ended.is_some()
    }

    /// Tells of the exchange. With a complete response it is complete, however the stream was let go:
    /// a reset then says only that the rest of the request is not wanted, or not sent.
    fn tell(&self, end: End, now: Instant, listener: &mut dyn Listener) {
        let (end, ended) = self.at(self.response_ended).map_or((end, now), |ended| (End::Complete, ended));
        listener.exchange(&Exchange {
            request: &self.request,
            began: self.began,
            request_ended: self.at(self.request_ended),
            response_began: self.at(self.response_began),
            ended,
            status: self.status,
            grpc_status: self.grpc_status,
            response_bytes: self.response_bytes,
            end,
        });
    }
}
