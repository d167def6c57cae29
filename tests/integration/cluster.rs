//! Pods of a cluster, enrolled as they are annotated: the agent and an API server, real or the stand-in.

use std::net::SocketAddr;

use sluice_tests::agent::Agent;
use sluice_tests::kube::{Api, Layout, Node, Pod, PodSpec, ServiceSpec, StandIn, World};
use sluice_tests::process::run;
use sluice_tests::server::behaviour;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("cluster");
    group.one_lane(tests![a_pod_goes_through_the_proxy_but_for_the_port_that_it_skips]);
}

const INJECT: &str = "linkerd.io/inject";

/// An agent of a node.
fn agent(api: &Api, node: &Node, more: &str) -> Agent {
    Agent::started(&format!(
        "{more}\n[kubernetes]\nnode-name = \"{}\"\nkubeconfig = \"{}\"\n",
        node.name(),
        api.kubeconfig().display()
    ))
}

fn connect(pod: &Pod, to: SocketAddr) {
    let finished = run(pod.peer("client", &[format!("connect={to}"), "exchange=1000".into()]));
    assert!(finished.status.success(), "{} to {to}: {finished:?}", pod.name());
}

fn eventually_enrolled(agent: &Agent, name: &str) {
    wait::eventually(&format!("{name} to be enrolled"), || {
        String::from_utf8_lossy(&agent.ask(&["status"]).stdout).contains(&format!("{name}  (")).then_some(())
    });
}

fn a_pod_goes_through_the_proxy_but_for_the_port_that_it_skips(_: &Env) {
    let stand_in = StandIn::start();
    let api = stand_in.api();
    let world = World::new(&api);
    let node = world.node(Layout::usual());
    let agent = agent(&api, &node, "");
    let client = world.run(&node, &PodSpec::new("client").annotation(INJECT, "enabled"));
    let app = world.run(
        &node,
        &PodSpec::new("my-app").annotation(INJECT, "enabled").annotation("linkerd.io/skip-ports", "8080"),
    );
    for pod in [&client, &app] {
        eventually_enrolled(&agent, &format!("{}/{}", world.namespace(), pod.name()));
    }
    let (legacy, api_server) = (app.server(8080, behaviour::echo), app.server(9090, behaviour::echo));
    connect(&client, SocketAddr::new(app.v4().into(), 8080));
    connect(&client, SocketAddr::new(app.v4().into(), 9090));
    legacy.accepted();
    api_server.accepted();
    println!("{}", String::from_utf8_lossy(&agent.ask(&["status"]).stdout));
    let _ = ServiceSpec::new("x");
}
