//! A skipped port's connections are never touched, and still accounted for.

use std::net::UdpSocket;

use sluice_tests::exec::Outcome;
use sluice_tests::netns::Netns;
use sluice_tests::server::{Server, behaviour};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::tests;

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("skip");
    group.lane_makes_no_difference();
    group.both_lanes_of_sluice(tests![
        a_skipped_connection_goes_straight_to_the_server,
        a_connection_that_is_not_skipped_goes_through_the_proxy,
        a_skipped_connection_is_reported_with_its_bytes,
        a_range_skips_its_ends_and_nothing_beyond,
        every_port_can_be_skipped,
        skip_wins_over_opaque,
        an_ipv6_and_an_ipv4_mapped_connection_are_skipped_too,
        a_refused_skipped_connection_is_refused_as_ever,
        udp_is_left_alone,
        a_socket_bound_to_a_device_is_left_alone,
    ]);
}

/// Whether the server saw the client's own socket.
fn is_direct(outcome: &Outcome, server: &Server) -> bool {
    let local = outcome.line("local");
    let unmapped = local.strip_prefix("[::ffff:").map(|rest| rest.replacen(']', "", 1));
    unmapped.unwrap_or(local) == server.accepted().to_string()
}

fn exchange(server: &Server) -> [String; 2] {
    [format!("connect={}", server.addr()), "exchange=70000".to_owned()]
}

fn a_skipped_connection_goes_straight_to_the_server(env: &Env) {
    let server = Server::start(behaviour::echo);
    let exec = env.client(&exchange(&server)).flag("--skip-outbound-ports", server.port().to_string());
    let outcome = exec.run().success();
    assert!(is_direct(&outcome, &server));
    assert_eq!(outcome.line("peer"), server.addr().to_string());
}

fn a_connection_that_is_not_skipped_goes_through_the_proxy(env: &Env) {
    let server = Server::start(behaviour::echo);
    let outcome = env.client(&exchange(&server)).flag("--skip-outbound-ports", "1").run().success();
    assert!(!is_direct(&outcome, &server));
}

fn a_skipped_connection_is_reported_with_its_bytes(env: &Env) {
    let server = Server::start(behaviour::both_ways(30_000));
    let exec = env.client(&exchange(&server)).flag("--skip-outbound-ports", server.port().to_string());
    let outcome = exec.run().success();
    let connection = outcome.only_connection();
    assert_eq!(connection.verdict(), "skip - -");
    assert_eq!(connection.bytes(), (70_000, 30_000));
    assert_eq!(connection.text("direction"), Some("outbound"));
    assert_eq!(connection.text("dst"), Some(server.addr().to_string().as_str()));
    assert_eq!(connection.text("client"), Some(outcome.line("local").as_str()));
    assert_eq!(connection.number("requests"), 0);
}

/// One exchange with each port, in a namespace of their own; whether each went direct.
fn directs(env: &Env, ports: &[u16], skip: &str) -> Vec<bool> {
    let netns = Netns::new();
    let serve = |port| Server::bind_in(&netns, &format!("127.0.0.1:{port}"), behaviour::echo);
    let servers: Vec<Server> = ports.iter().map(serve).collect();
    let steps: Vec<String> = servers.iter().flat_map(exchange).collect();
    let outcome = env.client(&steps).flag("--skip-outbound-ports", skip).run_in(&netns).success();
    let locals = outcome.lines("local").into_iter();
    locals.zip(&servers).map(|(local, server)| local == server.accepted().to_string()).collect()
}

fn a_range_skips_its_ends_and_nothing_beyond(env: &Env) {
    let went_direct = directs(env, &[21, 22, 7999, 8000, 8055, 8100, 8101], "22, 8000-8100");
    assert_eq!(went_direct, [false, true, false, true, true, true, false]);
}

fn every_port_can_be_skipped(env: &Env) {
    assert_eq!(directs(env, &[1, 80, 443, 40_000, 65_535], "1-65535"), [true; 5]);
}

fn skip_wins_over_opaque(env: &Env) {
    let server = Server::start(behaviour::echo);
    let port = server.port().to_string();
    let exec = env.client(&exchange(&server)).flag("--skip-outbound-ports", &port);
    let outcome = exec.flag("--opaque-ports", &port).run().success();
    assert!(is_direct(&outcome, &server));
}

fn an_ipv6_and_an_ipv4_mapped_connection_are_skipped_too(env: &Env) {
    let v6 = Server::bind("[::1]:0", behaviour::echo);
    let steps = [format!("connect={}", v6.addr()), "exchange=1000".to_owned()];
    let exec = env.client(&steps).flag("--skip-outbound-ports", v6.port().to_string());
    let outcome = exec.run().success();
    assert!(is_direct(&outcome, &v6));

    let v4 = Server::start(behaviour::echo);
    let steps = [format!("connect={}", v4.mapped_addr()), "exchange=1000".to_owned()];
    let exec = env.client(&steps).flag("--skip-outbound-ports", v4.port().to_string());
    let outcome = exec.run().success();
    assert!(is_direct(&outcome, &v4));
}

fn a_refused_skipped_connection_is_refused_as_ever(env: &Env) {
    let closed = sluice_tests::server::ClosedPort::new();
    let exec = env.client(&[format!("connect={}", closed.addr())]);
    let outcome = exec.flag("--skip-outbound-ports", closed.addr().port().to_string()).run();
    assert!(outcome.line("error").starts_with("connect ECONNREFUSED"), "{}", outcome.line("error"));
}

fn udp_is_left_alone(env: &Env) {
    let echo = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let addr = echo.local_addr().expect("its address");
    let thread = std::thread::spawn(move || {
        let mut datagram = [0; 16];
        let (len, from) = echo.recv_from(&mut datagram)?;
        echo.send_to(&datagram[..len], from).map(|_| from)
    });
    let outcome = env.client(&[format!("udp={addr}")]).run().success();
    let from = thread.join().expect("the server").expect("a datagram");
    let told = outcome.line("udp");
    assert!(told.ends_with(&format!("peer {addr}")), "{told}");
    assert!(told.contains(&format!(":{} ", from.port())), "{told}, and the server saw {from}");
}

fn a_socket_bound_to_a_device_is_left_alone(env: &Env) {
    // It could not reach a listener on another device; the caller's choice of route stands.
    let server = Server::start(behaviour::echo);
    let steps = [&["device-lo".to_owned()][..], &exchange(&server)].concat();
    let outcome = env.client(&steps).flag("--skip-outbound-ports", "1").run().success();
    assert!(is_direct(&outcome, &server));
}
