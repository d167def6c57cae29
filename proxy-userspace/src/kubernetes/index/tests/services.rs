//! What Services say of ports: at their own addresses, at their pods, and where the two disagree.

use super::*;

const ENABLED: (&str, &str) = (INJECT, "enabled");
const NODE_LIST: &str = "25,443,587,3306,4444,5432,6379,9300,11211";

#[test]
fn the_seeds_mysql_on_4406_is_opaque_by_service_and_by_pod() {
    let mut index = index();
    index.tell(service("mysql", "10.96.0.1", &["4406"], &[(OPAQUE, "4406")]));
    assert_eq!(index.destination("10.96.0.1").unwrap(), "4406/");
    index.tell(pod("mysql", "10.0.0.1", &[ENABLED, (OPAQUE, "4406")]));
    assert_eq!(index.policy("mysql").opaque_inbound(), "4406");
    assert_eq!(index.destination("10.0.0.1").unwrap(), format!("4406/{NODE_LIST}"));
    assert!(index.desired().disagreements.is_empty());
}

#[test]
fn a_service_that_is_not_meshed_is_opaque_for_its_clients_all_the_same() {
    let mut index = index();
    index.tell(service("mysql", "10.96.0.1", &["4406"], &[(OPAQUE, "4406")]));
    index.tell(pod("mysql", "10.0.0.1", &[]));
    assert_eq!(index.left_alone("mysql"), Some(LeftAlone::NotAnnotated));
    assert_eq!(index.destination("10.96.0.1").unwrap(), "4406/");
    // To the pod's address as well.
    assert_eq!(index.destination("10.0.0.1").unwrap(), "4406/");
}

#[test]
fn the_nearest_list_holds_for_a_services_ports() {
    let ports = ["80", "3306", "9000"];
    for (of_service, of_namespace, of_node, expected) in [
        (None, None, "3306", None),
        (None, Some("80"), "3306", Some("80/3306")),
        (Some("9000"), Some("80"), "3306", Some("9000/3306")),
        (Some(""), Some("80"), "3306", Some("/3306")),
        (Some(""), Some("80"), "", None),
        // What the Service has not got says nothing.
        (Some("1-100"), None, "", Some("80/")),
        (Some("77"), None, "", None),
        (None, Some("mysql,nobodys"), "", None),
    ] {
        let mut index = Index::new(NODE, node_lists(of_node, "", ""), EnrolMode::Annotated);
        let written =
            |value: Option<&'static str>| value.map(|value| (OPAQUE, value)).into_iter().collect::<Vec<_>>();
        index.tell(service("web", "10.96.0.1", &ports, &written(of_service)));
        index.tell(namespace("shop", &written(of_namespace)));
        let case = (of_service, of_namespace, of_node);
        assert_eq!(index.destination("10.96.0.1").as_deref(), expected, "{case:?}");
        assert!(index.wrong().is_empty(), "{case:?}");
    }
}

#[test]
fn names_in_a_services_list_are_those_of_its_ports() {
    let mut index = index();
    index.tell(service("db", "10.96.0.1", &["sql=4406:mysql", "http=80"], &[(OPAQUE, "sql")]));
    assert_eq!(index.destination("10.96.0.1").unwrap(), "4406/");
    index.tell(service("db", "10.96.0.1", &["http=80"], &[(OPAQUE, "mysql")]));
    assert_eq!(
        index.wrong(),
        [
            r#"config.linkerd.io/opaque-ports: "mysql": expected the name of a port that is there (http), got 'mysql' (entry 1 of 1)"#
        ]
    );
}

#[test]
fn app_protocol_beats_the_list() {
    let mut index = index();
    let ports =
        ["1@linkerd.io/opaque", "2@linkerd.io/tcp", "3@http", "4@kubernetes.io/h2c", "5@https", "6@grpc"];
    index.tell(service("web", "10.96.0.1", &ports, &[]));
    assert_eq!(index.destination("10.96.0.1").unwrap(), "1-2/");
    index.tell(service("web", "10.96.0.1", &ports, &[(OPAQUE, "2-5")]));
    assert_eq!(index.destination("10.96.0.1").unwrap(), "1-2,5/");
    index.tell(service("web", "10.96.0.1", &["3306@http"], &[]));
    assert_eq!(index.destination("10.96.0.1").unwrap(), "/3306");
}

