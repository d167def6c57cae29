//! Who is told of a connection's exchanges, one by one: taps, and the collector of traces.

use std::sync::Arc;

use super::downstream::Downstream;
use crate::observe::{Exchange, Parties};

/// Those who are told of the exchanges of one connection.
pub(super) struct Witnesses {
    parties: Parties,
    downstream: Arc<Downstream>,
}

impl Witnesses {
    /// Those of a connection between these parties.
    pub(super) fn new(parties: Parties, downstream: &Arc<Downstream>) -> Self {
        Self { parties, downstream: Arc::clone(downstream) }
    }

    /// Between whom the connection is.
    pub(super) const fn parties(&self) -> &Parties {
        &self.parties
    }

    /// Whether somebody wants to know of the connection when it has ended.
    pub(super) fn want_a_report(&self) -> bool {
        self.downstream.reports.is_some()
    }

    /// Whether one of them wants to know where requests go and which trace they belong to.
    pub(super) fn want_details(&self) -> bool {
        self.downstream.spans.is_some() || self.downstream.tap.is_tapped()
    }

    /// An exchange is over.
    pub(super) fn exchange(&self, exchange: &Exchange<'_>) {
        self.downstream.tap.tell(&self.parties, exchange);
        if let Some(spans) = &self.downstream.spans {
            spans.record(&self.parties, exchange);
        }
    }
}
