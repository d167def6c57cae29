//! The registry and its metric families.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use proxy_common::Direction;

use super::close::CloseReason;
use super::connection::ConnectionMetrics;
use super::hooks::{HookCollector, HookCounters};
use super::http::{HttpFamilies, TargetAuthorities};
use super::kernel_path::KernelPathFamilies;
use super::labels::{
    BuildLabels, DurationLabels, Peer, ProtocolLabels, ReasonLabels, ResourceLabels, ResultLabels,
    SocketCloseLabels, SocketLabels, StateLabels, Target,
};
use super::process::ProcessCollector;
use super::targets::{SocketSeries, TargetSeries, Targets};

/// The content type of what [`Metrics::encode`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of Linkerd's latency buckets, milliseconds
/// (linkerd2-proxy, linkerd/metrics/src/latency.rs).
pub(super) const DURATION_BUCKETS_MS: [f64; 25] = [
    1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 100.0, 200.0, 300.0, 400.0, 500.0, 1_000.0,
    2_000.0, 3_000.0, 4_000.0, 5_000.0, 10_000.0, 20_000.0, 30_000.0, 40_000.0, 50_000.0,
];

/// Every metric of the process. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    families: Arc<Families>,
}

impl Metrics {
    /// A registry of its own; `hooks` is read at every scrape.
    #[must_use]
    pub fn new(hooks: impl HookCounters) -> Self {
        let families = Families::new();
        let mut registry = Registry::default();
        families.register(&mut registry);
        registry.register_collector(Box::new(HookCollector(Box::new(hooks))));
        registry.register_collector(Box::new(ProcessCollector::new()));
        Self { registry: Arc::new(registry), families: Arc::new(families) }
    }

    /// Opens the account of an accepted connection. `target` is where the client meant to connect.
    #[must_use]
    pub fn open(&self, direction: Direction, workload: &Arc<str>, target: SocketAddr) -> ConnectionMetrics {
        let create = |direction, workload, target: &_| self.families.series(direction, workload, target);
        let series = self.families.targets.resolve(direction, workload, target, create);
        ConnectionMetrics::open(Arc::clone(&self.families), series)
    }

    /// Counts a connection that ended before its target was known.
    pub fn rejected(&self, direction: Direction, workload: &Arc<str>, reason: CloseReason) {
        let workload = self.families.targets.workload_label(workload);
        let labels = ReasonLabels { direction: direction.label(), workload, reason: reason.label() };
        self.families.connection_close.get_or_create(&labels).inc();
    }

    /// A changed config is in force.
    pub fn config_reloaded(&self) {
        self.families.config_last_reload_successful.set(1);
    }

    /// A changed config was refused; the last good one stays in force.
    pub fn config_reload_failed(&self) {
        self.families.config_last_reload_successful.set(0);
        self.families.config_reload_errors.inc();
    }

    /// Whether new connections may use `sk_msg`.
    pub fn set_sk_msg_enabled(&self, enabled: bool) {
        self.families.sk_msg_enabled.set(i64::from(enabled));
    }

    /// Whether connections of workloads that want it may take the same-node bypass.
    pub fn set_same_node_bypass_enabled(&self, enabled: bool) {
        self.families.same_node_bypass_enabled.set(i64::from(enabled));
    }

    /// How many destinations are learned to be opaque.
    pub fn set_learned(&self, destinations: usize) {
        self.families.learned_destinations.set(i64::try_from(destinations).unwrap_or(i64::MAX));
    }

