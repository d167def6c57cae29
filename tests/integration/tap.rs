//! `sluice tap` shows requests as they finish, and ends with whoever ends first.

use nix::sys::signal::Signal;
use sluice_tests::agent::Agent;
use sluice_tests::process::{Finished, Process, run};
use sluice_tests::server::{Server, behaviour};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::tempdir::TempDir;
use sluice_tests::{tests, wait};

use crate::workload::Workload;

/// What a tap says when it is open.
const OPEN: &str = "sluice: the tap is open at /run/sluice/";

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("tap");
    group.of_the_proxy_alone();
    group.sluice(tests![
        a_request_is_shown_when_it_has_finished,
        a_tap_says_when_the_agent_ends,
        a_tap_knows_a_killed_agent,
        a_tap_without_an_agent_says_so,
        an_agent_replaces_the_socket_of_a_killed_one,
        a_directory_that_is_not_there_is_named_and_not_made,
    ]);
}

/// A tap of the agent's that is open.
fn open_tap(agent: &Agent, arguments: &[&str]) -> Process {
    let tap = agent.start_asking(&[&["tap"], arguments].concat());
    wait::eventually("the tap to be open", || tap.stderr_so_far().contains(OPEN).then_some(()));
    tap
}

/// What a tap has said on standard error since it was open.
fn said(finished: &Finished) -> &str {
    finished.stderr.split_once('\n').map_or("", |(_open, said)| said)
}

fn a_request_is_shown_when_it_has_finished(_: &Env) {
    let (shop, bank) = (Workload::new("shop"), Workload::new("bank"));
    let servers =
        [&shop, &bank].map(|workload| Server::bind_in(&workload.netns, "127.0.0.1:0", behaviour::http("hi")));
    let agent = Agent::started(&[shop.config(""), bank.config("")].concat());
    let mut tap = open_tap(&agent, &["--workload", "shop", "--protocol", "http/1", "--count", "1"]);
    wait::eventually("a request to be shown", || {
        for (workload, server) in [(&bank, &servers[1]), (&shop, &servers[0])] {
            let steps = [
                format!("connect={}", server.addr()),
                "text=GET /items?token=secret HTTP/1.1\\r\\nHost: web.test\\r\\n\\r\\n".to_owned(),
                "recv-line".to_owned(),
            ];
            assert!(run(workload.peer("client", &steps)).status.success());
        }
        tap.has_ended().then_some(())
    });
    let finished = tap.finish(wait::patience());
    assert!(finished.status.success(), "{}", finished.stderr);
    let shown = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert_eq!(shown.lines().count(), 1, "{shown}");
    let words: Vec<&str> = shown.split_whitespace().collect();
    let dst = format!("dst={}", servers[0].addr());
    for word in
        ["shop", &dst, "protocol=http/1", ":method=GET", ":authority=web.test", ":path=/items", ":status=200"]
    {
        assert!(words.contains(&word), "{word} in {shown}");
    }
}

fn a_tap_says_when_the_agent_ends(_: &Env) {
    let mut agent = Agent::started("");
    let tap = open_tap(&agent, &[]);
    assert!(agent.stop(Signal::SIGTERM).status.success());
    let finished = tap.finish(wait::patience());
    assert!(finished.status.success(), "{}", finished.stderr);
    assert_eq!(said(&finished), "sluice: the agent has ended\n");
}

fn a_tap_knows_a_killed_agent(_: &Env) {
    let mut agent = Agent::started("");
    let tap = open_tap(&agent, &[]);
    let _killed = agent.stop(Signal::SIGKILL);
    let finished = tap.finish(wait::patience());
    assert_eq!(finished.status.code(), Some(1));
    assert_eq!(said(&finished), "sluice: the agent is gone\n");
}

fn a_tap_without_an_agent_says_so(_: &Env) {
    let agent = Agent::stopped("");
    let finished = agent.ask(&["tap"]);
    assert_eq!(finished.status.code(), Some(1));
    assert!(finished.stderr.contains("no agent answers at /run/sluice/"), "{}", finished.stderr);
}

fn an_agent_replaces_the_socket_of_a_killed_one(_: &Env) {
    let mut agent = Agent::started("");
    let _killed = agent.stop(Signal::SIGKILL);
    agent.start();
    let tap = open_tap(&agent, &[]);
    tap.signal(Signal::SIGINT);
    let finished = tap.finish(wait::patience());
    assert!(finished.status.success(), "{}", finished.stderr);
}

fn a_directory_that_is_not_there_is_named_and_not_made(_: &Env) {
    let directory = TempDir::new();
    let missing = directory.join("missing");
    let socket = missing.join("control.sock").display().to_string();
    let finished = Agent::stopped("").run_to_its_end_with(&["--control-socket", &socket]);
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stderr.contains(&format!("control socket {socket}")), "{}", finished.stderr);
    assert!(!missing.exists());
}
