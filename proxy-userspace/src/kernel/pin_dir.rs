//! What a pin directory must be, and what in it is ours.
//!
//! Its path is typed by a person: until it is known that nothing but sluice's is in it, nothing is
//! made, changed or removed there, and later what is removed is removed by its name.
#![expect(unsafe_code, reason = "mount(2) and statfs(2)")]

use std::{
    ffi::CString,
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use super::{error::KernelError, maps::PINNED, programs};

/// Where bpffs belongs.
const BPFFS: &str = "/sys/fs/bpf";
/// Changes when the maps' layout does: two versions never read each other's maps.
pub(super) const LAYOUT: &str = "v1";
/// What a killed agent left, until the next one is ready.
pub(super) const STALE: &str = "stale";
/// Where links are pinned, under the layout.
pub(super) const LINKS: &str = "links";
/// Of our directories: whoever can open one can lock it, and so keep everybody else waiting.
const DIR_MODE: u32 = 0o700;
/// The magic number of bpffs; `linux/magic.h`, as those below.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// What the pin of a hook's link is called.
pub(super) fn link_name(cgroup_id: u64, hook: &str) -> String {
    format!("{cgroup_id}-{hook}")
}

/// Whether an agent may pin here. bpffs is mounted at its usual place if the directory is to be there
/// and nobody has; else nothing is changed.
pub(super) fn expect_usable(root: &Path) -> Result<(), KernelError> {
    let error = |source| KernelError::PinDir { action: "inspect", path: root.to_owned(), source };
    mount_bpffs_for(root)?;
    let magic = filesystem_below(root).map_err(error)?;
    if magic != BPF_FS_MAGIC {
        return Err(KernelError::PinDirNotBpffs {
            path: root.to_owned(),
            filesystem: filesystem_name(magic),
        });
    }
    // Everybody pins there, and its mode is for all of them, also while it is empty.
    if root.canonicalize().is_ok_and(|path| path == Path::new(BPFFS)) {
        return Err(KernelError::PinDirShared { path: root.to_owned() });
    }
    match stranger_in(root).map_err(error)? {
        None => Ok(()),
        Some(stranger) => Err(KernelError::PinDirNotEmpty { path: root.to_owned(), stranger }),
    }
}

/// Makes the directory, and those above it, where they are not; none of them may be another user's.
/// Says whether the directory itself was made.
pub(super) fn make_trusted(root: &Path) -> Result<bool, KernelError> {
    let error = |action, source| KernelError::PinDir { action, path: root.to_owned(), source };
    let mut made = false;
    for dir in to_be_trusted(root).map_err(|source| error("inspect", source))? {
        match DirBuilder::new().mode(DIR_MODE).create(&dir) {
            Ok(()) => made = dir == root,
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(error("create", source)),
        }
        trust(&dir, dir == root)?;
    }
    // One that an administrator made, or an earlier version, may be open to all.
    fs::set_permissions(root, Permissions::from_mode(DIR_MODE)).map_err(|source| error("close", source))?;
    Ok(made)
}

/// Refuses a directory, and one above it in bpffs, that another user could replace.
pub(super) fn expect_trusted(root: &Path) -> Result<(), KernelError> {
    let error = |source| KernelError::PinDir { action: "inspect", path: root.to_owned(), source };
    to_be_trusted(root).map_err(error)?.iter().try_for_each(|dir| trust(dir, dir == root))
}

/// Makes a directory of ours, and those above it.
pub(super) fn make_private(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir)
}

/// Removes what an agent pinned under a layout's directory, and the directory; nothing that has
/// another name.
pub(super) fn remove_pins(dir: &Path) -> io::Result<()> {
    let links = dir.join(LINKS);
    for entry in entries(&links)? {
        if is_link(&entry) {
            fs::remove_file(entry.path())?;
        }
    }
    if_there(fs::remove_dir(&links))?;
    for map in PINNED {
        if_there(fs::remove_file(dir.join(map)))?;
    }
    if_there(fs::remove_dir(dir))
}

/// What in a pin directory was not put there by an agent; the first that is found.
fn stranger_in(root: &Path) -> io::Result<Option<PathBuf>> {
    for entry in entries(root)? {
        if !is_directory(&entry) || ![LAYOUT, STALE].iter().any(|ours| entry.file_name() == *ours) {
            return Ok(Some(entry.path()));
        }
        for pin in entries(&entry.path())? {
            let is_links = is_directory(&pin) && pin.file_name() == LINKS;
            if !is_links && !is_map(&pin) {
                return Ok(Some(pin.path()));
            }
        }
        if let Some(stranger) = entries(&entry.path().join(LINKS))?.iter().find(|link| !is_link(link)) {
            return Ok(Some(stranger.path()));
        }
    }
    Ok(None)
}

