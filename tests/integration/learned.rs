//! Destinations that no rule names are learned to be opaque by what is seen of them, and looked at again.

use std::time::Duration;

use sluice_tests::agent::Agent;
use sluice_tests::exec::Outcome;
use sluice_tests::http::Samples;
use sluice_tests::process::run;
use sluice_tests::scale::Scale;
use sluice_tests::server::{Server, behaviour};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

use crate::client_hello::ClientHello;
use crate::workload::{Way, Workload};

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("learned");
    group.sluice(tests![a_raw_server_is_learned_and_its_bytes_are_counted_as_the_kernel_carries_them]);
    group.of_the_proxy_alone();
    group.sluice(tests![
        a_destination_that_speaks_http_is_noticed_at_the_next_sample,
        a_destination_that_stays_opaque_is_learned_for_longer_with_each_sample,
        http_and_tls_are_never_learned,
        silence_teaches_nothing,
        one_request_among_opaque_connections_begins_the_row_anew,
        forgotten_destinations_are_looked_at_again,
        only_what_is_meant_is_forgotten,
        it_is_off_where_the_config_says_so,
        what_is_learned_survives_a_reload_and_goes_with_the_switch,
        a_rule_that_names_the_port_counts_more,
        a_workload_learns_for_itself,
        exec_learns_when_it_is_asked_to,
    ]);
}

/// Connections in a row that have to be opaque.
const ROW: usize = 5;
const RAW: &str = "text=PING\\r\\n";
const HTTP: &str = "text=GET / HTTP/1.1\\r\\nHost: shop.test\\r\\n\\r\\n";

/// The first term, and more for a machine that is busy.
fn first_term() -> Duration {
    Duration::from_secs(10) + wait::patience()
}

/// Which way a connection goes on which the client sends this and gets the first byte of it back.
fn way(workload: &Workload, server: &Server, sends: &str) -> Way {
    let steps = [format!("connect={}", server.addr()), sends.to_owned(), "recv=1".to_owned()];
    let finished = run(workload.peer("client", &steps));
    assert!(finished.status.success(), "{finished:?}");
    let stdout = String::from_utf8_lossy(&finished.stdout).into_owned();
    let local = stdout.lines().find_map(|line| line.strip_prefix("local ")).expect("the client's address");
    let is_direct = server.accepted_so_far().iter().any(|seen| seen.to_string() == local);
    if is_direct { Way::Direct } else { Way::Proxied }
}

/// Teaches that the server is opaque. The last connection may be a moment ahead of what it teaches.
fn teach(workload: &Workload, server: &Server) {
    for number in 1..=ROW {
        assert_eq!(way(workload, server, RAW), Way::Proxied, "connection {number}");
    }
    wait::eventually("a destination to be learned", || {
        (way(workload, server, RAW) == Way::Direct).then_some(())
    });
}

fn learned(agent: &Agent) -> String {
    agent.answer(&["ports", "learned"])
}

fn scene(more: &str) -> (Workload, Server, Agent) {
    let workload = Workload::new("shop");
    let server = workload.server_at("127.0.0.1:7001");
    let agent = Agent::started(&workload.config(more));
    (workload, server, agent)
}

fn a_raw_server_is_learned_and_its_bytes_are_counted_as_the_kernel_carries_them(_: &Env) {
    let (workload, server, agent) = scene("");
    teach(&workload, &server);
    let sum = |name: &str, labels: &[(&str, &str)]| Samples::of(agent.admin()).sum(name, labels);
    let client = [("peer", "src"), ("target_addr", "127.0.0.1:7001")];
    let before = wait::eventually("the bytes of all", || {
        let read = sum("tcp_read_bytes_total", &client);
        (sum("tcp_open_connections", &client) < 0.5 && read >= 6.0 * 6.0).then_some(read)
    });
    let steps = ["connect=127.0.0.1:7001", "exchange=70000"];
    assert!(run(workload.peer("client", &steps)).status.success());
    wait::eventually("the bytes that the kernel counted", || {
        ((sum("tcp_read_bytes_total", &client) - before - 70_000.0).abs() < 0.5).then_some(())
    });
    let found = |how: &str| sum("outbound_tcp_protocol_connections_total", &[("detected_by", how)]);
    assert!(found("learned") >= 2.0 && found("client-bytes") >= 5.0, "{} and more", found("learned"));
    assert!((sum("sluice_learned_destinations", &[]) - 1.0).abs() < 0.5);

    let list = learned(&agent);
    assert!(list.contains("shop") && list.contains("outbound   127.0.0.1:7001"), "{list}");
    let json: serde_json::Value =
        serde_json::from_str(&agent.answer(&["ports", "learned", "--output", "json"])).expect("JSON");
    assert_eq!(json[0]["destination"], "127.0.0.1:7001");
    let explained = agent.answer(&["explain", "127.0.0.1:7001", "--workload", "shop"]);
    assert!(explained.contains("opaque (no rule names the port; learned"), "{explained}");
}

