//! The families, and how many of their series keep their labels.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use proxy_common::Direction;

use super::{
    super::{families::DURATION_BUCKETS_MS, labels::ReasonLabels},
    labels::{
        AuthorityLabels, GrpcStatusLabels, HttpStatusLabels, LatencyLabels, RequestLabels, ResponseLabels,
        UpgradeLabels, WorkloadLabels,
    },
};

/// Pairs of target and authority that keep the authority's name, per direction.
pub const MAX_AUTHORITIES: usize = 1_000;
/// Combinations of authority, status, gRPC status and error that keep their labels, per direction.
pub const MAX_RESPONSES: usize = 5_000;
/// Combinations of authority and status that have a latency histogram of their own, per direction.
pub const MAX_LATENCIES: usize = 500;
/// Workloads that have a latency histogram for what exceeds that, per direction.
pub const MAX_WORKLOAD_LATENCIES: usize = 250;

/// Upper bounds of Linkerd's buckets for the time from a request's start to the response's end, seconds
/// (linkerd2-proxy, linkerd/app/outbound/src/http/logical/policy/route/metrics.rs).
const REQUEST_BUCKETS_SECONDS: [f64; 4] = [0.05, 0.5, 1.0, 10.0];
/// The same from a request's end (ibidem).
const RESPONSE_BUCKETS_SECONDS: [f64; 7] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0];

/// A family of histograms that share their buckets.
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Every family of HTTP.
#[derive(Debug)]
pub(in super::super) struct HttpFamilies {
    pub(super) requests: Family<AuthorityLabels, Counter>,
    pub(super) responses: Family<ResponseLabels, Counter>,
    pub(super) latency_ms: Histograms<LatencyLabels>,
    pub(super) upgrades: Family<UpgradeLabels, Counter>,
    pub(super) lost: Family<ReasonLabels, Counter>,
    pub(super) lost_requests: Family<ReasonLabels, Counter>,
    outbound: DirectionFamilies,
    inbound: DirectionFamilies,
}

/// The families whose name says the direction, and what the direction has left of its bounds.
#[derive(Debug)]
pub(super) struct DirectionFamilies {
    pub(super) requests: Family<RequestLabels, Counter>,
    pub(super) calls: Family<WorkloadLabels, Counter>,
    pub(super) statuses: Family<HttpStatusLabels, Counter>,
    pub(super) grpc_statuses: Family<GrpcStatusLabels, Counter>,
    http: DurationFamilies,
    grpc: DurationFamilies,
    pub(super) authorities_left: Budget,
    pub(super) responses_left: Budget,
    pub(super) latencies_left: Budget,
    pub(super) workload_latencies_left: Budget,
}

#[derive(Debug)]
struct DurationFamilies {
    request: Histograms<WorkloadLabels>,
    response: Histograms<WorkloadLabels>,
}

/// How long a workload's exchanges take.
#[derive(Debug)]
pub(super) struct Durations {
    /// From the request's head to the response's end, seconds.
    pub(super) request: Histogram,
    /// From the request's end to the response's end, seconds.
    pub(super) response: Histogram,
}

/// How many more may be.
#[derive(Debug)]
pub(super) struct Budget(AtomicUsize);

impl Budget {
    const fn new(count: usize) -> Self {
        Self(AtomicUsize::new(count))
    }

    /// Takes one, if there is one left.
    pub(super) fn take(&self) -> bool {
        self.0.try_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

impl HttpFamilies {
    pub(in super::super) fn new() -> Self {
        Self {
            requests: Family::default(),
            responses: Family::default(),
            latency_ms: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS_MS)),
            upgrades: Family::default(),
            lost: Family::default(),
            lost_requests: Family::default(),
            outbound: DirectionFamilies::new(),
            inbound: DirectionFamilies::new(),
        }
    }

    pub(super) const fn of(&self, direction: Direction) -> &DirectionFamilies {
        match direction {
            Direction::Outbound => &self.outbound,
            Direction::Inbound => &self.inbound,
        }
    }

    /// Registers the families whose names are Linkerd's and say no direction.
    pub(in super::super) fn register(&self, registry: &mut Registry) {
        registry.register("request", "Requests whose head was seen", self.requests.clone());
        registry.register("response", "Responses that are over, by class", self.responses.clone());
        let help = "From a request's head to the head of its response, in milliseconds";
        registry.register("response_latency_ms", help, self.latency_ms.clone());
    }

    /// Registers the families of one direction.
    pub(in super::super) fn register_direction(&self, direction: Direction, registry: &mut Registry) {
        let families = self.of(direction);
        registry.register("http_requests", "HTTP requests", families.requests.clone());
        registry.register("http_statuses", "HTTP exchanges that are over", families.statuses.clone());
        families.http.register("http", registry);
        registry.register("grpc_requests", "gRPC calls", families.calls.clone());
        registry.register("grpc_statuses", "gRPC calls that are over", families.grpc_statuses.clone());
        families.grpc.register("grpc", registry);
    }

    /// Registers the families that are sluice's own.
    pub(in super::super) fn register_own(&self, registry: &mut Registry) {
        let help = "Connections and streams that became something else than HTTP, or HTTP/2";
        registry.register("http_upgrades", help, self.upgrades.clone());
        let help = "Connections whose HTTP could not be followed to the end";
        registry.register("http_lost", help, self.lost.clone());
        let help = "Requests that were open when their connection could not be followed any further";
        registry.register("http_lost_requests", help, self.lost_requests.clone());
    }
}

impl DirectionFamilies {
    fn new() -> Self {
        Self {
            requests: Family::default(),
            calls: Family::default(),
            statuses: Family::default(),
            grpc_statuses: Family::default(),
            http: DurationFamilies::new(),
            grpc: DurationFamilies::new(),
            authorities_left: Budget::new(MAX_AUTHORITIES),
            responses_left: Budget::new(MAX_RESPONSES),
            latencies_left: Budget::new(MAX_LATENCIES),
            workload_latencies_left: Budget::new(MAX_WORKLOAD_LATENCIES),
        }
    }

    /// The durations of a workload's HTTP requests, or of its gRPC calls.
    pub(super) fn durations(&self, is_grpc: bool, workload: &Arc<str>) -> Durations {
        let families = if is_grpc { &self.grpc } else { &self.http };
        let labels = WorkloadLabels { workload: Arc::clone(workload) };
        Durations {
            request: families.request.get_or_create_owned(&labels),
            response: families.response.get_or_create_owned(&labels),
        }
    }
}

impl DurationFamilies {
    fn new() -> Self {
        Self {
            request: Family::new_with_constructor(|| Histogram::new(REQUEST_BUCKETS_SECONDS)),
            response: Family::new_with_constructor(|| Histogram::new(RESPONSE_BUCKETS_SECONDS)),
        }
    }

    fn register(&self, protocol: &str, registry: &mut Registry) {
        let help = "From a request's head to the end of its response";
        registry.register(format!("{protocol}_request_duration_seconds"), help, self.request.clone());
        let help = "From a request's end to the end of its response";
        registry.register(format!("{protocol}_response_duration_seconds"), help, self.response.clone());
    }
}
