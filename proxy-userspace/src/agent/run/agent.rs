//! What drives the node: the config file that is in force, the places of its workloads, the pods.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    num::NonZeroU8,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::runtime::Handle;

use super::{RunError, RunOptions};
use crate::{
    admin::AdminServer,
    agent::{
        EnrolError, NetnsAt, Node, NodeOptions, WorkloadSpec,
        config_file::ConfigFile,
        kubelet::{self, Kubelet},
        place::Found,
        pods::{PodState, Pods, Snapshot},
    },
    config::{Config, WorkloadConfig},
    kernel::{AgentStatus, Cgroup, KernelError},
    policy::{OtlpEndpoint, SkMsgMode},
    spans::Spans,
};

/// What a line of the status begins with that tells why workloads are not.
const NOT_ENROLLED: &str = "not enrolled again";
/// What the line begins with that tells why the kubelet's probes go through the proxy.
const KUBELET_MISSING: &str = "kubelet-cgroup";

/// What the workload says that wants `sk_msg` most.
fn strongest_sk_msg(config: &Config) -> SkMsgMode {
    let words = config.workloads.iter().map(|workload| workload.sk_msg);
    words.chain([config.sk_msg]).max_by_key(|mode| mode.strength()).unwrap_or_default()
}

pub(super) struct Agent {
    pub(super) node: Node,
    pub(super) status: AgentStatus,
    /// What only a new process can change.
    fixed: (SocketAddr, SkMsgMode, Option<NonZeroU8>, Option<OtlpEndpoint>, Cluster),
    /// The last good one.
    pub(super) config: Config,
    /// What was at the paths of its workloads when they were enrolled.
    found: Vec<Found>,
    /// The pods of this node, where the config says that this is one of a cluster.
    pub(super) pods: Option<Pods>,
    /// How they fare, for whoever asks.
    pub(super) told: Arc<Mutex<Option<Snapshot>>>,
    kubelet: Kubelet,
}

/// What an agent has besides its config.
pub(super) struct Surroundings<'a> {
    pub(super) own_cgroup: &'a Cgroup,
    pub(super) connections: Handle,
    pub(super) spans: Option<Spans>,
}

impl Agent {
    pub(super) fn start(
        config: &Config,
        options: &RunOptions,
        surroundings: Surroundings<'_>,
        admin: &AdminServer,
        pods: Option<Pods>,
    ) -> Result<Self, RunError> {
        let node = Node::start(NodeOptions {
            pin_dir: Some(&options.pin_dir),
            sk_msg: strongest_sk_msg(config),
            own_cgroup: surroundings.own_cgroup,
            connections: surroundings.connections,
            log_level: options.log_level,
            reports: None,
            spans: surroundings.spans,
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
            same_node_bypass: node.bypass().to_string(),
            restart_for: None,
            pods: None,
        };
        Ok(Self {
            node,
            status,
            fixed: (
                config.admin,
                strongest_sk_msg(config),
                config.threads,
                config.otlp_endpoint.clone(),
                cluster(config),
            ),
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
    pub(super) fn apply(&mut self, config: Config) -> Result<(), RunError> {
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
    pub(super) fn follow_pods(&mut self) {
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
    pub(super) fn tell_of_pods(&mut self) {
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
    pub(super) fn follow_workloads(&mut self) {
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
    pub(super) fn publish(&mut self) {
        self.status.same_node_bypass = self.node.bypass().to_string();
        if let Err(error) = self.node.control().set_agent_status(&self.status) {
            tracing::error!(%error, "cannot publish the status");
        }
    }

    /// The settings of `config` that only a new process can put in force.
    fn restart_for(&self, config: &Config) -> Option<String> {
        let (admin, sk_msg, threads, otlp_endpoint, cluster_of_start) = &self.fixed;
        let changed: Vec<_> = [
            (config.admin != *admin, "admin"),
            (strongest_sk_msg(config).strength() > sk_msg.strength(), "sk-msg"),
            (config.threads != *threads, "threads"),
            (config.otlp_endpoint != *otlp_endpoint, "tracing"),
            (cluster(config) != *cluster_of_start, "kubernetes"),
        ]
        .into_iter()
        .filter_map(|(changed, setting)| changed.then_some(setting))
        .collect();
        (!changed.is_empty()).then(|| changed.join(", "))
    }

    /// Takes over the config file as it is; on error the last good config stays, and the error shows.
    pub(super) fn reload(&mut self, file: &mut ConfigFile) {
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
        same_node_bypass: workload.same_node_bypass,
        opaque_path: workload.opaque_path,
        learn_opaque: workload.learn_opaque,
        inbound: workload.inbound,
        skip_subnets: workload.skip_subnets.clone(),
        foreign_proxy,
        ..WorkloadSpec::new(&workload.name, cgroup, config.table(workload))
    })
}
