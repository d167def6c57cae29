//! Cgroups of the benchmark's own, for client and server to be enrolled by.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Those of this process; its id follows.
const PREFIX: &str = "sluice-bench-";
/// How long the processes in a cgroup may take to be gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Two, of which one is the client's and one the server's. Removed when dropped; their processes are to have
/// ended by then.
pub(super) struct Cgroups {
    directory: PathBuf,
}

impl Cgroups {
    pub(super) fn new() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let top = mount_point(&mounts).context("no cgroup v2 is mounted")?;
        remove_abandoned(Path::new(top))?;
        let cgroups = Self { directory: Path::new(top).join(format!("{PREFIX}{}", std::process::id())) };
        for path in [cgroups.client(), cgroups.server()] {
            fs::create_dir_all(&path)
                .with_context(|| format!("cannot make the cgroup {}", path.display()))?;
        }
        Ok(cgroups)
    }

    pub(super) fn client(&self) -> PathBuf {
        self.directory.join("client")
    }

    pub(super) fn server(&self) -> PathBuf {
        self.directory.join("server")
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let began = Instant::now();
        while let Err(error) = remove(&self.directory) {
            if began.elapsed() > PATIENCE {
                eprintln!("bench: {} stays: {error}", self.directory.display());
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Moves this process into a cgroup.
pub(super) fn enter(cgroup: &Path) -> Result<()> {
    let file = cgroup.join("cgroup.procs");
    fs::write(&file, "0").with_context(|| format!("cannot enter by {}", file.display()))
}

/// A run that was killed has left its own.
fn remove_abandoned(top: &Path) -> Result<()> {
    for entry in fs::read_dir(top)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            // Not empty yet: the next run's.
            drop(remove(&entry.path()));
        }
    }
    Ok(())
}

fn remove(directory: &Path) -> std::io::Result<()> {
    for child in ["client", "server"].map(|name| directory.join(name)) {
        if child.exists() {
            fs::remove_dir(child)?;
        }
    }
    fs::remove_dir(directory)
}

/// Where cgroup v2 is, in the format of /proc/self/mounts.
fn mount_point(mounts: &str) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then_some(point)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup_v2_is_found_beside_version_1() {
        let mounts = "proc /proc proc rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        assert_eq!(mount_point(mounts), Some("/sys/fs/cgroup/unified"));
        assert_eq!(mount_point("proc /proc proc rw 0 0\n"), None);
    }
}
