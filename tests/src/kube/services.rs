//! Services' addresses, which the node turns into a pod's: DNAT by nftables, as kube-proxy does.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

use super::network::{feed, name};
use crate::netns::Netns;

/// The table, in the node's own namespace.
const TABLE: &str = "inet services";

/// Where a Service's connections go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// A pod's address.
    pub address: IpAddr,
    /// The port it listens on.
    pub port: u16,
}

/// One port of one address of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRule {
    /// The ClusterIP.
    pub address: IpAddr,
    /// The Service's port.
    pub port: u16,
    /// In turn; with none, connections are refused.
    pub backends: Vec<Backend>,
}

/// Replaces the rules of a node. Connections that are open go on: theirs are in conntrack.
pub(super) fn apply(node: &Netns, own: (Ipv4Addr, Ipv6Addr), rules: &[ServiceRule]) {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &name(node), "nft", "-f", "-"]);
    feed(command, &table(own, rules));
}

fn table(own: (Ipv4Addr, Ipv6Addr), rules: &[ServiceRule]) -> String {
    let (mut dnat, mut reject, mut hairpin) = (String::new(), String::new(), String::new());
    for ServiceRule { address, port, backends } in rules {
        let (family, unreachable) = match address {
            IpAddr::V4(_) => ("ip", "icmp port-unreachable"),
            IpAddr::V6(_) => ("ip6", "icmpv6 port-unreachable"),
        };
        let matches = format!("{family} daddr {address} tcp dport {port}");
        if backends.is_empty() {
            writeln!(reject, "{matches} reject with {unreachable}").expect("write to a string");
            continue;
        }
        let map: Vec<_> = backends
            .iter()
            .enumerate()
            .map(|(turn, Backend { address, port })| format!("{turn} : {address} . {port}"))
            .collect();
        writeln!(
            dnat,
            "{matches} dnat {family} addr . port to numgen inc mod {} map {{ {} }}",
            backends.len(),
            map.join(", ")
        )
        .expect("write to a string");
        for Backend { address, .. } in backends {
            // From a pod to itself: with its own address as the source, it would drop its own packets.
            let to = match address {
                IpAddr::V4(_) => own.0.to_string(),
                IpAddr::V6(_) => own.1.to_string(),
            };
            writeln!(
                hairpin,
                "ct status dnat {family} saddr {address} {family} daddr {address} snat {family} to {to}"
            )
            .expect("write to a string");
        }
    }
    format!(
        "table {TABLE}\n\
         delete table {TABLE}\n\
         table {TABLE} {{\n\
         chain prerouting {{ type nat hook prerouting priority dstnat\n{dnat}}}\n\
         chain output {{ type nat hook output priority -100\n{dnat}}}\n\
         chain postrouting {{ type nat hook postrouting priority srcnat\n{hairpin}}}\n\
         chain forward {{ type filter hook forward priority filter\n{reject}}}\n\
         chain local {{ type filter hook output priority filter\n{reject}}}\n\
         }}\n"
    )
}
