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
        if let Some(destination) = args.destination {
            let (decision, reason) = explain(&view, destination);
            writeln!(out, "{} -> {destination}: {decision} ({reason})", view.name)?;
        }
        if let Some(port) = args.inbound {
            let (decision, reason) = explain_inbound(&view, port);
            writeln!(out, "{} <- port {port}: {decision} ({reason})", view.name)?;
        }
    }
    Ok(())
}

/// The decision on a connection that comes in, and the rule that it comes from.
fn explain_inbound(view: &WorkloadView, port: u16) -> (&'static str, String) {
    if !view.is_inbound_proxied {
        const WHY: &str = "its inbound connections are left alone: it is so configured, it has no network \
                           namespace of its own or shares it with another workload, as which they count, or \
                           the kernel cannot";
        return ("direct", WHY.to_owned());
    }
    let (decision, reason) = ruled(view, Direction::Inbound, port);
    (decision.label(), reason)
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
    let (decision, reason) = ruled(view, Direction::Outbound, destination.port());
    let family_has_listener = if destination.ip().to_canonical().is_ipv4() {
        view.workload.listener_v4_port_be != 0
    } else {
        view.workload.listener_v6_port_be != 0
    };
    if decision != Decision::Skip && !family_has_listener {
        return ("direct", format!("the proxy has no listener for this address family; else {reason}"));
    }
    (decision.label(), reason)
}

/// What the port config says.
fn ruled(view: &WorkloadView, direction: Direction, port: u16) -> (Decision, String) {
    let rule = view.table.rule(direction, port);
    let ports = range_text(&view.table.range_of(direction, port));
    let reason = match rule.source() {
        RuleSource::None => "no rule names the port".to_owned(),
        RuleSource::Default => format!("port {ports}, in the built-in list of opaque ports"),
        RuleSource::Node => format!("port {ports}, in the node's lists"),
        RuleSource::Workload => format!("port {ports}, in the workload's own lists"),
        RuleSource::Destination => format!("port {ports}, as the destination has it annotated"),
        RuleSource::Live => format!("port {ports}, set by `sluice ports`"),
    };
    (rule.decision(), reason)
}
