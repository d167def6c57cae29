//! The examples that users know, as they are written there.

use std::net::SocketAddr;

use sluice_tests::kube::{Api, PodSpec, ServiceSpec};
use sluice_tests::suite::Group;
use sluice_tests::tests;

use super::ApiServer;
use super::scene::{Detect, Direct, OPAQUE, Opaque, SKIP_PORTS, Scene, Shop};
use crate::inbound::told;

on_both!(
    port_8080_is_skipped_both_ways_and_9090_is_meshed,
    the_metrics_port_is_scraped_directly_and_requests_to_8080_are_counted,
    mysql_on_4406_is_opaque_by_its_service_though_its_pods_are_not_meshed,
    mysql_on_4406_is_opaque_by_its_pod,
    a_server_that_speaks_first_is_heard_at_once,
    ports_that_are_known_to_be_opaque_are,
);

/// How a client listens to a server that speaks first.
const LISTEN: &[&str] = &["recv-line", "text=QUIT\\r\\n", "fin", "recv-eof"];

fn port_8080_is_skipped_both_ways_and_9090_is_meshed(api: &Api) {
    let scene = Scene::new(api);
    let mut app = scene.shop(&PodSpec::new("my-app").annotation(SKIP_PORTS, "8080"), &[8080, 9090]);
    let mut other = scene.shop(&PodSpec::new("other"), &[8080, 9090]);
    let (to_app, to_other) = (app.v4(9090), other.v4(9090));
    scene.expect(&other.pod, &mut app, to_app, [Detect, Detect]);
    scene.expect(&app.pod, &mut other, to_other, [Detect, Detect]);
    for (port, own) in [(8080, Direct), (9090, Detect)] {
        for to in [app.v4(port), app.v6(port)] {
            let seen = scene.connect(&other.pod, &mut app, to);
            assert_eq!(seen.at, [Detect, own], "to {to}, which comes in");
        }
        for to in [other.v4(port), other.v6(port)] {
            let seen = scene.connect(&app.pod, &mut other, to);
            assert_eq!(seen.at, [own, Detect], "to {to}, which goes out");
        }
    }
}

fn the_metrics_port_is_scraped_directly_and_requests_to_8080_are_counted(api: &Api) {
    let scene = Scene::new(api);
    let mut app = scene.shop(&PodSpec::new("my-metrics-app").annotation(SKIP_PORTS, "9090"), &[]);
    app.open(8080, "http");
    app.open(9090, "http");
    // The scraper is not enrolled.
    let scraper = scene.run(&PodSpec::new("prometheus"));
    let get = ["text=GET /metrics HTTP/1.1\\r\\nHost: my-app\\r\\n\\r\\n", "recv=43", "fin", "recv-eof"];
    for (port, at) in [(8080, Detect), (9090, Direct), (8080, Detect)] {
        let to = app.v4(port);
        let seen = scene.connect_doing(&scraper, &mut app, to, &get);
        assert_eq!(seen.at, [Direct, at], "{port}");
    }
    let requests = scene.metric("request_total", &[("direction", "inbound"), ("authority", "my-app")]);
    assert!((requests - 2.0).abs() < f64::EPSILON, "{requests}");
}

fn mysql_on_4406_is_opaque_by_its_service_though_its_pods_are_not_meshed(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.enrolled("client");
    let mut mysql = Shop::of(scene.run(&PodSpec::new("mysql").port("mysql", 4406)), &[4406]);
    let service = ServiceSpec::new("mysql").annotation(OPAQUE, "4406").port(4406, 4406);
    let service = scene.world.service(&service, &[&scene.node], &[&mysql.pod]);
    for ip in [service.v4(), service.v6()] {
        scene.expect(&client, &mut mysql, SocketAddr::new(ip, 4406), [Opaque, Direct]);
    }
    // Also where its pods are called by their own addresses.
    for to in [mysql.v4(4406), mysql.v6(4406)] {
        scene.expect(&client, &mut mysql, to, [Opaque, Direct]);
    }
    scene.world.annotate("services", "mysql", OPAQUE, None);
    scene.expect(&client, &mut mysql, SocketAddr::new(service.v4(), 4406), [Detect, Direct]);
}

fn mysql_on_4406_is_opaque_by_its_pod(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.enrolled("client");
    let bystander = scene.run(&PodSpec::new("bystander"));
    let mut mysql = scene.shop(&PodSpec::new("mysql").annotation(OPAQUE, "4406"), &[4406, 8080]);
    for to in [mysql.v4(4406), mysql.v6(4406)] {
        scene.expect(&client, &mut mysql, to, [Opaque, Opaque]);
        let seen = scene.connect(&bystander, &mut mysql, to);
        assert_eq!(seen.at, [Direct, Opaque], "{to}");
    }
    let to = mysql.v4(8080);
    assert_eq!(scene.connect(&client, &mut mysql, to).at, [Detect, Detect], "another port");
}

fn a_server_that_speaks_first_is_heard_at_once(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.enrolled("client");
    let mut mysql = scene.shop(&PodSpec::new("mysql").annotation(OPAQUE, "4406"), &[]);
    mysql.open(4406, "banner");
    mysql.open(4407, "banner");
    let to = mysql.v4(4406);
    // Once the pod's annotation is known at its address, too.
    sluice_tests::wait::eventually("it to be opaque", || {
        (scene.connect_doing(&client, &mut mysql, to, LISTEN).at == [Opaque, Opaque]).then_some(())
    });
    for (port, at) in [(4406, Opaque), (4407, Detect)] {
        for to in [mysql.v4(port), mysql.v6(port)] {
            // Nothing is sent before the banner is there.
            let seen = scene.connect_doing(&client, &mut mysql, to, LISTEN);
            assert_eq!(seen.at, [at, at], "{to}");
            assert_eq!(told(&seen.said, "line"), "220 here");
            let took: u64 = told(&seen.said, "took").parse().expect("milliseconds");
            assert!(took < 1000, "{to}: {took} ms");
        }
    }
}

fn ports_that_are_known_to_be_opaque_are(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.enrolled("client");
    let ports = [25, 443, 587, 3306, 5432, 11211];
    let mut shop = scene.shop(&PodSpec::new("shop"), &ports);
    for port in ports {
        let to = shop.v6(port);
        scene.expect(&client, &mut shop, to, [Opaque, Opaque]);
    }
}
