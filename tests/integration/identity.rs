//! Both ends see the addresses that they would see without a proxy.

use std::net::SocketAddr;

use sluice_tests::netns::Wire;
use sluice_tests::server::{Server, behaviour};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::tests;

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("identity");
    group.lane_makes_no_difference();
    group.both_lanes(tests![
        getpeername_tells_the_ipv4_destination,
        getpeername_tells_the_ipv6_destination,
        getpeername_tells_an_ipv4_mapped_destination_as_mapped,
        the_unspecified_ipv4_address_reaches_loopback,
        the_unspecified_ipv6_address_reaches_loopback,
        the_server_sees_the_workload_s_ipv4_address,
        the_server_sees_the_workload_s_ipv6_address,
        a_mapped_client_crosses_the_wire,
        a_bound_source_address_is_kept,
        a_client_reaches_its_own_address,
    ]);
    group.sluice(tests![the_report_names_both_ends]);
}

fn exchange(addr: impl std::fmt::Display) -> [String; 2] {
    [format!("connect={addr}"), "exchange=1000".to_owned()]
}

fn getpeername_tells_the_ipv4_destination(env: &Env) {
    let server = Server::start(behaviour::echo);
    let outcome = env.client(&exchange(server.addr())).run().success();
    assert_eq!(outcome.line("peer"), server.addr().to_string());
}

fn getpeername_tells_the_ipv6_destination(env: &Env) {
    let server = Server::bind("[::1]:0", behaviour::echo);
    let outcome = env.client(&exchange(server.addr())).run().success();
    assert_eq!(outcome.line("peer"), server.addr().to_string());
}

fn getpeername_tells_an_ipv4_mapped_destination_as_mapped(env: &Env) {
    let server = Server::start(behaviour::echo);
    let outcome = env.client(&exchange(server.mapped_addr())).run().success();
    assert_eq!(outcome.line("peer"), server.mapped_addr());
}

fn the_unspecified_ipv4_address_reaches_loopback(env: &Env) {
    let server = Server::start(behaviour::echo);
    let outcome = env.client(&exchange(format!("0.0.0.0:{}", server.port()))).run().success();
    assert_eq!(outcome.line("peer"), server.addr().to_string());
}

fn the_unspecified_ipv6_address_reaches_loopback(env: &Env) {
    let server = Server::bind("[::1]:0", behaviour::echo);
    let outcome = env.client(&exchange(format!("[::]:{}", server.port()))).run().success();
    assert_eq!(outcome.line("peer"), server.addr().to_string());
}

fn the_server_sees_the_workload_s_ipv4_address(env: &Env) {
    let wire = Wire::new();
    let server = Server::bind_in(&wire.far, &format!("{}:0", wire.v4(2)), behaviour::echo);
    let outcome = env.client(&exchange(server.addr())).run_in(&wire.near).success();
    assert_eq!(outcome.line("peer"), server.addr().to_string());
    assert_eq!(server.accepted().ip().to_string(), wire.v4(1));
}

fn the_server_sees_the_workload_s_ipv6_address(env: &Env) {
    let wire = Wire::new();
    let server = Server::bind_in(&wire.far, &format!("[{}]:0", wire.v6(2)), behaviour::echo);
    let outcome = env.client(&exchange(server.addr())).run_in(&wire.near).success();
    assert_eq!(outcome.line("peer"), server.addr().to_string());
    assert_eq!(server.accepted().ip().to_string(), wire.v6(1));
}

fn a_mapped_client_crosses_the_wire(env: &Env) {
    let wire = Wire::new();
    let server = Server::bind_in(&wire.far, &format!("{}:0", wire.v4(2)), behaviour::echo);
    let outcome = env.client(&exchange(server.mapped_addr())).run_in(&wire.near).success();
    assert_eq!(outcome.line("peer"), server.mapped_addr());
    assert_eq!(server.accepted().ip().to_string(), wire.v4(1));
}

fn a_bound_source_address_is_kept(env: &Env) {
    let wire = Wire::new();
    wire.near.ip(&["address", "add", &format!("{}/24", wire.v4(7)), "dev", "eth0"]);
    let server = Server::bind_in(&wire.far, &format!("{}:0", wire.v4(2)), behaviour::echo);
    let steps =
        [format!("bind={}:0", wire.v4(7)), format!("connect={}", server.addr()), "exchange=1000".to_owned()];
    let outcome = env.client(&steps).run_in(&wire.near).success();
    let local: SocketAddr = outcome.line("local").parse().expect("an address");
    assert_eq!(local.ip().to_string(), wire.v4(7));
    assert_eq!(server.accepted().ip().to_string(), wire.v4(7));
}

fn a_client_reaches_its_own_address(env: &Env) {
    let wire = Wire::new();
    let server = Server::bind_in(&wire.near, &format!("{}:0", wire.v4(1)), behaviour::echo);
    let outcome = env.client(&exchange(server.addr())).run_in(&wire.near).success();
    assert_eq!(outcome.line("peer"), server.addr().to_string());
}

fn the_report_names_both_ends(env: &Env) {
    let wire = Wire::new();
    let server = Server::bind_in(&wire.far, &format!("{}:0", wire.v4(2)), behaviour::echo);
    let outcome = env.client(&exchange(server.addr())).run_in(&wire.near).success();
    let connection = outcome.only_connection();
    assert_eq!(connection.text("dst"), Some(server.addr().to_string().as_str()));
    assert_eq!(connection.text("client"), Some(outcome.line("local").as_str()));
    assert_eq!(connection.text("direction"), Some("outbound"));
    assert!(connection.text("close").is_some_and(|reason| !reason.is_empty()));
    assert_eq!(connection.number("requests"), 0);
    let duration = connection.milliseconds("duration_ms");
    assert!(duration > 0.0 && duration < 60_000.0, "{duration}");
}
