//! `connect4` and `connect6`: leave a connection alone, or send it to the proxy.
//!
//! They see the socket before the SYN, in the task that called connect(2). Fail open: whatever
//! cannot be looked up or remembered goes direct, except where the workload is strict.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_F_CURRENT_NETNS, bpf_sock, bpf_sock_addr, bpf_sock_tuple},
    helpers::{
        bpf_get_socket_cookie, bpf_ktime_get_ns,
        generated::{bpf_get_current_ancestor_cgroup_id, bpf_sk_lookup_tcp, bpf_sk_release},
    },
    macros::cgroup_sock_addr,
    programs::SockAddrContext,
};
use proxy_common::{
    Counter, Decision, Direction, LISTENER_PRIORITY, LOOPBACK_V4_MAPPED, LOOPBACK_V6, LaneState, OriginalDst,
    PortRule, Tracked, Workload, flags, is_link_local_v6, is_loopback, is_v4_mapped, map_v4,
    normalise_unspecified, tcp_state,
};

use crate::{
    log::{log_debug, log_warn},
    maps::{WORKLOADS, count, settings},
    rules::{LEARNED_RULE, destination_rule, heartbeat_is_fresh, is_learned, rule, skips_peer},
    sock::{context_words, forget, set_context_words, track, tracked},
};

/// Returned to the kernel: connect(2) goes on.
const ALLOW: i32 = 1;
/// Returned to the kernel: connect(2) fails with EPERM.
const REFUSE: i32 = 0;

const IPPROTO_TCP: u32 = 6;

/// How deep below the root of the cgroup hierarchy a workload may be.
const MAX_CGROUP_LEVEL: i32 = 31;

/// connect(2) on an AF_INET socket.
#[cgroup_sock_addr(connect4)]
pub(crate) fn connect4(ctx: SockAddrContext) -> i32 {
    // SAFETY: a context field, read at a constant offset.
    let addr = unsafe { (*ctx.sock_addr).user_ip4 };
    connect(&ctx, map_v4(addr.to_ne_bytes()), |addr_be, context| {
        let [.., a, b, c, d] = addr_be;
        // SAFETY: a writable context field, written at a constant offset.
        unsafe { (*context).user_ip4 = u32::from_ne_bytes([a, b, c, d]) };
    })
}

/// connect(2) on an AF_INET6 socket, to an IPv6 address or to an IPv4 address mapped into one.
#[cgroup_sock_addr(connect6)]
pub(crate) fn connect6(ctx: SockAddrContext) -> i32 {
    let addr_be = context_words!(ctx.sock_addr, user_ip6);
    connect(&ctx, addr_be, |addr_be, context| set_context_words!(context, user_ip6, addr_be))
}

/// Both hooks. `rewrite` writes an address into the context as the hook's family holds it.
#[inline(always)]
fn connect(
    ctx: &SockAddrContext,
    addr_be: [u8; 16],
    rewrite: impl FnOnce([u8; 16], *mut bpf_sock_addr),
) -> i32 {
    let context = ctx.sock_addr;
    // SAFETY: context fields, read at constant offsets.
    let (protocol, user_port, sk) =
        unsafe { ((*context).protocol, (*context).user_port, (*context).__bindgen_anon_1.sk) };
    if protocol != IPPROTO_TCP || sk.is_null() {
        return ALLOW;
    }
    let Some((workload_id, workload)) = workload_of_current_task() else {
        forget(sk);
        count(Counter::ConnectUnknownWorkload);
        return ALLOW;
    };
    let addr_be = normalise_unspecified(addr_be);
    // The kernel holds the port in the low half of the word, in network byte order.
    let port_be = user_port as u16;

    if is_own_listener(&workload, addr_be, port_be) {
        // Also the second run where two enrolled cgroups are nested: leave that record as it is.
        if tracked(sk).is_none_or(|record| record.listener_port_be != port_be) {
            forget(sk);
        }
        count(Counter::ConnectOwnListener);
        return ALLOW;
    }
    if let Some(reason) = out_of_scope(ctx, workload_id, &workload, addr_be, port_be, sk) {
        forget(sk);
        count(reason);
        return ALLOW;
    }

    let rule = outbound_rule(workload_id, &workload, addr_be, port_be);
    let original = OriginalDst {
        addr_be,
        port_be,
        decision: rule.decision,
        source: rule.source,
        flags: 0,
        // SAFETY: the helper takes this hook's context.
        cookie: unsafe { bpf_get_socket_cookie(ctx.as_ptr()) },
        workload: workload_id,
        // SAFETY: the helper has no preconditions.
        created_ns: unsafe { bpf_ktime_get_ns() },
    };
    let mut record = Tracked::new(original, workload.flags);
    if rule.decision() == Decision::Skip {
        count(Counter::ConnectSkipped);
        if workload.flags & flags::REPORT_SKIPPED == 0 {
            forget(sk);
        } else if !track(sk, &mut record) {
            count(Counter::ConnectStorageFailed);
        }
        log_debug!(ctx, "skip {:i} port {}", addr_be, u16::from_be(port_be));
        return ALLOW;
    }

    let listener = Listener::of(&workload, addr_be);
    if rule.decision() == Decision::Opaque && workload.flags & flags::OPAQUE_KERNEL != 0 {
        return leave_to_kernel(ctx, &workload, &listener, sk, &mut record);
    }
    if let Err(reason) = listener.is_alive(ctx, &workload) {
        forget(sk);
        count(reason);
        return without_proxy(ctx, &workload);
    }
    record.listener_port_be = listener.port_be;
    if settings().is_some_and(|settings| settings.sk_msg != 0) && workload.flags & flags::SK_MSG != 0 {
        record.lane = LaneState::Undecided as u8;
        record.original.flags = flags::SK_MSG;
    }
    if !track(sk, &mut record) {
        count(Counter::ConnectStorageFailed);
        return without_proxy(ctx, &workload);
    }
    rewrite(listener.addr_be, context);
    // SAFETY: a writable context field, written at a constant offset.
    unsafe { (*context).user_port = u32::from(listener.port_be) };
    count(Counter::ConnectRedirected);
    log_debug!(ctx, "redirect {:i} port {}", addr_be, u16::from_be(port_be));
    ALLOW
}

