//! One enrolled workload: its cgroup, its listeners, its hooks.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::{AsRawFd as _, RawFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use proxy_common::{IpVersion, WorkloadName, flags};
use tokio::task::JoinHandle;

use super::{
    FastLanes, KernelSide, Learner,
    inbound::Asks,
    listeners::{Listeners, port},
};
use crate::{
    connection::{self, Downstream, Surroundings},
    kernel::{Attached, Cgroup, Dataplane, Enrolment, InboundHook, KernelError, Netns, NetnsId, Records},
    policy::{
        BypassMode, ClientAddress, LearnOpaque, OpaquePath, PortTable, SkMsgMode, SubnetSet, WhenProxyDown,
    },
};

/// How long the listeners of a workload that has left are kept, for connections that were on their way.
const LINGER: Duration = Duration::from_secs(1);

/// Where the network namespace of a workload is to be had.
#[derive(Debug)]
pub(crate) enum NetnsAt {
    /// It is this process's own.
    Own,
    /// In a file: `/run/netns/NAME` or `/proc/PID/ns/net`.
    File(PathBuf),
    /// It is held open already.
    Held(Netns, NetnsId),
}

impl NetnsAt {
    fn open(&self) -> Result<Netns, KernelError> {
        match self {
            Self::Own => Ok(Netns::own()),
            Self::File(path) => Netns::open(path),
            Self::Held(netns, _) => Ok(netns.clone()),
        }
    }

    /// Which one is there now.
    fn id(&self) -> Option<NetnsId> {
        match self {
            Self::Own => None,
            Self::File(path) => Netns::id_at(path),
            Self::Held(_, id) => Some(*id),
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Own | Self::Held(..) => None,
        }
    }
}

/// What is to be enrolled, and how.
#[derive(Debug)]
pub(crate) struct WorkloadSpec {
    pub(crate) name: String,
    pub(crate) cgroup: Cgroup,
    pub(crate) netns: NetnsAt,
    pub(crate) table: PortTable,
    /// Peers that are left alone, in both directions.
    pub(crate) skip_subnets: SubnetSet,
    pub(crate) when_proxy_down: WhenProxyDown,
    pub(crate) include_loopback: bool,
    pub(crate) report_skipped: bool,
    pub(crate) sk_msg: SkMsgMode,
    /// Whether they go past TCP where the other end is on this node and wants it too.
    pub(crate) same_node_bypass: BypassMode,
    /// Who carries the bytes of its opaque connections.
    pub(crate) opaque_path: OpaquePath,
    /// Whether its destinations may be learned to be opaque.
    pub(crate) learn_opaque: LearnOpaque,
    /// Whose address it sees as that of its clients, where its inbound connections are proxied at all.
    /// Only those of a network namespace of its own are.
    pub(crate) inbound: Option<ClientAddress>,
    /// The cgroup and port of another proxy that takes this one's place.
    pub(crate) foreign_proxy: Option<(Cgroup, u16)>,
}

impl WorkloadSpec {
    /// A workload in this process's network namespace, with every choice at its default.
    pub(crate) fn new(name: &str, cgroup: Cgroup, table: PortTable) -> Self {
        Self {
            name: name.to_owned(),
            cgroup,
            netns: NetnsAt::Own,
            table,
            skip_subnets: SubnetSet::EMPTY,
            when_proxy_down: WhenProxyDown::default(),
            include_loopback: false,
            report_skipped: false,
            sk_msg: SkMsgMode::default(),
            same_node_bypass: BypassMode::default(),
            opaque_path: OpaquePath::default(),
            learn_opaque: LearnOpaque::default(),
            inbound: None,
            foreign_proxy: None,
        }
    }

    /// What people call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn flags(&self, lanes: &FastLanes) -> u32 {
        let is_own_proxy = self.foreign_proxy.is_none();
        let is_on_kernel_path = self.opaque_path.is_kernel() && is_own_proxy;
        [
            (self.when_proxy_down == WhenProxyDown::Strict, flags::STRICT),
            (self.include_loopback, flags::LOOPBACK),
            (self.report_skipped, flags::REPORT_SKIPPED),
            (lanes.bypass.allows(self.same_node_bypass) && is_own_proxy, flags::SAME_NODE_BYPASS),
            (lanes.sk_msg.allows(self.sk_msg) && is_own_proxy, flags::SK_MSG),
            (is_on_kernel_path, flags::OPAQUE_KERNEL),
            (is_on_kernel_path && self.learn_opaque == LearnOpaque::On, flags::LEARN_OPAQUE),
            (!is_own_proxy, flags::FOREIGN_PROXY),
        ]
        .into_iter()
        .filter_map(|(set, flag)| set.then_some(flag))
        .fold(0, |flags, flag| flags | flag)
    }
}

