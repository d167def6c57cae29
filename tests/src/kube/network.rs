//! Addresses and wires of nodes and pods.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;

use crate::netns::Netns;
use crate::process::Process;
use crate::wait;

/// What is outside of the cluster has these addresses.
pub(super) const OUTSIDE_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub(super) const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 1);

/// The gateway of every pod, on its own wire.
const GATEWAY_V6: &str = "fe80::1";

/// The address of a pod; 1 is the node's own among them.
pub(super) fn pod_v4(node: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, node, host)
}

/// The same in IPv6.
pub(super) fn pod_v6(node: u8, host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x10, 0x244, node.into(), 0, 0, 0, host.into())
}

/// An address on the wire between a node and the outside: 1 is outside, 2 is the node.
pub(super) fn wire_v4(node: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 30, node, host)
}

/// The same in IPv6.
pub(super) fn wire_v6(node: u8, host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0x172, 0x30, node.into(), 0, 0, 0, host.into())
}

/// A namespace that forwards packets.
pub(super) fn router() -> Netns {
    let netns = namespace();
    netns.enter(|| {
        for (name, value) in [("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")] {
            set(name, value);
        }
    });
    netns
}

/// A namespace whose addresses can be used at once: nobody else has them.
pub(super) fn namespace() -> Netns {
    let netns = Netns::new();
    netns.enter(|| set("ipv6/conf/default/accept_dad", "0"));
    netns
}

fn set(name: &str, value: &str) {
    let path = format!("/proc/sys/net/{name}");
    std::fs::write(&path, value).unwrap_or_else(|error| panic!("set {path}: {error}"));
}

/// The outside, with its addresses.
pub(super) fn outside() -> Netns {
    let outside = router();
    let lines =
        [format!("address add {OUTSIDE_V4}/32 dev lo"), format!("address add {OUTSIDE_V6}/128 dev lo")];
    batch(&outside, &lines);
    outside
}

/// Connects a node with the outside.
pub(super) fn wire_node(outside: &Netns, node: &Netns, number: u8) {
    let link = format!("node{number}");
    let v4 = |host| wire_v4(number, host);
    let v6 = |host| wire_v6(number, host);
    batch(
        outside,
        &[
            format!("link add {link} type veth peer name eth0 netns {}", name(node)),
            format!("address add {}/24 dev {link}", v4(1)),
            format!("address add {}/64 dev {link} nodad", v6(1)),
            format!("link set {link} up"),
            // The node's end is not up yet: without `onlink` there is no way there.
            format!("route add {}/24 via {} dev {link} onlink", pod_v4(number, 0), v4(2)),
            format!("route add {}/64 via {} dev {link}", pod_v6(number, 0), v6(2)),
        ],
    );
    batch(
        node,
        &[
            format!("address add {}/24 dev eth0", v4(2)),
            format!("address add {}/64 dev eth0 nodad", v6(2)),
            "link set eth0 up".to_owned(),
            format!("route add default via {} dev eth0", v4(1)),
            format!("route add ::/0 via {} dev eth0", v6(1)),
            // The node's own address towards its pods, and their gateway.
            format!("address add {}/32 dev lo", pod_v4(number, 1)),
            format!("address add {}/128 dev lo", pod_v6(number, 1)),
        ],
    );
}

/// Connects a pod with its node, by a route to it alone: packets between pods of one node pass through
/// the node, where Services' addresses are.
pub(super) fn wire_pod(node: &Netns, pod: &Netns, number: u8, host: u8) {
    let link = format!("pod{host}");
    let (v4, v6) = (pod_v4(number, host), pod_v6(number, host));
    let (own_v4, own_v6) = (pod_v4(number, 1), pod_v6(number, 1));
    batch(
        node,
        &[
            format!("link add {link} type veth peer name eth0 netns {}", name(pod)),
            format!("address add {GATEWAY_V6}/64 dev {link} nodad"),
            format!("link set {link} up"),
            format!("route add {v4}/32 dev {link} src {own_v4}"),
            format!("route add {v6}/128 dev {link} src {own_v6}"),
        ],
    );
    batch(
        pod,
        &[
            format!("address add {v4}/32 dev eth0"),
            format!("address add {v6}/128 dev eth0 nodad"),
            "link set eth0 up".to_owned(),
            format!("route add {own_v4}/32 dev eth0 scope link"),
            format!("route add default via {own_v4} dev eth0"),
            format!("route add ::/0 via {GATEWAY_V6} dev eth0"),
        ],
    );
}

/// Takes a pod's wire away at once: with its namespace it goes later, when the kernel finds the time.
pub(super) fn unwire_pod(node: &Netns, host: u8) {
    batch(node, &[format!("link delete pod{host}")]);
}

/// Runs `ip` once, for many lines.
fn batch(netns: &Netns, lines: &[String]) {
    let mut command = Command::new("ip");
    command.args(["-n", &name(netns), "-batch", "-"]);
    feed(command, &lines.join("\n"));
}

/// Runs a command that reads what it does, and must succeed.
pub(super) fn feed(command: Command, input: &str) {
    let what = format!("{command:?}");
    let mut process = Process::start(command);
    process.feed(format!("{input}\n").as_bytes());
    let finished = process.finish(wait::patience());
    assert!(finished.status.success(), "{what}: {finished:?}\nfor:\n{input}");
}

/// The name that `ip` knows a namespace by.
pub(super) fn name(netns: &Netns) -> String {
    netns.path().file_name().and_then(|name| name.to_str()).expect("a name").to_owned()
}
