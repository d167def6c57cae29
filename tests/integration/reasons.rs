//! The report says how each connection ended, in words of a closed set.

use sluice_tests::exec::{Exec, Outcome};
use sluice_tests::netns::Netns;
use sluice_tests::server::{ClosedPort, Server, behaviour};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::tests;

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("reasons");
    group.lane_makes_no_difference();
    group.both_lanes_of_sluice(tests![
        a_connection_that_both_ends_finished_is_eof,
        a_connection_that_only_the_client_finished_is_eof_too,
        a_client_s_reset_is_client_reset,
        a_server_s_reset_is_server_reset,
        a_refused_connection_is_refused,
        an_unreachable_destination_is_unreachable,
    ]);
}

fn close_of(outcome: &Outcome) -> String {
    outcome.only_connection().text("close").expect("a reason").to_owned()
}

fn client(env: &Env, addr: impl std::fmt::Display, steps: &[&str]) -> Exec {
    let connect = format!("connect={addr}");
    env.client(&[&[&*connect][..], steps].concat())
}

fn a_connection_that_both_ends_finished_is_eof(env: &Env) {
    let server = Server::start(behaviour::echo);
    assert_eq!(close_of(&client(env, server.addr(), &["exchange=1000"]).run()), "eof");
}

fn a_connection_that_only_the_client_finished_is_eof_too(env: &Env) {
    let server = Server::start(behaviour::silent);
    assert_eq!(close_of(&client(env, server.addr(), &["send=10", "close"]).run()), "eof");
}

fn a_client_s_reset_is_client_reset(env: &Env) {
    let server = Server::start(behaviour::echo);
    let outcome = client(env, server.addr(), &["send=10", "recv=10", "reset"]).run();
    assert_eq!(close_of(&outcome), "client-reset");
    assert_eq!(outcome.only_connection().bytes(), (10, 10));
}

fn a_server_s_reset_is_server_reset(env: &Env) {
    let server = Server::start(behaviour::reset_after(1000, 3));
    let outcome = client(env, server.addr(), &["recv=1000", "text=got", "recv-eof"]).run();
    assert_eq!(close_of(&outcome), "server-reset");
    assert_eq!(outcome.only_connection().bytes(), (3, 1000));
}

fn a_refused_connection_is_refused(env: &Env) {
    let closed = ClosedPort::new();
    assert_eq!(close_of(&client(env, closed.addr(), &["recv-eof"]).run()), "refused");
}

fn an_unreachable_destination_is_unreachable(env: &Env) {
    let netns = Netns::new();
    netns.ip(&["route", "add", "unreachable", "10.99.0.0/16"]);
    assert_eq!(close_of(&client(env, "10.99.0.1:80", &["recv-eof"]).run_in(&netns)), "unreachable");
}
