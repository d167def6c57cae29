//! Opaque connections go by themselves, and the kernel's counts are told as the proxy's would be.

use nix::sys::signal::Signal;
use sluice_tests::agent::Agent;
use sluice_tests::exec::{Exec, Outcome};
use sluice_tests::http::Samples;
use sluice_tests::scale::Scale;
use sluice_tests::server::{ClosedPort, Server, behaviour};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

use crate::workload::{Way, Workload};

pub(crate) fn register(suite: &mut Suite) {
    suite.group("kernel_path").sluice(tests![
        an_opaque_connection_goes_straight_to_the_server_and_is_reported,
        the_proxy_carries_it_where_that_is_asked_for,
        an_ipv6_and_an_ipv4_mapped_connection_go_by_themselves_too,
        the_report_says_how_it_ended,
        a_half_close_is_counted_to_the_byte,
        its_bytes_show_while_it_lives,
        it_does_not_notice_that_the_agent_ends,
        a_strict_workload_is_refused_without_an_agent,
        many_short_ones_are_all_counted,
        the_config_says_who_carries_the_bytes,
    ]);
}

/// A client whose connections to the server's port are opaque.
fn client(env: &Env, port: u16, addr: impl std::fmt::Display, steps: &[&str]) -> Exec {
    let connect = format!("connect={addr}");
    env.client(&[&[&*connect][..], steps].concat()).flag("--opaque-ports", port.to_string())
}

fn is_direct(outcome: &Outcome, server: &Server) -> bool {
    let local = outcome.line("local");
    let unmapped = local.strip_prefix("[::ffff:").map(|rest| rest.replacen(']', "", 1));
    unmapped.unwrap_or(local) == server.accepted().to_string()
}

fn an_opaque_connection_goes_straight_to_the_server_and_is_reported(env: &Env) {
    let server = Server::start(behaviour::both_ways(30_000));
    let outcome = client(env, server.port(), server.addr(), &["exchange=70000"]).run().success();
    assert!(is_direct(&outcome, &server));
    assert_eq!(outcome.line("peer"), server.addr().to_string());
    let connection = outcome.only_connection();
    assert_eq!(connection.verdict(), "opaque opaque config");
    assert_eq!(connection.bytes(), (70_000, 30_000));
    assert_eq!(connection.text("client"), Some(outcome.line("local").as_str()));
    assert_eq!(connection.text("close"), Some("eof"));
}

fn the_proxy_carries_it_where_that_is_asked_for(env: &Env) {
    let server = Server::start(behaviour::echo);
    let exec = client(env, server.port(), server.addr(), &["exchange=70000"]).flag("--opaque-path", "proxy");
    let outcome = exec.run().success();
    assert!(!is_direct(&outcome, &server));
    assert_eq!(outcome.only_connection().verdict(), "opaque opaque config");
    assert_eq!(outcome.only_connection().bytes(), (70_000, 70_000));
}

fn an_ipv6_and_an_ipv4_mapped_connection_go_by_themselves_too(env: &Env) {
    let v6 = Server::bind("[::1]:0", behaviour::echo);
    let v4 = Server::start(behaviour::echo);
    for (server, addr) in [(&v6, v6.addr().to_string()), (&v4, v4.mapped_addr())] {
        let outcome = client(env, server.port(), addr, &["exchange=1000"]).run().success();
        assert!(is_direct(&outcome, server));
        assert_eq!(outcome.only_connection().bytes(), (1000, 1000));
    }
}

fn the_report_says_how_it_ended(env: &Env) {
    let close_of = |port: u16, addr: std::net::SocketAddr, steps: &[&str]| {
        let outcome = client(env, port, addr, steps).run();
        outcome.only_connection().text("close").expect("a reason").to_owned()
    };
    let echo = Server::start(behaviour::echo);
    assert_eq!(close_of(echo.port(), echo.addr(), &["send=10", "recv=10", "reset"]), "client-reset");
    let resetting = Server::start(behaviour::reset_after(1000, 3));
    let steps = ["recv=1000", "text=got", "recv-eof"];
    assert_eq!(close_of(resetting.port(), resetting.addr(), &steps), "server-reset");
    let closed = ClosedPort::new();
    assert_eq!(close_of(closed.addr().port(), closed.addr(), &["recv-eof"]), "refused");
}

