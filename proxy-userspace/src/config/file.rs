//! What may be written in the config file, and nothing about what it means.
//!
//! Values are kept with their place in the text, and bad ones are kept at all, so that `check`
//! can name the workload and the setting. The doc comments here are the schema's descriptions.

use std::num::{NonZeroU8, NonZeroU16};

use proxy_common::WorkloadName;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::DEFAULT_ADMIN;
use crate::policy::{
    BypassMode, ClientAddress, DEFAULT_OPAQUE_PORTS, EnrolMode, LearnOpaque, OpaquePath, PortSet, SkMsgMode,
    WhenProxyDown, WrittenPorts,
};

/// A list of ports, where there is one.
pub(super) type Ports = Option<Spanned<WrittenPorts>>;

const fn yes() -> bool {
    true
}

/// The config file of `sluice run`: the node's settings, and the workloads to enrol.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "sluice config")]
pub(super) struct File {
    /// Address and port of /metrics, /ready and /live; with port 0 the kernel picks a port.
    #[serde(default)]
    #[schemars(with = "String", extend("default" = DEFAULT_ADMIN.to_string()))]
    pub(super) admin: Option<Spanned<String>>,
    /// Whether application sends travel to the proxy by sk_msg.
    #[serde(default)]
    pub(super) sk_msg: SkMsgMode,
    /// Whether opaque connections between workloads of this node that both want it go past TCP, for
    /// workloads that do not say. Not every application can bear that: see the README.
    #[serde(default)]
    pub(super) same_node_bypass: BypassMode,
    /// Who carries the bytes of connections to opaque ports: the kernel, which counts them, or the proxy.
    #[serde(default)]
    pub(super) opaque_path: OpaquePath,
    /// How many threads connections have; absent, one for each processor.
    #[serde(default)]
    #[schemars(with = "NonZeroU8", skip_serializing_if = "Option::is_none")]
    pub(super) threads: Option<NonZeroU8>,
    /// Whether destinations that no rule names are learned to be opaque where they were each time that they were looked at.
    #[serde(default)]
    pub(super) learn_opaque: LearnOpaque,
    /// Ports whose connections are counted and not inspected, in both directions; replaces the built-in list.
    #[serde(default)]
    #[schemars(with = "PortSet", extend("default" = PortSet::from_iter(DEFAULT_OPAQUE_PORTS)))]
    pub(super) opaque_ports: Ports,
    /// Ports that connections to are never touched.
    #[serde(default)]
    #[schemars(with = "PortSet")]
    pub(super) skip_outbound_ports: Ports,
    /// Ports that accepted connections are never touched on.
    #[serde(default)]
    #[schemars(with = "PortSet")]
    pub(super) skip_inbound_ports: Ports,
    /// Peers that are never touched, in both directions: subnets and addresses with commas between them,
    /// such as 10.0.0.0/8,fd00::/8.
    #[serde(default)]
    #[schemars(with = "String", skip_serializing_if = "Option::is_none")]
    pub(super) skip_subnets: Option<Spanned<String>>,
    /// Whether connections that workloads accept are proxied too, where the workload has a network
    /// namespace of its own.
    #[serde(default = "yes")]
    pub(super) inbound: bool,
    /// Whose address applications see as that of a client whose connection is proxied.
    #[serde(default)]
    pub(super) client_address: ClientAddress,
    /// The cgroup v2 directory of the kubelet, an absolute path: connections that are opened in it, such
    /// as probes, are not proxied inbound. No workload may be in it. Absent, on a node of a cluster, it is
    /// that of the process named kubelet.
    #[serde(default)]
    #[schemars(with = "String", regex(pattern = "^/"), skip_serializing_if = "Option::is_none")]
    pub(super) kubelet_cgroup: Option<Spanned<String>>,
    /// What becomes of requests that carry a trace.
    #[serde(default)]
    pub(super) tracing: Tracing,
    /// Enrols this node's pods by their annotations; absent, pods are left alone.
    #[serde(default)]
    #[schemars(with = "Kubernetes", skip_serializing_if = "Option::is_none")]
    pub(super) kubernetes: Option<Kubernetes>,
    /// What is enrolled besides.
    #[serde(default)]
    pub(super) workload: Vec<Workload>,
}

/// The cluster that this node is in.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Kubernetes {
    /// Which pods are enrolled.
    #[serde(default)]
    pub(super) enrol: EnrolMode,
    /// The name of this node; absent, the environment variable NODE_NAME says.
    #[serde(default)]
    #[schemars(with = "String", length(min = 1, max = 253), skip_serializing_if = "Option::is_none")]
    pub(super) node_name: Option<Spanned<String>>,
    /// The kubeconfig file that tells where the API server is, an absolute path; absent, the pod's service
    /// account does, or the environment variable KUBECONFIG.
    #[serde(default)]
    #[schemars(with = "String", regex(pattern = "^/"), skip_serializing_if = "Option::is_none")]
    pub(super) kubeconfig: Option<Spanned<String>>,
    /// What becomes of pods' new connections while no proxy is alive.
    #[serde(default)]
    pub(super) when_proxy_down: WhenProxyDown,
}

