//! Every way to end a connection reaches the other end as what it is.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sluice_tests::exec::Outcome;
use sluice_tests::netns::{Netns, Wire};
use sluice_tests::pattern;
use sluice_tests::scale::Scale;
use sluice_tests::server::{ClosedPort, End, Server, behaviour};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::tests;

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("close");
    group.both_lanes(tests![
        an_answer_after_the_client_s_fin_arrives,
        half_close_is_passed_on,
        the_client_s_bytes_after_the_server_s_fin_arrive,
        a_client_s_reset_reaches_the_server_as_a_reset,
        a_server_s_reset_reaches_the_client_as_a_reset,
        data_before_a_server_s_reset_is_delivered,
        a_refused_connection_is_reset_at_once,
        bytes_written_just_before_close_all_arrive,
        a_killed_client_s_connection_is_closed,
    ]);
    group.of_the_proxy_alone();
    group.both_lanes(tests![
        a_refused_connection_fails_for_a_client_that_writes,
        a_reset_while_the_server_stalls_reaches_the_server,
        a_stalled_server_s_reset_reaches_a_client_that_writes,
        a_connection_where_nobody_speaks_stays_open,
        an_unreachable_destination_fails_at_once,
        a_destination_that_does_not_answer_times_out,
    ]);
}

/// What happens at once happens within this.
fn at_once() -> Duration {
    Scale::current().stretch(Duration::from_secs(1))
}

/// The error that ended the client: step, errno, milliseconds since it began to connect.
fn error(outcome: &Outcome) -> (String, String, Duration) {
    let line = outcome.line("error");
    let words: Vec<&str> = line.split(' ').collect();
    let took = Duration::from_millis(words[2].parse().expect("milliseconds"));
    (words[0].to_owned(), words[1].to_owned(), took)
}

fn an_answer_after_the_client_s_fin_arrives(env: &Env) {
    let server = Server::start(behaviour::answer_after_fin(500_000));
    let steps = [format!("connect={}", server.addr()), "send=1000".into(), "fin".into(), "recv-eof".into()];
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.line("received"), format!("500000 {:08x}", pattern::checksum(500_000)));
    let record = server.record();
    assert!(record.received.is_pattern(1000) && record.end == End::Fin, "{record:?}");
}

fn half_close_is_passed_on(env: &Env) {
    // The server must see the FIN while the client is still there and reading.
    let server = Server::start(behaviour::answer_after_fin(1));
    let steps = [format!("connect={}", server.addr()), "fin".into(), "recv=1".into(), "say=answered".into()];
    let outcome = env.client(&steps).run().success();
    assert!(outcome.text().contains("answered"));
    assert_eq!(server.record().end, End::Fin);
}

fn the_client_s_bytes_after_the_server_s_fin_arrive(env: &Env) {
    let server = Server::start(behaviour::source(1000));
    let steps =
        [format!("connect={}", server.addr()), "recv-eof".into(), "send=500000".into(), "close".into()];
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.line("received"), format!("1000 {:08x}", pattern::checksum(1000)));
    let record = server.record();
    assert!(record.received.is_pattern(500_000) && record.end == End::Fin, "{record:?}");
}

fn a_client_s_reset_reaches_the_server_as_a_reset(env: &Env) {
    let server = Server::start(behaviour::echo);
    let steps = [format!("connect={}", server.addr()), "send=10".into(), "recv=10".into(), "reset".into()];
    let _outcome = env.client(&steps).run().success();
    let record = server.record();
    assert!(record.received.is_pattern(10) && record.end == End::Reset, "{record:?}");
}

fn a_server_s_reset_reaches_the_client_as_a_reset(env: &Env) {
    let server = Server::start(behaviour::reset_after(1000, 3));
    let steps =
        [format!("connect={}", server.addr()), "recv=1000".into(), "text=got".into(), "recv-eof".into()];
    let outcome = env.client(&steps).run();
    let (step, errno, _) = error(&outcome);
    assert_eq!((step.as_str(), errno.as_str()), ("recv-eof", "ECONNRESET"));
}

fn data_before_a_server_s_reset_is_delivered(env: &Env) {
    let server = Server::start(behaviour::reset_after(50_000, 3));
    let steps = [format!("connect={}", server.addr()), "text=go!".into(), "recv-eof".into()];
    let outcome = env.client(&steps).run();
    assert_eq!(outcome.line("received"), format!("50000 {:08x}", pattern::checksum(50_000)));
    assert_eq!(error(&outcome).1, "ECONNRESET");
}

fn a_refused_connection_is_reset_at_once(env: &Env) {
    let closed = ClosedPort::new();
    let outcome = env.client(&[format!("connect={}", closed.addr()), "recv-eof".into()]).run();
    let (step, errno, took) = error(&outcome);
    if env.is_direct() {
        assert_eq!((step.as_str(), errno.as_str()), ("connect", "ECONNREFUSED"));
    } else {
        assert!(step == "recv-eof" && errno == "ECONNRESET" || step == "connect", "{step} {errno}");
    }
    assert!(took < at_once(), "took {took:?}");
}

