//! Connections between two workloads of one node that both want it go past TCP, and arrive all the same.
//!
//! Forced, because the self-test leaves it where a blocking receive can say EAGAIN; the clients and servers here
//! count that and go on.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sluice_tests::agent::Agent;
use sluice_tests::cgroup::Cgroup;
use sluice_tests::http::Samples;
use sluice_tests::netns::Wire;
use sluice_tests::process::{Process, run};
use sluice_tests::scale::Scale;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

use crate::workload::Workload;

/// The port that is opaque.
const PORT: u16 = 7_000;
/// Transfers at one time.
const LANES: u64 = 4;
/// How many transfers there are in all, and the number that they come of.
const TRANSFERS: &str = "SLUICE_TEST_TRANSFERS";
const SEED: &str = "SLUICE_TEST_SEED";

pub(super) fn register(suite: &mut Suite) {
    let mut group = suite.group("bypass");
    group.one_lane(tests![random_transfers_arrive]);
    group.sluice(tests![
        both_ends_find_each_other_and_every_byte_is_counted,
        a_peer_that_does_not_read_stops_its_sender_and_gets_everything,
        a_send_after_fin_fails_as_on_tcp,
        connections_outlive_the_agent_with_what_is_in_flight,
    ]);
    if Scale::current() == Scale::Small {
        group.leave_out("is of whom the bypass is for, alike on every kernel: tested on a real CPU");
    }
    group.sluice(tests![
        bytes_show_while_the_connection_lives,
        an_end_that_does_not_want_it_is_left_to_tcp,
        a_skipped_port_is_left_to_tcp,
        the_self_test_decides_unless_it_is_forced,
    ]);
}

/// A client and a server, in namespaces with a wire between them.
struct Pair {
    client: Workload,
    server: Workload,
    wire_v4: String,
    wire_v6: String,
}

impl Pair {
    fn new() -> Self {
        let wire = Wire::new();
        let (wire_v4, wire_v6) = (wire.v4(2), wire.v6(2));
        let Wire { near, far, .. } = wire;
        Self {
            client: Workload { name: "client", cgroup: Cgroup::new(), netns: near },
            server: Workload { name: "server", cgroup: Cgroup::new(), netns: far },
            wire_v4,
            wire_v6,
        }
    }

    /// An agent with both, each with more settings.
    fn agent(&self, client: &str, server: &str) -> Agent {
        let config = |workload: &Workload, more: &str| {
            workload
                .config(&format!("opaque-ports = \"{PORT}-{}\"\n{more}", PORT + 99))
                .replace("include-loopback = true\n", "")
        };
        Agent::started(&format!("{}{}", config(&self.client, client), config(&self.server, server)))
    }

    fn forced(&self) -> Agent {
        self.agent(FORCED, FORCED)
    }

    fn v4(&self) -> String {
        format!("{}:{PORT}", self.wire_v4)
    }

    /// A server that behaves so at the opaque port.
    fn serve(&self, behaviour: &str) -> Process {
        let mut server = Process::start(self.server.peer::<&str>("serve", &[]));
        server.say(&format!("open it [::]:{PORT} {behaviour}"));
        server.line("opened it");
        server
    }

    /// A client, to its end; what it told.
    fn connect(&self, steps: &[String]) -> String {
        let finished = run(self.client.peer("client", steps));
        assert!(finished.status.success(), "{finished:?}");
        String::from_utf8_lossy(&finished.stdout).into_owned()
    }
}

const FORCED: &str = "same-node-bypass = \"forced\"";

/// A counter of the hooks.
fn outcome(agent: &Agent, hook: &str, outcome: &str) -> f64 {
    let name = "sluice_hook_outcomes_total";
    Samples::of(agent.admin()).sum(name, &[("hook", hook), ("outcome", outcome)])
}

