//! `sluice explain`: what would become of a connection, by the rules that the kernel has.

use std::{
    collections::{BTreeMap, HashSet},
    io::Write,
    net::{IpAddr, SocketAddr},
};

use proxy_common::{
    Decision, Direction, LearnedKey, PortRule, RuleSource, flags, is_link_local_v6, is_loopback, mapped,
    normalise_unspecified,
};

use super::{args::ExplainArgs, asked::Asked, destination::Destination, pods, ports::range_text};
use crate::{
    kernel::WorkloadView,
    policy::{PortTable, SubnetSet},
};

pub(super) fn run(args: &ExplainArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let Asked { control, .. } = Asked::to_look(&args.pins.pin_dir)?;
    // With whose address it is, where it is asked for by name.
    let destinations = match &args.destination {
        None => Vec::new(),
        Some(Destination::Address(address)) => vec![(*address, String::new())],
        Some(Destination::Named(named)) => {
            let found = named.resolve(&pods::ask(&args.pins, &args.socket)?.view)?;
            found.into_iter().map(|found| (found.address, format!(" ({})", found.owner))).collect()
        }
    };
    let learned = control.learned()?.into_iter().filter(|learned| !learned.left.is_zero());
    let known = Known {
        destinations: control.destinations()?,
        skip_subnets: control.skip_subnets()?,
        learned: learned.map(|learned| learned.key).collect(),
    };
    for view in control.workloads_named(args.workload.as_deref())? {
        for (address, owner) in &destinations {
            let (decision, reason) = explain(&view, *address, &known);
            writeln!(out, "{} -> {address}{owner}: {decision} ({reason})", view.name)?;
        }
        if let Some(port) = args.inbound {
            let (decision, reason) = explain_inbound(&view, port, &known);
            writeln!(out, "{} <- port {port}: {decision} ({reason})", view.name)?;
        }
    }
    Ok(())
}

/// The decision on a connection that comes in, and the rule that it comes from.
fn explain_inbound(view: &WorkloadView, port: u16, known: &Known) -> (&'static str, String) {
    if !view.is_inbound_proxied {
        const WHY: &str = "its inbound connections are left alone: it is so configured, it has no network \
                           namespace of its own or shares it with another workload, as which they count, or \
                           the kernel cannot";
        return ("direct", WHY.to_owned());
    }
    let mut rule = view.table.rule(Direction::Inbound, port);
    // At any of its addresses.
    let is_it = |key: &&LearnedKey| {
        key.workload == view.id && key.direction == Direction::Inbound as u8 && key.port_be == port.to_be()
    };
    if may_be_learned(view, rule) && known.learned.iter().any(|key| is_it(&key)) {
        rule = LEARNED;
    }
    let ports = range_text(&view.table.range_of(Direction::Inbound, port));
    (rule.decision().label(), reason_and_path(view, rule, &ports))
}

/// What the kernel knows besides the workloads' own port configs.
struct Known {
    /// What Services and pods say of their ports, inbound, by address.
    destinations: BTreeMap<IpAddr, PortTable>,
    /// The peers that workloads leave alone, by the id of the workload's cgroup.
    skip_subnets: BTreeMap<u64, SubnetSet>,
    /// The destinations that are learned to be opaque.
    learned: HashSet<LearnedKey>,
}

/// What holds where no rule names the port, and the destination is learned.
const LEARNED: PortRule = PortRule::new(Decision::Opaque, RuleSource::Learned);

/// Whether what is learned counts.
fn may_be_learned(view: &WorkloadView, rule: PortRule) -> bool {
    rule == PortRule::DETECT && view.workload.flags & flags::LEARN_OPAQUE != 0
}

