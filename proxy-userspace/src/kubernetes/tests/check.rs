//! What `check` finds out about an API server.

use super::{
    fake::{NODES, REVIEWS},
    *,
};

fn node(name: Option<&str>, kernel: Option<&str>) -> ThisNode {
    ThisNode { name: name.map(str::to_owned), kernel: kernel.map(str::to_owned) }
}

/// Each thing that was asked for, on a line.
async fn checked(fake: &Fake, node: &ThisNode) -> Vec<String> {
    let file = KubeconfigFile::of(fake);
    let line = |checked: Checked| {
        let (what, hard) = (checked.what, if checked.is_required { "required" } else { "optional" });
        match checked.outcome {
            Ok(detail) => format!("ok {what}: {}", detail.unwrap_or_default()),
            Err(error) => format!("{hard} {what}: {error}"),
        }
    };
    check(Some(file.0.clone()), node).await.into_iter().map(line).collect()
}

async fn cluster() -> Fake {
    let fake = Fake::start(&["v1"]).await;
    fake.put(
        NODES,
        json!({ "metadata": { "name": "node-1" }, "status": { "nodeInfo": { "kernelVersion": "6.1.0-56" } } }),
    );
    fake
}

/// The lines, but for those of `ok`.
fn wrong(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).filter(|line| !line.starts_with("ok ")).collect()
}

#[tokio::test]
async fn a_cluster_that_lets_an_agent_work_is_ok_in_every_line() {
    let fake = cluster().await;
    let lines = checked(&fake, &node(Some("node-1"), Some("6.1.0-56"))).await;
    assert_eq!(
        lines,
        [
            "ok the API server answers: v1.33.1",
            "ok may list and watch pods: ",
            "ok may list and watch services: ",
            "ok may list and watch namespaces: ",
            "ok may list and watch endpointslices: ",
            "ok may create events: ",
            "ok the API has node node-1: Linux 6.1.0-56",
        ]
    );
    let asked: Vec<_> = fake
        .posts()
        .iter()
        .map(|post| {
            let asked = &post["spec"]["resourceAttributes"];
            let word = |field: &str| asked[field].as_str().unwrap().to_owned();
            assert_eq!(asked["namespace"], Value::Null, "in every namespace");
            [word("verb"), word("group"), word("resource")].join(" ")
        })
        .collect();
    assert_eq!(asked.len(), 9);
    assert!(asked.contains(&"watch  pods".to_owned()), "{asked:?}");
    assert!(asked.contains(&"list discovery.k8s.io endpointslices".to_owned()), "{asked:?}");
    assert!(asked.contains(&"create events.k8s.io events".to_owned()), "{asked:?}");
}

#[tokio::test]
async fn what_is_not_allowed_fails_where_the_agent_cannot_do_without() {
    let fake = cluster().await;
    for (verb, resource) in [("watch", "pods"), ("list", "namespaces"), ("watch", "namespaces")] {
        fake.deny(verb, resource);
    }
    fake.deny("create", "events");
    let lines = checked(&fake, &node(Some("node-1"), None)).await;
    assert_eq!(
        wrong(&lines),
        [
            "required may list and watch pods: watch is not allowed (the test's word)",
            "required may list and watch namespaces: list is not allowed (the test's word); watch is not \
             allowed (the test's word)",
            "optional may create events: create is not allowed (the test's word)",
        ]
    );
}

#[tokio::test]
async fn an_old_server_is_asked_for_the_endpoints_that_it_has() {
    let fake = Fake::start(&[]).await;
    let lines = checked(&fake, &node(None, None)).await;
    assert!(lines.contains(&"ok may list and watch endpoints: ".to_owned()), "{lines:?}");
}

#[tokio::test]
async fn a_node_that_is_not_there_fails_and_one_that_may_not_be_asked_for_does_not() {
    let fake = cluster().await;
    let lines = checked(&fake, &node(Some("node-2"), None)).await;
    assert_eq!(
        wrong(&lines),
        ["required the API has node node-2: there is no node with this name, so no pod would be found"]
    );
    let other = checked(&fake, &node(Some("node-1"), Some("6.18.0"))).await;
    assert_eq!(
        wrong(&other),
        [
            "optional the API has node node-1: it has Linux 6.1.0-56, and this machine runs 6.18.0: is it another one?"
        ]
    );
    fake.fault(Verb::List, "/api/v1/nodes/node-1", Fault::Status(403, ""));
    let forbidden = checked(&fake, &node(Some("node-1"), None)).await;
    assert_eq!(wrong(&forbidden), ["optional the API has node node-1: may not be asked: the test's 403"]);
    let unknown = checked(&fake, &node(None, None)).await;
    assert!(wrong(&unknown)[0].starts_with("optional the API has this node: which it is, nobody says"));
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_all_that_is_told() {
    let fake = cluster().await;
    fake.set_down(true);
    let lines = checked(&fake, &node(Some("node-1"), None)).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("required the API server answers: "), "{lines:?}");

    let nowhere = check(Some("/nonexistent/kubeconfig".into()), &node(None, None)).await;
    let error = nowhere[0].outcome.clone().unwrap_err();
    assert!(error.contains("cannot use the kubeconfig /nonexistent/kubeconfig: "), "{error}");
}

#[tokio::test]
async fn a_server_that_has_no_reviews_is_not_taken_for_one_that_allows() {
    let fake = cluster().await;
    for _ in 0..9 {
        fake.fault(Verb::List, REVIEWS, Fault::Status(404, ""));
    }
    let lines = checked(&fake, &node(Some("node-1"), None)).await;
    let asked: Vec<_> = wrong(&lines);
    assert_eq!(asked.len(), 5, "{lines:?}");
    assert_eq!(
        asked[0],
        "required may list and watch pods: cannot be asked: the API server answers 404: the test's 404"
    );
}
