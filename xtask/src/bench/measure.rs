//! The numbers that are compared.

use super::task::{Load, Task};

/// What seconds of processors are told for.
pub(super) struct Unit {
    pub(super) name: &'static str,
    /// Of a client's units in it.
    pub(super) factor: f64,
}

/// A number that a client gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// Latency, µs.
    P50,
    P99,
    BytesPerSecond,
    ConnectionsPerSecond,
    RequestsPerSecond,
}

/// Which values are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    Lower,
    Higher,
}

/// What a row is about: those of one kind are shown together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Latency,
    Rate,
    Cost,
}

impl Measure {
    /// Its name in the client's answer.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::BytesPerSecond | Self::ConnectionsPerSecond | Self::RequestsPerSecond => "rate",
        }
    }

    /// Its name in the table.
    pub(super) fn row(self, load: Load) -> String {
        match self {
            Self::P50 | Self::P99 => format!("{} {}", load.name(), self.key()),
            Self::RequestsPerSecond if load.task != Task::Requests => format!("{} requests", load.name()),
            Self::BytesPerSecond | Self::ConnectionsPerSecond | Self::RequestsPerSecond => load.name(),
        }
    }

    /// A value as people read it.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::P50 | Self::P99 => format!("{value:.1} µs"),
            Self::BytesPerSecond => format!("{:.2} GB/s", value / 1e9),
            Self::ConnectionsPerSecond | Self::RequestsPerSecond => format!("{value:.0}/s"),
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::P50 | Self::P99 => Kind::Latency,
            Self::BytesPerSecond | Self::ConnectionsPerSecond | Self::RequestsPerSecond => Kind::Rate,
        }
    }
}

impl Kind {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Rate => "rate",
            Self::Cost => "cost",
        }
    }

    pub(super) fn better(self) -> Better {
        match self {
            Self::Latency | Self::Cost => Better::Lower,
            Self::Rate => Better::Higher,
        }
    }
}

impl Better {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Lower => "lower",
            Self::Higher => "higher",
        }
    }
}
