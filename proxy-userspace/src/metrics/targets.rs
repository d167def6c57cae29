//! The series of every workload and target that was seen, resolved once and bounded in number.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use proxy_common::Direction;

use super::http::TargetAuthorities;
use super::labels::{OVERFLOW, SocketLabels, Target};

/// Pairs of workload and target that keep their target labels, per direction.
pub const MAX_TARGETS: usize = 1_000;
/// Workloads that keep their name.
pub const MAX_WORKLOADS: usize = 1_000;

/// The series of one of a connection's sockets.
#[derive(Debug)]
pub(super) struct SocketSeries {
    /// The labels, for the families that are resolved at close.
    pub(super) labels: SocketLabels,
    /// `tcp_open_total`.
    pub(super) opened: Counter,
    /// `tcp_open_connections`.
    pub(super) open: Gauge,
    /// `tcp_read_bytes_total`.
    pub(super) read_bytes: Counter,
    /// `tcp_write_bytes_total`.
    pub(super) written_bytes: Counter,
    /// `tcp_connection_duration_ms`.
    pub(super) duration_ms: Histogram,
    /// `tcp_close_total` without an errno, which is how most close; there once one has.
    pub(super) closed_well: OnceLock<Counter>,
}

/// The series that the connections of one workload to one target share.
#[derive(Debug)]
pub(super) struct TargetSeries {
    /// Which way the connections go.
    pub(super) direction: Direction,
    /// The workload's label.
    pub(super) workload: Arc<str>,
    /// The target's labels.
    pub(super) target: Target,
    /// The socket to the side that connected.
    pub(super) src: SocketSeries,
    /// The socket to the upstream.
    pub(super) dst: SocketSeries,
    /// `sluice_connection_close_total` of those that both sides finished; there once one has ended so.
    pub(super) finished: OnceLock<Counter>,
    /// The series of requests, by whom they ask.
    pub(super) authorities: TargetAuthorities,
}

/// Finds a connection's series by workload and target.
#[derive(Debug)]
pub(super) struct Targets {
    table: RwLock<Table>,
}

impl Targets {
    /// An empty table.
    pub(super) fn new() -> Self {
        let table = Table {
            series: HashMap::new(),
            targets: [0; 2],
            workloads: HashSet::new(),
            overflow: OVERFLOW.into(),
        };
        Self { table: RwLock::new(table) }
    }

    /// The series for a workload and target, made by `create` where they are new.
    pub(super) fn resolve(
        &self,
        direction: Direction,
        workload: &Arc<str>,
        target: SocketAddr,
        create: impl FnOnce(Direction, Arc<str>, &Target) -> TargetSeries,
    ) -> Arc<TargetSeries> {
        let target = SocketAddr::new(target.ip().to_canonical(), target.port());
        let found =
            self.table.read().unwrap_or_else(PoisonError::into_inner).find(direction, workload, target);
        found.unwrap_or_else(|| {
            let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
            table.find_or_insert(direction, workload, target, create)
        })
    }

    /// The label of a workload: its name, or [`OVERFLOW`].
    pub(super) fn workload_label(&self, workload: &Arc<str>) -> Arc<str> {
        let found = self.table.read().unwrap_or_else(PoisonError::into_inner).known_label(workload);
        found.unwrap_or_else(|| {
            self.table.write().unwrap_or_else(PoisonError::into_inner).workload_label(workload)
        })
    }
}

/// What tells series apart: the workload's label, and the target, which is none for the series
/// that the targets beyond the bound share.
type Key = (Direction, Arc<str>, Option<SocketAddr>);

#[derive(Debug)]
struct Table {
    series: HashMap<Key, Arc<TargetSeries>>,
    /// Entries of `series` that have a target, by [`Direction`].
    targets: [usize; 2],
    /// Workloads that keep their name.
    workloads: HashSet<Arc<str>>,
    /// [`OVERFLOW`].
    overflow: Arc<str>,
}

impl Table {
    /// Whether no further target keeps its labels.
    fn is_full(&self, direction: Direction) -> bool {
        self.targets.get(direction as usize).is_none_or(|count| *count >= MAX_TARGETS)
    }

    /// The label of a workload, unless it is a new one that gets its own.
    fn known_label(&self, workload: &Arc<str>) -> Option<Arc<str>> {
        if self.workloads.contains(workload) {
            Some(Arc::clone(workload))
        } else {
            (self.workloads.len() >= MAX_WORKLOADS).then(|| Arc::clone(&self.overflow))
        }
    }

    fn workload_label(&mut self, workload: &Arc<str>) -> Arc<str> {
        self.known_label(workload).unwrap_or_else(|| {
            self.workloads.insert(Arc::clone(workload));
            Arc::clone(workload)
        })
    }

    fn find(
        &self,
        direction: Direction,
        workload: &Arc<str>,
        target: SocketAddr,
    ) -> Option<Arc<TargetSeries>> {
        let label = self.known_label(workload)?;
        let own = self.series.get(&(direction, Arc::clone(&label), Some(target)));
        let found = match own {
            None if self.is_full(direction) => self.series.get(&(direction, label, None)),
            own => own,
        };
        found.cloned()
    }

    fn find_or_insert(
        &mut self,
        direction: Direction,
        workload: &Arc<str>,
        target: SocketAddr,
        create: impl FnOnce(Direction, Arc<str>, &Target) -> TargetSeries,
    ) -> Arc<TargetSeries> {
        // Another thread may have been faster.
        if let Some(found) = self.find(direction, workload, target) {
            return found;
        }
        let label = self.workload_label(workload);
        let (target, target_labels) = if self.is_full(direction) {
            (None, Target::overflow())
        } else {
            if let Some(count) = self.targets.get_mut(direction as usize) {
                *count += 1;
            }
            (Some(target), Target::new(target))
        };
        let series = Arc::new(create(direction, Arc::clone(&label), &target_labels));
        self.series.insert((direction, label, target), Arc::clone(&series));
        series
    }
}