/// An opaque connection of a workload that has them on the kernel path: it connects to where it means to,
/// and the kernel counts its bytes. Without a proxy a strict workload is refused this as well.
#[inline(always)]
fn leave_to_kernel(
    ctx: &SockAddrContext,
    workload: &Workload,
    listener: &Listener,
    sk: *mut bpf_sock,
    record: &mut Tracked,
) -> i32 {
    if workload.flags & flags::STRICT != 0
        && let Err(reason) = listener.is_alive(ctx, workload)
    {
        forget(sk);
        count(reason);
        return without_proxy(ctx, workload);
    }
    if !track(sk, record) {
        count(Counter::ConnectStorageFailed);
        return without_proxy(ctx, workload);
    }
    count(Counter::ConnectKernelPath);
    ALLOW
}

/// The workload that the calling task belongs to: the nearest enrolled cgroup above it.
///
/// By cgroup and never by uid or mark, which a workload could set. sluice's own sockets are in no
/// enrolled cgroup, so they pass.
#[inline(always)]
fn workload_of_current_task() -> Option<(u64, Workload)> {
    let levels = settings()?.cgroup_levels;
    for level in (1..=MAX_CGROUP_LEVEL).rev() {
        if levels & (1 << level) == 0 {
            continue;
        }
        // SAFETY: the helper has no preconditions; it returns 0 where the task is less deep.
        let id = unsafe { bpf_get_current_ancestor_cgroup_id(level) };
        // SAFETY: the value is copied at once.
        if let Some(workload) = unsafe { WORKLOADS.get(id) } {
            return Some((id, *workload));
        }
    }
    None
}

/// What is to be done with a connection to a destination in scope. The workload's word on a port to
/// skip comes first; whether the rest is opaque is for the destination to say, where it says anything. Where
/// nobody does, what was learned holds.
#[inline(always)]
fn outbound_rule(workload_id: u64, workload: &Workload, addr_be: [u8; 16], port_be: u16) -> PortRule {
    let port = u16::from_be(port_be);
    let own = rule(workload_id, workload, Direction::Outbound, port);
    if own.decision() == Decision::Skip {
        return own;
    }
    let rule = destination_rule(addr_be, port).unwrap_or(own);
    if rule == PortRule::DETECT && is_learned(workload_id, workload, Direction::Outbound, &addr_be, port_be) {
        return LEARNED_RULE;
    }
    rule
}

/// Why this destination or socket is none of ours.
#[inline(always)]
fn out_of_scope(
    ctx: &SockAddrContext,
    workload_id: u64,
    workload: &Workload,
    addr_be: [u8; 16],
    port_be: u16,
    sk: *mut bpf_sock,
) -> Option<Counter> {
    if is_loopback(&addr_be) {
        if workload.flags & flags::LOOPBACK == 0 {
            return Some(Counter::ConnectLoopback);
        }
        if is_other_listener(ctx, addr_be, port_be) {
            return Some(Counter::ConnectOtherListener);
        }
    }
    if is_link_local_v6(&addr_be) {
        return Some(Counter::ConnectLinkLocal);
    }
    // SAFETY: the verifier knows `sk` as a socket; the caller has checked that it is not null.
    if unsafe { (*sk).bound_dev_if } != 0 {
        return Some(Counter::ConnectBoundDevice);
    }
    if skips_peer(workload_id, workload, addr_be) {
        return Some(Counter::ConnectSkippedSubnet);
    }
    None
}

