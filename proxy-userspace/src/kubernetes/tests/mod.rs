//! The watches against an API server of the tests' own.

mod check;
mod fake;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use self::fake::{ENDPOINTS, Fake, Fault, NAMESPACES, OLD_SLICES, PODS, SERVICES, SLICES, Verb};
use super::*;

/// How long something may take that should take milliseconds, or a few waits of a backoff.
const PATIENCE: Duration = Duration::from_secs(20);

const OPAQUE: &str = "config.linkerd.io/opaque-ports";

fn pod(name: &str, annotations: Value) -> Value {
    json!({
        "metadata": { "name": name, "namespace": "shop", "uid": format!("uid-{name}"), "annotations": annotations },
        "spec": { "nodeName": "node-1", "containers": [{ "ports": [{ "name": "http", "containerPort": 8080 }] }] },
        "status": { "phase": "Running", "podIP": "10.0.0.1" },
    })
}

fn annotated(name: &str) -> Value {
    pod(name, json!({ "linkerd.io/inject": "enabled" }))
}

/// A Service whose port 4406 is opaque.
fn service() -> Value {
    json!({
        "metadata": { "name": "db", "namespace": "shop", "uid": "uid-db", "annotations": { OPAQUE: "4406" } },
        "spec": { "clusterIP": "10.96.0.1", "ports": [{ "name": "sql", "port": 4406 }] },
    })
}

fn slice() -> Value {
    json!({
        "metadata": { "name": "db-x", "namespace": "shop", "labels": { "kubernetes.io/service-name": "db" } },
        "endpoints": [{ "addresses": ["10.0.1.1"] }],
        "ports": [{ "name": "sql", "port": 3306 }],
    })
}

/// A kubeconfig that goes with its guard.
struct KubeconfigFile(PathBuf);

impl KubeconfigFile {
    fn of(fake: &Fake) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("slt-{}-kubeconfig-{number}", std::process::id()));
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": { "server": format!("http://{}", fake.addr) } }],
            "users": [{ "name": "test", "user": { "token": "none" } }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
            "current-context": "test",
        });
        std::fs::write(&path, config.to_string()).unwrap();
        Self(path)
    }
}

impl Drop for KubeconfigFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

/// Watches of a server.
async fn watches(fake: &Fake) -> Handle {
    let file = KubeconfigFile::of(fake);
    let options = Options {
        node_name: "node-1".to_owned(),
        enrol: EnrolMode::Annotated,
        defaults: NodeDefaults::default(),
        kubeconfig: Some(file.0.clone()),
    };
    start(options).await.unwrap()
}

/// Waits for what is desired to be so.
async fn until(handle: &mut Handle, what: &str, is_so: impl Fn(&Desired) -> bool) {
    let waited = timeout(PATIENCE, async {
        while !is_so(&handle.desired()) {
            handle.changed().await.unwrap();
        }
    });
    if waited.await.is_err() {
        panic!("{what}: {:#?} {:#?}", handle.desired(), handle.health());
    }
}

/// Waits for the health to be so.
async fn until_health(handle: &Handle, what: &str, is_so: impl Fn(&Health) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so(&handle.health()) {
        assert!(Instant::now() < deadline, "{what}: {:#?}", handle.health());
        sleep(Duration::from_millis(5)).await;
    }
}

fn has_pod(name: &str) -> impl Fn(&Desired) -> bool {
    let key = Key::new("shop", name);
    move |desired| desired.pods.contains_key(&key)
}

fn of(health: &Health, resource: Resource) -> &ResourceHealth {
    health.resources.iter().find(|health| health.resource == resource).unwrap()
}

/// Whether the watch of pods meets mistakes now.
fn pods_fail(health: &Health) -> bool {
    of(health, Resource::Pods).error.is_some()
}

/// A server with the pod `web` and its watches, which run.
async fn running() -> (Fake, Handle) {
    let fake = Fake::start(&["v1"]).await;
    fake.put(PODS, annotated("web"));
    let mut handle = watches(&fake).await;
    until(&mut handle, "the pod is known", has_pod("web")).await;
    until_watched(&fake, PODS, 1).await;
    (fake, handle)
}

