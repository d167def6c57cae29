//! A change holds for the connections that come after it, and for no other.

use std::net::SocketAddr;

use sluice_tests::kube::{Api, PodSpec};
use sluice_tests::process::Process;
use sluice_tests::suite::Group;
use sluice_tests::{tests, wait};

use super::ApiServer;
use super::scene::{
    At, Detect, Direct, INJECT, OPAQUE, Opaque, SKIP_INBOUND, SKIP_OUTBOUND, SKIP_PORTS, SKIP_SUBNETS, Scene,
    Shop,
};

on_both!(
    a_changed_annotation_holds_for_new_connections,
    every_change_holds_for_new_connections_and_open_ones_go_on,
    a_container_that_is_restarted_keeps_its_annotations,
);

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

/// A client with an open connection, which sends and receives much more once it is told to go on.
fn open(shop: &mut Shop, client: &sluice_tests::kube::Pod, to: SocketAddr) -> Process {
    let steps = [
        format!("connect={to}"),
        "ping-pong=1".into(),
        "say=open".into(),
        "await".into(),
        "exchange=100000".into(),
    ];
    let mut client = Process::start(client.peer("client", &steps));
    client.line("open");
    let _accepted = shop.accepted();
    client
}

fn every_change_holds_for_new_connections_and_open_ones_go_on(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.enrolled("client");
    let mut shop = scene.shop(&PodSpec::new("shop"), &[8080]);
    let to = shop.v4(8080);
    scene.expect(&client, &mut shop, to, [Detect, Detect]);
    let mut opened = vec![open(&mut shop, &client, to)];
    let changes: [(&str, &str, &str, [At; 2]); 6] = [
        ("client", SKIP_OUTBOUND, "8080", [Direct, Detect]),
        ("client", SKIP_SUBNETS, "10.244.0.0/16", [Direct, Detect]),
        ("shop", SKIP_INBOUND, "8080", [Detect, Direct]),
        ("shop", SKIP_PORTS, "8000-9000", [Detect, Direct]),
        ("shop", OPAQUE, "8080", [Opaque, Opaque]),
        ("shop", INJECT, "disabled", [Detect, Direct]),
    ];
    for (pod, annotation, value, at) in changes {
        scene.world.annotate("pods", pod, annotation, Some(value));
        scene.expect(&client, &mut shop, to, at);
        opened.push(open(&mut shop, &client, to));
        let before = if annotation == INJECT { Some("enabled") } else { None };
        scene.world.annotate("pods", pod, annotation, before);
        scene.expect(&client, &mut shop, to, [Detect, Detect]);
    }
    for mut client in opened {
        client.say("");
        let finished = client.finish(wait::patience());
        let said = String::from_utf8_lossy(&finished.stdout).into_owned();
        assert!(finished.status.success(), "{finished:?}");
        assert!(said.contains("received 100000 "), "{said}");
    }
}

fn a_container_that_is_restarted_keeps_its_annotations(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.enrolled("client");
    let spec = PodSpec::new("shop").annotation(OPAQUE, "8080").annotation(SKIP_INBOUND, "9090");
    let Shop { app, mut pod } = scene.shop(&spec, &[]);
    drop(app);
    pod.restart_containers();
    scene.world.tell_status(&scene.node, &pod);
    let mut shop = Shop::of(pod, &[8080, 9090]);
    let (opaque, skipped) = (shop.v4(8080), shop.v6(9090));
    scene.expect(&client, &mut shop, opaque, [Opaque, Opaque]);
    scene.expect(&client, &mut shop, skipped, [Detect, Direct]);
    let Shop { app, mut pod } = shop;
    drop(app);
    pod.recreate_sandbox();
    scene.world.tell_status(&scene.node, &pod);
    let mut shop = Shop::of(pod, &[8080, 9090]);
    scene.expect(&client, &mut shop, opaque, [Opaque, Opaque]);
    scene.expect(&client, &mut shop, skipped, [Detect, Direct]);
}
