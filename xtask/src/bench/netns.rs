//! Network namespaces without names: they go when the last process in them has gone.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command};
use std::thread;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use nix::sched::{CloneFlags, setns, unshare};

use crate::command;

/// A network namespace.
pub(super) struct Netns {
    file: File,
}

impl Netns {
    /// One with nothing but loopback, and with as many ports as can be for clients.
    fn new() -> Result<Self> {
        let file = on_a_thread(|| -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        })?;
        let netns = Self { file };
        netns.ip("link set lo up")?;
        // The same everywhere: what a new namespace has by itself is the machine's choice.
        for (name, value) in [
            ("ip_local_port_range", "10000 65000"),
            ("tcp_tw_reuse", "1"),
            ("tcp_congestion_control", "reno"),
        ] {
            netns.enter(|| std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value))??;
        }
        Ok(netns)
    }

    fn enter<T: Send>(&self, run: impl FnOnce() -> T + Send) -> Result<T> {
        on_a_thread(|| {
            setns(&self.file, CloneFlags::CLONE_NEWNET).context("cannot enter a network namespace")?;
            Ok(run())
        })
    }

    /// A path that leads to it, for as long as this process lives.
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    fn ip(&self, arguments: &str) -> Result<()> {
        self.run("ip", arguments)
    }

    /// Runs a program in it, to its end.
    pub(super) fn run(&self, program: &str, arguments: &str) -> Result<()> {
        self.enter(|| command::run(Command::new(program).args(arguments.split(' '))))?
    }

    /// Starts a process in it.
    pub(super) fn spawn(&self, command: &mut Command) -> Result<Child> {
        let shown = command::show(command);
        self.enter(|| command.spawn())?.with_context(|| format!("cannot run `{shown}`"))
    }

    /// What TCP does against congestion here.
    pub(super) fn congestion_control(&self) -> Result<String> {
        let read = self.enter(|| std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control"))?;
        Ok(read?.trim().to_owned())
    }
}

/// Runs something on a thread that ends with it: namespaces belong to threads.
fn on_a_thread<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

/// How client and server reach one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Topology {
    /// Both in one network namespace, over its loopback.
    Loopback,
    /// Each in a network namespace of its own, with a veth pair between them.
    Veth,
}

impl Topology {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Veth => "veth",
        }
    }
}

/// The namespaces of one run.
pub(super) struct Network {
    pub(super) client: Netns,
    /// `None`: the client's.
    server: Option<Netns>,
    pub(super) server_ip: IpAddr,
}

impl Network {
    pub(super) fn new(topology: Topology) -> Result<Self> {
        let client = Netns::new()?;
        if topology == Topology::Loopback {
            return Ok(Self { client, server: None, server_ip: Ipv4Addr::LOCALHOST.into() });
        }
        let server = Netns::new()?;
        client.ip(&format!("link add veth0 type veth peer name veth0 netns {}", server.path()))?;
        for (netns, address) in [(&client, "198.18.0.1/30"), (&server, "198.18.0.2/30")] {
            netns.ip(&format!("addr add {address} dev veth0"))?;
            netns.ip("link set veth0 up")?;
        }
        Ok(Self { client, server: Some(server), server_ip: Ipv4Addr::new(198, 18, 0, 2).into() })
    }

    pub(super) fn server(&self) -> &Netns {
        self.server.as_ref().unwrap_or(&self.client)
    }
}