/// Waits for so many watches to have begun.
async fn until_watched(fake: &Fake, path: &str, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    while fake.requests(Verb::Watch, path).len() < count {
        assert!(Instant::now() < deadline, "{:?}", fake.requests(Verb::Watch, path));
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_the_api_server_tells_is_what_is_done() {
    let (fake, mut handle) = running().await;
    fake.put(SERVICES, service());
    fake.put(SLICES, slice());
    until(&mut handle, "both addresses are destinations", |desired| desired.destinations.len() == 2).await;
    fake.put(PODS, pod("bare", json!({})));
    let bare = Key::new("shop", "bare");
    until(&mut handle, "the other pod is left alone", |desired| {
        desired.left_alone.get(&bare) == Some(&LeftAlone::NotAnnotated)
    })
    .await;
    fake.put(
        NAMESPACES,
        json!({ "metadata": { "name": "shop", "annotations": { "linkerd.io/inject": "enabled" } } }),
    );
    until(&mut handle, "the namespace has it enrolled", has_pod("bare")).await;
    fake.remove(PODS, "shop/web");
    until(&mut handle, "the pod is gone", |desired| !has_pod("web")(desired)).await;

    let health = handle.health();
    assert_eq!(health.endpoints_api, Some(EndpointsApi::SliceV1));
    assert_eq!(health.objects, Objects { namespaces: 1, services: 1, endpoints: 1, pods: 1 });
    assert!(
        health.resources.iter().all(|health| health.is_synced && health.error.is_none() && health.lists == 1)
    );
    let asked = fake.requests(Verb::List, PODS).remove(0);
    assert!(asked.contains("fieldSelector=spec.nodeName%3Dnode-1"), "{asked}");
    let asked = fake.requests(Verb::Watch, PODS).remove(0);
    assert!(asked.contains("fieldSelector=spec.nodeName%3Dnode-1"), "{asked}");
    assert!(asked.contains("allowWatchBookmarks=true"), "{asked}");
}

#[tokio::test]
async fn nothing_is_said_before_everything_that_is_needed_is_known() {
    let fake = Fake::start(&["v1"]).await;
    fake.put(PODS, annotated("web"));
    // Not what the pod alone would say.
    fake.put(NAMESPACES, json!({ "metadata": { "name": "shop", "annotations": { OPAQUE: "77" } } }));
    for _ in 0..3 {
        fake.fault(Verb::List, NAMESPACES, Fault::Status(403, ""));
    }
    let mut handle = watches(&fake).await;
    until_health(&handle, "the pods are listed", |health| of(health, Resource::Pods).is_synced).await;
    assert!(!handle.health().is_synced() && handle.desired().pods.is_empty());
    timeout(PATIENCE, handle.changed()).await.unwrap().unwrap();
    assert!(handle.health().is_synced());
    let policy = Arc::clone(&handle.desired().pods[&Key::new("shop", "web")]);
    assert_eq!(policy.sources.opaque, Level::Namespace);
    assert_eq!(of(&handle.health(), Resource::Namespaces).failures, 3);
}

#[tokio::test]
async fn without_slices_of_v1_the_older_ones_are_watched_and_else_the_endpoints() {
    let endpoints = json!({
        "metadata": { "name": "db", "namespace": "shop" },
        "subsets": [{ "addresses": [{ "ip": "10.0.1.1" }], "ports": [{ "name": "sql", "port": 3306 }] }],
    });
    for (discovery, path, object, api) in [
        (["v1beta1", "v1"].as_slice(), SLICES, slice(), EndpointsApi::SliceV1),
        (["v1beta1"].as_slice(), OLD_SLICES, slice(), EndpointsApi::SliceV1Beta1),
        ([].as_slice(), ENDPOINTS, endpoints, EndpointsApi::Core),
    ] {
        let fake = Fake::start(discovery).await;
        fake.put(SERVICES, service());
        fake.put(path, object);
        let mut handle = watches(&fake).await;
        let endpoint = "10.0.1.1".parse().unwrap();
        until(&mut handle, "the endpoint is known", |desired| desired.destinations.contains_key(&endpoint))
            .await;
        assert_eq!(handle.health().endpoints_api, Some(api));
    }
}

#[tokio::test]
async fn an_api_server_that_has_no_slices_any_more_is_asked_again() {
    let fake = Fake::start(&["v1"]).await;
    fake.fault(Verb::List, SLICES, Fault::Status(404, ""));
    let handle = watches(&fake).await;
    until_health(&handle, "listed in the end", |health| of(health, Resource::Endpoints).is_synced).await;
    assert_eq!(fake.requests(Verb::List, "/apis").len(), 2);
}

#[tokio::test]
async fn while_the_api_server_is_away_what_is_known_stays() {
    let (fake, mut handle) = running().await;
    let before = handle.desired();
    fake.set_down(true);
    until_health(&handle, "every watch fails", |health| {
        health.resources.iter().all(|health| health.error.is_some() && health.failures >= 2)
    })
    .await;
    assert!(before.is_same(&handle.desired()));
    // What happens meanwhile is seen afterwards.
    fake.put(PODS, annotated("new"));
    fake.remove(PODS, "shop/web");
    fake.set_down(false);
    until(&mut handle, "the new pod is known", has_pod("new")).await;
    until(&mut handle, "the old one is gone", |desired| !has_pod("web")(desired)).await;
    until_health(&handle, "every watch runs again", |health| {
        health.resources.iter().all(|health| health.error.is_none())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_has_forgotten_the_past_is_listed_again_and_what_went_meanwhile_goes() {
    let (fake, mut handle) = running().await;
    fake.put(PODS, annotated("other"));
    until(&mut handle, "both are known", has_pod("other")).await;
    fake.remove_unseen(PODS, "shop/web");
    fake.forget();
    fake.end_watches();
    until(&mut handle, "the pod is gone", |desired| !has_pod("web")(desired)).await;
    assert!(has_pod("other")(&handle.desired()));
    until_health(&handle, "the watch runs", |health| {
        of(health, Resource::Pods).lists == 2 && of(health, Resource::Pods).error.is_none()
    })
    .await;
}

#[tokio::test]
async fn what_goes_wrong_with_a_watch_is_made_good() {
    for fault in [
        Fault::Gone,
        Fault::Status(410, ""),
        Fault::Status(500, ""),
        Fault::Status(429, "Retry-After: 1\r\n"),
        Fault::Cut,
        Fault::HalfLine,
        Fault::Slow,
        Fault::Garbage,
        Fault::End,
    ] {
        let (fake, mut handle) = running().await;
        fake.fault(Verb::Watch, PODS, fault);
        fake.end_watches();
        until_watched(&fake, PODS, 2).await;
        fake.put(PODS, annotated("new"));
        until(&mut handle, &format!("{fault:?}: the new pod is known"), has_pod("new")).await;
        assert!(has_pod("web")(&handle.desired()), "{fault:?}");
        assert_eq!(fake.faults_left(), 0, "{fault:?}");
        let lists = fake.requests(Verb::List, PODS).len();
        let is_listed_again = matches!(fault, Fault::Gone | Fault::Status(410, _) | Fault::Garbage);
        assert_eq!(lists, if is_listed_again { 2 } else { 1 }, "{fault:?}");
        until_health(&handle, &format!("{fault:?}: the watch runs"), |health| !pods_fail(health)).await;
    }
}

#[tokio::test]
async fn what_goes_wrong_with_a_list_is_made_good() {
    for fault in [Fault::Status(403, ""), Fault::Status(410, ""), Fault::Status(503, ""), Fault::Cut] {
        let fake = Fake::start(&["v1"]).await;
        fake.put(PODS, annotated("web"));
        fake.fault(Verb::List, PODS, fault);
        let mut handle = watches(&fake).await;
        until(&mut handle, &format!("{fault:?}: the pod is known"), has_pod("web")).await;
        assert_eq!(fake.faults_left(), 0, "{fault:?}");
    }
}

#[tokio::test]
async fn a_watch_is_taken_up_at_the_last_bookmark() {
    let (fake, _handle) = running().await;
    let version = fake.bookmark(PODS);
    fake.end_watches();
    until_watched(&fake, PODS, 2).await;
    let again = fake.requests(Verb::Watch, PODS).pop().unwrap();
    assert!(again.ends_with(&format!("resourceVersion={version}")), "{again}");
    assert_eq!(fake.requests(Verb::List, PODS).len(), 1);
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let fake = Fake::start(&["v1"]).await;
    fake.set_page(2);
    for name in ["a", "b", "c", "d", "e"] {
        fake.put(PODS, annotated(name));
    }
    let mut handle = watches(&fake).await;
    until(&mut handle, "all five are known", |desired| desired.pods.len() == 5).await;
    assert_eq!(fake.requests(Verb::List, PODS).len(), 3);
    assert_eq!(of(&handle.health(), Resource::Pods).lists, 1);
}

#[tokio::test]
async fn a_bad_annotation_becomes_one_event_on_its_object() {
    let (fake, mut handle) = running().await;
    let bad = |app: &str| {
        let mut pod = annotated("web");
        pod["metadata"]["annotations"][OPAQUE] = "80O0".into();
        pod["metadata"]["labels"] = json!({ "app": app });
        pod
    };
    fake.put(PODS, bad("one"));
    until(&mut handle, "the problem is known", |desired| desired.problems.len() == 1).await;
    fake.put(PODS, bad("other"));
    fake.put(PODS, annotated("last"));
    until(&mut handle, "the last change is known", has_pod("last")).await;
    let deadline = Instant::now() + PATIENCE;
    while fake.posts().is_empty() {
        assert!(Instant::now() < deadline, "no Event");
        sleep(Duration::from_millis(5)).await;
    }
    let posts = fake.posts();
    assert_eq!(posts.len(), 1, "{posts:#?}");
    assert_eq!((&posts[0]["reason"], &posts[0]["type"]), (&"InvalidAnnotation".into(), &"Warning".into()));
    assert_eq!(posts[0]["regarding"]["name"], "web");
    let note = posts[0]["note"].as_str().unwrap();
    assert!(note.starts_with("config.linkerd.io/opaque-ports: \"80O0\": expected a port"), "{note}");
}

#[tokio::test]
async fn other_settings_of_the_node_hold_at_once() {
    let (fake, mut handle) = running().await;
    fake.put(PODS, pod("bare", json!({})));
    until(&mut handle, "the other pod is known", |desired| desired.left_alone.len() == 1).await;
    handle.configure(NodeDefaults::default(), EnrolMode::All);
    until(&mut handle, "it is enrolled", has_pod("bare")).await;
}

#[tokio::test]
async fn a_kubeconfig_that_is_none_is_named() {
    let options = |kubeconfig: &str| Options {
        node_name: "node-1".to_owned(),
        enrol: EnrolMode::Annotated,
        defaults: NodeDefaults::default(),
        kubeconfig: Some(kubeconfig.into()),
    };
    let error = start(options("/nonexistent/kubeconfig")).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot use the kubeconfig /nonexistent/kubeconfig");
    assert!(matches!(error, KubernetesError::Kubeconfig { .. }), "{error:?}");
}
