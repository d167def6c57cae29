//! The config file of `sluice run`.
//!
//! TOML, in three steps: `file` says what may be written, `check` what it means, and a
//! [`Config`] is what the agent works with: everything in it has been checked that can be checked
//! without looking at the machine. An example is in `docs/sluice.toml`, the schema in
//! `docs/config.schema.json`.

mod check;
mod error;
mod file;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::{NonZeroU8, NonZeroU16};
use std::path::{Path, PathBuf};

pub use self::error::{ConfigError, Place, Setting, ValueProblem};
use crate::policy::{
    BypassMode, ClientAddress, EnrolMode, LearnOpaque, OpaquePath, OtlpEndpoint, PortRules, PortTable,
    SkMsgMode, SubnetSet, WhenProxyDown, compile,
};

/// Where the admin server listens unless it is told: Linkerd's admin port, on loopback.
pub const DEFAULT_ADMIN: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4191));

/// What the agent is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where `/metrics`, `/ready` and `/live` are served; with port 0 the kernel picks one.
    pub admin: SocketAddr,
    /// Whether application sends travel by `sk_msg`, for workloads that do not say.
    pub sk_msg: SkMsgMode,
    /// Whether opaque connections within the node go past TCP, for workloads that do not say.
    pub same_node_bypass: BypassMode,
    /// Who carries the bytes of opaque connections, for workloads that do not say.
    pub opaque_path: OpaquePath,
    /// How many threads connections have; `None` is one for each processor.
    pub threads: Option<NonZeroU8>,
    /// Whether destinations that no rule names are learned to be opaque, for workloads that do not say.
    pub learn_opaque: LearnOpaque,
    /// The collector that the spans of traced requests are sent to, if any.
    pub otlp_endpoint: Option<OtlpEndpoint>,
    /// The port lists for workloads without their own.
    pub ports: PortRules,
    /// Peers that workloads without their own list leave alone.
    pub skip_subnets: SubnetSet,
    /// Whose address pods see as that of their clients, where the connections that they accept are proxied.
    pub inbound: Option<ClientAddress>,
    /// The cgroup v2 directory of the kubelet, an absolute path, in which no workload is: connections that
    /// are opened there are not proxied inbound.
    pub kubelet_cgroup: Option<PathBuf>,
    /// The cluster whose pods on this node are enrolled, if any.
    pub kubernetes: Option<KubernetesConfig>,
    /// What is enrolled besides, in the order of the file; no two have the same name or cgroup.
    pub workloads: Vec<WorkloadConfig>,
}

/// How this node's pods are enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesConfig {
    /// Which pods.
    pub enrol: EnrolMode,
    /// The name of this node, where it is not in the environment.
    pub node_name: Option<String>,
    /// Where the API server is, an absolute path; `None` asks the service account or the environment.
    pub kubeconfig: Option<PathBuf>,
    /// What becomes of pods' connections while no proxy is alive.
    pub when_proxy_down: WhenProxyDown,
}

/// One enrolled workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadConfig {
    /// What people call it: 1 to [`proxy_common::WorkloadName::MAX_LEN`] bytes, no spaces or
    /// control characters.
    pub name: String,
    /// Its cgroup v2 directory, an absolute path.
    pub cgroup: PathBuf,
    /// The file of its network namespace, an absolute path; `None` is the agent's own.
    pub netns: Option<PathBuf>,
    /// Its own port lists.
    pub ports: PortRules,
    /// Peers that it leaves alone; the node's choice where it has none of its own.
    pub skip_subnets: SubnetSet,
    /// What becomes of its connections while no proxy is alive.
    pub when_proxy_down: WhenProxyDown,
    /// Whether its connections to loopback addresses are proxied too.
    pub include_loopback: bool,
    /// Whether its sends travel by `sk_msg`; the node's choice where it has none of its own.
    pub sk_msg: SkMsgMode,
    /// Whether its opaque connections within the node go past TCP; likewise.
    pub same_node_bypass: BypassMode,
    /// Who carries the bytes of its opaque connections; the node's choice where it has none of its own.
    pub opaque_path: OpaquePath,
    /// Whether its destinations may be learned to be opaque; the node's choice where it has none of its own.
    pub learn_opaque: LearnOpaque,
    /// Whose address it sees as that of its clients, where the connections that it accepts are proxied.
    pub inbound: Option<ClientAddress>,
    /// The proxy that its connections are brought to, where that is not sluice's.
    pub foreign_proxy: Option<ForeignProxy>,
}

/// Another proxy that stands behind the dataplane: it learns the original destination by
/// `SO_ORIGINAL_DST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignProxy {
    /// The cgroup v2 directory that it runs in, an absolute path and not the workload's: its own
    /// connections are left alone.
    pub cgroup: PathBuf,
    /// The loopback port that it listens on, in the workload's network namespace.
    pub port: NonZeroU16,
}

impl Config {
    /// Reads a config from its text; `path` is where the text came from, for errors.
    ///
    /// # Errors
    /// The first thing that is not TOML, not a setting, or not a value the setting can have, with
    /// its line and column.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let file: file::File = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            at: Place::of(path, text, error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        check::config(file).map_err(|wrong| ConfigError::Value {
            at: Place::of(path, text, wrong.offset),
            setting: wrong.setting,
            problem: wrong.problem,
        })
    }

    /// Reads the config file.
    ///
    /// # Errors
    /// The file cannot be read or has no bytes, or as in [`Self::parse`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        // What a full disk or a cut-off write leaves. That there are no workloads is said in words.
        if text.is_empty() {
            return Err(ConfigError::Empty { path: path.to_owned() });
        }
        Self::parse(&text, path)
    }

    /// The JSON schema of the file.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(file::File).to_value()
    }

    /// The port table of a workload: its own lists, the node's, the built-in ones.
    #[must_use]
    pub fn table(&self, workload: &WorkloadConfig) -> PortTable {
        compile(&self.ports, &workload.ports)
    }
}

#[cfg(test)]
mod tests;
