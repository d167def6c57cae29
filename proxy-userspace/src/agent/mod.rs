//! The agent: wires the kernel's side of a workload to the connections of its proxy.
//!
//! [`Node`] enrols workloads and keeps the proxy's heart beating; [`run`] drives one from a config
//! file. `sluice exec` drives another for a single command.

mod bypass;
mod config_file;
pub(crate) mod descriptors;
mod enrolled;
mod heartbeat;
mod inbound;
mod kernel_path;
mod kubelet;
mod learner;
mod listeners;
mod place;
mod pods;
mod run;
mod runtime;
mod side;
mod sk_msg;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::Path,
    sync::Arc,
};

use proxy_common::LogLevel;
use tokio::{runtime::Handle, task::JoinHandle};

use self::{
    bypass::Bypass,
    enrolled::Shared,
    heartbeat::Heartbeat,
    inbound::InboundWatch,
    kernel_path::{Accounts, Bookkeeper, Known, KnownWorkload},
    learner::Learner,
    side::KernelSide,
    sk_msg::SkMsg,
};
pub(crate) use self::{
    enrolled::{Enrolled, NetnsAt, WorkloadSpec},
    pods::{ListView, PodState, PodView, PodsView, ServicePortView, ServiceView, WatchView},
    run::{RunOptions, run},
    runtime::{block_on, default_threads},
};
use crate::{
    connection::{Live, ReportSink},
    kernel::{Cgroup, Control, Dataplane, KernelError, Records},
    metrics::Metrics,
    policy::{BypassMode, PortTable, SkMsgMode},
    spans::Spans,
    tap::Hub,
};

/// Why workloads were not enrolled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolError {
    /// One of them cannot be.
    #[error("workload \"{name}\"")]
    Workload { name: String, source: KernelError },
    /// The kernel does not take them.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

impl EnrolError {
    fn of(name: &str) -> impl FnOnce(KernelError) -> Self + use<> {
        let name = name.to_owned();
        |source| Self::Workload { name, source }
    }

    /// What went wrong, where there is one workload only.
    pub(crate) fn into_cause(self) -> KernelError {
        match self {
            Self::Workload { source, .. } | Self::Kernel(source) => source,
        }
    }
}

/// This process may not do what a node takes.
#[derive(Debug, thiserror::Error)]
#[error("`{what}` needs root, to load kernel programs and attach them to cgroups; got user id {uid}")]
pub(crate) struct NotRoot {
    what: &'static str,
    uid: nix::unistd::Uid,
}

/// Asks for root before anything else fails for want of it.
pub(crate) fn require_root(what: &'static str) -> Result<(), NotRoot> {
    let uid = nix::unistd::Uid::effective();
    if uid.is_root() { Ok(()) } else { Err(NotRoot { what, uid }) }
}

/// The dataplane of this process, and the workloads enrolled in it.
pub(crate) struct Node {
    /// First, so that listeners close before the programs go.
    enrolled: BTreeMap<String, Enrolled>,
    inbound: InboundWatch,
    kernel_log: JoinHandle<()>,
    _heartbeat: Heartbeat,
    control: Control,
    destinations: BTreeMap<IpAddr, PortTable>,
    records: Arc<Records>,
    connections: Handle,
    metrics: Metrics,
    reports: Option<ReportSink>,
    tap: Hub,
    spans: Option<Spans>,
    live: Live,
    lanes: FastLanes,
    own_cgroup: Cgroup,
    known: Known,
    learner: Arc<Learner>,
    bookkeeper: Bookkeeper,
    dataplane: Dataplane,
}

/// What is used of the ways past TCP.
#[derive(Debug)]
struct FastLanes {
    sk_msg: SkMsg,
    bypass: Bypass,
}