fn a_refused_connection_fails_for_a_client_that_writes(env: &Env) {
    let closed = ClosedPort::new();
    let steps = [format!("connect={}", closed.addr()), "send=10000000".into(), "recv-eof".into()];
    let outcome = env.client(&steps).run();
    let (step, errno, took) = error(&outcome);
    let expected = ["ECONNREFUSED", "ECONNRESET", "EPIPE"];
    assert!(expected.contains(&errno.as_str()), "{step} {errno}");
    assert!(took < at_once(), "took {took:?}");
}

fn a_reset_while_the_server_stalls_reaches_the_server(env: &Env) {
    let server = Server::start(behaviour::stall);
    let steps = [
        format!("connect={}", server.addr()),
        "fill".into(),
        "say=full".into(),
        "await".into(),
        "reset".into(),
    ];
    let mut running = env.client(&steps).start();
    running.process.line("full");
    let before = Instant::now();
    running.process.say("go");
    let record = server.record();
    assert_eq!(record.end, End::Reset);
    let took = record.ended_at.duration_since(before);
    assert!(took < at_once() * 2, "took {took:?}");
    let _outcome = running.finish().success();
}

fn a_stalled_server_s_reset_reaches_a_client_that_writes(env: &Env) {
    let gate = behaviour::Gate::default();
    let server = Server::start({
        let gate = gate.clone();
        move |session| {
            gate.wait();
            session.reset();
        }
    });
    let steps =
        [format!("connect={}", server.addr()), "fill".into(), "say=full".into(), "send=10000000".into()];
    let mut running = env.client(&steps).start();
    running.process.line("full");
    gate.open();
    let (step, errno, _) = error(&running.finish());
    assert!(step == "send" && ["ECONNRESET", "EPIPE"].contains(&errno.as_str()), "{step} {errno}");
}

fn bytes_written_just_before_close_all_arrive(env: &Env) {
    let lens = [1, 2, 1_000, 5_000, 20_000, 65_536, 100_000, 200_000, 500_000, 1_000_000];
    let server = Server::start(behaviour::silent);
    let steps: Vec<String> = lens
        .iter()
        .flat_map(|len| [format!("connect={}", server.addr()), format!("send={len}"), "close".to_owned()])
        .collect();
    let _outcome = env.client(&steps).run().success();
    for (len, record) in lens.into_iter().zip(server.records(lens.len())) {
        assert!(record.received.is_pattern(len) && record.end == End::Fin, "{len} expected: {record:?}");
    }
}

fn a_connection_where_nobody_speaks_stays_open(env: &Env) {
    let server = Server::start(behaviour::echo);
    let steps = [format!("connect={}", server.addr()), "quiet=2000".into(), "exchange=1000".into()];
    let outcome = env.client(&steps).run().success();
    assert!(outcome.text().contains("quiet"), "{}", outcome.text());
    assert_eq!(outcome.line("received"), format!("1000 {:08x}", pattern::checksum(1000)));
}

fn a_killed_client_s_connection_is_closed(env: &Env) {
    let server = Server::start(behaviour::silent);
    let steps = [format!("connect={}", server.addr()), "send=10".into(), "pid".into(), "await".into()];
    let mut running = env.client(&steps).start();
    let pid: i32 = running.process.line("pid").parse().expect("a process id");
    server.accepted();
    let before = Instant::now();
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill the client");
    let record = server.record();
    assert!(record.received.is_pattern(10) && record.end == End::Fin, "{record:?}");
    let took = record.ended_at.duration_since(before);
    assert!(took < at_once() * 2, "took {took:?}");
    assert_eq!(running.finish().signal(), Some(9));
}

fn an_unreachable_destination_fails_at_once(env: &Env) {
    let netns = Netns::new();
    netns.ip(&["route", "add", "unreachable", "10.99.0.0/16"]);
    let outcome = env.client(&["connect=10.99.0.1:80", "recv-eof"]).run_in(&netns);
    let (step, errno, took) = error(&outcome);
    if env.is_direct() {
        assert_eq!((step.as_str(), errno.as_str()), ("connect", "EHOSTUNREACH"));
    } else {
        assert!(["ECONNRESET", "EHOSTUNREACH"].contains(&errno.as_str()), "{step} {errno}");
    }
    assert!(took < at_once(), "took {took:?}");
}

fn a_destination_that_does_not_answer_times_out(env: &Env) {
    let wire = Wire::new();
    let silent = wire.v4(99);
    // Frames to a card that nobody has: not even "no such host" comes back.
    wire.near.ip(&["neighbour", "add", &silent, "lladdr", "02:00:00:00:00:99", "dev", "eth0"]);
    wire.near.enter(|| {
        // One retry, three seconds: what a namespace's owner set holds for the proxy's dial too.
        std::fs::write("/proc/sys/net/ipv4/tcp_syn_retries", "1").expect("set tcp_syn_retries");
    });
    let outcome = env.client(&[format!("connect={silent}:80"), "recv-eof".into()]).run_in(&wire.near);
    let (step, errno, took) = error(&outcome);
    if env.is_direct() {
        assert_eq!((step.as_str(), errno.as_str()), ("connect", "ETIMEDOUT"));
    } else {
        assert!(["ECONNRESET", "ETIMEDOUT"].contains(&errno.as_str()), "{step} {errno}");
    }
    assert!(took > Duration::from_secs(2) && took < at_once() * 8, "took {took:?}");
}
