//! Only what the application would take is taken: a closed port refuses as it does without a proxy.

use std::time::Duration;

use sluice_tests::scale::Scale;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

use super::pod::{Pod, served, way_from};
use crate::workload::Way;

pub(super) fn register(suite: &mut Suite) {
    let mut group = suite.group("inbound::listening");
    group.one_lane(tests![
        an_open_port_is_taken_in_both_families,
        a_port_that_nobody_listens_on_refuses_at_once,
        a_port_that_closes_refuses_at_once,
        a_port_open_before_the_enrolment_is_taken_and_refuses_once_closed,
        a_dual_stack_listener_is_taken_in_both_families,
        a_listener_for_ipv6_alone_leaves_ipv4_refused,
        a_listener_on_one_address_leaves_the_others_refused,
        a_port_of_two_sockets_is_taken_until_both_are_closed,
        a_listener_that_a_child_inherits_is_taken,
        a_listener_on_loopback_is_no_open_port,
    ]);
    group
        .sluice(tests![a_listener_bound_to_a_device_is_left_alone, connections_within_the_workload_pass_by,]);
}

/// How long a listener that nobody tells of may go unseen, open or closed.
fn seen_within() -> Duration {
    Scale::current().stretch(Duration::from_secs(2))
}

fn an_open_port_is_taken_in_both_families(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    app.echo("v4", "0.0.0.0:8080");
    app.open("v6", "[::]:8081 echo v6only");
    assert_eq!(pod.way_to(&mut app, "v4", pod.v4(8080)), served(env));
    assert_eq!(pod.way_to(&mut app, "v6", pod.v6(8081)), served(env));
}

fn a_port_that_nobody_listens_on_refuses_at_once(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    app.echo("other", "0.0.0.0:8080");
    for addr in [pod.v4(8081), pod.v6(8081), pod.v6(8080)] {
        pod.refuses(addr);
    }
    assert_eq!(pod.way_to(&mut app, "other", pod.v4(8080)), served(env));
}

fn a_port_that_closes_refuses_at_once(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    for _ in 0..3 {
        app.echo("web", "[::]:8080");
        assert_eq!(pod.way_to(&mut app, "web", pod.v4(8080)), served(env));
        app.close("web");
        pod.refuses(pod.v4(8080));
        pod.refuses(pod.v6(8080));
    }
}

fn a_port_open_before_the_enrolment_is_taken_and_refuses_once_closed(env: &Env) {
    let pod = Pod::new("web");
    let mut app = pod.app();
    app.echo("v4", "0.0.0.0:8080");
    app.open("v6", "[::]:8081 echo v6only");
    app.echo("dual", "[::]:8082");
    let _agent = pod.agent(env, "");
    for (name, addr) in
        [("v4", pod.v4(8080)), ("v6", pod.v6(8081)), ("dual", pod.v4(8082)), ("dual", pod.v6(8082))]
    {
        assert_eq!(pod.way_to(&mut app, name, addr), served(env), "{name}");
    }
    pod.refuses(pod.v4(8081));
    for name in ["v4", "v6", "dual"] {
        app.close(name);
    }
    for addr in [pod.v4(8080), pod.v6(8081), pod.v4(8082), pod.v6(8082)] {
        pod.refuses_within(seen_within(), addr);
    }
}

fn a_dual_stack_listener_is_taken_in_both_families(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    app.echo("web", "[::]:8080");
    assert_eq!(pod.way_to(&mut app, "web", pod.v4(8080)), served(env));
    assert_eq!(pod.way_to(&mut app, "web", pod.v6(8080)), served(env));
}

fn a_listener_for_ipv6_alone_leaves_ipv4_refused(env: &Env) {
    let pod = Pod::new("web");
    let mut app = pod.app();
    app.open("before", "[::]:8080 echo v6only");
    let _agent = pod.agent(env, "");
    app.open("after", "[::]:8081 echo v6only");
    for (name, port) in [("before", 8080), ("after", 8081)] {
        pod.refuses(pod.v4(port));
        assert_eq!(pod.way_to(&mut app, name, pod.v6(port)), served(env), "{name}");
    }
}

