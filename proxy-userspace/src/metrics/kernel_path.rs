//! What is counted of connections on the kernel path alone.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use proxy_common::Direction;

use super::connection::Traffic;
use super::labels::WorkloadLabels;

/// Upper bounds of round-trip times, seconds: from within a node to the other side of the world.
const ROUND_TRIP_BUCKETS: [f64; 12] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.03, 0.1, 0.3, 1.0];

/// The families.
#[derive(Debug)]
pub(super) struct KernelPathFamilies {
    retransmits: Family<WorkloadLabels, Counter>,
    round_trip: Family<WorkloadLabels, Histogram>,
    seconds: Family<WorkloadLabels, Counter<f64, AtomicU64>>,
}

impl KernelPathFamilies {
    pub(super) fn new() -> Self {
        Self {
            retransmits: Family::default(),
            round_trip: Family::new_with_constructor(|| Histogram::new(ROUND_TRIP_BUCKETS)),
            seconds: Family::default(),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("kernel_path");
        let help = "Segments that connections on the kernel path have sent again";
        registry.register("retransmits", help, self.retransmits.clone());
        let help = "Smoothed round-trip times of connections on the kernel path, once a second and at the end of each";
        registry.register_with_unit("round_trip", help, Unit::Seconds, self.round_trip.clone());
        let help = "How long connections on the kernel path have lived so far, all together";
        registry.register_with_unit("connection", help, Unit::Seconds, self.seconds.clone());
    }

    /// Counts what has come since the last time.
    pub(super) fn carried(
        &self,
        direction: Direction,
        workload: &Arc<str>,
        traffic: &Traffic,
        lived: Duration,
    ) {
        let labels = WorkloadLabels { direction: direction.label(), workload: Arc::clone(workload) };
        self.seconds.get_or_create(&labels).inc_by(lived.as_secs_f64());
        self.retransmits.get_or_create(&labels).inc_by(traffic.retransmits);
        if let Some(round_trip) = traffic.round_trip {
            self.round_trip.get_or_create(&labels).observe(round_trip.as_secs_f64());
        }
    }
}
