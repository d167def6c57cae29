//! What an earlier run left behind because it was killed.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{agent, cgroup};

/// Removes the namespaces, pins and cgroups of runs whose process is gone.
pub fn collect() {
    for path in of_dead_runs(Path::new("/run/netns")) {
        let name = path.file_name().unwrap_or_default();
        // A namespace that another run collected first is no loss.
        Command::new("ip").args(["netns", "delete"]).arg(name).output().ok();
    }
    for path in of_dead_runs(Path::new(agent::BPFFS)) {
        std::fs::remove_dir_all(path).ok();
    }
    for path in of_dead_runs(&cgroup::mount()) {
        remove_cgroup(&path);
    }
    for path in of_dead_sluices() {
        for child in directories(&path) {
            std::fs::remove_dir(child).ok();
        }
        std::fs::remove_dir(path).ok();
    }
    for path in of_dead_runs(&std::env::temp_dir()) {
        std::fs::remove_dir_all(path).ok();
    }
}

/// Removes a cgroup and those in it, down to the first that holds a process.
fn remove_cgroup(path: &Path) {
    for child in directories(path) {
        remove_cgroup(&child);
    }
    std::fs::remove_dir(path).ok();
}

/// The cgroups of a sluice that was killed; the next one would remove them.
fn of_dead_sluices() -> Vec<PathBuf> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok();
    let parent = own.as_deref().and_then(cgroup::directory_of).unwrap_or_else(cgroup::mount);
    let is_dead = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        ["sluice-agent-", "sluice-exec-"]
            .iter()
            .filter_map(|prefix| name.strip_prefix(prefix)?.split('-').next())
            .any(is_dead_pid)
    };
    directories(&parent).into_iter().filter(is_dead).collect()
}

fn of_dead_runs(parent: &Path) -> Vec<PathBuf> {
    entries(parent).into_iter().filter(|path| is_of_dead_run(path)).collect()
}

fn directories(parent: &Path) -> Vec<PathBuf> {
    entries(parent).into_iter().filter(|path| path.is_dir()).collect()
}

fn entries(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

fn is_of_dead_run(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_prefix("slt-").and_then(|rest| rest.split('-').next()).is_some_and(is_dead_pid)
}

fn is_dead_pid(pid: &str) -> bool {
    pid.parse::<u32>().is_ok_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}
