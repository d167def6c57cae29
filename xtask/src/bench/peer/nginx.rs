//! nginx as an HTTP proxy, and as the server of HTTP/1.1; one process, no master.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::Route;
use crate::bench::task::Protocol;

/// Begins what nginx is told, whatever it is. Connections live for as long as the client wants.
const COMMON: &str = "daemon off;
master_process off;
worker_rlimit_nofile 6000;
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
";

/// The configuration of a proxy. Its upstream side is HTTP/1.1 always: nginx can no other.
pub(super) fn proxy(routes: &[Route], directory: &Path) -> Result<String> {
    let http1 = routes.iter().find(|route| route.protocol == Protocol::Http1);
    let upstream = http1.context("nginx needs a server of HTTP/1.1 behind it")?.server;
    let mut config = begin(directory);
    // At least as many as there are requests at once: none is closed for being idle.
    write!(
        config,
        "  upstream u {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}\n  \
         proxy_http_version 1.1;\n  proxy_set_header Connection \"\";\n"
    )?;
    for Route { protocol, listen, .. } in routes {
        ensure!(*protocol != Protocol::Tcp, "nginx is compared in HTTP only");
        let http2 = if *protocol == Protocol::Http2 { " http2" } else { "" };
        writeln!(config, "  server {{ listen {listen}{http2}; location / {{ proxy_pass http://u; }} }}")?;
    }
    Ok(config + "}\n")
}

/// The configuration of a server of `files`, which logs as Debian's does.
pub(in crate::bench) fn server(listen: SocketAddr, files: &Path, log: &Path, directory: &Path) -> String {
    let (files, log) = (files.display(), log.display());
    begin(directory)
        + &format!("  sendfile on;\n  server {{ listen {listen}; root {files}; access_log {log}; }}\n}}\n")
}

/// The arguments that run it with this configuration.
pub(in crate::bench) fn arguments<'a>(
    command: &'a mut Command,
    config: &Path,
    directory: &Path,
) -> &'a mut Command {
    command.arg("-e").arg("stderr").arg("-p").arg(directory).arg("-c").arg(config)
}

/// nginx makes its directories for bodies at start, where they are needed or not.
fn begin(directory: &Path) -> String {
    let mut config = COMMON.to_owned();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        config += &format!("  {kind}_temp_path {}/nginx-{kind};\n", directory.display());
    }
    config
}
