//! A cgroup of this process's own, under the one it was started in.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{cgroup::Cgroup, error::KernelError};

/// `NAME-PID/` with the process in `proxy/`. Dropping it moves every process back and removes it.
///
/// Programs are attached to cgroups; the one that this process was started in may hold others.
#[derive(Debug)]
pub(crate) struct OwnCgroup {
    previous: PathBuf,
    root: PathBuf,
    proxy: Cgroup,
}

impl OwnCgroup {
    /// Makes the cgroup and moves this process in. What dead processes left behind is removed.
    pub(crate) fn enter(name: &str) -> Result<Self, KernelError> {
        let previous = Cgroup::path_of_this_process()?;
        remove_stale(&previous, name);
        let root = previous.join(format!("{name}-{}", std::process::id()));
        Cgroup::create(&root)?;
        let proxy = Cgroup::create(&root.join("proxy")).inspect_err(|_| remove(&root))?;
        let own = Self { previous, root, proxy };
        own.proxy.add(std::process::id())?;
        Ok(own)
    }

    /// Where this process is.
    pub(crate) fn of_proxy(&self) -> &Cgroup {
        &self.proxy
    }

    /// Makes a cgroup beside this process's.
    pub(crate) fn create(&self, name: &str) -> Result<Cgroup, KernelError> {
        Cgroup::create(&self.root.join(name))
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        for cgroup in tree(&self.root) {
            for pid in processes(&cgroup) {
                if let Err(error) = fs::write(self.previous.join("cgroup.procs"), &pid) {
                    tracing::debug!(%pid, %error, "cannot move a process back");
                }
            }
        }
        remove(&self.root);
    }
}

/// Removes the cgroups of processes that are gone. One that holds a process, at any level, stays whole.
fn remove_stale(parent: &Path, name: &str) {
    for dir in children(parent) {
        let pid = dir.file_name().and_then(|dir| dir.to_str()?.strip_prefix(name)?.strip_prefix('-'));
        let is_stale = pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists());
        if is_stale && tree(&dir).iter().all(|cgroup| processes(cgroup).is_empty()) {
            remove(&dir);
        }
    }
}

/// Removes a cgroup and what is below it, as made by the command, say.
fn remove(root: &Path) {
    for cgroup in tree(root) {
        if let Err(error) = fs::remove_dir(&cgroup) {
            tracing::debug!(cgroup = %cgroup.display(), %error, "cannot remove a cgroup");
        }
    }
}

/// A cgroup and every one below it, the deepest first.
fn tree(root: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = children(root).iter().flat_map(|child| tree(child)).collect();
    all.push(root.to_owned());
    all
}

fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn processes(cgroup: &Path) -> Vec<String> {
    let read = || -> io::Result<String> { fs::read_to_string(cgroup.join("cgroup.procs")) };
    read().unwrap_or_default().lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory in place of a cgroup: the files of one are not there, the directories are.
    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("sluice-own-cgroup-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn a_cgroup_is_removed_with_every_level_below_it() {
        let root = directory("levels");
        fs::create_dir_all(root.join("command/a/b/c")).unwrap();
        fs::create_dir_all(root.join("command/d")).unwrap();
        remove(&root);
        assert!(!root.exists());
    }

    #[test]
    fn a_stale_cgroup_with_a_process_below_stays_whole() {
        let parent = directory("stale");
        // No process has a number as large as that.
        let (dead, held) = (parent.join("sluice-exec-4194305"), parent.join("sluice-exec-4194306"));
        for stale in [&dead, &held] {
            fs::create_dir_all(stale.join("command/empty")).unwrap();
        }
        let procs = held.join("command/cgroup.procs");
        fs::write(&procs, "1\n").unwrap();
        remove_stale(&parent, "sluice-exec");
        assert!(!dead.exists());
        assert!(held.join("command/empty").exists());
        fs::remove_dir_all(&parent).unwrap();
    }
}
