//! How long to wait before the next attempt.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    time::Duration,
};

/// The first wait, at most.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait.
pub(super) const LONGEST: Duration = Duration::from_secs(30);

/// Waits that double with each failure in a row, up to [`LONGEST`], and are spread so that the nodes of a
/// cluster do not come all at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Something worked.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after another failure: half of what is due at least. `asked` is what the server asked for.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let due = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        spread(due).max(asked.unwrap_or_default()).min(LONGEST)
    }
}

/// A random time between the half of this and all of it.
pub(super) fn spread(time: Duration) -> Duration {
    // The standard library's hash keys are random, and this needs no better chance.
    let chance = RandomState::new().build_hasher().finish() >> 44;
    let part = u32::try_from(chance).unwrap_or(0);
    time / 2 + (time / 2).saturating_mul(part) / (1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        for due in [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000].map(Duration::from_millis) {
            let wait = backoff.next(None);
            assert!((due / 2..=due).contains(&wait), "{wait:?} for {due:?}");
        }
        for _ in 0..100 {
            assert!(backoff.next(None) <= LONGEST);
        }
        backoff.reset();
        assert!(backoff.next(None) <= FIRST);
    }

    #[test]
    fn what_the_server_asks_for_is_waited_within_the_longest() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.next(Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(backoff.next(Some(Duration::from_secs(3600))), LONGEST);
    }

    #[test]
    fn waits_are_not_all_the_same() {
        let waits: std::collections::HashSet<_> = (0..20).map(|_| spread(LONGEST)).collect();
        assert!(waits.len() > 1);
    }
}
