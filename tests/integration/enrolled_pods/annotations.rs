//! Every annotation, at every level: the nearest one that is there holds, alone.

use std::net::SocketAddr;

use sluice_tests::kube::{Api, Layout, PodSpec};
use sluice_tests::server::{Server, behaviour};
use sluice_tests::suite::Group;
use sluice_tests::{tests, wait};

use super::ApiServer;
use super::scene::{
    At, Detect, Direct, INJECT, OPAQUE, Opaque, SKIP_INBOUND, SKIP_OUTBOUND, SKIP_PORTS, SKIP_SUBNETS, Scene,
    Shop, exchange,
};

on_both!(
    a_pod_annotated_with_skip_outbound_ports_is_left_alone_there,
    a_namespace_enrols_its_pods_and_a_pod_has_the_last_word,
    skip_outbound_ports_are_those_of_the_nearest_level,
    skip_inbound_ports_are_those_of_the_nearest_level,
    skip_ports_are_those_of_the_nearest_level_in_both_directions,
    opaque_ports_are_those_of_the_nearest_level,
    skip_subnets_are_those_of_the_nearest_level_in_both_directions,
    skip_ports_are_added_to_the_lists_of_one_direction,
    lists_have_ranges_names_and_spaces,
);

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

/// Two pods, of which the annotations of the second, those of its namespace and the node's settings are
/// looked at: at each step connections to (and, for what goes out, from) three ports show which are special.
struct Levels {
    scene: Scene,
    client: Shop,
    subject: Shop,
    annotation: &'static str,
    /// What becomes of a connection to the subject's port, and from it to the client's, where the port is in
    /// the list that holds, and where it is not.
    inwards: Option<[[At; 2]; 2]>,
    outwards: Option<[[At; 2]; 2]>,
}

const PORTS: [u16; 3] = [7001, 7002, 7003];

impl Levels {
    fn new(api: &Api, annotation: &'static str, of_node: &str) -> Self {
        let scene = Scene::with(api, Layout::usual(), of_node, "");
        // Nothing of the namespace or the node is about the client, which is not enrolled.
        let client = Shop::of(scene.run(&PodSpec::new("client").annotation(INJECT, "disabled")), &PORTS);
        let subject = Shop::of(scene.enrolled("subject"), &PORTS);
        Self { scene, client, subject, annotation, inwards: None, outwards: None }
    }

    fn inwards(self, listed: [At; 2], others: [At; 2]) -> Self {
        Self { inwards: Some([listed, others]), ..self }
    }

    fn outwards(self, listed: [At; 2], others: [At; 2]) -> Self {
        Self { outwards: Some([listed, others]), ..self }
    }

    /// Waits until these ports are special, and sees that the others are not.
    fn expect(&mut self, listed: &[u16]) {
        let Self { scene, client, subject, inwards, outwards, .. } = self;
        for port in PORTS {
            let at = |of: &[[At; 2]; 2]| of[usize::from(!listed.contains(&port))];
            if let Some(inwards) = inwards {
                let to = subject.v4(port);
                scene.expect(&client.pod, subject, to, at(inwards));
            }
            if let Some(outwards) = outwards {
                let to = client.v6(port);
                scene.expect(&subject.pod, client, to, at(outwards));
            }
        }
    }

    fn of_pod(&self, value: Option<&str>) {
        self.scene.world.annotate("pods", "subject", self.annotation, value);
    }

    fn of_namespace(&self, value: Option<&str>) {
        self.scene.world.annotate_namespace(self.annotation, value);
    }

    /// The node's list is 7001.
    fn hold(mut self) {
        self.expect(&[7001]);
        self.of_namespace(Some("7002"));
        self.expect(&[7002]);
        self.of_pod(Some("7003"));
        self.expect(&[7003]);
        self.of_pod(Some(""));
        self.expect(&[]);
        self.of_pod(None);
        self.expect(&[7002]);
        self.of_namespace(Some(""));
        self.expect(&[]);
        self.of_namespace(None);
        self.expect(&[7001]);
    }
}

fn skip_outbound_ports_are_those_of_the_nearest_level(api: &Api) {
    let levels = Levels::new(api, SKIP_OUTBOUND, "skip-outbound-ports = \"7001\"");
    let both = [Direct, Detect];
    levels.outwards([Direct, Direct], [Detect, Direct]).inwards(both, both).hold();
}

