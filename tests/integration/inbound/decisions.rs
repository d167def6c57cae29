//! Inbound connections are skipped, left uninspected or inspected by the inbound port config.

use std::net::SocketAddr;

use sluice_tests::agent::Agent;
use sluice_tests::http::Samples;
use sluice_tests::peer::steps::hex;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

use super::pod::{Pod, told};
use crate::client_hello::ClientHello;
use crate::workload::Way;

pub(super) fn register(suite: &mut Suite) {
    let mut group = suite.group("inbound::decisions");
    group.sluice(tests![
        a_skipped_port_is_left_alone,
        skipped_outbound_ports_are_not_skipped_inbound,
        an_opaque_port_is_not_inspected,
        an_opaque_connection_goes_by_itself_and_is_counted,
        http1_is_inspected_and_its_requests_are_counted,
        a_port_is_learned_to_be_opaque,
        a_live_change_holds_for_the_next_connection,
    ]);
    group.of_the_proxy_alone();
    group.sluice(tests![
        http2_is_inspected_and_its_requests_are_counted,
        tls_and_what_the_server_says_first_are_told_apart,
        bytes_are_counted_both_ways,
        explain_tells_of_a_port_what_becomes_of_it,
        taps_show_requests_that_come_in,
    ]);
}

const INBOUND: (&str, &str) = ("direction", "inbound");

/// Waits until a metric, summed over the series with these labels, is so much.
pub(super) fn shows(admin: SocketAddr, name: &str, labels: &[(&str, &str)], expected: f64) {
    wait::eventually(&format!("{name} {labels:?} to be {expected}"), || {
        ((Samples::of(admin).sum(name, labels) - expected).abs() < 0.5).then_some(())
    });
}

/// How often a hook came to an outcome.
pub(super) fn outcomes(agent: &Agent, hook: &str, outcome: &str) -> f64 {
    Samples::of(agent.admin()).sum("sluice_hook_outcomes_total", &[("hook", hook), ("outcome", outcome)])
}

fn a_skipped_port_is_left_alone(_: &Env) {
    let pod = Pod::new("web");
    let agent = Agent::started(&pod.config("skip-inbound-ports = \"8000-8080\""));
    let mut app = pod.app();
    app.echo("skipped", "[::]:8080");
    app.echo("other", "[::]:8081");
    for addr in [pod.v4(8080), pod.v6(8080)] {
        assert_eq!(pod.way_to(&mut app, "skipped", addr), Way::Direct);
    }
    assert!(outcomes(&agent, "sk_lookup", "skipped") > 1.5);
    shows(agent.admin(), "tcp_open_total", &[INBOUND], 0.0);
    assert_eq!(pod.way_to(&mut app, "other", pod.v4(8081)), Way::Proxied);
    shows(agent.admin(), "tcp_open_total", &[INBOUND, ("peer", "src"), ("workload", "web")], 1.0);
    assert!(outcomes(&agent, "sk_lookup", "redirected") > 0.5);
    assert!(outcomes(&agent, "sock_ops", "inbound") > 0.5);
}

fn skipped_outbound_ports_are_not_skipped_inbound(_: &Env) {
    let pod = Pod::new("web");
    let _agent = Agent::started(&pod.config("skip-outbound-ports = \"1-65535\""));
    let mut app = pod.app();
    app.echo("web", "0.0.0.0:8080");
    assert_eq!(pod.way_to(&mut app, "web", pod.v4(8080)), Way::Proxied);
}