#[test]
fn a_service_says_at_every_one_of_its_addresses_and_at_old_ones_no_more() {
    let mut index = index();
    let both = ["10.96.0.1", "fd00::1"].map(|ip| ip.parse().unwrap()).to_vec();
    let db = service("db", "10.96.0.1", &["1"], &[(OPAQUE, "1")]);
    index.tell(Service { cluster_ips: both, ..db.clone() });
    assert_eq!(index.destination("fd00::1").unwrap(), "1/");
    index.tell(Service { cluster_ips: vec!["10.96.0.2".parse().unwrap()], ..db.clone() });
    assert_eq!(index.destination("fd00::1"), None);
    assert_eq!(index.destination("10.96.0.1"), None);
    assert_eq!(index.destination("10.96.0.2").unwrap(), "1/");
    index.gone(&db);
    assert_eq!(index.leftovers(), 0);
}

#[test]
fn the_target_port_of_an_opaque_port_is_opaque_at_the_pods() {
    for (port, target) in [("4406:3307", "3307"), ("sql=4406:mysql", "3306"), ("4406", "4406")] {
        let mut index = Index::new(NODE, node_lists("25", "", ""), EnrolMode::All);
        index.tell(pod("db", "10.0.0.1", &[]));
        index.tell(service("db", "10.96.0.1", &[port], &[(OPAQUE, "4406")]));
        let policy = index.policy("db");
        assert_eq!(policy.opaque_by_services.to_string(), target);
        assert_eq!(policy.opaque_inbound(), format!("25,{target}"));
        assert_eq!(index.destination("10.0.0.1").unwrap(), format!("{target}/"));
        assert!(index.desired().disagreements.is_empty());
        // And no more, once the Service does not say so.
        index.tell(service("db", "10.96.0.1", &[port], &[]));
        assert_eq!(index.policy("db").opaque_inbound(), "25");
        assert_eq!(index.destination("10.0.0.1"), None);
    }
}

#[test]
fn app_protocol_and_the_namespaces_list_mark_target_ports_too() {
    let mut index = Index::new(NODE, node_lists("", "", ""), EnrolMode::All);
    index.tell(pod("db", "10.0.0.1", &[]));
    index.tell(service("db", "10.96.0.1", &["4406:3307@linkerd.io/opaque"], &[]));
    assert_eq!(index.policy("db").opaque_inbound(), "3307");
    index.tell(service("db", "10.96.0.1", &["4406:3307"], &[]));
    assert_eq!(index.policy("db").opaque_inbound(), "");
    index.tell(namespace("shop", &[(OPAQUE, "4406")]));
    assert_eq!(index.policy("db").opaque_inbound(), "3307,4406");
}

#[test]
fn a_port_that_only_a_default_list_has_marks_no_target_port() {
    let mut index = Index::new(NODE, NodeDefaults::default(), EnrolMode::All);
    index.tell(pod("web", "10.0.0.1", &[]));
    index.tell(service("web", "10.96.0.1", &["443:8080"], &[]));
    assert_eq!(index.policy("web").opaque_inbound(), NODE_LIST);
    assert_eq!(index.destination("10.0.0.1"), None);
}

#[test]
fn a_pods_own_list_wins_and_the_disagreement_is_listed() {
    let mut index = Index::new(NODE, node_lists("", "", ""), EnrolMode::All);
    index.tell(pod("db", "10.0.0.1", &[(OPAQUE, "9000")]));
    index.tell(service("db", "10.96.0.1", &["4406:3307", "9000", "80"], &[(OPAQUE, "4406")]));
    index.tell(endpoints("db-x", "db", &["10.0.0.1"], &[("", 3307)]));
    let policy = index.policy("db");
    assert_eq!(
        (policy.opaque_inbound(), policy.opaque_by_services.to_string()),
        ("9000".into(), String::new())
    );
    assert_eq!(index.destination("10.0.0.1").unwrap(), "9000/");
    let expected: Arc<[_]> = Arc::new([
        Disagreement { service: "db".into(), port: 4406, target: 3307, opaque_by: OpaqueBy::Service },
        Disagreement { service: "db".into(), port: 9000, target: 9000, opaque_by: OpaqueBy::Pod },
    ]);
    assert_eq!(index.desired().disagreements.get(&Key::new("shop", "db")), Some(&expected));
    index.tell(pod("db", "10.0.0.1", &[(OPAQUE, "3307")]));
    assert!(index.desired().disagreements.is_empty());
}

