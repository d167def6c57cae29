//! The kernel path: connections that go by themselves, and whose bytes the kernel counts.
//!
//! Opaque ones are noted while they are open, so that userspace can ask for what their sockets have counted,
//! and told of at their end; skipped ones are told of at their end, where somebody wants to know. Nothing runs
//! in between. Fails open: what cannot be remembered goes uncounted.

use aya_ebpf::{
    EbpfContext as _, Global,
    bindings::{
        BPF_ANY, BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_SOCK_OPS_STATE_CB_FLAG,
        bpf_sock,
    },
    helpers::{bpf_get_socket_cookie, bpf_ktime_get_ns},
    programs::SockOpsContext,
};
use proxy_common::{
    Closed, ClosingCounters, Counter, Decision, Direction, Open, OriginalDst, PortRule, SocketCounters,
    Tracked, flags, is_loopback,
};

use crate::{
    maps::{EVENTS, EVENTS_BYTES, INBOUND, OPEN, WORKLOADS, count, reserve_closed},
    probes, rendezvous,
    rules::{LEARNED_RULE, learned_until_ns, rule, skips_peer},
    sock::{self, TcpSock},
    sock_ops::{local_end, netns_cookie, remote_end},
};

/// An application has accepted a connection: by what it is an opaque one that was left alone for being so, a
/// [`proxy_common::RuleSource`]; 0 where it is not.
#[inline(never)]
pub(crate) fn accepted_by(ctx: &SockOpsContext) -> u32 {
    // SAFETY: the value is copied at once.
    let Some(workload_id) = (unsafe { INBOUND.get(netns_cookie(ctx)) }).copied() else { return 0 };
    // SAFETY: its parts are copied as they are used, and any of them may be newer than another.
    let Some(workload) = (unsafe { WORKLOADS.get(workload_id) }) else { return 0 };
    if workload.flags & flags::OPAQUE_KERNEL == 0 {
        return 0;
    }
    let ((addr_be, port_be), (client_be, client_port_be)) = (local_end(ctx), remote_end(ctx));
    // As `sk_lookup` has it: from within, or the proxy's own.
    if client_be == addr_be || is_loopback(&client_be) {
        return 0;
    }
    let mut rule = rule(workload_id, workload, Direction::Inbound, u16::from_be(port_be));
    // Whether it still holds is not asked: `sk_lookup` has let the connection pass for it.
    if rule == PortRule::DETECT
        && learned_until_ns(workload_id, workload.flags, Direction::Inbound, &addr_be, port_be) != 0
    {
        rule = LEARNED_RULE;
    }
    if rule.decision() != Decision::Opaque
        || skips_peer(workload_id, workload, client_be)
        || probes::is_one(&client_be, client_port_be, &addr_be, port_be)
    {
        return 0;
    }
    rule.source.into()
}

/// Watches a connection that an application has accepted, opaque by this source; whether it does.
#[inline(never)]
pub(crate) fn watch(ctx: &SockOpsContext, sk: *mut bpf_sock, source: u32) -> bool {
    // SAFETY: the value is copied at once.
    let Some(workload_id) = (unsafe { INBOUND.get(netns_cookie(ctx)) }).copied() else { return false };
    // SAFETY: the value is copied at once.
    let Some(flags) = (unsafe { WORKLOADS.get(workload_id) }).map(|workload| workload.flags) else {
        return false;
    };
    let (addr_be, port_be) = local_end(ctx);
    let original = OriginalDst {
        addr_be,
        port_be,
        decision: Decision::Opaque as u8,
        source: source as u8,
        flags: flags::INBOUND,
        // SAFETY: the helper takes this hook's context.
        cookie: unsafe { bpf_get_socket_cookie(ctx.as_ptr()) },
        workload: workload_id,
        // SAFETY: the helper has no preconditions.
        created_ns: unsafe { bpf_ktime_get_ns() },
    };
    let mut record = Tracked { established: 1, ..Tracked::new(original, flags) };
    let is_watched = sock::track(sk, &mut record)
        && ctx.set_cb_flags(ctx.cb_flags() as i32 | BPF_SOCK_OPS_STATE_CB_FLAG as i32).is_ok();
    count(if is_watched { Counter::SockOpsKernelPath } else { Counter::SockOpsKernelPathFailed });
    is_watched
}

