//! When the proxy is not there, its clients do not suffer: they go direct, or are refused where
//! the workload says so.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sluice_tests::agent::Agent;
use sluice_tests::scale::Scale;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

use crate::workload::{Way, Workload};

pub(crate) fn register(suite: &mut Suite) {
    suite.group("down").sluice(tests![
        clients_go_direct_at_once_after_sigkill,
        clients_are_never_refused_around_sigkill,
        a_hung_agent_is_passed_by_within_a_moment,
        a_hung_agent_that_wakes_serves_again,
        a_strict_workload_is_refused_with_eperm_after_sigkill,
        a_strict_workload_s_skipped_ports_still_work_after_sigkill,
        an_open_and_a_strict_workload_go_their_own_ways,
        a_new_agent_takes_over_the_pins_of_a_killed_one,
        a_new_agent_takes_over_with_another_config,
    ]);
}

fn clients_go_direct_at_once_after_sigkill(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server();
    let mut agent = Agent::started(&workload.config(""));
    assert_eq!(workload.way_to(&server), Way::Proxied);
    let _killed = agent.stop(Signal::SIGKILL);
    assert_eq!(workload.way_to(&server), Way::Direct);
}

fn clients_are_never_refused_around_sigkill(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server();
    let mut agent = Agent::started(&workload.config(""));
    // Each is a process and a connection of its own; one that was being served when the agent died
    // is reset, and no other may fail.
    let mut ways: Vec<Way> = (0..5).map(|_| workload.way_to(&server)).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| agent.stop(Signal::SIGKILL));
        ways.extend((0..40).map(|_| workload.way_to(&server)));
    });
    let failed: Vec<_> = ways.iter().filter(|way| matches!(way, Way::Failed(_))).collect();
    assert!(failed.len() <= 1, "{ways:?}");
    assert!(failed.iter().all(|way| !format!("{way:?}").contains("REFUSED")), "{ways:?}");
    assert_eq!(ways.last(), Some(&Way::Direct));
}

/// Waits until a connect goes direct past a stopped agent.
///
/// The connects of the first moment still go to the proxy, which never answers them: so only the
/// connect is made, and the server says whether it came from the client's own socket.
fn goes_direct(workload: &Workload) {
    let server = workload.server();
    let steps = [format!("connect={}", server.addr())];
    wait::eventually("a client to go direct", || {
        let local = workload.client(&steps).line("local");
        server.accepted_so_far().iter().any(|seen| seen.to_string() == local).then_some(())
    });
}

fn a_hung_agent_is_passed_by_within_a_moment(_: &Env) {
    let workload = Workload::new("shop");
    let mut agent = Agent::started(&workload.config(""));
    assert_eq!(workload.way_to_new_server(), Way::Proxied);
    agent.process().signal(Signal::SIGSTOP);
    let before = Instant::now();
    goes_direct(&workload);
    let took = before.elapsed();
    assert!(took < Scale::current().stretch(Duration::from_secs(2)), "took {took:?}");
    assert_eq!(workload.way_to_new_server(), Way::Direct);
    agent.process().signal(Signal::SIGCONT);
}

fn a_hung_agent_that_wakes_serves_again(_: &Env) {
    let workload = Workload::new("shop");
    let mut agent = Agent::started(&workload.config(""));
    agent.process().signal(Signal::SIGSTOP);
    goes_direct(&workload);
    agent.process().signal(Signal::SIGCONT);
    wait::eventually("the agent to serve again", || {
        (workload.way_to_new_server() == Way::Proxied).then_some(())
    });
}

fn a_strict_workload_is_refused_with_eperm_after_sigkill(_: &Env) {
    let workload = Workload::new("vault");
    let server = workload.server();
    let mut agent = Agent::started(&workload.config("when-proxy-down = \"strict\""));
    assert_eq!(workload.way_to(&server), Way::Proxied);
    let _killed = agent.stop(Signal::SIGKILL);
    assert_eq!(workload.way_to(&server), Way::Failed("connect EPERM".to_owned()));
}

fn a_strict_workload_s_skipped_ports_still_work_after_sigkill(_: &Env) {
    let workload = Workload::new("vault");
    let server = workload.server();
    let skip = format!("when-proxy-down = \"strict\"\nskip-outbound-ports = \"{}\"", server.port());
    let mut agent = Agent::started(&workload.config(&skip));
    let _killed = agent.stop(Signal::SIGKILL);
    assert_eq!(workload.way_to(&server), Way::Direct);
}

fn an_open_and_a_strict_workload_go_their_own_ways(_: &Env) {
    let (open, strict) = (Workload::new("open"), Workload::new("strict"));
    let config =
        [open.config("when-proxy-down = \"open\""), strict.config("when-proxy-down = \"strict\"")].concat();
    let mut agent = Agent::started(&config);
    let _killed = agent.stop(Signal::SIGKILL);
    assert_eq!(open.way_to_new_server(), Way::Direct);
    assert_eq!(strict.way_to_new_server(), Way::Failed("connect EPERM".to_owned()));
}

fn a_new_agent_takes_over_the_pins_of_a_killed_one(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server();
    let mut agent = Agent::started(&workload.config(""));
    for _ in 0..3 {
        let _killed = agent.stop(Signal::SIGKILL);
        assert_eq!(workload.way_to(&server), Way::Direct);
        agent.start();
        assert_eq!(workload.way_to(&server), Way::Proxied);
    }
    let finished = agent.stop(Signal::SIGTERM);
    assert!(finished.status.success(), "{finished:?}");
    assert_eq!(workload.way_to(&server), Way::Direct);
}

fn a_new_agent_takes_over_with_another_config(_: &Env) {
    let (shop, bank) = (Workload::new("shop"), Workload::new("bank"));
    let mut agent = Agent::started(&shop.config("when-proxy-down = \"strict\""));
    let _killed = agent.stop(Signal::SIGKILL);
    agent.write_config(&bank.config(""));
    agent.start();
    assert_eq!(bank.way_to_new_server(), Way::Proxied);
    // The kernel takes a removed link off its cgroup a moment later (bpf_link_put_deferred, 6.18).
    wait::eventually("what is enrolled no more to go direct", || {
        (shop.way_to_new_server() == Way::Direct).then_some(())
    });
}
