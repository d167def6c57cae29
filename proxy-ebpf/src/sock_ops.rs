//! `sock_ops`: hands the original destination over, and watches for the end of a connection.
//!
//! Fails open for connections that are skipped or on the kernel path (their close goes unreported). For redirected ones a failure
//! to hand over is counted and the proxy resets that one connection: a destination is never guessed.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_ANY, BPF_NOEXIST, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
        BPF_SOCK_OPS_RWND_INIT, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG,
        BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_SOCK_OPS_TCP_LISTEN_CB, bpf_sock,
    },
    helpers::{bpf_ktime_get_ns, generated::bpf_get_netns_cookie},
    macros::sock_ops,
    programs::SockOpsContext,
};
use proxy_common::{
    Counter, Direction, HandoffKey, Lane, LaneState, OriginalDst, Tracked, flags, is_loopback, is_v4_mapped,
    map_v4, tcp_state,
};

use crate::{
    kernel_path, listening,
    log::log_warn,
    maps::{CLIENT_SOCKETS, HANDOFF, INBOUND, LANES, PROXY_SOCKETS, WORKLOADS, count},
    rendezvous,
    rules::rule,
    sock::{self, context_words, join, tracked},
};

/// Returned to the kernel; leaves the kernel's own choices (timeouts, windows) as they are.
pub(crate) const OK: u32 = 1;
const AF_INET: u32 = 2;

// The programs only tell events apart, and leave the stack, 512 bytes of all calls together, to the functions
// that they call.

/// Every event of the TCP sockets in an enrolled cgroup.
#[sock_ops]
pub(crate) fn sock_ops(ctx: SockOpsContext) -> u32 {
    let Some(sk) = socket(&ctx) else {
        // A request: there is no socket before the handshake is over.
        if ctx.op() == BPF_SOCK_OPS_RWND_INIT {
            rendezvous::syn_received(&ctx);
        }
        return OK;
    };
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => {
            rendezvous::connecting(&ctx, sk);
            connecting(&ctx, sk);
        }
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => {
            established(&ctx, sk);
            rendezvous::client_established(&ctx, sk);
        }
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => {
            if !accepted(&ctx, sk, flags::CLIENT) {
                let source = kernel_path::accepted_by(&ctx);
                if source != 0
                    && kernel_path::watch(&ctx, sk, source)
                    && let Some(record) = tracked(sk)
                {
                    kernel_path::opened(&ctx, &record.original);
                }
            }
            rendezvous::server_established(&ctx, sk);
        }
        BPF_SOCK_OPS_TCP_LISTEN_CB => listening::began(&ctx, sk),
        BPF_SOCK_OPS_STATE_CB if ctx.arg(0) == tcp_state::LISTEN => listening::ended(&ctx, sk),
        BPF_SOCK_OPS_STATE_CB => {
            state_changed(&ctx, sk);
            rendezvous::state_changed(&ctx, sk);
        }
        _ => {}
    }
    OK
}

/// Every event of a proxy's own TCP sockets: its listeners' children, and those to applications.
#[sock_ops]
pub(crate) fn sock_ops_proxy(ctx: SockOpsContext) -> u32 {
    let Some(sk) = socket(&ctx) else { return OK };
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => connecting(&ctx, sk),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => established(&ctx, sk),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => accepted_by_proxy(&ctx, sk),
        BPF_SOCK_OPS_STATE_CB => state_changed(&ctx, sk),
        _ => {}
    }
    OK
}

#[inline(always)]
fn socket(ctx: &SockOpsContext) -> Option<*mut bpf_sock> {
    // SAFETY: a context field, read at a constant offset.
    let sk = unsafe { (*ctx.ops).__bindgen_anon_2.sk };
    if sk.is_null() { None } else { Some(sk) }
}

/// The SYN is about to leave.
#[inline(always)]
fn connecting(ctx: &SockOpsContext, sk: *mut bpf_sock) {
    if tracked(sk).is_some()
        && ctx.set_cb_flags(ctx.cb_flags() as i32 | BPF_SOCK_OPS_STATE_CB_FLAG as i32).is_err()
    {
        count(Counter::SockOpsCallbackFailed);
    }
}

