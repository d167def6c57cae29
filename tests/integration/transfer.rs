//! Every byte arrives, once and in order, both ways.

use sluice_tests::exec::Outcome;
use sluice_tests::pattern;
use sluice_tests::scale::Scale;
use sluice_tests::server::{Server, behaviour};
use sluice_tests::suite::{Env, Lane, Suite};
use sluice_tests::tests;

const SIZES: [u64; 12] = [0, 1, 2, 3, 4_095, 4_096, 4_097, 65_535, 65_536, 65_537, 262_145, 1_000_000];

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("transfer");
    group.both_lanes(tests![
        every_size_comes_back_from_an_echo,
        bytes_sent_while_connecting_come_first,
        bytes_of_a_connect_put_off_to_the_first_send_keep_their_order,
        an_ipv6_client_is_served,
        an_ipv4_mapped_client_is_served,
        both_ways_at_once_do_not_disturb_each_other,
        a_slow_reader_gets_everything,
        a_large_download_arrives,
    ]);
    group.one_lane(tests![a_blocking_client_never_sees_eagain]);
    group.of_the_proxy_alone();
    group.both_lanes(tests![
        every_size_comes_back_to_a_non_blocking_client,
        every_size_is_uploaded,
        every_size_is_downloaded,
        one_byte_writes_arrive,
        one_byte_round_trips_are_not_held_back,
        a_large_upload_arrives,
        eight_clients_at_once_all_get_their_own_bytes,
    ]);
}

/// A `received` line as the client writes it.
fn received(len: u64) -> String {
    format!("{len} {:08x}", pattern::checksum(len))
}

/// A blocking call must not say EAGAIN. Forced `sk_msg` is excused: kernels exist where a socket in
/// a sockmap does (seen on 6.18.44), which is why `auto` tests the kernel first.
fn assert_no_eagain(env: &Env, outcome: &Outcome) {
    if env.lane != Lane::SkMsgOn {
        assert_eq!(outcome.line("eagain"), "0");
    }
}

fn large() -> u64 {
    Scale::current().pick(100_000_000, 4_000_000)
}

fn every_size_comes_back_from_an_echo(env: &Env) {
    let server = Server::start(behaviour::echo);
    let steps: Vec<String> = SIZES
        .iter()
        .flat_map(|size| [format!("connect={}", server.addr()), format!("exchange={size}")])
        .collect();
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.lines("received"), SIZES.map(received));
    assert_no_eagain(env, &outcome);
    outcome.report(|connections| {
        // They are reported as they end, and two that are left at once end in any order.
        let mut sent: Vec<_> = connections.iter().map(|connection| connection.bytes()).collect();
        sent.sort_unstable();
        assert_eq!(sent, SIZES.map(|size| (size, size)));
    });
}

fn every_size_comes_back_to_a_non_blocking_client(env: &Env) {
    let server = Server::start(behaviour::echo);
    let connections =
        SIZES.iter().flat_map(|size| [format!("connect={}", server.addr()), format!("exchange={size}")]);
    let steps: Vec<String> = std::iter::once("nonblocking".to_owned()).chain(connections).collect();
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.lines("received"), SIZES.map(received));
}

fn every_size_is_uploaded(env: &Env) {
    let server = Server::start(behaviour::sink);
    let steps: Vec<String> = SIZES
        .iter()
        .flat_map(|size| {
            [format!("connect={}", server.addr()), format!("send={size}"), "fin".into(), "recv-line".into()]
        })
        .collect();
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.lines("line"), SIZES.map(|size| size.to_string()));
    for (size, record) in SIZES.into_iter().zip(server.records(SIZES.len())) {
        assert!(record.received.is_pattern(size), "{size}: {record:?}");
    }
}

fn every_size_is_downloaded(env: &Env) {
    let servers = SIZES.map(|size| Server::start(behaviour::source(size)));
    let steps: Vec<String> = servers
        .iter()
        .flat_map(|server| [format!("connect={}", server.addr()), "recv-eof".to_owned()])
        .collect();
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.lines("received"), SIZES.map(received));
    assert_no_eagain(env, &outcome);
}

fn one_byte_writes_arrive(env: &Env) {
    let len = Scale::current().pick(20_000, 1_000);
    let server = Server::start(behaviour::echo);
    let steps = [format!("connect={}", server.addr()), format!("exchange={len}/1")];
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.line("received"), received(len));
}

fn one_byte_round_trips_are_not_held_back(env: &Env) {
    let rounds = Scale::current().pick(5_000, 200);
    let server = Server::start(behaviour::echo);
    let steps = [format!("connect={}", server.addr()), format!("ping-pong={rounds}")];
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.line("ponged"), rounds.to_string());
    // 5,000 rounds with Nagle and delayed acknowledgements would take 200 s: over the run's limit.
}

