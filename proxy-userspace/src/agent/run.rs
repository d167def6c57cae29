//! `sluice run`: a node driven by a config file, reloaded when it changes.

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};

use proxy_common::LogLevel;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

use super::{
    EnrolError, NetnsAt, Node, NodeOptions, NotRoot, WorkloadSpec,
    config_file::ConfigFile,
    descriptors,
    kubelet::{self, Kubelet},
    place::Found,
    pods::{PodState, Pods, PodsError, Snapshot},
    require_root,
};
use crate::{
    admin::{AdminError, AdminServer, AdminState},
    config::{Config, ConfigError, WorkloadConfig},
    kernel::{AgentStatus, Cgroup, KernelError, OwnCgroup, Pins},
    policy::{EnrolMode, OtlpEndpoint, SkMsgMode},
    spans::{Spans, SpansError},
    tap::{self, Answers, SocketError},
};

/// How often the config file and the places of the workloads are looked at.
const CONFIG_POLL: Duration = Duration::from_millis(500);

/// When `/ready` says so although the cluster could not be listed: an API server that stays away must not
/// hold up the node.
const READY_AT_LAST: Duration = Duration::from_secs(60);

/// What a line of the status begins with that tells why workloads are not.
const NOT_ENROLLED: &str = "not enrolled again";
/// What the line begins with that tells why the kubelet's probes go through the proxy.
const KUBELET_MISSING: &str = "kubelet-cgroup";

/// How to run the agent.
#[derive(Debug)]
pub(crate) struct RunOptions {
    pub(crate) config: PathBuf,
    /// Which pods are enrolled, whatever the config says.
    pub(crate) enrol: Option<EnrolMode>,
    pub(crate) pin_dir: PathBuf,
    /// Where taps ask; `None` is the socket that is named after the pins.
    pub(crate) control_socket: Option<PathBuf>,
    pub(crate) log_level: LogLevel,
}

/// Why the agent did not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Spans(#[from] SpansError),
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    #[error(transparent)]
    NotRoot(#[from] NotRoot),
    #[error(transparent)]
    Pods(#[from] PodsError),
    #[error("--enrol is for the pods of a cluster: expected a table [kubernetes] in {}", path.display())]
    EnrolWithoutCluster { path: PathBuf },
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
}

/// Runs the agent until SIGTERM or SIGINT.
pub(crate) async fn run(options: RunOptions) -> Result<(), RunError> {
    require_root("sluice run")?;
    let mut file = ConfigFile::new(options.config.clone(), options.enrol);
    let config = file.load()?;
    if options.enrol.is_some() && config.kubernetes.is_none() {
        return Err(RunError::EnrolWithoutCluster { path: options.config });
    }
    // Before the pins are claimed: an agent that gives up takes the hooks of a killed one with it. Where
    // another agent has the pins, it most likely has the address too, and is what to tell of.
    let admin = AdminServer::bind(config.admin).map_err(|error| match Pins::open(&options.pin_dir) {
        Ok(pins) if pins.is_claimed() => KernelError::AlreadyRunning { path: options.pin_dir.clone() }.into(),
        _ => RunError::from(error),
    })?;
    let mut stop = Stop::watch().map_err(RunError::Signals)?;
    let mut reload = signal(SignalKind::hangup()).map_err(RunError::Signals)?;

    if let Err(error) = descriptors::raise_limit() {
        tracing::warn!(%error, "the limit of descriptors stays as it is");
    }
    let own_cgroup = OwnCgroup::enter("sluice-agent")?;
    let (spans, exporting) = config.otlp_endpoint.as_ref().map(Spans::start).transpose()?.unzip();
    let pods = Pods::start(&config).await?;
    let mut agent = Agent::start(&config, &options, own_cgroup.of_proxy(), &admin, spans, pods)?;
    // Once the pins are this agent's: a socket that answers is not that of another one with the same pins.
    let control_socket =
        options.control_socket.clone().unwrap_or_else(|| tap::default_path(&options.pin_dir));
    let told = Arc::clone(&agent.told);
    let pods = move || {
        let view = told.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.view();
        serde_json::to_value(view).ok()
    };
    let answers = Answers::new(agent.node.tap().clone(), pods);
    let taps = tap::Server::bind(&control_socket, answers)?;
    agent.apply(config)?;
    agent.tell_of_pods();
    agent.publish();
    agent.node.dataplane().remove_stale_pins();
    let ready = Arc::new(AtomicBool::new(agent.pods.is_none()));
    let ready_at_last = Instant::now() + READY_AT_LAST;
    let state = AdminState { metrics: agent.node.metrics().clone(), ready: Arc::clone(&ready) };
    tracing::info!(
        workloads = agent.config.workloads.len(),
        admin = %admin.local_addr(),
        pins = %options.pin_dir.display(),
        control_socket = %control_socket.display(),
        sk_msg = %agent.status.sk_msg,
        "ready"
    );
    let (closing, closed) = tokio::sync::watch::channel(());
    let closing_of = |mut closed: tokio::sync::watch::Receiver<()>| async move {
        let _sender_gone = closed.changed().await;
    };
    let serving = tokio::spawn(admin.serve(state, closing_of(closed.clone())));
    let tapping = tokio::spawn(taps.serve(closing_of(closed)));

    let mut poll = tokio::time::interval(CONFIG_POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.wait() => break,
            _ = reload.recv() => agent.reload(&mut file),
            _ = poll.tick() => {
                if file.has_settled() {
                    agent.reload(&mut file);
                }
                agent.follow_workloads();
                if agent.pods.as_ref().is_some_and(Pods::have_moved) {
                    agent.follow_pods();
                } else {
                    agent.tell_of_pods();
                }
            }
            () = due(&mut agent.pods) => agent.follow_pods(),
        }
        if !ready.load(Ordering::Relaxed) {
            let is_late = Instant::now() >= ready_at_last;
            if is_late {
                tracing::warn!("the cluster could not be listed so far; ready without its pods");
            }
            let have_pods = agent.pods.as_ref().is_none_or(Pods::have_been_looked_at);
            ready.store(is_late || have_pods, Ordering::Release);
        }
    }
    ready.store(false, Ordering::Relaxed);
    drop(closing);
    let _whatever_they_say = tokio::join!(serving, tapping);
    drop(agent);
    if let Some(exporting) = exporting {
        exporting.finish().await;
    }
    Ok(())
}

