//! Where a pod is on this machine.

use std::path::{Path, PathBuf};

use crate::kernel::{Cgroup, Netns, NetnsId, process_of};

/// A pod's cgroup and network namespace.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) cgroup: PathBuf,
    pub(super) netns: Netns,
    pub(super) netns_id: NetnsId,
    cgroup_id: u64,
    /// A process in it, while it lives.
    pid: u32,
}

/// Why a pod is nowhere yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotThere {
    #[error("no cgroup of the kubelet's with its UID yet")]
    Cgroup,
    #[error("no process in its cgroup yet")]
    Process,
    #[error("its processes are not in a network namespace of its own yet")]
    Netns,
    #[error("{0}")]
    Refused(String),
}

impl Place {
    /// What is at the cgroup of a pod, where there is one.
    pub(super) fn of(cgroup: Option<&Path>) -> Result<Self, NotThere> {
        let cgroup = cgroup.ok_or(NotThere::Cgroup)?;
        let cgroup_id = Cgroup::id_at(cgroup).ok_or(NotThere::Cgroup)?;
        let process = process_of(cgroup).map_err(|error| NotThere::Refused(error.with_causes()))?;
        let process = process.ok_or(NotThere::Process)?;
        if process.is_host {
            return Err(NotThere::Netns);
        }
        Ok(Self {
            cgroup: cgroup.to_owned(),
            netns: process.netns,
            netns_id: process.netns_id,
            cgroup_id,
            pid: process.pid,
        })
    }

    /// Whether the cgroup is there and has a process in the same namespace. One look at the process that
    /// was found first tells, for as long as that lives.
    pub(super) fn is_still_there(&self) -> bool {
        if Cgroup::id_at(&self.cgroup) != Some(self.cgroup_id) {
            return false;
        }
        let first = PathBuf::from(format!("/proc/{}/ns/net", self.pid));
        if Netns::id_at(&first) == Some(self.netns_id) {
            return true;
        }
        // Between two containers of a pod there may be no process: the namespace is kept for it.
        process_of(&self.cgroup)
            .is_ok_and(|process| process.is_none_or(|process| process.netns_id == self.netns_id))
    }
}
