//! An agent with two workloads, the client and the server: what the same-node bypass needs.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::json;

use super::cgroups::Cgroups;
use super::netns::Network;
use super::program::{self, Ready};
use super::suite::{LAST_SERVER_PORT, SERVER_PORT};

/// Where it says whether it is ready, in the client's namespace.
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7190);

/// The command that runs it until it is told to end.
pub(super) fn command(
    sluice: &Path,
    network: &Network,
    cgroups: &Cgroups,
    directory: &Path,
) -> Result<Command> {
    let workloads = [
        ("client", cgroups.client(), network.client.path()),
        ("server", cgroups.server(), network.server().path()),
    ];
    let file = directory.join("agent.toml");
    fs::write(&file, config(&workloads)).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = program::command(sluice, &[ADMIN], Ready::Admin)?;
    let pins = format!("/sys/fs/bpf/sluice-bench-{}", std::process::id());
    command.arg("run").arg("--config").arg(file).args(["--pin-dir", &pins]);
    command.arg("--control-socket").arg(directory.join("agent.sock"));
    // tokio's own variable; sluice has no setting for it.
    command.env("TOKIO_WORKER_THREADS", "1");
    Ok(command)
}

/// The config file. The bypass is forced: client and server bear what the self-test may find.
fn config(workloads: &[(&str, PathBuf, String)]) -> String {
    let mut config = format!("admin = \"{ADMIN}\"\n");
    for (name, cgroup, netns) in workloads {
        // A JSON string is a TOML string.
        config += &format!(
            "\n[[workload]]\nname = \"{name}\"\ncgroup = {}\nnetns = {}\ninclude-loopback = true\n\
             opaque-ports = \"{SERVER_PORT}-{LAST_SERVER_PORT}\"\nopaque-path = \"kernel\"\n\
             same-node-bypass = \"forced\"\n",
            json!(cgroup),
            json!(netns)
        );
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_enrolled_and_want_the_bypass() {
        let config = config(&[
            ("client", "/cgroup/client".into(), "/proc/1/fd/3".into()),
            ("server", "/cgroup/server".into(), "/proc/1/fd/4".into()),
        ]);
        assert_eq!(config.matches("same-node-bypass = \"forced\"").count(), 2, "{config}");
        assert!(config.contains("cgroup = \"/cgroup/server\"\nnetns = \"/proc/1/fd/4\"\n"), "{config}");
    }
}
