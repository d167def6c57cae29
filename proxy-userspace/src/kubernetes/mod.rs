//! The Kubernetes room: from the API server's objects to what is to be done with the pods of this node.
//!
//! ```text
//! API server ─► watch (one each for Pods of the node, Services, Namespaces, endpoints)
//!                 └─ wire → objects: small ones, at once
//!                      └─► keeper ─► index (pure) ─► Desired ─► whoever enrols
//!                                                       └────► events: bad annotations, on their objects
//! ```
//!
//! Nothing is said before everything that is needed has been listed once. From then on, what is known stays
//! known for as long as the API server is away.

mod annotation;
mod backoff;
mod check;
mod endpoints;
mod events;
mod health;
mod index;
mod keeper;
mod objects;
#[cfg(test)]
mod tests;
mod watch;
mod wire;

use std::{path::PathBuf, sync::Arc, time::Duration};

use kube::{
    Client, Config,
    config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use tokio::{
    sync::{mpsc, watch as tokio_watch},
    task::JoinSet,
};

pub use self::{
    annotation::{Annotation, Annotations},
    check::{Checked, ThisNode, check},
    health::{EndpointsApi, Health, Resource, ResourceHealth, WatchError},
    index::{
        Desired, Destination, Disagreement, Kind, LeftAlone, Level, NodeDefaults, Objects, OpaqueBy,
        PodPolicy, Problem, ProblemKey, ServiceFacts, ServicePortFacts, Sources,
    },
    objects::{Key, QosClass, TargetPort},
};
use self::{
    backoff::Backoff,
    health::SharedHealth,
    index::{Event, Index},
    watch::{Source, Told, Watch, WatchFailure},
};
use crate::policy::EnrolMode;

/// How many events may wait for the index; then the watches wait.
const QUEUE: usize = 1024;
/// How long a connection to the API server may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What is to be watched, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node's name in the API.
    pub node_name: String,
    /// Which pods are enrolled.
    pub enrol: EnrolMode,
    /// What holds where no annotation says anything.
    pub defaults: NodeDefaults,
    /// Where the API server is, and who is asking. `None`: the file that `KUBECONFIG` names, and without that
    /// the Pod's own ServiceAccount.
    pub kubeconfig: Option<PathBuf>,
}

/// Why nothing can be watched.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// The kubeconfig cannot be used.
    #[error("cannot use the kubeconfig{}", path.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default())]
    Kubeconfig {
        /// The file; `None` where it is what `KUBECONFIG` names.
        path: Option<PathBuf>,
        /// Why not.
        source: Box<KubeconfigError>,
    },
    /// This is no Pod, or it has no ServiceAccount.
    #[error("expected to run in a Pod with a ServiceAccount, or KUBECONFIG to name a file")]
    InCluster {
        /// What is missing.
        source: InClusterError,
    },
    /// No client can be made of the settings.
    #[error("cannot make a client for the API server")]
    Client {
        /// Why not.
        source: Box<kube::Error>,
    },
}

/// What may change while it runs.
#[derive(Clone, Debug)]
struct Settings {
    defaults: NodeDefaults,
    enrol: EnrolMode,
}

/// The running watches; they end with it.
#[derive(Debug)]
pub struct Handle {
    desired: tokio_watch::Receiver<Arc<Desired>>,
    settings: tokio_watch::Sender<Settings>,
    health: SharedHealth,
    _tasks: JoinSet<()>,
}

impl Handle {
    /// Waits until there is something else to be done than at the last call. The first call returns when
    /// everything that is needed has been listed once.
    ///
    /// # Errors
    /// Nothing is kept any more, which happens only while the runtime ends.
    pub async fn changed(&mut self) -> Result<(), Ended> {
        self.desired.changed().await.map_err(|_no_facts| Ended)
    }

    /// What is to be done; nothing, and so nothing to go by, before [`Health::is_synced`].
    #[must_use]
    pub fn desired(&self) -> Arc<Desired> {
        Arc::clone(&self.desired.borrow())
    }

