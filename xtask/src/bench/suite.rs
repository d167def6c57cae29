//! What is measured together, and with what.

use std::net::IpAddr;

use clap::ValueEnum;

use super::http;
use super::netns::Topology;
use super::peer::{Peer, Route};
use super::task::{Load, Port};
use super::variant::{Mode, Way};
use crate::setup::Purpose;

/// The server's first port; the others follow.
pub(super) const SERVER_PORT: u16 = 7000;
/// The first port of a proxy that clients connect to.
pub(super) const PROXY_PORT: u16 = 7100;

/// A set of loads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Messages, bulk, connections, idle connections.
    #[default]
    Streams,
    /// Requests: wrk over HTTP/1.1, h2load over HTTP/2.
    Http,
    /// Pods: how long an agent takes for many, and what it needs.
    Pods,
}

impl Suite {
    pub(super) fn loads(self) -> &'static [Load] {
        match self {
            Self::Streams => &Load::STREAMS,
            Self::Http => &Load::HTTP,
            Self::Pods => &[],
        }
    }

    pub(super) fn ports(self) -> &'static [Port] {
        match self {
            Self::Streams => &Port::STREAMS,
            Self::Http => &Port::HTTP,
            Self::Pods => &[],
        }
    }

    /// What sluice does, if nothing else is asked for.
    pub(super) fn modes(self) -> &'static [Mode] {
        match self {
            Self::Streams => &[Mode::Skip, Mode::Opaque, Mode::Detect],
            Self::Http => &[Mode::Detect],
            Self::Pods => &[],
        }
    }

    /// What sluice may be compared with, besides direct.
    pub(super) fn peers(self) -> &'static [Way] {
        match self {
            Self::Streams => &[Way::RelayCopy, Way::Peer(Peer::Haproxy), Way::Peer(Peer::HaproxySplice)],
            Self::Http => {
                &[Way::RelayCopy, Way::Peer(Peer::Haproxy), Way::Peer(Peer::Nginx), Way::Peer(Peer::Envoy)]
            }
            Self::Pods => &[],
        }
    }

    /// Whether the comparison is what the suite is for.
    pub(super) fn always_has_peers(self) -> bool {
        self == Self::Http
    }

    pub(super) fn topology(self) -> Topology {
        match self {
            Self::Streams => Topology::Loopback,
            Self::Http | Self::Pods => Topology::Veth,
        }
    }

    pub(super) fn rounds(self) -> u32 {
        match self {
            Self::Streams => 7,
            Self::Http => 5,
            Self::Pods => 1,
        }
    }

    /// What the machine has to have for it.
    pub(super) fn purpose(self) -> Purpose {
        match self {
            Self::Streams | Self::Pods => Purpose::Build,
            Self::Http => Purpose::Bench,
        }
    }

    /// Worker threads of sluice; `None`: its own choice.
    pub(super) fn proxy_threads(self) -> Option<usize> {
        match self {
            Self::Streams | Self::Pods => None,
            Self::Http => Some(1),
        }
    }

    /// What was run, for the table's head.
    pub(super) fn setting(self) -> Vec<(&'static str, String)> {
        match self {
            Self::Streams | Self::Pods => Vec::new(),
            Self::Http => {
                let [http1, http2] = Load::HTTP.map(|load| load.count);
                let streams = http::STREAMS;
                vec![
                    ("http/1.1", format!("wrk, one thread, {http1} connections; nginx, one process")),
                    (
                        "http/2",
                        format!("h2load, one thread, {http2} connections × {streams}; nghttpd, one worker"),
                    ),
                    ("threads of each proxy", "1".into()),
                    ("http/2 of the proxies", "to the server as well; nginx: HTTP/1.1 to the server".into()),
                ]
            }
        }
    }

    /// Where each of the server's ports is, and a proxy's for it.
    pub(super) fn routes(self, proxy: IpAddr, server: IpAddr) -> Vec<Route> {
        let route = |port: &Port| Route {
            protocol: port.protocol(),
            listen: port.at(proxy, PROXY_PORT),
            server: port.at(server, SERVER_PORT),
        };
        self.ports().iter().map(route).collect()
    }
}
