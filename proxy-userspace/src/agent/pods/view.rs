//! What is told of the pods to whoever asks.

use std::{
    collections::BTreeMap,
    num::NonZeroU16,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use proxy_common::{Decision, Direction};
use serde::{Deserialize, Serialize};

use crate::{
    kernel::PodCounts,
    kubernetes::{Desired, Disagreement, Health, Key, Kind, OpaqueBy, PodPolicy, ServiceFacts},
    policy::{PortSet, PortTable},
};

/// Why the pod that this process runs in is left alone: it would be its own client.
const OWN_POD: &str = "own-pod";

/// Everything that is known, as it is held.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(super) node_name: String,
    pub(super) desired: Arc<Desired>,
    pub(super) health: Health,
    /// Pods that are to be enrolled and are not, and why.
    pub(super) waiting: BTreeMap<Key, String>,
    /// The pod that this process runs in, where it would be enrolled otherwise.
    pub(super) own: Option<Key>,
}

/// Everything that is known, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PodsView {
    /// The node's name in the API.
    pub(crate) node: String,
    pub(crate) watches: Vec<WatchView>,
    /// In which form the API server has endpoints.
    pub(crate) endpoints_api: Option<String>,
    pub(crate) pods: Vec<PodView>,
    pub(crate) services: Vec<ServiceView>,
    pub(crate) problems: Vec<ProblemView>,
    pub(crate) disagreements: Vec<String>,
}

/// What is watched of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct WatchView {
    pub(crate) resource: String,
    /// Whether it has been listed once.
    pub(crate) is_synced: bool,
    /// What the last attempt met, and how many seconds ago attempts began to fail.
    pub(crate) error: Option<(String, u64)>,
}

/// A pod of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PodView {
    /// `NAMESPACE/NAME`
    pub(crate) name: String,
    pub(crate) state: PodState,
    /// Why it is not enrolled.
    pub(crate) why: Option<String>,
    pub(crate) addresses: Vec<String>,
    pub(crate) lists: Vec<ListView>,
}

/// Whether a pod is enrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PodState {
    Enrolled,
    /// It is to be.
    Waiting,
    /// It is not to be.
    LeftAlone,
}

impl PodState {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Enrolled => "enrolled",
            Self::Waiting => "waiting",
            Self::LeftAlone => "left alone",
        }
    }
}

/// One list that holds for a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ListView {
    /// The setting: `skip-inbound-ports`, say.
    pub(crate) name: String,
    pub(crate) value: String,
    /// Where it is written.
    pub(crate) source: String,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ServiceView {
    pub(crate) name: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) ports: Vec<ServicePortView>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ServicePortView {
    pub(crate) port: u16,
    pub(crate) name: String,
    pub(crate) is_opaque: bool,
    pub(crate) source: String,
}

/// An annotation with a value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ProblemView {
    /// `Pod shop/web-0`
    pub(crate) object: String,
    pub(crate) message: String,
    /// Whether an earlier value holds on.
    pub(crate) is_earlier_kept: bool,
    /// Since when: seconds since 1970.
    pub(crate) since: u64,
}

impl Snapshot {
    /// How many pods are enrolled, are to be, and are left alone; how many annotations cannot be used.
    pub(crate) fn counts(&self) -> PodCounts {
        let (waiting, own) = (self.waiting.len(), usize::from(self.own.is_some()));
        PodCounts {
            is_listed: self.health.is_synced(),
            enrolled: self.desired.pods.len().saturating_sub(waiting + own),
            waiting,
            left_alone: self.desired.left_alone.len() + own,
            problems: self.desired.problems.len(),
        }
    }

