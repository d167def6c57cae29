//! What is told of HTTP is what the servers' own access logs tell: as many requests, and the same
//! statuses, to the last one.
//!
//! Each test is a pair of real programs. The client tells the status of each response that it got; the
//! server logs each that it gave; and the report has to agree with both.

mod clients;
mod grpc;
mod servers;
mod tunnels;

use std::collections::BTreeMap;

use sluice_tests::exec::Outcome;
use sluice_tests::scale::Scale;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

use self::clients::{Client, curl};
use self::servers::Server;
use crate::peers::program;

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("http_peers");
    if Scale::current() == Scale::Small {
        group.leave_out("third-party programs");
    }
    group.peers(tests![
        curl_and_nginx,
        curl_and_nginx_over_http10,
        curl_and_nginx_over_http2,
        curl_and_apache,
        curl_and_apache_upgrade_to_http2,
        curl_and_hypercorn_upgrade_to_http2,
        curl_and_haproxy,
        curl_and_haproxy_over_http2,
        curl_follows_redirects_of_node,
        curl_and_hypercorn_over_http2,
        nghttp_and_nginx,
        nghttp_and_apache_upgrade_to_http2,
        h2load_and_nghttpd,
        h2load_and_nginx_over_http1,
        http_client_and_http_server,
        http_client_and_http_server_over_http10,
        pipelined_requests_to_nginx,
        pipelined_requests_to_node,
        aiohttp_and_aiohttp,
        node_and_node,
        node_and_node_over_http2,
        node_and_hypercorn,
        java_and_apache,
        java_and_h2_upgrade_to_http2,
        java_and_hypercorn,
        go_and_go,
        go_and_haproxy,
    ]);
    grpc::register(&mut group);
    tunnels::register(&mut group);
}

/// One of everything: `METHOD:PATH`, and for a body how it is framed.
const ALL: &[&str] = &[
    "GET:/ok",
    "HEAD:/ok",
    "POST:/take:length",
    "POST:/take:chunked",
    "GET:/empty",
    "GET:/same",
    "GET:/moved",
    "GET:/absent",
    "HEAD:/absent",
    "GET:/broken",
    "GET:/stream",
    "GET:/ok",
];

/// The same, as far as HTTP/1.0 goes.
const ALL_OF_HTTP10: &[&str] = &[
    "GET:/ok",
    "HEAD:/ok",
    "POST:/take:length",
    "GET:/empty",
    "GET:/same",
    "GET:/moved",
    "GET:/absent",
    "GET:/broken",
    "GET:/stream",
];

/// One of everything that has no body.
fn without_bodies() -> Vec<&'static str> {
    ALL.iter().copied().filter(|item| !item.starts_with("POST")).collect()
}

/// Responses by status.
type Statuses = BTreeMap<String, u64>;

/// The statuses that one of everything is answered with.
fn expected(items: &[&str]) -> Statuses {
    count(items.iter().map(|item| {
        let path = item.split(':').nth(1).unwrap_or_default();
        match path {
            "/empty" => "204",
            "/moved" => "302",
            "/same" => "304",
            "/absent" => "404",
            "/broken" => "500",
            _ => "200",
        }
        .to_owned()
    }))
}

fn count(statuses: impl Iterator<Item = String>) -> Statuses {
    let mut counts = Statuses::new();
    for status in statuses {
        *counts.entry(status).or_default() += 1;
    }
    counts
}

