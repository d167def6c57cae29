//! What may be typed.

use std::{
    ffi::OsString,
    net::SocketAddr,
    num::{NonZeroU8, NonZeroU64},
    path::PathBuf,
};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use proxy_common::{Direction, LogLevel};

use super::{
    destination::Destination,
    inject::{InjectArgs, UninjectArgs},
};
use crate::{
    kernel::DEFAULT_PIN_DIR,
    policy::{EnrolMode, LearnOpaque, OpaquePath, OtlpEndpoint, PortSet, PortSetError, SkMsgMode},
    tap::HttpProtocol,
};

/// A transparent TCP proxy for Kubernetes nodes: no sidecars, no iptables.
///
/// Log messages go to stderr; SLUICE_LOG chooses them (error, warn, info, debug, or a filter as of
/// the tracing crates).
#[derive(Debug, Parser)]
#[command(name = "sluice", version, max_term_width = 100)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a command with its TCP connections going through the proxy, and say what was seen.
    Exec(ExecArgs),
    /// Run the node agent over the workloads of a config file.
    Run(RunArgs),
    /// Show or change the ports of a running agent, for new connections.
    Ports(PortsArgs),
    /// Show what a running agent has enrolled, and how it fares.
    Status(StatusArgs),
    /// Show the requests of a running agent as they finish.
    Tap(TapArgs),
    /// Say what would become of a connection, and why.
    Explain(ExplainArgs),
    /// Look whether this machine can run sluice, by trying.
    Check(CheckArgs),
    /// Annotate Kubernetes manifests so that sluice enrols their pods, for `kubectl apply -f -`.
    Inject(InjectArgs),
    /// Remove from Kubernetes manifests what inject has written.
    Uninject(UninjectArgs),
    /// Set how much the kernel programs of a running agent log.
    LogLevel(LogLevelArgs),
    /// Print the JSON schema of the config file.
    Schema,
}

impl Command {
    /// What is logged unless SLUICE_LOG says otherwise. The kernel programs have a level of their own.
    pub(super) const fn default_log_filter(&self) -> &'static str {
        match self {
            Self::Run(_) => "info,sluice_ebpf=trace",
            Self::Exec(_)
            | Self::Ports(_)
            | Self::Status(_)
            | Self::Tap(_)
            | Self::Explain(_)
            | Self::Check(_)
            | Self::Inject(_)
            | Self::Uninject(_)
            | Self::LogLevel(_)
            | Self::Schema => "warn,sluice_ebpf=trace",
        }
    }
}

/// `sluice exec`.
#[derive(Debug, ClapArgs)]
pub(super) struct ExecArgs {
    /// Ports whose connections are counted and not inspected, e.g. 3306,6000-6100 [default: the built-in list].
    #[arg(long, value_name = "PORTS")]
    pub(super) opaque_ports: Option<PortSet>,
    /// Ports to leave alone when the command connects to them.
    #[arg(long, value_name = "PORTS")]
    pub(super) skip_outbound_ports: Option<PortSet>,
    /// Write one JSON object for each finished connection to this file; - is standard output.
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,
    /// Serve /metrics, /ready and /live here while the command runs.
    #[arg(long, value_name = "ADDR")]
    pub(super) admin: Option<SocketAddr>,
    /// Send spans of requests that carry a sampled trace here, by OTLP over HTTP: http://HOST:PORT.
    #[arg(long, value_name = "URL")]
    pub(super) otlp_endpoint: Option<OtlpEndpoint>,
    /// Who carries the bytes of opaque connections: kernel (they go by themselves and are counted), proxy, or
    /// auto (the kernel, unless something needs the bytes).
    #[arg(long, value_name = "PATH", default_value_t)]
    pub(super) opaque_path: OpaquePath,
    /// Let the kernel carry connections to destinations that were opaque each time so far: on, off. What is
    /// not looked at is not in the report as what it is.
    #[arg(long, value_name = "CHOICE", default_value_t = LearnOpaque::Off)]
    pub(super) learn_opaque: LearnOpaque,
    /// Let the command's sends travel by sk_msg: auto (where the self-test passes), on, off.
    #[arg(long, value_name = "MODE", default_value_t)]
    pub(super) sk_msg: SkMsgMode,
    /// How many threads the connections have [default: one for each processor].
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<NonZeroU8>,
    /// How much the kernel programs log.
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t)]
    pub(super) kernel_log: KernelLogLevel,
    /// The command, and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// `sluice run`.
