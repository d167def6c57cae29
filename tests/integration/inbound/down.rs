//! When the proxy is not there, those who connect to its workloads do not suffer.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sluice_tests::agent::Agent;
use sluice_tests::scale::Scale;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

use super::pod::{Pod, echoed};
use crate::workload::Way;

pub(super) fn register(suite: &mut Suite) {
    suite.group("inbound::down").sluice(tests![
        connections_go_direct_at_once_after_sigkill,
        connections_are_never_refused_around_sigkill,
        a_strict_workload_refuses_after_sigkill,
        a_hung_agent_is_passed_by_within_a_second,
        a_hung_agent_that_wakes_serves_again,
        a_hung_agent_s_strict_workload_refuses,
        a_new_agent_serves_again_what_a_killed_one_left,
        nothing_is_left_after_sigterm,
        a_workload_that_leaves_is_served_no_more,
    ]);
}

const STRICT: &str = "when-proxy-down = \"strict\"";

fn connections_go_direct_at_once_after_sigkill(_: &Env) {
    let pod = Pod::new("web");
    let mut agent = Agent::started(&pod.config(""));
    let mut app = pod.app();
    app.echo("web", "[::]:8080");
    assert_eq!(pod.way_to(&mut app, "web", pod.v4(8080)), Way::Proxied);
    let _killed = agent.stop(Signal::SIGKILL);
    for addr in [pod.v4(8080), pod.v6(8080)] {
        assert_eq!(pod.way_to(&mut app, "web", addr), Way::Direct);
    }
    pod.refuses(pod.v4(8081));
}

fn connections_are_never_refused_around_sigkill(_: &Env) {
    let pod = Pod::new("web");
    let mut agent = Agent::started(&pod.config(""));
    let mut app = pod.app();
    app.echo("web", "0.0.0.0:8080");
    let mut results: Vec<_> = (0..5).map(|_| echoed(&pod.node, pod.v4(8080))).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| agent.stop(Signal::SIGKILL));
        results.extend((0..Scale::current().pick(200, 40)).map(|_| echoed(&pod.node, pod.v4(8080))));
    });
    // One that was being served when the agent died is reset.
    let failed: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!(failed.len() <= 1, "{failed:?}");
    assert!(failed.iter().all(|error| !error.contains("REFUSED")), "{failed:?}");
}

fn a_strict_workload_refuses_after_sigkill(_: &Env) {
    let pod = Pod::new("vault");
    let mut agent = Agent::started(&pod.config(&format!("{STRICT}\nskip-inbound-ports = \"8081\"")));
    let mut app = pod.app();
    app.echo("web", "[::]:8080");
    app.echo("skipped", "[::]:8081");
    assert_eq!(pod.way_to(&mut app, "web", pod.v4(8080)), Way::Proxied);
    let _killed = agent.stop(Signal::SIGKILL);
    pod.refuses(pod.v4(8080));
    pod.refuses(pod.v6(8080));
    assert_eq!(pod.way_to(&mut app, "skipped", pod.v4(8081)), Way::Direct);
}

/// Waits until a connection goes direct past a stopped agent; when it was begun.
///
/// Those of the first moment still go to the proxy, which never answers them.
fn goes_direct(pod: &Pod) -> Instant {
    wait::eventually("a connection to go direct", || {
        let before = Instant::now();
        echoed(&pod.node, pod.v4(8080)).is_ok().then_some(before)
    })
}

fn a_hung_agent_is_passed_by_within_a_second(_: &Env) {
    let pod = Pod::new("web");
    let mut agent = Agent::started(&pod.config(""));
    let mut app = pod.app();
    app.echo("web", "0.0.0.0:8080");
    assert_eq!(pod.way_to(&mut app, "web", pod.v4(8080)), Way::Proxied);
    agent.process().signal(Signal::SIGSTOP);
    let stopped = Instant::now();
    let took = goes_direct(&pod).duration_since(stopped);
    // One that hung was waited for until then.
    let limit = Scale::current().stretch(Duration::from_millis(1500));
    assert!(took < limit, "took {took:?}");
    assert_eq!(pod.way_to(&mut app, "web", pod.v4(8080)), Way::Direct);
    agent.process().signal(Signal::SIGCONT);
}