/// What all workloads share of the kernel's side.
pub(super) struct Shared<'a> {
    pub(super) records: &'a Arc<Records>,
    pub(super) asks: &'a Arc<Asks>,
    pub(super) learner: &'a Arc<Learner>,
}

/// A workload that is enrolled, or about to be.
#[derive(Clone, Debug)]
pub(crate) struct Enrolled {
    enrolment: Enrolment,
    /// Its port config as the config has it; `sluice ports` may have changed the kernel's since.
    configured: PortTable,
    place: Arc<Place>,
    /// `None` until they are attached.
    hooks: Option<Arc<Hooks>>,
    inbound: Inbound,
}

/// What becomes of the connections that it accepts.
#[derive(Clone, Debug)]
enum Inbound {
    /// Nothing yet; nor later, where its place has none.
    Unattached,
    /// They are brought to its listeners.
    Brought(Arc<InboundHook>),
    /// They count as those of another workload in the same network namespace.
    OfAnother,
    /// The kernel does not take the hook.
    Refused,
}

/// Where a workload is: what stays when only its policy changes.
#[derive(Debug)]
struct Place {
    cgroup: Cgroup,
    netns_path: Option<PathBuf>,
    netns_id: Option<NetnsId>,
    /// By its cookie, where the kernel tells that. Of a foreign proxy's workload nobody asks.
    netns: Option<(u64, Netns)>,
    foreign_proxy: Option<(Cgroup, u16)>,
    /// As the spec has it.
    inbound_wanted: Option<ClientAddress>,
    inbound: Option<InboundPlace>,
    /// They close the listeners when they end; open connections go on.
    accepting: Vec<JoinHandle<()>>,
}

/// A network namespace whose inbound connections are brought to the listeners.
#[derive(Debug)]
struct InboundPlace {
    netns: Netns,
    netns_cookie: u64,
    /// They live in the tasks that accept.
    listeners: Vec<(IpVersion, RawFd)>,
}

/// The hooks of a cgroup. One that gets another listener keeps them: attached a second time, they
/// would redirect what they have redirected.
#[derive(Debug)]
struct Hooks {
    cgroup: u64,
    foreign_proxy: Option<u64>,
    #[expect(dead_code, reason = "held for its Drop")]
    attached: Vec<Attached>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let accepting = std::mem::take(&mut self.accepting);
        let end = move || accepting.iter().for_each(JoinHandle::abort);
        // Closed at once, the listeners would reset what the kernel has brought there and nobody has
        // accepted yet. It brings no more.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    tokio::time::sleep(LINGER).await;
                    end();
                });
            }
            Err(_no_runtime) => end(),
        }
    }
}

