//! `getpeername4` and `getpeername6`: the application sees the address it asked for, and of a
//! connection that it accepts, its client's. accept(2) tells the same (`inet_getname`, Linux 6.18).
//!
//! Fail open: without a record the kernel's own answer stands.

use aya_ebpf::{bindings::bpf_sock_addr, macros::cgroup_sock_addr, programs::SockAddrContext};
use proxy_common::Counter;

use crate::{
    maps::count,
    sock::{accepted, set_context_words, tracked},
};

/// Returned to the kernel; these hooks may return nothing else.
const ALLOW: i32 = 1;

/// getpeername(2) on an AF_INET socket.
#[cgroup_sock_addr(getpeername4)]
pub(crate) fn getpeername4(ctx: SockAddrContext) -> i32 {
    restore(&ctx, |addr_be, context| {
        let [.., a, b, c, d] = addr_be;
        // SAFETY: a writable context field, written at a constant offset.
        unsafe { (*context).user_ip4 = u32::from_ne_bytes([a, b, c, d]) };
    })
}

/// getpeername(2) on an AF_INET6 socket.
#[cgroup_sock_addr(getpeername6)]
pub(crate) fn getpeername6(ctx: SockAddrContext) -> i32 {
    restore(&ctx, |addr_be, context| set_context_words!(context, user_ip6, addr_be))
}

#[inline(always)]
fn restore(ctx: &SockAddrContext, rewrite: impl FnOnce([u8; 16], *mut bpf_sock_addr)) -> i32 {
    let context = ctx.sock_addr;
    // SAFETY: a context field, read at a constant offset.
    let sk = unsafe { (*context).__bindgen_anon_1.sk };
    if sk.is_null() {
        return ALLOW;
    }
    let (addr_be, port_be) = match tracked(sk) {
        Some(record) if record.listener_port_be == 0 => return ALLOW,
        Some(record) => (record.original.addr_be, record.original.port_be),
        None => match accepted(sk) {
            Some(client) => (client.addr_be, client.port_be),
            None => return ALLOW,
        },
    };
    rewrite(addr_be, context);
    // SAFETY: a writable context field, written at a constant offset.
    unsafe { (*context).user_port = u32::from(port_be) };
    count(Counter::GetpeernameRestored);
    ALLOW
}
