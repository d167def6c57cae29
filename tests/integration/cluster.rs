//! What the command line says of a cluster: of none, of one that is away, and of a small one.

use std::process::Command;

use serde_json::{Value, json};
use sluice_tests::agent::Agent;
use sluice_tests::exec::sluice;
use sluice_tests::kube::StandIn;
use sluice_tests::process::{Finished, run};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::tempdir::TempDir;
use sluice_tests::{http, tests, wait};

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("cluster");
    group.of_the_proxy_alone();
    group.sluice(tests![
        an_agent_without_a_cluster_says_so,
        which_pods_is_asked_for_needs_a_cluster,
        what_is_of_a_cluster_alone_is_refused_without_it,
        a_check_of_a_cluster_that_is_away_fails_and_names_it,
        the_pods_of_a_node_are_shown_with_what_is_wrong,
        names_of_services_are_explained,
        an_agent_is_not_ready_before_the_cluster_was_listed,
    ]);
}

/// A kubeconfig of a server that nobody is.
fn nowhere(directory: &TempDir) -> String {
    let server = format!("http://127.0.0.1:{}", http::free_port());
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "none", "cluster": { "server": server } }],
        "users": [{ "name": "test", "user": { "token": "test" } }],
        "contexts": [{ "name": "none", "context": { "cluster": "none", "user": "test" } }],
        "current-context": "none",
    });
    directory.write("kubeconfig", kubeconfig.to_string()).display().to_string()
}

/// The config of an agent of node-1, which has no pods in its cgroups.
fn config(kubeconfig: &str) -> String {
    format!("[kubernetes]\nnode-name = \"node-1\"\nkubeconfig = \"{kubeconfig}\"\n")
}

/// A database's Service with these opaque ports.
fn database(opaque_ports: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "namespace": "shop", "name": "db",
            "annotations": { "config.linkerd.io/opaque-ports": opaque_ports },
        },
        "spec": { "clusterIP": "10.96.0.10", "ports": [{ "name": "mysql", "port": 4406 }] },
    })
}

/// A cluster with a database that is annotated, and not well.
fn cluster() -> StandIn {
    let cluster = StandIn::start();
    cluster.set(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } }));
    cluster.set(database("44O6"));
    cluster.set(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": "shop", "name": "db-0", "uid": "0f0f0f0f-0000-4000-8000-0000000000aa",
            "annotations": { "linkerd.io/inject": "enabled" },
        },
        "spec": { "nodeName": "node-1", "containers": [{ "name": "main", "image": "none" }] },
        "status": { "phase": "Pending" },
    }));
    cluster
}

fn kubeconfig_of(cluster: &StandIn) -> String {
    cluster.kubeconfig_path().display().to_string()
}

/// The message, in one line.
fn refused(finished: &Finished, status: i32) -> &str {
    assert_eq!(finished.status.code(), Some(status), "{finished:?}");
    assert!(finished.stdout.is_empty(), "{finished:?}");
    &finished.stderr
}

fn an_agent_without_a_cluster_says_so(_: &Env) {
    let agent = Agent::started("");
    assert!(!agent.answer(&["status"]).contains("kubernetes"));
    for question in [&["status", "--pods"][..], &["explain", "shop/db:mysql"], &["explain", "db:80"]] {
        let answer = agent.ask(question);
        let told = refused(&answer, 1);
        assert!(told.contains("its config has no [kubernetes]"), "{question:?}: {told}");
    }
}

fn which_pods_is_asked_for_needs_a_cluster(_: &Env) {
    let agent = Agent::stopped("");
    let finished = agent.run_to_its_end_with(&["--enrol=all"]);
    let told = refused(&finished, 1);
    assert!(told.contains("expected a table [kubernetes] in "), "{told}");
    let finished = agent.run_to_its_end_with(&["--enrol=some"]);
    let told = refused(&finished, 2);
    assert!(told.contains("expected annotated or all, got 'some'"), "{told}");
}

fn what_is_of_a_cluster_alone_is_refused_without_it(_: &Env) {
    for words in [
        &["check", "--kubeconfig", "/x"][..],
        &["check", "--node-name", "x"],
        &["status", "--output", "json"],
    ] {
        let mut command = Command::new(sluice());
        command.args(words);
        let finished = run(command);
        assert!(refused(&finished, 2).contains("required"), "{words:?}: {finished:?}");
    }
}

/// `sluice check --cluster` by this kubeconfig, as people and as programs see it.
fn checked(agent: &Agent, kubeconfig: &str) -> (Option<i32>, String, Vec<Value>) {
    let words = ["check", "--cluster", "--node-name", "node-1", "--kubeconfig", kubeconfig];
    let finished = agent.ask(&words);
    let text = String::from_utf8_lossy(&finished.stdout).into_owned();
    let json = agent.ask(&[&words[..], &["--output", "json"]].concat());
    let findings: Vec<Value> = serde_json::from_slice(&json.stdout).expect("an array of findings");
    assert_eq!(findings.len(), text.lines().count(), "{text}");
    (finished.status.code(), text, findings)
}

