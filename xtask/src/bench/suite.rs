//! What is measured together, and with what.

use std::net::IpAddr;

use super::http;
use super::netns::Topology;
use super::peer::{Peer, Route};
use super::relay::Means;
use super::task::{Load, Port};
use super::way::{Mode, Way};

/// The server's first port; the others follow.
pub(super) const SERVER_PORT: u16 = 7000;
/// The last that is the server's.
pub(super) const LAST_SERVER_PORT: u16 = SERVER_PORT + 9;
/// The first port of a proxy that clients connect to.
pub(super) const PROXY_PORT: u16 = 7100;

/// A set of loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suite {
    /// Messages, bulk, connections, idle connections.
    Streams,
    /// Requests: wrk over HTTP/1.1, h2load over HTTP/2.
    Http,
}

/// A suite on a topology: what is compared in it, side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) suite: Suite,
    pub(super) topology: Topology,
    /// Besides direct.
    pub(super) ways: Vec<Way>,
}

impl Part {
    /// For titles and names of files.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.suite.label(), self.topology.label())
    }
}

impl Suite {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::Http => "http",
        }
    }

    pub(super) fn loads(self) -> &'static [Load] {
        match self {
            Self::Streams => &Load::STREAMS,
            Self::Http => &Load::HTTP,
        }
    }

    fn ports(self) -> &'static [Port] {
        match self {
            Self::Streams => &Port::STREAMS,
            Self::Http => &Port::HTTP,
        }
    }

    /// What sluice does.
    pub(super) fn own(self) -> &'static [Way] {
        match self {
            Self::Streams => &[
                Way::Exec(Mode::Skip),
                Way::Exec(Mode::OpaqueKernel),
                Way::Exec(Mode::OpaqueProxy),
                Way::Exec(Mode::Detect),
                Way::Bypass,
            ],
            Self::Http => &[Way::Exec(Mode::OpaqueProxy), Way::Exec(Mode::Http1), Way::Exec(Mode::Http2)],
        }
    }

    /// What any hop costs, in the smallest programs that are one.
    pub(super) fn floors(self) -> &'static [Way] {
        match self {
            Self::Streams => &[Way::Relay(Means::Copy), Way::Relay(Means::Splice)],
            Self::Http => &[Way::Relay(Means::Copy)],
        }
    }

    /// What others do.
    pub(super) fn others(self) -> &'static [Way] {
        match self {
            Self::Streams => &[
                Way::Redirect,
                Way::Peer(Peer::Haproxy),
                Way::Peer(Peer::HaproxySplice),
                Way::Peer(Peer::Nginx),
                Way::Peer(Peer::Envoy),
            ],
            Self::Http => &[Way::Peer(Peer::Haproxy), Way::Peer(Peer::Nginx), Way::Peer(Peer::Envoy)],
        }
    }

    /// Every way that it knows, direct first.
    pub(super) fn ways(self) -> Vec<Way> {
        let parts = [&[Way::Direct], self.own(), self.floors(), self.others()];
        parts.into_iter().flatten().copied().collect()
    }

    /// Seconds of a sample, where nothing is asked for.
    pub(super) fn seconds(self) -> f64 {
        match self {
            Self::Streams => 0.4,
            Self::Http => 1.0,
        }
    }

    /// What was run, for the table's head.
    pub(super) fn setting(self) -> Vec<(&'static str, String)> {
        match self {
            Self::Streams => Vec::new(),
            Self::Http => {
                let [http1, http2] = Load::HTTP.map(|load| load.count);
                let streams = http::STREAMS;
                vec![
                    ("http/1.1", format!("wrk, one thread, {http1} connections; nginx, one process")),
                    (
                        "http/2",
                        format!("h2load, one thread, {http2} connections × {streams}; nghttpd, one worker"),
                    ),
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
