//! The admin address tells of requests and responses what a dashboard for Linkerd asks, while they pass.

use std::net::SocketAddr;

use sluice_tests::dialogue::Dialogue;
use sluice_tests::http::{self, Samples};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("http_metrics");
    group.of_the_proxy_alone();
    group.sluice(tests![
        responses_are_counted_by_status_and_class,
        a_request_is_counted_before_its_response,
        a_response_that_is_cut_is_a_failure,
        a_stream_that_its_client_leaves_is_no_failure,
        a_request_that_its_client_gives_up_is_no_response,
        latency_and_durations_are_observed,
        requests_are_counted_by_authority,
        upgrades_are_counted,
        grpc_calls_are_counted_by_status,
        a_grpc_response_without_a_status_is_a_failure,
    ]);
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";

/// A dialogue, and where its metrics are.
fn begin(env: &Env) -> (Dialogue, SocketAddr) {
    let admin = SocketAddr::from(([127, 0, 0, 1], http::free_port()));
    (Dialogue::begin_with(env, &[("--admin", admin.to_string())]), admin)
}

/// Waits until a metric, summed over the series with these labels, is so much.
fn shows(admin: SocketAddr, name: &str, labels: &[(&str, &str)], expected: f64) {
    wait::eventually(&format!("{name} {labels:?} to be {expected}"), || {
        ((Samples::of(admin).sum(name, labels) - expected).abs() < 0.5).then_some(())
    });
}

