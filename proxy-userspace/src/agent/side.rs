//! The kernel's side of a workload, as its connections see it.

use std::{io, os::fd::BorrowedFd, sync::Arc};

use proxy_common::OriginalDst;

use crate::{
    connection::Surroundings,
    kernel::{Netns, Records},
};

/// One workload's namespace, and the records of its clients.
pub(super) struct KernelSide {
    pub(super) records: Arc<Records>,
    pub(super) netns: Netns,
    pub(super) sk_msg: bool,
}

impl Surroundings for KernelSide {
    fn original_dst(&self, accepted: BorrowedFd<'_>) -> io::Result<Option<OriginalDst>> {
        self.records.original_dst(accepted)
    }

    fn in_netns(&self, open: &mut dyn FnMut()) -> io::Result<()> {
        self.netns.enter(open)
    }

    fn sk_msg(&self) -> bool {
        self.sk_msg
    }

    fn consumed(&self, cookie: u64, bytes: u64) {
        self.records.report_consumed(cookie, bytes);
    }

    fn ended(&self, cookie: u64) {
        self.records.close_lane(cookie);
    }
}
