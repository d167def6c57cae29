//! Connections between pods, from each place to each: who proxies them, and whom the server sees.

use std::net::{IpAddr, SocketAddr};

use sluice_tests::kube::{Api, Layout, PodSpec, ServiceSpec};
use sluice_tests::suite::Group;
use sluice_tests::tests;

use super::ApiServer;
use super::scene::{Detect, Direct, INJECT, Scene, Shop};

on_both!(
    between_two_enrolled_pods_both_ends_are_proxied_and_the_server_sees_the_client,
    a_pod_reaches_itself_by_its_service_and_by_its_own_address,
    between_an_enrolled_pod_and_another_one_end_is_proxied,
    a_pod_of_another_node_is_reached_and_reaches,
    from_outside_and_from_the_node_connections_come_in_with_their_own_addresses,
);

fn between_two_enrolled_pods_both_ends_are_proxied_and_the_server_sees_the_client(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.enrolled("client");
    let mut shop = scene.shop(&PodSpec::new("shop").port("http", 8080), &[8080]);
    let service = ServiceSpec::new("shop").port_to_name(80, "http");
    let service = scene.world.service(&service, &[&scene.node], &[&shop.pod]);
    let by_ip = [shop.v4(8080), shop.v6(8080)];
    let by_service = [service.v4(), service.v6()].map(|ip| SocketAddr::new(ip, 80));
    for to in by_ip.into_iter().chain(by_service) {
        scene.expect(&client, &mut shop, to, [Detect, Detect]);
        let seen = scene.connect(&client, &mut shop, to);
        assert_eq!(seen.at, [Detect, Detect], "{to}");
        let [own_v4, own_v6] = client.addresses();
        let own = if to.is_ipv4() { own_v4 } else { own_v6 };
        assert_eq!(seen.accepted.from.ip(), own, "{to}: {seen:?}");
        let local = if to.is_ipv4() { shop.v4(8080) } else { shop.v6(8080) };
        assert_eq!(seen.accepted.local, local, "{seen:?}");
    }
}

fn a_pod_reaches_itself_by_its_service_and_by_its_own_address(api: &Api) {
    let scene = Scene::new(api);
    let mut shop = scene.shop(&PodSpec::new("self"), &[8080]);
    let service = ServiceSpec::new("self").port(80, 8080);
    let service = scene.world.service(&service, &[&scene.node], &[&shop.pod]);
    let nodes: [IpAddr; 2] = [scene.node.probes_from_v4().into(), scene.node.probes_from_v6().into()];
    for (ip, node) in [service.v4(), service.v6()].into_iter().zip(nodes) {
        let to = SocketAddr::new(ip, 80);
        let seen = scene.connect_to_itself(&mut shop, to);
        assert_eq!(seen.at, [Detect, Detect], "{to}");
        assert_eq!(seen.accepted.from.ip(), node, "the node's NAT has it so: {seen:?}");
    }
    for to in [shop.v4(8080), shop.v6(8080)] {
        let seen = scene.connect_to_itself(&mut shop, to);
        assert_eq!(seen.at, [Detect, Direct], "what stays within the pod does not come in: {to}");
        assert_eq!(seen.accepted.from.ip(), to.ip(), "{seen:?}");
    }
}

fn between_an_enrolled_pod_and_another_one_end_is_proxied(api: &Api) {
    let scene = Scene::new(api);
    let bystander = scene.run(&PodSpec::new("bystander").annotation(INJECT, "disabled"));
    let mut shop = scene.shop(&PodSpec::new("shop"), &[8080]);
    let plain = scene.run(&PodSpec::new("plain"));
    let mut plain = Shop::of(plain, &[8080]);
    for to in [shop.v4(8080), shop.v6(8080)] {
        scene.expect(&bystander, &mut shop, to, [Direct, Detect]);
        let seen = scene.connect(&bystander, &mut shop, to);
        assert_eq!((seen.at, seen.accepted.from), ([Direct, Detect], seen.client), "{to}");
    }
    let enrolled = scene.enrolled("client");
    for to in [plain.v4(8080), plain.v6(8080)] {
        let seen = scene.connect(&enrolled, &mut plain, to);
        assert_eq!(seen.at, [Detect, Direct], "{to}");
        assert!(enrolled.addresses().contains(&seen.accepted.from.ip()), "{seen:?}");
    }
}

fn a_pod_of_another_node_is_reached_and_reaches(api: &Api) {
    let scene = Scene::new(api);
    // No agent runs there: the annotation is for the one that would.
    let there = scene.world.node(Layout::kind());
    let annotated = |name| PodSpec::new(name).annotation(INJECT, "enabled");
    let client = scene.world.run(&there, &annotated("far-client"));
    let mut far = Shop::of(scene.world.run(&there, &annotated("far")), &[8080]);
    let near = scene.enrolled("near-client");
    let mut shop = scene.shop(&PodSpec::new("near"), &[8080]);
    for (to, from) in [(far.v4(8080), near.v4().into()), (far.v6(8080), IpAddr::from(near.v6()))] {
        let seen = scene.connect(&near, &mut far, to);
        assert_eq!((seen.at, seen.accepted.from.ip()), ([Detect, Direct], from), "{to}");
    }
    for to in [shop.v4(8080), shop.v6(8080)] {
        scene.expect(&client, &mut shop, to, [Direct, Detect]);
        let seen = scene.connect(&client, &mut shop, to);
        assert_eq!(seen.accepted.from, seen.client, "{to}");
    }
}

fn from_outside_and_from_the_node_connections_come_in_with_their_own_addresses(api: &Api) {
    let scene = Scene::new(api);
    let mut shop = scene.shop(&PodSpec::new("shop"), &[8080]);
    for to in [shop.v4(8080), shop.v6(8080)] {
        for netns in [scene.world.cluster().outside(), scene.node.netns()] {
            let seen = scene.connect_from(netns, &mut shop, to);
            assert_eq!(seen.at[1], Detect, "{to}");
            assert_eq!((seen.accepted.from, seen.accepted.local), (seen.client, to));
        }
    }
}
