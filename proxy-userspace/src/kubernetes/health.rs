//! How the watches are doing, for status and metrics.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use super::index::Objects;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// The pods of this node.
    Pods,
    /// All Services.
    Services,
    /// All Namespaces.
    Namespaces,
    /// All endpoints, in whichever form the API server has them.
    Endpoints,
}

impl Resource {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Pods, Self::Services, Self::Namespaces, Self::Endpoints];

    /// The word used in listings and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Services => "services",
            Self::Namespaces => "namespaces",
            Self::Endpoints => "endpoints",
        }
    }

    /// Whether nothing is to be done before it has been listed once: without it a pod that is enrolled could
    /// be taken for one that is not.
    pub(super) const fn is_needed(self) -> bool {
        match self {
            Self::Pods | Self::Services | Self::Namespaces => true,
            Self::Endpoints => false,
        }
    }
}

/// In which form the API server has endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndpointsApi {
    /// `EndpointSlices` of `discovery.k8s.io/v1`, from Kubernetes 1.21 on.
    SliceV1,
    /// `EndpointSlices` of `discovery.k8s.io/v1beta1`.
    SliceV1Beta1,
    /// The core API's Endpoints.
    Core,
}

impl EndpointsApi {
    /// The API as people name it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::SliceV1 => "discovery.k8s.io/v1 EndpointSlice",
            Self::SliceV1Beta1 => "discovery.k8s.io/v1beta1 EndpointSlice",
            Self::Core => "v1 Endpoints",
        }
    }
}

/// How the watches are doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Each watch, in the order of [`Resource::ALL`].
    pub resources: [ResourceHealth; 4],
    /// In which form there are endpoints; `None` before the API server has been asked.
    pub endpoints_api: Option<EndpointsApi>,
    /// How many objects are known.
    pub objects: Objects,
}

/// How one watch is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceHealth {
    /// What is watched.
    pub resource: Resource,
    /// Whether it has been listed once; what is known then stays, whatever happens to the watch.
    pub is_synced: bool,
    /// Whole lists that were read: more than one where the watch had to begin anew.
    pub lists: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// What is wrong now; `None` where the watch runs.
    pub error: Option<WatchError>,
}

/// What is wrong with a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchError {
    /// What the last attempt met.
    pub message: String,
    /// Since when no attempt has worked.
    pub since: SystemTime,
}

impl Health {
    /// Whether everything that is needed has been listed once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.resources.iter().all(|health| health.is_synced || !health.resource.is_needed())
    }
}

/// The health that the watches write and others read.
#[derive(Clone, Debug)]
pub(super) struct SharedHealth(Arc<Mutex<Health>>);

impl SharedHealth {
    pub(super) fn new() -> Self {
        let resources = Resource::ALL.map(|resource| ResourceHealth {
            resource,
            is_synced: false,
            lists: 0,
            failures: 0,
            error: None,
        });
        let health = Health { resources, endpoints_api: None, objects: Objects::default() };
        Self(Arc::new(Mutex::new(health)))
    }

    pub(super) fn read(&self) -> Health {
        self.edit(|health| health.clone())
    }

    pub(super) fn edit<T>(&self, edit: impl FnOnce(&mut Health) -> T) -> T {
        edit(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn edit_one<T>(&self, resource: Resource, edit: impl FnOnce(&mut ResourceHealth) -> T) -> Option<T> {
        self.edit(|health| health.resources.iter_mut().find(|health| health.resource == resource).map(edit))
    }

    /// A list was read and has reached the index.
    pub(super) fn listed(&self, resource: Resource) {
        self.edit_one(resource, |health| {
            health.is_synced = true;
            health.lists += 1;
        });
    }

    /// The watch runs. Says whether it did not before.
    pub(super) fn runs(&self, resource: Resource) -> bool {
        self.edit_one(resource, |health| health.error.take().is_some()).unwrap_or(false)
    }

    /// An attempt failed. Says whether the one before had not.
    pub(super) fn failed(&self, resource: Resource, message: String) -> bool {
        let failed = |health: &mut ResourceHealth| {
            health.failures += 1;
            let is_first = health.error.is_none();
            let since = health.error.take().map_or_else(SystemTime::now, |error| error.since);
            health.error = Some(WatchError { message, since });
            is_first
        };
        self.edit_one(resource, failed).unwrap_or(false)
    }
}
