//! `getsockopt`: SO_ORIGINAL_DST and its IPv6 twin, so that any proxy that knows them can stand
//! behind this dataplane. Attached to that proxy's cgroup, as is `sock_ops`: the proxy must have opened
//! its listener in there.
//!
//! Fail open: without a record the kernel's own answer stands (ENOENT, from the NAT that is not there).

use aya_ebpf::{macros::cgroup_sockopt, programs::SockoptContext};
use proxy_common::Counter;

use crate::{maps::count, sock::accepted};

/// Returned to the kernel: the answer in the context stands.
const ANSWER: i32 = 1;

const SOL_IP: i32 = 0;
const SOL_IPV6: i32 = 41;
/// SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST, `linux/netfilter_ipv4.h`.
const ORIGINAL_DST: i32 = 80;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// `struct sockaddr_in`; port and address in network byte order.
#[repr(C)]
struct SockaddrIn {
    family: u16,
    port_be: u16,
    addr_be: [u8; 4],
    zero: [u8; 8],
}

/// `struct sockaddr_in6`; port and address in network byte order.
#[repr(C)]
struct SockaddrIn6 {
    family: u16,
    port_be: u16,
    flowinfo: u32,
    addr_be: [u8; 16],
    scope_id: u32,
}

/// getsockopt(2) of the foreign proxy, on a connection that it has accepted.
#[cgroup_sockopt(getsockopt)]
pub(crate) fn getsockopt(ctx: SockoptContext) -> i32 {
    let context = ctx.sockopt;
    // SAFETY: context fields, read at constant offsets.
    let (level, optname, sk) =
        unsafe { ((*context).level, (*context).optname, (*context).__bindgen_anon_1.sk) };
    if optname != ORIGINAL_DST || (level != SOL_IP && level != SOL_IPV6) || sk.is_null() {
        return ANSWER;
    }
    let Some(original) = accepted(sk) else {
        count(Counter::GetsockoptMissing);
        return ANSWER;
    };
    let [.., a, b, c, d] = original.addr_be;
    let answered = if level == SOL_IP {
        let v4 =
            SockaddrIn { family: AF_INET, port_be: original.port_be, addr_be: [a, b, c, d], zero: [0; 8] };
        answer(&ctx, v4)
    } else {
        let v6 = SockaddrIn6 {
            family: AF_INET6,
            port_be: original.port_be,
            flowinfo: 0,
            addr_be: original.addr_be,
            scope_id: 0,
        };
        answer(&ctx, v6)
    };
    count(if answered { Counter::GetsockoptAnswered } else { Counter::GetsockoptShortBuffer });
    ANSWER
}

/// Writes the answer and its length; `false` where the caller's buffer is too short.
#[inline(always)]
fn answer<T>(ctx: &SockoptContext, address: T) -> bool {
    let context = ctx.sockopt;
    // SAFETY: context fields, read at constant offsets.
    let (optval, optval_end) =
        unsafe { ((*context).__bindgen_anon_2.optval, (*context).__bindgen_anon_3.optval_end) };
    if optval as usize + size_of::<T>() > optval_end as usize {
        return false;
    }
    // SAFETY: the bounds were checked just above; the buffer has no alignment to rely on.
    unsafe { optval.cast::<T>().write_unaligned(address) };
    // SAFETY: writable context fields, written at constant offsets.
    unsafe {
        (*context).optlen = size_of::<T>() as i32;
        (*context).retval = 0;
    }
    true
}
