//! What a scrape shows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proxy_common::Direction::{self, Inbound, Outbound};

use super::{CloseReason, ConnectionMetrics, HttpMetrics, MAX_TARGETS, MAX_WORKLOADS, Metrics};
use crate::observe::{End, Exchange, Kind, Lost, Method, Request, Version};

/// What is promised.
const METRICS_MD: &str = include_str!("../../../docs/metrics.md");

fn metrics() -> Metrics {
    Metrics::new(|| vec![("connect", "redirected", 7), ("connect", "skipped", 0)])
}

fn open(metrics: &Metrics, direction: Direction, workload: &str, target: &str) -> ConnectionMetrics {
    metrics.open(direction, &workload.into(), target.parse().unwrap())
}

/// The value of the one series of `name` whose labels contain all of `labels`.
fn value(metrics: &Metrics, name: &str, labels: &[&str]) -> Option<f64> {
    let text = metrics.encode().unwrap();
    let mut found = text.lines().filter(|line| {
        line.starts_with(&format!("{name}{{")) && labels.iter().all(|label| line.contains(label))
    });
    let line = found.next()?;
    assert_eq!(found.next(), None, "{name} with {labels:?} is not unique");
    Some(line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

#[test]
fn a_connection_shows_its_bytes_while_it_lives() {
    let metrics = metrics();
    let connection = open(&metrics, Outbound, "shop", "10.1.2.3:80");
    connection.server_connected();
    connection.client_read(5);
    connection.server_written(4);
    connection.server_read(3);
    connection.client_written(2);
    let labels = [
        r#"direction="outbound""#,
        r#"workload="shop""#,
        r#"target_addr="10.1.2.3:80""#,
        r#"target_ip="10.1.2.3""#,
        r#"target_port="80""#,
    ];
    let value = |name, peer| value(&metrics, name, &[&labels[..], &[peer]].concat());
    assert_eq!(value("tcp_read_bytes_total", r#"peer="src""#), Some(5.0));
    assert_eq!(value("tcp_write_bytes_total", r#"peer="dst""#), Some(4.0));
    assert_eq!(value("tcp_read_bytes_total", r#"peer="dst""#), Some(3.0));
    assert_eq!(value("tcp_write_bytes_total", r#"peer="src""#), Some(2.0));
    assert_eq!(value("tcp_open_connections", r#"peer="src""#), Some(1.0));
    assert_eq!(value("tcp_open_connections", r#"peer="dst""#), Some(1.0));
    assert_eq!(value("tcp_close_total", r#"peer="src""#), None);
}

#[test]
fn closing_counts_once_with_errno_reason_and_duration() {
    let metrics = metrics();
    let connection = open(&metrics, Inbound, "shop", "[2001:db8::1]:5432");
    connection.server_connected();
    connection.close(CloseReason::ServerReset, Duration::from_millis(7));
    let src = [r#"peer="src""#, r#"target_addr="[2001:db8::1]:5432""#, r#"target_ip="2001:db8::1""#];
    assert_eq!(value(&metrics, "tcp_close_total", &[&src[..], &[r#"errno="""#]].concat()), Some(1.0));
    let dst = [r#"peer="dst""#, r#"errno="ECONNRESET""#];
    assert_eq!(value(&metrics, "tcp_close_total", &dst), Some(1.0));
    assert_eq!(value(&metrics, "tcp_open_connections", &src), Some(0.0));
    assert_eq!(value(&metrics, "sluice_connection_close_total", &[r#"reason="server-reset""#]), Some(1.0));
    let bucket = |le| value(&metrics, "tcp_connection_duration_ms_bucket", &[r#"peer="src""#, le]);
    assert_eq!(bucket(r#"le="5.0""#), Some(0.0));
    assert_eq!(bucket(r#"le="10.0""#), Some(1.0));
}

#[test]
fn dropping_an_account_closes_it_as_shutdown() {
    let metrics = metrics();
    let connection = open(&metrics, Outbound, "shop", "10.1.2.3:80");
    connection.server_connected();
    drop(connection);
    for peer in [r#"peer="src""#, r#"peer="dst""#] {
        assert_eq!(value(&metrics, "tcp_open_connections", &[peer]), Some(0.0));
        assert_eq!(value(&metrics, "tcp_close_total", &[peer]), Some(1.0));
    }
    assert_eq!(value(&metrics, "sluice_connection_close_total", &[r#"reason="shutdown""#]), Some(1.0));
}

#[test]
fn a_refused_connection_never_opens_its_upstream_side() {
    let metrics = metrics();
    open(&metrics, Outbound, "shop", "10.1.2.3:80").close(CloseReason::Refused, Duration::ZERO);
    assert_eq!(value(&metrics, "tcp_open_total", &[r#"peer="dst""#]), Some(0.0));
    assert_eq!(value(&metrics, "tcp_open_connections", &[r#"peer="dst""#]), Some(0.0));
    assert_eq!(value(&metrics, "tcp_close_total", &[r#"peer="dst""#]), None);
    assert_eq!(value(&metrics, "tcp_close_total", &[r#"errno="ECONNREFUSED""#]), Some(1.0));
}

#[test]
fn an_ipv4_mapped_target_is_the_ipv4_target() {
    let metrics = metrics();
    let plain = open(&metrics, Outbound, "shop", "10.1.2.3:80");
    let mapped = open(&metrics, Outbound, "shop", "[::ffff:10.1.2.3]:80");
    assert_eq!(value(&metrics, "tcp_open_total", &[r#"peer="src""#, "10.1.2.3:80"]), Some(2.0));
    drop((plain, mapped));
}

#[test]
fn targets_beyond_the_bound_share_the_overflow_series() {
    let metrics = metrics();
    let workload: Arc<str> = "shop".into();
    let target = |index: usize| SocketAddr::from(([10, 0, 0, 1], u16::try_from(index + 1).unwrap()));
    for index in 0..MAX_TARGETS + 5 {
        drop(metrics.open(Outbound, &workload, target(index)));
    }
    drop(metrics.open(Outbound, &workload, target(0)));
    let count = |labels: &[&str]| value(&metrics, "tcp_open_total", &[&[r#"peer="src""#], labels].concat());
    let overflow = [r#"target_addr="overflow""#, r#"target_ip="overflow""#, r#"target_port="overflow""#];
    assert_eq!(count(&overflow), Some(5.0));
    assert_eq!(count(&[r#"target_addr="10.0.0.1:1000""#]), Some(1.0));
    assert_eq!(count(&[r#"target_addr="10.0.0.1:1""#]), Some(2.0));
    drop(metrics.open(Inbound, &workload, target(MAX_TARGETS)));
    assert_eq!(count(&[r#"direction="inbound""#, r#"target_addr="10.0.0.1:1001""#]), Some(1.0));
}

#[test]
fn workloads_beyond_the_bound_share_a_name() {
    let metrics = metrics();
    for index in 0..MAX_WORKLOADS + 3 {
        let workload = format!("pod-{index}").into();
        metrics.rejected(Outbound, &workload, CloseReason::NoOriginalDst);
    }
    let close = |workload| value(&metrics, "sluice_connection_close_total", &[workload]);
    assert_eq!(close(r#"workload="overflow""#), Some(3.0));
    assert_eq!(close(r#"workload="pod-999""#), Some(1.0));
    drop(open(&metrics, Outbound, "pod-1001", "10.0.0.1:1"));
    drop(open(&metrics, Outbound, "pod-1002", "10.0.0.1:1"));
    assert_eq!(close(r#"workload="overflow",reason="shutdown""#), Some(2.0));
}

#[test]
fn detection_is_told_in_linkerd_s_words_and_once_per_connection() {
    let metrics = metrics();
    let detect = |direction, protocol, by| {
        let connection = open(&metrics, direction, "shop", "10.1.2.3:80");
        connection.detected(protocol, by);
        connection.detected("opaque", "client-bytes");
    };
    detect(Outbound, "http/1", "client-bytes");
    detect(Outbound, "grpc", "client-bytes");
    detect(Outbound, "tls", "client-bytes");
    detect(Outbound, "opaque", "config");
    detect(Outbound, "opaque", "silent");
    detect(Inbound, "opaque", "server-first");
    let result = |direction: &str, result| {
        value(&metrics, &format!("{direction}_tcp_detect_http_results_total"), &[result])
    };
    assert_eq!(result("outbound", r#"result="http/1""#), Some(1.0));
    assert_eq!(result("outbound", r#"result="http/2""#), Some(1.0));
    assert_eq!(result("outbound", r#"result="not_http""#), Some(1.0));
    assert_eq!(result("outbound", r#"result="silent""#), Some(1.0));
    assert_eq!(result("inbound", r#"result="not_http""#), Some(1.0));
    let protocol = |labels| value(&metrics, "outbound_tcp_protocol_connections_total", &[labels]);
    assert_eq!(protocol(r#"protocol="grpc",detected_by="client-bytes""#), Some(1.0));
    assert_eq!(protocol(r#"protocol="opaq",detected_by="config""#), Some(1.0));
    assert_eq!(protocol(r#"protocol="detect",detected_by="silent""#), Some(1.0));
}

#[test]
fn hook_outcomes_are_read_at_every_scrape() {
    let metrics = metrics();
    let skipped = [r#"hook="connect""#, r#"outcome="skipped""#];
    assert_eq!(value(&metrics, "sluice_hook_outcomes_total", &[r#"outcome="redirected""#]), Some(7.0));
    assert_eq!(value(&metrics, "sluice_hook_outcomes_total", &skipped), Some(0.0));
    assert!(!Metrics::new(Vec::new).encode().unwrap().contains("sluice_hook_outcomes"));
}

#[test]
fn a_refused_config_shows_until_a_good_one_comes() {
    let metrics = metrics();
    let shows = |line: &str| metrics.encode().unwrap().lines().any(|shown| shown == line);
    assert!(shows("sluice_config_last_reload_successful 1"));
    metrics.config_reload_failed();
    assert!(shows("sluice_config_last_reload_successful 0"));
    metrics.config_reloaded();
    assert!(shows("sluice_config_last_reload_successful 1"));
    assert!(shows("sluice_config_reload_errors_total 1"));
}

#[test]
fn a_workload_s_name_is_escaped() {
    let metrics = metrics();
    drop(open(&metrics, Outbound, "a\"b\\c\nd", "10.1.2.3:80"));
    assert!(metrics.encode().unwrap().contains(r#"workload="a\"b\\c\nd""#));
}

/// A request and a call, both answered; an upgrade; and the end of what can be followed.
fn ask(http: &mut HttpMetrics) {
    for kind in [Kind::Http, Kind::Grpc] {
        let request = Request {
            version: Version::Http2,
            method: Method::Post,
            kind,
            authority: Some("web".into()),
            target: None,
            trace: None,
        };
        let now = Instant::now();
        http.request(&request);
        http.exchange(&Exchange {
            request: &request,
            began: now,
            request_ended: Some(now),
            response_began: Some(now),
            ended: now,
            status: Some(200),
            grpc_status: Some(0),
            response_bytes: 0,
            end: End::Complete,
        });
    }
    http.upgraded("websocket");
    http.lost(Lost::Ambiguous, 1);
}

/// Everything that can be shown, at least once.
fn everything() -> Metrics {
    let metrics = metrics();
    metrics.set_sk_msg_enabled(true);
    metrics.set_same_node_bypass_enabled(true);
    metrics.set_pods(&[("enrolled", 2), ("waiting", 1)], 3);
    metrics.set_watch("pods", true, 0);
    for direction in Direction::ALL {
        let connection = open(&metrics, direction, "shop", "10.1.2.3:80");
        connection.server_connected();
        connection.detected("http/1", "client-bytes");
        ask(&mut connection.http());
        connection.close(CloseReason::Eof, Duration::from_millis(3));
    }
    metrics
}

/// The names in backticks of a line.
fn names(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn the_series_that_linkerd_s_dashboards_ask_for_are_there() {
    let text = everything().encode().unwrap();
    let (_, holds) = METRICS_MD.split_once("<!-- holds:begin -->").unwrap();
    let (holds, _) = holds.split_once("<!-- holds:end -->").unwrap();
    let rows: Vec<_> = holds.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() >= 9);
    for name in rows.iter().flat_map(|row| names(row.split('|').nth(1).unwrap())) {
        let shown = text.lines().any(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        });
        assert!(shown, "{name} is not there");
    }
}

#[test]
fn the_failures_of_a_watch_are_counted_up_to_what_it_says() {
    let metrics = metrics();
    for (is_synced, failures) in [(false, 0), (false, 3), (false, 3), (true, 4)] {
        metrics.set_watch("pods", is_synced, failures);
        metrics.set_watch("services", true, 1);
    }
    let of = |name, resource| value(&metrics, name, &[resource]);
    assert_eq!(of("sluice_kubernetes_watch_synced", r#"resource="pods""#), Some(1.0));
    assert_eq!(of("sluice_kubernetes_watch_failures_total", r#"resource="pods""#), Some(4.0));
    assert_eq!(of("sluice_kubernetes_watch_failures_total", r#"resource="services""#), Some(1.0));
}

#[test]
fn every_family_is_documented() {
    let text = everything().encode().unwrap();
    let documented: Vec<_> =
        METRICS_MD.lines().filter(|line| line.starts_with("| `")).flat_map(names).collect();
    for family in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = family.split_once(' ').unwrap();
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let directed = name.strip_prefix("outbound_").or(name.strip_prefix("inbound_"));
        let name = match directed {
            Some(rest) => format!("{{outbound,inbound}}_{rest}{suffix}"),
            None => format!("{name}{suffix}"),
        };
        assert!(documented.contains(&&*name), "{name} is not in docs/metrics.md");
    }
}

#[test]
fn the_names_and_types_are_the_documented_ones() {
    let text = everything().encode().unwrap();
    let types: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(
        types,
        [
            "tcp_open counter",
            "tcp_open_connections gauge",
            "tcp_close counter",
            "tcp_read_bytes counter",
            "tcp_write_bytes counter",
            "tcp_connection_duration_ms histogram",
            "request counter",
            "response counter",
            "response_latency_ms histogram",
            "sluice_hook_outcomes counter",
            "process_start_time_seconds gauge",
            "process_cpu_seconds counter",
            "process_open_fds gauge",
            "process_resident_memory_bytes gauge",
            "outbound_tcp_detect_http_results counter",
            "outbound_tcp_protocol_connections counter",
            "outbound_http_requests counter",
            "outbound_http_statuses counter",
            "outbound_http_request_duration_seconds histogram",
            "outbound_http_response_duration_seconds histogram",
            "outbound_grpc_requests counter",
            "outbound_grpc_statuses counter",
            "outbound_grpc_request_duration_seconds histogram",
            "outbound_grpc_response_duration_seconds histogram",
            "inbound_tcp_detect_http_results counter",
            "inbound_tcp_protocol_connections counter",
            "inbound_http_requests counter",
            "inbound_http_statuses counter",
            "inbound_http_request_duration_seconds histogram",
            "inbound_http_response_duration_seconds histogram",
            "inbound_grpc_requests counter",
            "inbound_grpc_statuses counter",
            "inbound_grpc_request_duration_seconds histogram",
            "inbound_grpc_response_duration_seconds histogram",
            "sluice_connection_close counter",
            "sluice_http_upgrades counter",
            "sluice_http_lost counter",
            "sluice_http_lost_requests counter",
            "sluice_config_last_reload_successful gauge",
            "sluice_config_reload_errors counter",
            "sluice_sk_msg_enabled gauge",
            "sluice_same_node_bypass_enabled gauge",
            "sluice_learned_destinations gauge",
            "sluice_pods gauge",
            "sluice_annotation_problems gauge",
            "sluice_kubernetes_watch_synced gauge",
            "sluice_kubernetes_watch_failures counter",
            "sluice_build info",
        ]
    );
    let version = env!("CARGO_PKG_VERSION");
    assert!(text.contains(&format!("sluice_build_info{{version=\"{version}\"}} 1\n")));
    assert!(text.contains("\nsluice_sk_msg_enabled 1\n"));
    assert!(text.ends_with("# EOF\n"));
}
