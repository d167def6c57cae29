//! A node's cgroups, below one that the test made.

use std::path::{Path, PathBuf};

use crate::cgroup::Cgroup;
use crate::wait;

/// A cgroup with others in it, at any depth; all are removed on drop.
#[derive(Debug, Default)]
pub(super) struct Tree {
    top: Cgroup,
}

impl Tree {
    /// Where it begins: the root of the node's hierarchy.
    pub(super) fn path(&self) -> &Path {
        self.top.path()
    }

    /// Makes a cgroup, and those that it is in.
    pub(super) fn make(&self, path: &Path) -> PathBuf {
        let path = self.top.path().join(path);
        std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("make {}: {error}", path.display()));
        path
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // The top has a guard of its own.
        for child in children(self.top.path()) {
            remove(&child);
        }
    }
}

/// Removes a cgroup with all that is in it; its processes were killed, and may still be reaped.
pub(super) fn remove(cgroup: &Path) {
    for child in children(cgroup) {
        remove(&child);
    }
    let gone = std::panic::catch_unwind(|| {
        wait::eventually("a cgroup to be removed", || match std::fs::remove_dir(cgroup) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => None,
            Ok(()) | Err(_) => Some(()),
        });
    });
    if gone.is_err() {
        eprintln!("left behind: {}", cgroup.display());
    }
}

fn children(cgroup: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(cgroup) else { return Vec::new() };
    entries.flatten().filter(|entry| entry.path().is_dir()).map(|entry| entry.path()).collect()
}
