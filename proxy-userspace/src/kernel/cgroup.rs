//! cgroup v2: where it is mounted, and how the kernel programs know one cgroup from another.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::error::KernelError;

/// Inode number of the root of every cgroup v2 hierarchy (kernfs gives its root the first number).
const ROOT_INODE: u64 = 1;

/// Where cgroup v2 is mounted. In a hybrid layout it is beside v1, so the path is not assumed.
pub(crate) fn cgroup2_mount_point() -> Result<PathBuf, KernelError> {
    Ok(Mount::of_this_process()?.point)
}

/// A cgroup v2 mount.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) point: PathBuf,
    /// The cgroup that is mounted there, as this process's cgroup namespace names it: it begins with
    /// `/..` where that is above the namespace's root, as a container's is with the node's hierarchy.
    pub(super) root: PathBuf,
}

impl Mount {
    /// The first that this process sees.
    pub(super) fn of_this_process() -> Result<Self, KernelError> {
        let file = Path::new("/proc/self/mountinfo");
        let mountinfo = fs::read_to_string(file).map_err(|source| KernelError::Cgroup {
            action: "find the",
            path: file.to_owned(),
            source,
        })?;
        parse_mount(&mountinfo).ok_or(KernelError::NoCgroup2)
    }

    /// Where a cgroup of `/proc/PID/cgroup` is to be found. `None` where the names of the one and the
    /// other have nothing in common.
    fn find(&self, membership: &Path) -> Option<PathBuf> {
        let hidden = [self.root.as_path(), membership].iter().any(|path| path.starts_with("/.."));
        let below = if hidden { None } else { membership.strip_prefix(&self.root).ok() };
        below.map(|below| self.point.join(below))
    }
}

/// `ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS… - TYPE SOURCE OPTIONS`, proc_pid_mountinfo(5).
fn parse_mount(mountinfo: &str) -> Option<Mount> {
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let is_cgroup2 = filesystem.split(' ').next() == Some("cgroup2");
        let mut paths = mount.split(' ').skip(3).map(|path| PathBuf::from(unescape(path)));
        is_cgroup2.then(|| Some(Mount { root: paths.next()?, point: paths.next()? }))?
    })
}

/// The kernel writes blanks and backslashes in paths as three octal digits.
fn unescape(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (escape, character)| path.replace(escape, character))
}

/// A cgroup v2 directory, held open.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
    dir: File,
    id: u64,
    level: Option<u32>,
}

impl Cgroup {
    /// Opens an existing cgroup.
    pub(crate) fn open(path: &Path) -> Result<Self, KernelError> {
        let error = |action, source| KernelError::Cgroup { action, path: path.to_owned(), source };
        let dir = File::open(path).map_err(|source| error("open", source))?;
        let metadata = dir.metadata().map_err(|source| error("open", source))?;
        let not_a_cgroup = |reason| KernelError::NotACgroup { path: path.to_owned(), reason };
        if !metadata.is_dir() {
            return Err(not_a_cgroup("it is not a directory"));
        }
        if !path.join("cgroup.procs").exists() || !path.join("cgroup.controllers").exists() {
            return Err(not_a_cgroup("it has no cgroup.procs and cgroup.controllers"));
        }
        if metadata.ino() == ROOT_INODE {
            return Err(not_a_cgroup(
                "it is the root of the hierarchy, which holds every process of the node",
            ));
        }
        let level = level_of(path, metadata.dev()).map_err(|source| error("find the root above", source))?;
        Ok(Self { path: path.to_owned(), dir, id: metadata.ino(), level })
    }

    /// The id of the cgroup that is at `path` now, if one is: another when it was removed and made again.
    pub(crate) fn id_at(path: &Path) -> Option<u64> {
        fs::metadata(path).ok().map(|metadata| metadata.ino())
    }

    /// Makes a cgroup. The caller removes it.
    pub(crate) fn create(path: &Path) -> Result<Self, KernelError> {
        fs::create_dir(path).map_err(|source| KernelError::Cgroup {
            action: "create",
            path: path.to_owned(),
            source,
        })?;
        Self::open(path)
    }

    /// The cgroup of this process, in the cgroup v2 hierarchy.
    pub(crate) fn path_of_this_process() -> Result<PathBuf, KernelError> {
        Self::path_of_process(Path::new("/proc/self"))
    }