/// How to start a [`Node`].
pub(crate) struct NodeOptions<'a> {
    /// Where to pin the maps; nowhere if `None`.
    pub(crate) pin_dir: Option<&'a Path>,
    /// Whether application sends travel by `sk_msg`: the strongest word of any workload.
    pub(crate) sk_msg: SkMsgMode,
    /// The cgroup that this process runs in, and nobody else: accepted sockets belong to it.
    pub(crate) own_cgroup: &'a Cgroup,
    /// Where connections live.
    pub(crate) connections: Handle,
    /// How much the programs log.
    pub(crate) log_level: LogLevel,
    /// Where finished connections are reported, if anywhere.
    pub(crate) reports: Option<ReportSink>,
    /// Where requests that are traced become spans, if anywhere.
    pub(crate) spans: Option<Spans>,
}

impl Node {
    /// Loads the programs and starts the heartbeat. Call it within a tokio runtime.
    pub(crate) fn start(options: NodeOptions<'_>) -> Result<Self, KernelError> {
        let mut dataplane = Dataplane::load(options.pin_dir)?;
        let mut control = dataplane.control()?;
        let changing = dataplane.lock_for_writing()?;
        control.set_log_level(options.log_level)?;
        dataplane.attach_listeners(options.own_cgroup)?;
        let sk_msg = SkMsg::start(&mut dataplane, &mut control, options.sk_msg)?;
        drop(changing);
        let counters = dataplane.control()?;
        let metrics = Metrics::new(move || hook_outcomes(&counters));
        metrics.set_sk_msg_enabled(sk_msg.is_attached());
        let records = Arc::new(dataplane.records()?);
        let learner = Arc::new(Learner::new(dataplane.control()?, metrics.clone()));
        let kernel_log = tokio::spawn(pass_log_on(dataplane.kernel_log()?));
        let known = Known::default();
        let accounts = Accounts::new(metrics.clone(), options.reports.clone(), known.clone());
        let bookkeeper =
            Bookkeeper::start(accounts, dataplane.closed_events()?, dataplane.open_connections()?);
        Ok(Self {
            enrolled: BTreeMap::new(),
            inbound: InboundWatch::start(),
            kernel_log,
            _heartbeat: Heartbeat::start(dataplane.control()?, &options.connections)
                .map_err(KernelError::Thread)?,
            control,
            destinations: BTreeMap::new(),
            records,
            connections: options.connections,
            metrics,
            reports: options.reports,
            tap: Hub::default(),
            spans: options.spans,
            live: Live::default(),
            lanes: FastLanes { sk_msg, bypass: Bypass::default() },
            own_cgroup: options.own_cgroup.try_clone()?,
            known,
            learner,
            bookkeeper,
            dataplane,
        })
    }

    /// Enrols workloads, or gives enrolled ones another config; those that are not in `specs` leave.
    /// A port config that is the same as before does not undo what `sluice ports` changed since.
    ///
    /// # Errors
    /// When one of them cannot be enrolled; then nothing has changed.
    pub(crate) fn apply(&mut self, specs: Vec<WorkloadSpec>) -> Result<(), EnrolError> {
        self.apply_and_keep(specs, |_| false)
    }

    /// [`Self::apply`]; the enrolled workloads of these names stay as they are.
    fn apply_and_keep(
        &mut self,
        specs: Vec<WorkloadSpec>,
        is_kept: impl Fn(&str) -> bool,
    ) -> Result<(), EnrolError> {
        // Everything that can fail comes before the kernel is told anything. Dropping `next` closes the
        // new listeners and detaches the new hooks.
        let _changing = self.dataplane.lock_for_writing()?;
        let live = self.live_tables()?;
        let mut next = self.kept(is_kept, &live);
        for spec in specs {
            let enrolled = self.make_ready(spec, &live)?;
            next.insert(enrolled.name().to_owned(), enrolled);
        }
        self.commit(next, &live)
    }

    /// Enrols workloads, or gives enrolled ones another config, each by itself; those that are neither
    /// in `specs` nor kept leave. One that cannot be enrolled is as if it were not there; why is returned.
    ///
    /// # Errors
    /// When the kernel takes none of it; then nothing has changed.
    fn apply_each(
        &mut self,
        specs: Vec<WorkloadSpec>,
        is_kept: impl Fn(&str) -> bool,
    ) -> Result<Vec<(String, EnrolError)>, EnrolError> {
        let _changing = self.dataplane.lock_for_writing()?;
        let live = self.live_tables()?;
        let mut next = self.kept(is_kept, &live);
        let mut refused = Vec::new();
        for spec in specs {
            let name = spec.name().to_owned();
            match self.make_ready(spec, &live) {
                Ok(enrolled) => {
                    next.insert(name, enrolled);
                }
                Err(error) => refused.push((name, error)),
            }
        }
        self.commit(next, &live)?;
        Ok(refused)
    }