fn both_ends_find_each_other_and_every_byte_is_counted(_env: &Env) {
    let pair = Pair::new();
    let agent = pair.forced();
    let _server = pair.serve("echo");
    for addr in [pair.v4(), format!("[{}]:{PORT}", pair.wire_v6)] {
        let told =
            pair.connect(&[format!("connect={addr}"), "ping-pong=50".into(), "exchange=100000".into()]);
        assert!(told.contains("ponged 50") && told.contains("received 100000 "), "{told}");
    }
    assert_eq!(outcome(&agent, "sock_ops", "bypass_paired"), 2.0);
    assert_eq!(outcome(&agent, "sock_ops", "bypass_failed"), 0.0);
    assert!(outcome(&agent, "sk_msg_bypass", "redirected") > 100.0, "{}", agent.answer(&["status"]));
    for (direction, workload) in [("outbound", "client"), ("inbound", "server")] {
        let labels = [("direction", direction), ("workload", workload)];
        let each = |peer| [labels[0], labels[1], ("peer", peer)];
        wait::eventually("both connections to be counted", || {
            let metrics = Samples::of(agent.admin());
            (metrics.sum("sluice_connection_close_total", &labels) == 2.0).then_some(())
        });
        let metrics = Samples::of(agent.admin());
        assert_eq!(
            metrics.sum("sluice_connection_close_total", &[labels[0], labels[1], ("reason", "eof")]),
            2.0
        );
        for peer in ["src", "dst"] {
            for series in ["tcp_read_bytes_total", "tcp_write_bytes_total"] {
                assert_eq!(metrics.sum(series, &each(peer)), 200_100.0, "{series} {direction} {peer}");
            }
        }
    }
}

fn bytes_show_while_the_connection_lives(_env: &Env) {
    let pair = Pair::new();
    let agent = pair.forced();
    let _server = pair.serve("echo");
    let steps = [format!("connect={}", pair.v4()), "ping-pong=500".into(), "await".into()];
    let mut client = Process::start(pair.client.peer("client", &steps));
    client.line("ponged");
    for labels in [[("direction", "outbound"), ("peer", "src")], [("direction", "inbound"), ("peer", "dst")]]
    {
        wait::eventually("its bytes to show", || {
            let metrics = Samples::of(agent.admin());
            let is_told = |series| metrics.sum(series, &labels) == 500.0;
            (is_told("tcp_read_bytes_total") && is_told("tcp_write_bytes_total")).then_some(())
        });
    }
    assert!(outcome(&agent, "sk_msg_bypass", "redirected") > 900.0);
    client.say("go");
}

fn an_end_that_does_not_want_it_is_left_to_tcp(_env: &Env) {
    for (client, server) in [(FORCED, ""), ("", FORCED)] {
        let pair = Pair::new();
        let agent = pair.agent(client, server);
        let _server = pair.serve("echo");
        let told = pair.connect(&[format!("connect={}", pair.v4()), "exchange=100000".into()]);
        assert!(told.contains("received 100000 "), "{told}");
        for counted in ["bypass_answered", "bypass_paired", "bypass_failed"] {
            assert_eq!(outcome(&agent, "sock_ops", counted), 0.0, "{counted}");
        }
        assert_eq!(
            Samples::of(agent.admin()).sum("sluice_hook_outcomes_total", &[("hook", "sk_msg_bypass")]),
            0.0
        );
    }
}

fn a_skipped_port_is_left_to_tcp(_env: &Env) {
    for (client, server) in [
        (format!("{FORCED}\nskip-outbound-ports = \"{PORT}\""), FORCED.to_owned()),
        (FORCED.to_owned(), format!("{FORCED}\nskip-inbound-ports = \"{PORT}\"")),
    ] {
        let pair = Pair::new();
        let agent = pair.agent(&client, &server);
        let _server = pair.serve("echo");
        pair.connect(&[format!("connect={}", pair.v4()), "exchange=1000".into()]);
        assert_eq!(outcome(&agent, "sock_ops", "bypass_paired"), 0.0);
    }
}

fn a_peer_that_does_not_read_stops_its_sender_and_gets_everything(_env: &Env) {
    let pair = Pair::new();
    let agent = pair.forced();
    let mut flood = Flood::start(&pair);
    assert!(outcome(&agent, "sk_msg_bypass", "full") > 0.0, "{}", agent.answer(&["status"]));
    flood.arrives();
}

fn connections_outlive_the_agent_with_what_is_in_flight(_env: &Env) {
    let pair = Pair::new();
    let mut agent = pair.forced();
    let mut flood = Flood::start(&pair);
    let finished = agent.stop(Signal::SIGTERM);
    assert!(finished.status.success(), "{finished:?}");
    let _next = pair.forced();
    flood.arrives();
}

/// A client that has sent what was taken with nobody reading.
struct Flood {
    client: Process,
    server: Process,
    bytes: u64,
}

