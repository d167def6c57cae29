//! A pod, the application in it, and clients at the other end of its wire.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use sluice_tests::agent::Agent;
use sluice_tests::cgroup::Cgroup;
use sluice_tests::netns::{Netns, Wire};
use sluice_tests::process::{Finished, Process, run};
use sluice_tests::scale::Scale;
use sluice_tests::suite::Env;
use sluice_tests::{peer, wait};

use crate::workload::{Way, Workload};

/// A workload at one end of a wire.
pub(super) struct Pod {
    pub(super) workload: Workload,
    /// What is at the other end.
    pub(super) node: Netns,
    v4: [IpAddr; 2],
    v6: [IpAddr; 2],
}

/// How long what happens at once may take.
pub(super) fn at_once() -> Duration {
    Scale::current().stretch(Duration::from_secs(1))
}

impl Pod {
    pub(super) fn new(name: &'static str) -> Self {
        let wire = Wire::new();
        let both =
            |address: &dyn Fn(u8) -> String| [1, 2].map(|host| address(host).parse().expect("an address"));
        let (v4, v6) = (both(&|host| wire.v4(host)), both(&|host| wire.v6(host)));
        let Wire { near, far, .. } = wire;
        Self { workload: Workload { name, cgroup: Cgroup::new(), netns: near }, node: far, v4, v6 }
    }

    /// Its part of the config, with more settings.
    pub(super) fn config(&self, more: &str) -> String {
        self.workload.config(more).replace("include-loopback = true\n", "")
    }

    /// An agent that serves it; none where the tests run without sluice.
    pub(super) fn agent(&self, env: &Env, more: &str) -> Option<Agent> {
        (!env.is_direct()).then(|| Agent::started(&self.config(more)))
    }

    /// Its IPv4 address and a port.
    pub(super) fn v4(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.v4[0], port)
    }

    /// Its IPv6 address and a port.
    pub(super) fn v6(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.v6[0], port)
    }

    /// The node's IPv4 address.
    pub(super) fn node_v4(&self) -> IpAddr {
        self.v4[1]
    }

    /// The node's IPv6 address.
    pub(super) fn node_v6(&self) -> IpAddr {
        self.v6[1]
    }

    /// An application in it, which listens nowhere yet.
    pub(super) fn app(&self) -> App {
        App::start(self.workload.peer::<&str>("serve", &[]))
    }

    /// A client on the node.
    pub(super) fn client<S: AsRef<str>>(&self, steps: &[S]) -> Command {
        let netns = self.node.path().to_str().expect("UTF-8").to_owned();
        let words = peer::command(&["--netns", &netns, "client"], steps);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }

    /// A client on the node, to its end; it must succeed.
    pub(super) fn run_client<S: AsRef<str>>(&self, steps: &[S]) -> String {
        let Finished { status, stdout, stderr } = run(self.client(steps));
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        assert!(status.success(), "{stdout}{stderr}");
        stdout
    }

    /// Which way a connection from the node goes, to an application that echoes.
    pub(super) fn way_to(&self, app: &mut App, name: &str, addr: SocketAddr) -> Way {
        way_from(&self.node, app, name, addr)
    }

    /// Waits until a connection from the node is refused; what comes of those before must not be an answer.
    pub(super) fn refuses_within(&self, limit: Duration, addr: SocketAddr) {
        wait::within(limit, &format!("{addr} to refuse"), || match echoed(&self.node, addr) {
            Err(error) if error == "connect ECONNREFUSED" => Some(()),
            Err(_) => None,
            Ok(client) => panic!("{client} was served at {addr}"),
        });
    }

    /// Sees that a connection from the node is refused, at once.
    pub(super) fn refuses(&self, addr: SocketAddr) {
        let before = Instant::now();
        assert_eq!(echoed(&self.node, addr), Err("connect ECONNREFUSED".to_owned()), "{addr}");
        assert!(before.elapsed() < at_once(), "took {:?}", before.elapsed());
    }
}

/// Which way a connection from a namespace goes, to an application that echoes.
pub(super) fn way_from(netns: &Netns, app: &mut App, name: &str, addr: SocketAddr) -> Way {
    match echoed(netns, addr) {
        Err(error) => Way::Failed(error),
        Ok(client) => loop {
            // One that failed before may have reached the application too.
            let accepted = app.accepted(name);
            if accepted.from == client || accepted.kernel == client {
                break if accepted.kernel == client { Way::Direct } else { Way::Proxied };
            }
        },
    }
}