/// Waits until pods are to be looked at; for ever where none are followed.
async fn due(pods: &mut Option<Pods>) {
    match pods {
        Some(pods) => pods.due().await,
        None => std::future::pending().await,
    }
}

/// What the workload says that wants `sk_msg` most.
fn strongest_sk_msg(config: &Config) -> SkMsgMode {
    let words = config.workloads.iter().map(|workload| workload.sk_msg);
    words.chain([config.sk_msg]).max_by_key(|mode| mode.strength()).unwrap_or_default()
}

struct Agent {
    node: Node,
    status: AgentStatus,
    /// What only a new process can change.
    fixed: (SocketAddr, SkMsgMode, Option<OtlpEndpoint>, Cluster),
    /// The last good one.
    config: Config,
    /// What was at the paths of its workloads when they were enrolled.
    found: Vec<Found>,
    /// The pods of this node, where the config says that this is one of a cluster.
    pods: Option<Pods>,
    /// How they fare, for whoever asks.
    told: Arc<Mutex<Option<Snapshot>>>,
    kubelet: Kubelet,
}

impl Agent {
    fn start(
        config: &Config,
        options: &RunOptions,
        own_cgroup: &Cgroup,
        admin: &AdminServer,
        spans: Option<Spans>,
        pods: Option<Pods>,
    ) -> Result<Self, RunError> {
        let node = Node::start(NodeOptions {
            pin_dir: Some(&options.pin_dir),
            sk_msg: strongest_sk_msg(config),
            own_cgroup,
            log_level: options.log_level,
            reports: None,
            spans,
        })?;
        let status = AgentStatus {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            admin: Some(admin.local_addr()),
            // Absolute, for whoever asks from another directory.
            config: Some(options.config.canonicalize().unwrap_or_else(|_| options.config.clone())),
            config_error: None,
            missing: Vec::new(),
            sk_msg: node.sk_msg().to_string(),
            restart_for: None,
            pods: None,
        };
        Ok(Self {
            node,
            status,
            fixed: (config.admin, strongest_sk_msg(config), config.otlp_endpoint.clone(), cluster(config)),
            // Of which no workload is enrolled yet.
            config: Config { workloads: Vec::new(), ..config.clone() },
            found: Vec::new(),
            pods,
            told: Arc::default(),
            kubelet: Kubelet::default(),
        })
    }

