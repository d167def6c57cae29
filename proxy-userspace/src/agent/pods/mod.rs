//! The pods of this node: what the cluster says is to be enrolled, and where on this machine it is.
//!
//! A pod is enrolled as soon as its cgroup is there with a process in it that has a network namespace of
//! its own. Until then it is looked for; what it connects to in the meantime goes direct.

mod place;
mod view;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use proxy_common::{Decision, Direction, PortRule, RuleSource};
use tokio::time::{Instant, sleep_until};

use self::place::Place;
pub(crate) use self::view::{
    ListView, PodState, PodView, PodsView, ServicePortView, ServiceView, Snapshot, WatchView,
};
use super::{NetnsAt, WorkloadSpec};
use crate::{
    config::Config,
    kernel::{Cgroup, KernelError, PodCgroups},
    kubernetes::{self, Destination, Handle, Key, KubernetesError, NodeDefaults, Options, PodPolicy},
    policy::{
        BypassMode, ClientAddress, EnrolMode, LearnOpaque, OpaquePath, PortTable, SkMsgMode, WhenProxyDown,
    },
};

/// Between two looks at what has changed: changes that come together are put in force together.
const REST: Duration = Duration::from_millis(20);
/// How soon a pod that is not there yet is looked for again, and how soon once that has lasted.
const SOON: Duration = Duration::from_millis(25);
const LATER: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);

/// Why pods are not followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PodsError {
    /// Nobody says which node this is.
    #[error(
        "expected the name of this node, as `kubectl get nodes` shows it, in kubernetes.node-name or in the environment variable NODE_NAME"
    )]
    NoNodeName,
    /// The API server cannot be asked.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// The kubelet's cgroups cannot be found.
    #[error(transparent)]
    Kernel(#[from] KernelError),
}

/// The pods of this node.
pub(super) struct Pods {
    handle: Handle,
    node_name: String,
    cgroups: PodCgroups,
    choices: Choices,
    /// Where pods that are, or can be, enrolled were found; by name, with the uid of the pod.
    places: HashMap<Key, (Arc<str>, Place)>,
    waiting: BTreeMap<Key, Waiting>,
    /// The cgroup that this process is in, and the pod that has it: never enrolled, whatever is asked for.
    own_cgroup: PathBuf,
    own: Option<Key>,
    looked: Instant,
    /// Whether something is to be looked at. Kept, because whoever waits may turn to something else while this
    /// rests: the change is told once.
    is_due: bool,
    /// Whether the kernel took nothing at the last attempt.
    has_failed: bool,
    /// Whether a look has been taken since everything was listed once.
    has_looked: bool,
}

/// What the config says of every pod.
#[derive(Clone, Copy, Debug)]
struct Choices {
    when_proxy_down: WhenProxyDown,
    sk_msg: SkMsgMode,
    same_node_bypass: BypassMode,
    opaque_path: OpaquePath,
    learn_opaque: LearnOpaque,
    inbound: Option<ClientAddress>,
}

/// A pod that is to be enrolled and is not.
#[derive(Clone, Debug)]
struct Waiting {
    since: Instant,
    why: String,
}