/// Speaks to an application that echoes; the client's own address, or the call that failed and how.
pub(super) fn echoed(netns: &Netns, addr: SocketAddr) -> Result<SocketAddr, String> {
    let failed = |call: &str, error: &std::io::Error| {
        let errno = error
            .raw_os_error()
            .map_or_else(|| error.kind().to_string(), |code| format!("{:?}", Errno::from_raw(code)));
        format!("{call} {errno}")
    };
    netns.enter(|| {
        let limit = wait::patience();
        let mut stream =
            TcpStream::connect_timeout(&addr, limit).map_err(|error| failed("connect", &error))?;
        stream.set_read_timeout(Some(Scale::current().stretch(Duration::from_millis(500)))).expect("a limit");
        let local = stream.local_addr().expect("the client's address");
        let mut back = [0; 5];
        stream.write_all(b"hello").map_err(|error| failed("write", &error))?;
        stream.read_exact(&mut back).map_err(|error| failed("read", &error))?;
        assert_eq!(&back, b"hello");
        stream.shutdown(Shutdown::Write).map_err(|error| failed("shutdown", &error))?;
        let count = stream.read(&mut back).map_err(|error| failed("read", &error))?;
        assert_eq!(count, 0, "more than was sent came back");
        Ok(local)
    })
}

/// A process in a pod's cgroup that listens as it is told.
pub(crate) struct App {
    pub(crate) process: Process,
}

/// What the system says of a connection, to the application that has it. Mapped addresses are IPv4.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    /// accept(2).
    pub(crate) from: SocketAddr,
    /// getpeername(2).
    pub(crate) peer: SocketAddr,
    /// getsockname(2).
    pub(crate) local: SocketAddr,
    /// The kernel's table.
    pub(crate) kernel: SocketAddr,
    /// Whether accept(2) and getpeername(2) wrote IPv4 as IPv6 has it.
    pub(crate) is_mapped: bool,
}

impl Accepted {
    /// What `serve` tells of a connection, after the name.
    pub(crate) fn read(line: &str) -> Self {
        let words: Vec<SocketAddr> = line.split(' ').map(|word| word.parse().expect("an address")).collect();
        let [from, peer, local, kernel] = words[..] else { panic!("not four addresses: {line}") };
        let canonical = |addr: SocketAddr| SocketAddr::new(addr.ip().to_canonical(), addr.port());
        Self {
            from: canonical(from),
            peer: canonical(peer),
            local: canonical(local),
            kernel: canonical(kernel),
            is_mapped: canonical(from) != from && canonical(peer) != peer,
        }
    }
}

impl App {
    /// One that a command starts, [`crate::workload::peer_in`] `serve`.
    pub(crate) fn start(command: Command) -> Self {
        Self { process: Process::start(command) }
    }

    /// Listens: an address, a behaviour and options, as `serve` takes them.
    pub(crate) fn open(&mut self, name: &str, how: &str) {
        self.process.say(&format!("open {name} {how}"));
        self.process.line(&format!("opened {name}"));
    }

    /// [`App::open`], with echo.
    pub(crate) fn echo(&mut self, name: &str, addr: &str) {
        self.open(name, &format!("{addr} echo"));
    }

    /// Stops listening.
    pub(crate) fn close(&mut self, name: &str) {
        self.process.say(&format!("close {name}"));
        self.process.line(&format!("closed {name}"));
    }

    /// The next connection.
    pub(crate) fn accepted(&mut self, name: &str) -> Accepted {
        Accepted::read(&self.process.line(&format!("accepted {name}")))
    }

    /// The end of a connection: `BYTES CRC END FIRST`.
    pub(crate) fn ended(&mut self, name: &str) -> String {
        self.process.line(&format!("ended {name}"))
    }
}

/// What a client told: the rest of the first line that starts with this word.
pub(crate) fn told(stdout: &str, word: &str) -> String {
    let line = stdout.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no line '{word} …' in {stdout}")).to_owned()
}

/// Which way connections of a pod with an agent go.
pub(crate) fn served(env: &Env) -> Way {
    if env.is_direct() { Way::Direct } else { Way::Proxied }
}
