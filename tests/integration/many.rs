//! Many connections at once.

use sluice_tests::scale::Scale;
use sluice_tests::server::{Server, behaviour};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::tests;

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("many");
    group.lane_makes_no_difference();
    group.both_lanes(tests![
        many_connections_are_open_at_once_and_each_is_answered,
        many_short_connections_one_after_another_all_work,
    ]);
}

fn many_connections_are_open_at_once_and_each_is_answered(env: &Env) {
    let count: usize = Scale::current().pick(5_000, 500);
    let server = Server::start(behaviour::echo);
    let steps = [
        format!("many={count}/{}", server.addr()),
        "many-echo".to_owned(),
        // The second round is on connections that have all been idle.
        "many-echo".to_owned(),
    ];
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.lines("echoed"), [count.to_string(), count.to_string()]);
    outcome.report(|connections| {
        assert_eq!(connections.len(), count);
        let complete = |bytes| bytes == (16, 16);
        assert!(connections.iter().all(|connection| complete(connection.bytes())));
    });
}

fn many_short_connections_one_after_another_all_work(env: &Env) {
    let count: usize = Scale::current().pick(2_000, 100);
    let server = Server::start(behaviour::echo);
    let steps: Vec<String> =
        (0..count).flat_map(|_| [format!("connect={}", server.addr()), "exchange=10".to_owned()]).collect();
    let outcome = env.client(&steps).run().success();
    assert_eq!(outcome.lines("received").len(), count);
    outcome.report(|connections| assert_eq!(connections.len(), count));
}
