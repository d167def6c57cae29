//! HAProxy as a forward proxy.

use std::fmt::Write as _;

use anyhow::Result;

use super::Route;
use crate::bench::task::Protocol;

/// Its configuration.
pub(super) fn config(routes: &[Route], splice: bool) -> Result<String> {
    let splice = if splice { "  option splice-request\n  option splice-response\n" } else { "" };
    let mut config = format!(
        "global\n  nbthread 1\n  no strict-limits\n  maxconn 6000\n  maxpipes 1000\n\
         defaults\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n{splice}"
    );
    for (number, Route { protocol, listen, server }) in routes.iter().enumerate() {
        let (mode, proto) = match protocol {
            Protocol::Tcp => ("tcp", ""),
            Protocol::Http1 => ("http", ""),
            // Without TLS there is no ALPN to choose it by, on either side.
            Protocol::Http2 => ("http", " proto h2"),
        };
        writeln!(
            config,
            "listen l{number}\n  mode {mode}\n  bind {listen}{proto}\n  server s {server}{proto}"
        )?;
    }
    Ok(config)
}
