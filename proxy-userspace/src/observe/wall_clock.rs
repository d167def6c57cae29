//! Instants as times of day.

use std::time::{Instant, SystemTime};

/// Tells the time of day of instants, all by one reading of both clocks: what lies between two of them is as
/// long as it was.
#[derive(Debug, Clone, Copy)]
pub struct WallClock {
    instant: Instant,
    time: SystemTime,
}

impl WallClock {
    /// Reads both clocks.
    pub fn now() -> Self {
        Self { instant: Instant::now(), time: SystemTime::now() }
    }

    /// The time of day at `instant`.
    pub fn time_of(&self, instant: Instant) -> SystemTime {
        match self.instant.checked_duration_since(instant) {
            Some(before) => self.time.checked_sub(before),
            None => self.time.checked_add(instant.saturating_duration_since(self.instant)),
        }
        .unwrap_or(self.time)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn instants_before_and_after_the_reading_keep_their_distance() {
        let clock = WallClock::now();
        let second = Duration::from_secs(1);
        assert_eq!(clock.time_of(clock.instant), clock.time);
        assert_eq!(clock.time_of(clock.instant + second), clock.time + second);
        assert_eq!(clock.time_of(clock.instant - second), clock.time - second);
    }
}