/// A connection that goes by itself is established. Skipped ones are not noted.
#[inline(never)]
pub(crate) fn opened(ctx: &SockOpsContext, original: &OriginalDst) {
    if original.decision != Decision::Opaque as u8 {
        return;
    }
    let (client_addr_be, client_port_be) = client(ctx, original);
    // By reference: a copy would be on the stack too.
    let open = &Open {
        original: *original,
        netns_cookie: netns_cookie(ctx),
        client_addr_be,
        client_port_be,
        pad: [0; 3],
    };
    if OPEN.insert(original.cookie, open, u64::from(BPF_ANY)).is_err() {
        count(Counter::SockOpsOpenFailed);
    }
}

/// The client's address and port, in network byte order.
#[inline(always)]
fn client(ctx: &SockOpsContext, original: &OriginalDst) -> ([u8; 16], u16) {
    if original.flags & flags::INBOUND != 0 { remote_end(ctx) } else { local_end(ctx) }
}

/// Reports the end of a connection that went by itself.
#[inline(never)]
pub(crate) fn closed(ctx: &SockOpsContext, sk: *mut bpf_sock, record: &Tracked, last_state: u32) {
    if record.original.decision == Decision::Opaque as u8 {
        let _never_established = OPEN.remove(record.original.cookie);
    }
    let (client_addr_be, client_port_be) = client(ctx, &record.original);
    // SAFETY: context fields, read at constant offsets.
    let (closing, srtt_8us, retransmits) = unsafe {
        let closing = ClosingCounters {
            acked: (*ctx.ops).bytes_acked,
            accepted: record.original.flags & flags::INBOUND != 0,
            received: (*ctx.ops).bytes_received,
            received_at_fin_wait2: record.received_at_fin_wait2,
            last_state,
            all_acked: (*ctx.ops).snd_una == (*ctx.ops).snd_nxt,
        };
        (closing, (*ctx.ops).srtt_us, (*ctx.ops).total_retrans)
    };
    let (sent_by_bypass, received_by_bypass) = rendezvous::redirected_bytes(sk);
    let Some(mut entry) = reserve_closed() else {
        count(Counter::SockOpsEventLost);
        return;
    };
    entry.write(Closed {
        original: record.original,
        client_addr_be,
        // SAFETY: the helper has no preconditions.
        closed_ns: unsafe { bpf_ktime_get_ns() },
        counters: SocketCounters {
            sent_bytes: closing.sent_payload() + sent_by_bypass,
            received_bytes: closing.received_payload() + received_by_bypass,
            srtt_us: srtt_8us / SRTT_UNITS,
            retransmits,
        },
        client_port_be,
        established: record.established,
        last_state: last_state as u8,
        error: socket_error(sk),
    });
    entry.submit(wakeup());
    count(Counter::SockOpsCloseReported);
}

/// What the network did to a socket (`sk_err`); 0 also where this kernel does not say.
#[inline(always)]
fn socket_error(sk: *mut bpf_sock) -> u32 {
    let offset = SOCK_ERR.load();
    if offset == 0 { 0 } else { TcpSock::of(sk).map_or(0, |tcp| tcp.read(offset)) }
}

/// The kernel's smoothed round-trip time is in eighths of a microsecond.
const SRTT_UNITS: u32 = 8;

/// Whether to wake the reader: it looks by itself now and then, and is woken when there is much.
/// A wake-up for each would cost a connection more than anything else does.
#[inline(always)]
fn wakeup() -> u64 {
    let much = u64::from(EVENTS_BYTES) / 2;
    let flag =
        if EVENTS.query(BPF_RB_AVAIL_DATA.into()) > much { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    flag.into()
}

/// Where this kernel has `sock.sk_err`, bytes from the start of a `tcp_sock`; set by the loader, from the
/// kernel's BTF. Zero, where it never is, says that it is not known.
#[unsafe(no_mangle)]
static SOCK_ERR: Global<u32> = Global::new(0);
