//! The kernel's side of a workload, as its connections see it.

use std::{io, net::SocketAddr, os::fd::BorrowedFd, sync::Arc};

use proxy_common::OriginalDst;

use super::{inbound::Asks, learner::Learner};
use crate::{
    connection::Surroundings,
    kernel::{Netns, Records},
    policy::ClientAddress,
};

/// One workload's namespace, and the records of its clients.
pub(super) struct KernelSide {
    pub(super) records: Arc<Records>,
    pub(super) netns: Netns,
    pub(super) client_address: ClientAddress,
    /// Told when an application refused a connection.
    pub(super) asks: Arc<Asks>,
    /// Told what connections are that no rule names.
    pub(super) learner: Arc<Learner>,
    /// Its network namespace, where inbound connections come from there.
    pub(super) netns_cookie: Option<u64>,
}

impl Surroundings for KernelSide {
    fn original_dst(&self, accepted: BorrowedFd<'_>) -> io::Result<Option<OriginalDst>> {
        self.records.original_dst(accepted)
    }

    fn in_netns(&self, open: &mut dyn FnMut()) -> io::Result<()> {
        self.netns.enter(open)
    }

    fn present_client(&self, upstream: BorrowedFd<'_>, client: SocketAddr, port: u16) -> io::Result<()> {
        match self.client_address {
            ClientAddress::Preserve => self.records.present_client(upstream, client, port),
            ClientAddress::Proxy => Ok(()),
        }
    }

    fn refused_inbound(&self) {
        if let Some(netns_cookie) = self.netns_cookie {
            self.asks.look_into(netns_cookie);
        }
    }

    fn observed(&self, original: &OriginalDst, is_opaque: bool) {
        self.learner.observed(original, is_opaque);
    }

    fn consumed(&self, cookie: u64, bytes: u64) {
        self.records.report_consumed(cookie, bytes);
    }

    fn ended(&self, cookie: u64) {
        self.records.close_lane(cookie);
    }
}