    /// The port configs as the kernel has them, by workload.
    fn live_tables(&self) -> Result<BTreeMap<u64, PortTable>, KernelError> {
        Ok(self.control.workloads()?.into_iter().map(|view| (view.id, view.table)).collect())
    }

    /// What stays as it is, with what `sluice ports` has changed of it.
    fn kept(
        &self,
        is_kept: impl Fn(&str) -> bool,
        live: &BTreeMap<u64, PortTable>,
    ) -> BTreeMap<String, Enrolled> {
        let kept = self.enrolled.iter().filter(|(name, _)| is_kept(name));
        kept.map(|(name, before)| {
            let mut enrolled = before.clone();
            enrolled.keep_live_ports(before, live);
            (name.clone(), enrolled)
        })
        .collect()
    }

    /// Opens a workload's listeners and attaches its hooks, as far as it has not got them.
    fn make_ready(
        &mut self,
        spec: WorkloadSpec,
        live: &BTreeMap<u64, PortTable>,
    ) -> Result<Enrolled, EnrolError> {
        let name = spec.name().to_owned();
        self.want_bypass(spec.same_node_bypass).map_err(EnrolError::of(&name))?;
        let before = self.enrolled.get(&name);
        let mut enrolled = match before.filter(|before| before.is_same_place(&spec, &self.lanes)) {
            Some(before) => before.with_policy(&spec, &self.lanes),
            None => self.prepare(spec).map_err(EnrolError::of(&name))?,
        };
        if let Some(before) = before {
            enrolled.keep_live_ports(before, live);
        }
        enrolled.attach(&mut self.dataplane, self.enrolled.values()).map_err(EnrolError::of(&name))?;
        Ok(enrolled)
    }

    /// Tries the same-node bypass where a workload wants it and nobody has before.
    fn want_bypass(&mut self, mode: BypassMode) -> Result<(), KernelError> {
        self.lanes.bypass.want(mode, &mut self.dataplane, &mut self.control, &self.own_cgroup)?;
        self.metrics.set_same_node_bypass_enabled(self.lanes.bypass.is_attached());
        Ok(())
    }

    /// Tells the kernel what is different.
    fn commit(
        &mut self,
        mut next: BTreeMap<String, Enrolled>,
        live: &BTreeMap<u64, PortTable>,
    ) -> Result<(), EnrolError> {
        let mut inbound_taken = BTreeSet::new();
        for enrolled in next.values_mut() {
            enrolled.attach_inbound(&self.dataplane, self.enrolled.values(), &mut inbound_taken);
        }
        let is_known = |enrolled: &&Enrolled| {
            let before = self.enrolled.get(enrolled.name()).map(Enrolled::enrolment);
            before == Some(enrolled.enrolment())
                && live.get(&enrolled.id()) == Some(&enrolled.enrolment().table)
        };
        let changed: Vec<_> = next
            .values()
            .filter(|enrolled| !is_known(enrolled))
            .map(|enrolled| enrolled.enrolment().clone())
            .collect();
        let staying: BTreeSet<_> = next.values().map(Enrolled::id).collect();
        let leaving: Vec<_> =
            self.enrolled.values().map(Enrolled::id).filter(|id| !staying.contains(id)).collect();
        if !changed.is_empty() || !leaving.is_empty() {
            self.control.enrol(&changed, &leaving)?;
        }
        let before = std::mem::replace(&mut self.enrolled, next);
        self.known.set(self.enrolled.values().map(|enrolled| KnownWorkload {
            id: enrolled.id(),
            name: enrolled.name(),
            netns: enrolled.netns(),
        }));
        let learning = self.enrolled.values().filter(|enrolled| enrolled.learns());
        self.learner.set_learning(learning.map(Enrolled::id));
        self.inbound.watch(self.enrolled.values().filter_map(Enrolled::inbound));
        for enrolled in self.enrolled.values() {
            if before.get(enrolled.name()).is_none_or(|before| !before.is_brought_as(enrolled)) {
                enrolled.bring_inbound();
            }
        }
        Ok(())
    }

