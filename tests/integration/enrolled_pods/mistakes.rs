//! A value that cannot be used changes nothing, and is told of in every place where one would look.

use std::net::SocketAddr;

use sluice_tests::kube::{Api, PodSpec, ServiceSpec};
use sluice_tests::suite::Group;
use sluice_tests::{tests, wait};

use super::ApiServer;
use super::scene::{Detect, Direct, INJECT, OPAQUE, Opaque, SKIP_INBOUND, SKIP_SUBNETS, Scene, Shop};

on_both!(
    a_bad_value_on_a_pod_leaves_the_last_good_one_until_it_is_mended,
    a_bad_value_on_a_service_leaves_the_last_good_one_until_it_is_mended,
    a_bad_value_on_a_namespace_leaves_the_last_good_one_until_it_is_mended,
    a_value_that_was_never_good_is_as_if_it_were_not_there,
);

/// Waits until there is an Event on an object, that names the annotation.
fn expect_event(scene: &Scene, kind: &str, name: &str, annotation: &str) {
    let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", scene.world.namespace());
    wait::eventually("an Event", || {
        let list = scene.world.api().get(&path);
        let events = list["items"].as_array().expect("a list").clone();
        events.into_iter().find(|event| {
            let regarding = &event["regarding"];
            let about = regarding["kind"] == kind && regarding["name"] == name;
            let note = event["note"].as_str().unwrap_or_default();
            about
                && event["type"] == "Warning"
                && event["reason"] == "InvalidAnnotation"
                && note.contains(annotation)
        })
    });
}

/// Waits until the agent tells of a mistake where one looks for it, and counts it.
fn expect_told(scene: &Scene, object: &str, annotation: &str) {
    let line = format!("{object}: {annotation}: ");
    wait::eventually("the agent to tell of the mistake", || {
        let told = scene.agent.answer(&["status", "--pods"]);
        let is_counted = scene.metric("sluice_annotation_problems", &[]) > 0.0;
        (told.lines().any(|told| told.starts_with(&line)) && is_counted).then_some(())
    });
}

/// Waits until there is no mistake in the test's own namespace; an API server may have those of other tests.
fn expect_mended(scene: &Scene) {
    wait::eventually("no mistake to be told of", || {
        let told = scene.agent.answer(&["status", "--pods"]);
        let is_own = |line: &&str| {
            line.contains(&format!("{}: config.", scene.world.namespace()))
                || line.contains(&format!(" {}/", scene.world.namespace())) && line.contains(": ")
        };
        let after = told.split_once("CANNOT BE USED").map_or("", |(_, after)| after);
        (!after.lines().any(|line| is_own(&line))).then_some(())
    });
}

fn a_bad_value_on_a_pod_leaves_the_last_good_one_until_it_is_mended(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.run(&PodSpec::new("client"));
    let spec = PodSpec::new("shop").annotation(SKIP_INBOUND, "8080").annotation(SKIP_SUBNETS, "");
    let mut shop = scene.shop(&spec, &[8080, 9090]);
    let [to, other] = [shop.v4(8080), shop.v4(9090)];
    scene.expect(&client, &mut shop, other, [Direct, Detect]);
    for (annotation, bad) in [
        (SKIP_INBOUND, "9090,808o"),
        (SKIP_INBOUND, "9090,nobody-s"),
        (SKIP_INBOUND, "70000"),
        (SKIP_SUBNETS, "10.244.0.0/33"),
        (OPAQUE, "9090-8080"),
        (INJECT, "no"),
    ] {
        scene.world.annotate("pods", "shop", annotation, Some(bad));
        expect_told(&scene, &format!("Pod {}/shop", scene.world.namespace()), annotation);
        expect_event(&scene, "Pod", "shop", annotation);
        assert_eq!(scene.connect(&client, &mut shop, to).at, [Direct, Direct], "{annotation}: {bad}");
        assert_eq!(scene.connect(&client, &mut shop, other).at, [Direct, Detect], "{annotation}: {bad}");
        let good = match annotation {
            SKIP_INBOUND => Some("8080"),
            SKIP_SUBNETS => Some(""),
            INJECT => Some("enabled"),
            _ => None,
        };
        scene.world.annotate("pods", "shop", annotation, good);
        expect_mended(&scene);
    }
    scene.world.annotate("pods", "shop", SKIP_INBOUND, Some("9090,808o"));
    expect_told(&scene, &format!("Pod {}/shop", scene.world.namespace()), SKIP_INBOUND);
    scene.world.annotate("pods", "shop", SKIP_INBOUND, Some("9090"));
    scene.expect(&client, &mut shop, other, [Direct, Direct]);
    scene.expect(&client, &mut shop, to, [Direct, Detect]);
    expect_mended(&scene);
}

