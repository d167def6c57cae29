//! The pin directory: how the command line finds the maps of a running agent.
#![expect(unsafe_code, reason = "flock(2), mount(2) and statfs(2)")]

use std::{
    ffi::CString,
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::{
        fd::AsRawFd as _,
        unix::{
            ffi::OsStrExt as _,
            fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
        },
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use aya::Ebpf;

use super::{error::KernelError, maps::PINNED};

/// Where an agent pins unless told otherwise.
pub(crate) const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/sluice";
/// Where bpffs belongs.
const BPFFS: &str = "/sys/fs/bpf";
/// Changes when the maps' layout does: two versions never read each other's maps.
const LAYOUT: &str = "v1";
/// What a killed agent left, until the next one is ready.
const STALE: &str = "stale";
/// Where links are pinned, under the layout.
const LINKS: &str = "links";
/// Of our directories: whoever can open one can lock it, and so keep everybody else waiting.
const DIR_MODE: u32 = 0o700;
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
}

impl Pins {
    /// Claims the directory for an agent. What a killed agent left in it is put aside: its hooks go
    /// on telling that there is no proxy, until [`Self::remove_stale`].
    pub(crate) fn claim(root: &Path) -> Result<Self, KernelError> {
        mount_bpffs_for(root)?;
        let error = |action, source| KernelError::PinDir { action, path: root.to_owned(), source };
        make_trusted(root)?;
        let claim = File::open(root).map_err(|source| error("open", source))?;
        if !try_lock(&claim).map_err(|source| error("lock", source))? {
            return Err(KernelError::AlreadyRunning { path: root.to_owned() });
        }
        let pins = Self { root: root.to_owned(), claim: Some(claim) };
        pins.put_aside().map_err(|source| error("clean", source))?;
        let mut private = DirBuilder::new();
        private.recursive(true).mode(DIR_MODE);
        private.create(pins.maps_dir().join(LINKS)).map_err(|source| error("create", source))?;
        Ok(pins)
    }

    /// Opens what a running agent has pinned.
    pub(crate) fn open(root: &Path) -> Result<Self, KernelError> {
        let pins = Self { root: root.to_owned(), claim: None };
        let error = |source| KernelError::PinDir { action: "look into", path: root.to_owned(), source };
        if !pins.path_of(super::maps::WORKLOADS).try_exists().map_err(error)? {
            return Err(KernelError::NotRunning { path: root.to_owned() });
        }
        for dir in to_be_trusted(root).map_err(error)? {
            trust(&dir, dir == root)?;
        }
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
        self.maps_dir().join(LINKS).join(format!("{cgroup_id}-{hook}"))
    }

    fn maps_dir(&self) -> PathBuf {
        self.root.join(LAYOUT)
    }

    fn put_aside(&self) -> io::Result<()> {
        let stale = self.root.join(STALE);
        if !self.maps_dir().exists() {
            return Ok(());
        }
        if stale.exists() {
            fs::remove_dir_all(&stale)?;
        }
        fs::rename(self.maps_dir(), stale)
    }

    /// Removes what a killed agent left.
    pub(super) fn remove_stale(&self) {
        let stale = self.root.join(STALE);
        if stale.exists()
            && let Err(error) = fs::remove_dir_all(&stale)
        {
            tracing::warn!(dir = %stale.display(), %error, "cannot remove what a killed agent left");
        }
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if self.claim.is_some()
            && let Err(error) = fs::remove_dir_all(&self.root)
        {
            tracing::warn!(dir = %self.root.display(), %error, "cannot remove the pins");
        }
    }
}

fn try_lock(dir: &File) -> io::Result<bool> {
    // SAFETY: flock(2) takes a descriptor, which `dir` keeps open, and touches no memory.
    if unsafe { libc::flock(dir.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        error => Err(error),
    }
}

/// Mounts bpffs at its usual place if the pins are to go there and nobody has: systemd does it, a
/// minimal system may not.
fn mount_bpffs_for(root: &Path) -> Result<(), KernelError> {
    let mount_point = Path::new(BPFFS);
    let error = |action, source| KernelError::PinDir { action, path: root.to_owned(), source };
    if !root.starts_with(mount_point) || is_bpffs(mount_point).map_err(|source| error("inspect", source))? {
        return Ok(());
    }
    let (source, target) = (c"bpf", CString::new(mount_point.as_os_str().as_bytes()));
    let target = target.map_err(|source| error("mount", source.into()))?;
    // As systemd does: without it everybody may make directories there.
    let data = c"mode=0700";
    // SAFETY: the strings outlive the call; bpffs reads its data as a string that ends with a zero.
    let result =
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), source.as_ptr(), 0, data.as_ptr().cast()) };
    if result == 0 { Ok(()) } else { Err(error("mount bpffs for", io::Error::last_os_error())) }
}