    /// How the watches are doing.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.read()
    }

    /// Takes other settings of the node; what follows from them is a change.
    pub fn configure(&self, defaults: NodeDefaults, enrol: EnrolMode) {
        self.settings.send_replace(Settings { defaults, enrol });
    }
}

/// Nothing is watched any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the watches have ended")]
pub struct Ended;

/// Begins to watch. That the API server can be reached is not needed: it is tried until it works.
///
/// # Errors
/// It is not known where the API server is, or a client cannot be made of that.
pub async fn start(options: Options) -> Result<Handle, KubernetesError> {
    let Options { node_name, enrol, defaults, kubeconfig } = options;
    let client = client(kubeconfig).await?;
    let health = SharedHealth::new();
    let (index_sender, told) = mpsc::channel::<Told>(QUEUE);
    let (desired_sender, desired) = tokio_watch::channel(Arc::new(Desired::default()));
    let (settings, changed_settings) = tokio_watch::channel(Settings { defaults: defaults.clone(), enrol });

    let mut tasks = JoinSet::new();
    let index = Index::new(&node_name, defaults, enrol);
    tasks.spawn(keeper::keep(index, told, changed_settings, desired_sender, health.clone()));
    tasks.spawn(events::post(client.clone(), node_name.clone(), desired.clone()));
    let watch = |resource, path, field_selector| Watch {
        client: client.clone(),
        source: Source { resource, path, field_selector },
        index: index_sender.clone(),
        health: health.clone(),
    };
    let pods = watch(Resource::Pods, "/api/v1/pods", Some(format!("spec.nodeName={node_name}")));
    let services = watch(Resource::Services, "/api/v1/services", None);
    let namespaces = watch(Resource::Namespaces, "/api/v1/namespaces", None);
    tasks.spawn(async move { follow::<wire::Pod>(&pods, Event::Pods).await });
    tasks.spawn(async move { follow::<wire::Service>(&services, Event::Services).await });
    tasks.spawn(async move { follow::<wire::Namespace>(&namespaces, Event::Namespaces).await });
    tasks.spawn(endpoints::follow(client, index_sender, health.clone()));
    Ok(Handle { desired, settings, health, _tasks: tasks })
}

/// Follows one collection, also through times when the server says that it does not have it.
async fn follow<W: wire::Wire>(watch: &Watch, event: fn(index::Change<W::Object>) -> Event) {
    let mut backoff = Backoff::default();
    while !matches!(watch.follow::<W>(event, &mut backoff).await, WatchFailure::NoIndex) {
        tokio::time::sleep(backoff.next(None)).await;
    }
}

/// A client for the API server.
async fn client(kubeconfig: Option<PathBuf>) -> Result<Client, KubernetesError> {
    let options = KubeConfigOptions::default();
    let mut config = if let Some(path) = kubeconfig {
        let read = match Kubeconfig::read_from(&path) {
            Ok(read) => Config::from_custom_kubeconfig(read, &options).await,
            Err(error) => Err(error),
        };
        read.map_err(|source| KubernetesError::Kubeconfig { path: Some(path), source: Box::new(source) })?
    } else if std::env::var_os("KUBECONFIG").is_some() {
        let read = Config::from_kubeconfig(&options).await;
        read.map_err(|source| KubernetesError::Kubeconfig { path: None, source: Box::new(source) })?
    } else {
        Config::incluster().map_err(|source| KubernetesError::InCluster { source })?
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    if config.cluster_url.scheme_str() == Some("http") {
        // Nobody's certificate is looked at; a machine without any authorities' would be refused a client.
        config.root_cert.get_or_insert_default();
    }
    // What is honoured of an answer's Retry-After; everything beyond is this room's own backoff.
    config.default_retry = true;
    Client::try_from(config).map_err(|source| KubernetesError::Client { source: Box::new(source) })
}
