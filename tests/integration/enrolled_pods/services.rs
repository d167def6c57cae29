//! Opaque ports of Services, at their addresses and at their pods.

use std::net::SocketAddr;

use sluice_tests::kube::{Api, PodSpec, ServiceSpec};
use sluice_tests::server::behaviour;
use sluice_tests::suite::Group;
use sluice_tests::{http::Samples, tests, wait};

use super::ApiServer;
use super::scene::{Detect, OPAQUE, Opaque, Scene, exchange};

on_both!(
    a_service_s_opaque_port_is_not_inspected_at_its_cluster_ip,
    a_service_s_opaque_port_is_opaque_at_the_target_port_of_its_pods,
    a_service_s_opaque_ports_may_be_named_or_in_ranges,
    app_protocol_may_say_opaque,
    a_pod_s_own_list_is_the_last_word_at_the_pod,
    a_namespace_s_opaque_ports_hold_for_its_services,
);

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

fn a_service_s_opaque_port_is_opaque_at_the_target_port_of_its_pods(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.enrolled("client");
    // By name, and by another number.
    let mut shop = scene.shop(&PodSpec::new("db").port("mysql", 3000), &[3000, 3001, 4406, 4407]);
    let service = ServiceSpec::new("db").annotation(OPAQUE, "4406,4407").port_to_name(4406, "mysql");
    let service = scene.world.service(&service.port(4407, 3001), &[&scene.node], &[&shop.pod]);
    for ip in [service.v4(), service.v6()] {
        for port in [4406, 4407] {
            scene.expect(&client, &mut shop, SocketAddr::new(ip, port), [Opaque, Opaque]);
        }
    }
    for to in [shop.v4(3000), shop.v6(3001)] {
        scene.expect(&client, &mut shop, to, [Opaque, Opaque]);
    }
    // The Service's number is not the pod's.
    for to in [shop.v4(4406), shop.v6(4407)] {
        assert_eq!(scene.connect(&client, &mut shop, to).at, [Detect, Detect], "{to}");
    }
    scene.world.annotate("services", "db", OPAQUE, Some("4407"));
    scene.expect(&client, &mut shop, SocketAddr::new(service.v4(), 4406), [Detect, Detect]);
    scene.expect(&client, &mut shop, SocketAddr::new(service.v4(), 4407), [Opaque, Opaque]);
}

fn a_service_s_opaque_ports_may_be_named_or_in_ranges(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.enrolled("client");
    let mut shop = scene.shop(&PodSpec::new("db"), &[3000, 3001, 3002]);
    // The harness names a port after its number.
    let service = ServiceSpec::new("db").annotation(OPAQUE, " p80 , 90 - 100");
    let service = service.port(80, 3000).port(95, 3001).port(101, 3002);
    let service = scene.world.service(&service, &[&scene.node], &[&shop.pod]);
    for (port, at) in [(80, Opaque), (95, Opaque), (101, Detect)] {
        scene.expect(&client, &mut shop, SocketAddr::new(service.v6(), port), [at, at]);
    }
}

fn app_protocol_may_say_opaque(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.enrolled("client");
    let mut shop = scene.shop(&PodSpec::new("db"), &[3000, 3001]);
    let service = ServiceSpec::new("db").port(80, 3000).app_protocol("linkerd.io/opaque");
    let service = service.port(81, 3001).app_protocol("http");
    let service = scene.world.service(&service, &[&scene.node], &[&shop.pod]);
    for (port, at) in [(80, Opaque), (81, Detect)] {
        scene.expect(&client, &mut shop, SocketAddr::new(service.v4(), port), [at, at]);
    }
}

fn a_pod_s_own_list_is_the_last_word_at_the_pod(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.enrolled("client");
    let mut shop = scene.shop(&PodSpec::new("db").annotation(OPAQUE, "3001"), &[3000, 3001]);
    let service = ServiceSpec::new("db").annotation(OPAQUE, "80").port(80, 3000).port(81, 3001);
    let service = scene.world.service(&service, &[&scene.node], &[&shop.pod]);
    // At the Service's address the Service's list holds, at the pod the pod's.
    for (port, target, at) in [(80, 3000, [Opaque, Detect]), (81, 3001, [Detect, Opaque])] {
        scene.expect(&client, &mut shop, SocketAddr::new(service.v4(), port), at);
        let to = shop.v4(target);
        scene.expect(&client, &mut shop, to, [at[1], at[1]]);
    }
}

fn a_namespace_s_opaque_ports_hold_for_its_services(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.enrolled("client");
    let mut shop = scene.shop(&PodSpec::new("db"), &[3000]);
    let service = ServiceSpec::new("db").port(80, 3000);
    let service = scene.world.service(&service, &[&scene.node], &[&shop.pod]);
    let to = SocketAddr::new(service.v4(), 80);
    scene.expect(&client, &mut shop, to, [Detect, Detect]);
    scene.world.annotate_namespace(OPAQUE, Some("80"));
    scene.expect(&client, &mut shop, to, [Opaque, Opaque]);
    scene.world.annotate("services", "db", OPAQUE, Some(""));
    scene.expect(&client, &mut shop, to, [Detect, Detect]);
}
