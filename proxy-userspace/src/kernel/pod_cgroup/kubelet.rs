//! The kubelet's own cgroup.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{super::cgroup::Cgroup, directories, names::Root};

/// The name of its process, as `/proc/PID/comm` has it.
const NAME: &str = "kubelet";

/// The cgroup of the process `kubelet`, where one runs in a cgroup without pods: as a service of systemd's,
/// say. One that shares its cgroup with more (k3s, which is one process with all of Kubernetes) has another name.
pub(crate) fn kubelet_cgroup() -> Option<PathBuf> {
    processes(Path::new("/proc")).find_map(|process| {
        let cgroup = Cgroup::path_of_process(&process).ok()?;
        is_without_pods(&cgroup).then_some(cgroup)
    })
}

/// The directories of the processes of that name.
fn processes(proc: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(proc).into_iter().flatten().filter_map(Result::ok);
    let is_process = |name: &std::ffi::OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    entries
        .filter(move |entry| is_process(&entry.file_name()))
        .map(|entry| entry.path())
        .filter(|process| fs::read_to_string(process.join("comm")).is_ok_and(|comm| comm.trim_end() == NAME))
}

/// Whether no pods are in the cgroup: what they open would be taken for probes.
fn is_without_pods(cgroup: &Path) -> bool {
    directories(cgroup)
        .is_some_and(|below| below.into_iter().all(|(name, path)| Root::new(&name, path).is_err()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let directory =
                std::env::temp_dir().join(format!("sluice-kubelet-{}-{name}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            Self(directory)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn the_process_is_known_by_its_name() {
        let scratch = Scratch::new("proc");
        for (process, comm) in
            [("7", "sh\n"), ("42", "kubelet\n"), ("43", "kubelet-wrapper\n"), ("self", "kubelet\n")]
        {
            fs::create_dir(scratch.0.join(process)).unwrap();
            fs::write(scratch.0.join(process).join("comm"), comm).unwrap();
        }
        fs::create_dir(scratch.0.join("8")).unwrap();
        assert_eq!(processes(&scratch.0).collect::<Vec<_>>(), [scratch.0.join("42")]);
    }

    #[test]
    fn a_cgroup_with_pods_in_it_is_not_the_kubelet_s_own() {
        let scratch = Scratch::new("cgroup");
        fs::create_dir(scratch.0.join("child")).unwrap();
        assert!(is_without_pods(&scratch.0));
        fs::create_dir(scratch.0.join("kubepods.slice")).unwrap();
        assert!(!is_without_pods(&scratch.0));
        assert!(!is_without_pods(&scratch.0.join("gone")));
    }
}
