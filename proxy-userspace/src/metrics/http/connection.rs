//! One connection's requests.

use std::{fmt, sync::Arc, time::Instant};

use prometheus_client::metrics::counter::Counter;

use super::{
    super::{families::Families, labels::ReasonLabels, targets::TargetSeries},
    class::Outcome,
    families::Durations,
    labels::{RequestLabels, UpgradeLabels, WorkloadLabels},
    series::{AuthoritySeries, ResponseSeries},
};
use crate::observe::{Exchange, Kind, Lost, Method, Request, Version};

/// Authorities whose series a connection keeps at hand.
const AUTHORITIES_KEPT: usize = 4;
/// Outcomes whose series a connection keeps at hand, for each authority.
const OUTCOMES_KEPT: usize = 8;

/// What the requests of one connection are counted into.
///
/// A connection without requests holds two pointers; one with requests at most 5 KiB, authorities included.
pub struct HttpMetrics {
    families: Arc<Families>,
    target: Arc<TargetSeries>,
    /// Made at the first request.
    used: Option<Box<Used>>,
}

/// The series that the connection's requests have used.
#[derive(Default)]
struct Used {
    http: Option<Durations>,
    grpc: Option<Durations>,
    /// `…_http_requests_total`, and `…_grpc_requests_total` without a method.
    requests: Vec<(Option<Method>, Version, Counter)>,
    authorities: Recent<UsedAuthority, AUTHORITIES_KEPT>,
}

struct UsedAuthority {
    /// As it was sent.
    authority: Option<Arc<str>>,
    series: Arc<AuthoritySeries>,
    outcomes: Recent<(Outcome, ResponseSeries), OUTCOMES_KEPT>,
}

/// At most `N` values, of which the oldest makes room.
struct Recent<T, const N: usize> {
    kept: Vec<T>,
    oldest: usize,
}

impl HttpMetrics {
    pub(in super::super) const fn new(families: Arc<Families>, target: Arc<TargetSeries>) -> Self {
        Self { families, target, used: None }
    }

    /// A request's head is complete.
    pub fn request(&mut self, request: &Request) {
        let Self { families, target, used } = self;
        let used = used.get_or_insert_default();
        used.requests_of(request, families, target).inc();
        used.authority(request, families, target).series.requests.inc();
    }

    /// An exchange is over.
    pub fn exchange(&mut self, exchange: &Exchange<'_>) {
        let Self { families, target, used } = self;
        let used = used.get_or_insert_default();
        let outcome = Outcome::of(exchange);
        let authority = used.authority(exchange.request, families, target);
        let series = authority.outcome(outcome, families, target);
        if let Some(responses) = &series.responses {
            responses.inc();
        }
        series.statuses.inc();
        if let (Some(latency_ms), Some(response_began)) = (&series.latency_ms, exchange.response_began) {
            latency_ms.observe(seconds(exchange.began, response_began) * 1_000.0);
        }
        let durations = used.durations(outcome.is_grpc(), families, target);
        durations.request.observe(seconds(exchange.began, exchange.ended));
        // A response may be over before its request is, and then there is nothing between the two.
        let request_ended = exchange.request_ended.unwrap_or(exchange.ended);
        durations.response.observe(seconds(request_ended, exchange.ended));
    }

    /// The connection, or a stream of it, became something else.
    pub fn upgraded(&self, to: &str) {
        let protocol = match to {
            "websocket" => "websocket",
            "connect" => "connect",
            "h2c" => "h2c",
            _ => "other",
        };
        let TargetSeries { direction, workload, .. } = &*self.target;
        let labels = UpgradeLabels { direction: direction.label(), workload: Arc::clone(workload), protocol };
        self.families.http.upgrades.get_or_create(&labels).inc();
    }

    /// Of one request nothing more will be told.
    pub fn untracked(&self, why: Lost) {
        self.families.http.lost_requests.get_or_create(&self.reason(why)).inc();
    }

    /// The connection cannot be followed any further; of so many open requests nothing more will be told.
    pub fn lost(&self, why: Lost, open: usize) {
        let labels = self.reason(why);
        self.families.http.lost.get_or_create(&labels).inc();
        self.families.http.lost_requests.get_or_create(&labels).inc_by(open as u64);
    }

    fn reason(&self, why: Lost) -> ReasonLabels {
        let TargetSeries { direction, workload, .. } = &*self.target;
        ReasonLabels { direction: direction.label(), workload: Arc::clone(workload), reason: why.label() }
    }

    /// How many series the connection has at hand.
    #[cfg(test)]
    pub(super) fn resolved(&self) -> usize {
        self.used.as_ref().map_or(0, |used| {
            let outcomes: usize =
                used.authorities.kept.iter().map(|authority| authority.outcomes.kept.len()).sum();
            used.requests.len() + used.authorities.kept.len() + outcomes
        })
    }
}

impl fmt::Debug for HttpMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpMetrics").finish_non_exhaustive()
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}

impl Used {
    fn requests_of(&mut self, request: &Request, families: &Families, target: &TargetSeries) -> &Counter {
        let method = (request.kind == Kind::Http).then_some(request.method);
        let version = request.version;
        let found = self.requests.iter().position(|(m, v, _)| (*m, *v) == (method, version));
        let index = found.unwrap_or_else(|| {
            let workload = Arc::clone(&target.workload);
            let families = families.http.of(target.direction);
            let counter = match method {
                Some(method) => families.requests.get_or_create_owned(&RequestLabels {
                    workload,
                    method: method.label(),
                    version: version.label(),
                }),
                None => families.calls.get_or_create_owned(&WorkloadLabels { workload }),
            };
            self.requests.push((method, version, counter));
            self.requests.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found or just pushed")]
        &self.requests[index].2
    }

    fn authority(
        &mut self,
        request: &Request,
        families: &Families,
        target: &TargetSeries,
    ) -> &mut UsedAuthority {
        let is_it = |used: &UsedAuthority| match (&used.authority, &request.authority) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        self.authorities.find_or_insert(is_it, || UsedAuthority {
            authority: request.authority.clone(),
            series: target.authorities.resolve(&families.http, target, request.authority.as_deref()),
            outcomes: Recent::default(),
        })
    }

    fn durations(&mut self, is_grpc: bool, families: &Families, target: &TargetSeries) -> &Durations {
        let durations = if is_grpc { &mut self.grpc } else { &mut self.http };
        durations
            .get_or_insert_with(|| families.http.of(target.direction).durations(is_grpc, &target.workload))
    }
}

impl UsedAuthority {
    fn outcome(&mut self, outcome: Outcome, families: &Families, target: &TargetSeries) -> &ResponseSeries {
        let Self { series, outcomes, .. } = self;
        let found = outcomes.find_or_insert(
            |(used, _)| *used == outcome,
            || (outcome, series.resolve(&families.http, target, outcome)),
        );
        &found.1
    }
}

impl<T, const N: usize> Default for Recent<T, N> {
    fn default() -> Self {
        Self { kept: Vec::new(), oldest: 0 }
    }
}

impl<T, const N: usize> Recent<T, N> {
    fn find_or_insert(&mut self, is_it: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> &mut T {
        let index = self.kept.iter().position(is_it).unwrap_or_else(|| {
            let made = make();
            if self.kept.len() < N {
                self.kept.push(made);
                return self.kept.len() - 1;
            }
            let index = self.oldest;
            if let Some(oldest) = self.kept.get_mut(index) {
                *oldest = made;
            }
            self.oldest = (index + 1) % N;
            index
        });
        #[expect(clippy::indexing_slicing, reason = "found, just pushed, or below N, which is not zero")]
        &mut self.kept[index]
    }
}
