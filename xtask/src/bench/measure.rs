//! The numbers that are compared, and what they have to reach.

use super::task::Load;

/// Seconds of the proxy for each unit of a client's work, times `factor`.
pub(super) struct ProxyUnit {
    pub(super) name: &'static str,
    pub(super) factor: f64,
    /// What sluice has to reach.
    pub(super) target: Option<Target>,
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
            Self::BytesPerSecond | Self::ConnectionsPerSecond => load.name(),
            Self::RequestsPerSecond => format!("{} requests", load.name()),
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
}

/// A bound of a ratio to direct, or of what a proxy may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// No farther from 1 than this.
    Within(f64),
}

/// Bytes of memory that an idle connection may take in the proxy.
pub(super) const IDLE_BYTES: f64 = 4096.0;

impl Target {
    pub(super) fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(most) => ratio <= most,
            Self::AtLeast(least) => ratio >= least,
            Self::Within(noise) => (ratio - 1.0).abs() <= noise,
        }
    }

    pub(super) fn show(self) -> String {
        match self {
            Self::AtMost(most) => format!("<= {most}"),
            Self::AtLeast(least) => format!(">= {least}"),
            Self::Within(noise) => format!("1 ± {noise:.2}"),
        }
    }
}