#[inline(always)]
fn is_own_listener(workload: &Workload, addr_be: [u8; 16], port_be: u16) -> bool {
    is_loopback(&addr_be) && port_be == Listener::of(workload, addr_be).port_be
}

/// Whether another sluice listens there. The hooks at a cgroup below this one run first: a destination
/// that they have rewritten must not be rewritten again, its proxy would be reached without a record.
#[inline(always)]
fn is_other_listener(ctx: &SockAddrContext, addr_be: [u8; 16], port_be: u16) -> bool {
    let is_where_proxies_listen = addr_be == LOOPBACK_V4_MAPPED || addr_be == LOOPBACK_V6;
    is_where_proxies_listen && Listener { addr_be, port_be }.priority(ctx) == Some(LISTENER_PRIORITY)
}

/// The proxy cannot be reached, which the caller has counted with the reason: what the workload chose.
#[inline(always)]
fn without_proxy(ctx: &SockAddrContext, workload: &Workload) -> i32 {
    if workload.flags & flags::STRICT == 0 {
        log_warn!(ctx, "without the proxy: going direct");
        return ALLOW;
    }
    count(Counter::ConnectRefused);
    log_warn!(ctx, "without the proxy: refused");
    REFUSE
}

/// Where the proxy listens in the workload's network namespace.
struct Listener {
    addr_be: [u8; 16],
    port_be: u16,
}

impl Listener {
    /// The listener of a destination's family: a mapped IPv4 address is IPv4.
    #[inline(always)]
    fn of(workload: &Workload, addr_be: [u8; 16]) -> Self {
        if is_v4_mapped(&addr_be) {
            Self { addr_be: LOOPBACK_V4_MAPPED, port_be: workload.listener_v4_port_be }
        } else {
            Self { addr_be: LOOPBACK_V6, port_be: workload.listener_v6_port_be }
        }
    }

    /// Whether the proxy accepts connections now: its listener is in this namespace, and it has
    /// shown a heartbeat lately.
    #[inline(always)]
    fn is_alive(&self, ctx: &SockAddrContext, workload: &Workload) -> Result<(), Counter> {
        if self.port_be == 0 {
            return Err(Counter::ConnectNoListener);
        }
        if workload.flags & flags::FOREIGN_PROXY == 0 && !heartbeat_is_fresh() {
            return Err(Counter::ConnectHeartbeatStale);
        }
        if self.priority(ctx).is_some() { Ok(()) } else { Err(Counter::ConnectListenerGone) }
    }

    /// SO_PRIORITY of whoever listens in this network namespace; `None` where nobody does.
    #[inline(always)]
    fn priority(&self, ctx: &SockAddrContext) -> Option<u32> {
        // The source port 0 never matches an established connection, so that only a listener can.
        let mut v4 = TupleV4 { saddr: 0, daddr: 0, sport_be: 0, dport_be: self.port_be };
        let mut v6 = TupleV6 { saddr: [0; 4], daddr: [0; 4], sport_be: 0, dport_be: self.port_be };
        let (tuple, size) = if is_v4_mapped(&self.addr_be) {
            v4.saddr = u32::from_ne_bytes([127, 0, 0, 1]);
            v4.daddr = v4.saddr;
            (core::ptr::from_mut(&mut v4).cast::<bpf_sock_tuple>(), size_of::<TupleV4>())
        } else {
            v6.saddr = crate::sock::words_of(LOOPBACK_V6);
            v6.daddr = v6.saddr;
            (core::ptr::from_mut(&mut v6).cast::<bpf_sock_tuple>(), size_of::<TupleV6>())
        };
        // SAFETY: `tuple` points to `size` initialised bytes on this program's stack.
        let sk = unsafe {
            bpf_sk_lookup_tcp(ctx.as_ptr(), tuple, size as u32, BPF_F_CURRENT_NETNS as i64 as u64, 0)
        };
        if sk.is_null() {
            return None;
        }
        // SAFETY: not null, and held until it is released below.
        let (state, priority) = unsafe { ((*sk).state, (*sk).priority) };
        // SAFETY: the reference came from the lookup above and is given back once.
        unsafe { bpf_sk_release(sk.cast()) };
        (state == tcp_state::LISTEN).then_some(priority)
    }
}

/// The IPv4 half of `bpf_sock_tuple`; addresses in network byte order.
#[repr(C)]
struct TupleV4 {
    saddr: u32,
    daddr: u32,
    sport_be: u16,
    dport_be: u16,
}

/// The IPv6 half of `bpf_sock_tuple`; addresses in network byte order.
#[repr(C)]
struct TupleV6 {
    saddr: [u32; 4],
    daddr: [u32; 4],
    sport_be: u16,
    dport_be: u16,
}
