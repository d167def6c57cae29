//! What the port config says, for every hook that asks.

use aya_ebpf::{helpers::bpf_ktime_get_ns, maps::lpm_trie::Key};
use proxy_common::{
    Decision, Destination, Direction, LearnedKey, PortRule, PrefixLens, RuleSource, SUBNET_KEY_BITS,
    SubnetKey, Workload, decide, flags,
};

use crate::maps::{DESTINATIONS, HEARTBEAT, LEARNED, PORTS, SKIP_SUBNETS, WORKLOADS, settings};

/// The port config's word on a workload's connection; the port is in host byte order.
#[inline(always)]
pub(crate) fn rule(workload_id: u64, workload: &Workload, direction: Direction, port: u16) -> PortRule {
    let rule = rule_of(workload, direction, port);
    if rule != PortRule::DETECT {
        return rule;
    }
    // No rule, or the profile was replaced and its entries removed while we looked: look again if
    // the workload points elsewhere by now.
    // SAFETY: the value is copied at once.
    match unsafe { WORKLOADS.get(workload_id) } {
        Some(now) if now.profile != workload.profile => rule_of(now, direction, port),
        _ => rule,
    }
}

#[inline(always)]
fn rule_of(workload: &Workload, direction: Direction, port: u16) -> PortRule {
    let [outbound_lens, inbound_lens] = workload.prefix_lens;
    let lens = match direction {
        Direction::Outbound => outbound_lens,
        Direction::Inbound => inbound_lens,
    };
    rule_in_profile(workload.profile, direction, lens, port)
}

/// A function of its own: inlined where there is much else, LLVM may begin the loop in its middle, and Linux
/// 6.1 refuses a way back that is no jump (`back-edge`, `check_cfg`).
#[inline(never)]
fn rule_in_profile(profile: u32, direction: Direction, lens: PrefixLens, port: u16) -> PortRule {
    decide(profile, direction, port, lens, |key| {
        // SAFETY: the value is copied at once.
        unsafe { PORTS.get(key) }.copied()
    })
}

/// What is known of the port at the destination, a Service or a pod: whether it is opaque. Nothing is known
/// of most.
#[inline(always)]
pub(crate) fn destination_rule(addr_be: [u8; 16], port: u16) -> Option<PortRule> {
    // SAFETY: the value is copied at once.
    let Destination { profile, prefix_lens } = *unsafe { DESTINATIONS.get(addr_be) }?;
    let rule = rule_in_profile(profile, Direction::Inbound, prefix_lens, port);
    (rule != PortRule::DETECT).then_some(rule)
}

/// What holds where no rule names the port and the destination is learned to be opaque.
pub(crate) const LEARNED_RULE: PortRule = PortRule::new(Decision::Opaque, RuleSource::Learned);

/// Until when the destination is learned to be opaque, nanoseconds; 0 where it is not. A function of its own:
/// its key would be too much for the stack of some that ask.
#[inline(never)]
pub(crate) fn learned_until_ns(
    workload_id: u64,
    flags: u32,
    direction: Direction,
    addr_be: &[u8; 16],
    port_be: u16,
) -> u64 {
    if flags & flags::LEARN_OPAQUE == 0 {
        return 0;
    }
    let key = LearnedKey::new(workload_id, direction, *addr_be, port_be);
    // SAFETY: the value is copied at once.
    unsafe { LEARNED.get(key) }.copied().unwrap_or(0)
}

/// Whether a new connection to this destination is opaque because that was learned.
#[inline(always)]
pub(crate) fn is_learned(
    workload_id: u64,
    workload: &Workload,
    direction: Direction,
    addr_be: &[u8; 16],
    port_be: u16,
) -> bool {
    let until_ns = learned_until_ns(workload_id, workload.flags, direction, addr_be, port_be);
    // SAFETY: the helper has no preconditions.
    until_ns != 0 && unsafe { bpf_ktime_get_ns() } < until_ns
}

/// Whether the workload leaves this peer alone.
#[inline(always)]
pub(crate) fn skips_peer(workload_id: u64, workload: &Workload, peer_be: [u8; 16]) -> bool {
    workload.flags & flags::SKIP_SUBNETS != 0
        && SKIP_SUBNETS.get(Key::new(SUBNET_KEY_BITS, SubnetKey::new(workload_id, peer_be))).is_some()
}

/// Whether the proxy has shown lately that it is alive.
#[inline(always)]
pub(crate) fn heartbeat_is_fresh() -> bool {
    let (Some(beat_ns), Some(settings)) = (HEARTBEAT.get(0), settings()) else {
        return false;
    };
    // SAFETY: the helper has no preconditions.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    now_ns.saturating_sub(*beat_ns) < settings.heartbeat_max_age_ns
}
