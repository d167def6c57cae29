//! A workload that means ill harms itself at most: no other one is stalled, cut or held up by it.

use std::fs;
use std::time::{Duration, Instant};

use sluice_tests::agent::Agent;
use sluice_tests::http::Samples;
use sluice_tests::process::{open_files, resident_bytes, run};
use sluice_tests::scale::Scale;
use sluice_tests::server::{Server, behaviour};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

use crate::workload::{Way, Workload};

pub(crate) fn register(suite: &mut Suite) {
    suite.group("hostile").sluice(tests![
        who_goes_to_the_listener_by_itself_is_reset,
        nobody_takes_the_listener_s_port,
        connections_that_say_nothing_hold_nobody_up,
        connections_that_are_reset_at_once_leave_nothing_behind,
        a_head_without_an_end_takes_no_memory,
        a_reader_that_does_not_read_slows_nobody_and_takes_no_memory,
    ]);
}

/// One that means ill, one that does not, and the agent of both.
struct Pair {
    foe: Workload,
    friend: Workload,
    agent: Agent,
}

impl Pair {
    fn new() -> Self {
        let (foe, friend) = (Workload::new("foe"), Workload::new("friend"));
        let agent = Agent::started(&[foe.config(""), friend.config("")].concat());
        Self { foe, friend, agent }
    }

    /// The port where the proxy listens in the foe's namespace, on 127.0.0.1.
    fn listener_port(&self) -> u16 {
        const LISTEN: &str = "0A";
        let sockets =
            self.foe.netns.enter(|| fs::read_to_string("/proc/thread-self/net/tcp").expect("sockets"));
        let ports: Vec<u16> = sockets
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace().skip(1);
                let (local, _remote, state) = (words.next()?, words.next()?, words.next()?);
                let port = local.strip_prefix("0100007F:")?;
                (state == LISTEN).then(|| u16::from_str_radix(port, 16).expect("a port"))
            })
            .collect();
        let [port] = ports[..] else { panic!("one listener of the proxy's, no server's: {sockets}") };
        port
    }

    /// What a client of the foe's says.
    fn foe_says(&self, steps: &[String]) -> String {
        String::from_utf8_lossy(&run(self.foe.peer("client", steps)).stdout).into_owned()
    }

    /// The friend is served as ever, and soon.
    fn friend_is_served(&self) {
        let server = self.friend.server();
        let began = Instant::now();
        assert_eq!(self.friend.way_to(&server), Way::Proxied);
        let took = began.elapsed();
        assert!(took < Scale::current().stretch(Duration::from_secs(2)), "took {took:?}");
    }

    fn descriptors(&mut self) -> usize {
        open_files(self.agent.process().pid())
    }

    /// Resident memory of the agent, bytes.
    fn memory(&mut self) -> u64 {
        resident_bytes(self.agent.process().pid())
    }
}

fn who_goes_to_the_listener_by_itself_is_reset(_: &Env) {
    let pair = Pair::new();
    let steps = [format!("connect=127.0.0.1:{}", pair.listener_port()), "recv-eof".to_owned()];
    let said = pair.foe_says(&steps);
    assert!(said.contains("error recv-eof ECONNRESET"), "{said}");
    let turned_away = [("workload", "foe"), ("reason", "no-original-dst")];
    let counted = Samples::of(pair.agent.admin()).sum("sluice_connection_close_total", &turned_away);
    assert!((counted - 1.0).abs() < f64::EPSILON, "counted {counted}");
    pair.friend_is_served();
}

fn nobody_takes_the_listener_s_port(_: &Env) {
    let pair = Pair::new();
    let port = pair.listener_port();
    let said = pair.foe_says(&[format!("bind=127.0.0.1:{port}"), format!("connect=127.0.0.1:{port}")]);
    assert!(said.contains("error connect EADDRINUSE"), "{said}");
    assert_eq!(pair.foe.way_to_new_server(), Way::Proxied);
    pair.friend_is_served();
}

fn connections_that_say_nothing_hold_nobody_up(_: &Env) {
    let pair = Pair::new();
    let server = pair.foe.server();
    let count = Scale::current().pick(2_000, 100);
    let mut foe = pair.foe.client(&[format!("many={count}/{}", server.addr()), "await".to_owned()]);
    foe.line("opened");
    pair.friend_is_served();
    foe.say("go");
}

fn connections_that_are_reset_at_once_leave_nothing_behind(_: &Env) {
    let mut pair = Pair::new();
    let server = pair.foe.server();
    let count = Scale::current().pick(1_000, 50);
    let steps: Vec<String> =
        (0..count).flat_map(|_| [format!("connect={}", server.addr()), "reset".to_owned()]).collect();
    // The first ones may fill pools.
    assert!(!pair.foe_says(&steps).contains("error"));
    let before = wait::eventually("the first connections to be gone", || {
        let open = Samples::of(pair.agent.admin()).sum("tcp_open_connections", &[]);
        (open < 1.0).then(|| pair.descriptors())
    });
    assert!(!pair.foe_says(&steps).contains("error"));
    wait::eventually("the descriptors to be closed", || (pair.descriptors() <= before).then_some(()));
    pair.friend_is_served();
}

fn a_head_without_an_end_takes_no_memory(_: &Env) {
    let mut pair = Pair::new();
    let server = Server::bind_in(&pair.foe.netns, "127.0.0.1:0", behaviour::sink);
    let len = Scale::current().pick(50_000_000, 1_000_000);
    let steps = [
        format!("connect={}", server.addr()),
        "text=GET / HTTP/1.1\\r\\nX: ".to_owned(),
        format!("send={len}/65536"),
        "say=sent".to_owned(),
        "await".to_owned(),
    ];
    pair.friend_is_served();
    let before = pair.memory();
    let mut foe = pair.foe.client(&steps);
    assert_eq!(foe.line("sent"), len.to_string());
    let grown = pair.memory().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more for one connection");
    pair.friend_is_served();
    foe.say("go");
}

fn a_reader_that_does_not_read_slows_nobody_and_takes_no_memory(_: &Env) {
    let mut pair = Pair::new();
    let server = pair.foe.server();
    let count = Scale::current().pick(50, 5);
    pair.friend_is_served();
    let before = pair.memory();
    // Each writes until nothing is taken any more, and reads nothing of what comes back.
    let foes: Vec<_> = (0..count)
        .map(|_| {
            let steps = [format!("connect={}", server.addr()), "fill".to_owned(), "await".to_owned()];
            let mut foe = pair.foe.client(&steps);
            foe.line("filled");
            foe
        })
        .collect();
    let grown = pair.memory().saturating_sub(before);
    assert!(grown < (600 << 10) * count, "{grown} bytes more for {count} connections");
    pair.friend_is_served();
    drop(foes);
}
