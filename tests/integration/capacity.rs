//! The port map is large enough for a node, and when it is full it says so.

use std::collections::BTreeMap;

use sluice_tests::agent::Agent;
use sluice_tests::cgroup::Cgroup;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{kernel, tests, wait};

use crate::workload::{Way, Workload};

/// Entries of the `PORTS` map.
const PORTS: u32 = 65_536;
/// What the maps of 250 workloads may take, bytes.
const MAP_MEMORY: u64 = 16 << 20;
/// What they may take were they full, which is what a kernel tells that does not count entries.
const MAP_CAPACITY: u64 = 48 << 20;
/// The first kernel that counts what a map takes (`map_mem_usage`), instead of what it may take.
const COUNTS_MEMORY: (u32, u32) = (6, 4);

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("capacity");
    group
        .sluice(tests![a_full_port_map_is_refused_at_start, two_hundred_and_fifty_workloads_with_ranges_fit]);
    group.of_the_proxy_alone();
    group.sluice(tests![
        a_full_port_map_keeps_the_last_good_config,
        a_full_port_map_keeps_the_names,
        a_full_port_map_refuses_live_ports,
    ]);
}

/// Every other port, so that no two make a block: half of all ports, all but `without`.
fn alternating(without: u32) -> String {
    let ports: Vec<String> =
        (1..65_536).step_by(2).filter(|port| *port != without).map(|port| port.to_string()).collect();
    format!("skip-outbound-ports = \"{}\"", ports.join(","))
}

/// Three workloads whose rules differ and fill the map between them.
fn too_much(workloads: &[Workload; 3]) -> String {
    let filled = PORTS.div_ceil(2) * 3;
    assert!(filled > PORTS);
    (1..)
        .step_by(2)
        .zip(workloads)
        .map(|(without, workload)| workload.config(&alternating(without)))
        .collect()
}

fn a_full_port_map_is_refused_at_start(_: &Env) {
    let workloads = ["a", "b", "c"].map(Workload::new);
    let agent = Agent::stopped(&too_much(&workloads));
    let finished = agent.run_to_its_end();
    assert!(!finished.status.success(), "{finished:?}");
    assert!(tells_of_a_full_map(&finished.stderr), "{}", tail(&finished.stderr));
    assert!(!agent.pin_dir().exists(), "something was pinned");
}

fn tells_of_a_full_map(text: &str) -> bool {
    text.contains("65536") || text.contains("65,536") || text.contains("full")
}

fn tail(text: &str) -> &str {
    text.get(text.len().saturating_sub(2000)..).unwrap_or(text)
}

fn a_full_port_map_keeps_the_last_good_config(_: &Env) {
    let workloads = ["a", "b", "c"].map(Workload::new);
    let good: String =
        workloads.iter().map(|workload| workload.config("skip-outbound-ports = \"7002\"")).collect();
    let agent = Agent::started(&good);
    let servers = [7001, 7002].map(|port| workloads[2].server_at(&format!("127.0.0.1:{port}")));
    let before = agent.answer(&["ports", "list"]);
    agent.write_config(&too_much(&workloads));
    wait::eventually("status to tell of the full map", || {
        tells_of_a_full_map(&agent.answer(&["status"])).then_some(())
    });
    assert_eq!(agent.answer(&["ports", "list"]), before);
    assert_eq!(workloads[2].way_to(&servers[0]), Way::Proxied);
    assert_eq!(workloads[2].way_to(&servers[1]), Way::Direct);
}

fn a_full_port_map_keeps_the_names(_: &Env) {
    let workloads = ["a", "b", "c"].map(Workload::new);
    let agent = Agent::started(&workloads[0].config(""));
    agent.write_config(&too_much(&workloads).replace("name = \"a\"", "name = \"renamed\""));
    wait::eventually("status to tell of the full map", || {
        tells_of_a_full_map(&agent.answer(&["status"])).then_some(())
    });
    let list = agent.answer(&["ports", "list"]);
    assert!(list.contains("\na ") && !list.contains("renamed"), "{}", tail(&list));
    // And a name alone can change.
    agent.write_config(&workloads[0].config("").replace("name = \"a\"", "name = \"renamed\""));
    wait::eventually("the new name", || agent.answer(&["ports", "list"]).contains("renamed").then_some(()));
    assert_eq!(workloads[0].way_to_new_server(), Way::Proxied);
}

fn a_full_port_map_refuses_live_ports(_: &Env) {
    // Half the map for one workload, a quarter for the other; then more than another quarter.
    let workloads = ["a", "b"].map(Workload::new);
    let quarter: Vec<String> = (1..65_536).step_by(4).map(|port: u32| port.to_string()).collect();
    let config = [
        workloads[0].config(&alternating(0)),
        workloads[1].config(&format!("skip-outbound-ports = \"{}\"", quarter.join(","))),
    ];
    let agent = Agent::started(&config.concat());
    // As long as one argument of a command may be: 128 KiB.
    let more: Vec<String> = (2..65_536).step_by(2).take(20_000).map(|port: u32| port.to_string()).collect();
    let refused = agent.ask(&["ports", "opaque", &more.join(","), "--workload", "a"]);
    assert!(!refused.status.success(), "{}", tail(&refused.stderr));
    assert!(tells_of_a_full_map(&refused.stderr), "{}", tail(&refused.stderr));
    let server = workloads[0].server_at("127.0.0.1:7001");
    assert_eq!(workloads[0].way_to(&server), Way::Direct, "the rules are as they were");
}

fn two_hundred_and_fifty_workloads_with_ranges_fit(_: &Env) {
    let enclosing = Cgroup::new();
    let cgroups: Vec<Cgroup> = (0..250).map(|_| enclosing.child()).collect();
    let one = Workload::new("one");
    let others: String = cgroups
        .iter()
        .enumerate()
        .map(|(n, cgroup)| {
            format!(
                "[[workload]]\nname = \"w{n}\"\ncgroup = \"{}\"\nskip-outbound-ports = \"1-{}\"\n",
                cgroup.path().display(),
                65_535 - n
            )
        })
        .collect();
    let mut agent = Agent::started(&[one.config("skip-outbound-ports = \"1-65535\""), others].concat());
    assert_eq!(one.way_to_new_server(), Way::Direct);
    let memory = map_memory(agent.process().pid().as_raw());
    let bound = if kernel::version() < COUNTS_MEMORY { MAP_CAPACITY } else { MAP_MEMORY };
    assert!(memory <= bound, "the maps take {memory} bytes of {bound}");
    drop(agent);
    drop(cgroups);
}

/// What the maps that a process holds take, by the kernel's own account.
fn map_memory(pid: i32) -> u64 {
    let mut maps = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("the agent's files").flatten() {
        let Ok(info) = std::fs::read_to_string(entry.path()) else { continue };
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u64>().ok()
        };
        if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
            maps.insert(id, bytes);
        }
    }
    assert!(!maps.is_empty(), "the agent holds no maps");
    maps.values().sum()
}
