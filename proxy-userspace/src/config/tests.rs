//! What the file promises: defaults, meaning, and an answer to every mistake.

use serde_json::Value;

use super::*;
use crate::policy::{DEFAULT_OPAQUE_PORTS, PortProblem, PortSet};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");

/// A workload with what it needs, for a text to go on from.
const WEB: &str = "[[workload]]\nname = 'web'\ncgroup = '/sys/fs/cgroup/web'\n";

/// What the DaemonSet's agents are given.
const DEPLOYED: &str = include_str!("../../../deploy/base/sluice.toml");

/// The config of a text.
fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("sluice.toml"))
}

/// What is said about a text.
fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// A list of ports.
fn ports(list: &str) -> Option<PortSet> {
    Some(list.parse().unwrap())
}

#[test]
fn an_empty_file_is_the_defaults_without_workloads() {
    let expected = Config {
        admin: DEFAULT_ADMIN,
        sk_msg: SkMsgMode::Auto,
        opaque_path: OpaquePath::Auto,
        same_node_bypass: BypassMode::Disabled,
        threads: None,
        learn_opaque: LearnOpaque::On,
        otlp_endpoint: None,
        ports: PortRules::default(),
        skip_subnets: SubnetSet::EMPTY,
        inbound: Some(ClientAddress::Preserve),
        kubernetes: None,
        kubelet_cgroup: None,
        workloads: vec![],
    };
    assert_eq!(parse("").unwrap(), expected);
}

#[test]
fn a_file_without_bytes_is_refused_and_one_without_settings_is_not() {
    let path = std::env::temp_dir().join(format!("sluice-empty-{}.toml", std::process::id()));
    fs::write(&path, "").unwrap();
    let error = Config::load(&path).unwrap_err().to_string();
    fs::write(&path, "# No workloads.\n").unwrap();
    let config = Config::load(&path);
    fs::remove_file(&path).unwrap();
    assert!(error.contains("empty file") && error.contains(path.to_str().unwrap()), "{error}");
    assert_eq!(config.unwrap().workloads, vec![]);
}

#[test]
fn what_is_deployed_enrols_annotated_pods_and_is_otherwise_the_defaults() {
    let expected = Config {
        admin: "[::]:4191".parse().unwrap(),
        kubernetes: Some(KubernetesConfig {
            enrol: EnrolMode::Annotated,
            node_name: None,
            kubeconfig: None,
            when_proxy_down: WhenProxyDown::Open,
        }),
        ..parse("").unwrap()
    };
    assert_eq!(parse(DEPLOYED).unwrap(), expected);
}

#[test]
fn a_workload_needs_only_a_name_and_a_cgroup() {
    let expected = WorkloadConfig {
        name: "web".into(),
        cgroup: "/sys/fs/cgroup/web".into(),
        netns: None,
        ports: PortRules::default(),
        skip_subnets: SubnetSet::EMPTY,
        when_proxy_down: WhenProxyDown::Open,
        include_loopback: false,
        sk_msg: SkMsgMode::Auto,
        opaque_path: OpaquePath::Auto,
        same_node_bypass: BypassMode::Disabled,
        learn_opaque: LearnOpaque::On,
        inbound: Some(ClientAddress::Preserve),
        foreign_proxy: None,
    };
    assert_eq!(parse(WEB).unwrap().workloads, [expected]);

    assert_eq!(refused("[[workload]]\ncgroup = '/x'"), "sluice.toml:1:1: missing field `name`");
    assert_eq!(refused("\n[[workload]]\nname = 'x'"), "sluice.toml:2:1: missing field `cgroup`");
}