fn an_opaque_connection_goes_by_itself_and_is_counted(_: &Env) {
    let pod = Pod::new("web");
    let agent = Agent::started(&pod.config("opaque-ports = \"8080\""));
    let mut app = pod.app();
    app.echo("web", "[::]:8080");
    for addr in [pod.v4(8080), pod.v6(8080)] {
        assert_eq!(pod.way_to(&mut app, "web", addr), Way::Direct);
        let target = addr.to_string();
        let labels = |peer| [INBOUND, ("peer", peer), ("target_addr", target.as_str())];
        shows(agent.admin(), "tcp_close_total", &labels("src"), 1.0);
        shows(agent.admin(), "tcp_read_bytes_total", &labels("src"), 5.0);
        shows(agent.admin(), "tcp_write_bytes_total", &labels("src"), 5.0);
        shows(agent.admin(), "tcp_open_connections", &labels("dst"), 0.0);
    }
    pod.run_client(&[&format!("connect={}", pod.v4(8080)), "send=3", "recv=3", "reset"]);
    shows(agent.admin(), "sluice_connection_close_total", &[INBOUND, ("reason", "client-reset")], 1.0);
}

fn an_opaque_port_is_not_inspected(_: &Env) {
    let pod = Pod::new("web");
    let agent = Agent::started(&pod.config("opaque-ports = \"8080\""));
    let mut app = pod.app();
    for port in [8080, 8081] {
        app.open("web", &format!("0.0.0.0:{port} http"));
        pod.run_client(&[
            format!("connect={}", pod.v4(port)),
            "text=GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".into(),
            "recv-line".into(),
            "fin".into(),
            "recv-eof".into(),
        ]);
    }
    let of = |protocol: &str, by: &str, count| {
        let labels = [("protocol", protocol), ("detected_by", by)];
        shows(agent.admin(), "inbound_tcp_protocol_connections_total", &labels, count);
    };
    of("opaq", "config", 1.0);
    of("http/1", "client-bytes", 1.0);
    shows(agent.admin(), "request_total", &[INBOUND], 1.0);
}

fn http1_is_inspected_and_its_requests_are_counted(_: &Env) {
    let pod = Pod::new("web");
    let agent = Agent::started(&pod.config(""));
    let mut app = pod.app();
    app.open("web", "[::]:8080 http");
    for addr in [pod.v4(8080), pod.v6(8080)] {
        let request = "text=GET / HTTP/1.1\\r\\nHost: shop.test\\r\\n\\r\\n".to_owned();
        let steps = [format!("connect={addr}"), request.clone(), "recv=43".into(), request, "recv=43".into()];
        pod.run_client(&steps);
    }
    let admin = agent.admin();
    shows(admin, "inbound_tcp_protocol_connections_total", &[("protocol", "http/1")], 2.0);
    shows(admin, "inbound_tcp_detect_http_results_total", &[("result", "http/1")], 2.0);
    shows(admin, "request_total", &[INBOUND, ("authority", "shop.test")], 4.0);
    shows(admin, "response_total", &[INBOUND, ("status_code", "200"), ("classification", "success")], 4.0);
    shows(admin, "response_latency_ms_count", &[INBOUND], 4.0);
    shows(admin, "inbound_http_requests_total", &[("workload", "web"), ("method", "GET")], 4.0);
    shows(admin, "inbound_http_statuses_total", &[("http_status", "200")], 4.0);
    shows(admin, "inbound_http_request_duration_seconds_count", &[], 4.0);
    shows(admin, "request_total", &[("direction", "outbound")], 0.0);
    shows(admin, "outbound_http_requests_total", &[], 0.0);
}

fn http2_is_inspected_and_its_requests_are_counted(_: &Env) {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    // :method GET, :scheme http, :path /, :authority shop.test; HEADERS with END_STREAM and END_HEADERS.
    let fields = [&[0x82, 0x86, 0x84, 0x41, 9][..], b"shop.test"].concat();
    let length = u8::try_from(fields.len()).expect("short");
    let request =
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", SETTINGS, &[0, 0, length, 1, 5, 0, 0, 0, 1], &fields].concat();
    // :status 200
    let response = [SETTINGS, &[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88]].concat();
    let pod = Pod::new("web");
    let agent = Agent::started(&pod.config(""));
    let mut app = pod.app();
    app.open("web", &format!("[::]:8080 reply={}/{}", request.len(), hex(&response)));
    pod.run_client(&[
        format!("connect={}", pod.v6(8080)),
        format!("hex={}", hex(&request)),
        format!("recv={}", response.len()),
    ]);
    assert!(app.ended("web").contains(&hex(&request[..24])));
    let admin = agent.admin();
    shows(admin, "inbound_tcp_protocol_connections_total", &[("protocol", "http/2")], 1.0);
    shows(admin, "request_total", &[INBOUND, ("authority", "shop.test")], 1.0);
    shows(admin, "response_total", &[INBOUND, ("status_code", "200")], 1.0);
    shows(admin, "inbound_http_requests_total", &[("workload", "web"), ("method", "GET")], 1.0);
}

