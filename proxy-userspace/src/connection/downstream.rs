//! What the connections of one workload share, and what they need of the kernel.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    os::fd::BorrowedFd,
    sync::Arc,
};

use proxy_common::{Direction, OriginalDst, flags};

use super::live::Live;
use crate::{metrics::Metrics, report::ConnectionReport, spans::Spans, tap::Hub};

/// Takes the reports of finished connections. It must not block.
pub(crate) type ReportSink = Arc<dyn Fn(ConnectionReport) + Send + Sync>;

/// What a connection needs of the kernel.
pub(crate) trait Surroundings: Send + Sync + 'static {
    /// Where the client of an accepted socket meant to connect.
    fn original_dst(&self, accepted: BorrowedFd<'_>) -> io::Result<Option<OriginalDst>>;
    /// Runs `open` in the workload's network namespace.
    fn in_netns(&self, open: &mut dyn FnMut()) -> io::Result<()>;
    /// Lets the application on `port` that `upstream` is to be connected to see `client` as its peer.
    fn present_client(&self, upstream: BorrowedFd<'_>, client: SocketAddr, port: u16) -> io::Result<()>;
    /// An application of the workload refused a connection: it does not listen there any more.
    fn refused_inbound(&self);
    /// A connection whose decision is no rule's is known to be opaque, or to be anything else. Told once.
    fn observed(&self, original: &OriginalDst, is_opaque: bool);
    /// The proxy has read so many bytes from the client with this cookie.
    fn consumed(&self, cookie: u64, bytes: u64);
    /// The connection of the client with this cookie has ended.
    fn ended(&self, cookie: u64);
}

/// What the connections of one workload share.
pub(crate) struct Downstream {
    /// The workload's name.
    pub(crate) workload: Arc<str>,
    /// The kernel's side.
    pub(crate) surroundings: Arc<dyn Surroundings>,
    /// Where connections are counted.
    pub(crate) metrics: Metrics,
    /// Where finished connections are reported, if anywhere.
    pub(crate) reports: Option<ReportSink>,
    /// Where requests are told of as they finish, to whoever listens.
    pub(crate) tap: Hub,
    /// Where requests that are traced become spans, if anywhere.
    pub(crate) spans: Option<Spans>,
    /// The open connections.
    pub(crate) live: Live,
}

/// Where the client meant to connect; a mapped IPv4 address is IPv4.
pub(super) fn destination(original: &OriginalDst) -> SocketAddr {
    let ip = IpAddr::V6(Ipv6Addr::from(original.addr_be)).to_canonical();
    SocketAddr::new(ip, u16::from_be(original.port_be))
}

/// Which side of the workload the connection is on.
pub(super) fn direction(original: &OriginalDst) -> Direction {
    if original.flags & flags::INBOUND == 0 { Direction::Outbound } else { Direction::Inbound }
}

/// Whether the client's sends may travel by `sk_msg`.
pub(super) fn may_use_sk_msg(original: &OriginalDst) -> bool {
    original.flags & flags::SK_MSG != 0
}