fn a_half_close_is_counted_to_the_byte(env: &Env) {
    let server = Server::start(behaviour::answer_after_fin(12_345));
    let steps = ["send=777", "fin", "recv-eof"];
    let outcome = client(env, server.port(), server.addr(), &steps).run().success();
    let connection = outcome.only_connection();
    assert_eq!(connection.bytes(), (777, 12_345));
    assert_eq!(connection.text("close"), Some("eof"));
}

const CLIENT: (&str, &str) = ("peer", "src");

fn its_bytes_show_while_it_lives(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server_at("127.0.0.1:7001");
    let agent = Agent::started(&workload.config("opaque-ports = \"7001\""));
    let steps = ["connect=127.0.0.1:7001", "send=5000", "recv=5000", "say=open", "await", "fin", "recv-eof"];
    let mut client = workload.client(&steps);
    client.line("open");
    let sum = |name: &str| Samples::of(agent.admin()).sum(name, &[CLIENT, ("target_addr", "127.0.0.1:7001")]);
    wait::eventually("the bytes of an open connection", || {
        (sum("tcp_read_bytes_total") > 0.0 && sum("tcp_open_connections") > 0.0).then_some(())
    });
    assert!((sum("tcp_read_bytes_total") - 5000.0).abs() < 0.5, "sent, while it lives");
    assert!((sum("tcp_write_bytes_total") - 5000.0).abs() < 0.5, "received, while it lives");
    let lived = || Samples::of(agent.admin()).sum("sluice_kernel_path_connection_seconds_total", &[]);
    let before = lived();
    wait::eventually("its life to be told", || (lived() > before).then_some(()));
    client.say("go on");
    wait::eventually("its end", || (sum("tcp_open_connections") < 0.5).then_some(()));
    assert!((sum("tcp_read_bytes_total") - 5000.0).abs() < 0.5, "sent, at its end");
    assert!((sum("tcp_write_bytes_total") - 5000.0).abs() < 0.5, "received, at its end");
    let round_trips = Samples::of(agent.admin()).sum("sluice_kernel_path_round_trip_seconds_count", &[]);
    assert!(round_trips >= 1.0, "{round_trips}");
    drop(server);
}

fn it_does_not_notice_that_the_agent_ends(_: &Env) {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let workload = Workload::new("shop");
        let server = workload.server_at("127.0.0.1:7001");
        let mut agent = Agent::started(&workload.config("opaque-ports = \"7001\""));
        let mut client = workload.open_client(&server);
        let _ended = agent.stop(signal);
        client.say("go on");
        let finished = client.finish(wait::patience());
        assert!(finished.status.success(), "{signal}: {finished:?}");
    }
}

fn a_strict_workload_is_refused_without_an_agent(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server_at("127.0.0.1:7001");
    let mut agent = Agent::started(&workload.config("opaque-ports = \"7001\"\nwhen-proxy-down = \"strict\""));
    assert_eq!(workload.way_to(&server), Way::Direct);
    let _killed = agent.stop(Signal::SIGKILL);
    assert_eq!(workload.way_to(&server), Way::Failed("connect EPERM".into()));
}

fn many_short_ones_are_all_counted(env: &Env) {
    let count: usize = Scale::current().pick(3_000, 100);
    let server = Server::start(behaviour::echo);
    let steps: Vec<String> =
        (0..count).flat_map(|_| [format!("connect={}", server.addr()), "exchange=10".to_owned()]).collect();
    let outcome = env.client(&steps).flag("--opaque-ports", server.port().to_string()).run().success();
    outcome.report(|connections| {
        assert_eq!(connections.len(), count);
        assert!(connections.iter().all(|connection| connection.verdict() == "opaque opaque config"));
        assert!(connections.iter().all(|connection| connection.bytes() == (10, 10)));
    });
}

fn the_config_says_who_carries_the_bytes(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server_at("127.0.0.1:7001");
    let by = |node: &str, own: &str| {
        [format!("opaque-path = \"{node}\"\n"), workload.config(&format!("opaque-ports = \"7001\"\n{own}"))]
            .concat()
    };
    let agent = Agent::started(&by("proxy", ""));
    assert_eq!(workload.way_to(&server), Way::Proxied);
    agent.write_config(&by("proxy", "opaque-path = \"kernel\""));
    wait::eventually("the workload's own word", || (workload.way_to(&server) == Way::Direct).then_some(()));
    agent.write_config(&by("auto", "opaque-path = \"proxy\""));
    wait::eventually("the proxy again", || (workload.way_to(&server) == Way::Proxied).then_some(()));
}
