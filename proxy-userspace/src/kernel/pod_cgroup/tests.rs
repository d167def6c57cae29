use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{super::netns::Netns, process, *};

const UID: &str = "9a3c2f1e-5b1d-4a5f-8f6e-0c1d2e3f4a5b";
const ESCAPED: &str = "9a3c2f1e_5b1d_4a5f_8f6e_0c1d2e3f4a5b";

/// Directories in place of cgroups, and of `/proc`; removed on drop.
struct Tree(PathBuf);

impl Tree {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("sluice-pod-cgroup-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A cgroup with these processes in it.
    fn cgroup(&self, path: &str, pids: &[u32]) -> PathBuf {
        let path = self.0.join(path);
        fs::create_dir_all(&path).unwrap();
        let procs: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
        fs::write(path.join("cgroup.procs"), procs).unwrap();
        path
    }

    /// A process in `proc`, whose namespace is a file of this name.
    fn process(&self, pid: u32, namespace: &str) {
        let ns = self.0.join(format!("proc/{pid}/ns"));
        fs::create_dir_all(&ns).unwrap();
        let namespace = self.0.join(format!("ns-{namespace}"));
        fs::write(&namespace, "").unwrap();
        std::os::unix::fs::symlink(namespace, ns.join("net")).unwrap();
    }

    fn finder(&self) -> PodCgroups {
        PodCgroups::below(self.0.clone(), Duration::ZERO)
    }

    /// Where one pod is, below the tree.
    fn find(&self, uids: &[&str]) -> Option<PathBuf> {
        let mut found = self.finder().find([((), uids)]);
        found.remove(&()).map(|path| path.strip_prefix(&self.0).unwrap().to_owned())
    }

    fn held(&self, pod: &Path) -> Option<(u32, bool)> {
        let held = process::find(pod, &self.0.join("proc")).unwrap();
        held.map(|held| (held.pid, held.is_host))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn a_pod_is_found_under_every_layout() {
    for prefix in ["", "kubelet/", "kubelet.slice/", "system.slice/docker-0123.scope/", "a/b/c/d/e/f/"] {
        for (class, dir) in [("guaranteed", ""), ("burstable", "burstable/"), ("besteffort", "besteffort/")] {
            let tree = Tree::new();
            tree.cgroup(&format!("{prefix}kubepods/besteffort"), &[]);
            let pod = format!("{prefix}kubepods/{dir}pod{UID}");
            tree.cgroup(&pod, &[]);
            assert_eq!(tree.find(&[UID]), Some(PathBuf::from(pod)), "{class}");
        }
    }
    for (prefix, root) in [
        ("", "kubepods"),
        ("kubelet.slice/", "kubelet-kubepods"),
        ("system.slice/docker-0123.scope/kubelet.slice/", "kubelet-kubepods"),
        ("a.slice/a-b.slice/", "a-b-kubepods"),
    ] {
        for class in ["", "-burstable", "-besteffort"] {
            let tree = Tree::new();
            let dir = if class.is_empty() { String::new() } else { format!("{root}{class}.slice/") };
            let pod = format!("{prefix}{root}.slice/{dir}{root}{class}-pod{ESCAPED}.slice");
            tree.cgroup(&pod, &[]);
            assert_eq!(tree.find(&[UID]), Some(PathBuf::from(pod)), "{root}{class}");
        }
    }
}

#[test]
fn a_name_that_merely_contains_the_uid_is_not_the_pod() {
    let tree = Tree::new();
    for other in [
        format!("kubepods/burstable/pod{UID}-2"),
        format!("kubepods/burstable/xpod{UID}"),
        format!("kubepods/burstable/{UID}"),
        format!("kubepods/burstable/podabc/pod{UID}"),
        format!("kubepods/system/pod{UID}"),
        format!("kubepods/pod{UID}.slice"),
        format!("user.slice/pod{UID}"),
        format!("kubepods.slice/kubepods-burstable.slice/kubepods-pod{ESCAPED}.slice"),
        format!("kubepods.slice/kubepods-burstable-pod{ESCAPED}.slice"),
        format!("kubepods.slice/kubepods-pod{ESCAPED}.scope"),
        format!("kubepods.slice/kubepods-pod{ESCAPED}_2.slice"),
        format!("kubepods.slice/kubepods-pod{UID}.slice"),
    ] {
        tree.cgroup(&other, &[]);
    }
    assert_eq!(tree.find(&[UID]), None);
    fs::write(tree.0.join(format!("kubepods/pod{UID}")), "").unwrap();
    assert_eq!(tree.find(&[UID]), None, "that is a file");
}

#[test]
fn dashes_and_underscores_differ_where_the_driver_keeps_them() {
    let tree = Tree::new();
    tree.cgroup("kubepods/poda_b", &[]);
    assert_eq!(tree.find(&["a-b"]), None);
    assert_eq!(tree.find(&["a_b"]), Some(PathBuf::from("kubepods/poda_b")));
    tree.cgroup("kubepods.slice/kubepods-podc_d.slice", &[]);
    assert_eq!(tree.find(&["c-d"]), Some(PathBuf::from("kubepods.slice/kubepods-podc_d.slice")));
}

#[test]
fn a_static_pod_is_found_by_the_hash_of_its_manifest() {
    let tree = Tree::new();
    let hash = "0123456789abcdef0123456789abcdef";
    let pod = format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{hash}.slice");
    tree.cgroup(&pod, &[]);
    assert_eq!(tree.find(&[UID]), None);
    assert_eq!(tree.find(&[hash, UID]), Some(PathBuf::from(&pod)));
    assert_eq!(tree.find(&[UID, hash]), Some(PathBuf::from(&pod)));
}

#[test]
fn a_half_made_tree_is_not_yet() {
    let tree = Tree::new();
    assert_eq!(tree.find(&[UID]), None);
    let mut finder = tree.finder();
    let mut find = || finder.find([("pod", [UID])]).remove("pod");
    assert_eq!(find(), None, "there is no kubepods");
    tree.cgroup("kubepods", &[]);
    assert_eq!(find(), None, "no class");
    tree.cgroup("kubepods/burstable", &[]);
    assert_eq!(find(), None, "no pod");
    let pod = tree.cgroup(&format!("kubepods/burstable/pod{UID}"), &[]);
    assert_eq!(find(), Some(pod.clone()));
    assert_eq!(tree.held(&pod), None, "no container");
    fs::remove_dir_all(tree.0.join("kubepods")).unwrap();
    assert_eq!(find(), None, "all is gone");
    let pod = tree.cgroup(&format!("kubelet/kubepods/pod{UID}"), &[]);
    assert_eq!(find(), Some(pod), "the kubelet was started anew with other flags");
}

#[test]
fn kubepods_is_not_searched_for_again_at_once() {
    let tree = Tree::new();
    let mut finder = PodCgroups::below(tree.0.clone(), Duration::from_secs(3600));
    assert_eq!(finder.find([(1, [UID])]).len(), 0);
    tree.cgroup(&format!("kubepods/pod{UID}"), &[]);
    assert_eq!(finder.find([(1, [UID])]).len(), 0, "it searched a moment ago");
    finder.searched = None;
    assert_eq!(finder.find([(1, [UID])]).len(), 1);
    tree.cgroup("kubepods/podnew", &[]);
    assert_eq!(finder.find([(2, ["new"])]).len(), 1, "a new pod needs no search");
}

#[test]
fn a_thousand_pods_are_found_at_once_and_each_at_its_own_place() {
    let tree = Tree::new();
    let uid = |n: u32| format!("{n:08x}-0000-4000-8000-000000000000");
    let place = |n: u32| {
        let escaped = uid(n).replace('-', "_");
        match n % 6 {
            0 => format!("kubepods/pod{}", uid(n)),
            1 => format!("kubepods/burstable/pod{}", uid(n)),
            2 => format!("kubepods/besteffort/pod{}", uid(n)),
            3 => format!("kubepods.slice/kubepods-pod{escaped}.slice"),
            4 => format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{escaped}.slice"),
            _ => format!("kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{escaped}.slice"),
        }
    };
    for n in 0..1000 {
        tree.cgroup(&format!("{}/container", place(n)), &[]);
    }
    let found = tree.finder().find((0..1001).map(|n| (n, [uid(n)])));
    assert_eq!(found.len(), 1000);
    for (n, path) in found {
        assert_eq!(path, tree.0.join(place(n)));
    }
}

#[test]
fn the_namespace_is_that_of_a_process_in_a_container() {
    let tree = Tree::new();
    tree.process(1, "host");
    for (pid, namespace) in [(20, "host"), (21, "pod"), (22, "pod")] {
        tree.process(pid, namespace);
    }
    let pod = tree.cgroup("pod", &[]);
    tree.cgroup("pod/crio-conmon-1.scope", &[20]);
    assert_eq!(tree.held(&pod), None, "conmon is not the pod's");
    tree.cgroup("pod/crio-1.scope", &[22]);
    tree.cgroup("pod/cri-containerd-2.scope", &[]);
    assert_eq!(tree.held(&pod), Some((22, false)));
    tree.cgroup("pod/crio-0.scope", &[0, 404, 20, 21]);
    assert_eq!(tree.held(&pod), Some((21, false)), "one is out of sight, one gone, one on the host");
}

#[test]
fn a_pod_on_the_host_s_network_is_said_to_be() {
    let tree = Tree::new();
    tree.process(1, "host");
    tree.process(20, "host");
    let pod = tree.cgroup("pod", &[]);
    tree.cgroup("pod/crio-0.scope", &[20]);
    assert_eq!(tree.held(&pod), Some((20, true)));
}

#[test]
fn containers_of_a_container_come_after_it() {
    let tree = Tree::new();
    tree.process(1, "host");
    tree.process(20, "inner");
    tree.process(21, "pod");
    let pod = tree.cgroup("pod", &[]);
    tree.cgroup("pod/a", &[]);
    tree.cgroup("pod/a/docker", &[20]);
    tree.cgroup("pod/b", &[21]);
    assert_eq!(tree.held(&pod), Some((21, false)));
}

#[test]
fn a_namespace_that_may_not_be_opened_is_an_error_and_not_nothing() {
    let tree = Tree::new();
    tree.process(1, "host");
    tree.process(20, "host");
    let pod = tree.cgroup("pod", &[20, 21]);
    fs::create_dir_all(tree.0.join("proc/21")).unwrap();
    // ENOTDIR, as root is refused nothing.
    fs::write(tree.0.join("proc/21/ns"), "").unwrap();
    let error = process::find(&pod, &tree.0.join("proc")).unwrap_err();
    assert!(error.to_string().ends_with("proc/21/ns/net"), "{error}");
}

/// A child that is killed and reaped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_zombie_is_passed_over_and_the_living_one_is_taken() {
    let tree = Tree::new();
    let mut zombie = Command::new("true").spawn().unwrap();
    let living = Running(Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap());
    let status = format!("/proc/{}/stat", zombie.id());
    while !fs::read_to_string(&status).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    let pod = tree.cgroup("pod", &[zombie.id()]);
    assert!(process_of(&pod).unwrap().is_none());
    tree.cgroup("pod/container", &[living.0.id()]);
    let found = process_of(&pod).unwrap().unwrap();
    assert_eq!(found.pid, living.0.id());
    assert_eq!(Some(found.netns_id), Netns::id_at(Path::new("/proc/self/ns/net")));
    assert_eq!(found.is_host, process::host(Path::new("/proc")) == Some(found.netns_id));
    zombie.wait().unwrap();
}