/// The decision, and the rule that it comes from: in the order of the hooks (`proxy-ebpf/src/connect.rs`).
fn explain(view: &WorkloadView, destination: SocketAddr, known: &Known) -> (&'static str, String) {
    let addr_be = normalise_unspecified(mapped(destination.ip()));
    let address = IpAddr::from(addr_be).to_canonical();
    let listener_port_be =
        if address.is_ipv4() { view.workload.listener_v4_port_be } else { view.workload.listener_v6_port_be };
    let port = destination.port();
    if is_loopback(&addr_be) && listener_port_be == port.to_be() {
        return ("direct", "that is the proxy's own listener".to_owned());
    }
    if is_loopback(&addr_be) && view.workload.flags & flags::LOOPBACK == 0 {
        return ("direct", "loopback destinations are left alone; include-loopback is not set".to_owned());
    }
    if is_link_local_v6(&addr_be) {
        return ("direct", "link-local destinations are left alone".to_owned());
    }
    let skipped = known.skip_subnets.get(&view.id).filter(|_| view.workload.flags & flags::SKIP_SUBNETS != 0);
    if let Some(subnet) = skipped.and_then(|subnets| subnets.find(address)) {
        return ("skip", format!("{address} is in the workload's skip-subnets: {subnet}"));
    }
    let (rule, ports) = rule(view, address, port, known);
    let reason = reason_and_path(view, rule, &range_text(&ports));
    if rule.decision() != Decision::Skip && !is_on_kernel_path(view, rule) && listener_port_be == 0 {
        return ("direct", format!("the proxy has no listener for this address family; else {reason}"));
    }
    (rule.decision().label(), reason)
}

/// Whether the kernel carries the bytes, and counts them.
fn is_on_kernel_path(view: &WorkloadView, rule: PortRule) -> bool {
    rule.decision() == Decision::Opaque && view.workload.flags & flags::OPAQUE_KERNEL != 0
}

/// Where a rule comes from, and who carries the bytes where the proxy does not.
fn reason_and_path(view: &WorkloadView, rule: PortRule, ports: &str) -> String {
    let path = if is_on_kernel_path(view, rule) { "; the kernel carries it" } else { "" };
    format!("{}{path}", reason(rule, ports))
}

/// Where a rule comes from, in words.
fn reason(rule: PortRule, ports: &str) -> String {
    match rule.source() {
        RuleSource::None => "no rule names the port".to_owned(),
        RuleSource::Default => format!("port {ports}, in the built-in list of opaque ports"),
        RuleSource::Node => format!("port {ports}, in the node's lists"),
        RuleSource::Workload => format!("port {ports}, in the workload's own lists"),
        RuleSource::Destination => format!("port {ports}, as the destination has it annotated"),
        RuleSource::Live => format!("port {ports}, set by `sluice ports`"),
        RuleSource::Learned => "no rule names the port; learned, see `sluice ports learned`".to_owned(),
    }
}

/// The rule of an outbound connection, and the ports that it is of. The workload's word on a port to skip
/// comes first; whether the rest is opaque is for the destination to say, where it says anything.
fn rule(
    view: &WorkloadView,
    address: IpAddr,
    port: u16,
    known: &Known,
) -> (PortRule, std::ops::RangeInclusive<u16>) {
    let own = view.table.rule(Direction::Outbound, port);
    if own.decision() != Decision::Skip
        && let Some(table) = known.destinations.get(&address)
    {
        let rule = table.rule(Direction::Inbound, port);
        if rule != PortRule::DETECT {
            return (rule, table.range_of(Direction::Inbound, port));
        }
    }
    let key = LearnedKey::new(view.id, Direction::Outbound, mapped(address), port.to_be());
    let rule = if may_be_learned(view, own) && known.learned.contains(&key) { LEARNED } else { own };
    (rule, view.table.range_of(Direction::Outbound, port))
}

#[cfg(test)]
mod tests {
    use proxy_common::Workload;

    use super::*;

    const ID: u64 = 7;

    fn table(direction: Direction, rules: &[(&str, Decision, RuleSource)]) -> PortTable {
        let mut table = PortTable::new();
        for (ports, decision, source) in rules {
            table.set(direction, &ports.parse().unwrap(), PortRule::new(*decision, *source));
        }
        table
    }

    fn workload(flags: u32) -> WorkloadView {
        let rules = [
            ("9000-9100", Decision::Skip, RuleSource::Workload),
            ("3306", Decision::Opaque, RuleSource::Default),
        ];
        let workload = Workload {
            profile: 1,
            flags,
            prefix_lens: [0; 2],
            listener_v4_port_be: 4140_u16.to_be(),
            listener_v6_port_be: 0,
            pad: 0,
        };
        WorkloadView {
            id: ID,
            name: "shop/web-0".into(),
            workload,
            table: table(Direction::Outbound, &rules),
            is_inbound_proxied: true,
        }
    }