#[test]
fn every_setting_is_read() {
    let config = parse(
        "admin = '[::1]:9999'
         sk-msg = 'off'
         same-node-bypass = 'enabled'
         threads = 2
         opaque-ports = '3306, 1-9'
         skip-outbound-ports = 4567
         skip-inbound-ports = ''
         skip-subnets = 'fd00::/8'
         inbound = false
         kubelet-cgroup = '/sys/fs/cgroup/kubelet.service'
         tracing = { otlp-endpoint = 'http://collector:4318' }
         [kubernetes]
         enrol = 'all'
         node-name = 'node-1'
         kubeconfig = '/etc/kubeconfig'
         when-proxy-down = 'strict'
         [[workload]]
         name = 'shop/web-0'
         cgroup = '/sys/fs/cgroup//shop/'
         netns = '/run/netns/web'
         opaque-ports = '1'
         skip-outbound-ports = '2'
         skip-inbound-ports = '3'
         skip-subnets = '10.9.9.9/8'
         when-proxy-down = 'strict'
         include-loopback = true
         sk-msg = 'on'
         same-node-bypass = 'forced'
         inbound = true
         client-address = 'proxy'
         foreign-proxy = { cgroup = '/sys/fs/cgroup/envoy', port = 15001 }",
    );
    let expected = Config {
        admin: "[::1]:9999".parse().unwrap(),
        sk_msg: SkMsgMode::Off,
        opaque_path: OpaquePath::Auto,
        same_node_bypass: BypassMode::Enabled,
        threads: NonZeroU8::new(2),
        learn_opaque: LearnOpaque::On,
        otlp_endpoint: Some("http://collector:4318".parse().unwrap()),
        ports: PortRules { opaque: ports("1-9,3306"), skip_outbound: ports("4567"), skip_inbound: ports("") },
        skip_subnets: "fd00::/8".parse().unwrap(),
        inbound: None,
        kubernetes: Some(KubernetesConfig {
            enrol: EnrolMode::All,
            node_name: Some("node-1".into()),
            kubeconfig: Some("/etc/kubeconfig".into()),
            when_proxy_down: WhenProxyDown::Strict,
        }),
        kubelet_cgroup: Some("/sys/fs/cgroup/kubelet.service".into()),
        workloads: vec![WorkloadConfig {
            name: "shop/web-0".into(),
            cgroup: "/sys/fs/cgroup/shop".into(),
            netns: Some("/run/netns/web".into()),
            ports: PortRules { opaque: ports("1"), skip_outbound: ports("2"), skip_inbound: ports("3") },
            skip_subnets: "10.0.0.0/8".parse().unwrap(),
            when_proxy_down: WhenProxyDown::Strict,
            include_loopback: true,
            sk_msg: SkMsgMode::On,
            opaque_path: OpaquePath::Auto,
            same_node_bypass: BypassMode::Forced,
            learn_opaque: LearnOpaque::On,
            inbound: Some(ClientAddress::Proxy),
            foreign_proxy: Some(ForeignProxy {
                cgroup: "/sys/fs/cgroup/envoy".into(),
                port: NonZeroU16::new(15001).unwrap(),
            }),
        }],
    };
    assert_eq!(config.unwrap(), expected);
}

#[test]
fn a_kubelet_s_cgroup_is_a_path_without_workloads() {
    assert_eq!(
        refused("kubelet-cgroup = 'kubelet.service'"),
        "sluice.toml:1:18: kubelet-cgroup: expected an absolute path without '..', got \"kubelet.service\""
    );
    assert_eq!(
        refused(&format!("kubelet-cgroup = '/sys/fs/cgroup/'\n{WEB}")),
        "sluice.toml:1:18: kubelet-cgroup: expected a cgroup without workloads, got \"/sys/fs/cgroup\", in \
         which workload \"web\" is"
    );
    assert!(parse(&format!("kubelet-cgroup = '/sys/fs/cgroup/we'\n{WEB}")).is_ok());
}

#[test]
fn a_workload_without_its_own_word_on_inbound_connections_has_the_nodes() {
    let inbound = |text: &str| parse(&format!("{text}\n{WEB}")).unwrap().workloads[0].inbound;
    assert_eq!(inbound("client-address = 'proxy'"), Some(ClientAddress::Proxy));
    assert_eq!(inbound("inbound = false"), None);
}

#[test]
fn a_workload_without_its_own_sk_msg_has_the_nodes() {
    let config = parse(&format!("sk-msg = 'on'\n{WEB}")).unwrap();
    assert_eq!(config.workloads[0].sk_msg, SkMsgMode::On);
}

#[test]
fn the_table_of_a_workload_weighs_its_lists_with_the_nodes() {
    let config = parse(&format!("skip-outbound-ports = 99\n{WEB}opaque-ports = ''")).unwrap();
    let table = config.table(&config.workloads[0]);
    assert_eq!(table.ranges(proxy_common::Direction::Outbound).count(), 1);
    assert_eq!(table.ranges(proxy_common::Direction::Inbound).count(), 0);
}

