//! One connection's account.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::close::CloseReason;
use super::families::Families;
use super::http::HttpMetrics;
use super::labels::{Peer, ReasonLabels, SocketCloseLabels};
use super::targets::{SocketSeries, TargetSeries};

/// What the kernel has counted of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes from the client to the server.
    pub from_client: u64,
    /// Bytes from the server to the client.
    pub from_server: u64,
    /// The smoothed round-trip time, where it is known.
    pub round_trip: Option<Duration>,
    /// Segments that the workload's socket has sent again.
    pub retransmits: u64,
}

/// What one connection counts into, resolved once when it is accepted.
///
/// Bytes show while the connection lives. [`ConnectionMetrics::close`] consumes the account;
/// dropping it without counts [`CloseReason::Shutdown`]. Either way the open gauges go down.
#[derive(Debug)]
pub struct ConnectionMetrics {
    families: Arc<Families>,
    series: Arc<TargetSeries>,
    accepted: Instant,
    connected: OnceLock<Instant>,
    detected: AtomicBool,
    closed: bool,
}

impl ConnectionMetrics {
    /// Opens the account of an accepted connection.
    pub(super) fn open(families: Arc<Families>, series: Arc<TargetSeries>) -> Self {
        opened(&series.src);
        Self {
            families,
            series,
            accepted: Instant::now(),
            connected: OnceLock::new(),
            detected: AtomicBool::new(false),
            closed: false,
        }
    }

    /// The upstream connection is established. Further calls count nothing.
    pub fn server_connected(&self) {
        self.server_connected_for(Duration::ZERO);
    }

    /// Likewise, of one that has been so for this long.
    pub fn server_connected_for(&self, duration: Duration) {
        let now = Instant::now();
        if self.connected.set(now.checked_sub(duration).unwrap_or(now)).is_ok() {
            opened(&self.series.dst);
        }
    }

    /// Bytes went from one side to the other without the proxy, and segments were sent again. `lived` is
    /// how much of its life has not been counted yet.
    pub fn carried(&self, traffic: &Traffic, lived: Duration) {
        self.client_read(traffic.from_client);
        self.server_written(traffic.from_client);
        self.server_read(traffic.from_server);
        self.client_written(traffic.from_server);
        let TargetSeries { direction, workload, .. } = &*self.series;
        self.families.kernel_path.carried(*direction, workload, traffic, lived);
    }

    /// Bytes were read from the client.
    #[inline]
    pub fn client_read(&self, bytes: u64) {
        self.series.src.read_bytes.inc_by(bytes);
    }

    /// Bytes were written to the client.
    #[inline]
    pub fn client_written(&self, bytes: u64) {
        self.series.src.written_bytes.inc_by(bytes);
    }

    /// Bytes were read from the server.
    #[inline]
    pub fn server_read(&self, bytes: u64) {
        self.series.dst.read_bytes.inc_by(bytes);
    }

    /// Bytes were written to the server.
    #[inline]
    pub fn server_written(&self, bytes: u64) {
        self.series.dst.written_bytes.inc_by(bytes);
    }

    /// The connection's protocol is known, in the words of the report: `http/1`, `http/2`, `grpc`,
    /// `tls` or `opaque`; `client-bytes`, `server-first`, `config` or `silent`.
    ///
    /// Only the first call counts, so it is to be made when the answer is final.
    pub fn detected(&self, protocol: &'static str, detected_by: &'static str) {
        if !self.detected.swap(true, Ordering::Relaxed) {
            self.families.detected(self.series.direction, protocol, detected_by);
        }
    }

    /// What the connection's requests are counted into.
    pub fn http(&self) -> HttpMetrics {
        HttpMetrics::new(Arc::clone(&self.families), Arc::clone(&self.series))
    }

    /// Closes the account. `duration` is the connection's, from its accept.
    pub fn close(mut self, reason: CloseReason, duration: Duration) {
        self.settle(reason, duration);
    }

    fn settle(&mut self, reason: CloseReason, duration: Duration) {
        self.closed = true;
        let TargetSeries { direction, workload, src, dst, finished, .. } = &*self.series;
        self.closed_socket(src, reason.errno_of(Peer::Src), duration);
        if let Some(connected) = self.connected.get() {
            self.closed_socket(dst, reason.errno_of(Peer::Dst), connected.elapsed());
        }
        let closed = || {
            self.families.connection_close.get_or_create_owned(&ReasonLabels {
                direction: direction.label(),
                workload: Arc::clone(workload),
                reason: reason.label(),
            })
        };
        if reason == CloseReason::Eof {
            finished.get_or_init(closed).inc()
        } else {
            closed().inc()
        };
    }

    fn closed_socket(&self, socket: &SocketSeries, errno: &'static str, duration: Duration) {
        socket.open.dec();
        socket.duration_ms.observe(duration.as_secs_f64() * 1_000.0);
        let closed = || {
            let labels = SocketCloseLabels { socket: socket.labels.clone(), errno };
            self.families.tcp_close.get_or_create_owned(&labels)
        };
        if errno.is_empty() {
            socket.closed_well.get_or_init(closed).inc()
        } else {
            closed().inc()
        };
    }
}

impl Drop for ConnectionMetrics {
    fn drop(&mut self) {
        if !self.closed {
            let duration = self.accepted.elapsed();
            self.settle(CloseReason::Shutdown, duration);
        }
    }
}

/// Counts a socket that is now open.
fn opened(socket: &SocketSeries) {
    socket.opened.inc();
    socket.open.inc();
}
