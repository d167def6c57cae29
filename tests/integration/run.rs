//! The agent serves its workloads, each by its own rules, and leaves nothing behind.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use nix::sys::signal::Signal;
use sluice_tests::agent::{Agent, BPFFS, PinDir};
use sluice_tests::cgroup::Cgroup;
use sluice_tests::http;
use sluice_tests::netns::Wire;
use sluice_tests::process::{open_files, run};
use sluice_tests::server::{Server, behaviour};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::tempdir::TempDir;
use sluice_tests::{tests, wait};

use crate::workload::{Way, Workload};

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("run");
    group.sluice(tests![
        each_workload_follows_its_own_rules,
        a_workload_that_is_not_enrolled_goes_direct,
        a_process_in_a_child_cgroup_belongs_to_the_workload,
        loopback_goes_direct_where_it_is_not_included,
        a_destination_beyond_the_wire_is_proxied_from_the_workload_s_namespace,
        connections_leave_no_descriptor_behind,
        two_agents_do_not_disturb_each_other,
        an_agent_inside_a_workload_of_another_is_served_first,
        exec_inside_a_workload_goes_through_both,
        pins_are_gone_after_sigterm,
        clients_go_direct_after_sigterm,
    ]);
    group.of_the_proxy_alone();
    group.sluice(tests![
        status_names_every_workload,
        ready_and_live_answer,
        pins_are_closed_to_other_users,
        a_pin_directory_of_another_user_is_refused,
        a_pin_directory_that_others_write_to_is_refused,
        a_pin_directory_beside_bpffs_is_refused_untouched,
        a_pin_directory_with_a_stranger_s_pins_is_refused_untouched,
        where_everybody_pins_is_no_pin_directory,
        what_a_stranger_put_beside_the_pins_stays,
        a_pin_directory_that_was_there_stays,
        an_unknown_key_is_refused_and_named,
        a_bad_port_is_refused_and_named,
        a_missing_cgroup_is_refused_and_named,
        a_missing_config_is_refused_and_named,
        a_taken_admin_address_is_refused,
        a_missing_namespace_is_refused_with_its_workload,
        a_second_agent_is_told_of_the_first,
        status_without_outcomes_has_no_table_of_them,
    ]);
}

fn each_workload_follows_its_own_rules(_: &Env) {
    let (shop, bank) = (Workload::new("shop"), Workload::new("bank"));
    let skipped = [&shop, &bank].map(|workload| workload.server_at("127.0.0.1:7001"));
    let other = [&shop, &bank].map(|workload| workload.server_at("127.0.0.1:7002"));
    let _agent = Agent::started(
        &[shop.config("skip-outbound-ports = \"7001\""), bank.config("skip-outbound-ports = \"7002\"")]
            .concat(),
    );
    assert_eq!(shop.way_to(&skipped[0]), Way::Direct);
    assert_eq!(shop.way_to(&other[0]), Way::Proxied);
    assert_eq!(bank.way_to(&skipped[1]), Way::Proxied);
    assert_eq!(bank.way_to(&other[1]), Way::Direct);
}

fn a_workload_that_is_not_enrolled_goes_direct(_: &Env) {
    let (enrolled, stranger) = (Workload::new("enrolled"), Workload::new("stranger"));
    let _agent = Agent::started(&enrolled.config(""));
    assert_eq!(enrolled.way_to(&enrolled.server()), Way::Proxied);
    assert_eq!(stranger.way_to(&stranger.server()), Way::Direct);
}

fn a_process_in_a_child_cgroup_belongs_to_the_workload(_: &Env) {
    let workload = Workload::new("parent");
    let server = workload.server();
    let _agent = Agent::started(&workload.config(""));
    let child = workload.cgroup.child();
    let steps = [format!("connect={}", server.addr()), "exchange=10".to_owned()];
    let command = crate::workload::peer_in(child.path().to_owned(), &workload.netns, "client", &steps);
    let finished = run(command);
    let stdout = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(finished.status.success(), "{stdout}{}", finished.stderr);
    let local = stdout.lines().find_map(|line| line.strip_prefix("local ")).expect("an address");
    assert_ne!(server.accepted().to_string(), local, "it went direct");
}

