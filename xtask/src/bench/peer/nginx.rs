//! nginx as a proxy of TCP and of HTTP, and as the server of HTTP/1.1; one process, no master.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::Route;
use crate::bench::task::Protocol;

/// Begins what nginx is told, whatever it is.
const COMMON: &str = "daemon off;
master_process off;
worker_rlimit_nofile 16000;
error_log stderr warn;
events { worker_connections 15000; }
";

/// Connections of HTTP live for as long as the client wants.
const HTTP: &str = "http {
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
";

/// Where Debian keeps the module for TCP, which is a package of its own.
const STREAM_MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// The configuration of a proxy, for TCP or for HTTP.
pub(super) fn proxy(routes: &[Route], directory: &Path) -> Result<String> {
    if routes.iter().all(|route| route.protocol == Protocol::Tcp) {
        return Ok(stream(routes));
    }
    http(routes, directory)
}

fn stream(routes: &[Route]) -> String {
    let server = |Route { listen, server, .. }: &Route| {
        format!("  server {{ listen {listen}; proxy_pass {server}; proxy_timeout 1h; }}\n")
    };
    let servers: String = routes.iter().map(server).collect();
    format!(
        "load_module {STREAM_MODULE};\n{COMMON}stream {{\n  access_log off;\n  tcp_nodelay on;\n  proxy_half_close on;\n{servers}}}\n"
    )
}

/// The upstream side is HTTP/1.1 always: nginx can no other.
fn http(routes: &[Route], directory: &Path) -> Result<String> {
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
        ensure!(*protocol != Protocol::Tcp, "nginx is compared in TCP or in HTTP, not in both at once");
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
    let mut config = format!("{COMMON}{HTTP}");
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        config += &format!("  {kind}_temp_path {}/nginx-{kind};\n", directory.display());
    }
    config
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn routes(protocols: &[Protocol]) -> Vec<Route> {
        let [listen, server] = [7100, 7000].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        protocols.iter().map(|protocol| Route { protocol: *protocol, listen, server }).collect()
    }

    #[test]
    fn tcp_is_proxied_by_the_module_for_it() -> Result<()> {
        let config = proxy(&routes(&[Protocol::Tcp, Protocol::Tcp]), Path::new("/nowhere"))?;
        assert!(config.starts_with("load_module "), "{config}");
        assert_eq!(config.matches("listen 127.0.0.1:7100; proxy_pass 127.0.0.1:7000;").count(), 2);
        assert!(!config.contains("http"), "{config}");
        Ok(())
    }

    #[test]
    fn tcp_beside_http_is_refused() {
        assert!(proxy(&routes(&[Protocol::Http1, Protocol::Tcp]), Path::new("/nowhere")).is_err());
    }
}
