//! Where the kubelet is: its probes pass by.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    config::Config,
    kernel::{Cgroup, kubelet_cgroup},
};

/// Between two searches for a kubelet that the config does not name: all processes are looked at.
const SEARCH_EVERY: Duration = Duration::from_secs(30);

/// What was found of it last.
#[derive(Debug, Default)]
pub(super) struct Kubelet {
    /// The cgroup whose connections pass, and its id where it is there.
    pub(super) at: (Option<PathBuf>, Option<u64>),
    found: Option<PathBuf>,
    searched: Option<Instant>,
}

impl Kubelet {
    /// Its cgroup by the config, or where the node is one of a cluster, by its process.
    pub(super) fn place(&mut self, config: &Config) -> Option<PathBuf> {
        if config.kubelet_cgroup.is_some() || config.kubernetes.is_none() {
            return config.kubelet_cgroup.clone();
        }
        let is_there = self.found.as_deref().and_then(Cgroup::id_at).is_some();
        if !is_there && self.searched.is_none_or(|searched| searched.elapsed() >= SEARCH_EVERY) {
            self.found = kubelet_cgroup();
            self.searched = Some(Instant::now());
            if let Some(cgroup) = &self.found {
                tracing::info!(cgroup = %cgroup.display(), "the kubelet's probes pass");
            }
        }
        self.found.clone()
    }
}

/// What is at a path.
pub(super) fn at(path: Option<&Path>) -> (Option<PathBuf>, Option<u64>) {
    (path.map(Path::to_owned), path.and_then(Cgroup::id_at))
}
