//! The servers of a suite: ours for streams, nginx and nghttpd for HTTP.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::cgroups::Cgroups;
use super::netns::Network;
use super::peer::nginx;
use super::program::{self, Ready};
use super::suite::{SERVER_PORT, Suite};
use super::task::Port;
use super::this;
use super::worker::Worker;
use crate::workspace;

/// What the servers of HTTP answer.
const BODY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Starts them; they are ready when this returns.
pub(super) fn start(
    suite: Suite,
    network: &Network,
    cgroups: Option<&Cgroups>,
    directory: &Path,
) -> Result<Vec<Worker>> {
    let ip = network.server_ip;
    let start = |command: Result<Command>, name: &str| {
        Worker::start(command?, network.server(), &directory.join(format!("{name}.log")))
    };
    match suite {
        Suite::Streams => Ok(vec![start(streams(network, cgroups), "server")?]),
        Suite::Http => Ok(vec![
            start(http1(Port::Http1.at(ip, SERVER_PORT), directory), "nginx")?,
            start(http2(Port::Http2.at(ip, SERVER_PORT), directory), "nghttpd")?,
        ]),
    }
}

fn streams(network: &Network, cgroups: Option<&Cgroups>) -> Result<Command> {
    let mut command = this("bench-server")?;
    command.args(["--ip", &network.server_ip.to_string(), "--port", &SERVER_PORT.to_string()]);
    if let Some(cgroups) = cgroups {
        command.arg("--cgroup").arg(cgroups.server());
    }
    Ok(command)
}

/// nginx, which reads a file and writes a line of its log for each request, as it does by default: what a request
/// costs a server decides how much a proxy's share is.
fn http1(listen: SocketAddr, directory: &Path) -> Result<Command> {
    let nginx = workspace::program("nginx").context("nginx is not installed")?;
    let mut command = program::command(&nginx, &[listen], Ready::Listens)?;
    let config = directory.join("server.conf");
    let log = directory.join("access.log");
    fs::write(&log, "")?;
    fs::write(&config, nginx::server(listen, &files(directory)?, &log, directory))?;
    nginx::arguments(&mut command, &config, directory);
    Ok(command)
}

/// nghttpd: four times as fast as nginx in HTTP/2, so that what is compared are the proxies.
fn http2(listen: SocketAddr, directory: &Path) -> Result<Command> {
    let nghttpd = workspace::program("nghttpd").context("nghttpd is not installed")?;
    let mut command = program::command(&nghttpd, &[listen], Ready::Listens)?;
    // Proxies send the requests of all clients on one connection, before they know how many it may have.
    command.arg("--max-concurrent-streams=1000");
    command.args(["--no-tls", "--workers=1", "--address", &listen.ip().to_string(), "--htdocs"]);
    command.arg(files(directory)?).arg(listen.port().to_string());
    Ok(command)
}

/// The directory of what is served.
fn files(directory: &Path) -> Result<PathBuf> {
    let files = directory.join("www");
    fs::create_dir_all(&files)?;
    fs::write(files.join("index.html"), BODY)?;
    Ok(files)
}
