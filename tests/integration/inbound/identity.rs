//! The application sees its client as it would without a proxy.

use sluice_tests::suite::{Env, Suite};
use sluice_tests::tests;

use super::pod::{Pod, told};

pub(super) fn register(suite: &mut Suite) {
    let mut group = suite.group("inbound::identity");
    group.one_lane(tests![
        an_application_sees_its_client_s_address_and_port,
        a_dual_stack_application_sees_ipv4_clients_as_mapped,
        a_client_s_chosen_port_is_seen,
    ]);
    group.sluice(tests![an_application_that_is_shown_the_proxy_sees_its_own_address]);
}

/// A connection to each address, and whom the application sees: itself asked for, its client.
fn an_application_sees_its_client_s_address_and_port(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    app.echo("v4", "0.0.0.0:8080");
    app.open("v6", "[::]:8080 echo v6only");
    for (name, addr) in [("v4", pod.v4(8080)), ("v6", pod.v6(8080))] {
        let client = pod.run_client(&[format!("connect={addr}"), "exchange=1000".into()]);
        let accepted = app.accepted(name);
        let local = told(&client, "local");
        assert_eq!(accepted.from.to_string(), local, "accept(2), {name}");
        assert_eq!(accepted.peer.to_string(), local, "getpeername(2), {name}");
        assert_eq!(accepted.local, addr, "getsockname(2), {name}");
        assert_eq!(told(&client, "peer"), addr.to_string(), "the client's peer, {name}");
        assert!(!accepted.is_mapped);
        assert_eq!(accepted.kernel.to_string() == local, env.is_direct(), "{accepted:?}");
    }
}

fn a_dual_stack_application_sees_ipv4_clients_as_mapped(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    app.echo("web", "[::]:8080");
    let client = pod.run_client(&[format!("connect={}", pod.v4(8080)), "exchange=1000".into()]);
    let accepted = app.accepted("web");
    assert!(accepted.is_mapped, "{accepted:?}");
    for seen in [accepted.from, accepted.peer] {
        assert_eq!(seen.to_string(), told(&client, "local"), "{accepted:?}");
    }
    assert_eq!(accepted.local, pod.v4(8080));
    assert_eq!(accepted.kernel == accepted.from, env.is_direct(), "{accepted:?}");
}

fn a_client_s_chosen_port_is_seen(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    app.echo("web", "0.0.0.0:8080");
    // Also where it is the port that it connects to.
    for port in [8080, 1023, 40_000] {
        let source = format!("{}:{port}", pod.node_v4());
        pod.run_client(&[
            format!("bind={source}"),
            format!("connect={}", pod.v4(8080)),
            "exchange=10".to_owned(),
        ]);
        let accepted = app.accepted("web");
        assert_eq!((accepted.from.to_string(), accepted.peer.to_string()), (source.clone(), source));
        assert_eq!(accepted.kernel == accepted.from, env.is_direct(), "{accepted:?}");
    }
}

fn an_application_that_is_shown_the_proxy_sees_its_own_address(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "client-address = \"proxy\"");
    let mut app = pod.app();
    app.echo("web", "[::]:8080");
    for addr in [pod.v4(8080), pod.v6(8080)] {
        pod.run_client(&[format!("connect={addr}"), "exchange=1000".into()]);
        let accepted = app.accepted("web");
        assert_eq!(accepted.from.ip(), addr.ip());
        assert_eq!((accepted.from, accepted.peer), (accepted.kernel, accepted.kernel));
        assert_eq!(accepted.local, addr);
    }
}
