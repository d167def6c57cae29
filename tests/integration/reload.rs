//! A changed config takes effect; a broken one changes nothing and is told of.

use std::os::unix::fs::MetadataExt as _;

use nix::sys::signal::Signal;
use sluice_tests::agent::Agent;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

use crate::workload::{Way, Workload};

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("reload");
    group.of_the_proxy_alone();
    group.sluice(tests![
        a_changed_port_takes_effect,
        an_added_workload_is_enrolled,
        a_removed_workload_goes_direct,
        a_broken_config_keeps_the_last_good_one,
        an_unknown_key_keeps_the_last_good_config,
        a_missing_cgroup_keeps_the_last_good_config,
        an_empty_config_keeps_the_last_good_one,
        a_repaired_config_takes_effect,
        a_workload_whose_cgroup_is_made_anew_is_proxied,
        a_workload_whose_cgroup_goes_is_told_of_and_found_again,
        a_workload_whose_namespace_is_made_anew_is_proxied_from_it,
        a_workload_that_cannot_be_attached_keeps_the_last_good_config,
        an_open_connection_survives_a_reload,
    ]);
}

fn becomes(workload: &Workload, server: &sluice_tests::server::Server, way: &Way) {
    wait::eventually(&format!("{} to be {way:?}", workload.name), || {
        (workload.way_to(server) == *way).then_some(())
    });
}

fn a_changed_port_takes_effect(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server();
    let agent = Agent::started(&workload.config(""));
    assert_eq!(workload.way_to(&server), Way::Proxied);
    agent.write_config(&workload.config(&format!("skip-outbound-ports = \"{}\"", server.port())));
    becomes(&workload, &server, &Way::Direct);
    agent.write_config(&workload.config(""));
    becomes(&workload, &server, &Way::Proxied);
}

fn an_added_workload_is_enrolled(_: &Env) {
    let (shop, bank) = (Workload::new("shop"), Workload::new("bank"));
    let agent = Agent::started(&shop.config(""));
    let server = bank.server();
    assert_eq!(bank.way_to(&server), Way::Direct);
    agent.write_config(&[shop.config(""), bank.config("")].concat());
    becomes(&bank, &server, &Way::Proxied);
    assert_eq!(shop.way_to(&shop.server()), Way::Proxied);
}

fn a_removed_workload_goes_direct(_: &Env) {
    let (shop, bank) = (Workload::new("shop"), Workload::new("bank"));
    let agent = Agent::started(&[shop.config(""), bank.config("")].concat());
    let server = bank.server();
    assert_eq!(bank.way_to(&server), Way::Proxied);
    agent.write_config(&shop.config(""));
    becomes(&bank, &server, &Way::Direct);
    assert_eq!(shop.way_to(&shop.server()), Way::Proxied);
}

/// Replaces a config that skips one port by a broken one: the error shows, and the rule stays.
fn keeps_the_last_good_config(broken: impl Fn(&Workload) -> String, named: &str) {
    let workload = Workload::new("shop");
    let server = workload.server();
    let good = workload.config(&format!("skip-outbound-ports = \"{}\"", server.port()));
    let mut agent = Agent::started(&good);
    assert_eq!(workload.way_to(&server), Way::Direct);
    agent.write_config(&broken(&workload));
    wait::eventually(&format!("status to show '{named}'"), || {
        agent.answer(&["status"]).contains(named).then_some(())
    });
    assert_eq!(workload.way_to(&server), Way::Direct, "the last good config holds");
    assert_eq!(workload.way_to(&workload.server()), Way::Proxied, "the agent still serves");
    assert!(!agent.process().has_ended());
    // And once it is repaired, the error is gone.
    agent.write_config(&good);
    wait::eventually("the error to go", || (!agent.answer(&["status"]).contains(named)).then_some(()));
}

fn a_broken_config_keeps_the_last_good_one(_: &Env) {
    keeps_the_last_good_config(|workload| workload.config("skip-outbound-ports = \"80O0\""), "80O0");
}

fn an_unknown_key_keeps_the_last_good_config(_: &Env) {
    keeps_the_last_good_config(|workload| workload.config("no-such-key = 1"), "no-such-key");
}

fn a_missing_cgroup_keeps_the_last_good_config(_: &Env) {
    keeps_the_last_good_config(
        |workload| {
            let path = workload.cgroup.path().display().to_string();
            workload.config("").replace(&path, &format!("{path}-is-not-here"))
        },
        "-is-not-here",
    );
}

fn an_empty_config_keeps_the_last_good_one(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server();
    let agent = Agent::started(&workload.config(""));
    agent.empty_config();
    wait::eventually("status to show the error", || {
        agent.answer(&["status"]).contains("empty file").then_some(())
    });
    assert_eq!(workload.way_to(&server), Way::Proxied);
}

