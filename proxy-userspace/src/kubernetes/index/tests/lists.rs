//! Which pods are enrolled, and whose lists hold for them.

use super::*;
use crate::policy::BypassMode;

const ENABLED: (&str, &str) = (INJECT, "enabled");

#[test]
fn a_pod_is_enrolled_where_it_or_its_namespace_asks_for_it() {
    use EnrolMode::{All, Annotated};
    use LeftAlone::{Disabled, NotAnnotated};
    for (of_pod, of_namespace, mode, expected) in [
        (None, None, Annotated, Some(NotAnnotated)),
        (Some("enabled"), None, Annotated, None),
        (None, Some("enabled"), Annotated, None),
        (Some("disabled"), Some("enabled"), Annotated, Some(Disabled)),
        (Some("enabled"), Some("disabled"), Annotated, None),
        (None, Some("disabled"), Annotated, Some(Disabled)),
        (None, None, All, None),
        (Some("disabled"), None, All, Some(Disabled)),
        (None, Some("disabled"), All, Some(Disabled)),
        (Some("enabled"), Some("disabled"), All, None),
    ] {
        let mut index = Index::new(NODE, NodeDefaults::default(), mode);
        let written =
            |value: Option<&'static str>| value.map(|value| (INJECT, value)).into_iter().collect::<Vec<_>>();
        index.tell(pod("web", "10.0.0.1", &written(of_pod)));
        index.tell(namespace("shop", &written(of_namespace)));
        assert_eq!(index.left_alone("web"), expected, "{of_pod:?} {of_namespace:?} {mode}");
    }
}

#[test]
fn pods_that_cannot_be_enrolled_are_left_alone_with_a_reason() {
    let mut index = index();
    let annotated = |name: &str| pod(name, "10.0.0.1", &[ENABLED]);
    index.tell(Pod { is_host_network: true, ..annotated("host") });
    index.tell(Pod { is_finished: true, ..annotated("job") });
    index.tell(Pod { node: "node-2".into(), ..annotated("elsewhere") });
    index.tell(Pod { node: "".into(), ..annotated("pending") });
    index.tell(Pod { is_host_network: true, ..pod("agent", "10.0.0.1", &[]) });
    assert_eq!(index.left_alone("host"), Some(LeftAlone::HostNetwork));
    assert_eq!(index.left_alone("job"), Some(LeftAlone::Finished));
    assert_eq!(index.left_alone("elsewhere"), Some(LeftAlone::OtherNode));
    assert_eq!(index.left_alone("pending"), Some(LeftAlone::OtherNode));
    assert_eq!(index.left_alone("agent"), Some(LeftAlone::NotAnnotated));
    assert!(index.desired().pods.is_empty());
}

#[test]
fn a_pod_without_an_address_yet_is_enrolled_for_its_init_containers() {
    let mut index = index();
    index.tell(Pod { ips: Vec::new(), ..pod("web", "10.0.0.1", &[ENABLED]) });
    assert!(index.policy("web").ips.is_empty());
}

#[test]
fn a_job_that_ends_is_no_longer_enrolled() {
    let mut index = index();
    index.tell(pod("job", "10.0.0.1", &[ENABLED, (OPAQUE, "1000")]));
    assert_eq!(index.destination("10.0.0.1").unwrap().split('/').next(), Some("1000"));
    index.tell(Pod { is_finished: true, ..pod("job", "10.0.0.1", &[ENABLED, (OPAQUE, "1000")]) });
    assert_eq!(index.left_alone("job"), Some(LeftAlone::Finished));
    assert_eq!(index.destination("10.0.0.1"), None);
}

#[test]
fn the_seeds_pod_skips_8080_in_both_directions_and_9090_is_meshed() {
    let mut index = index();
    index.tell(pod("my-app", "10.0.0.1", &[ENABLED, (SKIP, "8080")]));
    let policy = index.policy("my-app");
    assert_eq!(policy.skipped(), ["8080", "8080"]);
    for direction in Direction::ALL {
        assert_eq!(policy.table.rule(direction, 9090).decision(), Decision::Detect);
    }
}

#[test]
fn the_seeds_pod_skips_its_metrics_port_and_8080_is_meshed() {
    let mut index = index();
    index.tell(pod("my-metrics-app", "10.0.0.1", &[ENABLED, (SKIP, "9090")]));
    let policy = index.policy("my-metrics-app");
    assert_eq!(policy.table.rule(Direction::Inbound, 9090).decision(), Decision::Skip);
    assert_eq!(policy.table.rule(Direction::Inbound, 8080).decision(), Decision::Detect);
    index.tell(pod("my-metrics-app", "10.0.0.1", &[ENABLED, (SKIP, "metrics")]));
    assert_eq!(index.policy("my-metrics-app").skipped(), ["9090", "9090"]);
}

