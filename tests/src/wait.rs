//! Waiting: always for something, never for a time.

use std::time::{Duration, Instant};

use crate::scale::Scale;

/// How long to wait for what should happen at once; longer where the CPU is emulated.
#[must_use]
pub fn patience() -> Duration {
    Scale::current().stretch(Duration::from_secs(10))
}

/// Polls until `probe` gives a value.
///
/// # Panics
/// When the deadline passes; the message says what was waited for.
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(patience(), what, probe)
}

/// [`eventually`], with a deadline of its own.
///
/// # Panics
/// When the deadline passes; the message says what was waited for.
pub fn within<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain: {what}");
        // The interval of the poll, not a wait for an event.
        std::thread::sleep(Duration::from_millis(5));
    }
}