fn a_listener_on_one_address_leaves_the_others_refused(env: &Env) {
    let pod = Pod::new("web");
    let second = "10.254.7.1";
    pod.workload.netns.ip(&["address", "add", &format!("{second}/32"), "dev", "eth0"]);
    pod.workload.netns.ip(&["address", "add", "fd00:254::1/128", "dev", "eth0", "nodad"]);
    let gateways = [pod.v4(0).ip().to_string(), pod.v6(0).ip().to_string()];
    pod.node.ip(&["route", "add", second, "via", &gateways[0]]);
    pod.node.ip(&["-6", "route", "add", "fd00:254::1", "via", &gateways[1]]);
    let mut app = pod.app();
    app.echo("before", &pod.v4(8080).to_string());
    let _agent = pod.agent(env, "");
    app.echo("after", &pod.v4(8081).to_string());
    app.echo("v6", &pod.v6(8082).to_string());
    app.echo("second", &format!("{second}:8083"));
    for (name, port) in [("before", 8080), ("after", 8081)] {
        assert_eq!(pod.way_to(&mut app, name, pod.v4(port)), served(env), "{name}");
        pod.refuses(format!("{second}:{port}").parse().expect("an address"));
        pod.refuses(pod.v6(port));
    }
    assert_eq!(pod.way_to(&mut app, "v6", pod.v6(8082)), served(env));
    pod.refuses("[fd00:254::1]:8082".parse().expect("an address"));
    let second = format!("{second}:8083").parse().expect("an address");
    assert_eq!(pod.way_to(&mut app, "second", second), served(env));
    pod.refuses(pod.v4(8083));
}

fn a_port_of_two_sockets_is_taken_until_both_are_closed(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    for order in [["one", "two"], ["two", "one"]] {
        let mut app = pod.app();
        for name in ["one", "two"] {
            app.open(name, "0.0.0.0:8080 echo reuseport");
        }
        let [first, last] = order;
        app.close(first);
        // Never refused; and taken again before long, where it was forgotten with the one that told of it.
        wait::within(seen_within(), "the other socket to be seen", || {
            match pod.way_to(&mut app, last, pod.v4(8080)) {
                Way::Failed(error) => panic!("{error}"),
                way @ (Way::Direct | Way::Proxied) => (way == served(env)).then_some(()),
            }
        });
        app.close(last);
        pod.refuses_within(seen_within(), pod.v4(8080));
    }
}

fn a_listener_that_a_child_inherits_is_taken(env: &Env) {
    let pod = Pod::new("web");
    let mut before = pod.app();
    before.process.say("bequeath old 0.0.0.0:8080 echo");
    before.process.line("adopted old");
    let _agent = pod.agent(env, "");
    let mut after = pod.app();
    after.process.say("bequeath new 0.0.0.0:8081 echo");
    after.process.line("adopted new");
    wait::eventually("the parents to end", || {
        (before.process.has_ended() && after.process.has_ended()).then_some(())
    });
    assert_eq!(pod.way_to(&mut before, "old", pod.v4(8080)), served(env));
    assert_eq!(pod.way_to(&mut after, "new", pod.v4(8081)), served(env));
}

fn a_listener_on_loopback_is_no_open_port(env: &Env) {
    let pod = Pod::new("web");
    let mut app = pod.app();
    app.echo("before", "127.0.0.1:8080");
    let _agent = pod.agent(env, "");
    app.echo("after", "127.0.0.1:8081");
    app.echo("v6", "[::1]:8082");
    for addr in [pod.v4(8080), pod.v4(8081), pod.v6(8082)] {
        pod.refuses(addr);
    }
}

fn a_listener_bound_to_a_device_is_left_alone(env: &Env) {
    let pod = Pod::new("web");
    let mut app = pod.app();
    app.open("before", "0.0.0.0:8080 echo device=eth0");
    let _agent = pod.agent(env, "");
    app.open("after", "0.0.0.0:8081 echo device=eth0");
    assert_eq!(pod.way_to(&mut app, "before", pod.v4(8080)), Way::Direct);
    assert_eq!(pod.way_to(&mut app, "after", pod.v4(8081)), Way::Direct);
}

fn connections_within_the_workload_pass_by(env: &Env) {
    let pod = Pod::new("web");
    let _agent = pod.agent(env, "");
    let mut app = pod.app();
    app.echo("web", "[::]:8080");
    let loopback =
        ["127.0.0.1:8080", "127.0.0.2:8080", "[::1]:8080"].map(|addr| addr.parse().expect("an address"));
    for addr in loopback.into_iter().chain([pod.v4(8080), pod.v6(8080)]) {
        // Not by a process of the cgroup, whose connections go out through the proxy.
        assert_eq!(way_from(&pod.workload.netns, &mut app, "web", addr), Way::Direct, "{addr}");
    }
    assert_eq!(pod.way_to(&mut app, "web", pod.v4(8080)), Way::Proxied);
}