/// The client's end is established, and the ACK that establishes the other end has not left: the
/// record is there before anyone can accept.
#[inline(never)]
fn established(ctx: &SockOpsContext, sk: *mut bpf_sock) {
    let Some(record) = tracked(sk) else { return };
    record.established = 1;
    if record.listener_port_be == 0 {
        kernel_path::opened(ctx, &record.original);
        return;
    }
    record.first_seq = first_seq(ctx);
    let original = &record.original;
    if HANDOFF.insert(local_key(ctx, record.first_seq), original, u64::from(BPF_ANY)).is_err() {
        count(Counter::SockOpsHandoffFailed);
        log_warn!(ctx, "the hand-over map is full: one connection will be reset");
    } else {
        count(Counter::SockOpsHandedOver);
    }
    if record.lane != LaneState::Undecided as u8 {
        return;
    }
    if join(ctx, &CLIENT_SOCKETS, record.original.cookie, BPF_ANY) {
        count(Counter::SockOpsClientEnrolled);
    } else {
        record.lane = LaneState::Native as u8;
        count(Counter::SockOpsClientEnrolFailed);
    }
}

/// An accepted socket is established: takes its client's record over, before the client can have sent
/// anything, and before another client can have the same address and port. `false` where there is none.
///
/// An outbound connection's record says where the client meant to connect, and the accepted socket is
/// the proxy's; an inbound one's says who the client is (`CLIENT`), and the socket is the application's.
/// Runs where the listener was opened in a cgroup that this program is attached to.
#[inline(never)]
fn accepted(ctx: &SockOpsContext, sk: *mut bpf_sock, may_be: u32) -> bool {
    let key = remote_key(ctx);
    // SAFETY: the value is copied at once.
    let Some(mut original) = (unsafe { HANDOFF.get(key) }).copied() else { return false };
    if original.flags & flags::CLIENT & !may_be != 0 {
        // The proxy has reached itself; without a record it turns that away.
        return true;
    }
    if sock::accept(sk, &mut original) && HANDOFF.remove(key).is_ok() {
        count(Counter::SockOpsAccepted);
    } else {
        count(Counter::SockOpsAcceptFailed);
    }
    if original.flags & flags::SK_MSG != 0 {
        open_lane(ctx, &original);
    }
    true
}

/// A child of one of the proxy's listeners: its client came by a hook, or `sk_lookup` brought it.
#[inline(always)]
fn accepted_by_proxy(ctx: &SockOpsContext, sk: *mut bpf_sock) {
    if !accepted(ctx, sk, 0) {
        accepted_inbound(ctx, sk);
    }
}

/// The proxy has accepted a connection that `sk_lookup` brought: notes where it was to go, which is the
/// socket's own address, and what the port config says.
#[inline(never)]
fn accepted_inbound(ctx: &SockOpsContext, sk: *mut bpf_sock) {
    let (addr_be, port_be) = local_end(ctx);
    if is_loopback(&addr_be) {
        // A client that came to the listener itself.
        return;
    }
    // SAFETY: the value is copied at once.
    let Some(workload_id) = (unsafe { INBOUND.get(netns_cookie(ctx)) }).copied() else { return };
    // SAFETY: the value is copied at once.
    let Some(workload) = (unsafe { WORKLOADS.get(workload_id) }).copied() else { return };
    let rule = rule(workload_id, &workload, Direction::Inbound, u16::from_be(port_be));
    let mut original = OriginalDst {
        addr_be,
        port_be,
        decision: rule.decision,
        source: rule.source,
        flags: flags::INBOUND,
        cookie: 0,
        workload: workload_id,
        // SAFETY: the helper has no preconditions.
        created_ns: unsafe { bpf_ktime_get_ns() },
    };
    if sock::accept(sk, &mut original) {
        count(Counter::SockOpsInbound);
    } else {
        count(Counter::SockOpsAcceptFailed);
    }
}

/// Lets the client's sends travel by `sk_msg`.
#[inline(always)]
fn open_lane(ctx: &SockOpsContext, original: &OriginalDst) {
    let cookie = original.cookie;
    // The lane last: its presence promises that the socket is there.
    if join(ctx, &PROXY_SOCKETS, cookie, BPF_NOEXIST)
        && LANES.insert(cookie, Lane { consumed_bytes: 0 }, u64::from(BPF_NOEXIST)).is_ok()
    {
        count(Counter::SockOpsProxyEnrolled);
    } else {
        count(Counter::SockOpsProxyEnrolFailed);
    }
}