fn loopback_goes_direct_where_it_is_not_included(_: &Env) {
    let workload = Workload::new("plain");
    let server = workload.server();
    let config = workload.config("").replace("include-loopback = true", "");
    let _agent = Agent::started(&config);
    assert_eq!(workload.way_to(&server), Way::Direct);
}

fn a_destination_beyond_the_wire_is_proxied_from_the_workload_s_namespace(_: &Env) {
    let wire = Wire::new();
    let server = Server::bind_in(&wire.far, &format!("{}:0", wire.v4(2)), behaviour::echo);
    let source = wire.v4(1);
    let Wire { near, far: _far, .. } = wire;
    let workload = Workload { name: "pod", cgroup: Cgroup::new(), netns: near };
    let _agent = Agent::started(&workload.config("").replace("include-loopback = true", ""));
    let steps = [format!("connect={}", server.addr()), "exchange=10".to_owned()];
    let finished = run(workload.peer("client", &steps));
    assert!(finished.status.success(), "{finished:?}");
    let seen = server.accepted();
    assert_eq!(seen.ip().to_string(), source);
    let stdout = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(!stdout.contains(&format!("local {seen}\n")), "it went direct: {stdout}");
}

fn connections_leave_no_descriptor_behind(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server();
    let mut agent = Agent::started(&workload.config(""));
    let pid = agent.process().pid();
    let open = || open_files(pid);
    // The first connections may fill pools.
    let steps: Vec<String> =
        (0..100).flat_map(|_| [format!("connect={}", server.addr()), "exchange=1000".to_owned()]).collect();
    let round = || {
        let finished = run(workload.peer("client", &steps));
        assert!(finished.status.success(), "{finished:?}");
    };
    round();
    let before = open();
    for _ in 0..3 {
        round();
    }
    wait::eventually("the descriptors to be closed", || (open() <= before).then_some(()));
}

fn two_agents_do_not_disturb_each_other(_: &Env) {
    let (one, two) = (Workload::new("one"), Workload::new("two"));
    let _first = Agent::started(&one.config(""));
    let mut second = Agent::started(&two.config(""));
    assert_eq!(one.way_to(&one.server()), Way::Proxied);
    assert_eq!(two.way_to(&two.server()), Way::Proxied);
    let _finished = second.stop(Signal::SIGTERM);
    assert_eq!(one.way_to(&one.server()), Way::Proxied);
    assert_eq!(two.way_to(&two.server()), Way::Direct);
}

fn an_agent_inside_a_workload_of_another_is_served_first(_: &Env) {
    let outer = Workload::new("outer");
    let cgroup = outer.cgroup.child();
    let inner = format!(
        "[[workload]]\nname = \"inner\"\ncgroup = \"{}\"\nnetns = \"{}\"\ninclude-loopback = true\n",
        cgroup.path().display(),
        outer.netns.path().display(),
    );
    let outer_agent = Agent::started(&outer.config(""));
    let inner_agent = Agent::started(&inner);
    for addr in ["127.0.0.1:0", "[::1]:0"] {
        let server = outer.server_at(addr);
        let steps = [format!("connect={}", server.addr()), "exchange=1000".to_owned()];
        let finished =
            run(crate::workload::peer_in(cgroup.path().to_owned(), &outer.netns, "client", &steps));
        let stdout = String::from_utf8_lossy(&finished.stdout).into_owned();
        assert!(finished.status.success(), "{addr}: {stdout}{}", finished.stderr);
        assert!(stdout.contains(&format!("peer {}\n", server.addr())), "{addr}: {stdout}");
    }
    assert_eq!(outcome_of_connect(&inner_agent, "redirected"), 2);
    assert_eq!(outcome_of_connect(&outer_agent, "redirected"), 0, "the inner proxy is in no workload");
    assert_eq!(outcome_of_connect(&outer_agent, "other_listener"), 2);
}

