//! Annotations that cannot be read: what holds on, and what is told.

use super::*;

/// An index that enrols everything, and has these lists on the node.
fn index_of_node() -> Index {
    Index::new(NODE, node_lists("1", "1", "1"), EnrolMode::All)
}

#[test]
fn the_last_good_value_stays_and_the_mistake_is_listed_until_it_is_mended() {
    let mut index = index_of_node();
    index.tell(pod("web", "10.0.0.1", &[(SKIP_OUT, "8080")]));
    index.tell_at(pod("web", "10.0.0.1", &[(SKIP_OUT, "80,80O0,443")]), 10);
    index.tell_at(pod("web", "10.0.0.1", &[(SKIP_OUT, "80,80O0,443"), (SKIP_IN, "7")]), 20);
    assert_eq!(index.policy("web").skipped(), ["8080", "7"]);
    let (key, problem) = index.desired().problems.first_key_value().unwrap();
    assert_eq!((key.kind, &key.object), (Kind::Pod, &Key::new("shop", "web")));
    assert_eq!(
        &*problem.message,
        "config.linkerd.io/skip-outbound-ports: \"80O0\": expected a port (1-65535), a range (8000-8100) or a port's \
         name, got '80O0' (entry 2 of 3)"
    );
    assert_eq!((problem.is_earlier_kept, problem.since), (true, at(10)));
    // Another mistake is since another time.
    index.tell_at(pod("web", "10.0.0.1", &[(SKIP_OUT, "0")]), 30);
    assert_eq!(index.desired().problems.values().next().unwrap().since, at(30));
    assert_eq!(index.policy("web").skipped(), ["8080", "1"]);
    index.tell(pod("web", "10.0.0.1", &[(SKIP_OUT, "443")]));
    assert_eq!(index.policy("web").skipped(), ["443", "1"]);
    assert!(index.wrong().is_empty());
}

#[test]
fn where_there_never_was_a_good_value_the_next_level_holds() {
    let mut index = index_of_node();
    index.tell(pod("web", "10.0.0.1", &[(SKIP_OUT, "80O0"), (OPAQUE, "nobodys")]));
    assert_eq!(index.policy("web").skipped(), ["1", "1"]);
    assert_eq!(index.policy("web").sources.opaque, Level::Node);
    assert!(index.desired().problems.values().all(|problem| !problem.is_earlier_kept));
    assert_eq!(index.wrong().len(), 2);
    index.tell(namespace("shop", &[(SKIP_OUT, "2"), (OPAQUE, "2")]));
    assert_eq!(index.policy("web").skipped(), ["2", "1"]);
    assert_eq!(index.policy("web").opaque_inbound(), "2");
    // The good part of what an object says counts.
    index.tell(pod("web", "10.0.0.1", &[(SKIP_OUT, "80O0"), (SKIP, "3")]));
    assert_eq!(index.policy("web").skipped(), ["3", "3"]);
}

#[test]
fn taking_the_annotation_away_takes_both_away() {
    let mut index = index_of_node();
    index.tell(pod("web", "10.0.0.1", &[(SKIP_OUT, "8080")]));
    index.tell(pod("web", "10.0.0.1", &[(SKIP_OUT, "x!")]));
    index.tell(pod("web", "10.0.0.1", &[]));
    assert_eq!(index.policy("web").skipped(), ["1", "1"]);
    assert!(index.wrong().is_empty());
    index.tell(pod("web", "10.0.0.1", &[(SKIP_OUT, "x!")]));
    assert_eq!(index.policy("web").skipped(), ["1", "1"]);
    index.gone(&pod("web", "10.0.0.1", &[]));
    assert_eq!(index.leftovers(), 0);
}

#[test]
fn another_object_of_the_name_inherits_nothing() {
    let mut index = index_of_node();
    index.tell(pod("web", "10.0.0.1", &[(SKIP_OUT, "8080")]));
    let mut again = pod("web", "10.0.0.1", &[(SKIP_OUT, "x!")]);
    again.meta.uid = "another".into();
    index.tell(again.clone());
    assert_eq!(index.policy("web").skipped(), ["1", "1"]);
    // What is told of the first one's end comes late.
    index.gone(&pod("web", "10.0.0.1", &[]));
    assert_eq!(&*index.policy("web").uid, "another");
    index.gone(&again);
    assert_eq!(index.leftovers(), 0);
}

#[test]
fn a_namespaces_last_good_value_stays_for_all_in_it() {
    let mut index = index_of_node();
    index.tell(pod("web", "10.0.0.1", &[]));
    index.tell(service("web", "10.96.0.1", &["80"], &[]));
    index.tell(namespace("shop", &[(OPAQUE, "80")]));
    index.tell_at(namespace("shop", &[(OPAQUE, "80-70")]), 5);
    assert_eq!(index.policy("web").opaque_inbound(), "80");
    assert_eq!(index.destination("10.96.0.1").unwrap(), "80/");
    let (key, problem) = index.desired().problems.first_key_value().unwrap();
    assert_eq!((key.kind, key.annotation.label(), problem.since), (Kind::Namespace, OPAQUE, at(5)));
}

#[test]
fn a_name_that_a_service_has_no_more_leaves_the_ports_that_it_meant() {
    let mut index = index_of_node();
    index.tell(service("db", "10.96.0.1", &["sql=4406"], &[(OPAQUE, "sql")]));
    index.tell(service("db", "10.96.0.1", &["mysql=4406"], &[(OPAQUE, "sql")]));
    assert_eq!(index.destination("10.96.0.1").unwrap(), "4406/");
    assert_eq!(
        index.wrong(),
        [
            r#"config.linkerd.io/opaque-ports: "sql": expected the name of a port that is there (mysql), got 'sql' (entry 1 of 1)"#
        ]
    );
}

#[test]
fn a_word_other_than_enabled_and_disabled_is_a_mistake_and_changes_nothing() {
    let mut index = index();
    index.tell(pod("web", "10.0.0.1", &[(INJECT, "enabled")]));
    index.tell(pod("web", "10.0.0.1", &[(INJECT, "true")]));
    index.tell(pod("other", "10.0.0.2", &[(INJECT, "true")]));
    assert_eq!(index.left_alone("web"), None);
    assert_eq!(index.left_alone("other"), Some(LeftAlone::NotAnnotated));
    assert_eq!(index.wrong(), ["linkerd.io/inject: expected enabled or disabled, got 'true'"; 2]);
}

#[test]
fn subnets_that_cannot_be_read_are_told_like_ports() {
    let mut index = index_of_node();
    index.tell(pod("web", "10.0.0.1", &[(SUBNETS, "10.0.0.0/33")]));
    assert_eq!(index.policy("web").sources.skip_subnets, Level::Node);
    assert_eq!(
        index.wrong(),
        [
            r#"config.linkerd.io/skip-subnets: "10.0.0.0/33": expected a prefix length from 0 to 32, got '33' (entry 1 of 1)"#
        ]
    );
}
