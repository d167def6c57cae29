//! What is made of a connection's requests: they are counted, and where somebody wants to know, told.

use super::witnesses::Witnesses;
use crate::{
    metrics::{ConnectionMetrics, HttpMetrics},
    observe::{Exchange, Listener, Lost, Parties, Request},
    report,
};

/// The requests of one connection, passed on to whoever makes something of them.
pub(super) struct Requests {
    metrics: HttpMetrics,
    witnesses: Witnesses,
    /// None where the connection is not reported.
    report: Option<Box<report::Requests>>,
}

impl Requests {
    /// None yet.
    pub(super) fn new(metrics: &ConnectionMetrics, witnesses: Witnesses) -> Self {
        let report = witnesses.want_a_report().then(Box::default);
        Self { metrics: metrics.http(), witnesses, report }
    }

    /// Between whom the connection is.
    pub(super) const fn parties(&self) -> &Parties {
        self.witnesses.parties()
    }

    /// What is reported of them; nothing is gathered from here on.
    pub(super) fn take_report(&mut self) -> report::Requests {
        self.report.take().map(|report| *report).unwrap_or_default()
    }
}

impl Listener for Requests {
    fn wants_details(&self) -> bool {
        self.witnesses.want_details()
    }

    fn request(&mut self, request: &Request) {
        self.metrics.request(request);
        if let Some(report) = &mut self.report {
            report.request(request);
        }
    }

    fn exchange(&mut self, exchange: &Exchange<'_>) {
        self.metrics.exchange(exchange);
        self.witnesses.exchange(exchange);
        if let Some(report) = &mut self.report {
            report.exchange(exchange);
        }
    }

    fn upgraded(&mut self, to: &str) {
        self.metrics.upgraded(to);
        if let Some(report) = &mut self.report {
            report.upgraded(to);
        }
    }

    fn untracked(&mut self, why: Lost) {
        self.metrics.untracked(why);
    }

    fn lost(&mut self, why: Lost, open: usize) {
        self.metrics.lost(why, open);
        if let Some(report) = &mut self.report {
            report.lost(why);
        }
    }
}
