//! What HTTP cannot be followed any further is forwarded all the same, and counted by reason.

use std::net::SocketAddr;

use sluice_tests::dialogue::Dialogue;
use sluice_tests::http::{self, Samples};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("http_lost");
    group.of_the_proxy_alone();
    group.sluice(tests![
        malformed_http1_is_forwarded_and_counted,
        malformed_http2_is_forwarded_and_counted,
        malformed_hpack_is_forwarded_and_counted,
        a_head_over_the_limit_is_forwarded_and_counted,
        a_header_block_over_the_limit_is_forwarded_and_counted,
        too_many_pipelined_requests_are_forwarded_and_counted,
        an_unasked_response_is_forwarded_and_counted,
        what_was_counted_before_stays_counted,
        witnesses_lose_no_pipelined_request,
        more_streams_than_are_kept_are_counted_and_lose_no_connection,
    ]);
}

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";

/// A dialogue, and where its metrics are.
fn begin(env: &Env) -> (Dialogue, SocketAddr) {
    let admin = SocketAddr::from(([127, 0, 0, 1], http::free_port()));
    (Dialogue::begin_with(env, &[("--admin", admin.to_string())]), admin)
}

/// After this, bytes still travel; the metrics tell the reason once, and the report as well.
fn is_lost(mut dialogue: Dialogue, admin: SocketAddr, why: &str) {
    dialogue.client(REQUEST);
    dialogue.server(RESPONSE);
    dialogue.client([0, 255, 13, 10, 13, 10]);
    dialogue.server([0, 255, 13, 10, 13, 10]);
    wait::eventually(&format!("sluice_http_lost_total of {why} to be 1"), || {
        let samples = Samples::of(admin);
        let all = samples.sum("sluice_http_lost_total", &[]);
        let of_why = samples.sum("sluice_http_lost_total", &[("reason", why)]);
        ((all - 1.0).abs() < 0.5 && (of_why - 1.0).abs() < 0.5).then_some(())
    });
    dialogue.client_fin();
    dialogue.server_fin();
    let outcome = dialogue.finish();
    assert_eq!(outcome.only_connection().text("lost"), Some(why));
    assert_eq!(outcome.only_connection().text("close"), Some("eof"));
}

fn malformed_http1_is_forwarded_and_counted(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    dialogue.client(REQUEST);
    dialogue.server(RESPONSE);
    dialogue.client("\0 no request \u{1}\r\n\r\n");
    is_lost(dialogue, admin, "malformed-http1");
}

fn malformed_http2_is_forwarded_and_counted(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    dialogue.client(PREFACE);
    dialogue.server(SETTINGS);
    // DATA on stream 0.
    dialogue.client(b"\0\0\x01\0\0\0\0\0\0x");
    is_lost(dialogue, admin, "malformed-http2");
}

fn malformed_hpack_is_forwarded_and_counted(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    dialogue.client(PREFACE);
    dialogue.server(SETTINGS);
    // HEADERS with an index that no table has.
    dialogue.client(b"\0\0\x03\x01\x05\0\0\0\x01\xff\xff\x7f");
    is_lost(dialogue, admin, "malformed-hpack");
}

fn a_head_over_the_limit_is_forwarded_and_counted(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    dialogue.client("GET / HTTP/1.1\r\nHost: shop.test\r\n");
    for number in 0..300 {
        dialogue.client(format!("X-{number}: {}\r\n", "a".repeat(1000)));
    }
    dialogue.client("\r\n");
    is_lost(dialogue, admin, "head-too-large");
}

fn a_header_block_over_the_limit_is_forwarded_and_counted(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    dialogue.client(PREFACE);
    dialogue.server(SETTINGS);
    // :method, :scheme and :path, without END_HEADERS; then CONTINUATION frames of one literal each.
    dialogue.client(b"\0\0\x03\x01\x01\0\0\0\x01\x82\x86\x84");
    for _ in 0..80 {
        let mut frame = vec![0, 0x0f, 0xa6, 9, 0, 0, 0, 0, 1];
        // Name "x", and a value of 4000 bytes: 127 and 3873 more, in groups of seven bits.
        frame.extend([0x00, 1, b'x', 127, 0xa1, 0x1e]);
        frame.extend([b'a'; 4000]);
        dialogue.client(frame);
    }
    is_lost(dialogue, admin, "head-too-large");
}

