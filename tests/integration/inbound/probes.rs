//! The kubelet's probes reach the application by themselves; whatever else comes from the node does not.

use std::net::SocketAddr;

use sluice_tests::agent::Agent;
use sluice_tests::cgroup::Cgroup;
use sluice_tests::process::run;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

use super::decisions::outcomes;
use super::pod::{App, Pod, told};
use crate::workload::{Way, peer_in};

pub(super) fn register(suite: &mut Suite) {
    suite.group("inbound::probes").sluice(tests![
        a_probe_passes_and_others_from_its_address_do_not,
        a_probe_of_a_closed_port_is_refused,
        a_probe_of_a_strict_workload_passes_without_a_proxy,
        a_kubelet_that_is_not_there_yet_is_named_and_found,
        a_kubelet_s_cgroup_with_a_workload_in_it_is_refused,
    ]);
}

fn kubelet_config(kubelet: &Cgroup, pod: &Pod, more: &str) -> String {
    format!("kubelet-cgroup = \"{}\"\n{}", kubelet.path().display(), pod.config(more))
}

/// A connection by a process of the kubelet's cgroup: which way it goes.
fn probe(kubelet: &Cgroup, pod: &Pod, app: &mut App, name: &str, addr: SocketAddr) -> Way {
    let steps = [format!("connect={addr}"), "exchange=10".to_owned()];
    let finished = run(peer_in(kubelet.path().to_owned(), &pod.node, "client", &steps));
    let stdout = String::from_utf8_lossy(&finished.stdout).into_owned();
    if !finished.status.success() {
        let error = told(&stdout, "error");
        return Way::Failed(error.split(' ').take(2).collect::<Vec<_>>().join(" "));
    }
    let client = told(&stdout, "local");
    // One that failed before may have reached the application too.
    let mut accepted = app.accepted(name);
    while accepted.from.to_string() != client {
        accepted = app.accepted(name);
    }
    if accepted.kernel == accepted.from { Way::Direct } else { Way::Proxied }
}

fn a_probe_passes_and_others_from_its_address_do_not(_: &Env) {
    let (pod, kubelet) = (Pod::new("web"), Cgroup::new());
    let agent = Agent::started(&kubelet_config(&kubelet, &pod, ""));
    let mut app = pod.app();
    app.echo("web", "[::]:8080");
    for addr in [pod.v4(8080), pod.v6(8080)] {
        assert_eq!(probe(&kubelet, &pod, &mut app, "web", addr), Way::Direct, "{addr}");
        assert_eq!(pod.way_to(&mut app, "web", addr), Way::Proxied, "{addr}");
    }
    let child = kubelet.child();
    assert_eq!(probe(&child, &pod, &mut app, "web", pod.v4(8080)), Way::Direct);
    assert!(outcomes(&agent, "sk_lookup", "probe") > 2.5);
    assert!(outcomes(&agent, "sock_ops", "probe_failed") < 0.5);
}

/// The port of a probe is a client's own again once the probe is over.
fn a_probe_of_a_closed_port_is_refused(_: &Env) {
    let (pod, kubelet) = (Pod::new("web"), Cgroup::new());
    let _agent = Agent::started(&kubelet_config(&kubelet, &pod, ""));
    let mut app = pod.app();
    let refused = Way::Failed("connect ECONNREFUSED".to_owned());
    for addr in [pod.v4(8080), pod.v6(8080)] {
        assert_eq!(probe(&kubelet, &pod, &mut app, "web", addr), refused, "{addr}");
    }
    app.echo("web", "[::]:8080");
    assert_eq!(probe(&kubelet, &pod, &mut app, "web", pod.v4(8080)), Way::Direct);
    app.close("web");
    assert_eq!(probe(&kubelet, &pod, &mut app, "web", pod.v4(8080)), refused);
    app.echo("web", "[::]:8080");
    let source = format!("bind={}:30000", pod.node_v4());
    let steps =
        [source, format!("connect={}", pod.v4(8080)), "text=x".into(), "recv=1".into(), "reset".into()];
    let finished = run(peer_in(kubelet.path().to_owned(), &pod.node, "client", &steps));
    assert!(finished.status.success(), "{finished:?}");
    let accepted = app.accepted("web");
    assert_eq!(accepted.kernel, accepted.from, "the probe");
    pod.run_client(&steps);
    let accepted = app.accepted("web");
    assert_eq!(accepted.from.port(), 30_000);
    assert_ne!(accepted.kernel, accepted.from, "another's connection from its port");
}

fn a_probe_of_a_strict_workload_passes_without_a_proxy(_: &Env) {
    let (pod, kubelet) = (Pod::new("web"), Cgroup::new());
    let mut agent = Agent::started(&kubelet_config(&kubelet, &pod, "when-proxy-down = \"strict\""));
    let mut app = pod.app();
    app.echo("web", "0.0.0.0:8080");
    agent.process().signal(nix::sys::signal::Signal::SIGSTOP);
    pod.refuses_within(wait::patience(), pod.v4(8080));
    assert_eq!(probe(&kubelet, &pod, &mut app, "web", pod.v4(8080)), Way::Direct);
    agent.process().signal(nix::sys::signal::Signal::SIGCONT);
}

fn a_kubelet_that_is_not_there_yet_is_named_and_found(_: &Env) {
    let (pod, kubelet) = (Pod::new("web"), Cgroup::new());
    kubelet.remove();
    let agent = Agent::started(&kubelet_config(&kubelet, &pod, "learn-opaque = \"off\""));
    let mut app = pod.app();
    app.echo("web", "0.0.0.0:8080");
    let status = agent.answer(&["status"]);
    let path = kubelet.path().display().to_string();
    assert!(status.lines().any(|line| line.contains("NOT THERE") && line.contains(&path)), "{status}");
    for _ in 0..2 {
        kubelet.make_anew();
        wait::eventually("the kubelet's probes to pass", || {
            (probe(&kubelet, &pod, &mut app, "web", pod.v4(8080)) == Way::Direct).then_some(())
        });
        let status = agent.answer(&["status"]);
        assert!(!status.contains("NOT THERE"), "{status}");
        assert_eq!(pod.way_to(&mut app, "web", pod.v4(8080)), Way::Proxied);
    }
    // Live: without the setting there are no probes.
    agent.write_config(&pod.config("learn-opaque = \"off\""));
    wait::eventually("the kubelet to be nobody special", || {
        (probe(&kubelet, &pod, &mut app, "web", pod.v4(8080)) == Way::Proxied).then_some(())
    });
}

fn a_kubelet_s_cgroup_with_a_workload_in_it_is_refused(_: &Env) {
    let pod = Pod::new("web");
    let agent = Agent::stopped(&kubelet_config(&pod.workload.cgroup, &pod, ""));
    let finished = agent.run_to_its_end();
    assert!(!finished.status.success(), "{finished:?}");
    for told in ["kubelet-cgroup", "without workloads", "\"web\""] {
        assert!(finished.stderr.contains(told), "{}", finished.stderr);
    }
}
