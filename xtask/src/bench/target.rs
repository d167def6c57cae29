//! What sluice's ways have to reach.

use super::measure::Measure;
use super::task::{Load, Task};
use super::way::{Mode, Way};

/// A bound of a ratio to direct, or of what a proxy may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// No farther from 1 than this.
    Within(f64),
}

/// Milliseconds until a way is there, the loading of its programs included.
const START_MS: f64 = 300.0;
/// Bytes of memory that an idle connection may take in the proxy.
const IDLE_BYTES: f64 = 2048.0;

impl Target {
    /// Of a ratio. `noise` is how far direct is from itself.
    pub(super) fn of_ratio(way: Way, load: Load, measure: Measure, noise: f64) -> Option<Self> {
        match way {
            Way::Direct | Way::Relay(_) | Way::Redirect | Way::Peer(_) => None,
            Way::Bypass => Self::of_bypass(load, measure),
            Way::Exec(Mode::Skip) => Some(Self::of_skip(load, measure, noise)),
            Way::Exec(Mode::OpaqueKernel) => Self::of_kernel_path(load, measure),
            Way::Exec(Mode::OpaqueProxy | Mode::Detect) => Self::of_relay(load, measure),
            Way::Exec(Mode::Http1 | Mode::Http2) => Self::of_http(load, measure),
        }
    }

    fn of_bypass(load: Load, measure: Measure) -> Option<Self> {
        match measure {
            Measure::P50 if load.is_small() => Some(Self::AtMost(0.8)),
            Measure::RequestsPerSecond => Some(Self::AtLeast(1.4)),
            Measure::P50 | Measure::P99 | Measure::BytesPerSecond | Measure::ConnectionsPerSecond => None,
        }
    }

    fn of_skip(load: Load, measure: Measure, noise: f64) -> Self {
        match measure {
            Measure::P50 if load.is_small() => Self::AtMost(1.02),
            Measure::ConnectionsPerSecond => Self::AtLeast(0.96),
            Measure::P50 | Measure::P99 | Measure::BytesPerSecond | Measure::RequestsPerSecond => {
                Self::Within(noise)
            }
        }
    }

    fn of_kernel_path(load: Load, measure: Measure) -> Option<Self> {
        match measure {
            Measure::P50 if load.is_small() => Some(Self::AtMost(1.03)),
            Measure::BytesPerSecond => Some(Self::AtLeast(0.97)),
            Measure::ConnectionsPerSecond => Some(Self::AtLeast(0.93)),
            Measure::P50 | Measure::P99 | Measure::RequestsPerSecond => None,
        }
    }

    fn of_relay(load: Load, measure: Measure) -> Option<Self> {
        match measure {
            Measure::P50 | Measure::P99 => load.is_small().then_some(Self::AtMost(2.0)),
            Measure::BytesPerSecond if load.count == 1 => Some(Self::AtLeast(0.68)),
            Measure::BytesPerSecond => Some(Self::AtLeast(0.66)),
            Measure::ConnectionsPerSecond => Some(Self::AtLeast(0.5)),
            Measure::RequestsPerSecond => None,
        }
    }

    fn of_http(load: Load, measure: Measure) -> Option<Self> {
        match (measure, load.task) {
            (Measure::RequestsPerSecond, Task::Http1) => Some(Self::AtLeast(0.6)),
            (Measure::RequestsPerSecond, Task::Http2) => Some(Self::AtLeast(0.7)),
            (Measure::P99, Task::Http1) => Some(Self::AtMost(1.9)),
            _ => None,
        }
    }

    /// Of the proxy's time for a unit of this load.
    pub(super) fn of_proxy_time(way: Way, load: Load) -> Option<Self> {
        match (way, load.task) {
            (Way::Exec(Mode::OpaqueProxy | Mode::Detect), Task::Up | Task::Down) => Some(Self::AtMost(0.2)),
            (Way::Exec(Mode::Http1), Task::Http1) => Some(Self::AtMost(24.0)),
            (Way::Exec(Mode::Http2), Task::Http2) => Some(Self::AtMost(3.0)),
            _ => None,
        }
    }

    pub(super) const fn of_idle_bytes() -> Self {
        Self::AtMost(IDLE_BYTES)
    }

    pub(super) const fn of_start() -> Self {
        Self::AtMost(START_MS)
    }

    pub(super) fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::Within(noise) => (value - 1.0).abs() <= noise,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::suite::Suite;

    #[test]
    fn a_target_counts_its_own_bound_as_met() {
        assert!(Target::AtMost(2.0).is_met(2.0) && !Target::AtMost(2.0).is_met(2.01));
        assert!(Target::AtLeast(0.5).is_met(0.5) && !Target::AtLeast(0.5).is_met(0.49));
        assert!(Target::Within(0.05).is_met(0.96) && !Target::Within(0.05).is_met(1.06));
    }

    #[test]
    fn every_way_of_sluice_has_a_target_in_its_first_row() {
        let target = |way, load: Load| Target::of_ratio(way, load, load.measures()[0], 0.05);
        for way in Suite::Streams.own() {
            assert!(target(*way, Load::STREAMS[0]).is_some(), "{way:?}");
        }
        assert!(target(Way::Exec(Mode::Http1), Load::HTTP[0]).is_some());
        assert!(target(Way::Exec(Mode::Http2), Load::HTTP[1]).is_some());
    }
}