/// Makes the directory, and those above it, where they are not; none of them may be another user's.
fn make_trusted(root: &Path) -> Result<(), KernelError> {
    let error = |action, source| KernelError::PinDir { action, path: root.to_owned(), source };
    for dir in to_be_trusted(root).map_err(|source| error("inspect", source))? {
        match DirBuilder::new().mode(DIR_MODE).create(&dir) {
            Ok(()) => {}
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(error("create", source)),
        }
        trust(&dir, dir == root)?;
    }
    // One that an administrator made, or an earlier version, may be open to all.
    fs::set_permissions(root, Permissions::from_mode(DIR_MODE)).map_err(|source| error("close", source))
}

/// The directory and those above it in bpffs, the highest first.
fn to_be_trusted(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut dirs = vec![root.to_owned()];
    for dir in root.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty()) {
        match is_bpffs(dir) {
            Ok(true) => dirs.push(dir.to_owned()),
            Ok(false) => break,
            Err(error) if error.kind() == io::ErrorKind::NotFound => dirs.push(dir.to_owned()),
            Err(error) => return Err(error),
        }
    }
    dirs.reverse();
    Ok(dirs)
}

/// Refuses a directory in which another user could put something in the place of what is ours.
fn trust(dir: &Path, is_pin_dir: bool) -> Result<(), KernelError> {
    let error = |source| KernelError::PinDir { action: "inspect", path: dir.to_owned(), source };
    // Not through a link: whose directory that leads to may change.
    let found = fs::symlink_metadata(dir).map_err(error)?;
    let mistrust = if found.is_dir() {
        mistrust(found.uid(), found.mode(), is_pin_dir)
    } else {
        Some("it is not a directory".to_owned())
    };
    match mistrust {
        None => Ok(()),
        Some(reason) => Err(KernelError::PinDirNotOurs { path: dir.to_owned(), reason }),
    }
}

/// What is wrong with the owner and the mode of a directory.
fn mistrust(uid: u32, mode: u32, is_pin_dir: bool) -> Option<String> {
    const OTHERS_WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    if uid != 0 {
        return Some(format!("it belongs to user {uid}"));
    }
    // In a sticky directory, as bpffs is by default, nobody can take away what is root's.
    let is_safe = mode & OTHERS_WRITE == 0 || (mode & STICKY != 0 && !is_pin_dir);
    (!is_safe).then(|| format!("others may write to it (mode {:04o})", mode & 0o7777))
}

fn is_bpffs(path: &Path) -> io::Result<bool> {
    const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut stat = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel fills one statfs.
    if unsafe { libc::statfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed, and filled by the successful call.
    Ok(unsafe { stat.assume_init() }.f_type == BPF_FS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_another_user_is_not_trusted() {
        assert_eq!(mistrust(0, 0o700, true), None);
        assert_eq!(mistrust(0, 0o755, true), None, "it is closed when it is claimed");
        assert_eq!(mistrust(1000, 0o700, true).unwrap(), "it belongs to user 1000");
        assert_eq!(mistrust(1000, 0o1777, false).unwrap(), "it belongs to user 1000");
    }

    #[test]
    fn a_directory_that_others_write_to_is_trusted_only_above_ours_and_sticky() {
        assert_eq!(mistrust(0, 0o041_777, false), None);
        for (mode, is_pin_dir) in [(0o777, false), (0o770, false), (0o1777, true), (0o720, true)] {
            let reason = mistrust(0, mode, is_pin_dir).unwrap();
            assert!(reason.contains(&format!("{mode:04o}")), "{reason}");
        }
    }
}