    /// How many pods of the node are in each state, and how many annotations cannot be used.
    pub fn set_pods(&self, pods: &[(&'static str, usize)], problems: usize) {
        let count = |len| i64::try_from(len).unwrap_or(i64::MAX);
        for (state, len) in pods {
            self.families.pods.get_or_create(&StateLabels { state }).set(count(*len));
        }
        self.families.annotation_problems.set(count(problems));
    }

    /// How a watch of the cluster does: whether it has listed everything once, and how many of its attempts
    /// have failed since the start.
    pub fn set_watch(&self, resource: &'static str, is_synced: bool, failures: u64) {
        let labels = ResourceLabels { resource };
        self.families.watch_synced.get_or_create(&labels).set(i64::from(is_synced));
        let counted = self.families.watch_failures.get_or_create(&labels);
        counted.inc_by(failures.saturating_sub(counted.get()));
    }

    /// Everything, as OpenMetrics text.
    ///
    /// # Errors
    /// When the encoder fails, which writing to memory does not.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The families, and the table of what was resolved from them.
#[derive(Debug)]
pub(super) struct Families {
    targets: Targets,
    pub(super) http: HttpFamilies,
    pub(super) kernel_path: KernelPathFamilies,
    tcp_open: Family<SocketLabels, Counter>,
    tcp_open_connections: Family<SocketLabels, Gauge>,
    pub(super) tcp_close: Family<SocketCloseLabels, Counter>,
    tcp_read_bytes: Family<SocketLabels, Counter>,
    tcp_write_bytes: Family<SocketLabels, Counter>,
    tcp_connection_duration_ms: Family<DurationLabels, Histogram>,
    outbound: DetectionFamilies,
    inbound: DetectionFamilies,
    pub(super) connection_close: Family<ReasonLabels, Counter>,
    config_last_reload_successful: Gauge,
    config_reload_errors: Counter,
    sk_msg_enabled: Gauge,
    same_node_bypass_enabled: Gauge,
    pods: Family<StateLabels, Gauge>,
    learned_destinations: Gauge,
    annotation_problems: Gauge,
    watch_synced: Family<ResourceLabels, Gauge>,
    watch_failures: Family<ResourceLabels, Counter>,
}

/// The families whose name says the direction.
#[derive(Debug, Default)]
struct DetectionFamilies {
    http_results: Family<ResultLabels, Counter>,
    protocol_connections: Family<ProtocolLabels, Counter>,
}

impl Families {
    fn new() -> Self {
        let families = Self {
            targets: Targets::new(),
            http: HttpFamilies::new(),
            kernel_path: KernelPathFamilies::new(),
            tcp_open: Family::default(),
            tcp_open_connections: Family::default(),
            tcp_close: Family::default(),
            tcp_read_bytes: Family::default(),
            tcp_write_bytes: Family::default(),
            tcp_connection_duration_ms: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS_MS)),
            outbound: DetectionFamilies::default(),
            inbound: DetectionFamilies::default(),
            connection_close: Family::default(),
            config_last_reload_successful: Gauge::default(),
            config_reload_errors: Counter::default(),
            sk_msg_enabled: Gauge::default(),
            same_node_bypass_enabled: Gauge::default(),
            pods: Family::default(),
            learned_destinations: Gauge::default(),
            annotation_problems: Gauge::default(),
            watch_synced: Family::default(),
            watch_failures: Family::default(),
        };
        // An agent does not start with a bad config.
        families.config_last_reload_successful.set(1);
        families
    }

    /// Registers the families. The encoder appends `_total` to counters, `_info` to the build, and
    /// a full stop to every help text.
    fn register(&self, registry: &mut Registry) {
        registry.register("tcp_open", "Connections opened", self.tcp_open.clone());
        let help = "Connections that are open now";
        registry.register("tcp_open_connections", help, self.tcp_open_connections.clone());
        registry.register("tcp_close", "Connections closed", self.tcp_close.clone());
        registry.register("tcp_read_bytes", "Bytes read from the peer", self.tcp_read_bytes.clone());
        registry.register("tcp_write_bytes", "Bytes written to the peer", self.tcp_write_bytes.clone());
        let help = "How long closed connections lived, in milliseconds";
        registry.register("tcp_connection_duration_ms", help, self.tcp_connection_duration_ms.clone());
        self.http.register(registry);
        for (direction, families) in
            [(Direction::Outbound, &self.outbound), (Direction::Inbound, &self.inbound)]
        {
            let registry = registry.sub_registry_with_prefix(direction.label());
            let help = "What detection found";
            registry.register("tcp_detect_http_results", help, families.http_results.clone());
            let help = "Connections by protocol and by how it became known";
            registry.register("tcp_protocol_connections", help, families.protocol_connections.clone());
            self.http.register_direction(direction, registry);
        }
        let sluice = registry.sub_registry_with_prefix("sluice");
        let help = "Connections closed, by reason";
        sluice.register("connection_close", help, self.connection_close.clone());
        self.http.register_own(sluice);
        self.kernel_path.register(sluice);
        let help = "Whether the config that was read last is in force";
        sluice.register("config_last_reload_successful", help, self.config_last_reload_successful.clone());
        let help = "Changed configs that were refused";
        sluice.register("config_reload_errors", help, self.config_reload_errors.clone());
        let help = "Whether new connections may use sk_msg";
        sluice.register("sk_msg_enabled", help, self.sk_msg_enabled.clone());
        let help = "Whether connections of workloads that want it may take the same-node bypass";
        sluice.register("same_node_bypass_enabled", help, self.same_node_bypass_enabled.clone());
        let help = "Destinations that are learned to be opaque";
        sluice.register("learned_destinations", help, self.learned_destinations.clone());
        sluice.register("pods", "Pods of this node, by what becomes of them", self.pods.clone());
        let help = "Annotations whose values cannot be used";
        sluice.register("annotation_problems", help, self.annotation_problems.clone());
        let help = "Whether what is watched of the cluster has been listed once";
        sluice.register("kubernetes_watch_synced", help, self.watch_synced.clone());
        let help = "Attempts to list or watch that failed";
        sluice.register("kubernetes_watch_failures", help, self.watch_failures.clone());
        let build = Info::new(BuildLabels { version: env!("CARGO_PKG_VERSION") });
        sluice.register("build", "The running version", build);
    }

    /// Counts a connection whose protocol became known.
    pub(super) fn detected(&self, direction: Direction, protocol: &'static str, detected_by: &'static str) {
        let families = match direction {
            Direction::Outbound => &self.outbound,
            Direction::Inbound => &self.inbound,
        };
        let (result, protocol) = match (protocol, detected_by) {
            // Configured or learned, not detected: there is no result.
            ("opaque", "config" | "learned") => (None, "opaq"),
            // Nobody spoke. Linkerd's word for a connection of which no more is known.
            (_, "silent") => (Some("silent"), "detect"),
            ("http/1", _) => (Some("http/1"), "http/1"),
            ("http/2", _) => (Some("http/2"), "http/2"),
            ("grpc", _) => (Some("http/2"), "grpc"),
            ("opaque", _) => (Some("not_http"), "opaq"),
            (other, _) => (Some("not_http"), other),
        };
        if let Some(result) = result {
            families.http_results.get_or_create(&ResultLabels { result }).inc();
        }
        families.protocol_connections.get_or_create(&ProtocolLabels { protocol, detected_by }).inc();
    }

    /// Resolves the series of a workload and target.
    fn series(&self, direction: Direction, workload: Arc<str>, target: &Target) -> TargetSeries {
        let src = self.socket_series(direction, Peer::Src, &workload, target);
        let dst = self.socket_series(direction, Peer::Dst, &workload, target);
        let target = target.clone();
        TargetSeries {
            direction,
            workload,
            target,
            src,
            dst,
            finished: OnceLock::new(),
            authorities: TargetAuthorities::default(),
        }
    }

    fn socket_series(
        &self,
        direction: Direction,
        peer: Peer,
        workload: &Arc<str>,
        target: &Target,
    ) -> SocketSeries {
        let labels = SocketLabels::new(direction, peer, workload, target);
        let duration_labels = DurationLabels {
            direction: direction.label(),
            peer: peer.label(),
            workload: Arc::clone(workload),
        };
        SocketSeries {
            opened: self.tcp_open.get_or_create_owned(&labels),
            open: self.tcp_open_connections.get_or_create_owned(&labels),
            read_bytes: self.tcp_read_bytes.get_or_create_owned(&labels),
            written_bytes: self.tcp_write_bytes.get_or_create_owned(&labels),
            duration_ms: self.tcp_connection_duration_ms.get_or_create_owned(&duration_labels),
            closed_well: OnceLock::new(),
            labels,
        }
    }
}
