//! Pods are enrolled as their annotations say, while they live and while those change. Each promise is
//! held against the stand-in, and under `cargo xtask k8s-test` against a real API server.

use std::net::{IpAddr, SocketAddr};

use sluice_tests::agent::Agent;
use sluice_tests::http::Samples;
use sluice_tests::kube::stand_in::{Fault, On, WatchEnd};
use sluice_tests::kube::{Api, Layout, Node, Pod, PodSpec, ServiceSpec, StandIn, World};
use sluice_tests::process::run;
use sluice_tests::server::{Server, behaviour};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{scale::Scale, tests, wait};

const INJECT: &str = "linkerd.io/inject";
const OPAQUE: &str = "config.linkerd.io/opaque-ports";
const SKIP_OUTBOUND: &str = "config.linkerd.io/skip-outbound-ports";

/// A test that any API server will do for.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod stand_in {
            use super::*;
            $(pub(super) fn $name(_: &Env) {
                let stand_in = StandIn::start();
                super::$name(&stand_in.api());
            })+
        }
        mod real {
            use super::*;
            $(pub(super) fn $name(_: &Env) {
                super::$name(&Api::from_env().expect("the tests are left out without it"));
            })+
        }
        pub(crate) fn register(suite: &mut Suite) {
            let mut pods = suite.group("enrolled_pods");
            if Scale::current() == Scale::Small {
                pods.leave_out("needs nftables, which the guests do not have");
            }
            {
                use stand_in::{$($name),+};
                pods.sluice(tests![$($name),+]);
            }
            pods.sluice(tests![
                while_the_server_is_away_pods_stay_as_they_are,
                a_server_that_forgets_or_breaks_off_is_followed_again,
                a_server_that_is_busy_is_asked_again,
            ]);
            let mut pods = suite.group("k8s::enrolled_pods");
            pods.require_kubernetes();
            {
                use real::{$($name),+};
                pods.sluice(tests![$($name),+]);
            }
        }
    };
}

on_both!(
    an_annotated_pod_is_enrolled_and_another_is_not,
    every_layout_s_pods_are_found,
    a_pod_annotated_with_skip_outbound_ports_is_left_alone_there,
    a_changed_annotation_holds_for_new_connections,
    a_namespace_enrols_its_pods_and_a_pod_has_the_last_word,
    a_static_pod_is_enrolled,
    a_pod_that_is_removed_is_forgotten,
    a_pod_with_a_new_sandbox_is_enrolled_again,
    a_pod_that_is_announced_before_it_is_there_is_enrolled_when_it_comes,
    a_service_s_opaque_port_is_not_inspected_at_its_cluster_ip,
);

/// A cluster with one node, a server outside of it, and an agent on the node.
struct Scene {
    // The agent goes before what it has enrolled.
    agent: Agent,
    server: Server,
    node: Node,
    world: World,
}

impl Scene {
    fn new(api: &Api) -> Self {
        Self::with_layout(api, Layout::usual())
    }

    fn with_layout(api: &Api, layout: Layout) -> Self {
        let world = World::new(api);
        let node = world.node(layout);
        let server = Server::bind_in(world.cluster().outside(), "[::]:7001", behaviour::echo);
        let agent = Agent::started(&world.config(&node, ""));
        Self { agent, server, node, world }
    }

    fn run(&self, spec: &PodSpec) -> Pod {
        self.world.run(&self.node, spec)
    }

    /// An enrolled pod, by its own annotation.
    fn enrolled(&self, name: &str) -> Pod {
        let pod = self.run(&PodSpec::new(name).annotation(INJECT, "enabled"));
        self.expect_proxied(&pod);
        pod
    }

    /// Whether a pod's connection to the server outside goes through the proxy, in either family.
    fn is_proxied(&self, pod: &Pod) -> bool {
        let cluster = self.world.cluster();
        let ways = [IpAddr::V4(cluster.outside_v4()), IpAddr::V6(cluster.outside_v6())].map(|ip| {
            let local = exchange(pod, SocketAddr::new(ip, self.server.port()));
            let seen = self.server.accepted();
            let seen = SocketAddr::new(seen.ip().to_canonical(), seen.port());
            assert!(pod.addresses().contains(&seen.ip()), "{seen} is not the pod's own address");
            seen != local
        });
        // It may be enrolled between the two.
        ways[1]
    }

    fn expect_proxied(&self, pod: &Pod) {
        wait::eventually("the pod to be proxied", || self.is_proxied(pod).then_some(()));
    }

