//! A cgroup of this process's own, under the one it was started in.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    cgroup::{Cgroup, is_populated},
    error::KernelError,
    sys::try_lock,
};

/// How many cgroups of one name may be: the same process id in as many PID namespaces.
const NAMES: u32 = 1000;

/// `NAME-PID/` with the process in `proxy/`, `NAME-PID-N/` where that name is taken. Dropping it moves
/// every process back and removes it.
///
/// Programs are attached to cgroups; the one that this process was started in may hold others.
#[derive(Debug)]
pub(crate) struct OwnCgroup {
    previous: PathBuf,
    root: PathBuf,
    proxy: Cgroup,
    /// Locked for as long as this process lives, for others to see. By the process id they could not
    /// tell: another PID namespace has the same numbers, and a zombie has one too.
    _lock: File,
}

impl OwnCgroup {
    /// Makes the cgroup and moves this process in. What dead processes left behind is removed.
    pub(crate) fn enter(name: &str) -> Result<Self, KernelError> {
        let previous = Cgroup::path_of_this_process()?;
        remove_stale(&previous, name);
        let (root, lock) = make(&previous, name)?;
        let proxy = Cgroup::create(&root.join("proxy")).inspect_err(|_| remove(&root))?;
        let own = Self { previous, root, proxy, _lock: lock };
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

    /// The processes in it, at any level, but for this one.
    pub(crate) fn others(&self) -> Vec<u32> {
        let all = tree(&self.root).into_iter().flat_map(|cgroup| processes(&cgroup));
        all.filter_map(|pid| pid.parse().ok()).filter(|pid| *pid != std::process::id()).collect()
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

/// Makes a directory that nobody else has, and locks it.
fn make(parent: &Path, name: &str) -> Result<(PathBuf, File), KernelError> {
    let first = format!("{name}-{}", std::process::id());
    let others = (2..=NAMES).map(|number| format!("{first}-{number}"));
    let mut taken = None;
    for name in std::iter::once(first.clone()).chain(others) {
        let path = parent.join(name);
        match make_locked(&path) {
            Ok(Some(lock)) => return Ok((path, lock)),
            Ok(None) => {}
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => taken = Some(source),
            Err(source) => return Err(KernelError::Cgroup { action: "create", path, source }),
        }
    }
    let source = taken.unwrap_or_else(|| io::ErrorKind::AlreadyExists.into());
    Err(KernelError::Cgroup { action: "create", path: parent.join(first), source })
}

/// Makes and locks a directory; `None` where it was taken for stale in between.
fn make_locked(path: &Path) -> io::Result<Option<File>> {
    fs::create_dir(path)?;
    let lock = match File::open(path) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let made = lock.metadata()?.ino();
    // From here on nobody removes it; whoever had the lock before may have.
    let is_ours = try_lock(&lock)? && fs::metadata(path).is_ok_and(|found| found.ino() == made);
    Ok(is_ours.then_some(lock))
}

/// Removes the cgroups of processes that are gone: nobody has locked them. One that holds a process, at
/// any level, stays whole.
fn remove_stale(parent: &Path, name: &str) {
    for dir in children(parent).into_iter().filter(|dir| is_named(dir, name)) {
        let lock = File::open(&dir).and_then(|file| Ok(try_lock(&file)?.then_some(file)));
        if let Ok(Some(_locked)) = lock
            && !is_populated(&dir)
        {
            remove(&dir);
        }
    }
}

/// Whether a directory is called `NAME-PID` or `NAME-PID-N`.
fn is_named(dir: &Path, name: &str) -> bool {
    let rest = dir.file_name().and_then(|dir| dir.to_str()?.strip_prefix(name)?.strip_prefix('-'));
    rest.is_some_and(|rest| rest.split('-').all(|number| number.parse::<u32>().is_ok()))
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
        let [dead, again, held, other] =
            ["sluice-exec-1", "sluice-exec-1-2", "sluice-exec-2", "sluice-exec-mine"]
                .map(|dir| parent.join(dir));
        for stale in [&dead, &again, &held, &other] {
            fs::create_dir_all(stale.join("command/empty")).unwrap();
        }
        fs::write(held.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        remove_stale(&parent, "sluice-exec");
        assert!(!dead.exists() && !again.exists());
        assert!(held.join("command/empty").exists());
        assert!(other.exists(), "that is no name of ours");
        fs::remove_dir_all(&parent).unwrap();
    }

    #[test]
    fn one_that_is_being_made_is_left_alone_and_its_name_is_taken() {
        let parent = directory("locked");
        let (first, lock) = make(&parent, "sluice-exec").unwrap();
        remove_stale(&parent, "sluice-exec");
        assert!(first.exists(), "nobody is in it yet");
        let (second, _lock) = make(&parent, "sluice-exec").unwrap();
        assert_eq!(second, parent.join(format!("sluice-exec-{}-2", std::process::id())));
        drop(lock);
        remove_stale(&parent, "sluice-exec");
        assert!(!first.exists() && second.exists());
        fs::remove_dir_all(&parent).unwrap();
    }
}
