//! What the hooks hand to the proxy, one connection at a time.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use aya::{
    Ebpf,
    maps::{MapData, MapError, SkStorage},
};
use proxy_common::{Lane, OriginalDst, Tracked, flags, mapped};

use super::{
    error::KernelError,
    maps::{self, ACCEPTED, LANES, TRACKED, descriptor},
    sys,
};

/// Original destinations and `sk_msg` lanes. Shared by all connections: every call is one bpf(2) call.
#[derive(Debug)]
pub(crate) struct Records {
    accepted: SkStorage<MapData, OriginalDst>,
    /// Written by one call of bpf(2), which takes no `&mut`.
    tracked: OwnedFd,
    lanes: OwnedFd,
}

impl Records {
    pub(super) fn new(ebpf: &Ebpf) -> Result<Self, KernelError> {
        let own = |name| descriptor(ebpf.map(name).ok_or(KernelError::Missing { kind: "map", name })?, name);
        Ok(Self { accepted: maps::sk_storage(ebpf, ACCEPTED)?, tracked: own(TRACKED)?, lanes: own(LANES)? })
    }

    /// Lets the application that `socket`, which is not connected yet, is to be connected to see `client`
    /// as its peer: its port is `port`.
    pub(crate) fn present_client(
        &self,
        socket: BorrowedFd<'_>,
        client: SocketAddr,
        port: u16,
    ) -> io::Result<()> {
        let original = OriginalDst {
            addr_be: mapped(client.ip()),
            port_be: client.port().to_be(),
            decision: 0,
            source: 0,
            flags: flags::CLIENT,
            cookie: 0,
            workload: 0,
            created_ns: 0,
        };
        let record = Tracked { listener_port_be: port.to_be(), ..Tracked::new(original, 0) };
        sys::put(self.tracked.as_fd(), &socket.as_raw_fd(), &record)
    }

    /// Where the client of an accepted socket meant to connect; `None` if it did not come by a hook.
    pub(crate) fn original_dst(&self, socket: BorrowedFd<'_>) -> io::Result<Option<OriginalDst>> {
        match self.accepted.get(&socket.as_raw_fd(), 0) {
            Ok(original) => Ok(Some(original)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Tells `sk_msg` how much the proxy has read from a connection, for the byte fuse.
    pub(crate) fn report_consumed(&self, cookie: u64, consumed_bytes: u64) {
        // No lane: the connection is native.
        let _no_lane = sys::replace(self.lanes.as_fd(), &cookie, &Lane { consumed_bytes });
    }

    /// Closes the lane of a connection that has ended.
    pub(crate) fn close_lane(&self, cookie: u64) {
        let _already_closed = sys::remove(self.lanes.as_fd(), &cookie);
    }
}
