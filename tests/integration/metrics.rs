//! The admin address tells what passed, while it passes.

use std::net::SocketAddr;

use sluice_tests::agent::Agent;
use sluice_tests::http::{self, Samples};
use sluice_tests::server::{ClosedPort, Server, behaviour};
use sluice_tests::suite::{Env, Lane, Suite};
use sluice_tests::{tests, wait};

use crate::workload::Workload;

const SRC: [(&str, &str); 2] = [("direction", "outbound"), ("peer", "src")];
const DST: [(&str, &str); 2] = [("direction", "outbound"), ("peer", "dst")];

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("metrics");
    group.lane_makes_no_difference();
    group.both_lanes_of_sluice(tests![
        a_finished_connection_is_counted_with_its_bytes,
        a_long_connection_shows_its_bytes_while_it_lives,
        sk_msg_is_used_when_it_is_on_and_only_then,
    ]);
    group.sluice(tests![
        a_refused_upstream_is_counted,
        what_was_detected_is_counted,
        hook_outcomes_are_counted,
        exec_is_ready_and_live,
        the_agent_counts_by_workload,
    ]);
}

fn admin() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], http::free_port()))
}

/// Compares a sample that counts things.
fn is(samples: &Samples, name: &str, labels: &[(&str, &str)], expected: u64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let expected = expected as f64;
    (samples.sum(name, labels) - expected).abs() < 0.5
}

/// A metric, the labels of the series that are summed, and what they should come to.
type Expected<'a> = (&'a str, &'a [(&'a str, &'a str)], u64);