fn tls_and_what_the_server_says_first_are_told_apart(_: &Env) {
    let pod = Pod::new("web");
    let agent = Agent::started(&pod.config(""));
    let mut app = pod.app();
    app.open("tls", "0.0.0.0:8443 sink");
    app.open("mail", "0.0.0.0:8025 banner");
    let hello = ClientHello { sni: "shop.test", alpn: &["h2"], padding: 0 }.bytes();
    pod.run_client(&[
        format!("connect={}", pod.v4(8443)),
        format!("hex={}", hex(&hello)),
        "fin".into(),
        "recv-line".into(),
        format!("connect={}", pod.v4(8025)),
        "recv-line".into(),
        "text=QUIT\\r\\n".into(),
        "fin".into(),
        "recv-eof".into(),
    ]);
    let name = "inbound_tcp_protocol_connections_total";
    shows(agent.admin(), name, &[("protocol", "tls")], 1.0);
    shows(agent.admin(), name, &[("protocol", "opaq"), ("detected_by", "server-first")], 1.0);
}

fn bytes_are_counted_both_ways(_: &Env) {
    let pod = Pod::new("web");
    let agent = Agent::started(&pod.config(""));
    let mut app = pod.app();
    app.open("web", "0.0.0.0:8080 both-ways=50000");
    pod.run_client(&[format!("connect={}", pod.v4(8080)), "exchange=30000".into()]);
    let target = pod.v4(8080).to_string();
    for (name, peer, expected) in [
        ("tcp_open_total", "src", 1.0),
        ("tcp_open_total", "dst", 1.0),
        ("tcp_close_total", "src", 1.0),
        ("tcp_open_connections", "src", 0.0),
        ("tcp_read_bytes_total", "src", 30_000.0),
        ("tcp_write_bytes_total", "dst", 30_000.0),
        ("tcp_read_bytes_total", "dst", 50_000.0),
        ("tcp_write_bytes_total", "src", 50_000.0),
    ] {
        shows(agent.admin(), name, &[INBOUND, ("peer", peer), ("target_addr", &target)], expected);
    }
    shows(agent.admin(), "tcp_open_total", &[("direction", "outbound")], 0.0);
}

fn a_port_is_learned_to_be_opaque(_: &Env) {
    let pod = Pod::new("web");
    let agent = Agent::started(&pod.config(""));
    let mut app = pod.app();
    app.echo("web", "0.0.0.0:8080");
    // A line, for a word alone could become the method of a request.
    let connect = format!("connect={}", pod.v4(8080));
    let mut is_direct = || {
        let stdout = pod.run_client(&[&connect, "text=PING\\r\\n", "recv=6", "fin", "recv-eof"]);
        app.accepted("web").kernel.to_string() == told(&stdout, "local")
    };
    for number in 1..=5 {
        assert!(!is_direct(), "connection {number}");
    }
    wait::eventually("the port to be learned", || is_direct().then_some(()));
    let learned = [("protocol", "opaq"), ("detected_by", "learned")];
    shows(agent.admin(), "inbound_tcp_protocol_connections_total", &learned, 1.0);
    let explained = agent.answer(&["explain", "--inbound", "8080", "--workload", "web"]);
    assert!(explained.contains("opaque (no rule names the port; learned"), "{explained}");
    let list = agent.answer(&["ports", "learned"]);
    assert!(list.contains(&format!("inbound    {}", pod.v4(8080))), "{list}");
    let _said = agent.answer(&["ports", "forget", "--all"]);
    assert!(!is_direct());
}