/// Waits until the server has logged these responses: it may do so after the client has got them.
fn logged(server: &Server, expected: &Statuses) {
    let deadline = std::time::Instant::now() + wait::patience();
    loop {
        let logged = count(server.statuses().into_iter());
        if logged == *expected {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "the server logged {logged:?}, expected {expected:?}");
        // The interval of the poll.
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// The client got these, the server logged these, and the report tells of these, on connections that
/// are all of one protocol; gives how many connections there were.
fn agree(outcome: &Outcome, server: &Server, statuses: &Statuses, protocol: &str) {
    logged(server, statuses);
    outcome.report(|connections| {
        let mut told = Statuses::new();
        let mut requests = 0;
        for connection in connections {
            assert_eq!(connection.text("protocol"), Some(protocol), "{connection:?}");
            assert_eq!(connection.text("lost"), None, "{connection:?}");
            requests += connection.number("requests");
            for (status, count) in connection.counts("statuses") {
                *told.entry(status).or_default() += count;
            }
            if connection.number("requests") > 0 {
                let latency = connection.field("latency_ms");
                assert!(latency["p50"].is_number(), "{connection:?}");
                assert!(latency["max"].as_f64() >= latency["p50"].as_f64(), "{connection:?}");
            }
        }
        assert_eq!(told, *statuses, "{connections:?}");
        assert_eq!(requests, statuses.values().sum::<u64>(), "{connections:?}");
    });
}

/// Asks for all items, and compares what client, server and report tell.
fn pair(env: &Env, client: &Client, server: &Server, items: &[&str], protocol: &str) -> Outcome {
    let command = client.command(&server.addr(), items);
    let outcome = env.exec(&command).run().success();
    let got = count(outcome.lines("status").into_iter());
    assert_eq!(got, expected(items), "what the client got: {:?}", outcome.finished);
    agree(&outcome, server, &got, protocol);
    outcome
}

/// Asserts over how many connections a run went, and which upgrade each one reports.
fn on_connections(outcome: &Outcome, count: usize, upgraded: Option<&str>) {
    outcome.report(|connections| {
        assert_eq!(connections.len(), count, "{connections:?}");
        for connection in connections {
            assert_eq!(connection.text("upgraded"), upgraded, "{connection:?}");
        }
    });
}

fn curl_and_nginx(env: &Env) {
    let outcome = pair(env, &curl("--http1.1"), &Server::nginx(""), ALL, "http/1");
    // nginx closes after a 500.
    on_connections(&outcome, 2, None);
}

fn curl_and_nginx_over_http10(env: &Env) {
    let outcome = pair(env, &curl("--http1.0"), &Server::nginx(""), ALL_OF_HTTP10, "http/1");
    on_connections(&outcome, ALL_OF_HTTP10.len(), None);
}

fn curl_and_nginx_over_http2(env: &Env) {
    // nginx answers without reading the body and resets the stream, which this curl may call an error.
    let items = without_bodies();
    let outcome = pair(env, &curl("--http2-prior-knowledge"), &Server::nginx("http2"), &items, "http/2");
    on_connections(&outcome, items.len(), None);
}

fn curl_and_apache(env: &Env) {
    let _outcome = pair(env, &curl("--http1.1"), &Server::apache(), ALL, "http/1");
}

fn curl_and_apache_upgrade_to_http2(env: &Env) {
    // What has a body, and what is answered by a rule, is not upgraded.
    let items = ["GET:/ok", "HEAD:/ok", "GET:/stream", "GET:/absent"];
    let outcome = pair(env, &curl("--http2"), &Server::apache(), &items, "http/2");
    on_connections(&outcome, items.len(), Some("h2c"));
}

fn curl_and_hypercorn_upgrade_to_http2(env: &Env) {
    let items = without_bodies();
    let outcome = pair(env, &curl("--http2"), &Server::python("hypercorn"), &items, "http/2");
    on_connections(&outcome, items.len(), Some("h2c"));
}

fn curl_and_haproxy(env: &Env) {
    let _outcome = pair(env, &curl("--http1.1"), &Server::haproxy(), ALL, "http/1");
}

fn curl_and_haproxy_over_http2(env: &Env) {
    let _outcome = pair(env, &curl("--http2-prior-knowledge"), &Server::haproxy(), ALL, "http/2");
}

fn curl_follows_redirects_of_node(env: &Env) {
    let server = Server::node("http");
    let url = format!("http://{}/moved", server.addr());
    let command = [&*program("curl"), "-sS", "-L", "-w", "status %{http_code}\\n", &url, &url];
    let outcome = env.exec(&command).run().success();
    assert_eq!(outcome.lines("status"), ["200", "200"]);
    let statuses = count(["302", "200", "302", "200"].map(str::to_owned).into_iter());
    agree(&outcome, &server, &statuses, "http/1");
    on_connections(&outcome, 1, None);
}

fn curl_and_hypercorn_over_http2(env: &Env) {
    let _outcome = pair(env, &curl("--http2-prior-knowledge"), &Server::python("hypercorn"), ALL, "http/2");
}

/// nghttp asks for a path `times` times over one connection, and tells of each response.
fn nghttp(env: &Env, server: &Server, flags: &[&str], times: usize, upgraded: Option<&str>) {
    let url = format!("http://{}/ok", server.addr());
    let nghttp = program("nghttp");
    let number = times.to_string();
    let command = [&[&*nghttp, "-nv", "-m", &*number], flags, &[&*url]].concat();
    let outcome = env.exec(&command).run().success();
    let told = outcome.text().matches(":status: 200").count();
    assert_eq!(told, times, "{:?}", outcome.finished);
    agree(&outcome, server, &count(vec!["200".to_owned(); times].into_iter()), "http/2");
    on_connections(&outcome, 1, upgraded);
}

fn nghttp_and_nginx(env: &Env) {
    let server = Server::nginx("http2");
    nghttp(env, &server, &["--padding=20", "--header-table-size=0"], 7, None);
}

fn nghttp_and_apache_upgrade_to_http2(env: &Env) {
    // Asked for more at once, the two may part after the first response, with and without sluice.
    nghttp(env, &Server::apache(), &["--upgrade"], 1, Some("h2c"));
}

/// h2load counts the responses itself.
fn h2load(env: &Env, server: &Server, flags: &[&str], count_of: u64, protocol: &str) {
    let url = format!("http://{}/ok", server.addr());
    let h2load = program("h2load");
    let number = count_of.to_string();
    let command = [&[&*h2load, "-n", &*number], flags, &[&*url]].concat();
    let outcome = env.exec(&command).run().success();
    let line = format!("{count_of} 2xx, 0 3xx, 0 4xx, 0 5xx");
    assert!(outcome.text().contains(&line), "{}", outcome.text());
    agree(&outcome, server, &Statuses::from([("200".to_owned(), count_of)]), protocol);
}

fn h2load_and_nghttpd(env: &Env) {
    h2load(env, &Server::nghttpd(), &["-c", "4", "-m", "20"], 500, "http/2");
}

fn h2load_and_nginx_over_http1(env: &Env) {
    // With -m above one it sends the next request before the response.
    h2load(env, &Server::nginx(""), &["--h1", "-c", "4", "-m", "4"], 500, "http/1");
}

fn http_client_and_http_server(env: &Env) {
    let outcome = pair(env, &Client::python("1.1"), &Server::python("http.server"), ALL, "http/1");
    on_connections(&outcome, 1, None);
}

fn http_client_and_http_server_over_http10(env: &Env) {
    let server = Server::python("http.server");
    let outcome = pair(env, &Client::python("1.0"), &server, ALL_OF_HTTP10, "http/1");
    on_connections(&outcome, ALL_OF_HTTP10.len(), None);
}

fn pipelined_requests_to_nginx(env: &Env) {
    // nginx closes after a 500.
    let items: Vec<_> = ALL.iter().copied().filter(|item| *item != "GET:/broken").collect();
    let outcome = pair(env, &Client::python("pipelined"), &Server::nginx(""), &items, "http/1");
    on_connections(&outcome, 1, None);
}

fn pipelined_requests_to_node(env: &Env) {
    let outcome = pair(env, &Client::python("pipelined"), &Server::node("http"), ALL, "http/1");
    on_connections(&outcome, 1, None);
}

fn aiohttp_and_aiohttp(env: &Env) {
    let _outcome = pair(env, &Client::python("aiohttp"), &Server::python("aiohttp"), ALL, "http/1");
}

fn node_and_node(env: &Env) {
    let _outcome = pair(env, &Client::node("http"), &Server::node("http"), ALL, "http/1");
}

fn node_and_node_over_http2(env: &Env) {
    let outcome = pair(env, &Client::node("http2"), &Server::node("http2"), ALL, "http/2");
    on_connections(&outcome, 1, None);
}

fn node_and_hypercorn(env: &Env) {
    let _outcome = pair(env, &Client::node("http2"), &Server::python("hypercorn"), ALL, "http/2");
}

fn java_and_apache(env: &Env) {
    let _outcome = pair(env, &Client::java("1.1"), &Server::apache(), ALL, "http/1");
}

fn java_and_h2_upgrade_to_http2(env: &Env) {
    let outcome = pair(env, &Client::java("2"), &Server::python("h2"), ALL, "http/2");
    on_connections(&outcome, 1, Some("h2c"));
}

fn java_and_hypercorn(env: &Env) {
    // Java says that there is a body, of length zero: hypercorn grants no upgrade.
    let outcome = pair(env, &Client::java("2"), &Server::python("hypercorn"), ALL, "http/1");
    on_connections(&outcome, 1, None);
}

fn go_and_go(env: &Env) {
    let _outcome = pair(env, &Client::go(), &Server::go(), ALL, "http/1");
}

fn go_and_haproxy(env: &Env) {
    let _outcome = pair(env, &Client::go(), &Server::haproxy(), ALL, "http/1");
}