fn is_directory(entry: &fs::DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir())
}

fn is_map(entry: &fs::DirEntry) -> bool {
    !is_directory(entry) && PINNED.iter().any(|map| entry.file_name() == *map)
}

fn is_link(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let hook = name.to_str().and_then(|name| name.split_once('-')).and_then(|(cgroup, hook)| {
        let is_id = !cgroup.is_empty() && cgroup.bytes().all(|byte| byte.is_ascii_digit());
        is_id.then_some(hook)
    });
    !is_directory(entry) && hook.is_some_and(|hook| programs::ALL.contains(&hook))
}

/// What is in a directory; nothing where there is none.
fn entries(dir: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn if_there(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
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
    Ok(filesystem_of(path)? == BPF_FS_MAGIC)
}

/// What kind of filesystem a path is on, or would be if it were made.
fn filesystem_below(path: &Path) -> io::Result<u64> {
    for dir in path.ancestors() {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        match filesystem_of(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// The magic number of the filesystem that a path is on.
fn filesystem_of(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut stat = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel fills one statfs.
    if unsafe { libc::statfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed, and filled by the successful call.
    Ok(unsafe { stat.assume_init() }.f_type.unsigned_abs())
}

/// What people call a filesystem.
fn filesystem_name(magic: u64) -> String {
    let known = [
        (0xef53, "ext4"),
        (0x5846_5342, "xfs"),
        (0x9123_683e, "btrfs"),
        (0x0102_1994, "tmpfs"),
        (0x8584_58f6, "ramfs"),
        (0x794c_7630, "overlay"),
        (0x6265_6572, "sysfs"),
        (0x6367_7270, "cgroup2"),
    ];
    let name = known.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name);
    name.map_or_else(|| format!("another filesystem (0x{magic:x})"), str::to_owned)
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

    /// A directory in place of a pin directory: the pins of one are files.
    fn pinned(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("sluice-pin-dir-{name}-{}", std::process::id()));
        for layout in [LAYOUT, STALE] {
            fs::create_dir_all(root.join(layout).join(LINKS)).unwrap();
            for pin in
                PINNED.map(PathBuf::from).iter().chain(&[Path::new(LINKS).join(link_name(7, "connect4"))])
            {
                fs::write(root.join(layout).join(pin), "").unwrap();
            }
        }
        root
    }

    #[test]
    fn what_an_agent_pinned_is_known_and_removed() {
        let root = pinned("known");
        assert_eq!(stranger_in(&root).unwrap(), None);
        for layout in [LAYOUT, STALE, "none"] {
            remove_pins(&root.join(layout)).unwrap();
        }
        fs::remove_dir(&root).expect("it is empty");
        assert_eq!(stranger_in(&root).unwrap(), None, "it is still to be made");
    }

    #[test]
    fn a_stranger_is_found_wherever_it_is_and_never_removed() {
        for place in
            ["precious", "v2/", "v1/MORE", "stale/links/connect4", "stale/links/7-connect5", "v1/PORTS/"]
        {
            let root = pinned("stranger");
            let stranger = root.join(place);
            if place.ends_with('/') {
                if_there(fs::remove_file(root.join(place.trim_end_matches('/')))).unwrap();
                fs::create_dir(&stranger).unwrap();
            } else {
                fs::write(&stranger, "x").unwrap();
            }
            assert_eq!(stranger_in(&root).unwrap(), Some(stranger.clone()), "{place}");
            for layout in [LAYOUT, STALE] {
                let removed = remove_pins(&root.join(layout));
                assert_eq!(removed.is_err(), place.starts_with(layout), "{place}: {removed:?}");
            }
            assert!(stranger.exists(), "{place}");
            fs::remove_dir_all(&root).unwrap();
        }
    }

    #[test]
    fn the_filesystem_of_what_is_not_there_is_that_of_the_directory_above() {
        let there = filesystem_of(Path::new("/proc/self")).unwrap();
        assert_eq!(filesystem_below(Path::new("/proc/self/none/none")).unwrap(), there);
        assert_eq!(filesystem_name(there), "another filesystem (0x9fa0)");
    }
}
