//! The cases that linkerd2-proxy tests for transparency (`linkerd/app/integration/src/tests`,
//! `transparency.rs`), under its names.
//!
//! Linkerd ends HTTP and begins it anew; its tests hold it to what it must not change then. Here
//! nothing is ended, and the promise is one: every byte arrives as it was sent
//! ([`sluice_tests::dialogue`] compares). Where Linkerd's promise is another, the test says so.

use std::net::SocketAddr;

use sluice_tests::dialogue::Dialogue;
use sluice_tests::exec::Outcome;
use sluice_tests::http;
use sluice_tests::netns::{Netns, Wire};
use sluice_tests::server::{ClosedPort, Server, behaviour};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::tests;

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("transparency");
    group.sluice(tests![loop_outbound_http1]);
    group.of_the_proxy_alone();
    group.both_lanes(tests![
        outbound_http1,
        outbound_tcp,
        outbound_tcp_external,
        outbound_opaque_tcp_server_first,
        tcp_connections_close_if_client_closes,
        http1_removes_connection_headers,
        http10_with_host,
        http10_without_host,
        http11_absolute_uri_differs_from_host,
        http11_upgrades,
        http11_upgrade_h2_stripped,
        http11_connect,
        http11_connect_headers_stripped,
        http11_connect_bad_requests,
        http1_request_with_body_content_length,
        http1_request_with_body_chunked,
        http1_requests_without_body_doesnt_add_transfer_encoding,
        http1_content_length_zero_is_preserved,
        http1_bodyless_responses,
        http1_head_responses,
        http1_response_end_of_file,
        http1_timeout,
        http1_one_connection_per_host,
        http1_requests_without_host_have_unique_connections,
        retry_reconnect_errors,
        http2_request_without_authority,
        http2_rst_stream_is_propagated,
    ]);
}

/// Plays one exchange that is HTTP/1, and compares what is told of it.
fn http1(env: &Env, request: impl AsRef<[u8]>, response: impl AsRef<[u8]>) -> Outcome {
    let mut dialogue = Dialogue::begin(env);
    dialogue.client(request);
    dialogue.server(response);
    dialogue.finish()
}

