//! A workload of the test's own for `sluice run`: a cgroup, and a network namespace.

use std::path::PathBuf;
use std::process::Command;

use sluice_tests::cgroup::Cgroup;
use sluice_tests::netns::Netns;
use sluice_tests::peer;
use sluice_tests::process::{Process, run};
use sluice_tests::server::{Server, behaviour};

/// What is enrolled. Its servers listen on the loopback of its own namespace.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) cgroup: Cgroup,
    pub(crate) netns: Netns,
}

/// Which way a connection went, as its server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client's own socket.
    Direct,
    /// From another.
    Proxied,
    /// Not at all; the client's `error` line, without the time.
    Failed(String),
}

impl Workload {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, cgroup: Cgroup::new(), netns: Netns::new() }
    }

    /// Its part of the config, with more settings.
    pub(crate) fn config(&self, more: &str) -> String {
        format!(
            "[[workload]]\nname = \"{}\"\ncgroup = \"{}\"\nnetns = \"{}\"\ninclude-loopback = true\n{more}\n",
            self.name,
            self.cgroup.path().display(),
            self.netns.path().display(),
        )
    }

    /// An echo server in it, on a free port.
    pub(crate) fn server(&self) -> Server {
        self.server_at("127.0.0.1:0")
    }

    pub(crate) fn server_at(&self, addr: &str) -> Server {
        Server::bind_in(&self.netns, addr, behaviour::echo)
    }

    /// The peer program inside it.
    pub(crate) fn peer<S: AsRef<str>>(&self, mode: &str, rest: &[S]) -> Command {
        peer_in(self.cgroup.path().to_owned(), &self.netns, mode, rest)
    }

    /// A client in it that goes on.
    pub(crate) fn client<S: AsRef<str>>(&self, steps: &[S]) -> Process {
        Process::start(self.peer("client", steps))
    }

    /// A client in it with an open connection, on which it exchanges 100,000 bytes when it is told to go on.
    pub(crate) fn open_client(&self, server: &Server) -> Process {
        let steps = [
            format!("connect={}", server.addr()),
            "ping-pong=1".into(),
            "say=open".into(),
            "await".into(),
            "exchange=100000".into(),
        ];
        let mut client = self.client(&steps);
        client.line("open");
        client
    }

    /// [`Workload::way_to`] a server that nobody has connected to before.
    pub(crate) fn way_to_new_server(&self) -> Way {
        self.way_to(&self.server())
    }

    /// Opens one connection from it, and sees which way it goes.
    pub(crate) fn way_to(&self, server: &Server) -> Way {
        let steps = [format!("connect={}", server.addr()), "exchange=1000".to_owned()];
        let finished = run(self.peer("client", &steps));
        let stdout = String::from_utf8_lossy(&finished.stdout).into_owned();
        let line = |word: &str| stdout.lines().find_map(|line| line.strip_prefix(word)).map(str::to_owned);
        if let Some(error) = line("error ") {
            let words: Vec<&str> = error.split(' ').take(2).collect();
            return Way::Failed(words.join(" "));
        }
        assert!(finished.status.success(), "{stdout}{}", finished.stderr);
        assert_eq!(line("peer "), Some(server.addr().to_string()), "the client's peer");
        let local = line("local ").expect("the client's address");
        // It was answered, so it was accepted; connections that failed before may have been too.
        let seen = server.accepted_so_far();
        assert!(!seen.is_empty(), "nobody connected to {}", server.addr());
        if seen.iter().any(|seen| seen.to_string() == local) { Way::Direct } else { Way::Proxied }
    }
}

/// The peer program in a cgroup and a namespace.
pub(crate) fn peer_in<S: AsRef<str>>(cgroup: PathBuf, netns: &Netns, mode: &str, rest: &[S]) -> Command {
    let cgroup = cgroup.to_str().expect("UTF-8").to_owned();
    let netns = netns.path().to_str().expect("UTF-8").to_owned();
    let words = peer::command(&["--cgroup", &cgroup, "--netns", &netns, mode], rest);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}