fn a_destination_that_speaks_http_is_noticed_at_the_next_sample(_: &Env) {
    let (workload, server, agent) = scene("");
    teach(&workload, &server);
    wait::within(first_term(), "a sample", || (way(&workload, &server, HTTP) == Way::Proxied).then_some(()));
    wait::eventually("it to be forgotten", || (!learned(&agent).contains("7001")).then_some(()));
    for _ in 0..2 * ROW {
        assert_eq!(way(&workload, &server, HTTP), Way::Proxied);
    }
}

fn a_destination_that_stays_opaque_is_learned_for_longer_with_each_sample(_: &Env) {
    let (workload, server, agent) = scene("");
    teach(&workload, &server);
    wait::within(first_term(), "a sample", || (way(&workload, &server, RAW) == Way::Proxied).then_some(()));
    wait::eventually("it to be learned again", || {
        (way(&workload, &server, RAW) == Way::Direct).then_some(())
    });
    let json: serde_json::Value =
        serde_json::from_str(&agent.answer(&["ports", "learned", "--output", "json"])).expect("JSON");
    let left = json[0]["sampled_again_seconds"].as_u64().expect("seconds");
    assert!(left >= 10 || Scale::current().pick(false, true), "{json}");
}

fn http_and_tls_are_never_learned(_: &Env) {
    let (workload, server, agent) = scene("");
    let hello = ClientHello { sni: "shop.test", alpn: &["h2"], padding: 0 }.bytes();
    let hello: String = hello.iter().map(|byte| format!("{byte:02x}")).collect();
    for sends in [HTTP.to_owned(), format!("hex={hello}")] {
        for _ in 0..2 * ROW {
            assert_eq!(way(&workload, &server, &sends), Way::Proxied);
        }
    }
    let list = learned(&agent);
    assert_eq!(list.lines().count(), 1, "{list}");
}

fn silence_teaches_nothing(_: &Env) {
    let (workload, server, agent) = scene("");
    let steps: Vec<String> =
        (0..2 * ROW).flat_map(|_| ["connect=127.0.0.1:7001", "fin", "recv-eof"]).map(str::to_owned).collect();
    assert!(run(workload.peer("client", &steps)).status.success());
    let silent = [("detected_by", "silent")];
    wait::eventually("their ends", || {
        let counted = Samples::of(agent.admin()).sum("outbound_tcp_protocol_connections_total", &silent);
        (counted > 9.5).then_some(())
    });
    assert_eq!(way(&workload, &server, RAW), Way::Proxied);
    let list = learned(&agent);
    assert_eq!(list.lines().count(), 1, "{list}");
}

fn one_request_among_opaque_connections_begins_the_row_anew(_: &Env) {
    let (workload, server, _agent) = scene("");
    for sends in [RAW, RAW, RAW, RAW, HTTP, RAW, RAW, RAW, RAW] {
        assert_eq!(way(&workload, &server, sends), Way::Proxied);
    }
    assert_eq!(way(&workload, &server, RAW), Way::Proxied, "the fifth");
}

fn forgotten_destinations_are_looked_at_again(_: &Env) {
    let (workload, server, agent) = scene("");
    for what in ["127.0.0.1:7001", "[::ffff:127.0.0.1]:7001", "--all"] {
        teach(&workload, &server);
        let said = agent.answer(&["ports", "forget", what]);
        assert!(said.contains("127.0.0.1:7001"), "{said}");
        // As often as if nothing had ever been learned: `teach` sees to it.
    }
    teach(&workload, &server);
}