    fn expect_direct(&self, pod: &Pod) {
        wait::eventually("the pod to go direct", || (!self.is_proxied(pod)).then_some(()));
    }

    fn status(&self) -> String {
        self.agent.answer(&["status"])
    }
}

/// One connection with some bytes out and back; the client's own address.
fn exchange(pod: &Pod, to: SocketAddr) -> SocketAddr {
    let finished = run(pod.peer("client", &[format!("connect={to}"), "exchange=1000".into()]));
    let told = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(finished.status.success(), "{} to {to}: {told}{}", pod.name(), finished.stderr);
    let line = |word: &str| told.lines().find_map(|line| line.strip_prefix(word)).map(str::to_owned);
    assert_eq!(line("peer "), Some(to.to_string()), "what the client asked for");
    line("local ").and_then(|local| local.parse().ok()).expect("the client's address")
}

fn an_annotated_pod_is_enrolled_and_another_is_not(api: &Api) {
    let scene = Scene::new(api);
    let bystander = scene.run(&PodSpec::new("bystander"));
    let disabled = scene.run(&PodSpec::new("disabled").annotation(INJECT, "disabled"));
    let enrolled = scene.enrolled("enrolled");
    assert!(!scene.is_proxied(&bystander) && !scene.is_proxied(&disabled));
    let status = scene.status();
    assert!(status.contains(&scene.world.workload(&enrolled)), "{status}");
    assert!(!status.contains(&scene.world.workload(&bystander)), "{status}");
}

fn every_layout_s_pods_are_found(api: &Api) {
    for layout in Layout::all() {
        let scene = Scene::with_layout(api, layout);
        let _pod = scene.enrolled("shop");
    }
}

fn a_pod_annotated_with_skip_outbound_ports_is_left_alone_there(api: &Api) {
    let scene = Scene::new(api);
    let spec = PodSpec::new("shop").annotation(INJECT, "enabled").annotation(SKIP_OUTBOUND, "7001,9000-9100");
    let pod = scene.run(&spec);
    let other = Server::bind_in(scene.world.cluster().outside(), "[::]:7002", behaviour::echo);
    let to = SocketAddr::new(scene.world.cluster().outside_v4().into(), other.port());
    wait::eventually("the other port to be proxied", || {
        let local = exchange(&pod, to);
        (other.accepted().port() != local.port()).then_some(())
    });
    assert!(!scene.is_proxied(&pod));
}

fn a_changed_annotation_holds_for_new_connections(api: &Api) {
    let scene = Scene::new(api);
    let pod = scene.enrolled("shop");
    scene.world.annotate("pods", "shop", SKIP_OUTBOUND, Some("7001"));
    scene.expect_direct(&pod);
    scene.world.annotate("pods", "shop", SKIP_OUTBOUND, Some("7002"));
    scene.expect_proxied(&pod);
    scene.world.annotate("pods", "shop", INJECT, Some("disabled"));
    scene.expect_direct(&pod);
}

fn a_namespace_enrols_its_pods_and_a_pod_has_the_last_word(api: &Api) {
    let scene = Scene::new(api);
    let pod = scene.run(&PodSpec::new("shop"));
    let out = scene.run(&PodSpec::new("out").annotation(INJECT, "disabled"));
    assert!(!scene.is_proxied(&pod));
    scene.world.annotate_namespace(INJECT, Some("enabled"));
    scene.expect_proxied(&pod);
    assert!(!scene.is_proxied(&out));
    scene.world.annotate_namespace(SKIP_OUTBOUND, Some("7001"));
    scene.expect_direct(&pod);
    // It replaces the namespace's list, and is not added to it.
    scene.world.annotate("pods", "shop", SKIP_OUTBOUND, Some("7002"));
    scene.expect_proxied(&pod);
}

fn a_static_pod_is_enrolled(api: &Api) {
    let scene = Scene::new(api);
    // Nobody else's on this machine: it names a cgroup.
    let number: String = scene.world.namespace().chars().filter(char::is_ascii_digit).collect();
    let spec = PodSpec::new("static").annotation(INJECT, "enabled");
    let pod = scene.run(&spec.config_hash(&format!("{number:0>32}")));
    scene.expect_proxied(&pod);
}