fn skip_inbound_ports_are_those_of_the_nearest_level(api: &Api) {
    let levels = Levels::new(api, SKIP_INBOUND, "skip-inbound-ports = \"7001\"");
    let both = [Detect, Direct];
    levels.inwards([Direct, Direct], [Direct, Detect]).outwards(both, both).hold();
}

fn skip_ports_are_those_of_the_nearest_level_in_both_directions(api: &Api) {
    // The node's settings have no list for both directions.
    let of_node = "skip-inbound-ports = \"7001\"\nskip-outbound-ports = \"7001\"";
    let levels = Levels::new(api, SKIP_PORTS, of_node);
    levels.inwards([Direct, Direct], [Direct, Detect]).outwards([Direct, Direct], [Detect, Direct]).hold();
}

fn opaque_ports_are_those_of_the_nearest_level(api: &Api) {
    let levels = Levels::new(api, OPAQUE, "opaque-ports = \"7001\"");
    levels.inwards([Direct, Opaque], [Direct, Detect]).hold();
}

fn skip_subnets_are_those_of_the_nearest_level_in_both_directions(api: &Api) {
    const V4: [&str; 2] = ["198.51.100.0/24", "10.244.0.0/16"];
    const V6: [&str; 2] = ["2001:db8:51::/48", "fd00:10:244::/48"];
    let of_node = format!("skip-subnets = \"{}\"", V4.join(", "));
    let scene = Scene::with(api, Layout::usual(), &of_node, "");
    let mut client = Shop::of(scene.run(&PodSpec::new("client").annotation(INJECT, "disabled")), &[7001]);
    let mut subject = Shop::of(scene.enrolled("subject"), &[7001]);
    let mut expect = |is_v4_skipped: bool, is_v6_skipped: bool| {
        for is_v4 in [true, false] {
            let is_skipped = if is_v4 { is_v4_skipped } else { is_v6_skipped };
            let at = if is_skipped { Direct } else { Detect };
            let to = if is_v4 { subject.v4(7001) } else { subject.v6(7001) };
            scene.expect(&client.pod, &mut subject, to, [Direct, at]);
            let to = if is_v4 { client.v4(7001) } else { client.v6(7001) };
            scene.expect(&subject.pod, &mut client, to, [at, Direct]);
        }
    };
    let of_pod = |value: Option<&str>| scene.world.annotate("pods", "subject", SKIP_SUBNETS, value);
    expect(true, false);
    scene.world.annotate_namespace(SKIP_SUBNETS, Some(&V6.join(",")));
    expect(false, true);
    of_pod(Some(&[V4, V6].concat().join(" , ")));
    expect(true, true);
    of_pod(Some(""));
    expect(false, false);
    of_pod(None);
    expect(false, true);
    scene.world.annotate_namespace(SKIP_SUBNETS, None);
    expect(true, false);
}

fn skip_ports_are_added_to_the_lists_of_one_direction(api: &Api) {
    let mut levels = Levels::new(api, SKIP_PORTS, "skip-inbound-ports = \"7003\"")
        .inwards([Direct, Direct], [Direct, Detect]);
    levels.scene.world.annotate("pods", "subject", SKIP_INBOUND, Some("7002"));
    levels.expect(&[7002]);
    levels.of_pod(Some("7001"));
    levels.expect(&[7001, 7002]);
    // Of one level's lists; a farther level's are replaced.
    levels.scene.world.annotate_namespace(SKIP_INBOUND, Some("7003"));
    levels.scene.world.annotate("pods", "subject", SKIP_INBOUND, None);
    levels.expect(&[7001]);
    levels.of_pod(None);
    levels.expect(&[7003]);
}

fn lists_have_ranges_names_and_spaces(api: &Api) {
    let scene = Scene::new(api);
    let spec = PodSpec::new("shop").port("mysql", 7003).port("http", 8080);
    let spec = spec.annotation(OPAQUE, " 7000-7001 , mysql").annotation(SKIP_INBOUND, "http, 9000 - 9001");
    let ports = [7000, 7001, 7002, 7003, 8080, 9000, 9001, 9002];
    let mut shop = scene.shop(&spec, &ports);
    let client = scene.run(&PodSpec::new("client"));
    for port in ports {
        let at = match port {
            7000 | 7001 | 7003 => Opaque,
            8080 | 9000 | 9001 => Direct,
            _ => Detect,
        };
        let to = shop.v6(port);
        scene.expect(&client, &mut shop, to, [Direct, at]);
    }
}
