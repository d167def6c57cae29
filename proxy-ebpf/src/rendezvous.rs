//! How the two ends of a connection between workloads of one node find each other, in `sock_ops`.
//!
//! ```text
//! client                                          server
//! TCP_CONNECT   RENDEZVOUS[source] = client
//!                                    ── SYN ───►  RWND_INIT: is there one? then it is answered
//! ACTIVE_ESTABLISHED  ◄── SYN+ACK ──
//!   answered: joins BYPASS_SOCKETS
//!                                    ── ACK ───►  PASSIVE_ESTABLISHED: the same sequence number?
//!                                                 BYPASSED[client] = both; joins BYPASS_SOCKETS
//! ```
//!
//! The answer comes before the client joins, because the kernel lets a client join at no later event, and
//! membership alone has a price. Fails open: whatever fails, the connection is an ordinary one.

use aya_ebpf::{
    EbpfContext as _, Global,
    bindings::{BPF_ANY, BPF_EXIST, BPF_NOEXIST, BPF_SOCK_OPS_STATE_CB_FLAG, bpf_sock},
    helpers::{bpf_get_socket_cookie, generated::bpf_map_delete_elem},
    programs::SockOpsContext,
};
use proxy_common::{
    BypassEnd, BypassKey, Bypassed, Counter, Decision, Direction, LocalSocket, Rendezvous, RendezvousKey,
    flags, tcp_state,
};

use crate::{
    maps::{BYPASS_SOCKETS, BYPASSED, HALF_CLOSED, INBOUND, RENDEZVOUS, WORKLOADS, count, settings},
    rules::{heartbeat_is_fresh, rule, skips_peer},
    sock::{TcpSock, bypass_end, forget_bypass_end, join, set_bypass_end, tracked},
    sock_ops::{first_seq, local_end, netns_cookie, remote_end},
};

/// Where this kernel has `tcp_sock.is_mptcp`; set by the loader, from the kernel's BTF, where that knows it.
#[unsafe(no_mangle)]
static TCP_IS_MPTCP: Global<u32> = Global::new(u32::MAX);

/// What the kernel says of a key that is there already.
const EEXIST: i32 = -17;

/// Whether any connection may be bypassed.
#[inline(always)]
fn is_on() -> bool {
    settings().is_some_and(|settings| settings.same_node_bypass != 0)
}

/// A client's SYN is about to leave.
#[inline(never)]
pub(crate) fn connecting(ctx: &SockOpsContext, sk: *mut bpf_sock) {
    if !is_on() {
        return;
    }
    if let Some(end) = bypass_end(sk) {
        // It had a connection before (connect(2) to AF_UNSPEC), and what is left of that in the fast lane must
        // not be read as this one's.
        let mut cookie = end.key.client_cookie;
        forget_bypass_end(sk);
        leave(&mut cookie);
    }
    let Some(record) = tracked(sk) else { return };
    let may_be = record.flags & flags::SAME_NODE_BYPASS != 0
        && record.listener_port_be == 0
        && record.original.flags & flags::CLIENT == 0
        && record.original.decision == Decision::Opaque as u8;
    // Without the agent nobody accounts for it.
    if !may_be || is_mptcp(sk) || !heartbeat_is_fresh() {
        return;
    }
    let client = LocalSocket { cookie: record.original.cookie, address: sk as u64 };
    let connected_ns = record.original.created_ns;
    let mut end = BypassEnd { key: BypassKey { client_cookie: client.cookie, connected_ns }, is_server: 0 };
    let rendezvous = Rendezvous { client, connected_ns, first_seq: 0, answered: 0 };
    // The end first: by it the record is taken back.
    if set_bypass_end(sk, &mut end) {
        let _full = RENDEZVOUS.insert(key(local_end(ctx)), rendezvous, u64::from(BPF_ANY));
    }
}

