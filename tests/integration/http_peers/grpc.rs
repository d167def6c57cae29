//! gRPC: calls and how they ended, as the client saw it.

use std::collections::BTreeMap;
use std::process::Command;

use sluice_tests::suite::{Env, Group};
use sluice_tests::tempdir::TempDir;
use sluice_tests::tests;

use super::clients;
use crate::peers::{Daemon, free_port};

pub(super) fn register(group: &mut Group<'_>) {
    group.peers(tests![grpcio_and_grpcio]);
}

/// Calls of every kind: the report tells each method's calls, and the status of each call that the
/// server ended. A call that the client gave up has no status on the wire, or one that comes too late.
fn grpcio_and_grpcio(env: &Env) {
    let directory = TempDir::new();
    let script = directory.write("grpc_peer.py", include_str!("programs/grpc_peer.py"));
    let port = free_port();
    let mut command = Command::new(clients::python());
    command.arg(&script).args(["serve", &port.to_string()]);
    let server = Daemon::start(port, command);
    let addr = server.addr.to_string();
    let command = [&*clients::python(), script.to_str().expect("UTF-8"), "ask", &addr];
    // It would look for a proxy that is none of the test's.
    let exec = env.exec(&command).variable("no_proxy", "127.0.0.1").variable("GRPC_VERBOSITY", "none");
    let outcome = exec.run().success();

    // Of a method: calls, of which the client ended itself, and the statuses of the others.
    let mut seen: BTreeMap<String, (u64, u64, BTreeMap<String, u64>)> = BTreeMap::new();
    for call in outcome.lines("call") {
        let words: Vec<_> = call.split(' ').collect();
        let [method, code, by] = words[..] else { panic!("call {call}") };
        let (calls, given_up, statuses) = seen.entry(method.to_owned()).or_default();
        *calls += 1;
        if by == "server" {
            *statuses.entry(code.to_owned()).or_default() += 1;
        } else {
            *given_up += 1;
        }
    }
    assert_eq!(seen.len(), 9, "{seen:?}");
    outcome.report(|connections| {
        assert_eq!(connections.len(), 1, "{connections:?}");
        let connection = &connections[0];
        assert_eq!(connection.text("protocol"), Some("grpc"), "{connection:?}");
        assert_eq!(connection.text("lost"), None, "{connection:?}");
        let told = connection.field("grpc").as_object().expect("an object of methods");
        let methods: Vec<_> = told.keys().collect();
        assert_eq!(methods, seen.keys().collect::<Vec<_>>(), "{connection:?}");
        let mut all = 0;
        for (method, (calls, given_up, statuses)) in &seen {
            let told = &told[method];
            assert_eq!(told["calls"].as_u64(), Some(*calls), "{method}: {connection:?}");
            all += calls;
            let told = told["statuses"].as_object().expect("an object of statuses");
            let told: BTreeMap<_, _> =
                told.iter().map(|(code, count)| (code.clone(), count.as_u64().unwrap_or(0))).collect();
            if *given_up == 0 {
                assert_eq!(told, *statuses, "{method}: {connection:?}");
            }
        }
        assert_eq!(connection.number("requests"), all, "{connection:?}");
    });
}
