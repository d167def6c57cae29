//! Network namespaces: a socket belongs to the namespace of the thread that opened it.
#![expect(unsafe_code, reason = "setns(2)")]

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::Path,
    sync::Arc,
};

use super::error::KernelError;

const OWN: &str = "/proc/self/ns/net";

/// Which namespace a file is: device and inode.
pub(crate) type NetnsId = (u64, u64);

/// A network namespace, held open.
#[derive(Clone, Debug)]
pub(crate) struct Netns {
    /// `None` is the process's own: nothing to enter.
    other: Option<Arc<Other>>,
}

#[derive(Debug)]
struct Other {
    target: File,
    own: File,
}

impl Netns {
    /// The namespace that this process is in.
    pub(crate) fn own() -> Self {
        Self { other: None }
    }

    /// The namespace that is at `path` now, if one is: another when it was removed and made again.
    pub(crate) fn id_at(path: &Path) -> Option<NetnsId> {
        path.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// Opens a namespace by its file: `/run/netns/NAME` or `/proc/PID/ns/net`.
    pub(crate) fn open(path: &Path) -> Result<Self, KernelError> {
        let error = |source| KernelError::Netns { action: "open", path: path.to_owned(), source };
        Self::from_file(File::open(path).map_err(error)?, path)
    }

    /// A namespace whose file is open already; `path` is for errors.
    pub(crate) fn from_file(target: File, path: &Path) -> Result<Self, KernelError> {
        let error = |source| KernelError::Netns { action: "open", path: path.to_owned(), source };
        let own = File::open(OWN).map_err(error)?;
        let (target_is, own_is) = (target.metadata().map_err(error)?, own.metadata().map_err(error)?);
        if target_is.dev() == own_is.dev() && target_is.ino() == own_is.ino() {
            return Ok(Self::own());
        }
        let netns = Self { other: Some(Arc::new(Other { target, own })) };
        // Try it now, so that a file that is no namespace is an error here.
        netns.enter(|| ()).map_err(|source| KernelError::Netns {
            action: "enter",
            path: path.to_owned(),
            source,
        })?;
        Ok(netns)
    }

    /// Runs `open` with this thread in the namespace. It must not block, nor move to another thread.
    pub(crate) fn enter<T>(&self, open: impl FnOnce() -> T) -> io::Result<T> {
        let Some(other) = &self.other else { return Ok(open()) };
        set_netns(&other.target)?;
        let _back = Back { own: &other.own };
        Ok(open())
    }
}

/// Brings the thread back, also when unwinding.
struct Back<'a> {
    own: &'a File,
}

impl Drop for Back<'_> {
    fn drop(&mut self) {
        if let Err(error) = set_netns(self.own) {
            // A thread in a workload's namespace would open everybody's sockets there.
            tracing::error!(%error, "cannot leave a workload's network namespace");
            std::process::abort();
        }
    }
}

fn set_netns(namespace: &File) -> io::Result<()> {
    // SAFETY: setns(2) takes a descriptor, which `namespace` keeps open, and touches no memory.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