/// What the report tells: protocol, number of requests, statuses as `200x2 404`, upgrade.
fn tells(outcome: &Outcome, protocol: &str, requests: u64, statuses: &str, upgraded: Option<&str>) {
    outcome.report(|connections| {
        assert_eq!(connections.len(), 1, "{connections:?}");
        let connection = &connections[0];
        assert_eq!(connection.text("protocol"), Some(protocol), "{connection:?}");
        assert_eq!(connection.number("requests"), requests, "{connection:?}");
        let told: Vec<_> = connection
            .counts("statuses")
            .iter()
            .map(|(status, count)| if *count == 1 { status.clone() } else { format!("{status}x{count}") })
            .collect();
        assert_eq!(told.join(" "), statuses, "{connection:?}");
        assert_eq!(connection.text("upgraded"), upgraded, "{connection:?}");
        assert_eq!(connection.text("lost"), None, "{connection:?}");
    });
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn outbound_http1(env: &Env) {
    let outcome = http1(env, "GET / HTTP/1.1\r\nHost: transparency.test.svc.cluster.local\r\n\r\n", OK);
    tells(&outcome, "http/1", 1, "200", None);
}

fn outbound_tcp(env: &Env) {
    let mut dialogue = Dialogue::begin(env);
    dialogue.client("custom tcp hello\n");
    dialogue.server("custom tcp bye");
    tells(&dialogue.finish(), "opaque", 0, "", None);
}

/// Linkerd: a destination that its control plane does not know.
fn outbound_tcp_external(env: &Env) {
    let wire = Wire::new();
    let server = Server::bind_in(&wire.far, &format!("{}:0", wire.v4(2)), behaviour::echo);
    let steps = [format!("connect={}", server.addr()), "text=custom tcp hello\\n".into(), "recv=17".into()];
    let outcome = env.client(&steps).run_in(&wire.near).success();
    tells(&outcome, "opaque", 0, "", None);
}

/// Linkerd: on a port that is marked opaque. Here: on any.
fn outbound_opaque_tcp_server_first(env: &Env) {
    let mut dialogue = Dialogue::begin(env);
    dialogue.server("custom tcp server first\n");
    dialogue.client("custom tcp client second");
    tells(&dialogue.finish(), "opaque", 0, "", None);
}

fn tcp_connections_close_if_client_closes(env: &Env) {
    let mut dialogue = Dialogue::begin(env);
    dialogue.client("custom tcp hello\n");
    dialogue.server("custom tcp bye");
    dialogue.client_fin();
    dialogue.server_fin();
    tells(&dialogue.finish(), "opaque", 0, "", None);
}

/// Linkerd removes them. Here they stay: nobody but the two ends reads them.
fn http1_removes_connection_headers(env: &Env) {
    let outcome = http1(
        env,
        "GET / HTTP/1.1\r\nHost: shop.test\r\nX-Foo-Bar: foobar\r\nConnection: X-Foo-Bar\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX-Server-Quux: lorem\r\nConnection: close, X-Server-Quux\r\nContent-Length: 0\r\n\r\n",
    );
    tells(&outcome, "http/1", 1, "200", None);
}

fn http10_with_host(env: &Env) {
    let outcome = http1(
        env,
        "GET / HTTP/1.0\r\nHost: transparency.test.svc.cluster.local\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    );
    tells(&outcome, "http/1", 1, "200", None);
}

fn http10_without_host(env: &Env) {
    let outcome = http1(env, "GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n");
    tells(&outcome, "http/1", 1, "200", None);
}

fn http11_absolute_uri_differs_from_host(env: &Env) {
    let request = "GET http://transparency.test.svc.cluster.local/ HTTP/1.1\r\nHost: foo.bar\r\n\r\n";
    tells(&http1(env, request, OK), "http/1", 1, "200", None);
}

fn http11_upgrades(env: &Env) {
    let mut dialogue = Dialogue::begin(env);
    dialogue.client(
        "GET /chat HTTP/1.1\r\nHost: shop.test\r\nConnection: upgrade\r\nUpgrade: chat-protocol\r\n\r\n",
    );
    dialogue
        .server("HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat-protocol\r\nConnection: upgrade\r\n\r\n");
    dialogue.client("[chat-protocol] first message\r\n");
    dialogue.server("[chat-protocol] response\r\n");
    // It looks like HTTP, and is none any more.
    dialogue.client("GET / HTTP/1.1\r\n\r\n");
    tells(&dialogue.finish(), "http/1", 1, "101", Some("chat-protocol"));
}

/// Linkerd strips the wish. Here it passes, and the server may grant it or, as this one, not.
fn http11_upgrade_h2_stripped(env: &Env) {
    let outcome = http1(
        env,
        "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
        OK,
    );
    tells(&outcome, "http/1", 1, "200", None);
}

const CONNECT: &str = "CONNECT transparency.test.svc.cluster.local HTTP/1.1\r\nHost: shop.test\r\n\r\n";

fn connect(env: &Env, granted: &str) {
    let mut dialogue = Dialogue::begin(env);
    dialogue.client(CONNECT);
    dialogue.server(granted);
    dialogue.client("HELLO FROM CLIENT");
    dialogue.server("HELLO FROM SERVER");
    dialogue.client_fin();
    dialogue.server("AND GOODBYE");
    dialogue.server_fin();
    tells(&dialogue.finish(), "http/1", 1, "200", Some("connect"));
}

fn http11_connect(env: &Env) {
    connect(env, "HTTP/1.1 200 OK\r\n\r\n");
}

/// Linkerd removes the length. Here it stays, and the bytes after it are the tunnel's all the same.
fn http11_connect_headers_stripped(env: &Env) {
    connect(env, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

/// Linkerd answers them with 400 by itself. Here they are the server's to refuse.
fn http11_connect_bad_requests(env: &Env) {
    let requests = [
        "CONNECT / HTTP/1.1\r\nHost: shop.test\r\n\r\n",
        "CONNECT http://shop.test HTTP/1.1\r\nHost: shop.test\r\n\r\n",
        "CONNECT shop.test HTTP/1.0\r\nHost: shop.test\r\n\r\n",
        "GET shop.test HTTP/1.1\r\nHost: shop.test\r\n\r\n",
    ];
    for request in requests {
        let outcome = http1(env, request, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        tells(&outcome, "http/1", 1, "400", None);
    }
}

fn http1_request_with_body_content_length(env: &Env) {
    let outcome = http1(env, "POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\n\r\nhello", OK);
    tells(&outcome, "http/1", 1, "200", None);
}

fn http1_request_with_body_chunked(env: &Env) {
    let chunked = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let outcome = http1(
        env,
        format!("POST / HTTP/1.1\r\nHost: shop.test\r\n{chunked}"),
        format!("HTTP/1.1 200 OK\r\n{chunked}"),
    );
    tells(&outcome, "http/1", 1, "200", None);
}

fn http1_requests_without_body_doesnt_add_transfer_encoding(env: &Env) {
    let mut dialogue = Dialogue::begin(env);
    for method in ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"] {
        dialogue.client(format!("{method} / HTTP/1.1\r\nHost: shop.test\r\n\r\n"));
        dialogue.server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
    tells(&dialogue.finish(), "http/1", 7, "200x7", None);
}

fn http1_content_length_zero_is_preserved(env: &Env) {
    let mut dialogue = Dialogue::begin(env);
    for method in ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"] {
        dialogue.client(format!("{method} / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\n\r\n"));
        dialogue.server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
    tells(&dialogue.finish(), "http/1", 7, "200x7", None);
}

fn http1_bodyless_responses(env: &Env) {
    let mut dialogue = Dialogue::begin(env);
    for status in ["204 No Content", "304 Not Modified"] {
        dialogue.client("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
        dialogue.server(format!("HTTP/1.1 {status}\r\n\r\n"));
    }
    dialogue.client("HEAD / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    dialogue.server("HTTP/1.1 200 OK\r\n\r\n");
    dialogue.client("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    dialogue.server(OK);
    tells(&dialogue.finish(), "http/1", 4, "200x2 204 304", None);
}

fn http1_head_responses(env: &Env) {
    let mut dialogue = Dialogue::begin(env);
    dialogue.client("HEAD / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    dialogue.server("HTTP/1.1 200 OK\r\nContent-Length: 55\r\n\r\n");
    dialogue.client("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n");
    dialogue.server(OK);
    tells(&dialogue.finish(), "http/1", 2, "200x2", None);
}

fn http1_response_end_of_file(env: &Env) {
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        let mut dialogue = Dialogue::begin(env);
        dialogue.client(format!("GET / {version}\r\nHost: shop.test\r\n\r\n"));
        dialogue.server(format!("{version} 200 OK\r\n\r\nbody till eof"));
        dialogue.server_fin();
        tells(&dialogue.finish(), "http/1", 1, "200", None);
    }
}

/// Linkerd answers 502 for a server that is not there. Here the client learns what there is to learn:
/// its connection is reset before any byte.
fn http1_timeout(env: &Env) {
    let closed = ClosedPort::new();
    let request = "text=GET / HTTP/1.1\\r\\nHost: shop.test\\r\\n\\r\\n";
    let steps = [format!("connect={}", closed.addr()), request.into(), "recv-eof".into()];
    let outcome = env.client(&steps).run();
    assert_eq!(outcome.code(), Some(1), "{:?}", outcome.finished);
    assert!(outcome.lines("received").iter().all(|received| received.starts_with("0 ")), "no byte came");
    outcome.report(|connections| {
        assert_eq!(connections[0].number("requests"), 0, "{connections:?}");
        assert_eq!(connections[0].bytes().1, 0, "{connections:?}");
    });
}

/// Linkerd opens a connection per Host. Here a connection is the client's: what it sends on one stays
/// on one, whomever it asks.
fn http1_one_connection_per_host(env: &Env) {
    let mut dialogue = Dialogue::begin(env);
    for host in ["foo.bar", "foo.bar", "bar.foo", "foo.bar:80", "bar.foo"] {
        dialogue.client(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        dialogue.server(OK);
    }
    tells(&dialogue.finish(), "http/1", 5, "200x5", None);
}

/// As above, without a Host.
fn http1_requests_without_host_have_unique_connections(env: &Env) {
    let mut dialogue = Dialogue::begin(env);
    for _ in 0..2 {
        dialogue.client("GET / HTTP/1.1\r\nHost: \r\n\r\n");
        dialogue.server(OK);
        dialogue.client("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        dialogue.server(OK);
    }
    tells(&dialogue.finish(), "http/1", 4, "200x4", None);
}

/// Linkerd connects again until the server listens. Here the client that does so reaches it.
fn retry_reconnect_errors(env: &Env) {
    let addr = SocketAddr::from(([127, 0, 0, 1], http::free_port()));
    let script = format!(
        "\"$0\" peer client connect={addr} recv-eof >/dev/null; echo refused; read go; \
         exec \"$0\" peer client connect={addr} 'text=GET / HTTP/1.1\\r\\n\\r\\n' recv-line"
    );
    let program = std::env::current_exe().expect("the path of this program");
    let mut running = env.exec(&["sh", "-c", &script, program.to_str().expect("UTF-8")]).start();
    running.process.line("refused");
    let _server = Server::bind(&addr.to_string(), behaviour::http("hello"));
    running.process.say("go");
    let outcome = running.finish().success();
    assert_eq!(outcome.line("line"), "HTTP/1.1 200 OK");
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
/// GET, http, `/`: a whole request on stream 1.
const REQUEST: &[u8] = b"\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84";

fn http2_request_without_authority(env: &Env) {
    let mut dialogue = Dialogue::begin(env);
    dialogue.client(PREFACE);
    dialogue.server(SETTINGS);
    dialogue.client(REQUEST);
    // 200, without a body.
    dialogue.server(b"\0\0\x01\x01\x05\0\0\0\x01\x88");
    tells(&dialogue.finish(), "http/2", 1, "200", None);
}

fn http2_rst_stream_is_propagated(env: &Env) {
    let mut dialogue = Dialogue::begin(env);
    dialogue.client(PREFACE);
    dialogue.server(SETTINGS);
    dialogue.client(REQUEST);
    // ENHANCE_YOUR_CALM.
    dialogue.server(b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x0b");
    tells(&dialogue.finish(), "http/2", 1, "", None);
}

/// Linkerd, were its test not left out: 502. Here: what dials sluice's own listener is refused or
/// closed, and sluice goes on.
fn loop_outbound_http1(env: &Env) {
    let netns = Netns::new();
    let server = Server::bind_in(&netns, "127.0.0.1:0", behaviour::http("hello"));
    // All that listens there but the server is sluice.
    let program = std::env::current_exe().expect("the path of this program");
    let script = format!(
        "for port in $(sed -n 's/^ *[0-9]*: 0100007F:\\([0-9A-F]*\\) 00000000:0000 0A .*/\\1/p' /proc/net/tcp); do \
         port=$(printf %d 0x$port); [ $port = {own} ] && continue; \
         echo dialled $port; \"$0\" peer client connect=127.0.0.1:$port 'text=GET / HTTP/1.1\\r\\n\\r\\n' fin recv-eof >/dev/null; \
         done; exec \"$0\" peer client connect={addr} 'text=GET / HTTP/1.1\\r\\n\\r\\n' recv-line",
        own = server.port(),
        addr = server.addr(),
    );
    let command = ["sh", "-c", &script, program.to_str().expect("UTF-8")];
    let outcome = env.exec(&command).run_in(&netns).success();
    assert_eq!(outcome.line("line"), "HTTP/1.1 200 OK");
    assert!(!outcome.lines("dialled").is_empty(), "a listener of sluice was dialled");
}