impl Flood {
    fn start(pair: &Pair) -> Self {
        const LIMIT: u64 = 16 << 20;
        let server = pair.serve("gated");
        let steps = [format!("connect={}", pair.v4()), "fill".into(), "await".into(), "fin".into()];
        let steps = [steps.as_slice(), &["recv-eof".into()]].concat();
        let mut client = Process::start(pair.client.peer("client", &steps));
        let bytes = client.line("filled").parse().expect("a number");
        assert!(bytes <= LIMIT, "{bytes} bytes were taken with nobody reading");
        Self { client, server, bytes }
    }

    fn arrives(&mut self) {
        self.server.say("release");
        self.client.say("go");
        let ended = self.server.line("ended it");
        assert!(
            ended.starts_with(&format!("{} ", self.bytes)) && ended.contains(" Fin"),
            "{ended}, of {}",
            self.bytes
        );
    }
}

fn a_send_after_fin_fails_as_on_tcp(_env: &Env) {
    let pair = Pair::new();
    let agent = pair.forced();
    let _server = pair.serve("echo");
    let steps = [format!("connect={}", pair.v4()), "ping-pong=20".into(), "fin".into(), "recv-eof".into()];
    let finished = run(pair.client.peer("client", &[steps.as_slice(), &["text=late".into()]].concat()));
    let told = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(told.contains("error text EPIPE"), "{told}");
    assert!(outcome(&agent, "sk_msg_bypass", "redirected") > 0.0);
}

fn the_self_test_decides_unless_it_is_forced(_env: &Env) {
    let pair = Pair::new();
    let agent = pair.agent("same-node-bypass = \"enabled\"", "same-node-bypass = \"enabled\"");
    let _server = pair.serve("echo");
    pair.connect(&[format!("connect={}", pair.v4()), "ping-pong=20".into()]);
    let status = agent.answer(&["status"]);
    let line = status.lines().find_map(|line| line.strip_prefix("bypass")).expect("a line").trim();
    let is_on = match line.split_once(" (self-test: ") {
        Some(("on", "passed)")) => true,
        Some(("off", why)) if why != "passed)" => false,
        _ => panic!("{line}"),
    };
    let expected = f64::from(u8::from(is_on));
    assert_eq!(Samples::of(agent.admin()).sum("sluice_same_node_bypass_enabled", &[]), expected, "{line}");
    assert_eq!(outcome(&agent, "sock_ops", "bypass_paired"), expected, "{line}");
}

fn random_transfers_arrive(env: &Env) {
    let scale = Scale::current();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let count = number(TRANSFERS).unwrap_or_else(|| scale.pick(400, 60)).div_ceil(LANES);
    let seed = number(SEED).unwrap_or(1);
    let pair = Pair::new();
    let agent = (!env.is_direct()).then(|| pair.forced());
    let began = Instant::now();
    let words = |role: &str, addrs: &[String]| {
        [&[role.to_owned(), seed.to_string(), count.to_string()], addrs].concat()
    };
    // Each other lane by the other family.
    let hosts = [pair.wire_v4.clone(), format!("[{}]", pair.wire_v6)];
    let addrs: Vec<String> = (u64::from(PORT)..)
        .zip(hosts.iter().cycle())
        .take(usize::try_from(LANES).expect("few"))
        .map(|(port, host)| format!("{host}:{port}"))
        .collect();
    let mut server = Process::start(pair.server.peer("transfers", &words("serve", &addrs)));
    server.line("listening");
    let client = Process::start(pair.client.peer("transfers", &words("connect", &addrs)));
    let limit = scale.stretch(
        Duration::from_secs(120) + Duration::from_millis(200) * u32::try_from(count).unwrap_or(u32::MAX),
    );
    let ends = [client.finish(limit), server.finish(limit)];
    let told = ends.each_ref().map(|end| String::from_utf8_lossy(&end.stdout).into_owned()).concat();
    eprintln!("seed {seed}, {} transfers in {:?}: {told}", count * LANES, began.elapsed());
    if let Some(agent) = &agent {
        eprintln!("{}", agent.answer(&["status"]));
    }
    assert!(ends.iter().all(|end| end.status.success()), "seed {seed}: {ends:?}");
    let Some(agent) = agent else { return };
    assert!(outcome(&agent, "sock_ops", "bypass_paired") >= (count * LANES) as f64 * 0.9);
    for taken in ["redirected", "native_before"] {
        assert!(outcome(&agent, "sk_msg_bypass", taken) > 0.0, "{taken}");
    }
}
