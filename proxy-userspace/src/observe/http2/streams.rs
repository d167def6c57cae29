//! The streams that clients open: each a request and its response.

use std::{collections::VecDeque, time::Instant};

use crate::observe::{End, Exchange, Listener, Request};

/// Streams that are followed at once; servers allow 100 to 250 unless told otherwise.
pub(super) const MAX_OPEN: usize = 256;

/// The streams that are open, by their number.
///
/// Holds 56 KiB at most, where [`MAX_OPEN`] are or were open.
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
    pub(super) began: Instant,
    pub(super) request_ended: Option<Instant>,
    /// What the request asks the stream to be (extended CONNECT), in lower case.
    pub(super) protocol: Option<Box<str>>,
    pub(super) response_began: Option<Instant>,
    pub(super) response_ended: Option<Instant>,
    pub(super) response_bytes: u64,
    pub(super) status: Option<u16>,
    pub(super) grpc_status: Option<u32>,
}

impl Streams {
    /// Whether the client has not yet opened this stream, nor any after it.
    pub(super) const fn is_idle(&self, id: u32) -> bool {
        id > self.highest
    }

    /// Opens a stream that is idle. Answers with it if there is no room: then it is open to the peers alone, and
    /// its frames are those of a stream that is over.
    pub(super) fn open(&mut self, id: u32, stream: Stream) -> Option<Stream> {
        self.highest = id;
        let new_slot = u16::try_from(self.slots.len()).ok();
        if self.places.len() >= MAX_OPEN {
            return Some(stream);
        }
        let Some(slot) = self.empty.pop().or(new_slot) else {
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
    }

    /// Ends all streams, as [`Streams::end`] does.
    pub(super) fn end_all(&mut self, end: End, now: Instant, listener: &mut dyn Listener) {
        while let Some(place) = self.places.pop_front() {
            self.empty_slot(place, end, now, listener);
        }
    }

    /// Ends those streams whose response has ended.
    pub(super) fn end_answered(&mut self, listener: &mut dyn Listener) {
        for place in std::mem::take(&mut self.places) {
            let slot = self.slots.get(usize::from(place.slot)).and_then(Option::as_ref);
            match slot.and_then(|stream| stream.response_ended) {
                Some(ended) => self.empty_slot(place, End::Complete, ended, listener),
                None => self.places.push_back(place),
            }
        }
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Bytes held on the heap, but for what requests share.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let own = |stream: &Stream| {
            stream.protocol.as_ref().map_or(0, |protocol| protocol.len())
                + stream.request.trace.as_ref().map_or(0, |trace| size_of_val(&**trace))
        };
        self.places.capacity() * size_of::<Place>()
            + self.slots.capacity() * size_of::<Option<Stream>>()
            + self.empty.capacity() * size_of::<u16>()
            + self.slots.iter().flatten().map(own).sum::<usize>()
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
        if let Some(slot) = self.slots.get_mut(usize::from(place.slot))
            && let Some(stream) = slot
        {
            stream.tell(end, now, listener);
            *slot = None;
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

    /// Whether both sides have ended it.
    pub(super) const fn is_over(&self) -> bool {
        self.request_ended.is_some() && self.response_ended.is_some()
    }

    /// Tells of the exchange. With a complete response it is complete, however the stream was let go:
    /// a reset then says only that the rest of the request is not wanted, or not sent.
    fn tell(&self, end: End, now: Instant, listener: &mut dyn Listener) {
        let (end, ended) = self.response_ended.map_or((end, now), |ended| (End::Complete, ended));
        listener.exchange(&Exchange {
            request: &self.request,
            began: self.began,
            request_ended: self.request_ended,
            response_began: self.response_began,
            ended,
            status: self.status,
            grpc_status: self.grpc_status,
            response_bytes: self.response_bytes,
            end,
        });
    }
}
