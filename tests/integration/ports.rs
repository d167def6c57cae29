//! `sluice ports` and `sluice explain`: what is said is what the kernel has, and holds for the
//! next connection.

use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use sluice_tests::agent::Agent;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

use crate::workload::{Way, Workload};

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("ports");
    group.of_the_proxy_alone();
    group.sluice(tests![
        a_live_skip_holds_for_the_next_connection,
        a_live_detect_ends_a_skip,
        a_live_range_holds_at_its_ends,
        a_live_rule_is_the_named_workload_s_alone,
        a_live_rule_without_a_workload_is_every_workload_s,
        an_open_connection_survives_a_new_rule,
        the_list_shows_every_source,
        a_direction_has_rules_of_its_own,
        explain_names_the_decision_and_its_rule,
        a_live_rule_survives_a_reload_of_other_rules,
        a_writer_that_does_not_finish_is_named_and_holds_nobody_up,
        bad_ports_change_nothing,
        an_unknown_workload_is_refused_and_named,
        without_an_agent_the_answer_is_an_error,
        a_dead_agent_takes_no_changes_and_views_warn,
        a_list_without_a_port_is_refused,
        port_zero_is_no_destination,
    ]);
}

fn a_live_skip_holds_for_the_next_connection(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server();
    let agent = Agent::started(&workload.config(""));
    assert_eq!(workload.way_to(&server), Way::Proxied);
    let _said = agent.answer(&["ports", "skip", &server.port().to_string(), "--workload", "shop"]);
    assert_eq!(workload.way_to(&server), Way::Direct);
}

fn a_live_detect_ends_a_skip(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server_at("127.0.0.1:7005");
    let agent = Agent::started(&workload.config("skip-outbound-ports = \"7000-7010\""));
    assert_eq!(workload.way_to(&server), Way::Direct);
    let _said = agent.answer(&["ports", "detect", "7005", "--workload", "shop"]);
    assert_eq!(workload.way_to(&server), Way::Proxied);
    // The rest of the range is as it was.
    assert_eq!(workload.way_to(&workload.server_at("127.0.0.1:7004")), Way::Direct);
    assert_eq!(workload.way_to(&workload.server_at("127.0.0.1:7006")), Way::Direct);
}

fn a_live_range_holds_at_its_ends(_: &Env) {
    let workload = Workload::new("shop");
    let agent = Agent::started(&workload.config(""));
    let _said = agent.answer(&["ports", "skip", "8000-8100, 9000", "--workload", "shop"]);
    for (port, way) in [
        (7999, Way::Proxied),
        (8000, Way::Direct),
        (8100, Way::Direct),
        (8101, Way::Proxied),
        (9000, Way::Direct),
    ] {
        let server = workload.server_at(&format!("127.0.0.1:{port}"));
        assert_eq!(workload.way_to(&server), way, "port {port}");
    }
}

fn a_live_rule_is_the_named_workload_s_alone(_: &Env) {
    // Equal rules, so that they may share a profile until one is changed.
    let (shop, bank) = (Workload::new("shop"), Workload::new("bank"));
    let servers = [&shop, &bank].map(|workload| workload.server_at("127.0.0.1:7001"));
    let agent = Agent::started(&[shop.config(""), bank.config("")].concat());
    let _said = agent.answer(&["ports", "skip", "7001", "--workload", "shop"]);
    assert_eq!(shop.way_to(&servers[0]), Way::Direct);
    assert_eq!(bank.way_to(&servers[1]), Way::Proxied);
}

fn a_live_rule_without_a_workload_is_every_workload_s(_: &Env) {
    let (shop, bank) = (Workload::new("shop"), Workload::new("bank"));
    let servers = [&shop, &bank].map(|workload| workload.server_at("127.0.0.1:7001"));
    let agent = Agent::started(&[shop.config("opaque-ports = \"1\""), bank.config("")].concat());
    let _said = agent.answer(&["ports", "skip", "7001"]);
    assert_eq!(shop.way_to(&servers[0]), Way::Direct);
    assert_eq!(bank.way_to(&servers[1]), Way::Direct);
}

fn an_open_connection_survives_a_new_rule(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server();
    let agent = Agent::started(&workload.config(""));
    let mut client = workload.open_client(&server);
    let _said = agent.answer(&["ports", "skip", "1-65535", "--workload", "shop"]);
    client.say("go on");
    assert!(client.line("received").starts_with("100000 "));
}

