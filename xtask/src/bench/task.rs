//! What is measured.

use std::net::{IpAddr, SocketAddr};

use clap::ValueEnum;

use super::measure::{Measure, ProxyUnit, Target};

/// A server's ports, counted from its first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Port {
    Echo = 0,
    Sink = 1,
    Source = 2,
    Http1 = 3,
    Http2 = 4,
}

/// What is spoken on a port: what a proxy that looks inside has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Http1,
    Http2,
}

impl Port {
    pub(super) const STREAMS: [Self; 3] = [Self::Echo, Self::Sink, Self::Source];
    pub(super) const HTTP: [Self; 2] = [Self::Http1, Self::Http2];
    pub(super) const ALL: [Self; 5] = [Self::Echo, Self::Sink, Self::Source, Self::Http1, Self::Http2];

    pub(super) fn at(self, ip: IpAddr, first: u16) -> SocketAddr {
        SocketAddr::new(ip, first + self as u16)
    }

    pub(super) fn protocol(self) -> Protocol {
        match self {
            Self::Echo | Self::Sink | Self::Source => Protocol::Tcp,
            Self::Http1 => Protocol::Http1,
            Self::Http2 => Protocol::Http2,
        }
    }
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Task {
    /// Messages back and forth, one at a time.
    Echo,
    /// Sends as fast as it can.
    Up,
    /// Receives as fast as it can.
    Down,
    /// Connects, has a byte sent back, closes.
    Connect,
    /// Opens connections and leaves them open.
    Hold,
    /// wrk: requests on connections that are kept alive, one at a time on each.
    Http1,
    /// h2load: requests in parallel on each connection.
    Http2,
}

/// A task, on so many connections at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) task: Task,
    pub(super) count: usize,
}

impl Load {
    pub(super) const STREAMS: [Self; 7] = [
        Self { task: Task::Echo, count: 1 },
        Self { task: Task::Up, count: 1 },
        Self { task: Task::Down, count: 1 },
        Self { task: Task::Up, count: 8 },
        Self { task: Task::Down, count: 8 },
        Self { task: Task::Connect, count: 1 },
        Self { task: Task::Connect, count: 8 },
    ];
    pub(super) const HTTP: [Self; 2] =
        [Self { task: Task::Http1, count: 32 }, Self { task: Task::Http2, count: 8 }];

    pub(super) fn name(self) -> String {
        match self.task {
            Task::Echo => "echo".into(),
            Task::Up => format!("bulk {} up", self.count),
            Task::Down => format!("bulk {} down", self.count),
            Task::Connect => format!("connections, {} at once", self.count),
            Task::Hold => "idle".into(),
            Task::Http1 => "http/1.1".into(),
            Task::Http2 => "http/2".into(),
        }
    }

    /// What a client says of it.
    pub(super) fn measures(self) -> &'static [Measure] {
        match self.task {
            Task::Echo => &[Measure::P50, Measure::P99],
            Task::Up | Task::Down => &[Measure::BytesPerSecond],
            Task::Connect => &[Measure::ConnectionsPerSecond],
            Task::Hold => &[],
            Task::Http1 | Task::Http2 => &[Measure::RequestsPerSecond, Measure::P50, Measure::P99],
        }
    }

    /// What the proxy's time is divided by.
    pub(super) fn proxy_unit(self) -> ProxyUnit {
        let (name, factor, target) = match self.task {
            Task::Up | Task::Down => ("s/GB", 1e9, None),
            Task::Echo => ("µs/message", 1e6, None),
            Task::Connect | Task::Hold => ("µs/connection", 1e6, None),
            Task::Http1 => ("µs/request", 1e6, Some(Target::AtMost(24.0))),
            Task::Http2 => ("µs/request", 1e6, Some(Target::AtMost(3.0))),
        };
        ProxyUnit { name, factor, target }
    }

    /// What the ratio of a proxy that forwards has to reach.
    pub(super) fn target(self, measure: Measure) -> Option<Target> {
        match (measure, self.task) {
            (Measure::P50, Task::Echo) => Some(Target::AtMost(2.4)),
            (Measure::P99, Task::Http1) => Some(Target::AtMost(1.9)),
            (Measure::P50 | Measure::P99, _) => None,
            (Measure::BytesPerSecond, _) => Some(Target::AtLeast(0.5)),
            (Measure::ConnectionsPerSecond, _) => Some(Target::AtLeast(0.35)),
            (Measure::RequestsPerSecond, Task::Http2) => Some(Target::AtLeast(0.7)),
            (Measure::RequestsPerSecond, _) => Some(Target::AtLeast(0.6)),
        }
    }
}