#[test]
fn an_unknown_key_is_named_with_those_that_are_known() {
    let error = refused("admin = '[::1]:1'\nopaque-port = 80");
    assert!(
        error.starts_with("sluice.toml:2:1: unknown field `opaque-port`, expected one of `admin`"),
        "{error}"
    );
    let error = refused(&format!("{WEB}opaque_ports = 80"));
    assert!(
        error.starts_with("sluice.toml:4:1: unknown field `opaque_ports`, expected one of `name`"),
        "{error}"
    );
    let error = refused(&format!("{WEB}[workload.foreign-proxy]\nhost = 'x'"));
    assert_eq!(error, "sluice.toml:5:1: unknown field `host`, expected `cgroup` or `port`");
}

#[test]
fn a_collector_that_cannot_be_sent_to_is_named_with_what_can() {
    let error = refused("[tracing]\notlp-endpoint = 'https://collector:4318'");
    assert_eq!(
        error,
        "sluice.toml:2:17: tracing.otlp-endpoint: expected http://HOST:PORT, such as \
         http://127.0.0.1:4318, got 'https://collector:4318'"
    );
    let error = refused("[tracing]\nendpoint = ''");
    assert_eq!(error, "sluice.toml:2:1: unknown field `endpoint`, expected `otlp-endpoint`");
    assert_eq!(parse("[tracing]").unwrap().otlp_endpoint, None);
}

#[test]
fn a_value_of_the_wrong_kind_is_answered_with_the_right_one() {
    let error = refused("sk-msg = 'yes'");
    assert_eq!(error, "sluice.toml:1:10: unknown variant `yes`, expected one of `auto`, `on`, `off`");
    let error = refused(&format!("{WEB}when-proxy-down = 'closed'"));
    assert_eq!(error, "sluice.toml:4:19: unknown variant `closed`, expected `open` or `strict`");
    let error = refused(&format!("{WEB}include-loopback = 'yes'"));
    assert_eq!(error, "sluice.toml:4:20: invalid type: string \"yes\", expected a boolean");
    let error = refused("opaque-ports = [80]");
    assert!(
        error.starts_with("sluice.toml:1:16: invalid type: sequence, expected ports, as a string"),
        "{error}"
    );
}

#[test]
fn text_that_is_not_toml_is_shown_where_it_goes_wrong() {
    let error = refused("admin = '127.0.0.1:4191'\nsk-msg =");
    assert!(error.starts_with("sluice.toml:2:9: "), "{error}");
    let error = refused("admin = '[::1]:1'\nadmin = '[::1]:2'");
    assert!(error.starts_with("sluice.toml:2:1: duplicate key"), "{error}");
}

