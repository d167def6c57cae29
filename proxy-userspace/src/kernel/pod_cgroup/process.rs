//! A process in a pod's cgroup, and the network namespace that it is in.

use std::{
    fs::{self, File},
    io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use super::{
    super::{
        error::KernelError,
        netns::{Netns, NetnsId},
    },
    directories,
    names::is_monitor,
};

/// A process of a pod.
#[derive(Debug)]
pub(crate) struct PodProcess {
    /// In the PID namespace of `/proc`. It may be gone by now; the namespace is not.
    pub(crate) pid: u32,
    /// Its network namespace, held open.
    pub(crate) netns: Netns,
    /// Which one that is.
    pub(crate) netns_id: NetnsId,
    /// Whether that is the host's namespace: the pod is on the host's network, or what was found
    /// is on its way into the pod. A runtime puts a process into the cgroup before it enters the
    /// namespaces, so for a pod that has a network of its own this means "not yet".
    pub(crate) is_host: bool,
}

/// A process in the pod's cgroup or below it, one outside of the host's network namespace if there is
/// one; `None` where no process is there yet.
///
/// The levels are looked at one after the other, so that a pod that runs containers of its own is not
/// taken for one of those.
///
/// # Errors
/// Where there are processes, and none of them lets its namespace be opened.
pub(crate) fn process_of(pod: &Path) -> Result<Option<PodProcess>, KernelError> {
    let Some(held) = find(pod, Path::new("/proc"))? else { return Ok(None) };
    let Held { pid, netns: file, netns_id, is_host } = held;
    let netns = Netns::from_file(file, &namespace(Path::new("/proc"), pid))?;
    Ok(Some(PodProcess { pid, netns, netns_id, is_host }))
}

/// A process, and its namespace's file.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) pid: u32,
    netns: File,
    pub(super) netns_id: NetnsId,
    pub(super) is_host: bool,
}

pub(super) fn find(pod: &Path, proc: &Path) -> Result<Option<Held>, KernelError> {
    let host = host(proc);
    let mut on_host = None;
    let mut refused = None;
    let mut level = vec![pod.to_owned()];
    while !level.is_empty() {
        for cgroup in &level {
            for pid in processes(cgroup) {
                match hold(cgroup, proc, pid, host) {
                    Ok(Some(held)) if held.is_host => on_host = on_host.or(Some(held)),
                    Ok(Some(held)) => return Ok(Some(held)),
                    Ok(None) => {}
                    Err(error) => refused = refused.or(Some((pid, error))),
                }
            }
        }
        level = level.iter().flat_map(|cgroup| containers(cgroup)).collect();
    }
    match (on_host, refused) {
        // Who is refused may be the one that is not on the host's network.
        (_, Some((pid, source))) => {
            Err(KernelError::Netns { action: "open", path: namespace(proc, pid), source })
        }
        (on_host, None) => Ok(on_host),
    }
}

/// The host's network namespace: process 1's, or where that is hidden this process's own. It is hidden from
/// an agent that may not look into other processes, and such an agent sees no pod's either.
pub(super) fn host(proc: &Path) -> Option<NetnsId> {
    Netns::id_at(&namespace(proc, 1)).or_else(|| Netns::id_at(&proc.join("self/ns/net")))
}

/// The namespace of a process that is in the cgroup now; `None` where it has left or has none: a zombie.
///
/// A process id can be given to another process at any time, so everything is asked of one directory,
/// which stands for the process and not for its number: if the namespace can be read there once the
/// number has been seen in the cgroup, the process lived all the while, and nobody else had its number.
fn hold(cgroup: &Path, proc: &Path, pid: u32, host: Option<NetnsId>) -> io::Result<Option<Held>> {
    let attempt = || -> io::Result<Option<Held>> {
        let process = File::open(proc.join(pid.to_string()))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/ns/net", process.as_raw_fd()));
        let netns = File::open(&path)?;
        let metadata = netns.metadata()?;
        let netns_id = (metadata.dev(), metadata.ino());
        if !processes(cgroup).contains(&pid) {
            return Ok(None);
        }
        let after = fs::metadata(&path)?;
        // It may have entered another one meanwhile.
        let is_same = (after.dev(), after.ino()) == netns_id;
        Ok(is_same.then_some(Held { pid, netns, netns_id, is_host: Some(netns_id) == host }))
    };
    match attempt() {
        Err(error) if is_gone(&error) => Ok(None),
        result => result,
    }
}

/// Whether an error says that the process is gone: its directory is, or has nobody behind it any more.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// The processes of one cgroup. It may be gone, or have threads only, which cannot be told from none.
/// 0 stands for a process that this PID namespace does not see.
fn processes(cgroup: &Path) -> Vec<u32> {
    let procs = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    procs.lines().filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != 0).collect()
}

/// The cgroups in a cgroup of the pod, in the order of their names, without what the runtime has there
/// for itself.
fn containers(cgroup: &Path) -> Vec<PathBuf> {
    let mut containers = directories(cgroup).unwrap_or_default();
    containers.retain(|(name, _)| !is_monitor(name));
    containers.sort_unstable();
    containers.into_iter().map(|(_, path)| path).collect()
}

fn namespace(proc: &Path, pid: u32) -> PathBuf {
    proc.join(pid.to_string()).join("ns/net")
}
