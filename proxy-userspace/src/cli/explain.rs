//! `sluice explain`: what would become of a connection, by the rules that the kernel has.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
};

use proxy_common::{Decision, Direction, RuleSource, flags, is_link_local_v6, is_loopback, map_v4};

use super::{args::ExplainArgs, asked::Asked, ports::range_text};
use crate::kernel::WorkloadView;

pub(super) fn run(args: &ExplainArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let Asked { control, .. } = Asked::to_look(&args.pins.pin_dir)?;
    for view in control.workloads_named(args.workload.as_deref())? {
        let (decision, reason) = explain(&view, args.destination);
        writeln!(out, "{} -> {}: {decision} ({reason})", view.name, args.destination)?;
    }
    Ok(())
}

/// The decision, and the rule that it comes from.
fn explain(view: &WorkloadView, destination: SocketAddr) -> (&'static str, String) {
    let addr_be = match destination.ip() {
        IpAddr::V4(ip) => map_v4(ip.octets()),
        IpAddr::V6(ip) => ip.octets(),
    };
    if is_loopback(&addr_be) && view.workload.flags & flags::LOOPBACK == 0 {
        return ("direct", "loopback destinations are left alone; include-loopback is not set".to_owned());
    }
    if is_link_local_v6(&addr_be) {
        return ("direct", "link-local destinations are left alone".to_owned());
    }
    let port = destination.port();
    let rule = view.table.rule(Direction::Outbound, port);
    let ports = range_text(&view.table.range_of(Direction::Outbound, port));
    let reason = match rule.source() {
        RuleSource::None => "no rule names the port".to_owned(),
        RuleSource::Default => format!("port {ports}, in the built-in list of opaque ports"),
        RuleSource::Node => format!("port {ports}, in the node's lists"),
        RuleSource::Workload => format!("port {ports}, in the workload's own lists"),
        RuleSource::Destination => format!("port {ports}, as the destination has it annotated"),
        RuleSource::Live => format!("port {ports}, set by `sluice ports`"),
    };
    let family_has_listener = if destination.ip().to_canonical().is_ipv4() {
        view.workload.listener_v4_port_be != 0
    } else {
        view.workload.listener_v6_port_be != 0
    };
    if rule.decision() != Decision::Skip && !family_has_listener {
        return ("direct", format!("the proxy has no listener for this address family; else {reason}"));
    }
    (rule.decision().label(), reason)
}
