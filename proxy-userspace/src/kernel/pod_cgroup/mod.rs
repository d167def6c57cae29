//! Where the kubelet has put a pod: its cgroup, found by the pod's UID.
//!
//! The kubelet makes one cgroup for each pod and gives it a name with the UID in it; the container
//! runtime puts one for each container inside. [`names`] knows the names of both cgroup drivers, and
//! [`process`] finds the pod's network namespace through a process in it.
//!
//! ```text
//! cgroupfs                                systemd
//! kubepods/                               kubepods.slice/
//!   podUID/                  guaranteed     kubepods-podUID.slice/
//!   burstable/podUID/                       kubepods-burstable.slice/kubepods-burstable-podUID.slice/
//!   besteffort/podUID/                      kubepods-besteffort.slice/kubepods-besteffort-podUID.slice/
//! ```
//!
//! `kubepods` may be anywhere below the mount point: under what the kubelet calls `--cgroup-root`
//! (`kubelet/kubepods`, `kubelet.slice/kubelet-kubepods.slice`), under the container that is the node.

mod kubelet;
mod names;
mod process;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs,
    hash::Hash,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use self::names::{Driver, Root};
pub(crate) use self::{kubelet::kubelet_cgroup, process::process_of};
use super::{cgroup::cgroup2_mount_point, error::KernelError};

/// How deep below the mount point `kubepods` is looked for: the node may be a container of a user's.
const DEPTH: u32 = 8;

/// How long after a search for `kubepods` another one may follow.
const BETWEEN_SEARCHES: Duration = Duration::from_secs(2);

/// Finds pods' cgroups. It remembers where `kubepods` is, and reads nothing but that and the two
/// directories of the QoS classes in it: three directories for any number of pods.
#[derive(Debug)]
pub(crate) struct PodCgroups {
    mount_point: PathBuf,
    roots: Vec<Root>,
    searched: Option<Instant>,
    between_searches: Duration,
}

impl PodCgroups {
    /// A finder for this machine.
    ///
    /// # Errors
    /// Where no cgroup v2 hierarchy is mounted.
    pub(crate) fn new() -> Result<Self, KernelError> {
        Ok(Self::below(cgroup2_mount_point()?, BETWEEN_SEARCHES))
    }

    fn below(mount_point: PathBuf, between_searches: Duration) -> Self {
        Self { mount_point, roots: Vec::new(), searched: None, between_searches }
    }

    /// The cgroups of these pods; one that is not in the answer has none yet, or none any more.
    ///
    /// A pod comes with the UIDs that its cgroup may have, the first that is there counts: a static
    /// pod's cgroup is named after the kubelet's hash of its manifest (annotation
    /// `kubernetes.io/config.hash`), not after the UID that the API server gave its mirror.
    pub(crate) fn find<K, U>(
        &mut self,
        pods: impl IntoIterator<Item = (K, impl IntoIterator<Item = U>)>,
    ) -> HashMap<K, PathBuf>
    where
        K: Eq + Hash,
        U: AsRef<str>,
    {
        let wanted: Vec<(K, Vec<U>)> =
            pods.into_iter().map(|(pod, uids)| (pod, uids.into_iter().collect())).collect();
        if wanted.is_empty() {
            return HashMap::new();
        }
        let mut present = self.present();
        let is_here = |(_, uids): &(K, Vec<U>)| uids.iter().any(|uid| present.of(uid.as_ref()).is_some());
        if !wanted.iter().all(is_here) && self.search() {
            present = self.present();
        }
        let places = wanted.into_iter().filter_map(|(pod, uids)| {
            let place = uids.iter().find_map(|uid| present.of(uid.as_ref()))?;
            Some((pod, place.to_owned()))
        });
        places.collect()
    }

    /// The pods that are in the known roots. A root that is gone is forgotten.
    fn present(&mut self) -> Present {
        let mut present = Present::default();
        self.roots.retain(|root| {
            let Some(entries) = directories(root.path()) else { return false };
            for (name, path) in entries {
                if let Some(class) = root.class(&name) {
                    let pods = directories(&path).unwrap_or_default();
                    present.add(root.driver(), pods, |name| class.uid(name));
                } else {
                    present.add(root.driver(), [(name, path)], |name| root.uid(name));
                }
            }
            true
        });
        present
    }

    /// Looks for `kubepods` everywhere but inside it, unless that was done a moment ago; whether it did.
    fn search(&mut self) -> bool {
        if self.searched.is_some_and(|searched| searched.elapsed() < self.between_searches) {
            return false;
        }
        self.roots = roots(&self.mount_point);
        self.searched = Some(Instant::now());
        true
    }
}

/// The pods that have a cgroup, by the UID as the driver writes it.
#[derive(Debug, Default)]
struct Present {
    plain: HashMap<String, PathBuf>,
    escaped: HashMap<String, PathBuf>,
}

impl Present {
    fn add(
        &mut self,
        driver: Driver,
        pods: impl IntoIterator<Item = (String, PathBuf)>,
        uid: impl Fn(&str) -> Option<&str>,
    ) {
        let pods = pods.into_iter().filter_map(|(name, path)| Some((uid(&name)?.to_owned(), path)));
        match driver {
            Driver::Cgroupfs => self.plain.extend(pods),
            Driver::Systemd => self.escaped.extend(pods),
        }
    }

    fn of(&self, uid: &str) -> Option<&Path> {
        let escaped = || self.escaped.get(names::escape(uid).as_ref());
        self.plain.get(uid).or_else(escaped).map(PathBuf::as_path)
    }
}

/// Every `kubepods` below a directory, a level after the other. What is inside one is no business of
/// this node's kubelet.
fn roots(mount_point: &Path) -> Vec<Root> {
    let mut roots = Vec::new();
    let mut level = vec![mount_point.to_owned()];
    for _ in 0..DEPTH {
        let mut next = Vec::new();
        for (name, path) in level.iter().filter_map(|dir| directories(dir)).flatten() {
            match Root::new(&name, path) {
                Ok(root) => roots.push(root),
                Err(path) => next.push(path),
            }
        }
        level = next;
    }
    roots
}

/// The directories in a directory, by name; `None` where it is not there or cannot be read.
fn directories(dir: &Path) -> Option<Vec<(String, PathBuf)>> {
    let entries = fs::read_dir(dir).ok()?.filter_map(Result::ok);
    // A cgroup's own files are many; their kind is known without asking for each.
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Some(
        directories.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path()))).collect(),
    )
}