/// TCP Fast Open: the first send queues its bytes in TCP, and must not be overtaken by the second.
fn bytes_sent_while_connecting_come_first(env: &Env) {
    const SIZES: [u64; 3] = [1, 1_000, 200_000];
    const ROUNDS: usize = 10;
    let server = Server::start(behaviour::sink);
    let steps: Vec<String> = (0..ROUNDS)
        .flat_map(|_| SIZES)
        .flat_map(|size| [format!("fast-open={}/{size}", server.addr()), "fin".into(), "recv-line".into()])
        .collect();
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.lines("line").len(), SIZES.len() * ROUNDS);
    for (size, record) in
        SIZES.into_iter().flat_map(|size| [size; ROUNDS]).zip(server.records(SIZES.len() * ROUNDS))
    {
        assert!(record.received.is_pattern(size + 10), "{size}: {record:?}");
    }
}

fn bytes_of_a_connect_put_off_to_the_first_send_keep_their_order(env: &Env) {
    const LEN: u64 = 200_000;
    const ROUNDS: usize = 10;
    let server = Server::start(behaviour::sink);
    let connections = std::iter::repeat_n(
        [format!("connect={}", server.addr()), format!("send={LEN}"), "fin".into(), "recv-line".into()],
        ROUNDS,
    );
    let steps: Vec<String> =
        std::iter::once("fast-connect".to_owned()).chain(connections.flatten()).collect();
    let _outcome = env.client(&steps).run().success();
    for record in server.records(ROUNDS) {
        assert!(record.received.is_pattern(LEN), "{record:?}");
    }
}

fn an_ipv6_client_is_served(env: &Env) {
    let server = Server::bind("[::1]:0", behaviour::echo);
    let steps = [format!("connect={}", server.addr()), "exchange=300000".to_owned()];
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.line("received"), received(300_000));
}

fn an_ipv4_mapped_client_is_served(env: &Env) {
    let server = Server::start(behaviour::echo);
    let steps = [format!("connect={}", server.mapped_addr()), "exchange=300000".to_owned()];
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.line("received"), received(300_000));
}

fn both_ways_at_once_do_not_disturb_each_other(env: &Env) {
    let (up, down) = (large() / 3, large() / 2);
    let server = Server::start(behaviour::both_ways(down));
    let steps = [format!("connect={}", server.addr()), format!("exchange={up}")];
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.line("received"), received(down));
    let record = server.record();
    assert!(record.received.is_pattern(up), "{record:?}");
    outcome.report(|connections| assert_eq!(connections[0].bytes(), (up, down)));
}

fn a_slow_reader_gets_everything(env: &Env) {
    let len = Scale::current().pick(20_000_000, 1_000_000);
    let server = Server::start(behaviour::source(len));
    let steps = [format!("connect={}", server.addr()), "recv-slowly=65536/3".to_owned()];
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.line("received"), received(len));
}

fn a_large_upload_arrives(env: &Env) {
    let server = Server::start(behaviour::sink);
    let steps =
        [format!("connect={}", server.addr()), format!("send={}", large()), "fin".into(), "recv-line".into()];
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.line("line"), large().to_string());
    let record = server.record();
    assert!(record.received.is_pattern(large()), "{record:?}");
}

fn a_large_download_arrives(env: &Env) {
    let server = Server::start(behaviour::source(large()));
    let outcome = env.client(&[format!("connect={}", server.addr()), "recv-eof".into()]).run().success();
    assert_eq!(outcome.line("received"), received(large()));
}

fn eight_clients_at_once_all_get_their_own_bytes(env: &Env) {
    let len = Scale::current().pick(5_000_000, 200_000);
    let server = Server::start(behaviour::echo);
    let script = "for n in 1 2 3 4 5 6 7 8; do \"$@\" & done; wait";
    let steps = [format!("connect={}", server.addr()), format!("exchange={len}")];
    let client = sluice_tests::peer::command(&["client"], &steps);
    let command: Vec<&str> =
        ["sh", "-c", script, "sh"].into_iter().chain(client.iter().map(String::as_str)).collect();
    let outcome = env.exec(&command).run().success();
    assert_eq!(outcome.lines("received"), vec![received(len); 8]);
    outcome.report(|connections| assert_eq!(connections.len(), 8));
}

fn a_blocking_client_never_sees_eagain(env: &Env) {
    let rounds = Scale::current().pick(200, 20);
    let server = Server::start(behaviour::echo);
    let steps: Vec<String> = (0..rounds)
        .flat_map(|_| [format!("connect={}", server.addr()), "exchange=100000/5000".to_owned()])
        .collect();
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.lines("received").len(), rounds);
    assert_no_eagain(env, &outcome);
}
