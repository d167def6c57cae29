//! Where applications listen: what `sock_ops` is told as they begin and end to.
//!
//! Fails open: a place that is not noted is not brought to the proxy, until the agent's next look.

use aya_ebpf::{
    EbpfContext as _, Global,
    bindings::{BPF_ANY, BPF_SOCK_OPS_STATE_CB_FLAG, bpf_sock},
    helpers::bpf_get_socket_cookie,
    programs::SockOpsContext,
};
use proxy_common::{Counter, ListenKey, UNSPECIFIED_V4_MAPPED, UNSPECIFIED_V6, is_loopback, map_v4};

use crate::{
    maps::{INBOUND, LISTENING, count},
    sock::{TcpSock, context_words},
    sock_ops::netns_cookie,
};

const AF_INET: u32 = 2;

/// Where this kernel has the byte with `sock_common.skc_ipv6only`, and its bit; set by the loader, from
/// the kernel's BTF. A `tcp_sock` begins with that struct. Without it no bit is looked at.
#[unsafe(no_mangle)]
static SOCK_IPV6ONLY: Global<u32> = Global::new(0);
#[unsafe(no_mangle)]
static SOCK_IPV6ONLY_BIT: Global<u32> = Global::new(u32::MAX);

/// listen(2) has succeeded.
#[inline(always)]
pub(crate) fn began(ctx: &SockOpsContext, sk: *mut bpf_sock) {
    let Some(places) = Places::of(ctx, sk) else { return };
    // Its end is told of only if this is asked for.
    if ctx.set_cb_flags(ctx.cb_flags() as i32 | BPF_SOCK_OPS_STATE_CB_FLAG as i32).is_err() {
        count(Counter::SockOpsCallbackFailed);
        return;
    }
    // SAFETY: the helper takes this hook's context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    places.for_each(|place| {
        if LISTENING.insert(place, cookie, u64::from(BPF_ANY)).is_err() {
            count(Counter::SockOpsListenFailed);
        }
    });
}

/// A listener is closed.
#[inline(always)]
pub(crate) fn ended(ctx: &SockOpsContext, sk: *mut bpf_sock) {
    let Some(places) = Places::of(ctx, sk) else { return };
    // SAFETY: the helper takes this hook's context.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    places.for_each(|place| {
        // Another socket that listens there as well (SO_REUSEPORT) has put its own in place of ours. Where
        // it was before ours, the agent's next look finds it.
        // SAFETY: the value is read at once.
        let is_ours = unsafe { LISTENING.get(place) }.is_some_and(|last| *last == cookie || *last == 0);
        if is_ours {
            let _already_gone = LISTENING.remove(place);
        }
    });
}

/// The places that one socket listens at: `::` is also every IPv4 address, unless the socket says no.
struct Places {
    first: ListenKey,
    also_v4: bool,
}

impl Places {
    /// `None` where nobody brings connections to the proxy, or none can come from elsewhere.
    #[inline(always)]
    fn of(ctx: &SockOpsContext, sk: *mut bpf_sock) -> Option<Self> {
        let netns_cookie = netns_cookie(ctx);
        // SAFETY: only whether there is a value is asked.
        unsafe { INBOUND.get(netns_cookie) }?;
        let is_inet = ctx.family() == AF_INET;
        let addr_be =
            if is_inet { map_v4(ctx.local_ip4().to_ne_bytes()) } else { context_words!(ctx.ops, local_ip6) };
        // A listener that is bound to a device would not get what the proxy sends it by lo.
        // SAFETY: the verifier knows `sk` as a socket; the caller has checked that it is not null.
        if is_loopback(&addr_be) || unsafe { (*sk).bound_dev_if } != 0 {
            return None;
        }
        // The kernel shows the local port in host byte order.
        let first = ListenKey::new(netns_cookie, addr_be, (ctx.local_port() as u16).to_be());
        let also_v4 = !is_inet && addr_be == UNSPECIFIED_V6 && !is_ipv6_only(sk);
        Some(Self { first, also_v4 })
    }

    #[inline(always)]
    fn for_each(&self, mut act: impl FnMut(ListenKey)) {
        act(self.first);
        if self.also_v4 {
            act(ListenKey { addr_be: UNSPECIFIED_V4_MAPPED, ..self.first });
        }
    }
}

/// Whether an AF_INET6 socket takes no IPv4 (IPV6_V6ONLY); also where the kernel does not say.
#[inline(always)]
fn is_ipv6_only(sk: *mut bpf_sock) -> bool {
    let bit = SOCK_IPV6ONLY_BIT.load();
    if bit > 7 {
        return true;
    }
    TcpSock::of(sk).is_none_or(|tcp| tcp.read::<u8>(SOCK_IPV6ONLY.load()) & (1 << bit) != 0)
}