impl Pods {
    /// Begins to follow the cluster, where the config asks for it.
    pub(super) async fn start(config: &Config) -> Result<Option<Self>, PodsError> {
        let Some(kubernetes) = &config.kubernetes else { return Ok(None) };
        let from_environment = || std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty());
        let node_name =
            kubernetes.node_name.clone().or_else(from_environment).ok_or(PodsError::NoNodeName)?;
        let options = Options {
            node_name: node_name.clone(),
            enrol: kubernetes.enrol,
            defaults: defaults(config),
            kubeconfig: kubernetes.kubeconfig.clone(),
        };
        Ok(Some(Self {
            handle: kubernetes::start(options).await?,
            node_name,
            cgroups: PodCgroups::new()?,
            choices: Choices::of(config),
            places: HashMap::new(),
            waiting: BTreeMap::new(),
            own_cgroup: Cgroup::path_of_this_process()?,
            own: None,
            looked: Instant::now(),
            is_due: false,
            has_failed: false,
            has_looked: false,
        }))
    }

    /// Takes the config's settings of pods over.
    pub(super) fn configure(&mut self, config: &Config) {
        let enrol = config.kubernetes.as_ref().map_or_else(EnrolMode::default, |kubernetes| kubernetes.enrol);
        self.handle.configure(defaults(config), enrol);
        self.choices = Choices::of(config);
    }

    /// Waits until something is to be looked at: the cluster has changed, or a pod may be there by now.
    pub(super) async fn due(&mut self) {
        let rested = self.looked + REST;
        let rests = self.waiting.values().map(Waiting::rest).chain(self.has_failed.then_some(LATER));
        let again = rests.min().map(|rest| self.looked + rest);
        let changed = async {
            if self.handle.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        match again {
            _ if self.is_due => {}
            None => changed.await,
            Some(again) => tokio::select! {
                () = changed => {}
                () = sleep_until(again) => {}
            },
        }
        self.is_due = true;
        sleep_until(rested).await;
    }

    /// Whether a pod that is enrolled is not where it was: its sandbox was made anew, or it is gone.
    pub(super) fn have_moved(&self) -> bool {
        self.places.values().any(|(_, place)| !place.is_still_there())
    }

    /// What is to be enrolled now. Pods whose names `is_taken` are not.
    pub(super) fn specs(&mut self, is_taken: impl Fn(&str) -> bool) -> Vec<WorkloadSpec> {
        self.looked = Instant::now();
        self.is_due = false;
        self.has_failed = false;
        self.has_looked = self.handle.health().is_synced();
        let desired = self.handle.desired();
        self.places.retain(|key, (uid, place)| {
            desired.pods.get(key).is_some_and(|pod| pod.uid == *uid) && place.is_still_there()
        });
        let sought: Vec<&PodPolicy> = desired
            .pods
            .iter()
            .filter(|(key, _)| !self.places.contains_key(*key))
            .map(|(_, pod)| &**pod)
            .collect();
        let found =
            self.cgroups.find(sought.iter().map(|pod| (pod.key.clone(), [&*pod.cgroup_uid, &*pod.uid])));
        let mut waiting = BTreeMap::new();
        self.own = None;
        for pod in sought {
            if found.get(&pod.key).is_some_and(|cgroup| self.own_cgroup.starts_with(cgroup)) {
                self.own = Some(pod.key.clone());
                continue;
            }
            match Place::of(found.get(&pod.key).map(PathBuf::as_path)) {
                Ok(place) => {
                    self.places.insert(pod.key.clone(), (Arc::clone(&pod.uid), place));
                }
                Err(not_there) => {
                    waiting.insert(pod.key.clone(), self.waiting(&pod.key, not_there.to_string()));
                }
            }
        }
        let mut specs = Vec::with_capacity(desired.pods.len());
        for (key, pod) in desired.pods.iter() {
            let Some((_, place)) = self.places.get(key) else { continue };
            let name = key.to_string();
            if is_taken(&name) {
                let why = "a workload of the config has this name".to_owned();
                waiting.insert(key.clone(), self.waiting(key, why));
                continue;
            }
            match self.choices.spec(name, pod, place) {
                Ok(spec) => specs.push(spec),
                Err(error) => {
                    waiting.insert(key.clone(), self.waiting(key, error.with_causes()));
                }
            }
        }
        self.waiting = waiting;
        specs
    }

    /// A pod was not enrolled after all.
    pub(super) fn refused(&mut self, name: &str, why: String) {
        let desired = self.handle.desired();
        let Some(key) = desired.pods.keys().find(|key| key.to_string() == name) else { return };
        let waiting = self.waiting(key, why);
        if !self.waiting.contains_key(key) {
            tracing::warn!(pod = name, error = waiting.why, "a pod is not enrolled; it is tried again");
        }
        // Where it was may be where it is not any more.
        self.places.remove(key);
        self.waiting.insert(key.clone(), waiting);
    }

    /// The kernel took nothing: everything is tried again.
    pub(super) fn failed(&mut self) {
        self.has_failed = true;
    }

    /// Whether the pods that were there when everything had been listed have had their first look, and the
    /// kernel took it.
    pub(super) fn have_been_looked_at(&self) -> bool {
        self.has_looked && !self.has_failed
    }

    /// What is known of destinations, as the kernel is to know it.
    pub(super) fn destinations(&self) -> BTreeMap<IpAddr, PortTable> {
        let desired = self.handle.desired();
        desired.destinations.iter().map(|(address, destination)| (*address, table(destination))).collect()
    }

    /// For whoever asks how the pods fare.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            node_name: self.node_name.clone(),
            desired: self.handle.desired(),
            health: self.handle.health(),
            waiting: self.waiting.iter().map(|(key, waiting)| (key.clone(), waiting.why.clone())).collect(),
            own: self.own.clone(),
        }
    }

    fn waiting(&self, key: &Key, why: String) -> Waiting {
        let since = self.waiting.get(key).map_or_else(Instant::now, |waiting| waiting.since);
        Waiting { since, why }
    }
}

impl Waiting {
    fn rest(&self) -> Duration {
        if self.since.elapsed() < PATIENCE { SOON } else { LATER }
    }
}

impl Choices {
    fn of(config: &Config) -> Self {
        Self {
            when_proxy_down: config
                .kubernetes
                .as_ref()
                .map_or_else(WhenProxyDown::default, |kubernetes| kubernetes.when_proxy_down),
            sk_msg: config.sk_msg,
            same_node_bypass: config.same_node_bypass,
            opaque_path: config.opaque_path,
            learn_opaque: config.learn_opaque,
            inbound: config.inbound,
        }
    }

    fn spec(&self, name: String, pod: &PodPolicy, place: &Place) -> Result<WorkloadSpec, KernelError> {
        Ok(WorkloadSpec {
            netns: NetnsAt::Held(place.netns.clone(), place.netns_id),
            skip_subnets: pod.skip_subnets.clone(),
            when_proxy_down: self.when_proxy_down,
            sk_msg: self.sk_msg,
            same_node_bypass: pod.same_node_bypass.unwrap_or(self.same_node_bypass),
            opaque_path: self.opaque_path,
            learn_opaque: self.learn_opaque,
            inbound: self.inbound,
            ..WorkloadSpec::new(&name, Cgroup::open(&place.cgroup)?, pod.table.clone())
        })
    }
}

fn defaults(config: &Config) -> NodeDefaults {
    NodeDefaults { ports: config.ports.clone(), subnets: config.skip_subnets.clone() }
}

/// What a destination says of its ports, as a table that has a rule for those alone.
fn table(destination: &Destination) -> PortTable {
    let mut table = PortTable::new();
    for (ports, decision) in
        [(&destination.opaque, Decision::Opaque), (&destination.detect, Decision::Detect)]
    {
        table.set(Direction::Inbound, ports, PortRule::new(decision, RuleSource::Destination));
    }
    table
}