fn the_list_shows_every_source(_: &Env) {
    let workload = Workload::new("shop");
    let agent = Agent::started(&workload.config("skip-outbound-ports = \"7001\""));
    let _said = agent.answer(&["ports", "opaque", "7500-7600", "--workload", "shop"]);
    let list = agent.answer(&["ports", "list"]);
    let line = |port: &str| list.lines().find(|line| line.contains(port)).unwrap_or_default();
    for (port, decision, source) in
        [("3306", "opaque", "default"), ("7001", "skip", "workload"), ("7500-7600", "opaque", "live")]
    {
        let line = line(port);
        assert!(line.contains(decision) && line.contains(source), "{port}: '{line}' in\n{list}");
    }
    assert!(list.contains("shop"), "{list}");
}

fn a_direction_has_rules_of_its_own(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server();
    let agent = Agent::started(&workload.config(""));
    let port = server.port().to_string();
    let _said = agent.answer(&["ports", "skip", &port, "--workload", "shop", "--direction", "inbound"]);
    assert_eq!(workload.way_to(&server), Way::Proxied);
    let list = agent.answer(&["ports", "list"]);
    let line = list.lines().find(|line| line.contains(&port)).unwrap_or_default();
    assert!(line.contains("inbound") && line.contains("skip"), "{list}");
    let _said = agent.answer(&["ports", "skip", &port, "--workload", "shop", "--direction", "outbound"]);
    assert_eq!(workload.way_to(&server), Way::Direct);
}

fn explain_names_the_decision_and_its_rule(_: &Env) {
    let workload = Workload::new("shop");
    let agent = Agent::started(&workload.config("skip-outbound-ports = \"7000-7100\""));
    let explain = |addr: &str| agent.answer(&["explain", addr, "--workload", "shop"]);
    let skip = explain("10.1.2.3:7050");
    assert!(skip.contains("skip") && skip.contains("workload"), "{skip}");
    let opaque = explain("10.1.2.3:3306");
    assert!(opaque.contains("opaque") && opaque.contains("built-in"), "{opaque}");
    let detect = explain("[fd00::1]:80");
    assert!(detect.contains("detect") && detect.contains("no rule"), "{detect}");
}

fn a_live_rule_survives_a_reload_of_other_rules(_: &Env) {
    let (shop, bank) = (Workload::new("shop"), Workload::new("bank"));
    let servers = [&shop, &bank].map(|workload| workload.server_at("127.0.0.1:7001"));
    let agent = Agent::started(&[shop.config(""), bank.config("")].concat());
    let _said = agent.answer(&["ports", "skip", "7001"]);
    // Bank's rules change; of shop's, only another setting does.
    let strict = "when-proxy-down = \"strict\"";
    let bank_s = bank.config("opaque-ports = \"7777\"");
    agent.write_config(&[shop.config(strict), bank_s.clone()].concat());
    wait::eventually("the reload", || agent.answer(&["ports", "list"]).contains("7777").then_some(()));
    assert!(agent.answer(&["status"]).contains("strict"));
    assert_eq!(shop.way_to(&servers[0]), Way::Direct, "what was changed live stays");
    assert_eq!(bank.way_to(&servers[1]), Way::Proxied, "the config's new rules replace it");
    // And another change does not bring back what the file says.
    agent.write_config(&bank_s);
    wait::eventually("the reload", || (!agent.answer(&["status"]).contains("shop")).then_some(()));
    agent.write_config(&[shop.config(""), bank_s].concat());
    wait::eventually("the file's rules for a workload that is new", || {
        (shop.way_to(&servers[0]) == Way::Proxied).then_some(())
    });
}

fn a_writer_that_does_not_finish_is_named_and_holds_nobody_up(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server();
    let mut agent = Agent::started(&workload.config(""));
    let dir = std::fs::File::open(agent.pin_dir().join("v1")).expect("open the pins");
    let held = Flock::lock(dir, FlockArg::LockExclusiveNonblock).expect("lock the pins");
    for change in [&["ports", "skip", "7001"][..], &["log-level", "warn"]] {
        let refused = agent.ask(change);
        assert!(!refused.status.success(), "{change:?}");
        assert!(refused.stderr.contains("another `sluice ports` is holding"), "{}", refused.stderr);
    }
    agent.write_config(&workload.config(&format!("skip-outbound-ports = \"{}\"", server.port())));
    wait::within(Duration::from_secs(20), "the reload to give up", || {
        agent.answer(&["status"]).contains("another `sluice ports` is holding").then_some(())
    });
    assert_eq!(workload.way_to(&server), Way::Proxied);
    // Once the way is free, the config is taken over without being touched again.
    drop(held);
    wait::within(Duration::from_secs(20), "the reload", || {
        (workload.way_to(&server) == Way::Direct).then_some(())
    });
    let dir = std::fs::File::open(agent.pin_dir().join("v1")).expect("open the pins");
    let _held = Flock::lock(dir, FlockArg::LockExclusive).expect("lock the pins");
    agent.write_config(&workload.config(""));
    let finished = agent.stop(Signal::SIGTERM);
    assert!(finished.status.success(), "{finished:?}");
}

