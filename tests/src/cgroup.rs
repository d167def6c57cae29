//! Control groups of the tests' own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{tempdir, wait};

/// Where the cgroup v2 hierarchy is mounted: `/sys/fs/cgroup`, or elsewhere in a hybrid layout.
///
/// # Panics
/// When it is not mounted.
#[must_use]
pub fn mount() -> PathBuf {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("read the mounts");
    mounts
        .lines()
        .find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            (after.split(' ').next()? == "cgroup2").then(|| PathBuf::from(before.split(' ').nth(4).unwrap()))
        })
        .expect("a cgroup2 mount")
}

/// The directory of the cgroup that a process is in, by a line of its `/proc/PID/cgroup`.
#[must_use]
pub fn directory_of(proc_cgroup: &str) -> Option<PathBuf> {
    let path = proc_cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(mount().join(path.trim_end()))
}

/// A cgroup below the root, removed on drop once it is empty.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// An empty cgroup.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        Self::below(&mount())
    }

    /// An empty cgroup inside this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self::below(&self.path)
    }

    fn below(parent: &Path) -> Self {
        let path = parent.join(tempdir::unique_name());
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("make {}: {error}", path.display()));
        Self { path }
    }

    /// Removes it; [`Cgroup::make_anew`] brings another to its place.
    ///
    /// # Panics
    /// When a process stays in it.
    pub fn remove(&self) {
        wait::eventually("the cgroup to be removed", || match std::fs::remove_dir(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => None,
            Ok(()) | Err(_) => Some(()),
        });
    }

    /// Puts another cgroup in its place, as systemd does when it restarts a service.
    ///
    /// # Panics
    /// When a process stays in it.
    pub fn make_anew(&self) {
        self.remove();
        std::fs::create_dir(&self.path).expect("make the cgroup again");
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Default for Cgroup {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its processes were killed by their own guards; the kernel may still be reaping them.
        for _ in 0..200 {
            match std::fs::remove_dir(&self.path) {
                Ok(()) => return,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        eprintln!("left behind: {}", self.path.display());
    }
}

/// Waits until a cgroup's directory is gone.
///
/// # Panics
/// When it stays.
pub fn expect_gone(path: &Path) {
    wait::eventually(&format!("{} to be removed", path.display()), || (!path.exists()).then_some(()));
}