fn a_pod_that_is_removed_is_forgotten(api: &Api) {
    let scene = Scene::new(api);
    let pod = scene.enrolled("shop");
    let name = scene.world.workload(&pod);
    scene.world.remove(pod);
    wait::eventually("the pod to be forgotten", || (!scene.status().contains(&name)).then_some(()));
}

fn a_pod_with_a_new_sandbox_is_enrolled_again(api: &Api) {
    let scene = Scene::new(api);
    let mut pod = scene.enrolled("shop");
    pod.restart_containers();
    scene.world.tell_status(&scene.node, &pod);
    scene.expect_proxied(&pod);
    pod.recreate_sandbox();
    scene.world.tell_status(&scene.node, &pod);
    scene.expect_proxied(&pod);
}

fn a_pod_that_is_announced_before_it_is_there_is_enrolled_when_it_comes(api: &Api) {
    let scene = Scene::new(api);
    let spec = PodSpec::new("late").annotation(INJECT, "enabled");
    let made = scene.world.announce(&scene.node, &spec);
    // The agent knows of it: what came after it is there.
    let _other = scene.enrolled("other");
    let pod = scene.node.pod_with_uid(&spec, made["metadata"]["uid"].as_str().expect("a UID"));
    scene.world.tell_status(&scene.node, &pod);
    scene.expect_proxied(&pod);
}

fn a_service_s_opaque_port_is_not_inspected_at_its_cluster_ip(api: &Api) {
    let scene = Scene::new(api);
    let backend = scene.run(&PodSpec::new("db").port("mysql", 3000));
    let server = backend.server(3000, behaviour::echo);
    let opaque = ServiceSpec::new("db").annotation(OPAQUE, "4406").port_to_name(4406, "mysql");
    let opaque = scene.world.service(&opaque, &[&scene.node], &[&backend]);
    let client = scene.enrolled("client");
    let by_config = || {
        let labels = [("protocol", "opaq"), ("detected_by", "config")];
        Samples::of(scene.agent.admin()).sum("outbound_tcp_protocol_connections_total", &labels)
    };
    for (count, address) in [(1.0, opaque.v4()), (2.0, opaque.v6())] {
        exchange(&client, SocketAddr::new(address, 4406));
        assert_eq!(server.accepted().ip().to_canonical().is_ipv4(), address.is_ipv4());
        wait::eventually("the connection to be counted", || (by_config() >= count).then_some(()));
    }
    assert!((by_config() - 2.0).abs() < f64::EPSILON);
}

fn while_the_server_is_away_pods_stay_as_they_are(_: &Env) {
    let mut stand_in = StandIn::start();
    let scene = Scene::new(&stand_in.api());
    let pod = scene.enrolled("shop");
    stand_in.go_away();
    for _ in 0..10 {
        assert!(scene.is_proxied(&pod), "what is known stays known");
    }
    stand_in.come_back();
    scene.world.annotate("pods", "shop", SKIP_OUTBOUND, Some("7001"));
    scene.expect_direct(&pod);
}

fn a_server_that_forgets_or_breaks_off_is_followed_again(_: &Env) {
    let stand_in = StandIn::start();
    let scene = Scene::new(&stand_in.api());
    let pod = scene.enrolled("shop");
    for end in [WatchEnd::Cleanly, WatchEnd::MidLine, WatchEnd::Gone] {
        if end == WatchEnd::Gone {
            stand_in.compact();
        }
        stand_in.end_watches(end);
        scene.world.annotate("pods", "shop", SKIP_OUTBOUND, Some("7001"));
        scene.expect_direct(&pod);
        scene.world.annotate("pods", "shop", SKIP_OUTBOUND, None);
        scene.expect_proxied(&pod);
    }
}

fn a_server_that_is_busy_is_asked_again(_: &Env) {
    let stand_in = StandIn::start();
    let scene = Scene::new(&stand_in.api());
    let pod = scene.enrolled("shop");
    for fault in [
        Fault::TooManyRequests { retry_after: 1 },
        Fault::Overloaded { retry_after: 1 },
        Fault::ServerError,
        Fault::Half,
        Fault::Disconnect,
    ] {
        for on in [On::List, On::Watch] {
            stand_in.fail_with(on, fault);
        }
        stand_in.end_watches(WatchEnd::Gone);
        scene.world.annotate("pods", "shop", SKIP_OUTBOUND, Some("7001"));
        scene.expect_direct(&pod);
        scene.world.annotate("pods", "shop", SKIP_OUTBOUND, None);
        scene.expect_proxied(&pod);
        stand_in.heal();
    }
}
