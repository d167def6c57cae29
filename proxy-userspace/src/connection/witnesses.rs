//! Who is told of a connection's exchanges, one by one: taps, and the collector of traces.

use super::downstream::Downstream;
use crate::{
    observe::{Exchange, Parties},
    spans::Spans,
    tap::Hub,
};

/// Those who are told of the exchanges of one connection.
#[derive(Debug)]
pub(super) struct Witnesses {
    parties: Parties,
    tap: Hub,
    spans: Option<Spans>,
}

impl Witnesses {
    /// Those of a connection between these parties.
    pub(super) fn new(parties: Parties, downstream: &Downstream) -> Self {
        Self { parties, tap: downstream.tap.clone(), spans: downstream.spans.clone() }
    }

    /// Whether one of them wants to know where requests go and which trace they belong to.
    pub(super) fn want_details(&self) -> bool {
        self.spans.is_some() || self.tap.is_tapped()
    }

    /// An exchange is over.
    pub(super) fn exchange(&self, exchange: &Exchange<'_>) {
        self.tap.tell(&self.parties, exchange);
        if let Some(spans) = &self.spans {
            spans.record(&self.parties, exchange);
        }
    }
}
