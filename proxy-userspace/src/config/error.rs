//! What is said about a config that cannot be used.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use proxy_common::WorkloadName;

use crate::policy::{OtlpEndpointError, PortSetError, SubnetSetError};

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file has no bytes.
    #[error("{}: empty file: expected settings, or a comment where there are none", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The text is not TOML, or has a key that is no setting, or a value of the wrong kind.
    #[error("{at}: {message}")]
    Syntax {
        /// Where the text goes wrong.
        at: Place,
        /// What was expected there and what came.
        message: String,
    },
    /// A setting has a value that it cannot have.
    #[error("{at}: {setting}: {problem}")]
    Value {
        /// Where the value stands.
        at: Place,
        /// The setting.
        setting: Setting,
        /// What is wrong with the value.
        problem: Box<ValueProblem>,
    },
}

/// A place in a config file; shown as `sluice.toml:3:16`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// The line; the first is 1.
    pub line: usize,
    /// The column, in characters; the first is 1.
    pub column: usize,
}

/// A setting of the node, or of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The workload's name; `None` for a setting of the node.
    pub workload: Option<String>,
    /// The key, with its table's where it is nested.
    pub key: &'static str,
}

/// What is wrong with a value: what was expected and what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueProblem {
    /// No address to listen on.
    #[error("expected an IP address and a port (127.0.0.1:4191 or [::1]:4191), got {got:?}")]
    Address {
        /// What came.
        got: String,
    },
    /// A list of ports that cannot be read.
    #[error(transparent)]
    Ports(#[from] PortSetError),
    /// A list of subnets that cannot be read.
    #[error(transparent)]
    Subnets(#[from] SubnetSetError),
    /// A node without a name.
    #[error("expected the name of this node, as `kubectl get nodes` shows it, got an empty one")]
    NodeName,
    /// Not the URL of a collector.
    #[error(transparent)]
    OtlpEndpoint(#[from] OtlpEndpointError),
    /// A port that there is not.
    #[error("expected a port (1-65535), got {got}")]
    Port {
        /// What came.
        got: i64,
    },
    /// Not a workload's name.
    #[error(
        "expected 1 to {} bytes without spaces or control characters, got {} bytes: {got:?}",
        WorkloadName::MAX_LEN,
        got.len()
    )]
    Name {
        /// What came.
        got: String,
    },
    /// A name that an earlier workload has.
    #[error("expected a name that no other workload has, got {got:?} again")]
    NameTaken {
        /// What came.
        got: String,
    },
    /// A path that depends on where the agent runs, or that climbs.
    #[error("expected an absolute path without '..', got {got:?}")]
    Path {
        /// What came.
        got: String,
    },
    /// A cgroup that an earlier workload has.
    #[error("expected a cgroup that no other workload has, got {got:?}, which is workload {holder:?}'s")]
    CgroupTaken {
        /// What came.
        got: String,
        /// The earlier workload.
        holder: String,
    },
    /// A kubelet's cgroup in which a workload is: its connections would be taken for probes.
    #[error("expected a cgroup without workloads, got {got:?}, in which workload {held:?} is")]
    WorkloadOfKubelet {
        /// What came.
        got: String,
        /// The workload.
        held: String,
    },
    /// A foreign proxy in the cgroup whose connections it is to be brought.
    #[error("expected another cgroup than the workload's own, got {got:?}")]
    ProxyInWorkload {
        /// What came.
        got: String,
    },
}

impl Place {
    /// The place of a byte of the text.
    pub(super) fn of(path: &Path, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(workload) = &self.workload {
            write!(out, "workload {workload:?}: ")?;
        }
        out.write_str(self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_lines_and_characters_from_one() {
        let text = "first\nzweite Größe\n\nlast";
        let place = |offset| {
            let place = Place::of(Path::new("f"), text, offset);
            (place.line, place.column)
        };
        assert_eq!(place(0), (1, 1));
        assert_eq!(place(5), (1, 6));
        assert_eq!(place(6), (2, 1));
        assert_eq!(place(text.find("ße").unwrap()), (2, 11));
        assert_eq!(place(text.find("last").unwrap()), (4, 1));
        assert_eq!(place(text.len()), (4, 5));
        assert_eq!(place(9999), (4, 5));
    }
}