#[inline(never)]
fn state_changed(ctx: &SockOpsContext, sk: *mut bpf_sock) {
    let (old_state, new_state) = (ctx.arg(0), ctx.arg(1));
    if new_state != tcp_state::CLOSE && new_state != tcp_state::FIN_WAIT2 {
        return;
    }
    let Some(record) = tracked(sk) else { return };
    if new_state == tcp_state::FIN_WAIT2 {
        // SAFETY: a context field, read at a constant offset.
        record.received_at_fin_wait2 = unsafe { (*ctx.ops).bytes_received };
        return;
    }
    if record.listener_port_be == 0 {
        kernel_path::closed(ctx, sk, record, old_state);
        return;
    }
    // The accepted end has taken the record over, unless there never was one: the listener's queue was
    // full until the client gave up.
    collect(ctx, record);
    if record.original.flags & flags::SK_MSG != 0 {
        // Nobody sends on a closed socket, so this takes no lane from anybody.
        let _already_gone = LANES.remove(record.original.cookie);
    }
}

/// Takes back a record that nobody has taken over.
#[inline(always)]
fn collect(ctx: &SockOpsContext, record: &Tracked) {
    if record.established != 0 && HANDOFF.remove(local_key(ctx, record.first_seq)).is_ok() {
        count(Counter::SockOpsCollected);
    }
}

/// Sequence number of a client's first byte of payload, when its end has just been established.
#[inline(always)]
pub(crate) fn first_seq(ctx: &SockOpsContext) -> u32 {
    // Not snd_nxt: the SYN may have carried payload (TCP Fast Open). `bytes_acked` counts the SYN.
    // SAFETY: context fields, read at constant offsets.
    let (una, acked) = unsafe { ((*ctx.ops).snd_una, (*ctx.ops).bytes_acked) };
    una.wrapping_sub(acked as u32).wrapping_add(1)
}

/// The hand-over key of the client's own end.
#[inline(always)]
fn local_key(ctx: &SockOpsContext, first_seq: u32) -> HandoffKey {
    let (addr_be, port_be) = local_end(ctx);
    HandoffKey { netns_cookie: netns_cookie(ctx), addr_be, port_be, pad: 0, first_seq }
}

/// The hand-over key of the client, seen from the accepted end.
#[inline(always)]
fn remote_key(ctx: &SockOpsContext) -> HandoffKey {
    let (addr_be, port_be) = remote_end(ctx);
    // SAFETY: a context field, read at a constant offset. The SYN has been received, and nothing else.
    let first_seq = unsafe { (*ctx.ops).rcv_nxt };
    HandoffKey { netns_cookie: netns_cookie(ctx), addr_be, port_be, pad: 0, first_seq }
}

/// The socket's own address and port, in network byte order.
#[inline(always)]
pub(crate) fn local_end(ctx: &SockOpsContext) -> ([u8; 16], u16) {
    let addr_be =
        if is_v4(ctx) { map_v4(ctx.local_ip4().to_ne_bytes()) } else { context_words!(ctx.ops, local_ip6) };
    // The kernel shows the local port in host byte order.
    (addr_be, (ctx.local_port() as u16).to_be())
}

/// The peer's address and port, in network byte order.
#[inline(always)]
pub(crate) fn remote_end(ctx: &SockOpsContext) -> ([u8; 16], u16) {
    let addr_be =
        if is_v4(ctx) { map_v4(ctx.remote_ip4().to_ne_bytes()) } else { context_words!(ctx.ops, remote_ip6) };
    // The kernel shows the remote port in network byte order, as a word.
    (addr_be, (u32::from_be(ctx.remote_port()) as u16).to_be())
}

/// Whether the connection itself is IPv4: an AF_INET6 socket's can be.
///
/// Not by `remote_ip4`: the kernel fills it with 127.0.0.6 for accepted IPv6 sockets.
#[inline(always)]
fn is_v4(ctx: &SockOpsContext) -> bool {
    ctx.family() == AF_INET || is_v4_mapped(&context_words!(ctx.ops, remote_ip6))
}

#[inline(always)]
pub(crate) fn netns_cookie(ctx: &SockOpsContext) -> u64 {
    // SAFETY: the helper takes this hook's context.
    unsafe { bpf_get_netns_cookie(ctx.as_ptr()) }
}