fn exec_inside_a_workload_goes_through_both(_: &Env) {
    let outer = Workload::new("outer");
    let server = outer.server();
    let agent = Agent::started(&outer.config(""));
    let directory = TempDir::new();
    let report = directory.join("report");
    let steps = [format!("connect={}", server.addr()), "exchange=1000".to_owned()];
    let client = sluice_tests::peer::command(&["client"], &steps);
    // A shell enters the cgroup, and then becomes sluice.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(outer.cgroup.path());
    command.arg(sluice_tests::exec::sluice()).args(["exec", "--report"]).arg(&report).arg("--").args(client);
    command.env_remove("SUDO_UID").env_remove("SUDO_GID");
    let finished = outer.netns.enter(|| run(command));
    assert!(finished.status.success(), "{finished:?}");
    let report = std::fs::read_to_string(report).expect("the report");
    assert_eq!(report.lines().count(), 1, "{report}");
    assert!(report.contains(&server.addr().to_string()) && report.contains("\"eof\""), "{report}");
    // The self-test of `exec` may have opened some of its own.
    assert_ne!(outcome_of_connect(&agent, "other_listener"), 0);
    assert_eq!(outcome_of_connect(&agent, "redirected"), 1, "what the proxy of `exec` opened");
}

/// How often the `connect` hook has counted an outcome.
fn outcome_of_connect(agent: &Agent, outcome: &str) -> u64 {
    let (_, text) = http::get(agent.admin(), "/metrics").expect("the metrics");
    let labels = format!("hook=\"connect\",outcome=\"{outcome}\"");
    let line =
        text.lines().find(|line| line.starts_with("sluice_hook_outcomes_total{") && line.contains(&labels));
    line.map_or(0, |line| line.rsplit(' ').next().expect("a value").parse().expect("a number"))
}

fn status_names_every_workload(_: &Env) {
    let (shop, bank) = (Workload::new("shop"), Workload::new("bank"));
    let agent = Agent::started(&[shop.config(""), bank.config("")].concat());
    let status = agent.answer(&["status"]);
    assert!(status.contains("shop") && status.contains("bank"), "{status}");
}

fn ready_and_live_answer(_: &Env) {
    let workload = Workload::new("idle");
    let agent = Agent::started(&workload.config(""));
    for path in ["/ready", "/live"] {
        let (status, body) = http::get(agent.admin(), path).expect("an answer");
        assert_eq!(status, 200, "{path}: {body}");
    }
    assert_eq!(http::get(agent.admin(), "/no-such-page").expect("an answer").0, 404);
}

fn pins_are_gone_after_sigterm(_: &Env) {
    let workload = Workload::new("brief");
    let mut agent = Agent::started(&workload.config(""));
    assert!(agent.pin_dir().is_dir(), "no pins at {}", agent.pin_dir().display());
    let finished = agent.stop(Signal::SIGTERM);
    assert!(finished.status.success(), "{finished:?}");
    let left = std::fs::read_dir(agent.pin_dir()).map(|entries| entries.count()).unwrap_or(0);
    assert_eq!(left, 0, "pins are left in {}", agent.pin_dir().display());
}

fn pins_are_closed_to_other_users(_: &Env) {
    let workload = Workload::new("closed");
    let mut agent = Agent::stopped(&workload.config(""));
    // As an earlier version left it.
    std::fs::create_dir(agent.pin_dir()).expect("make the directory");
    set_mode(agent.pin_dir(), 0o755);
    agent.start();
    for dir in ["", "v1", "v1/links"] {
        let path = agent.pin_dir().join(dir);
        let mode = path.metadata().expect("a directory").permissions().mode() & 0o7777;
        assert_eq!(mode, 0o700, "{}: {mode:o}", path.display());
    }
}

fn a_pin_directory_of_another_user_is_refused(_: &Env) {
    let agent = Agent::stopped(&Workload::new("squatted").config(""));
    std::fs::create_dir(agent.pin_dir()).expect("make the directory");
    chown(agent.pin_dir(), Some(65_534), Some(65_534)).expect("give the directory away");
    let finished = agent.run_to_its_end();
    assert!(!finished.status.success(), "{finished:?}");
    for named in [&*agent.pin_dir().display().to_string(), "user 65534"] {
        assert!(finished.stderr.contains(named), "expected '{named}' in: {}", finished.stderr);
    }
}

fn a_pin_directory_that_others_write_to_is_refused(_: &Env) {
    let agent = Agent::stopped(&Workload::new("open").config(""));
    std::fs::create_dir(agent.pin_dir()).expect("make the directory");
    set_mode(agent.pin_dir(), 0o1777);
    let finished = agent.run_to_its_end();
    assert!(!finished.status.success(), "{finished:?}");
    assert!(finished.stderr.contains("1777"), "{}", finished.stderr);
}

