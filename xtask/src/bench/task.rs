//! What is measured.

use std::net::{IpAddr, SocketAddr};

use clap::ValueEnum;

use super::measure::{Measure, Unit};

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

    pub(super) fn number(self, first: u16) -> u16 {
        first + self as u16
    }

    pub(super) fn at(self, ip: IpAddr, first: u16) -> SocketAddr {
        SocketAddr::new(ip, self.number(first))
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
    /// Messages back and forth on one connection, one at a time; how long each takes.
    Echo,
    /// The same on each connection; how many there are.
    Requests,
    /// Sends as fast as it can.
    Up,
    /// Receives as fast as it can.
    Down,
    /// Connects, has a byte sent back, closes.
    Connect,
    /// Opens connections and leaves them open.
    Hold,
    /// Says that it runs.
    Start,
    /// wrk: requests on connections that are kept alive, one at a time on each.
    Http1,
    /// h2load: requests in parallel on each connection.
    Http2,
}

/// Bytes of a message, where nothing else is said.
pub(super) const SMALL: usize = 64;

/// A task, on so many connections at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) task: Task,
    pub(super) count: usize,
    /// Bytes of a message.
    pub(super) size: usize,
}

impl Load {
    pub(super) const STREAMS: [Self; 11] = [
        Self::of(Task::Echo, 1),
        Self::echo(1 << 10),
        Self::echo(16 << 10),
        Self::echo(64 << 10),
        Self::of(Task::Requests, 8),
        Self::of(Task::Up, 1),
        Self::of(Task::Down, 1),
        Self::of(Task::Up, 8),
        Self::of(Task::Down, 8),
        Self::of(Task::Connect, 1),
        Self::of(Task::Connect, 8),
    ];
    pub(super) const HTTP: [Self; 2] = [Self::of(Task::Http1, 32), Self::of(Task::Http2, 8)];
    /// How long a way takes to be there.
    pub(super) const START: Self = Self::of(Task::Start, 1);

    const fn of(task: Task, count: usize) -> Self {
        Self { task, count, size: SMALL }
    }

    const fn echo(size: usize) -> Self {
        Self { task: Task::Echo, count: 1, size }
    }

    /// Idle connections, to see what they take.
    pub(super) const fn idle(count: usize) -> Self {
        Self::of(Task::Hold, count)
    }

    pub(super) fn is_small(self) -> bool {
        self.size == SMALL
    }

    pub(super) fn name(self) -> String {
        match self.task {
            Task::Echo if self.size < 1 << 10 => format!("echo {} B", self.size),
            Task::Echo => format!("echo {} KiB", self.size >> 10),
            Task::Requests => format!("messages, {} connections", self.count),
            Task::Up => format!("bulk {} up", self.count),
            Task::Down => format!("bulk {} down", self.count),
            Task::Connect => format!("connections, {} at once", self.count),
            Task::Hold => "idle".into(),
            Task::Start => "start".into(),
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
            Task::Requests => &[Measure::RequestsPerSecond],
            Task::Hold | Task::Start => &[],
            Task::Http1 | Task::Http2 => &[Measure::RequestsPerSecond, Measure::P50, Measure::P99],
        }
    }

    /// What time of processors is divided by.
    pub(super) fn unit(self) -> Unit {
        let (name, factor) = match self.task {
            Task::Up | Task::Down => ("s/GB", 1e9),
            Task::Echo | Task::Requests => ("µs/message", 1e6),
            Task::Connect | Task::Hold | Task::Start => ("µs/connection", 1e6),
            Task::Http1 | Task::Http2 => ("µs/request", 1e6),
        };
        Unit { name, factor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_have_one_name() {
        let loads = Load::STREAMS.into_iter().chain(Load::HTTP);
        let names: Vec<_> =
            loads.flat_map(|load| load.measures().iter().map(move |measure| measure.row(load))).collect();
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
    }
}
