//! In a container as the DaemonSet's the agent finds its cgroup, stays in it, and has what it needs.
//!
//! The container is made of namespaces: of process ids with a first process that stands for the node's, and
//! below it a cgroup namespace of the agent's own, with the node's hierarchy mounted.

use std::fs;

use sluice_tests::agent::Agent;
use sluice_tests::cgroup::Cgroup;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::tests;

use crate::workload::{Way, Workload};

/// Those of `deploy/base/daemonset.yaml`, as setpriv(1) takes them.
const CAPABILITIES: &str = "-all,+bpf,+perfmon,+net_admin,+sys_admin,+sys_ptrace";

pub(crate) fn register(suite: &mut Suite) {
    suite.group("container").sluice(tests![
        an_agent_in_a_container_proxies_with_the_capabilities_of_the_daemonset,
        an_agent_that_may_not_enter_the_node_s_cgroup_namespace_says_what_it_needs,
    ]);
}

fn an_agent_in_a_container_proxies_with_the_capabilities_of_the_daemonset(_: &Env) {
    let workload = Workload::new("shop");
    let container = Cgroup::new();
    let mut agent = Agent::stopped(&workload.config(""));
    agent.start_through(&in_container(&container, CAPABILITIES));
    assert_eq!(workload.way_to_new_server(), Way::Proxied);
    // Below the container's cgroup, and no level above it.
    let own = Children::of(&container).only();
    assert!(own.starts_with("sluice-agent-"), "expected the agent's cgroup, got {own}");
    let processes = fs::read_to_string(container.path().join(own).join("proxy/cgroup.procs")).unwrap();
    assert_eq!(processes.lines().count(), 1, "{processes}");
    agent.kill();
    Children::of(&container).remove();
}

fn an_agent_that_may_not_enter_the_node_s_cgroup_namespace_says_what_it_needs(_: &Env) {
    let workload = Workload::new("shop");
    let container = Cgroup::new();
    let agent = Agent::stopped(&workload.config(""));
    let without = CAPABILITIES.replace(",+sys_admin", "");
    let finished = agent.run_to_its_end_through(&in_container(&container, &without));
    assert!(!finished.status.success());
    for words in
        ["cannot enter the cgroup namespace of process 1", "CAP_SYS_ADMIN", "Operation not permitted"]
    {
        assert!(finished.stderr.contains(words), "expected {words}: {}", finished.stderr);
    }
}

/// What an agent is started through: `sh` is process 1, the words after it are the agent's command.
fn in_container(container: &Cgroup, capabilities: &str) -> Vec<String> {
    let cgroup = container.path().display();
    // The agent is no `exec` away: process 1 stays in the node's cgroup namespace.
    let script = format!(
        "echo $$ > {cgroup}/cgroup.procs && \
         unshare --cgroup setpriv --bounding-set={capabilities} --inh-caps=-all \"$@\""
    );
    ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", &script, "sh"]
        .map(str::to_owned)
        .to_vec()
}

/// The cgroups in another.
struct Children(Vec<std::path::PathBuf>);

impl Children {
    fn of(parent: &Cgroup) -> Self {
        let entries = fs::read_dir(parent.path()).unwrap().map(Result::unwrap);
        Self(entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
    }

    /// The name of the one that there is.
    fn only(&self) -> String {
        let [child] = self.0.as_slice() else { panic!("expected one cgroup, got {:?}", self.0) };
        child.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// Removes what a killed agent left, as a runtime does.
    fn remove(&self) {
        for child in &self.0 {
            sluice_tests::wait::eventually("the agent's cgroup to be empty", || {
                fs::remove_dir(child.join("proxy")).ok().and_then(|()| fs::remove_dir(child).ok())
            });
        }
    }
}
