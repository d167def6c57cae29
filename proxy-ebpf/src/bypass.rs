//! `sk_msg_bypass`: a send travels straight to the receive queue of the other end, on the same node.
//!
//! Runs on the sockets in `BYPASS_SOCKETS`. A receiver reads what was redirected before what is in its TCP
//! queue. So a connection has two lanes, and a send takes the fast one only when the receiver has read every
//! byte of the slow one. Fails open: everything else is SK_PASS, which is TCP, and in order after either.

use aya_ebpf::{
    Global,
    bindings::{BPF_F_INGRESS, bpf_sock, sk_action::SK_PASS},
    helpers::bpf_probe_read_kernel,
    macros::sk_msg,
    programs::SkMsgContext,
};
use proxy_common::{Counter, LocalSocket, bypass_queue_limit, tcp_state};

use crate::{
    maps::{BYPASS_SOCKETS, BYPASSED, count, settings},
    sk_msg::{TCP_ULP_OPS, next_byte},
    sock::bypass_end,
};

/// Where this kernel has `tcp_sock.copied_seq`; set by the loader, from the kernel's BTF.
#[unsafe(no_mangle)]
static TCP_COPIED_SEQ: Global<u32> = Global::new(u32::MAX);

/// Likewise `sock.sk_backlog`, which begins with `rmem_alloc`; a `tcp_sock` begins with a `sock`.
#[unsafe(no_mangle)]
static SOCK_RMEM_ALLOC: Global<u32> = Global::new(u32::MAX);

/// Likewise `sock.sk_rcvbuf`.
#[unsafe(no_mangle)]
static SOCK_RCVBUF: Global<u32> = Global::new(u32::MAX);

/// A send on one end of a bypassed connection.
#[sk_msg]
pub(crate) fn sk_msg_bypass(ctx: SkMsgContext) -> u32 {
    // SAFETY: a context field, read at a constant offset.
    let sk = unsafe { (*ctx.msg).__bindgen_anon_3.sk };
    if sk.is_null() {
        return SK_PASS;
    }
    count(send(&ctx, sk).err().unwrap_or(Counter::BypassRedirected));
    // Also where the helper found nobody: without a socket to go to, SK_PASS is TCP
    // (`sk_psock_msg_verdict`, 6.1 and 6.18). SK_DROP would lose the bytes.
    SK_PASS
}

/// Redirects the send, else says why not.
#[inline(always)]
fn send(ctx: &SkMsgContext, sk: *mut bpf_sock) -> Result<(), Counter> {
    if settings().is_none_or(|settings| settings.same_node_bypass == 0) {
        return Err(Counter::BypassNoPeer);
    }
    let end = bypass_end(sk).ok_or(Counter::BypassNoPeer)?;
    let connection = BYPASSED.get_ptr_mut(end.key).ok_or(Counter::BypassNoPeer)?;
    // SAFETY: the entry stays for as long as this end is open, and this hook holds its lock. Each number is
    // written by the sends of one end only.
    let (peer, redirected_bytes) = unsafe {
        if end.is_server == 0 {
            ((*connection).server, &mut (*connection).client_redirected_bytes)
        } else {
            ((*connection).client, &mut (*connection).server_redirected_bytes)
        }
    };
    may_redirect(sk, peer, ctx.size())?;
    // The peer is looked up by its cookie, which no other socket has ever had: if it is found now, it was
    // there while its fields were read.
    if BYPASS_SOCKETS.redirect_msg(ctx, peer.cookie, u64::from(BPF_F_INGRESS)) as u32 != SK_PASS {
        return Err(Counter::BypassNoPeer);
    }
    *redirected_bytes += u64::from(ctx.size());
    Ok(())
}

/// The two-lane rule.
#[inline(always)]
fn may_redirect(sk: *mut bpf_sock, peer: LocalSocket, size: u32) -> Result<(), Counter> {
    // Where TCP would say EPIPE, it must: `tcp_bpf_sendmsg` does not look.
    // SAFETY: the verifier knows `sk` as a socket; the caller has checked that it is not null.
    let state = unsafe { (*sk).state };
    if state != tcp_state::ESTABLISHED && state != tcp_state::CLOSE_WAIT {
        return Err(Counter::BypassNotOpen);
    }
    let next = next_byte(sk).ok_or(Counter::BypassNativeBefore)?;
    // Kernel TLS takes what it finds in the fast lane for plaintext.
    if next.below_upper_protocol || field::<u64>(peer, TCP_ULP_OPS.load()) != Some(0) {
        return Err(Counter::BypassUpperProtocol);
    }
    // Only grows, and is written after the bytes have been copied to the reader, who holds the peer's lock
    // until it leaves TCP's queue; the redirect waits for that lock.
    if field::<u32>(peer, TCP_COPIED_SEQ.load()) != Some(next.seq) {
        return Err(Counter::BypassNativeBefore);
    }
    let queued_bytes = field::<u32>(peer, SOCK_RMEM_ALLOC.load()).ok_or(Counter::BypassNoPeer)?;
    let buffer_bytes = field::<u32>(peer, SOCK_RCVBUF.load()).ok_or(Counter::BypassNoPeer)?;
    if queued_bytes.saturating_add(size) > bypass_queue_limit(buffer_bytes) {
        return Err(Counter::BypassFull);
    }
    Ok(())
}

/// A field of the peer's `tcp_sock`, at its offset.
#[inline(always)]
fn field<T>(peer: LocalSocket, offset: u32) -> Option<T> {
    let address = peer.address.wrapping_add(u64::from(offset)) as *const T;
    // SAFETY: the helper reads any address, and says where it cannot. `T` has no invalid bit pattern.
    unsafe { bpf_probe_read_kernel(address) }.ok()
}
