//! One connection's account: what is counted while it lives, and said when it ends.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use proxy_common::{Decision, OriginalDst, PortRule};

use super::{
    downstream::{Downstream, destination, direction, may_use_sk_msg},
    pump::{Side, Watch},
    requests::Requests,
    witnesses::Witnesses,
};
use crate::{
    metrics::{CloseReason, ConnectionMetrics},
    observe::{End, Observer, Parties, Protocol},
    report::ConnectionReport,
};

/// How many bytes the proxy reads before it tells `sk_msg` so; small against the byte fuse.
const CONSUMED_STEP: u64 = 128 << 10;

/// Everything that is known of one connection. Dropped before [`Account::close`], the connection
/// counts as cut by the end of the process.
pub(super) struct Account {
    downstream: Arc<Downstream>,
    original: OriginalDst,
    observer: Observer,
    requests: Requests,
    /// `None` once the account is closed.
    metrics: Option<ConnectionMetrics>,
    started: Instant,
    sent_bytes: u64,
    received_bytes: u64,
    first_byte: FirstByte,
    farewell: Farewell,
    /// How many of the bytes that were read `sk_msg` knows of.
    consumed_bytes: u64,
    /// What the connection is has been told to whoever learns, or nobody wants to know.
    has_taught: bool,
}

/// From the first byte of the client to the first byte of the server.
enum FirstByte {
    Waiting,
    ClientSpoke(Instant),
    Known(Duration),
    /// The server spoke first.
    None,
}

/// Whether the client has left before the server was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    /// Nobody has finished.
    None,
    /// The client finished first, and the server has said nothing since: as it would to one that has left.
    ClientFirst,
    /// The server finished first, or went on speaking: it takes the client's end for a half-close.
    ServerGoesOn,
}

impl Account {
    /// Opens the account of a connection whose destination is known.
    pub(super) fn open(downstream: &Arc<Downstream>, client: SocketAddr, original: &OriginalDst) -> Self {
        let dst = destination(original);
        let rule = original.rule();
        let observer = match rule.decision() {
            Decision::Detect => Observer::inspecting(),
            Decision::Opaque | Decision::Skip => Observer::not_inspecting(),
        };
        let direction = direction(original);
        let parties = Parties::new(direction, Arc::clone(&downstream.workload), client, dst);
        let metrics = downstream.metrics.open(direction, &downstream.workload, dst);
        Self {
            downstream: Arc::clone(downstream),
            original: *original,
            observer,
            requests: Requests::new(&metrics, Witnesses::new(parties, downstream)),
            metrics: Some(metrics),
            started: Instant::now(),
            sent_bytes: 0,
            received_bytes: 0,
            first_byte: FirstByte::Waiting,
            farewell: Farewell::None,
            consumed_bytes: 0,
            has_taught: rule != PortRule::DETECT,
        }
    }

    /// Whether the client's sends may travel by `sk_msg`.
    pub(super) fn may_use_sk_msg(&self) -> bool {
        may_use_sk_msg(&self.original)
    }

    /// The upstream connection is established.
    pub(super) fn connected(&self) {
        if let Some(metrics) = &self.metrics {
            metrics.server_connected();
        }
    }

    /// Counts the protocol as soon as it is known for good.
    fn tell_if_known(&mut self) {
        if let (true, Some(metrics)) = (self.observer.is_known(), &self.metrics) {
            let observation = self.observer.observation();
            metrics.detected(observation.protocol.label(), observation.detected_by.label());
            self.teach(observation.protocol);
        }
    }

    fn teach(&mut self, protocol: Protocol) {
        if !std::mem::replace(&mut self.has_taught, true) {
            self.downstream.surroundings.observed(&self.original, protocol == Protocol::Opaque);
        }
    }

    fn client_sent(&mut self, len: u64) {
        self.sent_bytes += len;
        if let Some(metrics) = &self.metrics {
            metrics.client_read(len);
        }
        if matches!(self.first_byte, FirstByte::Waiting) {
            self.first_byte = FirstByte::ClientSpoke(Instant::now());
        }
        if self.may_use_sk_msg() && self.sent_bytes - self.consumed_bytes >= CONSUMED_STEP {
            self.consumed_bytes = self.sent_bytes;
            self.downstream.surroundings.consumed(self.original.cookie, self.sent_bytes);
        }
    }