/// A SYN has come to a listener; there is no socket yet.
#[inline(never)]
pub(crate) fn syn_received(ctx: &SockOpsContext) {
    if !is_on() {
        return;
    }
    let Some(rendezvous) = RENDEZVOUS.get_ptr_mut(key(remote_end(ctx))) else { return };
    if may_be_server(ctx) {
        // SAFETY: not null. Whoever has the entry by now: it is a hint, and nothing rests on it.
        unsafe { (*rendezvous).answered = 1 };
        count(Counter::SockOpsBypassAnswered);
    }
}

/// Whether connections to this listener may be bypassed. One that is to be skipped is never touched; one that
/// is to be inspected would have gone to the proxy, if that lived.
#[inline(always)]
fn may_be_server(ctx: &SockOpsContext) -> bool {
    // SAFETY: the value is copied at once.
    let Some(workload_id) = (unsafe { INBOUND.get(netns_cookie(ctx)) }).copied() else { return false };
    // SAFETY: the value is copied at once.
    let Some(workload) = (unsafe { WORKLOADS.get(workload_id) }).copied() else { return false };
    let (peer_be, _) = remote_end(ctx);
    let port = ctx.local_port() as u16;
    workload.flags & flags::SAME_NODE_BYPASS != 0
        && rule(workload_id, &workload, Direction::Inbound, port).decision() != Decision::Skip
        && !skips_peer(workload_id, &workload, peer_be)
}

/// A client's end is established, and its ACK has not left.
#[inline(never)]
pub(crate) fn client_established(ctx: &SockOpsContext, sk: *mut bpf_sock) {
    let Some(end) = bypass_end(sk) else { return };
    let first_seq = first_seq(ctx);
    let client_cookie = end.key.client_cookie;
    let at = key(local_end(ctx));
    // SAFETY: the value is copied at once.
    let rendezvous = unsafe { RENDEZVOUS.get(at) }.copied();
    // Another client of the same address, in another namespace, may have put its own in place of ours.
    let Some(ours) = rendezvous.filter(|rendezvous| rendezvous.client.cookie == client_cookie) else {
        forget_bypass_end(sk);
        return;
    };
    // As a whole, so that no client's socket is ever seen with another's number.
    let established = Rendezvous { first_seq, ..ours };
    if ours.answered == 0 || RENDEZVOUS.insert(at, established, u64::from(BPF_EXIST)).is_err() {
        let _already_gone = RENDEZVOUS.remove(at);
        forget_bypass_end(sk);
    } else if !join(ctx, &BYPASS_SOCKETS, client_cookie, BPF_ANY) {
        count(Counter::SockOpsBypassFailed);
    }
}

/// A server's end is established, before its client can have sent anything by the fast lane.
#[inline(never)]
pub(crate) fn server_established(ctx: &SockOpsContext, sk: *mut bpf_sock) {
    if !is_on() {
        return;
    }
    let key = key(remote_end(ctx));
    // SAFETY: the value is copied at once.
    let Some(rendezvous) = (unsafe { RENDEZVOUS.get(key) }).copied() else { return };
    // SAFETY: a context field, read at a constant offset. The SYN has been received, and nothing else.
    let first_seq = unsafe { (*ctx.ops).rcv_nxt };
    if rendezvous.answered == 0 || rendezvous.first_seq != first_seq {
        return;
    }
    // The kernel may give the memory of an entry that is removed to another one at once, while it is copied.
    // SAFETY: the value is compared at once.
    if unsafe { RENDEZVOUS.get(key) } != Some(&rendezvous) {
        return;
    }
    count(if pair(ctx, sk, key, &rendezvous) {
        Counter::SockOpsBypassPaired
    } else {
        Counter::SockOpsBypassFailed
    });
}