impl Enrolled {
    /// Opens the workload's listeners; the kernel is not told yet.
    pub(super) fn prepare(
        spec: WorkloadSpec,
        shared: &Shared<'_>,
        lanes: &FastLanes,
        downstream: impl Fn(Arc<str>, Arc<dyn Surroundings>) -> Downstream,
    ) -> Result<Self, KernelError> {
        let mut enrolment = Enrolment {
            id: spec.cgroup.id(),
            level_bits: spec.cgroup.level_bits(),
            name: WorkloadName::new(&spec.name)
                .ok_or_else(|| KernelError::WorkloadName { name: spec.name.clone() })?,
            flags: spec.flags(lanes),
            listener_v4_port: 0,
            listener_v6_port: 0,
            table: spec.table.clone(),
            skip_subnets: spec.skip_subnets.clone(),
        };
        let mut accepting = Vec::new();
        let mut inbound = None;
        let mut known_netns = None;
        // Before it is opened: one that takes its place in between is seen as another.
        let netns_id = spec.netns.id();
        if let Some((_, port)) = &spec.foreign_proxy {
            enrolment.listener_v4_port = *port;
            enrolment.listener_v6_port = *port;
        } else {
            let netns = spec.netns.open()?;
            let listeners = Listeners::open(&netns, spec.netns.path())?;
            known_netns = with_cookie(&netns);
            if spec.inbound.is_some()
                && !netns.is_own()
                && let Some((netns_cookie, _)) = known_netns
            {
                inbound = Some(InboundPlace::of(&netns, netns_cookie, &listeners));
            }
            let side = KernelSide {
                records: Arc::clone(shared.records),
                netns,
                client_address: spec.inbound.unwrap_or_default(),
                asks: Arc::clone(shared.asks),
                learner: Arc::clone(shared.learner),
                netns_cookie: inbound.as_ref().map(|inbound: &InboundPlace| inbound.netns_cookie),
            };
            let downstream = Arc::new(downstream(Arc::from(spec.name()), Arc::new(side)));
            enrolment.listener_v4_port = port(listeners.v4.as_ref());
            enrolment.listener_v6_port = port(listeners.v6.as_ref());
            let serve = |listener| tokio::spawn(connection::serve(listener, Arc::clone(&downstream)));
            accepting.extend([listeners.v4, listeners.v6].into_iter().flatten().map(serve));
        }
        let place = Place {
            cgroup: spec.cgroup,
            netns_path: spec.netns.path().map(Path::to_owned),
            netns_id,
            netns: known_netns,
            foreign_proxy: spec.foreign_proxy,
            inbound_wanted: spec.inbound,
            inbound,
            accepting,
        };
        Ok(Self {
            enrolment,
            configured: spec.table,
            place: Arc::new(place),
            hooks: None,
            inbound: Inbound::Unattached,
        })
    }

    /// The same workload with the policy of `spec`.
    pub(super) fn with_policy(&self, spec: &WorkloadSpec, lanes: &FastLanes) -> Self {
        let enrolment = Enrolment {
            flags: spec.flags(lanes),
            table: spec.table.clone(),
            skip_subnets: spec.skip_subnets.clone(),
            ..self.enrolment.clone()
        };
        Self { enrolment, configured: spec.table.clone(), ..self.clone() }
    }

    /// Keeps the port config that the kernel has, by workload, unless the config has another one than
    /// `before`: what `sluice ports` changed stays.
    pub(super) fn keep_live_ports(&mut self, before: &Self, live: &BTreeMap<u64, PortTable>) {
        if self.configured == before.configured
            && let Some(table) = live.get(&before.id())
        {
            self.enrolment.table = table.clone();
        }
    }

    /// Whether `spec` is the same cgroup, namespace and proxy, so that only the policy can differ.
    /// A namespace whose file is gone goes on for as long as somebody is in it.
    pub(super) fn is_same_place(&self, spec: &WorkloadSpec, lanes: &FastLanes) -> bool {
        let key = |(cgroup, port): &(Cgroup, u16)| (cgroup.id(), *port);
        self.place.cgroup.id() == spec.cgroup.id()
            && self.place.netns_path.as_deref() == spec.netns.path()
            && spec.netns.id().is_none_or(|id| self.place.netns_id == Some(id))
            && self.place.inbound_wanted == spec.inbound
            && self.place.foreign_proxy.as_ref().map(key) == spec.foreign_proxy.as_ref().map(key)
            && (self.enrolment.flags & flags::SK_MSG == spec.flags(lanes) & flags::SK_MSG)
    }

