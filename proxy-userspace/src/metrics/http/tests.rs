//! What a scrape shows of requests, and what it costs to count them.

use std::{sync::Arc, time::Duration};

use proxy_common::Direction::{self, Inbound, Outbound};

use super::{super::Metrics, *};
use crate::observe::{End, Exchange, Kind, Lost, Method, Request, Version};

fn metrics() -> Metrics {
    Metrics::new(Vec::new)
}

fn http(metrics: &Metrics, direction: Direction, target: &str) -> HttpMetrics {
    metrics.open(direction, &"shop".into(), target.parse().unwrap()).http()
}

fn request(authority: &str) -> Request {
    Request {
        version: Version::Http11,
        method: Method::Get,
        kind: Kind::Http,
        authority: Some(authority.into()),
        target: None,
        trace: None,
    }
}

fn call(authority: &str) -> Request {
    Request { version: Version::Http2, method: Method::Post, kind: Kind::Grpc, ..request(authority) }
}

/// A complete exchange: the request took 10 ms, the head of the response came after 20, its end after 400.
fn exchange(request: &Request, status: u16) -> Exchange<'_> {
    let began = std::time::Instant::now();
    let after = |ms| began + Duration::from_millis(ms);
    Exchange {
        request,
        began,
        request_ended: Some(after(10)),
        response_began: Some(after(20)),
        ended: after(400),
        status: Some(status),
        grpc_status: None,
        response_bytes: 3,
        end: End::Complete,
    }
}

/// The series of `name`, as lines.
fn series(metrics: &Metrics, name: &str) -> Vec<String> {
    let text = metrics.encode().unwrap();
    text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).map(str::to_owned).collect()
}

/// The value of the one series of `name` whose labels contain all of `labels`.
fn value(metrics: &Metrics, name: &str, labels: &[&str]) -> Option<f64> {
    let mut found = series(metrics, name);
    found.retain(|line| labels.iter().all(|label| line.contains(label)));
    assert!(found.len() <= 1, "{name} with {labels:?} is not unique: {found:?}");
    Some(found.first()?.rsplit_once(' ').unwrap().1.parse().unwrap())
}

