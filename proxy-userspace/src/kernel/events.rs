//! What the programs tell of their own accord: closed connections, and log messages.
#![expect(unsafe_code, reason = "tokio's promise that a watched descriptor stays open")]

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use aya_log::EbpfLogger;
use proxy_common::{Closed, tcp_state};
use tokio::io::{Interest, unix::AsyncFd};
use zerocopy::FromBytes as _;

use super::{
    error::KernelError,
    maps::{EVENTS, MapSource as _, error},
};

/// How often the ring is looked at unasked.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A skipped connection that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SkippedConnection {
    pub(crate) workload: u64,
    pub(crate) client: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) duration: Duration,
    pub(crate) ending: SkippedEnding,
}

/// How a skipped connection ended, as far as its states tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SkippedEnding {
    /// Both ends finished.
    Finished,
    /// It was cut: reset by either side, or timed out.
    Cut,
    /// It never came to be.
    NotEstablished,
}

/// The ring of closed connections.
pub(crate) struct ClosedEvents {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl ClosedEvents {
    pub(super) fn new(ebpf: &Ebpf) -> Result<Self, KernelError> {
        let map = aya::maps::Map::RingBuf(ebpf.map_data(EVENTS)?);
        let ring = RingBuf::try_from(map).map_err(error("open", EVENTS))?;
        // SAFETY: the ring owns its descriptor, and keeps it open.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|source| error("watch", EVENTS)(io::Error::from(source).into()))?;
        Ok(Self { ring })
    }

    /// Waits until there may be connections that have ended, then hands each over.
    pub(crate) async fn wait(&mut self, mut each: impl FnMut(SkippedConnection)) -> io::Result<()> {
        // The programs do not wake us for a few.
        if let Ok(ready) = tokio::time::timeout(LOOK_EVERY, self.ring.readable_mut()).await {
            ready?.clear_ready();
        }
        self.drain(&mut each);
        Ok(())
    }

    /// Hands over what is there now.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(SkippedConnection)) {
        Self::drain_ring(self.ring.get_mut(), &mut each);
    }

    fn drain_ring(ring: &mut RingBuf<MapData>, each: &mut impl FnMut(SkippedConnection)) {
        while let Some(record) = ring.next() {
            if let Ok(closed) = Closed::read_from_bytes(&record) {
                each(SkippedConnection::from(&closed));
            }
        }
    }
}

impl From<&Closed> for SkippedConnection {
    fn from(closed: &Closed) -> Self {
        let ending = match u32::from(closed.last_state) {
            _ if closed.established == 0 => SkippedEnding::NotEstablished,
            tcp_state::FIN_WAIT2 | tcp_state::CLOSING | tcp_state::LAST_ACK => SkippedEnding::Finished,
            _ => SkippedEnding::Cut,
        };
        Self {
            workload: closed.original.workload,
            client: socket_addr(closed.local_addr_be, closed.local_port_be),
            dst: socket_addr(closed.original.addr_be, closed.original.port_be),
            sent_bytes: closed.sent_bytes,
            received_bytes: closed.received_bytes,
            duration: Duration::from_nanos(closed.closed_ns.saturating_sub(closed.original.created_ns)),
            ending,
        }
    }
}

/// An address as the maps hold it; a mapped IPv4 address becomes an IPv4 address.
fn socket_addr(addr_be: [u8; 16], port_be: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from(addr_be)).to_canonical(), u16::from_be(port_be))
}

/// The programs' log messages, on their way to this process's log.
pub(crate) struct KernelLog {
    logger: AsyncFd<EbpfLogger<&'static dyn log::Log>>,
}

impl KernelLog {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        const MAP: &str = "AYA_LOGS";
        let missing = |_| KernelError::Missing { kind: "map", name: MAP };
        let logger = EbpfLogger::init(ebpf).map_err(missing)?;
        // SAFETY: the logger owns its ring's descriptor, and keeps it open.
        let logger = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }
            .map_err(|source| error("watch", MAP)(io::Error::from(source).into()))?;
        Ok(Self { logger })
    }

    /// Passes messages on until the ring cannot be watched any more.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        loop {
            let mut ready = self.logger.readable_mut().await?;
            ready.get_inner_mut().flush();
            ready.clear_ready();
        }
    }
}