/// An agent that is to pin here gives up, says why, and leaves the directory as it was.
fn refused_untouched(pin_dir: &Path, named: &[&str]) {
    let look = || {
        let mut all: Vec<_> = std::fs::read_dir(pin_dir).expect("the directory").flatten().collect();
        all.sort_by_key(std::fs::DirEntry::file_name);
        let names: Vec<_> = all.iter().map(std::fs::DirEntry::path).collect();
        (names, pin_dir.metadata().expect("the directory").permissions().mode())
    };
    let before = look();
    let directory = TempDir::new();
    let config = directory.write("config.toml", "admin = \"127.0.0.1:0\"\n");
    let mut command = std::process::Command::new(sluice_tests::exec::sluice());
    command.args(["run", "--config"]).arg(config).arg("--pin-dir").arg(pin_dir);
    command.arg("--control-socket").arg(directory.join("socket"));
    let finished = run(command);
    assert!(!finished.status.success(), "{finished:?}");
    for named in named.iter().chain(&["nothing was changed"]) {
        assert!(finished.stderr.contains(named), "expected '{named}' in: {}", finished.stderr);
    }
    assert_eq!(look(), before, "{}", finished.stderr);
}

fn a_pin_directory_beside_bpffs_is_refused_untouched(_: &Env) {
    let directory = TempDir::new();
    set_mode(directory.path(), 0o755);
    let precious = directory.write("precious", "x");
    for inner in ["v1", "stale", "sub/deep"] {
        std::fs::create_dir_all(directory.join(inner)).expect("make a directory");
    }
    refused_untouched(directory.path(), &["bpffs", "/sys/fs/bpf/", &directory.path().display().to_string()]);
    assert_eq!(std::fs::read_to_string(precious).expect("the file"), "x");
    assert!(directory.join("sub/deep").is_dir());
}

fn a_pin_directory_with_a_stranger_s_pins_is_refused_untouched(_: &Env) {
    let pins = PinDir::new();
    let other = pins.path().join("other");
    std::fs::create_dir_all(&other).expect("make the directories");
    set_mode(pins.path(), 0o755);
    refused_untouched(pins.path(), &[&other.display().to_string()]);
    std::fs::remove_dir(&other).expect("take it away");
    let other = pins.path().join("v1/other");
    std::fs::create_dir_all(&other).expect("make the directories");
    refused_untouched(pins.path(), &[&other.display().to_string()]);
    assert!(other.is_dir());
}

fn where_everybody_pins_is_no_pin_directory(_: &Env) {
    // In a mount namespace with a bpffs of its own: the machine's holds what is not ours.
    const SCRIPT: &str = "mount -t bpf -o mode=0755 bpf /sys/fs/bpf && \"$0\" \"$@\"; \
                          echo status $? $(stat -c %a /sys/fs/bpf) $(ls /sys/fs/bpf | wc -l)";
    let directory = TempDir::new();
    let config = directory.write("config.toml", "admin = \"127.0.0.1:0\"\n");
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "sh", "-c", SCRIPT]).arg(sluice_tests::exec::sluice());
    command.args(["run", "--pin-dir", BPFFS, "--config"]).arg(config);
    command.arg("--control-socket").arg(directory.join("socket"));
    let finished = run(command);
    let told = String::from_utf8_lossy(&finished.stdout).into_owned();
    // bpffs is sticky on its own on some kernels, and has two debug files or none.
    let untouched = ["755 0", "755 2", "1755 0", "1755 2"]
        .map(|it| format!("status 1 {it}"))
        .contains(&told.trim_end().to_owned());
    assert!(untouched && finished.stderr.contains("every program"), "{told}{}", finished.stderr);
}

fn what_a_stranger_put_beside_the_pins_stays(_: &Env) {
    let workload = Workload::new("brief");
    let mut agent = Agent::started(&workload.config(""));
    let other = agent.pin_dir().join("other");
    std::fs::create_dir(&other).expect("make a directory");
    let finished = agent.stop(Signal::SIGTERM);
    assert!(finished.status.success(), "{finished:?}");
    assert!(other.is_dir(), "{}", finished.stderr);
    assert!(!agent.pin_dir().join("v1").exists(), "{}", finished.stderr);
}

