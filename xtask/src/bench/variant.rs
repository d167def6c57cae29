//! How each way from the client to the server is set up, for one sample.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;

use super::agent;
use super::cgroups::Cgroups;
use super::netns::Network;
use super::redirect::Redirected;
use super::relay::Means;
use super::suite::{LAST_SERVER_PORT, PROXY_PORT, SERVER_PORT, Suite};
use super::task::Load;
use super::this;
use super::way::{Mode, Way};
use super::worker::Worker;

/// A way, and the program that it is had with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Variant {
    pub(super) way: Way,
    /// sluice, or another proxy; `None` where this program is all it takes.
    pub(super) program: Option<PathBuf>,
    /// Tells several sluices apart.
    pub(super) build: &'static str,
}

/// Something between the client and the server, set up for one sample.
pub(super) struct Rig<'a> {
    pub(super) client: Worker,
    proxy: Option<Worker>,
    /// The process whose time and memory the way costs.
    pub(super) proxy_pid: Option<u32>,
    _redirected: Option<Redirected<'a>>,
}

/// Where things are and how long a sample is.
pub(super) struct Stage<'a> {
    pub(super) suite: Suite,
    pub(super) network: &'a Network,
    /// Where a way wants them.
    pub(super) cgroups: Option<&'a Cgroups>,
    pub(super) directory: &'a Path,
    pub(super) seconds: f64,
}

impl Stage<'_> {
    /// Where `sluice exec` reports to.
    pub(super) fn report(&self) -> PathBuf {
        self.directory.join("report.jsonl")
    }

    fn cgroups(&self) -> Result<&Cgroups> {
        self.cgroups.context("there are no cgroups")
    }
}

impl Variant {
    pub(super) fn name(&self) -> String {
        self.way.name() + self.build
    }

    pub(super) fn mode(&self) -> Option<Mode> {
        match self.way {
            Way::Exec(mode) => Some(mode),
            Way::Direct | Way::Bypass | Way::Relay(_) | Way::Redirect | Way::Peer(_) => None,
        }
    }

    /// Whether sluice counts the requests of this load.
    pub(super) fn counts(&self, load: Load) -> bool {
        self.mode().is_some_and(Mode::counts) && self.way.takes(load)
    }

    fn program(&self) -> Result<&Path> {
        self.program.as_deref().with_context(|| format!("no program for {}", self.name()))
    }

    /// Starts what stands between, then the client, which is warm when this returns.
    pub(super) fn set_up<'a>(&self, load: Load, stage: &Stage<'a>) -> Result<Rig<'a>> {
        self.try_set_up(load, stage).with_context(|| format!("{}: {}", self.name(), load.name()))
    }

    fn try_set_up<'a>(&self, load: Load, stage: &Stage<'a>) -> Result<Rig<'a>> {
        let netns = &stage.network.client;
        let log = |role: &str| stage.directory.join(format!("{} {role}.log", self.name()));
        let proxy = self.proxy(stage)?.map(|command| Worker::start(command, netns, &log("proxy")));
        let proxy = proxy.transpose()?;
        let redirected = (self.way == Way::Redirect).then(|| Redirected::new(netns)).transpose()?;
        let client = Worker::start(self.client(load, stage)?, netns, &log("client"))?;
        let of_exec = self.mode().is_some().then(|| client.child_pid());
        let proxy_pid = of_exec.or(proxy.as_ref().map(|proxy| proxy.pid));
        Ok(Rig { client, proxy, proxy_pid, _redirected: redirected })
    }

    /// What clients connect to by themselves, or are redirected to.
    fn proxy(&self, stage: &Stage<'_>) -> Result<Option<Command>> {
        let server_ip = stage.network.server_ip;
        match self.way {
            Way::Direct | Way::Exec(_) => Ok(None),
            Way::Relay(means) => relay(means, Some(SocketAddr::new(server_ip, SERVER_PORT))).map(Some),
            Way::Bypass => {
                agent::command(self.program()?, stage.network, stage.cgroups()?, stage.directory).map(Some)
            }
            Way::Redirect => relay(Means::Copy, None).map(Some),
            Way::Peer(peer) => {
                let routes = stage.suite.routes(Ipv4Addr::LOCALHOST.into(), server_ip);
                peer.command(self.program()?, &routes, stage.directory).map(Some)
            }
        }
    }

    fn client(&self, load: Load, stage: &Stage<'_>) -> Result<Command> {
        let client = this("bench-client")?;
        let mut command = match self.way {
            Way::Exec(mode) => {
                let mut exec = Command::new(self.program()?);
                // tokio's own variable; sluice has no setting for it.
                exec.arg("exec").env("TOKIO_WORKER_THREADS", "1");
                if self.counts(load) {
                    exec.arg("--report").arg(stage.report());
                }
                exec.args(mode.arguments(&format!("{SERVER_PORT}-{LAST_SERVER_PORT}")));
                exec.arg("--").arg(client.get_program()).args(client.get_args());
                exec
            }
            Way::Bypass => {
                let mut client = client;
                client.arg("--cgroup").arg(stage.cgroups()?.client());
                client
            }
            Way::Direct | Way::Relay(_) | Way::Redirect | Way::Peer(_) => client,
        };
        let (ip, port) = match self.way {
            Way::Direct | Way::Exec(_) | Way::Bypass | Way::Redirect => {
                (stage.network.server_ip.to_string(), SERVER_PORT)
            }
            Way::Relay(_) | Way::Peer(_) => ("127.0.0.1".into(), PROXY_PORT),
        };
        let task = load.task.to_possible_value().context("a task has no name")?;
        command.args(["--ip", &ip, "--port", &port.to_string(), "--task", task.get_name()]);
        command.args(["--count", &load.count.to_string(), "--size", &load.size.to_string()]);
        command.args(["--seconds", &stage.seconds.to_string()]);
        Ok(command)
    }
}

fn relay(means: Means, server: Option<SocketAddr>) -> Result<Command> {
    let mut command = this("bench-relay")?;
    let name = means.to_possible_value().context("a means has no name")?;
    command.args(["--means", name.get_name(), "--listen", &PROXY_PORT.to_string()]);
    if let Some(server) = server {
        command.args(["--server", &server.to_string()]);
    }
    Ok(command)
}

impl Rig<'_> {
    /// Every process of it.
    pub(super) fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.client.pid];
        pids.extend(self.proxy_pid);
        pids
    }

    /// How long the way took to be there: the proxy, or a command under sluice, or just that command.
    pub(super) fn ready_after(&self) -> Duration {
        self.proxy.as_ref().unwrap_or(&self.client).ready_after
    }

    /// Lets everything end, the client first.
    pub(super) fn finish(self, load: Load) -> Result<()> {
        // With thousands of connections open, what stands between takes its time to close them.
        self.client.finish().with_context(|| format!("after {}", load.name()))?;
        self.proxy.map_or(Ok(()), Worker::finish)
    }
}
