//! How large the tests are.

use std::time::Duration;

/// What the machine can take: `SLUICE_TEST_SCALE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// A real CPU.
    Full,
    /// An emulated one, 20 to 50 times slower.
    Small,
}

impl Scale {
    /// The scale that the environment asks for.
    ///
    /// # Panics
    /// When the variable holds an unknown word.
    #[must_use]
    pub fn current() -> Self {
        match std::env::var("SLUICE_TEST_SCALE").as_deref() {
            Err(_) | Ok("" | "full") => Self::Full,
            Ok("small") => Self::Small,
            Ok(other) => panic!("SLUICE_TEST_SCALE: expected 'full' or 'small', got '{other}'"),
        }
    }

    /// One of two values.
    pub fn pick<T>(self, full: T, small: T) -> T {
        match self {
            Self::Full => full,
            Self::Small => small,
        }
    }

    /// A time limit, longer where everything is slower.
    #[must_use]
    pub fn stretch(self, limit: Duration) -> Duration {
        limit * self.pick(1, 6)
    }
}