    /// Lets connections to these addresses be as their tables say, and to no others.
    pub(crate) fn set_destinations(
        &mut self,
        destinations: BTreeMap<IpAddr, PortTable>,
    ) -> Result<(), KernelError> {
        let changed: Vec<_> = destinations
            .iter()
            .filter(|(address, table)| self.destinations.get(*address) != Some(*table))
            .map(|(address, table)| (*address, table))
            .collect();
        let leaving: Vec<_> = self
            .destinations
            .keys()
            .filter(|address| !destinations.contains_key(*address))
            .copied()
            .collect();
        if !changed.is_empty() || !leaving.is_empty() {
            let _changing = self.dataplane.lock_for_writing()?;
            self.control.change_destinations(&changed, &leaving)?;
        }
        self.destinations = destinations;
        Ok(())
    }

    /// Lets connections pass inbound that are opened in the kubelet's cgroup at this path, if there is one.
    fn let_probes_pass(&mut self, kubelet_cgroup: Option<&Path>) -> Result<(), KernelError> {
        // What is attached goes first: a cgroup that is not there any more has no probes.
        self.dataplane.attach_kubelet(None)?;
        let cgroup = kubelet_cgroup.map(Cgroup::open).transpose()?;
        self.dataplane.attach_kubelet(cgroup.as_ref())
    }

    /// The id of an enrolled workload's cgroup.
    fn enrolled_id(&self, name: &str) -> Option<u64> {
        self.enrolled.get(name).map(Enrolled::id)
    }

    /// Opens the listeners of a workload.
    fn prepare(&self, spec: WorkloadSpec) -> Result<Enrolled, KernelError> {
        // What is opened and started here belongs to the threads of connections.
        let _theirs = self.connections.enter();
        let kernel = Shared { records: &self.records, asks: self.inbound.asks(), learner: &self.learner };
        Enrolled::prepare(spec, &kernel, &self.lanes, |name, surroundings| crate::connection::Downstream {
            workload: name,
            surroundings,
            metrics: self.metrics.clone(),
            reports: self.reports.clone(),
            tap: self.tap.clone(),
            spans: self.spans.clone(),
            live: self.live.clone(),
        })
    }

    /// The metrics of this process.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Where taps may listen.
    pub(crate) fn tap(&self) -> &Hub {
        &self.tap
    }

    /// The shared maps.
    pub(crate) fn control(&mut self) -> &mut Control {
        &mut self.control
    }

    /// Stops the accounts of connections on the kernel path, when everything that has ended is in them.
    pub(crate) async fn finish_accounts(&mut self) {
        self.bookkeeper.finish().await;
    }

    /// What is loaded.
    pub(crate) fn dataplane(&self) -> &Dataplane {
        &self.dataplane
    }

    /// The connections that are open now.
    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    /// Whether `sk_msg` is in use, and why.
    pub(crate) fn sk_msg(&self) -> &SkMsg {
        &self.lanes.sk_msg
    }

    /// Whether the same-node bypass is in use, and why.
    pub(crate) fn bypass(&self) -> &Bypass {
        &self.lanes.bypass
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kernel_log.abort();
    }
}

fn hook_outcomes(control: &Control) -> Vec<(&'static str, &'static str, u64)> {
    match control.counters() {
        Ok(counters) => {
            counters.into_iter().map(|(counter, value)| (counter.hook(), counter.outcome(), value)).collect()
        }
        Err(error) => {
            tracing::warn!(%error, "cannot read the hooks' counters");
            Vec::new()
        }
    }
}

async fn pass_log_on(log: crate::kernel::KernelLog) {
    if let Err(error) = log.run().await {
        tracing::warn!(%error, "the kernel programs' log ends");
    }
}
