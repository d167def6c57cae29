//! The names that kubelets and runtimes give to cgroups.

use std::path::PathBuf;

/// Who makes the kubelet's cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The kubelet itself: `kubepods/burstable/podUID`.
    Cgroupfs,
    /// systemd: `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice`.
    Systemd,
}

/// Who runs the containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// `cri-containerd-ID.scope`, or `ID` under cgroupfs.
    Containerd,
    /// `crio-ID.scope`, or `crio-ID`, and a monitor beside it that is in the node's namespaces.
    Crio,
}

impl Runtime {
    /// What its container ids begin with.
    pub(super) const fn scheme(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::Crio => "cri-o",
        }
    }
}

/// A pod's class, by its resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Qos {
    /// Requests are the limits.
    Guaranteed,
    /// Some requests.
    Burstable,
    /// None.
    #[default]
    BestEffort,
}

impl Qos {
    /// What the API calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }

    /// What its cgroup is called; guaranteed pods have none.
    const fn directory(self) -> Option<&'static str> {
        match self {
            Self::Guaranteed => None,
            Self::Burstable => Some("burstable"),
            Self::BestEffort => Some("besteffort"),
        }
    }
}

/// How a node's cgroups are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Who makes them.
    pub driver: Driver,
    /// Who runs the containers.
    pub runtime: Runtime,
    /// The kubelet's `--cgroup-root`: `kubelet` in kind.
    pub root: Option<&'static str>,
}

impl Layout {
    /// A layout in the root of the hierarchy.
    #[must_use]
    pub const fn new(driver: Driver, runtime: Runtime) -> Self {
        Self { driver, runtime, root: None }
    }

    /// What most clusters have today.
    #[must_use]
    pub const fn usual() -> Self {
        Self::new(Driver::Systemd, Runtime::Containerd)
    }

    /// As kind has it.
    #[must_use]
    pub const fn kind() -> Self {
        Self { root: Some("kubelet"), ..Self::usual() }
    }

    /// Every layout that a node may have.
    #[must_use]
    pub const fn all() -> [Self; 6] {
        let nested = Self { root: Some("kubelet"), ..Self::new(Driver::Cgroupfs, Runtime::Containerd) };
        [
            Self::new(Driver::Cgroupfs, Runtime::Containerd),
            Self::new(Driver::Cgroupfs, Runtime::Crio),
            Self::new(Driver::Systemd, Runtime::Containerd),
            Self::new(Driver::Systemd, Runtime::Crio),
            Self::kind(),
            nested,
        ]
    }

    /// Where a pod's cgroup is, from where the node's begin.
    #[must_use]
    pub fn pod(&self, qos: Qos, uid: &str) -> PathBuf {
        let parts = self.root.into_iter().chain(["kubepods"]).chain(qos.directory());
        match self.driver {
            Driver::Cgroupfs => parts.map(str::to_owned).chain([format!("pod{uid}")]).collect(),
            Driver::Systemd => {
                // A slice's name says in which slices it is.
                let escaped = format!("pod{}", uid.replace('-', "_"));
                let parts: Vec<_> = parts.chain([escaped.as_str()]).collect();
                (1..=parts.len()).map(|depth| format!("{}.slice", parts[..depth].join("-"))).collect()
            }
        }
    }

    /// The name of a container's cgroup, in its pod's.
    #[must_use]
    pub fn container(&self, id: &str) -> String {
        match (self.runtime, self.driver) {
            (Runtime::Containerd, Driver::Cgroupfs) => id.to_owned(),
            (Runtime::Containerd, Driver::Systemd) => format!("cri-containerd-{id}.scope"),
            (Runtime::Crio, Driver::Cgroupfs) => format!("crio-{id}"),
            (Runtime::Crio, Driver::Systemd) => format!("crio-{id}.scope"),
        }
    }

    /// The name of the cgroup of a container's monitor, where it is in the pod's.
    #[must_use]
    pub fn monitor(&self, id: &str) -> Option<String> {
        match (self.runtime, self.driver) {
            (Runtime::Containerd, _) => None,
            (Runtime::Crio, Driver::Cgroupfs) => Some(format!("crio-conmon-{id}")),
            (Runtime::Crio, Driver::Systemd) => Some(format!("crio-conmon-{id}.scope")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_where_kubelets_put_them() {
        let path = |layout: Layout, qos| layout.pod(qos, "a-b").to_str().unwrap().to_owned();
        let cgroupfs = Layout::new(Driver::Cgroupfs, Runtime::Containerd);
        assert_eq!(path(cgroupfs, Qos::Guaranteed), "kubepods/poda-b");
        assert_eq!(path(cgroupfs, Qos::BestEffort), "kubepods/besteffort/poda-b");
        assert_eq!(path(Layout::usual(), Qos::Guaranteed), "kubepods.slice/kubepods-poda_b.slice");
        assert_eq!(
            path(Layout::kind(), Qos::Burstable),
            "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/\
             kubelet-kubepods-burstable-poda_b.slice"
        );
    }
}
