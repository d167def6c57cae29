//! What the kubelet calls the cgroups of pods, and the runtimes those beside the containers.
//!
//! Kubernetes, `pkg/kubelet/cm/cgroup_manager_linux.go` (`ToSystemd`, `ToCgroupfs`) and
//! `pod_container_manager_linux.go`, as of 1.20 and 1.34. systemd has a slice's place in its name:
//! `a-b.slice` is in `a.slice`, so a dash inside a part is written as an underscore.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

/// Who makes the kubelet's cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    Cgroupfs,
    Systemd,
}

/// What all pods are in.
const KUBEPODS: &str = "kubepods";

/// The classes that have a cgroup of their own; guaranteed pods are beside them.
const CLASSES: [&str; 2] = ["burstable", "besteffort"];

/// A directory that holds pods, or QoS classes of pods.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    pods: Pods,
}

/// How the pods of one directory are called.
#[derive(Debug)]
pub(super) enum Pods {
    /// `podUID`
    Plain,
    /// `PREFIX-podUID.slice`, in `PREFIX.slice`.
    InSlice { prefix: String },
}

impl Root {
    /// The directory as a root, or back if it is none.
    pub(super) fn new(name: &str, path: PathBuf) -> Result<Self, PathBuf> {
        if name == KUBEPODS {
            return Ok(Self { path, pods: Pods::Plain });
        }
        match name.strip_suffix(".slice") {
            Some(prefix) if prefix == KUBEPODS || prefix.ends_with("-kubepods") => {
                Ok(Self { path, pods: Pods::InSlice { prefix: prefix.to_owned() } })
            }
            Some(_) | None => Err(path),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn driver(&self) -> Driver {
        match self.pods {
            Pods::Plain => Driver::Cgroupfs,
            Pods::InSlice { .. } => Driver::Systemd,
        }
    }

    /// The UID in the name of a guaranteed pod's cgroup, as the driver writes it.
    pub(super) fn uid<'a>(&self, name: &'a str) -> Option<&'a str> {
        self.pods.uid(name)
    }

    /// How the pods are called in a directory of this name, if that is a QoS class.
    pub(super) fn class(&self, name: &str) -> Option<Pods> {
        match &self.pods {
            Pods::Plain => CLASSES.contains(&name).then_some(Pods::Plain),
            Pods::InSlice { prefix } => {
                let slice = name.strip_suffix(".slice")?;
                let class = slice.strip_prefix(prefix.as_str())?.strip_prefix('-')?;
                CLASSES.contains(&class).then(|| Pods::InSlice { prefix: slice.to_owned() })
            }
        }
    }
}

impl Pods {
    /// The UID in the name of a pod's cgroup, as the driver writes it.
    pub(super) fn uid<'a>(&self, name: &'a str) -> Option<&'a str> {
        let uid = match self {
            Self::Plain => name.strip_prefix("pod")?,
            Self::InSlice { prefix } => {
                name.strip_suffix(".slice")?.strip_prefix(prefix.as_str())?.strip_prefix("-pod")?
            }
        };
        (!uid.is_empty()).then_some(uid)
    }
}

/// A UID as the systemd driver writes it.
pub(super) fn escape(uid: &str) -> Cow<'_, str> {
    if uid.contains('-') { uid.replace('-', "_").into() } else { uid.into() }
}

/// Whether a cgroup inside a pod's is none of the pod's own: CRI-O has its monitor, which is in the
/// host's namespaces, beside each container (`crio-conmon-ID.scope`, `crio-conmon-ID`).
pub(super) fn is_monitor(name: &str) -> bool {
    name.starts_with("crio-conmon-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "9a3c2f1e-5b1d-4a5f-8f6e-0c1d2e3f4a5b";

    fn root(name: &str) -> Option<Root> {
        Root::new(name, PathBuf::from("/c").join(name)).ok()
    }

    #[test]
    fn kubepods_is_known_under_both_drivers_and_any_prefix() {
        let driver = |name| root(name).map(|root| root.driver());
        assert_eq!(driver("kubepods"), Some(Driver::Cgroupfs));
        assert_eq!(driver("kubepods.slice"), Some(Driver::Systemd));
        assert_eq!(driver("kubelet-kubepods.slice"), Some(Driver::Systemd));
        assert_eq!(driver("a-b-kubepods.slice"), Some(Driver::Systemd));
        for other in
            ["kubepods-burstable.slice", "mykubepods", "mykubepods.slice", "kubepods.scope", "kubelet"]
        {
            assert_eq!(driver(other), None, "{other}");
        }
    }

    #[test]
    fn a_pod_is_named_in_its_class_and_nowhere_else() {
        let root = root("kubelet-kubepods.slice").unwrap();
        let escaped = escape(UID);
        let guaranteed = format!("kubelet-kubepods-pod{escaped}.slice");
        assert_eq!(root.uid(&guaranteed), Some(&*escaped));
        let class = root.class("kubelet-kubepods-burstable.slice").unwrap();
        let burstable = format!("kubelet-kubepods-burstable-pod{escaped}.slice");
        assert_eq!(class.uid(&burstable), Some(&*escaped));
        assert_eq!(class.uid(&guaranteed), None);
        assert_eq!(root.uid(&burstable), None);
        assert!(root.class("kubelet-kubepods-guaranteed.slice").is_none());
        assert!(root.class("kubepods-burstable.slice").is_none());
        assert_eq!(root.uid("kubelet-kubepods-pod.slice"), None);
    }

    #[test]
    fn conmon_is_a_monitor_and_a_container_is_none() {
        assert!(is_monitor("crio-conmon-0123.scope") && is_monitor("crio-conmon-0123"));
        for container in ["crio-0123.scope", "crio-0123", "cri-containerd-0123.scope", "0123", "container"] {
            assert!(!is_monitor(container), "{container}");
        }
    }
}