fn a_pin_directory_that_was_there_stays(_: &Env) {
    let workload = Workload::new("brief");
    let mut agent = Agent::stopped(&workload.config(""));
    std::fs::create_dir(agent.pin_dir()).expect("make the directory");
    agent.start();
    let finished = agent.stop(Signal::SIGTERM);
    assert!(finished.status.success(), "{finished:?}");
    assert_eq!(std::fs::read_dir(agent.pin_dir()).expect("it is there").count(), 0, "{}", finished.stderr);
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

fn clients_go_direct_after_sigterm(_: &Env) {
    let workload = Workload::new("brief");
    let server = workload.server();
    let mut agent = Agent::started(&workload.config("when-proxy-down = \"strict\""));
    assert_eq!(workload.way_to(&server), Way::Proxied);
    let _finished = agent.stop(Signal::SIGTERM);
    // Even a strict workload: the agent was asked to go, and took its programs with it.
    assert_eq!(workload.way_to(&server), Way::Direct);
}

/// An agent with this config gives up, and says why.
fn refused(config: &str, named: &[&str]) {
    let agent = Agent::stopped(config);
    let finished = agent.run_to_its_end();
    assert!(!finished.status.success(), "{finished:?}");
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    for name in named {
        assert!(finished.stderr.contains(name), "expected '{name}' in: {}", finished.stderr);
    }
    assert!(!agent.pin_dir().exists(), "something was pinned at {}", agent.pin_dir().display());
}

fn an_unknown_key_is_refused_and_named(_: &Env) {
    refused(&Workload::new("odd").config("skip-ports = \"80\""), &["skip-ports", "config.toml"]);
}

fn a_bad_port_is_refused_and_named(_: &Env) {
    refused(&Workload::new("odd").config("skip-outbound-ports = \"80, 80O0\""), &["80O0", "odd"]);
}

fn a_missing_cgroup_is_refused_and_named(_: &Env) {
    let workload = Workload::new("odd");
    let config = workload.config("");
    let gone = workload.cgroup.path().display().to_string();
    drop(workload);
    refused(&config, &[&gone]);
}

fn a_missing_config_is_refused_and_named(_: &Env) {
    let mut command = std::process::Command::new(sluice_tests::exec::sluice());
    command.args(["run", "--config", "/no/such/config.toml"]);
    let finished = run(command);
    assert!(!finished.status.success());
    assert!(finished.stderr.contains("/no/such/config.toml"), "{}", finished.stderr);
}

fn a_taken_admin_address_is_refused(_: &Env) {
    let agent = Agent::stopped(&Workload::new("odd").config(""));
    let _taken = std::net::TcpListener::bind(agent.admin()).expect("take the address");
    let finished = agent.run_to_its_end();
    assert!(!finished.status.success(), "{finished:?}");
    assert!(finished.stderr.contains(&agent.admin().to_string()), "{}", finished.stderr);
}

fn a_missing_namespace_is_refused_with_its_workload(_: &Env) {
    let workload = Workload::new("odd");
    let namespace = workload.netns.path().display().to_string();
    let config = workload.config("").replace(&namespace, "/run/netns/is-not-there");
    refused(&config, &["workload \"odd\"", "/run/netns/is-not-there"]);
}

fn a_second_agent_is_told_of_the_first(_: &Env) {
    let workload = Workload::new("shop");
    let agent = Agent::started(&workload.config(""));
    let second = agent.run_to_its_end();
    assert_eq!(second.status.code(), Some(1), "{second:?}");
    let told = format!("another agent is running on pin directory {}", agent.pin_dir().display());
    assert!(second.stderr.contains(&told), "{}", second.stderr);
    assert_eq!(workload.way_to_new_server(), Way::Proxied);
}

fn status_without_outcomes_has_no_table_of_them(_: &Env) {
    let workload = Workload::new("shop");
    let agent = Agent::started(&workload.config("sk-msg = \"off\""));
    let status = agent.answer(&["status"]);
    assert!(!status.contains("HOOK"), "{status}");
    assert_eq!(workload.way_to_new_server(), Way::Proxied);
    let status = agent.answer(&["status"]);
    assert!(status.contains("HOOK") && status.contains("redirected"), "{status}");
}