    /// The cgroup of a process, in the cgroup v2 hierarchy; by its directory in `/proc`.
    pub(super) fn path_of_process(process: &Path) -> Result<PathBuf, KernelError> {
        let mount = Mount::of_this_process()?;
        let file = process.join("cgroup");
        let membership = fs::read_to_string(&file).map_err(|source| KernelError::Cgroup {
            action: "read",
            path: file,
            source,
        })?;
        let path = membership.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        mount.find(Path::new(path)).ok_or_else(|| KernelError::CgroupUnnamed {
            membership: path.to_owned(),
            mount: mount.point.clone(),
            root: mount.root.clone(),
        })
    }

    /// The same cgroup, held open a second time.
    pub(crate) fn try_clone(&self) -> Result<Self, KernelError> {
        Self::open(&self.path)
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What the kernel programs call it: the inode number of its directory.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The levels below the root of the hierarchy at which it may be, one bit each: exactly one bit,
    /// or every bit where a cgroup namespace hides the root.
    pub(crate) fn level_bits(&self) -> u32 {
        self.level.and_then(|level| 1_u32.checked_shl(level)).unwrap_or(!1)
    }

    /// Its directory, to attach programs to.
    pub(crate) fn dir(&self) -> &File {
        &self.dir
    }

    /// Moves a process in; 0 is the calling process.
    pub(crate) fn add(&self, pid: u32) -> Result<(), KernelError> {
        fs::write(self.path.join("cgroup.procs"), pid.to_string()).map_err(|source| KernelError::Cgroup {
            action: "move a process into",
            path: self.path.clone(),
            source,
        })
    }

    /// Whether any process is in it or below it.
    pub(crate) fn is_populated(&self) -> bool {
        is_populated(&self.path)
    }
}

/// Whether any process is in a cgroup or below it. A zombie is in none.
pub(super) fn is_populated(cgroup: &Path) -> bool {
    fs::read_to_string(cgroup.join("cgroup.events"))
        .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
}

/// How deep below the root; `None` where the root is not to be seen.
fn level_of(path: &Path, device: u64) -> io::Result<Option<u32>> {
    let canonical = path.canonicalize()?;
    for (level, ancestor) in (0..).zip(canonical.ancestors()) {
        let metadata = fs::metadata(ancestor)?;
        if metadata.dev() != device {
            return Ok(None);
        }
        if metadata.ino() == ROOT_INODE {
            return Ok(Some(level));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup2_is_found_beside_v1() {
        let mountinfo = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                         41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(parse_mount(mountinfo), Some(mount("/", "/sys/fs/cgroup/unified")));
        assert_eq!(parse_mount("32 31 0:29 / /a rw - cgroup cgroup rw\n"), None);
    }

    #[test]
    fn blanks_in_a_mount_point_are_unescaped() {
        let mountinfo = "41 31 0:38 / /mnt/a\\040b rw - cgroup2 none rw\n";
        assert_eq!(parse_mount(mountinfo), Some(mount("/", "/mnt/a b")));
    }

    fn mount(root: &str, point: &str) -> Mount {
        Mount { point: PathBuf::from(point), root: PathBuf::from(root) }
    }

    #[test]
    fn a_cgroup_is_found_below_what_is_mounted() {
        let find = |root, membership| mount(root, "/sys/fs/cgroup").find(Path::new(membership));
        assert_eq!(find("/", "/").unwrap(), Path::new("/sys/fs/cgroup/"));
        assert_eq!(find("/", "/a/b").unwrap(), Path::new("/sys/fs/cgroup/a/b"));
        assert_eq!(find("/a", "/a/b").unwrap(), Path::new("/sys/fs/cgroup/b"));
        assert_eq!(find("/a", "/ab"), None, "it is not mounted");
    }

    #[test]
    fn a_cgroup_that_another_namespace_names_is_not_guessed() {
        let find = |root, membership| mount(root, "/sys/fs/cgroup").find(Path::new(membership));
        assert_eq!(find("/../..", "/"), None, "the node's hierarchy in a container");
        assert_eq!(find("/", "/../other"), None, "moved out of its namespace");
    }
}
