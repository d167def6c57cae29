//! Where a workload is now: a service manager makes its cgroup anew when it restarts it.

use std::path::Path;

use crate::{
    config::WorkloadConfig,
    kernel::{Cgroup, Netns, NetnsId},
};

/// What is at the paths of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) cgroup: Option<u64>,
    pub(super) netns: Option<NetnsId>,
    pub(super) foreign_proxy: Option<u64>,
}

/// What of a workload is not there any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) what: String,
    /// Whether the workload goes on without it.
    pub(super) stays: bool,
}

impl Found {
    pub(super) fn of(workload: &WorkloadConfig) -> Self {
        Self {
            cgroup: Cgroup::id_at(&workload.cgroup),
            netns: workload.netns.as_deref().and_then(Netns::id_at),
            foreign_proxy: workload.foreign_proxy.as_ref().and_then(|proxy| Cgroup::id_at(&proxy.cgroup)),
        }
    }

    /// What is gone, where it matters to a workload that is enrolled with this id, if it is.
    pub(super) fn gone(&self, workload: &WorkloadConfig, enrolled: Option<u64>) -> Option<Gone> {
        let is_enrolled = self.cgroup.is_some() && self.cgroup == enrolled;
        let gone =
            |what, path: &Path, stays| Some(Gone { what: format!("{what} gone: {}", path.display()), stays });
        if self.cgroup.is_none() {
            return gone("cgroup", &workload.cgroup, false);
        }
        // A namespace without a file goes on for as long as a process is in it, and so do our listeners.
        if let (Some(path), None, false) = (&workload.netns, self.netns, is_enrolled) {
            return gone("network namespace", path, false);
        }
        // Its connections are brought to it all the same: what was to be refused without a proxy is.
        if let (Some(proxy), None) = (&workload.foreign_proxy, self.foreign_proxy) {
            return gone("cgroup of its proxy", &proxy.cgroup, is_enrolled);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn what_is_gone_is_told_where_it_matters() {
        let text = "[[workload]]\nname = 'w'\ncgroup = '/c'\nnetns = '/n'\n\
                    foreign-proxy = { cgroup = '/p', port = 1 }\n";
        let config = Config::parse(text, Path::new("sluice.toml")).unwrap();
        let gone = |cgroup, netns: Option<u64>, foreign_proxy, enrolled| {
            let found = Found { cgroup, netns: netns.map(|ino| (4, ino)), foreign_proxy };
            found.gone(&config.workloads[0], enrolled).map(|gone| (gone.what, gone.stays))
        };
        let is = |what: &str, stays| Some((what.to_owned(), stays));
        assert_eq!(gone(Some(7), Some(8), Some(9), Some(7)), None);
        assert_eq!(gone(Some(7), Some(8), Some(9), None), None, "it is back");
        assert_eq!(gone(None, Some(8), Some(9), Some(7)), is("cgroup gone: /c", false));
        assert_eq!(gone(None, None, None, None), is("cgroup gone: /c", false));
        assert_eq!(gone(Some(7), None, Some(9), Some(7)), None, "its processes are still in it");
        assert_eq!(gone(Some(6), None, Some(9), Some(7)), is("network namespace gone: /n", false));
        assert_eq!(gone(Some(7), Some(8), None, Some(7)), is("cgroup of its proxy gone: /p", true));
        assert_eq!(gone(Some(6), Some(8), None, Some(7)), is("cgroup of its proxy gone: /p", false));
    }
}
