//! Many pods: how long they take, and what they need. Measured, not held to anything: `cargo xtask bench pods`
//! runs it, and nothing else does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sluice_tests::agent::Agent;
use sluice_tests::http::{self, Samples};
use sluice_tests::kube::{Layout, Pod, PodSpec, ServiceSpec, StandIn, World};
use sluice_tests::process::resident_bytes;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

/// Set by the chore.
const ASKED_FOR: &str = "SLUICE_TEST_BENCH";

const PODS: usize = 250;
const SERVICES_OF_A_POD: usize = 3;
const CHANGES: usize = 20;

pub(crate) fn register(suite: &mut Suite) {
    if std::env::var(ASKED_FOR).is_ok_and(|asked| asked == "pods") {
        suite.group("scale").sluice(tests![pods_of_a_node]);
    }
}

/// What a process of the agent needs.
struct Needs {
    resident: u64,
    descriptors: usize,
    maps: usize,
    map_bytes: u64,
}

impl Needs {
    fn of(pid: nix::unistd::Pid) -> Self {
        let read = |path: String| std::fs::read_to_string(&path).unwrap_or_default();
        let field = |text: &str, name: &str| -> Option<u64> {
            let value = text.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().parse().ok()
        };
        let entries = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("the agent runs");
        let infos: Vec<_> =
            entries.flatten().map(|entry| read(entry.path().to_string_lossy().into_owned())).collect();
        // A map is counted once, by however many descriptors it is held.
        let maps: BTreeMap<_, _> = infos
            .iter()
            .filter(|info| info.contains("map_type:"))
            .filter_map(|info| Some((field(info, "map_id:")?, field(info, "memlock:")?)))
            .collect();
        Self {
            resident: resident_bytes(pid),
            descriptors: infos.len(),
            maps: maps.len(),
            map_bytes: maps.values().sum(),
        }
    }

    fn rows(&self, when: &str) -> [(String, String); 3] {
        [
            (format!("memory of the agent, {when}"), mebibytes(self.resident)),
            (format!("file descriptors, {when}"), self.descriptors.to_string()),
            (
                format!("maps and their memory, {when}"),
                format!("{}, {}", self.maps, mebibytes(self.map_bytes)),
            ),
        ]
    }
}

#[expect(clippy::print_stdout, reason = "what was measured is what this is for")]
fn pods_of_a_node(_: &Env) {
    let stand_in = StandIn::start();
    let world = World::new(&stand_in.api());
    let node = world.node(Layout::usual());
    let pods: Vec<Pod> = (0..PODS)
        .map(|number| {
            let spec = PodSpec::new(&format!("pod-{number}")).annotation("linkerd.io/inject", "enabled");
            world.run(&node, &spec.port("http", 8080))
        })
        .collect();
    for pod in &pods {
        for number in 0..SERVICES_OF_A_POD {
            let name = format!("{}-{number}", pod.name());
            let spec = ServiceSpec::new(&name).annotation("config.linkerd.io/opaque-ports", "4406");
            // The node's rules are not what is measured.
            let _service = world.service(&spec.port_to_name(80, "http").port(4406, 4406), &[], &[pod]);
        }
    }

    let mut agent = Agent::stopped(&world.config(&node, ""));
    let began = Instant::now();
    agent.start();
    wait::within(Duration::from_secs(120), "all pods to be enrolled", || {
        let enrolled = Samples::of(agent.admin()).sum("sluice_pods", &[("state", "enrolled")]);
        (enrolled >= PODS as f64).then_some(())
    });
    let all_enrolled = began.elapsed();
    let pid = agent.process().pid();
    let before = Needs::of(pid);

    let to = SocketAddr::new(world.cluster().outside_v4().into(), 9999).to_string();
    let (mut seen, mut asking) = (Vec::new(), Vec::new());
    for change in 0..CHANGES {
        let pod = &pods[change * (PODS / CHANGES)];
        let workload = world.workload(pod);
        let began = Instant::now();
        world.annotate("pods", pod.name(), "config.linkerd.io/skip-outbound-ports", Some("9999"));
        let last = wait::within(Duration::from_secs(60), "the change to hold", || {
            let asked = Instant::now();
            let told = agent.answer(&["explain", &to, "--workload", &workload]);
            told.contains("skip").then(|| asked.elapsed())
        });
        seen.push(began.elapsed());
        asking.push(last);
    }
    seen.sort_unstable();
    asking.sort_unstable();
    let (status, page) = http::get(agent.admin(), "/metrics").expect("the admin address answers");
    assert_eq!(status, 200);

    let mut rows = vec![
        ("machine".to_owned(), machine()),
        ("kernel".to_owned(), kernel()),
        ("pods, Services".to_owned(), format!("{PODS}, {}", PODS * SERVICES_OF_A_POD)),
        ("from the agent's start to all enrolled".to_owned(), milliseconds(all_enrolled)),
        (
            "from a change to `explain`, median and slowest".to_owned(),
            format!("{}, {}", milliseconds(seen[CHANGES / 2]), milliseconds(seen[CHANGES - 1])),
        ),
        ("of that `explain` itself, median".to_owned(), milliseconds(asking[CHANGES / 2])),
    ];
    rows.extend(before.rows("enrolled"));
    rows.extend(Needs::of(pid).rows("after the changes"));
    rows.push(("page of metrics".to_owned(), format!("{} KiB", page.len() / 1024)));
    println!();
    for (what, value) in rows {
        println!("{what:<50} {value}");
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map(|pair| pair.1);
    let processors = info.lines().filter(|line| line.starts_with("processor")).count();
    format!("{processors} × {}", model.unwrap_or("processor"))
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}