#[test]
fn a_bad_list_is_named_with_its_setting_and_its_workload() {
    let expected = r#"expected a port (1-65535) or a range (8000-8100), got '80O0' (entry 2 of 3)"#;
    assert_eq!(
        refused("skip-outbound-ports = '80,80O0,443'"),
        format!(r#"sluice.toml:1:23: skip-outbound-ports: "80O0": {expected}"#)
    );
    assert_eq!(
        refused(&format!("{WEB}opaque-ports = '80,80O0,443'")),
        format!(r#"sluice.toml:4:16: workload "web": opaque-ports: "80O0": {expected}"#)
    );
    let error = parse(&format!("{WEB}skip-inbound-ports = 65536")).unwrap_err();
    let ConfigError::Value { at, setting, problem } = error else { panic!("{error}") };
    assert_eq!((at.line, at.column), (4, 22));
    assert_eq!(setting, Setting { workload: Some("web".into()), key: "skip-inbound-ports" });
    let ValueProblem::Ports(error) = *problem else { panic!("{problem}") };
    assert_eq!(error.problem, PortProblem::TooLarge { got: "65536".into() });
}

#[test]
fn an_address_without_a_port_is_refused() {
    assert_eq!(
        refused("admin = 'localhost'"),
        r#"sluice.toml:1:9: admin: expected an IP address and a port (127.0.0.1:4191 or [::1]:4191), got "localhost""#
    );
}

#[test]
fn a_name_that_cannot_be_shown_or_held_is_refused() {
    let long = "x".repeat(321);
    for name in ["", "a b", "a\\tb", "a\\u0000", "\\u00a0", long.as_str()] {
        let error = refused(&format!("[[workload]]\ncgroup = '/x'\nname = \"{name}\""));
        assert!(error.starts_with("sluice.toml:3:8: workload "), "{error}");
        assert!(
            error.contains("name: expected 1 to 320 bytes without spaces or control characters"),
            "{error}"
        );
    }
    let longest = "x".repeat(320);
    parse(&format!("[[workload]]\ncgroup = '/x'\nname = '{longest}'")).unwrap();
}

#[test]
fn two_workloads_with_one_name_or_one_cgroup_are_refused() {
    assert_eq!(
        refused(&format!("{WEB}[[workload]]\nname = 'web'\ncgroup = '/other'")),
        r#"sluice.toml:5:8: workload "web": name: expected a name that no other workload has, got "web" again"#
    );
    assert_eq!(
        refused(&format!("{WEB}[[workload]]\nname = 'other'\ncgroup = '/sys/fs/cgroup/./web/'")),
        r#"sluice.toml:6:10: workload "other": cgroup: expected a cgroup that no other workload has, got "/sys/fs/cgroup/web", which is workload "web"'s"#
    );
}

#[test]
fn a_path_that_is_relative_or_climbs_is_refused() {
    for path in ["", "web", "./web", "/sys/fs/cgroup/../x", "~/x"] {
        let expected = format!("expected an absolute path without '..', got {path:?}");
        assert_eq!(
            refused(&format!("[[workload]]\nname = 'web'\ncgroup = '{path}'")),
            format!("sluice.toml:3:10: workload \"web\": cgroup: {expected}")
        );
        assert_eq!(
            refused(&format!("{WEB}netns = '{path}'")),
            format!("sluice.toml:4:9: workload \"web\": netns: {expected}")
        );
        assert_eq!(
            refused(&format!("{WEB}[workload.foreign-proxy]\ncgroup = '{path}'\nport = 1")),
            format!("sluice.toml:5:10: workload \"web\": foreign-proxy.cgroup: {expected}")
        );
    }
}

#[test]
fn a_foreign_proxy_needs_a_port_and_a_cgroup_of_its_own() {
    let proxy = |cgroup: &str, port: &str| {
        refused(&format!("{WEB}[workload.foreign-proxy]\ncgroup = '{cgroup}'\nport = {port}"))
    };
    for port in ["0", "65536", "-1"] {
        assert_eq!(
            proxy("/envoy", port),
            format!(
                "sluice.toml:6:8: workload \"web\": foreign-proxy.port: expected a port (1-65535), got {port}"
            )
        );
    }
    assert_eq!(
        proxy("/sys/fs/cgroup/web", "1"),
        "sluice.toml:5:10: workload \"web\": foreign-proxy.cgroup: \
         expected another cgroup than the workload's own, got \"/sys/fs/cgroup/web\""
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Path::new("/nonexistent/sluice.toml")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nonexistent/sluice.toml");
    assert!(matches!(error, ConfigError::Read { .. }), "{error:?}");
}

#[test]
fn the_documented_example_is_a_config_and_shows_every_setting() {
    let path = Path::new(DOCS).join("sluice.toml");
    let config = Config::load(&path).unwrap();
    let names: Vec<_> = config.workloads.iter().map(|workload| workload.name.as_str()).collect();
    assert_eq!(names, ["billing", "shop/web-0", "legacy"]);
    // What the example calls the built-in list and the default address are that.
    assert_eq!(config.ports.opaque, Some(DEFAULT_OPAQUE_PORTS.into_iter().collect()));
    assert_eq!(config.admin, DEFAULT_ADMIN);
    assert_eq!(config.otlp_endpoint, None);

    let text = fs::read_to_string(path).unwrap();
    let schema = Config::schema();
    let keys = |table: &Value| table["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let of_workload = keys(&schema["$defs"]["Workload"]);
    let of_proxy = keys(&schema["$defs"]["ForeignProxy"]);
    let of_tracing = keys(&schema["$defs"]["Tracing"]);
    for key in [keys(&schema), of_workload, of_proxy, of_tracing].concat() {
        let shown = [
            format!("\n{key} = "),
            format!("\n# {key} = "),
            format!("\n[{key}]"),
            format!("\n[[{key}]]"),
            format!("\n[workload.{key}]"),
        ];
        assert!(shown.iter().any(|shown| text.contains(shown)), "{key}");
    }
}

#[test]
fn the_checked_in_schema_is_the_one_that_the_types_say() {
    let path = Path::new(DOCS).join("config.schema.json");
    let schema = Config::schema();
    if std::env::var_os("SLUICE_WRITE_SCHEMA").is_some() {
        fs::write(&path, serde_json::to_string_pretty(&schema).unwrap() + "\n").unwrap();
    }
    // As values: the order of keys is serde_json's affair.
    let checked_in: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert!(
        checked_in == schema,
        "docs/config.schema.json is out of date: SLUICE_WRITE_SCHEMA=1 cargo test -p sluice schema"
    );
}
