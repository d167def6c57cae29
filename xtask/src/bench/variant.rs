//! The ways from the client to the server that are compared, and how each is set up.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::netns::Network;
use super::peer::Peer;
use super::suite::{PROXY_PORT, SERVER_PORT, Suite};
use super::task::{Load, Task};
use super::this;
use super::worker::Worker;

/// What sluice does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Left alone.
    Skip,
    /// Forwarded.
    Opaque,
    /// Forwarded and inspected.
    Detect,
}

/// What can stand between the client and the server, as it is named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Exec(Mode),
    RelayCopy,
    Peer(Peer),
}

/// A way from the client to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    Direct,
    /// Under `sluice exec`; `build` tells several sluices apart.
    Exec {
        mode: Mode,
        sluice: PathBuf,
        build: &'static str,
    },
    /// The floor.
    RelayCopy,
    Peer {
        peer: Peer,
        program: PathBuf,
    },
}

/// Something between the client and the server, set up for one sample.
pub(super) struct Rig {
    pub(super) client: Worker,
    proxy: Option<Worker>,
    /// The process whose time and memory the way costs.
    pub(super) proxy_pid: Option<u32>,
}

/// Where things are and how long a sample is.
pub(super) struct Stage<'a> {
    pub(super) suite: Suite,
    pub(super) network: &'a Network,
    pub(super) directory: &'a Path,
    pub(super) seconds: f64,
}

impl Stage<'_> {
    /// Where `sluice exec` reports to.
    pub(super) fn report(&self) -> PathBuf {
        self.directory.join("report.jsonl")
    }
}

impl ValueEnum for Way {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Exec(Mode::Skip),
            Self::Exec(Mode::Opaque),
            Self::Exec(Mode::Detect),
            Self::RelayCopy,
            Self::Peer(Peer::Haproxy),
            Self::Peer(Peer::HaproxySplice),
            Self::Peer(Peer::Nginx),
            Self::Peer(Peer::Envoy),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Exec(mode) => mode.to_possible_value(),
            Self::RelayCopy => Some(PossibleValue::new("relay-copy").help("A bare relay: the floor")),
            Self::Peer(peer) => peer.to_possible_value(),
        }
    }
}

impl Way {
    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
    }
}

impl Variant {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Direct => "direct".into(),
            Self::Exec { mode, build, .. } => format!("{}{build}", Way::Exec(*mode).name()),
            Self::RelayCopy => Way::RelayCopy.name(),
            Self::Peer { peer, .. } => Way::Peer(*peer).name(),
        }
    }

    pub(super) fn mode(&self) -> Option<Mode> {
        match self {
            Self::Exec { mode, .. } => Some(*mode),
            Self::Direct | Self::RelayCopy | Self::Peer { .. } => None,
        }
    }

    /// Whether sluice counts the requests of this load.
    pub(super) fn counts(&self, load: Load) -> bool {
        self.mode() == Some(Mode::Detect) && matches!(load.task, Task::Http1 | Task::Http2)
    }

    /// Starts what stands between, then the client, which is warm when this returns.
    pub(super) fn set_up(&self, load: Load, stage: &Stage<'_>) -> Result<Rig> {
        self.try_set_up(load, stage).with_context(|| format!("{}: {}", self.name(), load.name()))
    }

    fn try_set_up(&self, load: Load, stage: &Stage<'_>) -> Result<Rig> {
        let netns = &stage.network.client;
        let log = |role: &str| stage.directory.join(format!("{} {role}.log", self.name()));
        let proxy = self.proxy(stage)?.map(|command| Worker::start(command, netns, &log("proxy")));
        let proxy = proxy.transpose()?;
        let client = Worker::start(self.client(load, stage)?, netns, &log("client"))?;
        let of_exec = matches!(self, Self::Exec { .. }).then(|| client.child_pid());
        let proxy_pid = of_exec.or(proxy.as_ref().map(|proxy| proxy.pid));
        Ok(Rig { client, proxy, proxy_pid })
    }

    /// What clients connect to by themselves.
    fn proxy(&self, stage: &Stage<'_>) -> Result<Option<Command>> {
        let server_ip = stage.network.server_ip;
        match self {
            Self::Direct | Self::Exec { .. } => Ok(None),
            Self::RelayCopy => {
                let mut command = this("bench-relay")?;
                command.args(["--listen", &PROXY_PORT.to_string()]);
                command.args(["--ip", &server_ip.to_string(), "--port", &SERVER_PORT.to_string()]);
                Ok(Some(command))
            }
            Self::Peer { peer, program } => {
                let routes = stage.suite.routes(Ipv4Addr::LOCALHOST.into(), server_ip);
                peer.command(program, &routes, stage.directory).map(Some)
            }
        }
    }

    fn client(&self, load: Load, stage: &Stage<'_>) -> Result<Command> {
        let client = this("bench-client")?;
        let mut command = match self {
            Self::Exec { mode, sluice, .. } => {
                let mut exec = Command::new(sluice);
                let ports = format!("{SERVER_PORT}-{}", SERVER_PORT + 9);
                exec.arg("exec");
                if let Some(threads) = stage.suite.proxy_threads() {
                    // tokio's own variable; sluice has no setting for it.
                    exec.env("TOKIO_WORKER_THREADS", threads.to_string());
                }
                if self.counts(load) {
                    exec.arg("--report").arg(stage.report());
                }
                match mode {
                    Mode::Skip => exec.args(["--skip-outbound-ports", &ports]),
                    Mode::Opaque => exec.args(["--opaque-ports", &ports]),
                    Mode::Detect => &mut exec,
                };
                exec.arg("--").arg(client.get_program()).args(client.get_args());
                exec
            }
            Self::Direct | Self::RelayCopy | Self::Peer { .. } => client,
        };
        let (ip, port) = match self {
            Self::Direct | Self::Exec { .. } => (stage.network.server_ip.to_string(), SERVER_PORT),
            Self::RelayCopy | Self::Peer { .. } => ("127.0.0.1".into(), PROXY_PORT),
        };
        let task = load.task.to_possible_value().context("a task has no name")?;
        command.args(["--ip", &ip, "--port", &port.to_string(), "--task", task.get_name()]);
        command.args(["--count", &load.count.to_string(), "--seconds", &stage.seconds.to_string()]);
        Ok(command)
    }
}

impl Rig {
    /// Every process of it.
    pub(super) fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.client.pid];
        pids.extend(self.proxy_pid);
        pids
    }

    /// Lets everything end, the client first.
    pub(super) fn finish(self, load: Load) -> Result<()> {
        // With thousands of connections open, what stands between takes its time to close them.
        self.client.finish().with_context(|| format!("after {}", load.name()))?;
        self.proxy.map_or(Ok(()), Worker::finish)
    }
}

/// Idle connections, to see what they take.
pub(super) const fn idle(count: usize) -> Load {
    Load { task: Task::Hold, count }
}
