//! Every byte that comes in arrives, once and in order, both ways; and every end as what it is.

use std::time::{Duration, Instant};

use sluice_tests::pattern;
use sluice_tests::process::{Process, run};
use sluice_tests::scale::Scale;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

use super::decisions::shows;
use super::pod::{Pod, at_once, echoed, served, told};

pub(super) fn register(suite: &mut Suite) {
    let mut group = suite.group("inbound::bytes");
    group.one_lane(tests![
        a_banner_arrives_at_once,
        an_answer_after_the_client_s_fin_arrives,
        a_client_s_reset_reaches_the_application_as_a_reset,
        an_application_s_reset_reaches_the_client_as_a_reset,
        a_large_exchange_both_ways_arrives,
        bytes_sent_while_connecting_come_first,
    ]);
    group.sluice(tests![a_listener_that_vanishes_ends_in_a_reset_and_then_refuses]);
    group.of_the_proxy_alone();
    group.one_lane(tests![
        the_client_s_bytes_after_the_application_s_fin_arrive,
        a_reset_while_the_application_stalls_reaches_it,
        eight_clients_at_once_all_get_their_own_bytes,
        a_slow_reader_gets_everything,
        two_hundred_connections_at_once_keep_their_clients,
        a_connection_where_nobody_speaks_stays_open,
    ]);
}

/// A line of a client, or a part of one of the application's.
fn received(len: u64) -> String {
    format!("{len} {:08x}", pattern::checksum(len))
}

fn large() -> u64 {
    Scale::current().pick(60_000_000, 2_000_000)
}

fn a_banner_arrives_at_once(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    app.open("mail", "[::]:2500 banner");
    for addr in [pod.v4(2500), pod.v6(2500)] {
        let client = pod.run_client(&[format!("connect={addr}"), "recv-line".into()]);
        assert_eq!(told(&client, "line"), "220 here");
        let took = Duration::from_millis(told(&client, "took").parse().expect("milliseconds"));
        assert!(took < at_once(), "took {took:?}");
    }
}

fn an_answer_after_the_client_s_fin_arrives(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    app.open("web", "0.0.0.0:8080 answer-after-fin=500000");
    let steps = [format!("connect={}", pod.v4(8080)), "send=1000".into(), "fin".into(), "recv-eof".into()];
    assert_eq!(told(&pod.run_client(&steps), "received"), received(500_000));
    assert!(app.ended("web").starts_with(&format!("{} Fin", received(1000))));
}

fn the_client_s_bytes_after_the_application_s_fin_arrive(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    app.open("web", "0.0.0.0:8080 source=1000");
    let steps =
        [format!("connect={}", pod.v4(8080)), "recv-eof".into(), "send=500000".into(), "close".into()];
    assert_eq!(told(&pod.run_client(&steps), "received"), received(1000));
    assert!(app.ended("web").starts_with(&format!("{} Fin", received(500_000))));
}

fn a_client_s_reset_reaches_the_application_as_a_reset(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    app.echo("web", "[::]:8080");
    let steps = [format!("connect={}", pod.v6(8080)), "send=10".into(), "recv=10".into(), "reset".into()];
    pod.run_client(&steps);
    assert!(app.ended("web").starts_with(&format!("{} Reset", received(10))));
}

fn an_application_s_reset_reaches_the_client_as_a_reset(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    app.open("web", "[::]:8080 reset-after=50000/3");
    let steps = [format!("connect={}", pod.v6(8080)), "text=go!".into(), "recv-eof".into()];
    let finished = run(pod.client(&steps));
    let stdout = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert_eq!(told(&stdout, "received"), received(50_000), "what was sent before it");
    assert!(told(&stdout, "error").starts_with("recv-eof ECONNRESET "), "{stdout}");
}

fn a_reset_while_the_application_stalls_reaches_it(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    app.open("web", "0.0.0.0:8080 stall");
    let steps = [
        format!("connect={}", pod.v4(8080)),
        "fill".into(),
        "say=full".into(),
        "await".into(),
        "reset".into(),
    ];
    let mut client = Process::start(pod.client(&steps));
    client.line("full");
    let before = Instant::now();
    client.say("go");
    assert!(app.ended("web").contains(" Reset"));
    assert!(before.elapsed() < at_once() * 2, "took {:?}", before.elapsed());
}

fn a_large_exchange_both_ways_arrives(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let (up, down) = (large() / 3, large() / 2);
    let mut app = pod.app();
    app.open("web", &format!("[::]:8080 both-ways={down}"));
    for addr in [pod.v4(8080), pod.v6(8080)] {
        let client = pod.run_client(&[format!("connect={addr}"), format!("exchange={up}")]);
        assert_eq!(told(&client, "received"), received(down));
        assert!(app.ended("web").starts_with(&format!("{} Fin", received(up))));
    }
}

