//! What is measured.

use clap::ValueEnum;

use super::measure::{Measure, ProxyUnit};

/// A server's ports, counted from its first.
#[derive(Clone, Copy, Debug)]
pub(super) enum Port {
    Echo = 0,
    Sink = 1,
    Source = 2,
}

impl Port {
    pub(super) const ALL: [Self; 3] = [Self::Echo, Self::Sink, Self::Source];
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
}

/// A task, on so many connections at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) task: Task,
    pub(super) count: usize,
}

impl Load {
    /// Those that are measured as ratios.
    pub(super) const ALL: [Self; 7] = [
        Self { task: Task::Echo, count: 1 },
        Self { task: Task::Up, count: 1 },
        Self { task: Task::Down, count: 1 },
        Self { task: Task::Up, count: 8 },
        Self { task: Task::Down, count: 8 },
        Self { task: Task::Connect, count: 1 },
        Self { task: Task::Connect, count: 8 },
    ];

    pub(super) fn name(self) -> String {
        match self.task {
            Task::Echo => "echo".into(),
            Task::Up => format!("bulk {} up", self.count),
            Task::Down => format!("bulk {} down", self.count),
            Task::Connect => format!("connections, {} at once", self.count),
            Task::Hold => "idle".into(),
        }
    }

    /// What a client says of it.
    pub(super) fn measures(self) -> &'static [Measure] {
        match self.task {
            Task::Echo => &[Measure::EchoP50, Measure::EchoP99],
            Task::Up | Task::Down => &[Measure::BytesPerSecond],
            Task::Connect => &[Measure::ConnectionsPerSecond],
            Task::Hold => &[],
        }
    }

    /// What the proxy's time is divided by.
    pub(super) fn proxy_unit(self) -> ProxyUnit {
        match self.task {
            Task::Up | Task::Down => ProxyUnit { name: "s/GB", factor: 1e9 },
            Task::Echo => ProxyUnit { name: "µs/message", factor: 1e6 },
            Task::Connect | Task::Hold => ProxyUnit { name: "µs/connection", factor: 1e6 },
        }
    }
}
