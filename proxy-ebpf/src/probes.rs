//! The kubelet's own connections: `sock_ops` at its cgroup notes them, so that `sk_lookup` lets its
//! probes pass. By socket, not by address: what else comes from the node goes through the proxy.
//!
//! Fails open: a probe that is not noted goes through the proxy, which answers as the application does.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB},
    macros::sock_ops,
    programs::SockOpsContext,
};
use proxy_common::{Counter, ProbeKey, tcp_state};

use crate::{
    maps::{PROBES, count},
    sock_ops::{OK, local_end, remote_end},
};

/// Every event of the TCP sockets in the kubelet's cgroup.
#[sock_ops]
pub(crate) fn sock_ops_kubelet(ctx: SockOpsContext) -> u32 {
    match ctx.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => began(&ctx),
        BPF_SOCK_OPS_STATE_CB if ctx.arg(1) == tcp_state::CLOSE => {
            let _never_there = PROBES.remove(key(&ctx));
        }
        _ => {}
    }
    OK
}

/// The SYN is about to leave, and the source port is known.
#[inline(always)]
fn began(ctx: &SockOpsContext) {
    if ctx.set_cb_flags(ctx.cb_flags() as i32 | BPF_SOCK_OPS_STATE_CB_FLAG as i32).is_err()
        || PROBES.insert(key(ctx), 1, u64::from(BPF_ANY)).is_err()
    {
        count(Counter::SockOpsProbeFailed);
    }
}

/// Whether this connection is one of the kubelet's; addresses and ports are in network byte order.
///
/// A function of its own: its key would be too much for the stack of some that ask.
#[inline(never)]
pub(crate) fn is_one(source_be: &[u8; 16], source_port_be: u16, dst_be: &[u8; 16], dst_port_be: u16) -> bool {
    let key = &ProbeKey { source_be: *source_be, dst_be: *dst_be, source_port_be, dst_port_be };
    // SAFETY: only whether there is a value is asked.
    unsafe { PROBES.get(key) }.is_some()
}

#[inline(always)]
fn key(ctx: &SockOpsContext) -> ProbeKey {
    let ((source_be, source_port_be), (dst_be, dst_port_be)) = (local_end(ctx), remote_end(ctx));
    ProbeKey { source_be, dst_be, source_port_be, dst_port_be }
}
