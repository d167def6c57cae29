//! iptables REDIRECT, as service meshes without eBPF have it: for as long as a sample takes.

use anyhow::{Context as _, Result};

use super::netns::Netns;
use super::relay::MARK;
use super::suite::{LAST_SERVER_PORT, PROXY_PORT, SERVER_PORT};

/// The rule, in a namespace of the benchmark's own. Dropped, nothing is left of it, connection tracking
/// included: other ways are not to pay for it.
pub(super) struct Redirected<'a> {
    netns: &'a Netns,
}

impl<'a> Redirected<'a> {
    /// Brings what is sent to the server's ports to the relay, but for what the relay sends.
    pub(super) fn new(netns: &'a Netns) -> Result<Self> {
        let redirected = Self { netns };
        let rule = format!(
            "-A OUTPUT -p tcp --dport {SERVER_PORT}:{LAST_SERVER_PORT} -m mark ! --mark {MARK} \
             -j REDIRECT --to-ports {PROXY_PORT}"
        );
        redirected.iptables(&rule).context("cannot redirect by iptables")?;
        Ok(redirected)
    }

    fn iptables(&self, arguments: &str) -> Result<()> {
        self.netns.run("iptables", &format!("-w -t nat {arguments}"))
    }
}

impl Drop for Redirected<'_> {
    fn drop(&mut self) {
        // -X takes the chain as well, which is what has connections tracked.
        for arguments in ["-F", "-X"] {
            if let Err(error) = self.iptables(arguments) {
                eprintln!("bench: connections stay redirected in the client's namespace: {error:#}");
            }
        }
    }
}
