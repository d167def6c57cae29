//! What is made of a connection's requests: counted and reported.

use crate::observe::{Exchange, Listener, Lost, Request};

/// The requests of one connection.
#[derive(Debug, Default)]
pub(super) struct Requests {
    count: u64,
}

impl Requests {
    /// None yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// How many there were.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }
}

impl Listener for Requests {
    fn request(&mut self, _request: &Request) {
        self.count += 1;
    }

    fn exchange(&mut self, _exchange: &Exchange<'_>) {}

    fn upgraded(&mut self, _to: &str) {}

    fn lost(&mut self, _why: Lost, _open: usize) {}
}
