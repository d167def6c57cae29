//! Which pods are enrolled, and for how long.

use std::net::SocketAddr;

use sluice_tests::kube::{Api, Layout, PodSpec};
use sluice_tests::suite::Group;
use sluice_tests::{tests, wait};

use super::ApiServer;
use super::scene::{Detect, INJECT, Scene, Shop, exchange};

on_both!(
    an_annotated_pod_is_enrolled_and_another_is_not,
    every_layout_s_pods_are_found,
    all_pods_are_enrolled_where_the_agent_is_told_so_but_those_that_are_disabled,
    a_pod_on_the_host_s_network_is_left_alone,
    a_pod_that_has_finished_is_left_alone,
    what_runs_before_the_pod_has_an_address_is_proxied_too,
    a_static_pod_is_enrolled,
    a_pod_that_is_removed_is_forgotten,
    a_pod_of_the_same_name_is_enrolled_in_its_stead,
    a_pod_with_a_new_sandbox_is_enrolled_again,
    a_pod_that_is_announced_before_it_is_there_is_enrolled_when_it_comes,
    while_the_agent_is_away_pods_go_direct_and_then_they_are_proxied_again,
);

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

fn all_pods_are_enrolled_where_the_agent_is_told_so_but_those_that_are_disabled(api: &Api) {
    let scene = Scene::with(api, Layout::usual(), "", "enrol = \"all\"");
    let out = scene.run(&PodSpec::new("out").annotation(INJECT, "disabled"));
    let pod = scene.run(&PodSpec::new("shop"));
    scene.expect_proxied(&pod);
    assert!(!scene.is_proxied(&out));
    // A namespace may disable its pods as well; one that says `enabled` itself stays.
    let own = scene.enrolled("own");
    scene.world.annotate_namespace(INJECT, Some("disabled"));
    scene.expect_direct(&pod);
    assert!(scene.is_proxied(&own));
}

fn a_pod_on_the_host_s_network_is_left_alone(api: &Api) {
    let scene = Scene::new(api);
    let pod = scene.run(&PodSpec::new("host").host_network().annotation(INJECT, "enabled"));
    // What came after it is there.
    let _other = scene.enrolled("other");
    assert!(!scene.is_enrolled(&scene.world.workload(&pod)), "{}", scene.status());
    wait::eventually("the metric to say so", || {
        let of = |state| scene.metric("sluice_pods", &[("state", state)]);
        ((of("left alone"), of("enrolled"), of("waiting")) == (1.0, 1.0, 0.0)).then_some(())
    });
}

fn a_pod_that_has_finished_is_left_alone(api: &Api) {
    let scene = Scene::new(api);
    let mut pod = scene.enrolled("job");
    let name = scene.world.workload(&pod);
    pod.stop_containers();
    scene.world.tell_status(&scene.node, &pod);
    wait::eventually("the pod to be forgotten", || (!scene.is_enrolled(&name)).then_some(()));
    wait::eventually("the metric to say so", || {
        (scene.metric("sluice_pods", &[("state", "left alone")]) > 0.0).then_some(())
    });
}

fn what_runs_before_the_pod_has_an_address_is_proxied_too(api: &Api) {
    let scene = Scene::new(api);
    let spec = PodSpec::new("early").annotation(INJECT, "enabled");
    let made = scene.world.announce(&scene.node, &spec);
    // The kubelet has said nothing of it yet, as while its init containers run.
    let pod = scene.node.pod_with_uid(&spec, made["metadata"]["uid"].as_str().expect("a UID"));
    scene.expect_proxied(&pod);
}

fn a_pod_of_the_same_name_is_enrolled_in_its_stead(api: &Api) {
    let scene = Scene::new(api);
    let client = scene.enrolled("client");
    let uids = ["first", "second", "third"].map(|_| {
        let mut shop = scene.shop(&PodSpec::new("web-0"), &[8080]);
        let to = shop.v4(8080);
        scene.expect(&client, &mut shop, to, [Detect, Detect]);
        let Shop { app, pod } = shop;
        let uid = pod.uid().to_owned();
        drop(app);
        scene.world.remove(pod);
        uid
    });
    assert!(uids[0] != uids[1] && uids[1] != uids[2], "{uids:?}");
    wait::eventually("the pod to be forgotten", || {
        (!scene.is_enrolled(&format!("{}/web-0", scene.world.namespace()))).then_some(())
    });
}

fn while_the_agent_is_away_pods_go_direct_and_then_they_are_proxied_again(api: &Api) {
    let mut scene = Scene::new(api);
    let client = scene.enrolled("client");
    let mut shop = scene.shop(&PodSpec::new("shop"), &[8080]);
    let to = shop.v6(8080);
    scene.expect(&client, &mut shop, to, [Detect, Detect]);
    scene.agent.kill();
    for _ in 0..3 {
        let local = exchange(&client, to);
        let accepted = shop.accepted();
        assert_eq!((accepted.from, accepted.kernel), (local, local), "it is the client's own");
    }
    // Pods that come meanwhile are found as well.
    let late = scene.run(&PodSpec::new("late").annotation(INJECT, "enabled"));
    scene.agent.start();
    scene.expect(&client, &mut shop, to, [Detect, Detect]);
    scene.expect_proxied(&late);
    let outside = SocketAddr::new(scene.world.cluster().outside_v4().into(), scene.server.port());
    let local = exchange(&late, outside);
    assert!(local.ip().is_loopback(), "{local}");
}