    fn server_sent(&mut self, len: u64) {
        if self.farewell == Farewell::ClientFirst {
            self.farewell = Farewell::ServerGoesOn;
        }
        if let Some(metrics) = &self.metrics {
            metrics.server_read(len);
        }
        match self.first_byte {
            FirstByte::Waiting => self.first_byte = FirstByte::None,
            FirstByte::ClientSpoke(at) => self.first_byte = FirstByte::Known(at.elapsed()),
            FirstByte::Known(_) | FirstByte::None => {}
        }
    }

    /// Closes the account.
    pub(super) fn close(mut self, reason: CloseReason) {
        self.settle(reason);
    }

    fn settle(&mut self, reason: CloseReason) {
        let Some(metrics) = self.metrics.take() else { return };
        if self.may_use_sk_msg() {
            self.downstream.surroundings.ended(self.original.cookie);
        }
        let now = Instant::now();
        self.observer.close(end_of_requests(reason, self.farewell), now, &mut self.requests);
        let duration = now.saturating_duration_since(self.started);
        let observation = self.observer.observation();
        metrics.detected(observation.protocol.label(), observation.detected_by.label());
        // Silence, and a beginning that could have become anything, teach nothing.
        if self.observer.is_known() || observation.protocol != Protocol::Opaque {
            self.teach(observation.protocol);
        }
        metrics.close(reason, duration);
        if let Some(report) = &self.downstream.reports {
            let Parties { direction, workload, client, dst } = self.requests.parties().clone();
            report(ConnectionReport {
                direction,
                client,
                dst,
                workload,
                decision: self.original.rule().decision(),
                protocol: Some(observation.protocol.label()),
                detected_by: Some(observation.detected_by.label()),
                sni: observation.sni,
                alpn: observation.alpn,
                bytes_sent: self.sent_bytes,
                bytes_received: self.received_bytes,
                requests: self.requests.take_report(),
                first_byte: match self.first_byte {
                    FirstByte::Known(latency) => Some(latency),
                    FirstByte::Waiting | FirstByte::ClientSpoke(_) | FirstByte::None => None,
                },
                duration,
                close: reason,
            });
        }
    }
}

/// How the requests end that are open when the connection ends.
const fn end_of_requests(reason: CloseReason, farewell: Farewell) -> End {
    match reason {
        CloseReason::Eof if matches!(farewell, Farewell::ClientFirst) => End::ClientLeft,
        CloseReason::ClientReset | CloseReason::ClientTimedOut => End::ClientReset,
        CloseReason::ServerReset | CloseReason::ServerTimedOut => End::ServerReset,
        CloseReason::Eof
        | CloseReason::Refused
        | CloseReason::Unreachable
        | CloseReason::TimedOut
        | CloseReason::NoOriginalDst
        | CloseReason::Loop
        | CloseReason::Shutdown
        | CloseReason::NotEstablished
        | CloseReason::Unreported
        | CloseReason::Limit
        | CloseReason::Error => End::Cut,
    }
}

impl Watch for Account {
    fn looks(&self) -> bool {
        self.observer.wants_bytes()
    }

    fn sent(&mut self, by: Side, bytes: &[u8]) {
        self.sent_unseen(by, bytes.len());
        if !self.looks() {
            return;
        }
        let now = Instant::now();
        match by {
            Side::Client => self.observer.client_bytes(bytes, now, &mut self.requests),
            Side::Server => self.observer.server_bytes(bytes, now, &mut self.requests),
        }
        self.tell_if_known();
    }

    fn sent_unseen(&mut self, by: Side, len: usize) {
        match by {
            Side::Client => self.client_sent(len as u64),
            Side::Server => self.server_sent(len as u64),
        }
    }

    fn took(&mut self, by: Side, len: usize) {
        let len = len as u64;
        let Some(metrics) = &self.metrics else { return };
        match by {
            Side::Client => {
                self.received_bytes += len;
                metrics.client_written(len);
            }
            Side::Server => metrics.server_written(len),
        }
    }

    fn finished(&mut self, by: Side) {
        if by == Side::Server {
            self.observer.server_finished(Instant::now(), &mut self.requests);
        }
        if self.farewell == Farewell::None {
            self.farewell = match by {
                Side::Client => Farewell::ClientFirst,
                Side::Server => Farewell::ServerGoesOn,
            };
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.settle(CloseReason::Shutdown);
    }
}