fn eight_clients_at_once_all_get_their_own_bytes(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let len = Scale::current().pick(5_000_000, 200_000);
    let mut app = pod.app();
    app.echo("web", "0.0.0.0:8080");
    let steps = [format!("connect={}", pod.v4(8080)), format!("exchange={len}")];
    let mut clients: Vec<_> = (0..8).map(|_| Process::start(pod.client(&steps))).collect();
    for client in &mut clients {
        assert_eq!(client.line("received"), received(len));
    }
}

fn a_slow_reader_gets_everything(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let len = Scale::current().pick(20_000_000, 1_000_000);
    let mut app = pod.app();
    app.open("web", &format!("0.0.0.0:8080 source={len}"));
    let client = pod.run_client(&[format!("connect={}", pod.v4(8080)), "recv-slowly=65536/3".to_owned()]);
    assert_eq!(told(&client, "received"), received(len));
}

fn two_hundred_connections_at_once_keep_their_clients(env: &Env) {
    const COUNT: usize = 200;
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    app.echo("web", "[::]:8080");
    let steps = [format!("many={COUNT}/{}", pod.v4(8080)), "many-echo".to_owned(), "await".to_owned()];
    let mut client = Process::start(pod.client(&steps));
    assert_eq!(client.line("echoed"), COUNT.to_string());
    let mut ports = std::collections::BTreeSet::new();
    for _ in 0..COUNT {
        let accepted = app.accepted("web");
        assert_eq!(accepted.from.ip(), pod.node_v4());
        assert_eq!(accepted.from, accepted.peer);
        assert_eq!(accepted.kernel == accepted.from, env.is_direct());
        ports.insert(accepted.from.port());
    }
    assert_eq!(ports.len(), COUNT, "each client has a port of its own");
    client.say("done");
}

fn a_connection_where_nobody_speaks_stays_open(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    app.echo("web", "0.0.0.0:8080");
    let client =
        pod.run_client(&[format!("connect={}", pod.v4(8080)), "quiet=1500".into(), "exchange=1000".into()]);
    assert_eq!(told(&client, "received"), received(1000));
    assert!(client.contains("quiet\n"), "{client}");
}

/// TCP Fast Open, which a listener of the proxy's may answer otherwise than the application's.
fn bytes_sent_while_connecting_come_first(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    app.open("web", "0.0.0.0:8080 sink");
    for len in [1, 1_000, 100_000] {
        let steps = [format!("fast-open={}/{len}", pod.v4(8080)), "fin".into(), "recv-line".into()];
        assert_eq!(told(&pod.run_client(&steps), "line"), (len + 10).to_string());
        assert!(app.ended("web").starts_with(&received(len + 10)));
    }
}

/// Nobody tells that a listener from before the enrolment is closed: the proxy finds out by a refused dial.
fn a_listener_that_vanishes_ends_in_a_reset_and_then_refuses(env: &Env) {
    let pod = Pod::new("web");
    let mut app = pod.app();
    app.echo("web", "0.0.0.0:8080");
    let agent = pod.agent(env, "").expect("an agent");
    assert_eq!(pod.way_to(&mut app, "web", pod.v4(8080)), served(env));
    let mut reset = 0.0;
    // The look that is due anyway may come first.
    for _ in 0..5 {
        app.close("web");
        match echoed(&pod.node, pod.v4(8080)) {
            Err(error) if error == "connect ECONNREFUSED" => {}
            // As the RST comes, before or after the first call.
            Err(error) if error.ends_with("ECONNRESET") || error.ends_with("EPIPE") => reset += 1.0,
            other => panic!("{other:?}"),
        }
        // Well before the look that is due.
        pod.refuses_within(Scale::current().stretch(Duration::from_millis(500)), pod.v4(8080));
        if reset > 0.5 {
            break;
        }
        // By a process that is in no enrolled cgroup, so that nobody tells of it again.
        app.process = Process::start(stranger(&pod));
        app.echo("web", "0.0.0.0:8080");
        wait::eventually("the listener to be seen", || {
            echoed(&pod.node, pod.v4(8080)).ok()?;
            (app.accepted("web").kernel.ip() == pod.v4(0).ip()).then_some(())
        });
    }
    let labels = [("direction", "inbound"), ("reason", "refused")];
    assert!(reset > 0.5, "no connection met a listener that had vanished");
    wait::eventually("the refused dials to be counted", || {
        let counted =
            sluice_tests::http::Samples::of(agent.admin()).sum("sluice_connection_close_total", &labels);
        (counted > 0.5).then_some(())
    });
    shows(agent.admin(), "tcp_open_connections", &[("direction", "inbound")], 0.0);
}

/// An application in the pod's namespace that is not in its cgroup.
fn stranger(pod: &Pod) -> std::process::Command {
    let netns = pod.workload.netns.path().to_str().expect("UTF-8").to_owned();
    let words = sluice_tests::peer::command::<_, &str>(&["--netns", &netns, "serve"], &[]);
    let mut command = std::process::Command::new(&words[0]);
    command.args(&words[1..]);
    command
}
