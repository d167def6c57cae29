//! The series of each target's authorities, and of what was answered; resolved once and bounded in number.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::metrics::{counter::Counter, histogram::Histogram};

use super::{
    super::{
        labels::{OVERFLOW, Target},
        targets::TargetSeries,
    },
    authority,
    class::Outcome,
    families::{Budget, HttpFamilies},
    labels::{AuthorityLabels, GrpcStatusLabels, HttpStatusLabels, LatencyLabels, ResponseLabels},
};

/// Authorities of one target that keep their name.
pub const MAX_AUTHORITIES_OF_TARGET: usize = 16;
/// Combinations of status, gRPC status and error of one authority that keep their labels: all that gRPC has, and
/// as many of HTTP.
pub const MAX_RESPONSES_OF_AUTHORITY: usize = 48;

/// The authorities that were asked at one target, by their label.
#[derive(Debug, Default)]
pub(in super::super) struct TargetAuthorities {
    table: Mutex<HashMap<Arc<str>, Arc<AuthoritySeries>>>,
}

/// What is counted of one authority at one target.
#[derive(Debug)]
pub(super) struct AuthoritySeries {
    labels: AuthorityLabels,
    /// `request_total`.
    pub(super) requests: Counter,
    responses: Mutex<HashMap<Outcome, ResponseSeries>>,
}

/// What is counted of exchanges with one outcome.
#[derive(Debug, Clone)]
pub(super) struct ResponseSeries {
    /// `response_total`; none where there is no response to speak of.
    pub(super) responses: Option<Counter>,
    /// `…_http_statuses_total` or `…_grpc_statuses_total`.
    pub(super) statuses: Counter,
    /// `response_latency_ms`; none where there was no response.
    pub(super) latency_ms: Option<Histogram>,
}

impl TargetAuthorities {
    /// The series of an authority as it was sent.
    pub(super) fn resolve(
        &self,
        families: &HttpFamilies,
        target: &TargetSeries,
        authority: Option<&str>,
    ) -> Arc<AuthoritySeries> {
        let label = authority::label(authority);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = table.get(&*label) {
            return Arc::clone(found);
        }
        let named = table.keys().filter(|label| &***label != OVERFLOW).count();
        let keeps_name = named < MAX_AUTHORITIES_OF_TARGET
            && &*label != OVERFLOW
            && families.of(target.direction).authorities_left.take();
        let label: Arc<str> = if keeps_name { label.into() } else { OVERFLOW.into() };
        let series = table.entry(Arc::clone(&label)).or_insert_with(|| {
            let labels = AuthorityLabels::new(target.direction, &target.workload, &target.target, label);
            Arc::new(AuthoritySeries {
                requests: families.requests.get_or_create_owned(&labels),
                responses: Mutex::default(),
                labels,
            })
        });
        Arc::clone(series)
    }
}

impl AuthoritySeries {
    /// The series of an outcome.
    pub(super) fn resolve(
        &self,
        families: &HttpFamilies,
        target: &TargetSeries,
        outcome: Outcome,
    ) -> ResponseSeries {
        let mut table = self.responses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = table.get(&outcome) {
            return found.clone();
        }
        let keeps_labels =
            table.len() < MAX_RESPONSES_OF_AUTHORITY && families.of(target.direction).responses_left.take();
        let series = ResponseSeries::new(families, target, &self.labels, outcome, keeps_labels);
        if keeps_labels {
            table.insert(outcome, series.clone());
        }
        series
    }
}

impl ResponseSeries {
    fn new(
        families: &HttpFamilies,
        target: &TargetSeries,
        authority: &AuthorityLabels,
        outcome: Outcome,
        keeps_labels: bool,
    ) -> Self {
        let overflow = || Arc::<str>::from(OVERFLOW);
        let own_grpc_status = Arc::<str>::from(outcome.grpc_status());
        let (status, grpc_status, error) = if keeps_labels {
            (outcome.status().into(), Arc::clone(&own_grpc_status), outcome.error())
        } else {
            (overflow(), overflow(), OVERFLOW)
        };
        let responses = outcome.class().map(|class| {
            families.responses.get_or_create_owned(&ResponseLabels {
                authority: authority.clone(),
                status_code: Arc::clone(&status),
                classification: class.label(),
                grpc_status: Arc::clone(&grpc_status),
                error,
            })
        });
        let by_direction = families.of(target.direction);
        let workload = Arc::clone(&target.workload);
        let statuses = if outcome.is_grpc() {
            // Their values are few, whatever the network says.
            let labels = GrpcStatusLabels { workload, grpc_status: own_grpc_status, error: outcome.error() };
            by_direction.grpc_statuses.get_or_create_owned(&labels)
        } else {
            let labels = HttpStatusLabels { workload, http_status: Arc::clone(&status), error };
            by_direction.statuses.get_or_create_owned(&labels)
        };
        let latency_ms = outcome.has_status().then(|| {
            let labels = LatencyLabels { authority: authority.clone(), status_code: status };
            latency_of(families, target, labels, keeps_labels)
        });
        Self { responses, statuses, latency_ms }
    }
}

/// The histogram with these labels, if it is there or may be; or else the one for all of the workload's others,
/// under the same condition; or else the one for all others.
fn latency_of(
    families: &HttpFamilies,
    target: &TargetSeries,
    labels: LatencyLabels,
    keeps_labels: bool,
) -> Histogram {
    let by_direction = families.of(target.direction);
    let overflow = Arc::<str>::from(OVERFLOW);
    let of_others = |workload| LatencyLabels {
        authority: AuthorityLabels::new(
            target.direction,
            workload,
            &Target::overflow(),
            Arc::clone(&overflow),
        ),
        status_code: Arc::clone(&overflow),
    };
    let find_or_create = |labels: &LatencyLabels, budget: &Budget| {
        let found = families.latency_ms.get(labels).map(|found| found.clone());
        found.or_else(|| budget.take().then(|| families.latency_ms.get_or_create_owned(labels)))
    };
    keeps_labels
        .then(|| find_or_create(&labels, &by_direction.latencies_left))
        .flatten()
        .or_else(|| find_or_create(&of_others(&target.workload), &by_direction.workload_latencies_left))
        .unwrap_or_else(|| families.latency_ms.get_or_create_owned(&of_others(&overflow)))
}
