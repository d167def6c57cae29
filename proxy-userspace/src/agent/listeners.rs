//! The proxy's listeners in a workload's network namespace.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use tokio::net::TcpListener;

use crate::{
    connection,
    kernel::{KernelError, Netns},
};

/// The proxy's listeners in one network namespace; none where there is no loopback address.
#[derive(Default)]
pub(super) struct Listeners {
    pub(super) v4: Option<TcpListener>,
    pub(super) v6: Option<TcpListener>,
}

impl Listeners {
    pub(super) fn open(netns: &Netns, path: Option<&Path>) -> Result<Self, KernelError> {
        let error = |action, source| KernelError::Netns {
            action,
            path: path.map_or_else(|| PathBuf::from("/proc/self/ns/net"), Path::to_owned),
            source,
        };
        let mut listeners = Self::default();
        for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let opened = netns.enter(|| connection::listen(ip)).map_err(|source| error("enter", source))?;
            match opened.and_then(TcpListener::from_std) {
                Ok(listener) if ip.is_ipv4() => listeners.v4 = Some(listener),
                Ok(listener) => listeners.v6 = Some(listener),
                Err(source) if is_no_address(&source) => {
                    tracing::warn!(%ip, netns = ?path, %source, "cannot listen (is lo up?): such connections go direct");
                }
                Err(source) => return Err(error("listen in", source)),
            }
        }
        Ok(listeners)
    }
}

/// The port of a listener; 0 where there is none.
pub(super) fn port(listener: Option<&TcpListener>) -> u16 {
    listener.and_then(|listener| listener.local_addr().ok()).map_or(0, |address| address.port())
}

/// Whether the namespace has no such address: lo is down, or there is no IPv6.
fn is_no_address(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}
