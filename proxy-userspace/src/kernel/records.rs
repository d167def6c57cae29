//! What the hooks hand to the proxy, one connection at a time.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use aya::{
    Ebpf,
    maps::{MapData, MapError, SkStorage},
};
use proxy_common::{Lane, OriginalDst};

use super::{
    error::KernelError,
    maps::{self, ACCEPTED, LANES, descriptor},
    sys,
};

/// Original destinations and `sk_msg` lanes. Shared by all connections: every call is one bpf(2) call.
#[derive(Debug)]
pub(crate) struct Records {
    accepted: SkStorage<MapData, OriginalDst>,
    lanes: OwnedFd,
}

impl Records {
    pub(super) fn new(ebpf: &Ebpf) -> Result<Self, KernelError> {
        let lanes = ebpf.map(LANES).ok_or(KernelError::Missing { kind: "map", name: LANES })?;
        Ok(Self { accepted: maps::sk_storage(ebpf, ACCEPTED)?, lanes: descriptor(lanes, LANES)? })
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