    /// How the watches are doing.
    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    /// Everything.
    pub(crate) fn view(&self) -> PodsView {
        let desired = &self.desired;
        let enrolled = desired.pods.iter().map(|(key, pod)| self.pod(key, pod));
        let left_alone = desired.left_alone.iter().map(|(key, why)| PodView {
            name: key.to_string(),
            state: PodState::LeftAlone,
            why: Some(why.label().to_owned()),
            addresses: Vec::new(),
            lists: Vec::new(),
        });
        let mut pods: Vec<_> = enrolled.chain(left_alone).collect();
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        let problems = desired.problems.iter().map(|(key, problem)| ProblemView {
            object: match key.kind {
                Kind::Namespace => format!("{} {}", key.kind.label(), key.object.name),
                Kind::Service | Kind::Pod => format!("{} {}", key.kind.label(), key.object),
            },
            message: problem.message.to_string(),
            is_earlier_kept: problem.is_earlier_kept,
            since: problem.since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        });
        let watches = self.health.resources.iter().map(|watch| WatchView {
            resource: watch.resource.label().to_owned(),
            is_synced: watch.is_synced,
            error: watch.error.as_ref().map(|error| {
                let ago = SystemTime::now().duration_since(error.since).unwrap_or_default();
                (error.message.clone(), ago.as_secs())
            }),
        });
        PodsView {
            node: self.node_name.clone(),
            watches: watches.collect(),
            endpoints_api: self.health.endpoints_api.map(|api| api.label().to_owned()),
            pods,
            services: desired.services.iter().map(|(key, service)| service_view(key, service)).collect(),
            problems: problems.collect(),
            disagreements: desired
                .disagreements
                .iter()
                .flat_map(|(pod, found)| found.iter().map(|found| disagreement(pod, found)))
                .collect(),
        }
    }

    fn pod(&self, key: &Key, pod: &PodPolicy) -> PodView {
        if self.own.as_ref() == Some(key) {
            return PodView {
                name: key.to_string(),
                state: PodState::LeftAlone,
                why: Some(OWN_POD.to_owned()),
                addresses: pod.ips.iter().map(ToString::to_string).collect(),
                lists: Vec::new(),
            };
        }
        let why = self.waiting.get(key).cloned();
        let sources = pod.sources;
        let list = |name: &str, value: String, source: &str| ListView {
            name: name.to_owned(),
            value,
            source: source.to_owned(),
        };
        let ports = |direction, decision| ports_of(&pod.table, direction, decision).to_string();
        let lists = vec![
            list("opaque-ports", ports(Direction::Inbound, Decision::Opaque), sources.opaque.label()),
            list(
                "skip-inbound-ports",
                ports(Direction::Inbound, Decision::Skip),
                sources.skip_inbound.label(),
            ),
            list(
                "skip-outbound-ports",
                ports(Direction::Outbound, Decision::Skip),
                sources.skip_outbound.label(),
            ),
            list("skip-subnets", pod.skip_subnets.to_string(), sources.skip_subnets.label()),
        ];
        PodView {
            name: key.to_string(),
            state: if why.is_some() { PodState::Waiting } else { PodState::Enrolled },
            why,
            addresses: pod.ips.iter().map(ToString::to_string).collect(),
            lists,
        }
    }
}

fn ports_of(table: &PortTable, direction: Direction, decision: Decision) -> PortSet {
    let ranges = table.ranges(direction).filter(|(_, rule)| rule.decision() == decision);
    ranges.flat_map(|(range, _)| range).filter_map(NonZeroU16::new).collect()
}

fn service_view(key: &Key, service: &ServiceFacts) -> ServiceView {
    let ports = service.ports.iter().map(|port| ServicePortView {
        port: port.port,
        name: port.name.to_string(),
        is_opaque: port.is_opaque,
        source: port.source.label().to_owned(),
    });
    ServiceView {
        name: key.to_string(),
        addresses: service.cluster_ips.iter().map(ToString::to_string).collect(),
        ports: ports.collect(),
    }
}

fn disagreement(pod: &Key, found: &Disagreement) -> String {
    let (yes, no) = match found.opaque_by {
        OpaqueBy::Service => ("Service", "Pod"),
        OpaqueBy::Pod => ("Pod", "Service"),
    };
    format!(
        "Service {}/{} port {} leads to Pod {pod} port {}: opaque by the {yes}'s annotation, not by the {no}'s",
        pod.namespace, found.service, found.port, found.target
    )
}

#[cfg(test)]
mod tests;
