//! Whether a cluster lets an agent do what it has to: by asking, as the agent would.

use std::{path::PathBuf, time::Duration};

use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::Node,
};
use kube::{
    Client,
    api::{Api, PostParams},
};
use tokio::time::timeout;

use super::{
    EndpointsApi, client,
    endpoints::newest,
    watch::{WatchFailure, ask, chain},
};

/// How long an answer may take; somebody waits for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// One thing that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What.
    pub what: String,
    /// Whether the agent cannot do without.
    pub is_required: bool,
    /// What there is to say of it, or why it is not so.
    pub outcome: Result<Option<String>, String>,
}

/// Which node to look for.
#[derive(Clone, Debug)]
pub struct ThisNode {
    /// Its name in the API, if somebody said it.
    pub name: Option<String>,
    /// The version of the kernel that runs here.
    pub kernel: Option<String>,
}

/// What the agent does with a resource.
struct Need {
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    is_required: bool,
}

/// Asks everything.
pub async fn check(kubeconfig: Option<PathBuf>, node: &ThisNode) -> Vec<Checked> {
    let (client, version) = match reach(kubeconfig).await {
        Ok(reached) => reached,
        // The rest would only say the same again.
        Err(error) => return vec![required("the API server answers", Err(error))],
    };
    let mut checked = vec![required("the API server answers", Ok(Some(version)))];
    for need in needs(endpoints(&client).await) {
        checked.push(may(&client, &need).await);
    }
    checked.push(is_there(&client, node).await);
    checked
}

fn required(what: &str, outcome: Result<Option<String>, String>) -> Checked {
    Checked { what: what.to_owned(), is_required: true, outcome }
}

/// A client, and the version of the server that it reaches.
async fn reach(kubeconfig: Option<PathBuf>) -> Result<(Client, String), String> {
    let client = client(kubeconfig).await.map_err(|error| chain(&error))?;
    let version = answer(client.apiserver_version()).await.map_err(|error| error.to_string())?;
    Ok((client, version.git_version))
}

async fn answer<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, WatchFailure> {
    timeout(ANSWER_TIMEOUT, ask(answer)).await.unwrap_or(Err(WatchFailure::Silent(ANSWER_TIMEOUT)))
}

/// In which form there are endpoints; the newest, where the server does not say.
async fn endpoints(client: &Client) -> EndpointsApi {
    answer(client.list_api_groups()).await.map_or(EndpointsApi::SliceV1, |groups| newest(&groups))
}

fn needs(endpoints: EndpointsApi) -> [Need; 5] {
    const WATCH: &[&str] = &["list", "watch"];
    let (group, resource) = match endpoints {
        EndpointsApi::SliceV1 | EndpointsApi::SliceV1Beta1 => ("discovery.k8s.io", "endpointslices"),
        EndpointsApi::Core => ("", "endpoints"),
    };
    [
        Need { group: "", resource: "pods", verbs: WATCH, is_required: true },
        Need { group: "", resource: "services", verbs: WATCH, is_required: true },
        Need { group: "", resource: "namespaces", verbs: WATCH, is_required: true },
        // Without them, what is opaque at a Service is known at its own addresses only.
        Need { group, resource, verbs: WATCH, is_required: false },
        // Without them, annotations that cannot be used are told in the status and the metrics only.
        Need { group: "events.k8s.io", resource: "events", verbs: &["create"], is_required: false },
    ]
}

/// Whether whoever asks may do that, in every namespace.
async fn may(client: &Client, need: &Need) -> Checked {
    let what = format!("may {} {}", need.verbs.join(" and "), need.resource);
    let mut denied = Vec::new();
    for verb in need.verbs {
        match is_allowed(client, need, verb).await {
            Ok(None) => {}
            Ok(Some(reason)) => denied.push(format!("{verb} is not allowed{reason}")),
            Err(failure) => denied.push(format!("cannot be asked: {failure}")),
        }
    }
    denied.dedup();
    let outcome = if denied.is_empty() { Ok(None) } else { Err(denied.join("; ")) };
    Checked { what, is_required: need.is_required, outcome }
}

/// `None` where it is; the server's reason, which may be empty, where it is not.
async fn is_allowed(client: &Client, need: &Need, verb: &str) -> Result<Option<String>, WatchFailure> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(need.group.to_owned()),
                resource: Some(need.resource.to_owned()),
                verb: Some(verb.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let status = answer(api.create(&PostParams::default(), &review)).await?.status.unwrap_or_default();
    let reason = status.reason.filter(|reason| !reason.is_empty());
    Ok((!status.allowed).then(|| reason.map(|reason| format!(" ({reason})")).unwrap_or_default()))
}

/// Whether the API has this node, and the kernel that it says is the one that runs here.
async fn is_there(client: &Client, node: &ThisNode) -> Checked {
    let Some(name) = &node.name else {
        let outcome =
            Err("which it is, nobody says: neither --node-name nor NODE_NAME, nor an agent".to_owned());
        return Checked { what: "the API has this node".to_owned(), is_required: false, outcome };
    };
    let what = format!("the API has node {name}");
    let api: Api<Node> = Api::all(client.clone());
    match answer(api.get(name)).await {
        Ok(found) => {
            let said = found.status.and_then(|status| status.node_info).map(|info| info.kernel_version);
            kernel(what, said, node.kernel.as_deref())
        }
        Err(failure) if failure.is_not_found() => {
            required(&what, Err("there is no node with this name, so no pod would be found".to_owned()))
        }
        // The agent itself does not ask for nodes.
        Err(WatchFailure::Status { code: 403, message, .. }) => {
            Checked { what, is_required: false, outcome: Err(format!("may not be asked: {message}")) }
        }
        Err(failure) => required(&what, Err(failure.to_string())),
    }
}

fn kernel(what: String, said: Option<String>, here: Option<&str>) -> Checked {
    let outcome = match (said.filter(|said| !said.is_empty()), here) {
        (Some(said), Some(here)) if said != here => {
            Err(format!("it has Linux {said}, and this machine runs {here}: is it another one?"))
        }
        (Some(said), _) => Ok(Some(format!("Linux {said}"))),
        (None, _) => Ok(None),
    };
    Checked { what, is_required: outcome.is_ok(), outcome }
}