fn only_what_is_meant_is_forgotten(_: &Env) {
    let (workload, server, agent) = scene("");
    let other = workload.server_at("127.0.0.1:7002");
    teach(&workload, &server);
    teach(&workload, &other);
    let _said = agent.answer(&["ports", "forget", "127.0.0.1:7001", "--workload", "shop"]);
    assert_eq!(way(&workload, &server, RAW), Way::Proxied);
    let list = learned(&agent);
    assert!(list.contains("127.0.0.1:7002") && !list.contains("127.0.0.1:7001"), "{list}");
    let refused = agent.ask(&["ports", "forget", "127.0.0.1:7001"]);
    assert!(!refused.status.success() && refused.stderr.contains("is not learned"), "{refused:?}");
    let refused = agent.ask(&["ports", "forget"]);
    assert!(!refused.status.success(), "{refused:?}");
}

fn it_is_off_where_the_config_says_so(_: &Env) {
    let workload = Workload::new("shop");
    let server = workload.server_at("127.0.0.1:7001");
    for (node, own) in [
        ("learn-opaque = \"off\"\n", ""),
        ("", "learn-opaque = \"off\""),
        // Nothing is gained where the proxy carries opaque connections.
        ("opaque-path = \"proxy\"\n", ""),
    ] {
        let _agent = Agent::started(&[node.to_owned(), workload.config(own)].concat());
        for _ in 0..2 * ROW {
            assert_eq!(way(&workload, &server, RAW), Way::Proxied, "{node}{own}");
        }
    }
    let own = workload.config("learn-opaque = \"on\"");
    let _agent = Agent::started(&["learn-opaque = \"off\"\n".to_owned(), own].concat());
    teach(&workload, &server);
}

fn what_is_learned_survives_a_reload_and_goes_with_the_switch(_: &Env) {
    let (workload, server, agent) = scene("");
    teach(&workload, &server);
    agent.write_config(&workload.config("skip-outbound-ports = \"9999\""));
    wait::eventually("the new config", || agent.answer(&["ports", "list"]).contains("9999").then_some(()));
    assert_eq!(way(&workload, &server, RAW), Way::Direct);
    agent.write_config(&workload.config("learn-opaque = \"off\""));
    wait::eventually("the switch", || (way(&workload, &server, RAW) == Way::Proxied).then_some(()));
    wait::eventually("it to be forgotten", || (learned(&agent).lines().count() == 1).then_some(()));
    agent.write_config(&workload.config(""));
    wait::eventually("the switch back", || agent.answer(&["status"]).contains("learns opaque").then_some(()));
    teach(&workload, &server);
}

fn a_rule_that_names_the_port_counts_more(_: &Env) {
    let (workload, server, agent) = scene("");
    teach(&workload, &server);
    let _said = agent.answer(&["ports", "detect", "7001", "--workload", "shop"]);
    for _ in 0..2 * ROW {
        assert_eq!(way(&workload, &server, RAW), Way::Proxied);
    }
}

fn a_workload_learns_for_itself(_: &Env) {
    let (shop, bank) = (Workload::new("shop"), Workload::new("bank"));
    let servers = [&shop, &bank].map(|workload| workload.server_at("127.0.0.1:7001"));
    let _agent = Agent::started(&[shop.config(""), bank.config("")].concat());
    teach(&shop, &servers[0]);
    assert_eq!(way(&bank, &servers[1], RAW), Way::Proxied);
}

fn exec_learns_when_it_is_asked_to(env: &Env) {
    let server = Server::start(behaviour::echo);
    let steps: Vec<String> = (0..2 * ROW)
        .flat_map(|_| [format!("connect={}", server.addr()), RAW.to_owned(), "recv=1".to_owned()])
        .collect();
    let by = |outcome: &Outcome, how: &str| {
        let mut count = 0;
        outcome.report(|connections| {
            count = connections.iter().filter(|connection| connection.verdict().ends_with(how)).count();
        });
        count
    };
    let outcome = env.client(&steps).run().success();
    assert_eq!(by(&outcome, "opaque client-bytes"), 2 * ROW);
    let outcome = env.client(&steps).flag("--learn-opaque", "on").run().success();
    let (seen, learned) = (by(&outcome, "opaque client-bytes"), by(&outcome, "opaque learned"));
    assert!(seen >= ROW && learned > 0 && seen + learned == 2 * ROW, "{seen} and {learned}");
}