    /// A database that is opaque on 4406 and 9000, and inspected on 3306, and a subnet that is left alone.
    fn known() -> Known {
        let rules = [
            ("4406,9000", Decision::Opaque, RuleSource::Destination),
            ("3306", Decision::Detect, RuleSource::Destination),
        ];
        let database = table(Direction::Inbound, &rules);
        Known {
            destinations: BTreeMap::from([("10.96.0.10".parse().unwrap(), database)]),
            skip_subnets: BTreeMap::from([(ID, "10.1.0.0/16,10.96.9.9".parse().unwrap())]),
            learned: [8080, 3306]
                .map(|port: u16| {
                    let address = mapped("10.2.0.1".parse().unwrap());
                    LearnedKey::new(ID, Direction::Outbound, address, port.to_be())
                })
                .into(),
        }
    }

    fn explained(flags: u32, destination: &str) -> String {
        let (decision, reason) = explain(&workload(flags), destination.parse().unwrap(), &known());
        format!("{decision} ({reason})")
    }

    #[test]
    fn what_the_destination_says_comes_before_the_workload_s_list_and_after_its_skips() {
        assert_eq!(
            explained(0, "10.96.0.10:4406"),
            "opaque (port 4406, as the destination has it annotated)"
        );
        assert_eq!(
            explained(0, "10.96.0.10:3306"),
            "detect (port 3306, as the destination has it annotated)"
        );
        assert_eq!(
            explained(0, "10.96.0.11:3306"),
            "opaque (port 3306, in the built-in list of opaque ports)"
        );
        assert_eq!(explained(0, "10.96.0.10:9000"), "skip (port 9000-9100, in the workload's own lists)");
        assert_eq!(explained(0, "10.96.0.10:80"), "detect (no rule names the port)");
        // The same address in its other form.
        assert_eq!(
            explained(0, "[::ffff:10.96.0.10]:4406"),
            "opaque (port 4406, as the destination has it annotated)"
        );
    }

    #[test]
    fn what_is_learned_holds_where_no_rule_names_the_port() {
        let learning = flags::OPAQUE_KERNEL | flags::LEARN_OPAQUE;
        assert_eq!(
            explained(learning, "10.2.0.1:8080"),
            "opaque (no rule names the port; learned, see `sluice ports learned`; the kernel carries it)"
        );
        assert_eq!(explained(learning, "10.2.0.1:8081"), "detect (no rule names the port)");
        assert_eq!(explained(flags::OPAQUE_KERNEL, "10.2.0.1:8080"), "detect (no rule names the port)");
        assert_eq!(
            explained(learning, "10.2.0.1:3306"),
            "opaque (port 3306, in the built-in list of opaque ports; the kernel carries it)"
        );
    }

    #[test]
    fn subnets_are_looked_at_where_the_flag_says_so() {
        let skipped = "skip (10.1.2.3 is in the workload's skip-subnets: 10.1.0.0/16)";
        assert_eq!(explained(flags::SKIP_SUBNETS, "10.1.2.3:3306"), skipped);
        assert_eq!(explained(flags::SKIP_SUBNETS, "[::ffff:10.1.2.3]:3306"), skipped);
        assert_eq!(explained(0, "10.1.2.3:80"), "detect (no rule names the port)");
        assert_eq!(explained(flags::SKIP_SUBNETS, "10.2.2.3:80"), "detect (no rule names the port)");
    }

    #[test]
    fn loopback_is_where_the_proxy_listens_or_what_is_left_alone() {
        let left = "direct (loopback destinations are left alone; include-loopback is not set)";
        for destination in ["127.0.0.1:80", "0.0.0.0:80", "[::1]:80", "[::]:80"] {
            assert_eq!(explained(0, destination), left, "{destination}");
        }
        assert_eq!(explained(0, "127.0.0.1:4140"), "direct (that is the proxy's own listener)");
        assert_eq!(explained(flags::LOOPBACK, "127.0.0.1:80"), "detect (no rule names the port)");
        assert_eq!(
            explained(0, "[fd00::1]:3306"),
            "direct (the proxy has no listener for this address family; else port 3306, in the built-in list \
             of opaque ports)"
        );
    }
}