/// A list of the pod, of its namespace and of the node; who says what holds; the ports.
type Precedence = (Option<&'static str>, Option<&'static str>, bool, Level, &'static str);

/// Where a list may be written, the same for each.
const PRECEDENCE: [Precedence; 8] = [
    (None, None, true, Level::Node, "1000"),
    (None, Some("2000"), true, Level::Namespace, "2000"),
    (Some("3000"), Some("2000"), true, Level::Pod, "3000"),
    (Some("3000"), None, false, Level::Pod, "3000"),
    (Some(""), Some("2000"), true, Level::Pod, ""),
    (Some("  "), None, true, Level::Pod, ""),
    (None, Some(""), true, Level::Namespace, ""),
    (None, Some("http,nobodys,4000 - 4002"), true, Level::Namespace, "4000-4002,8080"),
];

/// An index with one pod, and a list at the levels.
fn told(annotation: &str, (of_pod, of_namespace, of_node, ..): Precedence) -> Index {
    let defaults = match (of_node, annotation) {
        (false, _) => NodeDefaults::default(),
        (true, OPAQUE) => node_lists("1000", "", ""),
        (true, _) => node_lists("", "1000", "1000"),
    };
    let mut index = Index::new(NODE, defaults, EnrolMode::All);
    let written =
        |value: Option<&'static str>| value.map(|value| (annotation, value)).into_iter().collect::<Vec<_>>();
    index.tell(pod("web", "10.0.0.1", &written(of_pod)));
    index.tell(namespace("shop", &written(of_namespace)));
    index
}

#[test]
fn the_nearest_list_of_opaque_ports_replaces_the_others() {
    for case in PRECEDENCE {
        let index = told(OPAQUE, case);
        let policy = index.policy("web");
        assert_eq!((policy.sources.opaque, &*policy.opaque_inbound()), (case.3, case.4), "{case:?}");
        // Outbound the node's holds: a pod's list is of its own ports.
        let of_node = if case.2 { "1000" } else { "25,443,587,3306,4444,5432,6379,9300,11211" };
        assert_eq!(policy.ports(Direction::Outbound, Decision::Opaque), of_node, "{case:?}");
    }
}

#[test]
fn without_any_list_the_built_in_ports_are_opaque() {
    let mut index = index();
    index.tell(pod("web", "10.0.0.1", &[ENABLED]));
    let policy = index.policy("web");
    assert_eq!(policy.opaque_inbound(), "25,443,587,3306,4444,5432,6379,9300,11211");
    let Sources { opaque, skip_inbound, skip_outbound, skip_subnets } = policy.sources;
    assert_eq!([opaque, skip_inbound, skip_outbound, skip_subnets], [Level::BuiltIn; 4]);
    assert_eq!(policy.skipped(), ["", ""]);
    assert_eq!(index.destination("10.0.0.1"), None);
}

#[test]
fn the_nearest_list_of_skipped_ports_replaces_the_others_in_its_direction() {
    for case in PRECEDENCE {
        let of_node = if case.2 { "1000" } else { "" };
        let index = told(SKIP_IN, case);
        let policy = index.policy("web");
        assert_eq!(
            (policy.sources.skip_inbound, policy.skipped()),
            (case.3, [of_node, case.4].map(str::to_owned))
        );
        let index = told(SKIP_OUT, case);
        let policy = index.policy("web");
        assert_eq!(
            (policy.sources.skip_outbound, policy.skipped()),
            (case.3, [case.4, of_node].map(str::to_owned))
        );
        let index = told(SKIP, case);
        let policy = index.policy("web");
        assert_eq!(
            (policy.sources.skip_outbound, policy.skipped()),
            (case.3, [case.4, case.4].map(str::to_owned))
        );
    }
}

#[test]
fn the_nearest_list_of_subnets_replaces_the_others() {
    for (of_pod, of_namespace, level, expected) in [
        (None, None, Level::Node, "192.0.2.0/24"),
        (None, Some("10.0.0.0/8"), Level::Namespace, "10.0.0.0/8"),
        (Some("fd00::/8, 10.1.0.0/16"), Some("10.0.0.0/8"), Level::Pod, "10.1.0.0/16,fd00::/8"),
        (Some(""), Some("10.0.0.0/8"), Level::Pod, ""),
    ] {
        let mut index = Index::new(NODE, node_lists("", "", ""), EnrolMode::All);
        let written =
            |value: Option<&'static str>| value.map(|value| (SUBNETS, value)).into_iter().collect::<Vec<_>>();
        index.tell(pod("web", "10.0.0.1", &written(of_pod)));
        index.tell(namespace("shop", &written(of_namespace)));
        let policy = index.policy("web");
        assert_eq!((policy.sources.skip_subnets, &*policy.skip_subnets.to_string()), (level, expected));
    }
}

#[test]
fn the_nearest_word_on_the_same_node_bypass_counts() {
    const BYPASS: &str = "sluice/same-node-bypass";
    for (of_pod, of_namespace, expected) in [
        (None, None, None),
        (None, Some("enabled"), Some(BypassMode::Enabled)),
        (Some("forced"), Some("enabled"), Some(BypassMode::Forced)),
        (Some("disabled"), Some("enabled"), Some(BypassMode::Disabled)),
        // Which is told.
        (Some("yes"), Some("enabled"), Some(BypassMode::Enabled)),
    ] {
        let mut index = Index::new(NODE, NodeDefaults::default(), EnrolMode::All);
        let written =
            |value: Option<&'static str>| value.map(|value| (BYPASS, value)).into_iter().collect::<Vec<_>>();
        index.tell(pod("web", "10.0.0.1", &written(of_pod)));
        index.tell(namespace("shop", &written(of_namespace)));
        assert_eq!(index.policy("web").same_node_bypass, expected);
        let expected: &[&str] = match of_pod {
            Some("yes") => &["sluice/same-node-bypass: expected disabled, enabled or forced, got 'yes'"],
            _ => &[],
        };
        assert_eq!(index.wrong(), expected);
    }
}

#[test]
fn skip_ports_adds_to_the_lists_of_the_same_object_only() {
    let mut index = Index::new(NODE, node_lists("", "", ""), EnrolMode::All);
    index.tell(pod("web", "10.0.0.1", &[(SKIP, "8080"), (SKIP_IN, "9090")]));
    index.tell(namespace("shop", &[(SKIP, "1"), (SKIP_IN, "2"), (SKIP_OUT, "3")]));
    assert_eq!(index.policy("web").skipped(), ["8080", "8080,9090"]);
    // Without one of its own the namespace's counts, in both directions.
    index.tell(pod("web", "10.0.0.1", &[]));
    assert_eq!(index.policy("web").skipped(), ["1,3", "1-2"]);
    index.tell(pod("web", "10.0.0.1", &[(SKIP_OUT, "")]));
    assert_eq!(index.policy("web").skipped(), ["", "1-2"]);
}

#[test]
fn a_port_that_is_both_skipped_and_opaque_is_skipped() {
    let mut index = index();
    index.tell(pod("web", "10.0.0.1", &[ENABLED, (OPAQUE, "8080,9090"), (SKIP_IN, "8080")]));
    assert_eq!(index.policy("web").opaque_inbound(), "9090");
    assert_eq!(index.policy("web").skipped(), ["", "8080"]);
}

#[test]
fn a_name_means_every_port_that_has_it() {
    let mut index = index();
    let port_names = [("http", 8080), ("http", 8081)].into_iter().collect();
    index.tell(Pod { port_names, ..pod("web", "10.0.0.1", &[ENABLED, (SKIP_IN, "http")]) });
    assert_eq!(index.policy("web").skipped(), ["", "8080-8081"]);
}

#[test]
fn what_holds_is_what_was_told_last() {
    let mut index = Index::new(NODE, NodeDefaults::default(), EnrolMode::All);
    index.tell(pod("web", "10.0.0.1", &[(SKIP_IN, "1")]));
    index.tell(pod("web", "10.0.0.1", &[(SKIP_IN, "2")]));
    assert_eq!(index.policy("web").skipped(), ["", "2"]);
    index.tell(pod("web", "10.0.0.1", &[]));
    assert_eq!(index.policy("web").skipped(), ["", ""]);
    index.tell(namespace("shop", &[(SKIP_IN, "3")]));
    assert_eq!(index.policy("web").skipped(), ["", "3"]);
    index.gone(&namespace("shop", &[]));
    assert_eq!(index.policy("web").skipped(), ["", ""]);
    index.configure(node_lists("", "4", "5"), EnrolMode::All);
    assert_eq!(index.policy("web").skipped(), ["4", "5"]);
    index.configure(node_lists("", "4", "5"), EnrolMode::Annotated);
    assert_eq!(index.left_alone("web"), Some(LeftAlone::NotAnnotated));
    index.gone(&pod("web", "10.0.0.1", &[]));
    assert_eq!(index.leftovers(), 0);
}

#[test]
fn what_has_not_changed_is_the_same_allocation() {
    let mut index = Index::new(NODE, NodeDefaults::default(), EnrolMode::All);
    index.tell(pod("web", "10.0.0.1", &[(OPAQUE, "1")]));
    index.tell(pod("other", "10.0.0.2", &[]));
    let before = index.desired().clone();
    index.tell(pod("web", "10.0.0.1", &[(OPAQUE, "1")]));
    index.tell(namespace("shop", &[]));
    let after = index.desired();
    assert!(Arc::ptr_eq(&before.pods, &after.pods) && Arc::ptr_eq(&before.destinations, &after.destinations));
    index.tell(pod("web", "10.0.0.1", &[(OPAQUE, "2")]));
    let (other, web) = (Key::new("shop", "other"), Key::new("shop", "web"));
    let after = index.desired();
    assert!(Arc::ptr_eq(&before.pods[&other], &after.pods[&other]));
    assert!(!Arc::ptr_eq(&before.pods[&web], &after.pods[&web]));
}