#[test]
fn a_pod_that_a_service_selects_no_more_is_not_marked_by_it() {
    let mut index = Index::new(NODE, node_lists("", "", ""), EnrolMode::All);
    let db = service("db", "10.96.0.1", &["4406"], &[(OPAQUE, "4406")]);
    index.tell(pod("db", "10.0.0.1", &[]));
    index.tell(pod("other", "10.0.0.2", &[]));
    index.tell(db.clone());
    index.tell(Service { selector: labels(&[("app", "other")]), ..db.clone() });
    assert_eq!(index.policy("db").opaque_inbound(), "");
    assert_eq!(index.policy("other").opaque_inbound(), "4406");
    index.tell(Pod { labels: labels(&[]), ..pod("other", "10.0.0.2", &[]) });
    assert_eq!(index.policy("other").opaque_inbound(), "");
    // A selector asks for all of its labels, and an empty one for nothing.
    index.tell(Service { selector: labels(&[("app", "db"), ("tier", "1")]), ..db.clone() });
    assert_eq!(index.policy("db").opaque_inbound(), "");
    index.tell(Pod { labels: labels(&[("tier", "1"), ("app", "db")]), ..pod("db", "10.0.0.1", &[]) });
    assert_eq!(index.policy("db").opaque_inbound(), "4406");
    index.tell(Service { selector: labels(&[]), ..db });
    assert_eq!(index.policy("db").opaque_inbound(), "");
}

#[test]
fn endpoints_on_other_nodes_are_destinations() {
    let mut index = index();
    let ports = ["sql=4406:mysql", "http=80"];
    index.tell(endpoints("db-x", "db", &["10.0.1.1", "fd00::2"], &[("sql", 3307), ("http", 8080)]));
    assert_eq!(index.destination("10.0.1.1"), None);
    index.tell(service("db", "10.96.0.1", &ports, &[(OPAQUE, "sql")]));
    assert_eq!(index.destination("10.0.1.1").unwrap(), "3307/");
    assert_eq!(index.destination("fd00::2").unwrap(), "3307/");
    index.tell(endpoints("db-x", "db", &["10.0.1.2"], &[("sql", 3308)]));
    assert_eq!(index.destination("10.0.1.1"), None);
    assert_eq!(index.destination("10.0.1.2").unwrap(), "3308/");
    index.gone(&service("db", "10.96.0.1", &ports, &[]));
    assert!(index.desired().destinations.is_empty());
    index.gone(&endpoints("db-x", "db", &[], &[]));
    assert_eq!(index.leftovers(), 0);
}

#[test]
fn a_headless_services_endpoints_are_destinations() {
    let mut index = index();
    index.tell(service("db", "None", &["4406"], &[(OPAQUE, "4406")]));
    index.tell(endpoints("db-x", "db", &["10.0.1.1"], &[("", 4406)]));
    assert_eq!(index.destination("10.0.1.1").unwrap(), "4406/");
}

#[test]
fn a_pod_of_a_service_without_a_selector_is_marked_by_its_endpoints() {
    let mut index = Index::new(NODE, node_lists("", "", ""), EnrolMode::All);
    index.tell(pod("db", "10.0.0.1", &[]));
    index.tell(Service {
        selector: labels(&[]),
        ..service("sql", "10.96.0.1", &["4406"], &[(OPAQUE, "4406")])
    });
    index.tell(endpoints("sql-x", "sql", &["10.0.0.1"], &[("", 3307)]));
    assert_eq!(index.policy("db").opaque_inbound(), "3307");
    assert_eq!(index.policy("db").opaque_by_services.to_string(), "3307");
    index.gone(&endpoints("sql-x", "sql", &[], &[]));
    assert_eq!(index.policy("db").opaque_inbound(), "");
}

#[test]
fn the_address_of_a_pod_that_has_ended_or_lives_in_the_nodes_namespace_says_nothing_by_it() {
    let mut index = index();
    index.tell(Pod { is_host_network: true, ..pod("host", "10.0.0.1", &[(OPAQUE, "1")]) });
    index.tell(Pod { is_finished: true, ..pod("job", "10.0.0.2", &[(OPAQUE, "2")]) });
    assert!(index.desired().destinations.is_empty());
    // Another has it now.
    index.tell(pod("web", "10.0.0.2", &[(OPAQUE, "3")]));
    assert_eq!(index.destination("10.0.0.2").unwrap(), format!("3/{NODE_LIST}"));
}

#[test]
fn what_holds_for_every_service_can_be_listed() {
    let mut index = index();
    index.tell(service("db", "10.96.0.1", &["sql=4406:mysql", "443:8443"], &[(OPAQUE, "4406,443")]));
    index.tell(service("web", "10.96.0.2", &["80", "443"], &[]));
    let holds = |name: &str| {
        let facts = &index.desired().services[&Key::new("shop", name)];
        facts.ports.iter().map(|port| (port.port, port.is_opaque, port.source)).collect::<Vec<_>>()
    };
    assert_eq!(holds("db"), [(4406, true, Level::Service), (443, true, Level::Service)]);
    assert_eq!(holds("web"), [(80, false, Level::BuiltIn), (443, true, Level::BuiltIn)]);
}
