//! The cgroup namespace, in which this process reads the names of cgroups.
//!
//! A container has one of its own, with its own cgroup as the root. Where it has the node's hierarchy
//! mounted, its `/proc/PID/cgroup` and that mount use different names: its own cgroup is `/` in the one
//! and far below the root in the other, and other pods' are `/../…`.
#![expect(unsafe_code, reason = "setns(2)")]

use std::{fs::File, io, os::fd::AsRawFd as _};

use super::{cgroup::Mount, error::KernelError};

/// The node's, where a container shares the node's process ids.
const OF_INIT: &str = "/proc/1/ns/cgroup";

/// Enters the node's cgroup namespace, if its hierarchy is what is mounted here and this process has a
/// namespace of its own. It changes names and no membership.
///
/// It is for this thread and those that it starts: to be called before there are others.
///
/// # Errors
/// Where process 1 is not to be had, or nobody may enter (setns(2): CAP_SYS_ADMIN in both namespaces).
pub(crate) fn enter_that_of_the_node() -> Result<(), KernelError> {
    let mount = Mount::of_this_process()?;
    if !mount.root.starts_with("/..") {
        return Ok(());
    }
    File::open(OF_INIT)
        .and_then(|namespace| enter(&namespace))
        .map_err(|source| KernelError::CgroupNamespace { mount: mount.point, source })
}

fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: setns(2) takes a descriptor, which `namespace` keeps open, and touches no memory.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWCGROUP) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