fn a_bad_value_on_a_service_leaves_the_last_good_one_until_it_is_mended(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.enrolled("client");
    let mut shop = Shop::of(scene.run(&PodSpec::new("db")), &[3000, 3001]);
    let service = ServiceSpec::new("db").annotation(OPAQUE, "80").port(80, 3000).port(81, 3001);
    let service = scene.world.service(&service, &[&scene.node], &[&shop.pod]);
    let [one, other] = [80, 81].map(|port| SocketAddr::new(service.v4(), port));
    scene.expect(&client, &mut shop, one, [Opaque, Direct]);
    scene.world.annotate("services", "db", OPAQUE, Some("81,mysqll"));
    expect_told(&scene, &format!("Service {}/db", scene.world.namespace()), OPAQUE);
    expect_event(&scene, "Service", "db", OPAQUE);
    assert_eq!(scene.connect(&client, &mut shop, one).at, [Opaque, Direct]);
    assert_eq!(scene.connect(&client, &mut shop, other).at, [Detect, Direct]);
    scene.world.annotate("services", "db", OPAQUE, Some("p81"));
    scene.expect(&client, &mut shop, other, [Opaque, Direct]);
    scene.expect(&client, &mut shop, one, [Detect, Direct]);
    expect_mended(&scene);
}

fn a_bad_value_on_a_namespace_leaves_the_last_good_one_until_it_is_mended(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.run(&PodSpec::new("client").annotation(INJECT, "disabled"));
    scene.world.annotate_namespace(SKIP_INBOUND, Some("8080"));
    let mut shop = scene.shop(&PodSpec::new("shop"), &[8080, 9090]);
    let [to, other] = [shop.v6(8080), shop.v6(9090)];
    scene.expect(&client, &mut shop, to, [Direct, Direct]);
    scene.expect(&client, &mut shop, other, [Direct, Detect]);
    scene.world.annotate_namespace(SKIP_INBOUND, Some("9090;8080"));
    expect_told(&scene, &format!("Namespace {}", scene.world.namespace()), SKIP_INBOUND);
    expect_event(&scene, "Namespace", scene.world.namespace(), SKIP_INBOUND);
    assert_eq!(scene.connect(&client, &mut shop, to).at, [Direct, Direct]);
    assert_eq!(scene.connect(&client, &mut shop, other).at, [Direct, Detect]);
    scene.world.annotate_namespace(SKIP_INBOUND, Some("9090"));
    scene.expect(&client, &mut shop, other, [Direct, Direct]);
    scene.expect(&client, &mut shop, to, [Direct, Detect]);
    expect_mended(&scene);
}

fn a_value_that_was_never_good_is_as_if_it_were_not_there(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.run(&PodSpec::new("client").annotation(INJECT, "disabled"));
    scene.world.annotate_namespace(SKIP_INBOUND, Some("8080"));
    let mut shop = scene.shop(&PodSpec::new("shop").annotation(SKIP_INBOUND, "all"), &[8080]);
    let to = shop.v4(8080);
    // The namespace's list holds, as without the annotation; it is not as if the pod's were empty.
    scene.expect(&client, &mut shop, to, [Direct, Direct]);
    expect_told(&scene, &format!("Pod {}/shop", scene.world.namespace()), SKIP_INBOUND);
    expect_event(&scene, "Pod", "shop", SKIP_INBOUND);
    // A mistake goes with its object.
    let Shop { app, pod } = shop;
    drop(app);
    scene.world.remove(pod);
    expect_mended(&scene);
}
