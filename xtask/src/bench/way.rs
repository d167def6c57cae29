//! What can stand between the client and the server, by name: the set-ups of the benchmark.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use super::peer::Peer;
use super::relay::Means;
use super::task::{Load, Task};

/// What `sluice exec` does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Left alone, by `--skip-outbound-ports`.
    Skip,
    /// Opaque, on the application's own connection, which the kernel accounts for.
    OpaqueKernel,
    /// Opaque, forwarded by the proxy.
    OpaqueProxy,
    /// Forwarded and inspected, where nothing is found.
    Detect,
    /// Forwarded and inspected, where HTTP/1.1 is found.
    Http1,
    /// Forwarded and inspected, where HTTP/2 is found.
    Http2,
}

impl Mode {
    /// What tells `sluice exec` so, for these ports of the server.
    pub(super) fn arguments(self, ports: &str) -> Vec<&str> {
        match self {
            Self::Skip => vec!["--skip-outbound-ports", ports],
            Self::OpaqueKernel => vec!["--opaque-ports", ports, "--opaque-path", "kernel"],
            Self::OpaqueProxy => vec!["--opaque-ports", ports, "--opaque-path", "proxy"],
            Self::Detect | Self::Http1 | Self::Http2 => Vec::new(),
        }
    }

    /// Whether sluice counts requests.
    pub(super) fn counts(self) -> bool {
        matches!(self, Self::Http1 | Self::Http2)
    }
}

/// A set-up, as it is named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nothing.
    Direct,
    /// `sluice exec`.
    Exec(Mode),
    /// `sluice run`, with client and server as workloads that want the same-node bypass.
    Bypass,
    /// A bare relay that the client connects to: the floor.
    Relay(Means),
    /// The same, which iptables brings the client's connections to.
    Redirect,
    /// Another proxy that the client connects to.
    Peer(Peer),
}

impl Way {
    const ALL: [Self; 15] = [
        Self::Direct,
        Self::Exec(Mode::Skip),
        Self::Exec(Mode::OpaqueKernel),
        Self::Exec(Mode::OpaqueProxy),
        Self::Exec(Mode::Detect),
        Self::Exec(Mode::Http1),
        Self::Exec(Mode::Http2),
        Self::Bypass,
        Self::Relay(Means::Copy),
        Self::Relay(Means::Splice),
        Self::Redirect,
        Self::Peer(Peer::Haproxy),
        Self::Peer(Peer::HaproxySplice),
        Self::Peer(Peer::Nginx),
        Self::Peer(Peer::Envoy),
    ];

    pub(super) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
    }

    /// Whether it is sluice's.
    pub(super) fn is_own(self) -> bool {
        matches!(self, Self::Exec(_) | Self::Bypass)
    }

    /// Whether it needs a program that is neither sluice nor this one.
    pub(super) fn is_foreign(self) -> bool {
        matches!(self, Self::Redirect | Self::Peer(_))
    }

    /// Whether it can carry this load, and is worth its time there.
    pub(super) fn takes(self, load: Load) -> bool {
        match (self, load.task) {
            (Self::Exec(Mode::Http1), task) => task == Task::Http1,
            (Self::Exec(Mode::Http2), task) => task == Task::Http2,
            // How messages of other sizes fare is asked of sluice's own ways, and of the floors.
            (Self::Redirect | Self::Peer(_), Task::Echo) => load.is_small(),
            _ => true,
        }
    }
}

impl ValueEnum for Way {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::Direct => Some(PossibleValue::new("direct").help("Nothing between; is always measured")),
            Self::Exec(mode) => mode.to_possible_value(),
            Self::Bypass => {
                Some(PossibleValue::new("bypass").help("The same-node bypass between two workloads, forced"))
            }
            Self::Relay(means) => means.to_possible_value(),
            Self::Redirect => {
                Some(PossibleValue::new("redirect").help("iptables REDIRECT to a bare relay, which copies"))
            }
            Self::Peer(peer) => peer.to_possible_value(),
        }
    }
}