/// Makes the two one connection.
#[inline(always)]
fn pair(ctx: &SockOpsContext, sk: *mut bpf_sock, at: RendezvousKey, rendezvous: &Rendezvous) -> bool {
    // Its end must be told of, or the entry would stay.
    if is_mptcp(sk) || ctx.set_cb_flags(ctx.cb_flags() as i32 | BPF_SOCK_OPS_STATE_CB_FLAG as i32).is_err() {
        return false;
    }
    // SAFETY: the helper takes this hook's context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let client = rendezvous.client;
    let key = BypassKey { client_cookie: client.cookie, connected_ns: rendezvous.connected_ns };
    let connection = Bypassed {
        client,
        server: LocalSocket { cookie, address: sk as u64 },
        client_redirected_bytes: 0,
        server_redirected_bytes: 0,
    };
    if BYPASSED.insert(key, connection, u64::from(BPF_NOEXIST)).is_err() {
        return false;
    }
    // In this order: a client that closes meanwhile has either taken the record back, or finds the connection.
    if RENDEZVOUS.remove(at).is_err() || !set_bypass_end(sk, &mut BypassEnd { key, is_server: 1 }) {
        let _nobody_has_it = BYPASSED.remove(key);
        return false;
    }
    join(ctx, &BYPASS_SOCKETS, cookie, BPF_ANY)
}

/// Where a socket is closed, the last one of a connection takes that with it.
#[inline(never)]
pub(crate) fn state_changed(ctx: &SockOpsContext, sk: *mut bpf_sock) {
    if ctx.arg(1) != tcp_state::CLOSE {
        return;
    }
    let Some(end) = bypass_end(sk) else { return };
    if end.is_server == 0 {
        let at = key(local_end(ctx));
        // SAFETY: the value is read at once.
        let is_ours = unsafe { RENDEZVOUS.get(at) }
            .is_some_and(|rendezvous| rendezvous.client.cookie == end.key.client_cookie);
        if is_ours && RENDEZVOUS.remove(at).is_ok() {
            return;
        }
    }
    // SAFETY: only whether there is a value is asked.
    if unsafe { BYPASSED.get(end.key) }.is_none() {
        return;
    }
    // Not sooner: the other end may be looking at the entry, and the kernel gives its memory away at once.
    if HALF_CLOSED.insert(end.key, 1, u64::from(BPF_NOEXIST)) == Err(EEXIST) {
        let _already_gone = BYPASSED.remove(end.key);
        let _already_gone = HALF_CLOSED.remove(end.key);
    }
}

/// Bytes that this end sent by the fast lane, and that came to it by that.
#[inline(always)]
pub(crate) fn redirected_bytes(sk: *mut bpf_sock) -> (u64, u64) {
    let Some(end) = bypass_end(sk) else { return (0, 0) };
    // SAFETY: the value is read at once.
    let Some(connection) = (unsafe { BYPASSED.get(end.key) }) else { return (0, 0) };
    let (client, server) = (connection.client_redirected_bytes, connection.server_redirected_bytes);
    if end.is_server == 0 { (client, server) } else { (server, client) }
}

/// Takes a socket out of `BYPASS_SOCKETS`, and what is in its fast lane with it.
#[inline(always)]
fn leave(cookie: &mut u64) {
    // SAFETY: the helper takes a key on this program's stack.
    let _not_there = unsafe {
        bpf_map_delete_elem(
            core::ptr::from_ref(&BYPASS_SOCKETS).cast_mut().cast(),
            core::ptr::from_mut(cookie).cast(),
        )
    };
}

#[inline(always)]
fn key((addr_be, port_be): ([u8; 16], u16)) -> RendezvousKey {
    RendezvousKey { addr_be, port_be }
}

/// Whether the socket is a subflow of MPTCP, which takes bytes out of TCP's queue by itself.
#[inline(always)]
fn is_mptcp(sk: *mut bpf_sock) -> bool {
    let offset = TCP_IS_MPTCP.load();
    if offset == u32::MAX {
        return false;
    }
    TcpSock::of(sk).is_none_or(|tcp| tcp.read::<u8>(offset) != 0)
}