/// What becomes of requests that carry a trace.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Tracing {
    /// The OpenTelemetry collector that spans are sent to, by OTLP over HTTP: http://HOST:PORT; absent, none
    /// are sent.
    #[serde(default)]
    #[schemars(with = "String", regex(pattern = "^http://"), skip_serializing_if = "Option::is_none")]
    pub(super) otlp_endpoint: Option<Spanned<String>>,
}

/// One enrolled workload.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Workload {
    /// What people call it; no other workload has the name. No spaces or control characters.
    #[schemars(with = "String", length(min = 1, max = WorkloadName::MAX_LEN))]
    pub(super) name: Spanned<String>,
    /// Its cgroup v2 directory, an absolute path; no other workload has it.
    #[schemars(with = "String", regex(pattern = "^/"))]
    pub(super) cgroup: Spanned<String>,
    /// The file of its network namespace, such as /run/netns/NAME or /proc/PID/ns/net; absent, it
    /// is the agent's own.
    #[serde(default)]
    #[schemars(with = "String", regex(pattern = "^/"), skip_serializing_if = "Option::is_none")]
    pub(super) netns: Option<Spanned<String>>,
    /// Ports whose connections are counted and not inspected, in both directions; replaces the node's list.
    #[serde(default)]
    #[schemars(with = "PortSet")]
    pub(super) opaque_ports: Ports,
    /// Ports that connections to are never touched; replaces the node's list.
    #[serde(default)]
    #[schemars(with = "PortSet")]
    pub(super) skip_outbound_ports: Ports,
    /// Ports that accepted connections are never touched on; replaces the node's list.
    #[serde(default)]
    #[schemars(with = "PortSet")]
    pub(super) skip_inbound_ports: Ports,
    /// Peers that are never touched, in both directions; replaces the node's list.
    #[serde(default)]
    #[schemars(with = "String", skip_serializing_if = "Option::is_none")]
    pub(super) skip_subnets: Option<Spanned<String>>,
    /// What becomes of its new connections while no proxy is alive.
    #[serde(default)]
    pub(super) when_proxy_down: WhenProxyDown,
    /// Whether connections to loopback addresses are proxied too.
    #[serde(default)]
    pub(super) include_loopback: bool,
    /// Whether its sends travel to the proxy by sk_msg; absent, the node's setting holds.
    #[serde(default)]
    #[schemars(with = "SkMsgMode", skip_serializing_if = "Option::is_none")]
    pub(super) sk_msg: Option<SkMsgMode>,
    /// Whether its opaque connections with others of this node that want it too go past TCP; absent, the
    /// node's setting holds.
    #[serde(default)]
    #[schemars(with = "BypassMode", skip_serializing_if = "Option::is_none")]
    pub(super) same_node_bypass: Option<BypassMode>,
    /// Who carries the bytes of connections to opaque ports; absent, the node's setting holds.
    #[serde(default)]
    #[schemars(with = "OpaquePath", skip_serializing_if = "Option::is_none")]
    pub(super) opaque_path: Option<OpaquePath>,
    /// Whether destinations that no rule names are learned to be opaque; absent, the node's setting holds.
    #[serde(default)]
    #[schemars(with = "LearnOpaque", skip_serializing_if = "Option::is_none")]
    pub(super) learn_opaque: Option<LearnOpaque>,
    /// Whether connections that it accepts are proxied too; absent, the node's setting holds.
    #[serde(default)]
    #[schemars(with = "bool", skip_serializing_if = "Option::is_none")]
    pub(super) inbound: Option<bool>,
    /// Whose address it sees as that of a client; absent, the node's setting holds.
    #[serde(default)]
    #[schemars(with = "ClientAddress", skip_serializing_if = "Option::is_none")]
    pub(super) client_address: Option<ClientAddress>,
    /// Another proxy to bring its connections to, which asks for SO_ORIGINAL_DST.
    #[serde(default)]
    #[schemars(with = "ForeignProxy")]
    pub(super) foreign_proxy: Option<ForeignProxy>,
}

/// Another proxy, which listens on a loopback port of the workload's network namespace.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ForeignProxy {
    /// The cgroup v2 directory that it runs in, an absolute path and not the workload's; its own
    /// connections are left alone.
    #[schemars(with = "String", regex(pattern = "^/"))]
    pub(super) cgroup: Spanned<String>,
    /// The port that it listens on.
    #[schemars(with = "NonZeroU16")]
    pub(super) port: Spanned<i64>,
}