    /// Puts a config in force. A workload that an earlier one had in the same place may be gone from it:
    /// then it is not enrolled. One that is new must be there.
    fn apply(&mut self, config: Config) -> Result<(), RunError> {
        let found: Vec<_> = config.workloads.iter().map(Found::of).collect();
        let (mut specs, mut kept, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        for (workload, found) in config.workloads.iter().zip(&found) {
            let gone = if self.knows(workload) {
                found.gone(workload, self.node.enrolled_id(&workload.name))
            } else {
                None
            };
            if let Some(gone) = gone {
                missing.push(format!("{}: {}", workload.name, gone.what));
                kept.extend(gone.stays.then_some(workload.name.as_str()));
                continue;
            }
            specs.push(spec(&config, workload).map_err(EnrolError::of(&workload.name))?);
        }
        let names: BTreeSet<_> = config.workloads.iter().map(|workload| workload.name.as_str()).collect();
        // Pods stay as they are, but for one whose name is given to another.
        let before: BTreeSet<_> =
            self.config.workloads.iter().map(|workload| workload.name.as_str()).collect();
        let is_kept = |name: &str| kept.contains(&name) || !before.contains(name) && !names.contains(name);
        self.node.apply_and_keep(specs, is_kept)?;
        for gone in missing.iter().filter(|gone| !self.status.missing.contains(gone)) {
            tracing::warn!(%gone, "a workload is not where it was; it is looked for");
        }
        for workload in &config.workloads {
            let is_missing = |lines: &[String]| lines.iter().any(|line| tells_of(line, &workload.name));
            if is_missing(&self.status.missing) && !is_missing(&missing) {
                tracing::info!(workload = %workload.name, "a workload is where it was again, and enrolled");
            }
        }
        if self.status.missing.iter().any(|line| line.starts_with(NOT_ENROLLED)) {
            tracing::info!("every workload that has changed its place is enrolled again");
        }
        missing.extend(self.follow_kubelet(&config));
        self.status.missing = missing;
        self.found = found;
        self.config = config;
        if let Some(pods) = &mut self.pods {
            pods.configure(&self.config);
        }
        Ok(())
    }

    /// Enrols the pods that are there, and lets those that are gone leave.
    fn follow_pods(&mut self) {
        let Some(pods) = &mut self.pods else { return };
        let config = &self.config;
        let is_of_config = |name: &str| config.workloads.iter().any(|workload| workload.name == name);
        let specs = pods.specs(is_of_config);
        let node = &mut self.node;
        // It waits for the kernel: connections on this thread go on elsewhere.
        let result = tokio::task::block_in_place(|| {
            let refused = node.apply_each(specs, is_of_config)?;
            node.set_destinations(pods.destinations())?;
            Ok::<_, EnrolError>(refused)
        });
        match result {
            Ok(refused) => {
                for (name, error) in refused {
                    pods.refused(&name, error.into_cause().with_causes());
                }
            }
            Err(error) => {
                let error = error.into_cause().with_causes();
                tracing::error!(error, "the pods stay as they are");
                pods.failed();
            }
        }
        self.tell_of_pods();
    }

    /// Shows how the pods and the watches fare: in the metrics, in the status, and to whoever asks.
    fn tell_of_pods(&mut self) {
        let Some(pods) = &self.pods else { return };
        let snapshot = pods.snapshot();
        let counts = snapshot.counts();
        let metrics = self.node.metrics();
        let states = [
            (PodState::Enrolled.label(), counts.enrolled),
            (PodState::Waiting.label(), counts.waiting),
            (PodState::LeftAlone.label(), counts.left_alone),
        ];
        metrics.set_pods(&states, counts.problems);
        for watch in &snapshot.health().resources {
            metrics.set_watch(watch.resource.label(), watch.is_synced, watch.failures);
        }
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
        if self.status.pods != Some(counts) {
            self.status.pods = Some(counts);
            self.publish();
        }
    }

    /// Whether the workload has been enrolled where it is said to be.
    fn knows(&self, workload: &WorkloadConfig) -> bool {
        self.config.workloads.iter().any(|known| {
            known.name == workload.name
                && known.cgroup == workload.cgroup
                && known.netns == workload.netns
                && known.foreign_proxy == workload.foreign_proxy
        })
    }

    /// Lets the kubelet's probes pass, wherever its cgroup is now; a line for the status where they do not.
    fn follow_kubelet(&mut self, config: &Config) -> Option<String> {
        let path = self.kubelet.place(config);
        let before = std::mem::replace(&mut self.kubelet.at, kubelet::at(path.as_deref()));
        let told = |line: &&String| line.starts_with(KUBELET_MISSING);
        if self.kubelet.at == before {
            return self.status.missing.iter().find(told).cloned();
        }
        let error = anyhow::Error::from(self.node.let_probes_pass(path.as_deref()).err()?);
        tracing::warn!(error = format!("{error:#}"), "the kubelet's probes go through the proxy");
        Some(format!("{KUBELET_MISSING}: {error:#}"))
    }

    /// Enrols again what was removed and made again at the same path, as systemd does with the cgroup
    /// of a service that it restarts: it is another cgroup by then.
    fn follow_workloads(&mut self) {
        let kubelet = self.kubelet.place(&self.config);
        let kubelet_stays = self.kubelet.at == kubelet::at(kubelet.as_deref());
        if kubelet_stays && self.config.workloads.iter().map(Found::of).eq(self.found.iter().copied()) {
            return;
        }
        if let Err(error) = self.apply(self.config.clone()) {
            // Tried at each poll, told once.
            let message = format!("{NOT_ENROLLED}: {:#}", anyhow::Error::from(error));
            if self.status.missing.contains(&message) {
                return;
            }
            tracing::error!(error = %message, "a workload that has changed its place");
            self.status.missing.retain(|line| !line.starts_with(NOT_ENROLLED));
            self.status.missing.push(message);
        }
        self.publish();
    }

    /// Shows the status to the command line.
    fn publish(&mut self) {
        if let Err(error) = self.node.control().set_agent_status(&self.status) {
            tracing::error!(%error, "cannot publish the status");
        }
    }

    /// The settings of `config` that only a new process can put in force.
    fn restart_for(&self, config: &Config) -> Option<String> {
        let (admin, sk_msg, otlp_endpoint, cluster_of_start) = &self.fixed;
        let changed: Vec<_> = [
            (config.admin != *admin, "admin"),
            (strongest_sk_msg(config).strength() > sk_msg.strength(), "sk-msg"),
            (config.otlp_endpoint != *otlp_endpoint, "tracing"),
            (cluster(config) != *cluster_of_start, "kubernetes"),
        ]
        .into_iter()
        .filter_map(|(changed, setting)| changed.then_some(setting))
        .collect();
        (!changed.is_empty()).then(|| changed.join(", "))
    }

    /// Takes over the config file as it is; on error the last good config stays, and the error shows.
    fn reload(&mut self, file: &mut ConfigFile) {
        match file.load().map_err(RunError::from).and_then(|config| self.apply(config)) {
            Ok(()) => {
                self.status.config_error = None;
                self.status.restart_for = self.restart_for(&self.config);
                self.node.metrics().config_reloaded();
                tracing::info!(workloads = self.config.workloads.len(), "config reloaded");
                if let Some(settings) = &self.status.restart_for {
                    tracing::warn!(settings, "in force after a restart only");
                }
            }
            Err(error) => {
                if matches!(error, RunError::Enrol(EnrolError::Kernel(KernelError::PinsLocked { .. }))) {
                    file.load_again();
                }
                let message = format!("{:#}", anyhow::Error::from(error));
                self.node.metrics().config_reload_failed();
                tracing::error!(error = %message, "the last good config stays in force");
                self.status.config_error = Some(message);
            }
        }
        self.publish();
    }
}

/// Which node of which cluster this is, where it is one.
type Cluster = Option<(Option<String>, Option<PathBuf>)>;

fn cluster(config: &Config) -> Cluster {
    let kubernetes = config.kubernetes.as_ref()?;
    Some((kubernetes.node_name.clone(), kubernetes.kubeconfig.clone()))
}

/// Whether a line of the status is about this workload.
fn tells_of(line: &str, workload: &str) -> bool {
    line.strip_prefix(workload).is_some_and(|rest| rest.starts_with(": "))
}

fn spec(config: &Config, workload: &WorkloadConfig) -> Result<WorkloadSpec, KernelError> {
    let cgroup = Cgroup::open(&workload.cgroup)?;
    let foreign_proxy = match &workload.foreign_proxy {
        Some(proxy) => Some((Cgroup::open(&proxy.cgroup)?, proxy.port.get())),
        None => None,
    };
    Ok(WorkloadSpec {
        netns: workload.netns.clone().map_or(NetnsAt::Own, NetnsAt::File),
        when_proxy_down: workload.when_proxy_down,
        include_loopback: workload.include_loopback,
        sk_msg: workload.sk_msg,
        inbound: workload.inbound,
        skip_subnets: workload.skip_subnets.clone(),
        foreign_proxy,
        ..WorkloadSpec::new(&workload.name, cgroup, config.table(workload))
    })
}

/// SIGTERM and SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn watch() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
