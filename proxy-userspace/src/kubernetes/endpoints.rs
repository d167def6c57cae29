//! Endpoints, in whichever form the API server has them: it is asked, and asked again where what it said is
//! gone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIGroupList;
use kube::Client;
use tokio::{sync::mpsc, time::sleep};
use tracing::{info, warn};

use super::{
    backoff::Backoff,
    health::{EndpointsApi, Resource, SharedHealth},
    index::Event,
    watch::{Source, Told, Watch, WatchFailure, ask},
    wire,
};

/// The API group of `EndpointSlices`.
const GROUP: &str = "discovery.k8s.io";

/// The newest form among the groups that a server has.
pub(super) fn newest(groups: &APIGroupList) -> EndpointsApi {
    let versions = groups.groups.iter().filter(|group| group.name == GROUP).flat_map(|group| &group.versions);
    let has = |wanted: &str| versions.clone().any(|version| version.version == wanted);
    if has("v1") {
        EndpointsApi::SliceV1
    } else if has("v1beta1") {
        EndpointsApi::SliceV1Beta1
    } else {
        EndpointsApi::Core
    }
}

/// Follows the endpoints until the index is gone.
pub(super) async fn follow(client: Client, index: mpsc::Sender<Told>, health: SharedHealth) {
    let mut backoff = Backoff::default();
    loop {
        let groups = match ask(client.list_api_groups()).await {
            Ok(groups) => groups,
            Err(failure) => {
                if health.failed(Resource::Endpoints, failure.to_string()) {
                    warn!("kubernetes: endpoints: cannot ask for the API's groups: {failure}");
                }
                sleep(backoff.next(None)).await;
                continue;
            }
        };
        let api = newest(&groups);
        health.edit(|health| health.endpoints_api = Some(api));
        info!("kubernetes: endpoints are {}", api.label());
        let path = match api {
            EndpointsApi::SliceV1 => "/apis/discovery.k8s.io/v1/endpointslices",
            EndpointsApi::SliceV1Beta1 => "/apis/discovery.k8s.io/v1beta1/endpointslices",
            EndpointsApi::Core => "/api/v1/endpoints",
        };
        let source = Source { resource: Resource::Endpoints, path, field_selector: None };
        let watch = Watch { client: client.clone(), source, index: index.clone(), health: health.clone() };
        let ended = match api {
            EndpointsApi::SliceV1 | EndpointsApi::SliceV1Beta1 => {
                watch.follow::<wire::EndpointSlice>(Event::Endpoints, &mut backoff).await
            }
            EndpointsApi::Core => watch.follow::<wire::Endpoints>(Event::Endpoints, &mut backoff).await,
        };
        if matches!(ended, WatchFailure::NoIndex) {
            return;
        }
        // The server has it no more: it may be another version by now.
        sleep(backoff.next(None)).await;
    }
}