fn too_many_pipelined_requests_are_forwarded_and_counted(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    for _ in 0..20 {
        dialogue.client(REQUEST.repeat(100));
    }
    is_lost(dialogue, admin, "too-many-requests");
}

fn an_unasked_response_is_forwarded_and_counted(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    dialogue.client(REQUEST);
    dialogue.server(RESPONSE);
    dialogue.server(RESPONSE);
    is_lost(dialogue, admin, "unasked-response");
}

fn what_was_counted_before_stays_counted(env: &Env) {
    let (mut dialogue, admin) = begin(env);
    for _ in 0..3 {
        dialogue.client(REQUEST);
        dialogue.server(RESPONSE);
    }
    dialogue.client("\0\r\n\r\n");
    dialogue.client(REQUEST);
    dialogue.server(RESPONSE);
    wait::eventually("three responses to be counted", || {
        let samples = Samples::of(admin);
        let responses =
            samples.sum("response_total", &[("status_code", "200"), ("classification", "success")]);
        let requests = samples.sum("request_total", &[]);
        ((responses - 3.0).abs() < 0.5 && (requests - 3.0).abs() < 0.5).then_some(())
    });
    let outcome = dialogue.finish();
    let connection = outcome.only_connection();
    assert_eq!(connection.number("requests"), 3, "{connection:?}");
    assert_eq!(connection.counts("statuses").get("200"), Some(&3), "{connection:?}");
    assert_eq!(connection.text("lost"), Some("malformed-http1"), "{connection:?}");
}

/// Whoever wants to know targets and traces must not make a difference to what is followed.
fn witnesses_lose_no_pipelined_request(env: &Env) {
    const COUNT: usize = 60;
    // Nobody takes the spans: that there is a collector is enough for targets and traces to be kept.
    let collector = format!("http://127.0.0.1:{}", http::free_port());
    let mut dialogue = Dialogue::begin_with(env, &[("--otlp-endpoint", collector)]);
    let request = format!("GET /{} HTTP/1.1\r\nHost: shop.test\r\n\r\n", "long".repeat(60));
    dialogue.client(request.repeat(COUNT));
    dialogue.server(RESPONSE.repeat(COUNT));
    let outcome = dialogue.finish();
    let connection = outcome.only_connection();
    assert_eq!(connection.text("lost"), None, "{connection:?}");
    assert_eq!(connection.number("requests"), COUNT as u64, "{connection:?}");
    assert_eq!(connection.counts("statuses").get("200"), Some(&(COUNT as u64)), "{connection:?}");
}

fn more_streams_than_are_kept_are_counted_and_lose_no_connection(env: &Env) {
    const STREAMS: u32 = 400;
    let headers = |stream: u32, block: &[u8]| {
        let length = u8::try_from(block.len()).expect("a short block");
        [&[0, 0, length, 1, 5], &stream.to_be_bytes()[..], block].concat()
    };
    let (mut dialogue, admin) = begin(env);
    dialogue.client(PREFACE);
    dialogue.server(SETTINGS);
    let ids = (0..STREAMS).map(|at| 2 * at + 1);
    let requests: Vec<u8> = ids.clone().flat_map(|id| headers(id, &[0x82, 0x86, 0x84])).collect();
    dialogue.client(requests);
    let responses: Vec<u8> = ids.flat_map(|id| headers(id, &[0x88])).collect();
    dialogue.server(responses);
    dialogue.client(headers(2 * STREAMS + 1, &[0x82, 0x86, 0x84]));
    dialogue.server(headers(2 * STREAMS + 1, &[0x8d]));
    wait::eventually("all requests to be counted", || {
        let samples = Samples::of(admin);
        let lost = samples.sum("sluice_http_lost_requests_total", &[("reason", "too-many-requests")]);
        let answered = samples.sum("response_total", &[("status_code", "200")]);
        let last = samples.sum("response_total", &[("status_code", "404")]);
        let is_all = (lost + answered - f64::from(STREAMS)).abs() < 0.5 && (last - 1.0).abs() < 0.5;
        (is_all && lost > 0.5 && answered > 99.5).then_some(())
    });
    let lost = Samples::of(admin).sum("sluice_http_lost_total", &[]);
    assert!(lost < 0.5, "{lost} connections are lost");
    let outcome = dialogue.finish();
    let connection = outcome.only_connection();
    assert_eq!(connection.text("lost"), None, "{connection:?}");
    assert_eq!(connection.number("requests"), u64::from(STREAMS) + 1, "{connection:?}");
}