fn a_live_change_holds_for_the_next_connection(_: &Env) {
    let pod = Pod::new("web");
    let agent = Agent::started(&pod.config("opaque-path = \"proxy\""));
    let mut app = pod.app();
    app.echo("web", "0.0.0.0:8080");
    let change = |decision: &str, direction: &str| {
        let _said = agent.answer(&["ports", decision, "8080", "--workload", "web", "--direction", direction]);
    };
    let mut way = || pod.way_to(&mut app, "web", pod.v4(8080));
    assert_eq!(way(), Way::Proxied);
    change("skip", "outbound");
    assert_eq!(way(), Way::Proxied, "the other direction's");
    change("skip", "inbound");
    assert_eq!(way(), Way::Direct);
    change("opaque", "inbound");
    assert_eq!(way(), Way::Proxied);
    let opaque = [("protocol", "opaq"), ("detected_by", "config")];
    shows(agent.admin(), "inbound_tcp_protocol_connections_total", &opaque, 1.0);
    change("detect", "inbound");
    assert_eq!(way(), Way::Proxied);
    shows(agent.admin(), "inbound_tcp_protocol_connections_total", &opaque, 1.0);
}

fn explain_tells_of_a_port_what_becomes_of_it(_: &Env) {
    let pod = Pod::new("web");
    let agent = Agent::started(&pod.config("skip-inbound-ports = \"8000-8080\""));
    let explain = |port: &str| agent.answer(&["explain", "--inbound", port, "--workload", "web"]);
    for (port, decision, why) in [
        ("8080", "skip", "8000-8080, in the workload's own lists"),
        ("3306", "opaque", "built-in"),
        ("8081", "detect", "no rule"),
    ] {
        let told = explain(port);
        assert!(told.starts_with(&format!("web <- port {port}: {decision} (")), "{told}");
        assert!(told.contains(why), "{told}");
    }
    let _said = agent.answer(&["ports", "opaque", "8081", "--direction", "inbound"]);
    assert!(explain("8081").contains("opaque (port 8081, set by `sluice ports`; the kernel carries it)"));
    for wrong in
        [&["explain"][..], &["explain", "--inbound", "0"], &["explain", "10.0.0.1:80", "--inbound", "80"]]
    {
        let refused = agent.ask(wrong);
        assert_eq!(refused.status.code(), Some(2), "{wrong:?}: {refused:?}");
    }
    agent.write_config(&pod.config("inbound = false"));
    wait::eventually("the reload", || explain("8081").contains("direct (").then_some(()));
}

fn taps_show_requests_that_come_in(_: &Env) {
    let pod = Pod::new("web");
    let agent = Agent::started(&pod.config(""));
    let mut app = pod.app();
    app.open("web", "0.0.0.0:8080 http");
    let mut tap = agent.start_asking(&["tap", "--output", "json", "--count", "1"]);
    let steps = [
        format!("connect={}", pod.v4(8080)),
        "text=GET /x HTTP/1.1\\r\\nHost: shop.test\\r\\n\\r\\n".into(),
        "recv-line".into(),
    ];
    // A tap that is not open yet is told of nothing.
    let mut clients = Vec::new();
    wait::eventually("an exchange at the tap", || {
        clients.push(told(&pod.run_client(&steps), "local"));
        tap.has_ended().then_some(())
    });
    let shown = String::from_utf8_lossy(&tap.finish(wait::patience()).stdout).into_owned();
    let exchange: serde_json::Value = serde_json::from_str(&shown).expect("a line of JSON");
    assert_eq!(exchange["direction"], "inbound", "{shown}");
    assert!(clients.iter().any(|client| exchange["client"] == client.as_str()), "{clients:?}: {shown}");
}
