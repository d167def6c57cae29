//! The ways from the client to the server that are compared, and how each is set up.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::netns::Network;
use super::task::{Load, Task};
use super::worker::Worker;

/// The server's first port; the others follow.
pub(super) const SERVER_PORT: u16 = 7000;
/// The first port of a proxy that clients connect to.
const PROXY_PORT: u16 = 7100;

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
    Haproxy {
        program: PathBuf,
        splice: bool,
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
    pub(super) network: &'a Network,
    pub(super) directory: &'a Path,
    pub(super) seconds: f64,
}

impl Variant {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Direct => "direct".into(),
            Self::Exec { mode, build, .. } => {
                let mode = mode.to_possible_value().map_or_else(String::new, |value| value.get_name().into());
                format!("{mode}{build}")
            }
            Self::RelayCopy => "relay-copy".into(),
            Self::Haproxy { splice: false, .. } => "haproxy".into(),
            Self::Haproxy { splice: true, .. } => "haproxy splice".into(),
        }
    }

    pub(super) fn mode(&self) -> Option<Mode> {
        match self {
            Self::Exec { mode, .. } => Some(*mode),
            Self::Direct | Self::RelayCopy | Self::Haproxy { .. } => None,
        }
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
        let mut command = match self {
            Self::Direct | Self::Exec { .. } => return Ok(None),
            Self::RelayCopy => this("bench-relay")?,
            Self::Haproxy { program, splice } => {
                let mut command = this("bench-haproxy")?;
                command.arg("--program").arg(program);
                command.arg("--config").arg(stage.directory.join("haproxy.cfg"));
                command.args(splice.then_some("--splice"));
                command
            }
        };
        command.args(["--listen", &PROXY_PORT.to_string()]);
        command.args(["--ip", &stage.network.server_ip.to_string(), "--port", &SERVER_PORT.to_string()]);
        Ok(Some(command))
    }

    fn client(&self, load: Load, stage: &Stage<'_>) -> Result<Command> {
        let client = this("bench-client")?;
        let mut command = match self {
            Self::Exec { mode, sluice, .. } => {
                let mut exec = Command::new(sluice);
                let ports = format!("{SERVER_PORT}-{}", SERVER_PORT + 9);
                exec.arg("exec");
                match mode {
                    Mode::Skip => exec.args(["--skip-outbound-ports", &ports]),
                    Mode::Opaque => exec.args(["--opaque-ports", &ports]),
                    Mode::Detect => &mut exec,
                };
                exec.arg("--").arg(client.get_program()).args(client.get_args());
                exec
            }
            Self::Direct | Self::RelayCopy | Self::Haproxy { .. } => client,
        };
        let (ip, port) = match self {
            Self::Direct | Self::Exec { .. } => (stage.network.server_ip.to_string(), SERVER_PORT),
            Self::RelayCopy | Self::Haproxy { .. } => ("127.0.0.1".into(), PROXY_PORT),
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

/// The server, ready.
pub(super) fn server(network: &Network, directory: &Path) -> Result<Worker> {
    let mut command = this("bench-server")?;
    command.args(["--ip", &network.server_ip.to_string(), "--port", &SERVER_PORT.to_string()]);
    Worker::start(command, network.server(), &directory.join("server.log"))
}

/// This program, in another part.
fn this(part: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.arg(part);
    Ok(command)
}

/// Idle connections, to see what they take.
pub(super) const fn idle(count: usize) -> Load {
    Load { task: Task::Hold, count }
}
