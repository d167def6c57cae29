//! The pin directory: how the command line finds the maps of a running agent.
//!
//! What it may be, and what is ours in it, is in [`super::pin_dir`].

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use aya::Ebpf;

use super::{
    error::KernelError,
    maps::PINNED,
    pin_dir::{self, LAYOUT, LINKS, STALE, link_name},
    sys::try_lock,
};

/// Where an agent pins unless told otherwise.
pub(crate) const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/sluice";
/// How long a writer waits for another, who holds the lock for milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(5);

/// The pinned maps of one agent.
///
/// An agent holds a lock on the directory for as long as it lives, so that a second one is told, and
/// what a killed one left behind is known to be nobody's.
#[derive(Debug)]
pub(crate) struct Pins {
    root: PathBuf,
    /// The agent's claim; `None` for the command line.
    claim: Option<File>,
    /// Whether the directory was made for this agent: then it goes with it.
    made: bool,
}

impl Pins {
    /// Claims the directory for an agent. What a killed agent left in it is put aside: its hooks go
    /// on telling that there is no proxy, until [`Self::remove_stale`].
    ///
    /// # Errors
    /// Where it is not on bpffs, or holds what no agent pinned; then it is as it was.
    pub(crate) fn claim(root: &Path) -> Result<Self, KernelError> {
        let error = |action, source| KernelError::PinDir { action, path: root.to_owned(), source };
        pin_dir::expect_usable(root)?;
        let made = pin_dir::make_trusted(root)?;
        let mut pins = Self { root: root.to_owned(), claim: None, made };
        let claim = File::open(root).map_err(|source| error("open", source))?;
        if !try_lock(&claim).map_err(|source| error("lock", source))? {
            return Err(KernelError::AlreadyRunning { path: root.to_owned() });
        }
        pins.claim = Some(claim);
        pins.put_aside().map_err(|source| error("clean", source))?;
        pin_dir::make_private(&pins.maps_dir().join(LINKS)).map_err(|source| error("create", source))?;
        Ok(pins)
    }

    /// Opens what a running agent has pinned.
    pub(crate) fn open(root: &Path) -> Result<Self, KernelError> {
        let pins = Self { root: root.to_owned(), claim: None, made: false };
        let error = |source| KernelError::PinDir { action: "look into", path: root.to_owned(), source };
        if !pins.path_of(super::maps::WORKLOADS).try_exists().map_err(error)? {
            return Err(KernelError::NotRunning { path: root.to_owned() });
        }
        pin_dir::expect_trusted(root)?;
        Ok(pins)
    }

    /// Pins the maps that the command line needs.
    pub(super) fn pin(&self, ebpf: &Ebpf) -> Result<(), KernelError> {
        for name in PINNED {
            let map = ebpf.map(name).ok_or(KernelError::Missing { kind: "map", name })?;
            let path = self.path_of(name);
            map.pin(&path).map_err(|source| KernelError::Pin { path, source: Box::new(source) })?;
        }
        Ok(())
    }

    /// Whether an agent holds the directory now.
    pub(crate) fn is_claimed(&self) -> bool {
        File::open(&self.root).and_then(|dir| try_lock(&dir)).is_ok_and(|locked| !locked)
    }

    /// Waits for whoever else is changing the maps. Dropping the result lets the next one in.
    ///
    /// # Errors
    /// When they do not finish: a stopped `sluice ports` must not stop the agent as well.
    pub(crate) fn lock_for_writing(&self) -> Result<File, KernelError> {
        let dir = self.maps_dir();
        let error = |source| KernelError::PinDir { action: "lock", path: dir.clone(), source };
        let file = File::open(&dir).map_err(error)?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        while !try_lock(&file).map_err(error)? {
            if Instant::now() >= deadline {
                return Err(KernelError::PinsLocked { path: dir, waited: LOCK_PATIENCE });
            }
            thread::sleep(LOCK_POLL);
        }
        Ok(file)
    }

    /// Where a map is pinned.
    pub(super) fn path_of(&self, map: &str) -> PathBuf {
        self.maps_dir().join(map)
    }

    /// Where a hook's link to a cgroup is pinned.
    pub(super) fn path_of_link(&self, cgroup_id: u64, hook: &str) -> PathBuf {
        self.maps_dir().join(LINKS).join(link_name(cgroup_id, hook))
    }

    fn maps_dir(&self) -> PathBuf {
        self.root.join(LAYOUT)
    }

    fn put_aside(&self) -> io::Result<()> {
        let stale = self.root.join(STALE);
        if !self.maps_dir().exists() {
            return Ok(());
        }
        pin_dir::remove_pins(&stale)?;
        fs::rename(self.maps_dir(), stale)
    }

    /// Removes what a killed agent left.
    pub(super) fn remove_stale(&self) {
        let stale = self.root.join(STALE);
        if let Err(error) = pin_dir::remove_pins(&stale) {
            tracing::warn!(dir = %stale.display(), %error, "cannot remove what a killed agent left");
        }
    }

    /// Removes what is this agent's: what is known by name, and the directory if it was made for it.
    fn remove(&self) -> io::Result<()> {
        if self.claim.is_some() {
            pin_dir::remove_pins(&self.root.join(STALE))?;
            pin_dir::remove_pins(&self.maps_dir())?;
        }
        if self.made { fs::remove_dir(&self.root) } else { Ok(()) }
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(dir = %self.root.display(), %error, "cannot remove the pins");
        }
    }
}