#[test]
fn a_request_and_its_response_show_under_linkerd_s_names_and_labels() {
    let metrics = metrics();
    let mut http = http(&metrics, Outbound, "10.1.2.3:80");
    let request = request("Web.Shop:80");
    http.request(&request);
    http.exchange(&exchange(&request, 503));
    let labels = r#"{direction="outbound",workload="shop",target_addr="10.1.2.3:80",target_ip="10.1.2.3",target_port="80",authority="web.shop:80""#;
    let text = metrics.encode().unwrap();
    for line in [
        format!("request_total{labels}}} 1"),
        format!(
            r#"response_total{labels},status_code="503",classification="failure",grpc_status="",error=""}} 1"#
        ),
        format!(r#"response_latency_ms_bucket{{le="10.0",{},status_code="503"}} 0"#, &labels[1..]),
        format!(r#"response_latency_ms_bucket{{le="20.0",{},status_code="503"}} 1"#, &labels[1..]),
        r#"outbound_http_requests_total{workload="shop",method="GET",version="HTTP/1.1"} 1"#.into(),
        r#"outbound_http_statuses_total{workload="shop",http_status="503",error=""} 1"#.into(),
        r#"outbound_http_request_duration_seconds_bucket{le="0.05",workload="shop"} 0"#.into(),
        r#"outbound_http_request_duration_seconds_bucket{le="0.5",workload="shop"} 1"#.into(),
        r#"outbound_http_request_duration_seconds_sum{workload="shop"} 0.4"#.into(),
        r#"outbound_http_response_duration_seconds_sum{workload="shop"} 0.39"#.into(),
    ] {
        assert!(text.lines().any(|shown| shown == line), "no {line} in\n{text}");
    }
}

#[test]
fn a_grpc_call_is_counted_by_its_own_status_and_in_families_of_its_own() {
    let metrics = metrics();
    let mut http = http(&metrics, Inbound, "10.1.2.3:80");
    let call = call("api");
    for grpc_status in [Some(0), Some(14), None, Some(99)] {
        http.request(&call);
        http.exchange(&Exchange { grpc_status, ..exchange(&call, 200) });
    }
    let response = |status, class| value(&metrics, "response_total", &[status, class]);
    assert_eq!(response(r#"grpc_status="0""#, "success"), Some(1.0));
    assert_eq!(response(r#"grpc_status="14""#, "failure"), Some(1.0));
    assert_eq!(response(r#"grpc_status="""#, "failure"), Some(1.0));
    assert_eq!(response(r#"grpc_status="other""#, "failure"), Some(1.0));
    assert_eq!(value(&metrics, "inbound_grpc_requests_total", &[]), Some(4.0));
    assert_eq!(value(&metrics, "inbound_grpc_statuses_total", &[r#"grpc_status="14""#]), Some(1.0));
    assert_eq!(value(&metrics, "inbound_grpc_response_duration_seconds_count", &[]), Some(4.0));
    assert_eq!(value(&metrics, "response_latency_ms_count", &[]), Some(4.0));
    assert_eq!(series(&metrics, "inbound_http_requests_total"), [""; 0]);
}

#[test]
fn a_request_that_the_client_gave_up_is_no_response_but_has_a_status_line_of_its_own() {
    let metrics = metrics();
    let mut http = http(&metrics, Outbound, "10.1.2.3:80");
    let request = request("web");
    http.request(&request);
    http.exchange(&Exchange {
        status: None,
        response_began: None,
        request_ended: None,
        end: End::ClientReset,
        ..exchange(&request, 0)
    });
    assert_eq!(value(&metrics, "request_total", &[]), Some(1.0));
    assert_eq!(series(&metrics, "response_total"), [""; 0]);
    assert_eq!(series(&metrics, "response_latency_ms_count"), [""; 0]);
    let labels = [r#"http_status="""#, r#"error="CANCEL""#];
    assert_eq!(value(&metrics, "outbound_http_statuses_total", &labels), Some(1.0));
    assert_eq!(value(&metrics, "outbound_http_response_duration_seconds_sum", &[]), Some(0.0));
}

#[test]
fn what_was_cut_is_a_failure_that_says_how() {
    let metrics = metrics();
    let mut http = http(&metrics, Outbound, "10.1.2.3:80");
    let request = request("web");
    for (end, error) in [(End::ServerReset, "RESET"), (End::Cut, "IO")] {
        http.exchange(&Exchange { end, ..exchange(&request, 200) });
        let error = format!(r#"error="{error}""#);
        let labels = [r#"status_code="200",classification="failure""#, &error];
        assert_eq!(value(&metrics, "response_total", &labels), Some(1.0));
    }
}

#[test]
fn upgrades_are_a_closed_set_and_what_is_lost_counts_its_open_requests() {
    let metrics = metrics();
    let http = http(&metrics, Outbound, "10.1.2.3:80");
    for to in ["websocket", "connect", "h2c", "irc/6.9", "tls/1.0"] {
        http.upgraded(to);
    }
    let upgrades = |protocol| value(&metrics, "sluice_http_upgrades_total", &[protocol]);
    assert_eq!(upgrades(r#"protocol="websocket""#), Some(1.0));
    assert_eq!(upgrades(r#"protocol="connect""#), Some(1.0));
    assert_eq!(upgrades(r#"protocol="h2c""#), Some(1.0));
    assert_eq!(upgrades(r#"protocol="other""#), Some(2.0));
    http.lost(Lost::HeadTooLarge, 3);
    http.lost(Lost::HeadTooLarge, 0);
    http.untracked(Lost::TooManyRequests);
    let labels = [r#"direction="outbound",workload="shop",reason="head-too-large""#];
    assert_eq!(value(&metrics, "sluice_http_lost_total", &labels), Some(2.0));
    assert_eq!(value(&metrics, "sluice_http_lost_requests_total", &labels), Some(3.0));
    let labels = [r#"reason="too-many-requests""#];
    assert_eq!(value(&metrics, "sluice_http_lost_total", &labels), None);
    assert_eq!(value(&metrics, "sluice_http_lost_requests_total", &labels), Some(1.0));
}

#[test]
fn a_target_s_authorities_beyond_the_bound_share_the_overflow_series() {
    let metrics = metrics();
    let mut first = http(&metrics, Outbound, "10.1.2.3:80");
    for index in 0..MAX_AUTHORITIES_OF_TARGET + 5 {
        first.request(&request(&format!("host-{index}")));
    }
    // A name that a client could send is not the one that has no bound.
    first.request(&request("overflow"));
    let mut second = http(&metrics, Outbound, "10.1.2.3:80");
    second.request(&request("host-0"));
    second.request(&request("HOST-1"));
    second.request(&request("host-99"));
    let requests = |authority| value(&metrics, "request_total", &[authority]);
    assert_eq!(series(&metrics, "request_total").len(), MAX_AUTHORITIES_OF_TARGET + 1);
    assert_eq!(requests(r#"authority="overflow""#), Some(7.0));
    assert_eq!(requests(r#"authority="host-0""#), Some(2.0));
    assert_eq!(requests(r#"authority="host-1""#), Some(2.0));
    http(&metrics, Outbound, "10.1.2.4:80").request(&request("host-99"));
    assert_eq!(requests(r#"authority="host-99""#), Some(1.0));
}

#[test]
fn authorities_of_all_targets_together_are_bounded() {
    let metrics = metrics();
    for port in 1..=100 {
        let mut http = http(&metrics, Outbound, &format!("10.1.2.3:{port}"));
        for index in 0..MAX_AUTHORITIES_OF_TARGET {
            http.request(&request(&format!("host-{index}")));
        }
    }
    let shown = series(&metrics, "request_total");
    let named = shown.iter().filter(|line| !line.contains(r#"authority="overflow""#)).count();
    assert_eq!(named, MAX_AUTHORITIES);
    assert!(shown.len() <= MAX_AUTHORITIES + 100);
    // The other direction has a bound of its own.
    http(&metrics, Inbound, "10.1.2.3:99").request(&request("host-0"));
    let inbound = [r#"direction="inbound""#, r#"authority="host-0""#];
    assert_eq!(value(&metrics, "request_total", &inbound), Some(1.0));
}

#[test]
fn an_authority_s_statuses_beyond_the_bound_keep_their_class_alone() {
    let metrics = metrics();
    let mut http = http(&metrics, Outbound, "10.1.2.3:80");
    let request = request("web");
    for status in 400..600 {
        for _ in 0..2 {
            http.exchange(&exchange(&request, status));
        }
    }
    assert_eq!(series(&metrics, "response_total").len(), MAX_RESPONSES_OF_AUTHORITY + 2);
    assert_eq!(series(&metrics, "outbound_http_statuses_total").len(), MAX_RESPONSES_OF_AUTHORITY + 1);
    let overflow = |class| value(&metrics, "response_total", &[r#"status_code="overflow""#, class]);
    assert_eq!(overflow(r#"classification="failure""#), Some(200.0));
    assert_eq!(
        overflow(r#"classification="success""#),
        Some(2.0 * (100 - MAX_RESPONSES_OF_AUTHORITY) as f64)
    );
    let latency = r#"target_addr="overflow",target_ip="overflow",target_port="overflow",authority="overflow",status_code="overflow""#;
    assert_eq!(
        value(&metrics, "response_latency_ms_count", &[latency]),
        Some(2.0 * (200 - MAX_RESPONSES_OF_AUTHORITY) as f64)
    );
}

#[test]
fn every_status_of_grpc_keeps_its_labels_whatever_else_a_server_says() {
    let metrics = metrics();
    let mut http = http(&metrics, Outbound, "10.1.2.3:80");
    let call = call("web");
    let answers = (100..200).chain(0..=16);
    for grpc_status in answers.map(Some).chain([None]) {
        http.exchange(&Exchange { grpc_status, ..exchange(&call, 200) });
    }
    let statuses = |name, status: &str| value(&metrics, name, &[&format!(r#"grpc_status="{status}""#)]);
    for name in ["response_total", "outbound_grpc_statuses_total"] {
        assert_eq!(statuses(name, "other"), Some(100.0));
        assert_eq!(statuses(name, ""), Some(1.0));
        for status in 0..=16 {
            assert_eq!(statuses(name, &status.to_string()), Some(1.0), "{name} {status}");
        }
    }
    // Beyond the bound there is no place left, but for what has few values.
    for status in 200..300 {
        http.exchange(&Exchange { grpc_status: Some(5), ..exchange(&call, status) });
    }
    assert_eq!(statuses("outbound_grpc_statuses_total", "5"), Some(101.0));
    assert_eq!(series(&metrics, "outbound_grpc_statuses_total").len(), 19);
}

#[test]
fn latency_histograms_are_bounded_and_nothing_is_left_out_of_them() {
    let metrics = metrics();
    for port in 1..=100 {
        let mut http = http(&metrics, Outbound, &format!("10.1.2.3:{port}"));
        let request = request("web");
        for status in 200..210 {
            http.exchange(&exchange(&request, status));
        }
    }
    let counts = series(&metrics, "response_latency_ms_count");
    assert_eq!(counts.len(), MAX_LATENCIES + 1);
    let sum: f64 = counts.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
    assert_eq!(sum, 1_000.0);
    assert_eq!(series(&metrics, "response_total").len(), 1_000);
}

#[test]
fn what_exceeds_the_histograms_has_one_for_its_workload_up_to_a_bound() {
    let metrics = metrics();
    let request = request("web");
    for index in 0..MAX_LATENCIES + MAX_WORKLOAD_LATENCIES + 9 {
        let workload = format!("pod-{index}").into();
        let connection = metrics.open(Outbound, &workload, "10.1.2.3:80".parse().unwrap());
        connection.http().exchange(&exchange(&request, 200));
    }
    let counts = series(&metrics, "response_latency_ms_count");
    assert_eq!(counts.len(), MAX_LATENCIES + MAX_WORKLOAD_LATENCIES + 1);
    let others = [r#"workload="overflow""#, r#"authority="overflow""#];
    assert_eq!(value(&metrics, "response_latency_ms_count", &others), Some(9.0));
    let last = [r#"workload="pod-749""#, r#"target_addr="overflow""#];
    assert_eq!(value(&metrics, "response_latency_ms_count", &last), Some(1.0));
}

#[test]
fn a_connection_that_asks_many_counts_as_right_as_one_that_asks_one() {
    let metrics = metrics();
    let mut http = http(&metrics, Outbound, "10.1.2.3:80");
    for round in 0..3 {
        for index in 0..10 {
            let request = request(&format!("host-{index}"));
            http.request(&request);
            for status in 200..212 {
                http.exchange(&exchange(&request, status));
            }
            let labels = format!(r#"authority="host-{index}""#);
            assert_eq!(value(&metrics, "request_total", &[&labels]), Some(f64::from(round + 1)));
            let labels = [&labels, r#"status_code="211""#];
            assert_eq!(value(&metrics, "response_total", &labels), Some(f64::from(round + 1)));
        }
    }
}

/// As observers do: requests of a connection share the authority.
#[test]
fn a_request_like_the_one_before_it_resolves_nothing() {
    let metrics = metrics();
    let mut http = http(&metrics, Outbound, "10.1.2.3:80");
    let authority: Arc<str> = "web".into();
    let request = Request { authority: Some(Arc::clone(&authority)), ..request("") };
    for _ in 0..1_000 {
        http.request(&request);
        http.exchange(&exchange(&request, 200));
    }
    assert_eq!(http.resolved(), 3, "the method, the authority, the outcome");
    assert_eq!(value(&metrics, "response_total", &[]), Some(1_000.0));
}