fn a_check_of_a_cluster_that_is_away_fails_and_names_it(_: &Env) {
    let directory = TempDir::new();
    let (status, text, findings) = checked(&Agent::stopped(""), &nowhere(&directory));
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("\nFAIL  the API server answers: "), "{text}");
    assert!(text.contains("\noff   an agent tells of pods: no agent answers at "), "{text}");
    let server =
        findings.iter().find(|finding| finding["what"] == "the API server answers").expect("a finding");
    assert_eq!(server["weight"], "required");
    assert!(server["error"].is_string(), "{server}");
}

fn the_pods_of_a_node_are_shown_with_what_is_wrong(_: &Env) {
    let cluster = cluster();
    let agent = Agent::started(&config(&kubeconfig_of(&cluster)));
    let line = "kubernetes  0 pods enrolled, 1 waiting, 0 left alone; 1 annotation cannot be used (see status --pods)";
    wait::eventually("the status to tell of the pod", || {
        agent.answer(&["status"]).lines().any(|told| told == line).then_some(())
    });
    let shown = agent.answer(&["status", "--pods"]);
    for told in [
        "node        node-1\n",
        "\npods        listed\n",
        "\nshop/db-0  waiting  -          no cgroup of the kubelet's with its UID yet\n",
        "\nService shop/db: config.linkerd.io/opaque-ports: \"44O6\": expected a port",
        "; it is as if the annotation were not there\n",
    ] {
        assert!(shown.contains(told), "no {told:?} in\n{shown}");
    }
    let json = agent.answer(&["status", "--pods", "--output", "json"]);
    let said: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&said["node"], &said["pods"][0]["state"]), (&json!("node-1"), &json!("waiting")));

    let (_, metrics) = http::get(agent.admin(), "/metrics").expect("a scrape");
    for series in [
        "sluice_pods{state=\"waiting\"} 1\n",
        "sluice_annotation_problems 1\n",
        "sluice_kubernetes_watch_synced{resource=\"pods\"} 1\n",
        "sluice_kubernetes_watch_failures_total{resource=\"pods\"} 0\n",
    ] {
        assert!(metrics.contains(series), "no {series:?} in\n{metrics}");
    }

    let (_, text, _) = checked(&agent, &kubeconfig_of(&cluster));
    for told in [
        "\nok    an agent tells of pods: node node-1\n",
        "\noff   pod shop/db-0 is enrolled: no cgroup of the kubelet's with its UID yet\n",
        "\noff   the annotations of Service shop/db can be used: config.linkerd.io/opaque-ports: ",
    ] {
        assert!(text.contains(told), "no {told:?} in\n{text}");
    }
}

fn names_of_services_are_explained(_: &Env) {
    let cluster = cluster();
    let workload = crate::workload::Workload::new("web");
    let config = workload.config("") + &config(&kubeconfig_of(&cluster));
    let agent = Agent::started(&config);
    // Not annotated well, so that the workload's own list holds.
    let detect = "web -> 10.96.0.10:4406 (Service shop/db): detect (no rule names the port)\n";
    assert_eq!(agent.answer(&["explain", "shop/db:mysql"]), detect);
    assert_eq!(agent.answer(&["explain", "db:4406"]), detect);
    cluster.set(database("mysql"));
    let opaque = "web -> 10.96.0.10:4406 (Service shop/db): opaque (port 4406, as the destination has it annotated; the kernel carries it)\n";
    wait::eventually("the annotation to hold", || {
        (agent.answer(&["explain", "shop/db:4406"]) == opaque).then_some(())
    });
    assert_eq!(agent.answer(&["explain", "10.96.0.10:4406"]), opaque.replace(" (Service shop/db)", ""));
    // The workload's own word comes first.
    assert!(agent.answer(&["ports", "skip", "4406"]).contains("skip 4406"));
    assert!(agent.answer(&["explain", "db:mysql"]).contains(": skip (port 4406, set by `sluice ports`)"));

    let finished = agent.ask(&["explain", "shop/web:80"]);
    let told = refused(&finished, 1);
    assert!(told.contains("is named shop/web; there are: shop/db, shop/db-0"), "{told}");
    let finished = agent.ask(&["explain", "shop/db:https"]);
    let told = refused(&finished, 1);
    assert!(told.contains("Service shop/db has no TCP port https; it has: 4406 (mysql)"), "{told}");
}

fn an_agent_is_not_ready_before_the_cluster_was_listed(_: &Env) {
    let mut cluster = cluster();
    cluster.go_away();
    let mut agent = Agent::stopped(&config(&kubeconfig_of(&cluster)));
    agent.start_unready();
    let ready = |agent: &Agent| http::get(agent.admin(), "/ready").map(|(status, _)| status).ok();
    wait::eventually("the agent to answer", || ready(&agent).map(|status| assert_eq!(status, 503)));
    let status = agent.answer(&["status"]);
    assert!(
        status.contains("\nkubernetes  the cluster has not been listed yet (see status --pods)\n"),
        "{status}"
    );
    wait::eventually("the status to tell why", || {
        agent
            .answer(&["status", "--pods"])
            .contains("\npods        not listed yet; failing for ")
            .then_some(())
    });
    assert_eq!(ready(&agent), Some(503));
    cluster.come_back();
    wait::within(wait::patience() * 4, "the agent to be ready", || {
        (ready(&agent) == Some(200)).then_some(())
    });
}