/// Waits until all of these samples are as expected.
fn shows(admin: SocketAddr, expected: &[Expected<'_>]) {
    for (name, labels, value) in expected {
        wait::eventually(&format!("{name} {labels:?} to be {value}"), || {
            is(&Samples::of(admin), name, labels, *value).then_some(())
        });
    }
}

fn a_finished_connection_is_counted_with_its_bytes(env: &Env) {
    let server = Server::start(behaviour::both_ways(50_000));
    let steps =
        [format!("connect={}", server.addr()), "exchange=30000".into(), "close".into(), "await".into()];
    let admin = admin();
    let mut running = env.client(&steps).flag("--admin", admin.to_string()).start();
    running.process.line("received");
    shows(
        admin,
        &[
            ("tcp_open_total", &SRC, 1),
            ("tcp_open_total", &DST, 1),
            ("tcp_read_bytes_total", &SRC, 30_000),
            ("tcp_write_bytes_total", &DST, 30_000),
            ("tcp_read_bytes_total", &DST, 50_000),
            ("tcp_write_bytes_total", &SRC, 50_000),
            ("tcp_close_total", &SRC, 1),
            ("tcp_open_connections", &SRC, 0),
            ("tcp_open_connections", &DST, 0),
            ("tcp_connection_duration_ms_count", &SRC, 1),
        ],
    );
    running.process.say("done");
    let _outcome = running.finish().success();
}

fn a_long_connection_shows_its_bytes_while_it_lives(env: &Env) {
    let server = Server::start(behaviour::echo);
    let steps = [
        format!("connect={}", server.addr()),
        "send=30000".into(),
        "recv=30000".into(),
        "await".into(),
        "send=5000".into(),
        "recv=5000".into(),
        "await".into(),
    ];
    let admin = admin();
    let mut running = env.client(&steps).flag("--admin", admin.to_string()).start();
    for bytes in [30_000, 35_000] {
        running.process.line("received");
        shows(
            admin,
            &[
                ("tcp_open_connections", &SRC, 1),
                ("tcp_read_bytes_total", &SRC, bytes),
                ("tcp_write_bytes_total", &SRC, bytes),
            ],
        );
        running.process.say("go on");
    }
    let _outcome = running.finish().success();
}

fn a_refused_upstream_is_counted(env: &Env) {
    let closed = ClosedPort::new();
    let admin = admin();
    // The client fails, and the shell around it stays until the test has seen the counters.
    let client =
        sluice_tests::peer::command(&["client"], &[format!("connect={}", closed.addr()), "recv-eof".into()]);
    let script = "\"$@\"; echo failed; read line";
    let command: Vec<&str> =
        ["sh", "-c", script, "sh"].into_iter().chain(client.iter().map(String::as_str)).collect();
    let mut running = env.exec(&command).flag("--admin", admin.to_string()).start();
    running.process.line("failed");
    shows(admin, &[("tcp_close_total", &[("errno", "ECONNREFUSED")], 1), ("tcp_open_connections", &SRC, 0)]);
    running.process.say("done");
    let _outcome = running.finish();
}

fn what_was_detected_is_counted(env: &Env) {
    let server = Server::start(behaviour::http("hello"));
    let steps = [
        format!("connect={}", server.addr()),
        "text=GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".into(),
        "recv-line".into(),
        "await".into(),
    ];
    let admin = admin();
    let mut running = env.client(&steps).flag("--admin", admin.to_string()).start();
    running.process.line("line");
    shows(admin, &[("outbound_tcp_protocol_connections_total", &[("protocol", "http/1")], 1)]);
    running.process.say("done");
    let _outcome = running.finish().success();
}

fn hook_outcomes_are_counted(env: &Env) {
    let server = Server::start(behaviour::echo);
    let skipped = Server::start(behaviour::echo);
    let steps = [
        format!("connect={}", server.addr()),
        "exchange=10".into(),
        format!("connect={}", skipped.addr()),
        "exchange=10".into(),
        "await".into(),
    ];
    let admin = admin();
    let exec = env.client(&steps).flag("--admin", admin.to_string());
    let mut running = exec.flag("--skip-outbound-ports", skipped.port().to_string()).start();
    running.process.line("received");
    running.process.line("received");
    shows(
        admin,
        &[
            ("sluice_hook_outcomes_total", &[("hook", "connect"), ("outcome", "redirected")], 1),
            ("sluice_hook_outcomes_total", &[("hook", "connect"), ("outcome", "skipped")], 1),
            ("sluice_hook_outcomes_total", &[("hook", "sock_ops"), ("outcome", "handed_over")], 1),
        ],
    );
    running.process.say("done");
    let _outcome = running.finish().success();
}

fn sk_msg_is_used_when_it_is_on_and_only_then(env: &Env) {
    let (v4, v6) = (Server::start(behaviour::echo), Server::bind("[::1]:0", behaviour::echo));
    let transfer = |server: &Server| [format!("connect={}", server.addr()), "ping-pong=20".to_owned()];
    let steps =
        [transfer(&v4).as_slice(), &["await".to_owned()], &transfer(&v6), &["await".to_owned()]].concat();
    let admin = admin();
    let mut running = env.client(&steps).flag("--admin", admin.to_string()).start();
    let outcome = |hook, outcome| {
        Samples::of(admin).sum("sluice_hook_outcomes_total", &[("hook", hook), ("outcome", outcome)])
    };
    let mut before = 0.0;
    for connections in [1.0, 2.0] {
        running.process.line("ponged");
        let counts = [outcome("sock_ops", "proxy_enrolled"), outcome("sock_ops", "client_enrolled")];
        let redirected = outcome("sk_msg", "redirected");
        if env.lane == Lane::SkMsgOn {
            assert!(counts.iter().all(|count| (count - connections).abs() < 0.5), "{counts:?}");
            assert!(
                redirected > before + 15.0,
                "{redirected} sends were redirected, {before} of them before"
            );
        } else {
            assert!(counts.iter().sum::<f64>() + redirected < 0.5, "{counts:?}, {redirected}");
        }
        before = redirected;
        running.process.say("go on");
    }
    let _outcome = running.finish().success();
}

fn exec_is_ready_and_live(env: &Env) {
    let admin = admin();
    let mut running = env.client(&["say=there", "await"]).flag("--admin", admin.to_string()).start();
    running.process.line("there");
    for path in ["/ready", "/live"] {
        assert_eq!(http::get(admin, path).expect("an answer").0, 200, "{path}");
    }
    running.process.say("done");
    let _outcome = running.finish().success();
    assert!(http::get(admin, "/live").is_err(), "the admin address is gone with it");
}

fn the_agent_counts_by_workload(_: &Env) {
    let (shop, bank) = (Workload::new("shop"), Workload::new("bank"));
    let agent = Agent::started(&[shop.config(""), bank.config("")].concat());
    for _ in 0..3 {
        shop.way_to_new_server();
    }
    bank.way_to_new_server();
    let of = |name| [("peer", "src"), ("direction", "outbound"), ("workload", name)];
    shows(
        agent.admin(),
        &[
            ("tcp_open_total", &of("shop"), 3),
            ("tcp_read_bytes_total", &of("shop"), 3_000),
            ("tcp_open_total", &of("bank"), 1),
            ("tcp_write_bytes_total", &of("bank"), 1_000),
        ],
    );
}
