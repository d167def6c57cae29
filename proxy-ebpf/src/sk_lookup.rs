//! `sk_lookup`: brings connections that a workload accepts to the proxy.
//!
//! Attached to the workload's network namespace. Runs for every packet that belongs to no connection
//! yet, before the kernel looks for a listener. The accepted socket keeps the address that the client
//! asked for, so there is nothing to translate and nothing to hand over. Fails open: what cannot be
//! looked up goes to the application, except where the workload is strict.

use aya_ebpf::{
    bindings::sk_action::{SK_DROP, SK_PASS},
    macros::sk_lookup,
    programs::SkLookupContext,
};
use proxy_common::{
    Counter, Decision, Direction, InboundListenerKey, IpVersion, ListenKey, PortRule, UNSPECIFIED_V4_MAPPED,
    UNSPECIFIED_V6, Workload, flags, is_loopback, map_v4,
};

use crate::{
    maps::{INBOUND, INBOUND_LISTENERS, LISTENING, NETNS, WORKLOADS, count},
    probes,
    rules::{heartbeat_is_fresh, is_learned, rule, skips_peer},
    sock::context_words,
};

const IPPROTO_TCP: u32 = 6;
const AF_INET: u32 = 2;
/// `lo`, in every network namespace (`LOOPBACK_IFINDEX`, `include/net/flow.h`).
const LOOPBACK_IFINDEX: u32 = 1;

/// A packet for which the kernel looks for a listener.
#[sk_lookup]
pub(crate) fn sk_lookup_verdict(ctx: SkLookupContext) -> u32 {
    let lookup = ctx.lookup;
    // SAFETY: context fields, read at constant offsets.
    let (protocol, ifindex) = unsafe { ((*lookup).protocol, (*lookup).ingress_ifindex) };
    if protocol != IPPROTO_TCP || ifindex == LOOPBACK_IFINDEX {
        return SK_PASS;
    }
    let packet = Packet::of(&ctx);
    if packet.is_from_within() {
        return SK_PASS;
    }
    let Some(netns_cookie) = NETNS.get(0).copied() else { return SK_PASS };
    // SAFETY: the value is copied at once.
    let Some(workload_id) = unsafe { INBOUND.get(netns_cookie) }.copied() else { return SK_PASS };
    // SAFETY: the value is copied at once.
    let Some(workload) = unsafe { WORKLOADS.get(workload_id) }.copied() else { return SK_PASS };
    let decision = match in_scope(netns_cookie, workload_id, &workload, &packet) {
        Ok(decision) => decision,
        Err(reason) => {
            count(reason);
            return SK_PASS;
        }
    };
    let is_on_kernel_path = decision == Decision::Opaque && workload.flags & flags::OPAQUE_KERNEL != 0;
    if is_on_kernel_path && workload.flags & flags::STRICT == 0 {
        count(Counter::SkLookupKernelPath);
        return SK_PASS;
    }
    if !heartbeat_is_fresh() {
        count(Counter::SkLookupHeartbeatStale);
        return without_proxy(&workload);
    }
    if is_on_kernel_path {
        count(Counter::SkLookupKernelPath);
        return SK_PASS;
    }
    let listener = InboundListenerKey::new(netns_cookie, packet.ip_version);
    if INBOUND_LISTENERS.redirect_sk_lookup(&ctx, listener, 0).is_err() {
        count(Counter::SkLookupListenerGone);
        return without_proxy(&workload);
    }
    count(Counter::SkLookupRedirected);
    SK_PASS
}

/// Who wants to speak to whom.
struct Packet {
    ip_version: IpVersion,
    remote_be: [u8; 16],
    remote_port_be: u16,
    local_be: [u8; 16],
    /// Host byte order.
    local_port: u16,
}

impl Packet {
    #[inline(always)]
    fn of(ctx: &SkLookupContext) -> Self {
        let lookup = ctx.lookup;
        // SAFETY: context fields, read at constant offsets.
        let (family, remote_port_be, local_port) =
            unsafe { ((*lookup).family, (*lookup).remote_port, (*lookup).local_port) };
        let (ip_version, remote_be, local_be) = if family == AF_INET {
            // SAFETY: context fields, read at constant offsets.
            let (remote, local) = unsafe { ((*lookup).remote_ip4, (*lookup).local_ip4) };
            (IpVersion::V4, map_v4(remote.to_ne_bytes()), map_v4(local.to_ne_bytes()))
        } else {
            (IpVersion::V6, context_words!(lookup, remote_ip6), context_words!(lookup, local_ip6))
        };
        Self { ip_version, remote_be, remote_port_be, local_be, local_port: local_port as u16 }
    }

    /// Whether it is the workload's own, or the proxy's on its way to the application, whose source is
    /// its destination. The interface does not always tell: it is that of the address, not lo, where IPv4
    /// is delivered locally (`inet_iif`, seen on 6.18). Nobody elsewhere can send from an address of this
    /// namespace and get an answer.
    #[inline(always)]
    fn is_from_within(&self) -> bool {
        self.remote_be == self.local_be || is_loopback(&self.remote_be)
    }
}

/// What is to be done with this connection, or why it is left alone.
#[inline(always)]
fn in_scope(
    netns_cookie: u64,
    workload_id: u64,
    workload: &Workload,
    packet: &Packet,
) -> Result<Decision, Counter> {
    let rule = rule(workload_id, workload, Direction::Inbound, packet.local_port);
    if rule.decision() == Decision::Skip {
        return Err(Counter::SkLookupSkipped);
    }
    if skips_peer(workload_id, workload, packet.remote_be) {
        return Err(Counter::SkLookupSkippedSubnet);
    }
    if !is_listening(netns_cookie, packet) {
        return Err(Counter::SkLookupNotListening);
    }
    if probes::is_one(&packet.remote_be, packet.remote_port_be, &packet.local_be, packet.local_port.to_be()) {
        return Err(Counter::SkLookupProbe);
    }
    let port_be = packet.local_port.to_be();
    if rule == PortRule::DETECT
        && is_learned(workload_id, workload, Direction::Inbound, &packet.local_be, port_be)
    {
        return Ok(Decision::Opaque);
    }
    Ok(rule.decision())
}

/// Whether the application would take the connection: a closed port must go on refusing.
#[inline(always)]
fn is_listening(netns_cookie: u64, packet: &Packet) -> bool {
    let any_be = match packet.ip_version {
        IpVersion::V4 => UNSPECIFIED_V4_MAPPED,
        IpVersion::V6 => UNSPECIFIED_V6,
    };
    has_listener(netns_cookie, any_be, packet.local_port)
        || has_listener(netns_cookie, packet.local_be, packet.local_port)
}

#[inline(always)]
fn has_listener(netns_cookie: u64, addr_be: [u8; 16], port: u16) -> bool {
    // SAFETY: only whether there is a value is asked.
    unsafe { LISTENING.get(ListenKey::new(netns_cookie, addr_be, port.to_be())) }.is_some()
}

/// The proxy is not there: what the workload chose. SK_DROP answers with RST, as a closed port does.
#[inline(always)]
fn without_proxy(workload: &Workload) -> u32 {
    if workload.flags & flags::STRICT == 0 {
        return SK_PASS;
    }
    count(Counter::SkLookupRefused);
    SK_DROP
}