/// Waits until the agent says that a workload's cgroup is gone, or that none is.
fn says_gone(agent: &Agent, gone: bool) {
    wait::eventually(&format!("status to say gone: {gone}"), || {
        (agent.answer(&["status"]).contains("cgroup gone") == gone).then_some(())
    });
}

fn a_workload_whose_cgroup_is_made_anew_is_proxied(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server();
    let agent = Agent::started(&workload.config("when-proxy-down = \"strict\""));
    assert_eq!(workload.way_to(&server), Way::Proxied);
    for _ in 0..3 {
        workload.cgroup.make_anew();
        becomes(&workload, &workload.server(), &Way::Proxied);
    }
    let status = agent.answer(&["status"]);
    assert_eq!(status.matches("\nshop  (").count(), 1, "the old cgroup is forgotten: {status}");
}

fn a_workload_whose_cgroup_goes_is_told_of_and_found_again(_: &Env) {
    let (shop, bank) = (Workload::new("shop"), Workload::new("bank"));
    let server = bank.server();
    let skip = bank.config(&format!("skip-outbound-ports = \"{}\"", server.port()));
    let mut agent = Agent::started(&[shop.config(""), bank.config("")].concat());
    shop.cgroup.remove();
    says_gone(&agent, true);
    // The others go on, and take changes.
    assert_eq!(bank.way_to(&server), Way::Proxied);
    agent.write_config(&[shop.config(""), skip].concat());
    becomes(&bank, &server, &Way::Direct);
    says_gone(&agent, true);
    shop.cgroup.make_anew();
    becomes(&shop, &shop.server(), &Way::Proxied);
    says_gone(&agent, false);
    wait::eventually("the log to say that it is back", || {
        let log = agent.process().stderr_so_far();
        log.lines().any(|line| line.contains("is where it was again") && line.contains("shop")).then_some(())
    });
    assert_eq!(bank.way_to(&server), Way::Direct);
}

fn a_workload_whose_namespace_is_made_anew_is_proxied_from_it(_: &Env) {
    let workload = Workload::new("shop");
    let _agent = Agent::started(&workload.config(""));
    assert_eq!(workload.way_to_new_server(), Way::Proxied);
    workload.netns.make_anew();
    becomes(&workload, &workload.server(), &Way::Proxied);
}

fn a_workload_that_cannot_be_attached_keeps_the_last_good_config(_: &Env) {
    let (shop, bank) = (Workload::new("shop"), Workload::new("bank"));
    // Attached in the order of their names: the first one succeeds, the second one's pin is taken.
    let (first, second) = (Workload::new("first"), Workload::new("second"));
    let agent = Agent::started(&[shop.config(""), bank.config("")].concat());
    let before = agent.answer(&["ports", "list"]);
    let links = agent.pin_dir().join("v1/links");
    let id = std::fs::metadata(second.cgroup.path()).expect("the cgroup").ino();
    let taken = links.join(format!("{id}-connect6"));
    std::fs::create_dir(&taken).expect("take the pin's place");
    let pinned = || std::fs::read_dir(&links).expect("the links").count();
    let count = pinned();
    agent.write_config(&[shop.config(""), first.config(""), second.config("")].concat());
    wait::eventually("status to show the error", || {
        agent.answer(&["status"]).contains("-connect6").then_some(())
    });
    assert_eq!(pinned(), count, "the hooks of the first are taken back");
    assert_eq!(agent.answer(&["ports", "list"]), before);
    assert_eq!(first.way_to_new_server(), Way::Direct);
    assert_eq!(bank.way_to_new_server(), Way::Proxied, "nobody has left");
    std::fs::remove_dir(taken).expect("free the pin's place");
    agent.write_config(&[shop.config(""), first.config(""), second.config("")].concat());
    becomes(&second, &second.server(), &Way::Proxied);
    becomes(&bank, &bank.server(), &Way::Direct);
}

fn a_repaired_config_takes_effect(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server();
    let agent = Agent::started(&workload.config(""));
    agent.write_config("this is not TOML");
    wait::eventually("status to show the error", || {
        agent.answer(&["status"]).contains("config.toml").then_some(())
    });
    agent.write_config(&workload.config(&format!("skip-outbound-ports = \"{}\"", server.port())));
    becomes(&workload, &server, &Way::Direct);
}

fn an_open_connection_survives_a_reload(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server();
    let mut agent = Agent::started(&workload.config(""));
    let mut client = workload.open_client(&server);
    agent.write_config(&workload.config("skip-outbound-ports = \"1-65535\""));
    becomes(&workload, &workload.server(), &Way::Direct);
    client.say("go on");
    assert!(client.line("received").starts_with("100000 "));
    let _finished = agent.stop(Signal::SIGTERM);
}
