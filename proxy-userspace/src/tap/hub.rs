//! Where connections tell of exchanges, and taps learn of them.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{event::Event, filter::Filter, message::Message};
use crate::observe::{Exchange, Parties};

/// How many taps there may be at once.
pub const MAX_TAPS: usize = 16;
/// Exchanges that may wait for one tap; those that find no place are lost to it, and counted.
pub const QUEUE: usize = 1_024;

/// Tells taps of exchanges. Clones share the taps.
#[derive(Clone, Debug, Default)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// How many taps there are, for whoever has nothing to tell if there are none.
    count: AtomicUsize,
    taps: RwLock<Vec<Tap>>,
}

/// The hub's end of a tap.
#[derive(Debug)]
struct Tap {
    filter: Filter,
    queue: mpsc::Sender<Bytes>,
    lost: Arc<AtomicU64>,
}

/// There are [`MAX_TAPS`] taps already.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_TAPS} taps are open, and there may be no more")]
pub struct TooManyTaps;

/// A tap: the exchanges that its filter admits, until it is dropped.
#[derive(Debug)]
pub struct Subscription {
    hub: Hub,
    queue: mpsc::Receiver<Bytes>,
    lost: Arc<AtomicU64>,
}

impl Hub {
    /// Whether anybody listens. Costs one load.
    #[must_use]
    pub fn is_tapped(&self) -> bool {
        self.shared.count.load(Ordering::Relaxed) > 0
    }

    /// Tells of an exchange. Never waits for a tap.
    pub fn tell(&self, parties: &Parties, exchange: &Exchange<'_>) {
        if !self.is_tapped() {
            return;
        }
        // Written once, by the first that wants it.
        let mut line: Option<Bytes> = None;
        let taps = self.shared.taps.read().unwrap_or_else(PoisonError::into_inner);
        for tap in taps.iter().filter(|tap| tap.filter.admits(parties, exchange.request)) {
            match tap.queue.try_reserve() {
                Ok(place) => {
                    let write = || Message::Exchange(Box::new(Event::of(parties, exchange))).to_line();
                    place.send(line.get_or_insert_with(write).clone());
                }
                Err(_full) => {
                    tap.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Listens to the exchanges that the filter admits.
    ///
    /// # Errors
    /// When there are as many taps as there may be.
    pub fn subscribe(&self, filter: Filter) -> Result<Subscription, TooManyTaps> {
        let (sender, queue) = mpsc::channel(QUEUE);
        let lost = Arc::default();
        let mut taps = self.shared.taps.write().unwrap_or_else(PoisonError::into_inner);
        if taps.len() >= MAX_TAPS {
            return Err(TooManyTaps);
        }
        taps.push(Tap { filter, queue: sender, lost: Arc::clone(&lost) });
        self.shared.count.store(taps.len(), Ordering::Relaxed);
        drop(taps);
        Ok(Subscription { hub: self.clone(), queue, lost })
    }
}

impl Subscription {
    /// Appends the lines that wait to `lines`, at most `limit`; waits while there is none. A line is a
    /// [`Message`] with its line end.
    pub async fn next(&mut self, lines: &mut Vec<Bytes>, limit: usize) {
        // Zero only if the queue were closed, which the hub's end does when this one is gone.
        let _how_many = self.queue.recv_many(lines, limit).await;
    }

    /// How many exchanges were lost since this was last asked.
    #[must_use]
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut taps = self.hub.shared.taps.write().unwrap_or_else(PoisonError::into_inner);
        taps.retain(|tap| !Arc::ptr_eq(&tap.lost, &self.lost));
        self.hub.shared.count.store(taps.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::tests::{call, exchange, parties, request};
    use super::super::filter::HttpProtocol;
    use super::*;

    #[test]
    fn a_hub_is_tapped_while_there_is_a_subscription() {
        let hub = Hub::default();
        assert!(!hub.is_tapped());
        let (first, second) =
            (hub.subscribe(Filter::default()).unwrap(), hub.subscribe(Filter::default()).unwrap());
        assert!(hub.is_tapped());
        drop(first);
        assert!(hub.is_tapped());
        drop(second);
        assert!(!hub.is_tapped());
    }

    #[tokio::test]
    async fn a_tap_learns_of_what_its_filter_admits() {
        let hub = Hub::default();
        let filter = Filter { protocol: Some(HttpProtocol::Grpc), ..Filter::default() };
        let mut tap = hub.subscribe(filter).unwrap();
        hub.tell(&parties(), &exchange(&request()));
        hub.tell(&parties(), &exchange(&call()));
        let mut lines = Vec::new();
        tap.next(&mut lines, 10).await;
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with(br#"{"exchange":{"time":"#) && lines[0].ends_with(b"}}\n"));
        assert_eq!(tap.take_lost(), 0);
    }

    #[tokio::test]
    async fn a_tap_that_is_slow_loses_requests_and_is_told_how_many() {
        let hub = Hub::default();
        let mut slow = hub.subscribe(Filter::default()).unwrap();
        let request = request();
        for _ in 0..QUEUE + 3 {
            hub.tell(&parties(), &exchange(&request));
        }
        let mut quick = hub.subscribe(Filter::default()).unwrap();
        hub.tell(&parties(), &exchange(&request));

        let mut lines = Vec::new();
        slow.next(&mut lines, 2 * QUEUE).await;
        assert_eq!((lines.len(), slow.take_lost(), slow.take_lost()), (QUEUE, 4, 0));
        lines.clear();
        quick.next(&mut lines, 10).await;
        assert_eq!((lines.len(), quick.take_lost()), (1, 0));
    }

    #[test]
    fn one_tap_too_many_is_refused_until_another_ends() {
        let hub = Hub::default();
        let mut taps: Vec<_> = (0..MAX_TAPS).map(|_| hub.subscribe(Filter::default()).unwrap()).collect();
        assert_eq!(hub.subscribe(Filter::default()).unwrap_err(), TooManyTaps);
        taps.pop();
        assert!(hub.subscribe(Filter::default()).is_ok());
    }
}