fn bad_ports_change_nothing(_: &Env) {
    let workload = Workload::new("shop");
    let agent = Agent::started(&workload.config(""));
    let before = agent.answer(&["ports", "list"]);
    for bad in ["0", "65536", "80-70", "abc"] {
        let refused = agent.ask(&["ports", "skip", &format!("9999, {bad}"), "--workload", "shop"]);
        assert!(!refused.status.success(), "{bad}");
        assert!(names(&refused.stderr, bad), "{}", refused.stderr);
    }
    assert_eq!(agent.answer(&["ports", "list"]), before);
}

/// Whether an error names a bad entry, in quotes of either kind: the whole list is told as well.
fn names(error: &str, entry: &str) -> bool {
    error.contains(&format!("'{entry}'")) || error.contains(&format!("\"{entry}\""))
}

fn an_unknown_workload_is_refused_and_named(_: &Env) {
    let workload = Workload::new("shop");
    let agent = Agent::started(&workload.config(""));
    let refused = agent.ask(&["ports", "skip", "80", "--workload", "shoe"]);
    assert!(!refused.status.success());
    assert!(refused.stderr.contains("shoe"), "{}", refused.stderr);
}

fn without_an_agent_the_answer_is_an_error(_: &Env) {
    let agent = Agent::stopped(&Workload::new("shop").config(""));
    for question in [&["status"][..], &["ports", "list"], &["explain", "10.0.0.1:80"]] {
        let answer = agent.ask(question);
        assert!(!answer.status.success(), "{question:?}");
        let pins = agent.pin_dir().display().to_string();
        assert!(answer.stderr.contains(&pins), "{question:?}: {}", answer.stderr);
    }
}

fn a_dead_agent_takes_no_changes_and_views_warn(_: &Env) {
    let workload = Workload::new("shop");
    let mut agent = Agent::started(&workload.config(""));
    for view in [&["status"][..], &["ports", "list"], &["explain", "10.0.0.1:80"]] {
        let answer = agent.ask(view);
        assert!(answer.status.success() && answer.stderr.is_empty(), "{view:?}: {answer:?}");
    }
    let before = agent.answer(&["ports", "list"]);
    let _killed = agent.stop(Signal::SIGKILL);
    for change in [&["ports", "skip", "55"][..], &["ports", "detect", "3306"], &["log-level", "warn"]] {
        let refused = agent.ask(change);
        assert_eq!(refused.status.code(), Some(1), "{change:?}: {refused:?}");
        assert!(refused.stdout.is_empty(), "{change:?}: {refused:?}");
        for told in ["is not running", "nothing was changed"] {
            assert!(refused.stderr.contains(told), "{change:?}: {}", refused.stderr);
        }
    }
    assert_eq!(agent.answer(&["ports", "list"]), before);
    for view in [&["ports", "list"][..], &["explain", "10.0.0.1:80"]] {
        let answer = agent.ask(view);
        assert!(answer.status.success(), "{view:?}: {answer:?}");
        assert!(answer.stderr.contains("warning: the agent"), "{view:?}: {}", answer.stderr);
    }
    let status = agent.ask(&["status"]);
    assert_eq!(status.status.code(), Some(1), "{status:?}");
    assert!(String::from_utf8_lossy(&status.stdout).contains("not running"), "{status:?}");
}

fn a_list_without_a_port_is_refused(_: &Env) {
    let workload = Workload::new("shop");
    let agent = Agent::started(&workload.config(""));
    let before = agent.answer(&["ports", "list"]);
    for empty in ["", "  "] {
        let refused = agent.ask(&["ports", "skip", empty]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(refused.stderr.contains("expected a port"), "{}", refused.stderr);
    }
    assert_eq!(agent.answer(&["ports", "list"]), before);
}

fn port_zero_is_no_destination(_: &Env) {
    let workload = Workload::new("shop");
    let agent = Agent::started(&workload.config(""));
    let refused = agent.ask(&["explain", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(refused.stderr.contains("expected a port (1-65535), got '127.0.0.1:0'"), "{}", refused.stderr);
}