fn ask(dialogue: &mut Dialogue, status: &str) {
    dialogue.client("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    dialogue.server(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
}

fn responses_are_counted_by_status_and_class(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    for status in ["200 OK", "200 OK", "404 Not Found", "500 Broken", "503 Away", "302 Found"] {
        ask(&mut dialogue, status);
    }
    for (status, class, count) in [
        ("200", "success", 2.0),
        ("302", "success", 1.0),
        ("404", "success", 1.0),
        ("500", "failure", 1.0),
        ("503", "failure", 1.0),
    ] {
        let labels = [("status_code", status), ("classification", class), ("direction", "outbound")];
        shows(admin, "response_total", &labels, count);
    }
    shows(admin, "response_total", &[], 6.0);
    shows(admin, "request_total", &[("direction", "outbound")], 6.0);
    shows(admin, "outbound_http_requests_total", &[("method", "GET"), ("version", "HTTP/1.1")], 6.0);
    shows(admin, "outbound_http_statuses_total", &[("http_status", "404")], 1.0);
    let _outcome = dialogue.finish();
}

fn a_request_is_counted_before_its_response(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    dialogue.client("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    shows(admin, "request_total", &[], 1.0);
    shows(admin, "response_total", &[], 0.0);
    dialogue.server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    dialogue.server("ok");
    shows(admin, "response_total", &[("classification", "success")], 1.0);
    let _outcome = dialogue.finish();
}

fn a_response_that_is_cut_is_a_failure(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    dialogue.client("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    dialogue.server("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf");
    dialogue.server_fin();
    dialogue.client_fin();
    shows(admin, "response_total", &[("status_code", "200"), ("classification", "failure")], 1.0);
    shows(admin, "response_total", &[], 1.0);
    let _outcome = dialogue.finish();
}

/// As a browser does with server-sent events.
fn a_stream_that_its_client_leaves_is_no_failure(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    dialogue.client("GET /events HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    dialogue.server("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
    dialogue.client_fin();
    dialogue.server_fin();
    shows(admin, "response_total", &[("status_code", "200"), ("classification", "success")], 1.0);
    shows(admin, "response_total", &[], 1.0);
    let _outcome = dialogue.finish();
}

/// As a client does whose patience is over; nginx calls it 499.
fn a_request_that_its_client_gives_up_is_no_response(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    dialogue.client("GET /slow HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    dialogue.client_fin();
    dialogue.server_fin();
    shows(admin, "outbound_http_statuses_total", &[("http_status", ""), ("error", "CANCEL")], 1.0);
    shows(admin, "response_total", &[], 0.0);
    let _outcome = dialogue.finish();
}

fn latency_and_durations_are_observed(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    for _ in 0..3 {
        ask(&mut dialogue, "200 OK");
    }
    for name in [
        "response_latency_ms_count",
        "outbound_http_request_duration_seconds_count",
        "outbound_http_response_duration_seconds_count",
    ] {
        shows(admin, name, &[], 3.0);
    }
    for bucket in ["1.0", "50000.0", "+Inf"] {
        let samples = Samples::of(admin);
        assert!(samples.sum("response_latency_ms_bucket", &[("le", bucket)]) <= 3.0, "{samples:?}");
    }
    shows(admin, "response_latency_ms_bucket", &[("le", "+Inf")], 3.0);
    let _outcome = dialogue.finish();
}

fn requests_are_counted_by_authority(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    for host in ["shop.test", "SHOP.test", "pay.test:8080"] {
        dialogue.client(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        dialogue.server("HTTP/1.1 204 No Content\r\n\r\n");
    }
    shows(admin, "request_total", &[("authority", "shop.test")], 2.0);
    shows(admin, "request_total", &[("authority", "pay.test:8080")], 1.0);
    let _outcome = dialogue.finish();
}

fn upgrades_are_counted(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    dialogue.client("GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    dialogue.server("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    shows(admin, "sluice_http_upgrades_total", &[("protocol", "websocket")], 1.0);
    shows(admin, "response_total", &[("status_code", "101"), ("classification", "success")], 1.0);
    let _outcome = dialogue.finish();
}

/// A literal header without indexing, its name and value as they are.
fn header(name: &str, value: &str) -> Vec<u8> {
    let len = |text: &str| u8::try_from(text.len()).expect("short");
    [&[0, len(name)], name.as_bytes(), &[len(value)], value.as_bytes()].concat()
}

/// A HEADERS frame with END_HEADERS.
fn headers(stream: u8, end_stream: bool, block: &[u8]) -> Vec<u8> {
    let len = u8::try_from(block.len()).expect("short");
    [&[0, 0, len, 1, 4 | u8::from(end_stream), 0, 0, 0, stream], block].concat()
}

/// POST, http, a path, and gRPC's content type; with its end.
fn call(stream: u8, method: &str) -> Vec<u8> {
    let path = header(":path", method);
    let block = [&[0x83, 0x86][..], &path, &header("content-type", "application/grpc")].concat();
    headers(stream, true, &block)
}

/// 200, and gRPC's content type.
fn answer() -> Vec<u8> {
    [&[0x88][..], &header("content-type", "application/grpc")].concat()
}

fn grpc_calls_are_counted_by_status(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    dialogue.client(PREFACE);
    dialogue.server(SETTINGS);
    for (stream, code) in [(1, "0"), (3, "0"), (5, "5"), (7, "14")] {
        dialogue.client(call(stream, "/shop.v1.Orders/Get"));
        dialogue.server(headers(stream, false, &answer()));
        dialogue.server(headers(stream, true, &header("grpc-status", code)));
    }
    // Trailers alone.
    dialogue.client(call(9, "/shop.v1.Orders/Missing"));
    dialogue.server(headers(9, true, &[answer(), header("grpc-status", "12")].concat()));
    for (code, class, count) in
        [("0", "success", 2.0), ("5", "success", 1.0), ("12", "success", 1.0), ("14", "failure", 1.0)]
    {
        let labels = [("grpc_status", code), ("classification", class), ("status_code", "200")];
        shows(admin, "response_total", &labels, count);
    }
    shows(admin, "outbound_grpc_requests_total", &[], 5.0);
    shows(admin, "outbound_grpc_statuses_total", &[("grpc_status", "14")], 1.0);
    shows(admin, "outbound_grpc_request_duration_seconds_count", &[], 5.0);
    let _outcome = dialogue.finish();
}

/// Linkerd calls it a success.
fn a_grpc_response_without_a_status_is_a_failure(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    dialogue.client(PREFACE);
    dialogue.server(SETTINGS);
    dialogue.client(call(1, "/shop.v1.Orders/Get"));
    dialogue.server(headers(1, true, &answer()));
    shows(admin, "response_total", &[("classification", "failure"), ("grpc_status", "")], 1.0);
    shows(admin, "response_total", &[], 1.0);
    let _outcome = dialogue.finish();
}