    /// Attaches the hooks, unless they are, or `others` has the same cgroup. Until the kernel knows the
    /// workload they let everything pass.
    pub(super) fn attach<'a>(
        &mut self,
        dataplane: &mut Dataplane,
        mut others: impl Iterator<Item = &'a Self>,
    ) -> Result<(), KernelError> {
        if self.hooks.is_some() {
            return Ok(());
        }
        let (cgroup, foreign_proxy) =
            (self.id(), self.place.foreign_proxy.as_ref().map(|(proxy, _)| proxy.id()));
        let is_same = |hooks: &Hooks| hooks.cgroup == cgroup && hooks.foreign_proxy == foreign_proxy;
        self.hooks = others.find_map(|other| other.hooks.clone().filter(|hooks| is_same(hooks)));
        if self.hooks.is_none() {
            let attached = match &self.place.foreign_proxy {
                None => dataplane.attach_workload(&self.place.cgroup)?,
                Some((proxy, _)) => dataplane.attach_foreign(&self.place.cgroup, proxy)?,
            };
            self.hooks = Some(Arc::new(Hooks { cgroup, foreign_proxy, attached }));
        }
        Ok(())
    }

    /// Attaches what brings its inbound connections, unless it is, or one of `others` is in the same
    /// namespace. A kernel that cannot is no reason not to enrol it. In a namespace that is in `taken`
    /// connections come in as those of another workload: nobody can tell whose they are.
    pub(super) fn attach_inbound<'a>(
        &mut self,
        dataplane: &Dataplane,
        others: impl Iterator<Item = &'a Self>,
        taken: &mut BTreeSet<u64>,
    ) {
        let Some(place) = &self.place.inbound else { return };
        if !taken.insert(place.netns_cookie) {
            if !matches!(self.inbound, Inbound::OfAnother) {
                tracing::warn!(
                    workload = self.name(),
                    "its inbound connections count as those of another workload in the same network namespace"
                );
            }
            self.inbound = Inbound::OfAnother;
            return;
        }
        if matches!(self.inbound, Inbound::Brought(_) | Inbound::Refused) {
            return;
        }
        let is_same = |hook: &&Arc<InboundHook>| hook.netns_cookie() == place.netns_cookie;
        let found = others.filter_map(Self::inbound).find(is_same).map(Arc::clone);
        let attach = || dataplane.attach_inbound(&place.netns, place.netns_cookie).map(Arc::new);
        self.inbound = match found.map_or_else(attach, Ok) {
            Ok(hook) => Inbound::Brought(hook),
            Err(error) => {
                self.warn_of_inbound(&error);
                Inbound::Refused
            }
        };
    }

    /// Brings its inbound connections to its listeners from now on.
    pub(super) fn bring_inbound(&self) {
        if let (Some(place), Inbound::Brought(hook)) = (&self.place.inbound, &self.inbound)
            && let Err(error) = hook.bring(self.id(), &place.listeners)
        {
            self.warn_of_inbound(&error);
        }
    }

    fn warn_of_inbound(&self, error: &KernelError) {
        tracing::warn!(workload = self.name(), error = error.with_causes(), "inbound connections go direct");
    }

    /// What brings its inbound connections, where something does.
    pub(super) fn inbound(&self) -> Option<&Arc<InboundHook>> {
        match &self.inbound {
            Inbound::Brought(hook) => Some(hook),
            Inbound::Unattached | Inbound::OfAnother | Inbound::Refused => None,
        }
    }

    /// What the kernel is to know of it.
    pub(super) fn enrolment(&self) -> &Enrolment {
        &self.enrolment
    }

    /// Whether inbound connections come to the same listeners by the same hook, if they do.
    pub(super) fn is_brought_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.place, &other.place) && self.inbound().is_some() == other.inbound().is_some()
    }

    /// Whether its destinations may be learned to be opaque.
    pub(super) fn learns(&self) -> bool {
        self.enrolment.flags & flags::LEARN_OPAQUE != 0
    }

    /// Id of its cgroup.
    pub(super) fn id(&self) -> u64 {
        self.enrolment.id
    }

    /// Its network namespace, by its cookie.
    pub(super) fn netns(&self) -> Option<&(u64, Netns)> {
        self.place.netns.as_ref()
    }

    /// What people call it.
    pub(super) fn name(&self) -> &str {
        self.enrolment.name.as_str()
    }
}

impl InboundPlace {
    fn of(netns: &Netns, netns_cookie: u64, listeners: &Listeners) -> Self {
        let listeners = [(IpVersion::V4, &listeners.v4), (IpVersion::V6, &listeners.v6)];
        let listeners = listeners
            .into_iter()
            .filter_map(|(version, listener)| Some((version, listener.as_ref()?.as_raw_fd())))
            .collect();
        Self { netns: netns.clone(), netns_cookie, listeners }
    }
}

/// `None` where the kernel does not tell the cookie.
fn with_cookie(netns: &Netns) -> Option<(u64, Netns)> {
    let told = netns.cookie().inspect_err(|error| {
        tracing::warn!(%error, "no cookie of a network namespace: inbound connections go direct");
    });
    Some((told.ok()?, netns.clone()))
}