#[derive(Debug, ClapArgs)]
pub(super) struct RunArgs {
    /// The config file (TOML); read again when it changes, and on SIGHUP.
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
    /// Which pods are enrolled, whatever the config file says: annotated (those that linkerd.io/inject asks
    /// for), all (but those that it forbids).
    #[arg(long, value_name = "PODS")]
    pub(super) enrol: Option<EnrolMode>,
    /// How many threads connections have, whatever the config file says [default: one for each processor].
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<NonZeroU8>,
    #[command(flatten)]
    pub(super) pins: PinArgs,
    #[command(flatten)]
    pub(super) socket: SocketArgs,
    /// How much the kernel programs log; `sluice log-level` changes it later.
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t)]
    pub(super) kernel_log: KernelLogLevel,
}

/// `sluice ports`.
#[derive(Debug, ClapArgs)]
pub(super) struct PortsArgs {
    #[command(subcommand)]
    pub(super) action: PortsAction,
}

#[derive(Debug, Subcommand)]
pub(super) enum PortsAction {
    /// Show the rules that name ports, as the kernel has them.
    List {
        /// Only this workload.
        #[arg(long, value_name = "NAME")]
        workload: Option<String>,
        #[command(flatten)]
        pins: PinArgs,
    },
    /// Show the destinations that are learned to be opaque, and for how long.
    Learned {
        /// Only of this workload.
        #[arg(long, value_name = "NAME")]
        workload: Option<String>,
        /// The text for people, or JSON for programs.
        #[arg(long, value_enum, default_value_t)]
        output: OutputFormat,
        #[command(flatten)]
        pins: PinArgs,
    },
    /// Look again at connections to destinations that are learned to be opaque.
    Forget(ForgetArgs),
    /// Leave connections to these ports alone.
    Skip(PortsChange),
    /// Forward these ports without inspecting.
    Opaque(PortsChange),
    /// Forward and inspect these ports.
    Detect(PortsChange),
}

#[derive(Debug, ClapArgs)]
pub(super) struct ForgetArgs {
    /// The destination, an address and a port; IPv6 in brackets.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(super) destination: Option<SocketAddr>,
    /// Every destination.
    #[arg(long)]
    pub(super) all: bool,
    /// Only of this workload [default: all].
    #[arg(long, value_name = "NAME")]
    pub(super) workload: Option<String>,
    #[command(flatten)]
    pub(super) pins: PinArgs,
}

#[derive(Debug, ClapArgs)]
pub(super) struct PortsChange {
    /// Ports and ranges, e.g. 80,8000-8100.
    #[arg(value_parser = some_ports)]
    pub(super) ports: PortSet,
    /// Only this workload [default: all].
    #[arg(long, value_name = "NAME")]
    pub(super) workload: Option<String>,
    /// Only this direction [default: both].
    #[arg(long, value_enum)]
    pub(super) direction: Option<DirectionArg>,
    #[command(flatten)]
    pub(super) pins: PinArgs,
}

/// `sluice status`.
#[derive(Debug, ClapArgs)]
pub(super) struct StatusArgs {
    /// Show the pods of the node, what holds for them and where it is written, and what is wrong.
    #[arg(long)]
    pub(super) pods: bool,
    /// With --pods: the text for people, or JSON for programs.
    #[arg(long, value_enum, default_value_t, requires = "pods")]
    pub(super) output: OutputFormat,
    #[command(flatten)]
    pub(super) pins: PinArgs,
    #[command(flatten)]
    pub(super) socket: SocketArgs,
}

/// `sluice tap`.
#[derive(Debug, ClapArgs)]
pub(super) struct TapArgs {
    /// Only this workload.
    #[arg(long, value_name = "NAME")]
    pub(super) workload: Option<String>,
    /// Only requests in this protocol.
    #[arg(long, value_enum)]
    pub(super) protocol: Option<ProtocolArg>,
    /// Only requests to this port.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: Option<u16>,
    /// A line for people, or an object of JSON, for each request.
    #[arg(long, value_enum, default_value_t)]
    pub(super) output: OutputFormat,
    /// End after so many requests.
    #[arg(long, value_name = "N")]
    pub(super) count: Option<NonZeroU64>,
    #[command(flatten)]
    pub(super) pins: PinArgs,
    #[command(flatten)]
    pub(super) socket: SocketArgs,
}

