//! The label sets of the HTTP families.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use proxy_common::Direction;

use super::super::labels::Target;

/// The labels of requests to one authority.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AuthorityLabels {
    direction: &'static str,
    workload: Arc<str>,
    target_addr: Arc<str>,
    target_ip: Arc<str>,
    target_port: Arc<str>,
    authority: Arc<str>,
}

impl AuthorityLabels {
    pub(super) fn new(
        direction: Direction,
        workload: &Arc<str>,
        target: &Target,
        authority: Arc<str>,
    ) -> Self {
        Self {
            direction: direction.label(),
            workload: Arc::clone(workload),
            target_addr: Arc::clone(&target.addr),
            target_ip: Arc::clone(&target.ip),
            target_port: Arc::clone(&target.port),
            authority,
        }
    }
}

/// The labels of `response_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResponseLabels {
    #[prometheus(flatten)]
    pub(super) authority: AuthorityLabels,
    pub(super) status_code: Arc<str>,
    pub(super) classification: &'static str,
    pub(super) grpc_status: Arc<str>,
    pub(super) error: &'static str,
}

/// The labels of `response_latency_ms`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LatencyLabels {
    #[prometheus(flatten)]
    pub(super) authority: AuthorityLabels,
    pub(super) status_code: Arc<str>,
}

/// The label of what is told of a workload as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct WorkloadLabels {
    pub(super) workload: Arc<str>,
}

/// The labels of requests by what they ask.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) workload: Arc<str>,
    /// See [`crate::observe::Method::label`].
    pub(super) method: &'static str,
    /// See [`crate::observe::Version::label`].
    pub(super) version: &'static str,
}

/// The labels of what HTTP answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HttpStatusLabels {
    pub(super) workload: Arc<str>,
    pub(super) http_status: Arc<str>,
    pub(super) error: &'static str,
}

/// The labels of what gRPC answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct GrpcStatusLabels {
    pub(super) workload: Arc<str>,
    pub(super) grpc_status: Arc<str>,
    pub(super) error: &'static str,
}

/// The labels of upgrades.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct UpgradeLabels {
    pub(super) direction: &'static str,
    pub(super) workload: Arc<str>,
    /// `websocket`, `connect`, `h2c` or `other`.
    pub(super) protocol: &'static str,
}