fn a_hung_agent_that_wakes_serves_again(_: &Env) {
    let pod = Pod::new("web");
    let mut agent = Agent::started(&pod.config(""));
    let mut app = pod.app();
    app.echo("web", "0.0.0.0:8080");
    agent.process().signal(Signal::SIGSTOP);
    goes_direct(&pod);
    agent.process().signal(Signal::SIGCONT);
    wait::eventually("the agent to serve again", || {
        (pod.way_to(&mut app, "web", pod.v4(8080)) == Way::Proxied).then_some(())
    });
}

fn a_hung_agent_s_strict_workload_refuses(_: &Env) {
    let pod = Pod::new("vault");
    let mut agent = Agent::started(&pod.config(STRICT));
    let mut app = pod.app();
    app.echo("web", "0.0.0.0:8080");
    assert_eq!(pod.way_to(&mut app, "web", pod.v4(8080)), Way::Proxied);
    agent.process().signal(Signal::SIGSTOP);
    pod.refuses_within(Scale::current().stretch(Duration::from_secs(2)), pod.v4(8080));
    agent.process().signal(Signal::SIGCONT);
    wait::eventually("the agent to serve again", || {
        (pod.way_to(&mut app, "web", pod.v4(8080)) == Way::Proxied).then_some(())
    });
}

fn a_new_agent_serves_again_what_a_killed_one_left(_: &Env) {
    for more in ["", STRICT] {
        let pod = Pod::new("web");
        let mut agent = Agent::started(&pod.config(more));
        let mut app = pod.app();
        app.echo("before", "[::]:8080");
        for round in 0..2 {
            let _killed = agent.stop(Signal::SIGKILL);
            let (name, port) = (format!("meanwhile{round}"), 8081 + round);
            app.echo(&name, &format!("[::]:{port}"));
            agent.start();
            assert_eq!(pod.way_to(&mut app, "before", pod.v4(8080)), Way::Proxied, "{more}");
            assert_eq!(pod.way_to(&mut app, &name, pod.v4(port)), Way::Proxied, "{more}");
        }
        app.close("before");
        pod.refuses_within(Scale::current().stretch(Duration::from_secs(2)), pod.v4(8080));
    }
}

fn nothing_is_left_after_sigterm(_: &Env) {
    let pod = Pod::new("vault");
    // A hook that stayed would refuse.
    let mut agent = Agent::started(&pod.config(STRICT));
    let mut app = pod.app();
    app.echo("web", "[::]:8080");
    assert_eq!(pod.way_to(&mut app, "web", pod.v4(8080)), Way::Proxied);
    let finished = agent.stop(Signal::SIGTERM);
    assert!(finished.status.success(), "{finished:?}");
    for addr in [pod.v4(8080), pod.v6(8080)] {
        assert_eq!(pod.way_to(&mut app, "web", addr), Way::Direct);
    }
    assert!(!agent.pin_dir().exists(), "pins are left");
}

fn a_workload_that_leaves_is_served_no_more(_: &Env) {
    let (pod, other) = (Pod::new("web"), Pod::new("other"));
    let agent = Agent::started(&[pod.config(STRICT), other.config("")].concat());
    let (mut app, mut others) = (pod.app(), other.app());
    app.echo("web", "0.0.0.0:8080");
    others.echo("web", "0.0.0.0:8080");
    assert_eq!(pod.way_to(&mut app, "web", pod.v4(8080)), Way::Proxied);
    agent.write_config(&other.config(""));
    wait::eventually("the workload to leave", || {
        (pod.way_to(&mut app, "web", pod.v4(8080)) == Way::Direct).then_some(())
    });
    let pins = std::fs::read_dir(agent.pin_dir().join("v1/links")).expect("the pins");
    let hooks = pins.flatten().filter(|pin| pin.file_name().to_string_lossy().ends_with("sk_lookup_verdict"));
    assert_eq!(hooks.count(), 1, "the other's");
    assert_eq!(other.way_to(&mut others, "web", other.v4(8080)), Way::Proxied);
    // As if it had never been there.
    agent.write_config(&[pod.config(""), other.config("")].concat());
    wait::eventually("the workload to be back", || {
        (pod.way_to(&mut app, "web", pod.v4(8080)) == Way::Proxied).then_some(())
    });
}