/// Where the agent is asked for what is not in its maps.
#[derive(Debug, ClapArgs)]
pub(super) struct SocketArgs {
    /// The agent's unix socket, for requests and pods [default: /run/sluice/NAME.sock, NAME being that of the pin directory].
    #[arg(long, value_name = "PATH")]
    pub(super) control_socket: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum ProtocolArg {
    #[value(name = "http/1")]
    Http1,
    #[value(name = "http/2")]
    Http2,
    Grpc,
}

impl From<ProtocolArg> for HttpProtocol {
    fn from(protocol: ProtocolArg) -> Self {
        match protocol {
            ProtocolArg::Http1 => Self::Http1,
            ProtocolArg::Http2 => Self::Http2,
            ProtocolArg::Grpc => Self::Grpc,
        }
    }
}

/// `sluice explain`.
#[derive(Debug, ClapArgs)]
pub(super) struct ExplainArgs {
    /// Where the connection would go: an address and a port, IPv6 in brackets; or a Service or a pod of this
    /// node, NAMESPACE/NAME:PORT, where a Service's port may have a name.
    #[arg(value_name = "DESTINATION", required_unless_present = "inbound")]
    pub(super) destination: Option<Destination>,
    /// Instead of one that goes out, one that comes in to this port.
    #[arg(
        long,
        value_name = "PORT",
        value_parser = clap::value_parser!(u16).range(1..),
        conflicts_with = "destination"
    )]
    pub(super) inbound: Option<u16>,
    /// The workload that would connect, or accept [default: each].
    #[arg(long, value_name = "NAME")]
    pub(super) workload: Option<String>,
    #[command(flatten)]
    pub(super) pins: PinArgs,
    #[command(flatten)]
    pub(super) socket: SocketArgs,
}

/// `sluice check`.
#[derive(Debug, ClapArgs)]
pub(super) struct CheckArgs {
    /// The text for people, or JSON for programs.
    #[arg(long, value_enum, default_value_t)]
    pub(super) output: OutputFormat,
    /// Ask the cluster too: whether its API server answers and lets an agent do what it has to, and, where
    /// an agent runs, what is wrong with pods and annotations.
    #[arg(long)]
    pub(super) cluster: bool,
    /// The kubeconfig that tells where the API server is [default: the pod's service account, or KUBECONFIG].
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// This node's name in the API [default: NODE_NAME, or what a running agent says].
    #[arg(long, value_name = "NAME", requires = "cluster")]
    pub(super) node_name: Option<String>,
    #[command(flatten)]
    pub(super) pins: PinArgs,
    #[command(flatten)]
    pub(super) socket: SocketArgs,
}

/// `sluice log-level`.
#[derive(Debug, ClapArgs)]
pub(super) struct LogLevelArgs {
    /// How much.
    #[arg(value_enum)]
    pub(super) level: KernelLogLevel,
    #[command(flatten)]
    pub(super) pins: PinArgs,
}

/// A list that names a port: without one there is nothing to change.
fn some_ports(text: &str) -> Result<PortSet, String> {
    let ports: PortSet = text.parse().map_err(|error: PortSetError| error.to_string())?;
    if ports.is_empty() {
        return Err(format!("expected a port (1-65535) or a range (8000-8100), got '{text}'"));
    }
    Ok(ports)
}

/// Where the agent's maps are pinned.
#[derive(Debug, ClapArgs)]
pub(super) struct PinArgs {
    /// Directory of the agent's pinned maps, on bpffs.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PIN_DIR)]
    pub(super) pin_dir: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum DirectionArg {
    Outbound,
    Inbound,
}

impl From<DirectionArg> for Direction {
    fn from(direction: DirectionArg) -> Self {
        match direction {
            DirectionArg::Outbound => Self::Outbound,
            DirectionArg::Inbound => Self::Inbound,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum KernelLogLevel {
    #[default]
    Off,
    /// What went wrong.
    Warn,
    /// Every decision.
    Debug,
}

impl From<KernelLogLevel> for LogLevel {
    fn from(level: KernelLogLevel) -> Self {
        match level {
            KernelLogLevel::Off => Self::Off,
            KernelLogLevel::Warn => Self::Warn,
            KernelLogLevel::Debug => Self::Debug,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum OutputFormat {
    #[default]
    Text,
    Json,
}
