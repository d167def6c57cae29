//! The numbers that are compared, and what they have to reach.

use super::task::Load;

/// Seconds of the proxy for each unit of a client's work, times `factor`.
pub(super) struct ProxyUnit {
    pub(super) name: &'static str,
    pub(super) factor: f64,
}

/// A number that a client gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    EchoP50,
    EchoP99,
    BytesPerSecond,
    ConnectionsPerSecond,
}

impl Measure {
    /// Its name in the client's answer.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::EchoP50 => "p50",
            Self::EchoP99 => "p99",
            Self::BytesPerSecond | Self::ConnectionsPerSecond => "rate",
        }
    }

    /// Its name in the table.
    pub(super) fn row(self, load: Load) -> String {
        match self {
            Self::EchoP50 | Self::EchoP99 => format!("{} {}", load.name(), self.key()),
            Self::BytesPerSecond | Self::ConnectionsPerSecond => load.name(),
        }
    }

    /// A value as people read it.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::EchoP50 | Self::EchoP99 => format!("{value:.1} µs"),
            Self::BytesPerSecond => format!("{:.2} GB/s", value / 1e9),
            Self::ConnectionsPerSecond => format!("{value:.0}/s"),
        }
    }

    /// What `detect` has to reach.
    pub(super) fn target(self) -> Option<Target> {
        match self {
            Self::EchoP50 => Some(Target::AtMost(2.4)),
            Self::EchoP99 => None,
            Self::BytesPerSecond => Some(Target::AtLeast(0.5)),
            Self::ConnectionsPerSecond => Some(Target::AtLeast(0.35)),
        }
    }
}

/// A bound of a ratio to direct.
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
