//! `sk_msg`: an application's sends travel straight to the proxy's receive queue.
//!
//! Runs on the sockets in `CLIENT_SOCKETS`. Redirected bytes are read before those in the TCP queue,
//! so a send is redirected only while no byte has ever been queued in TCP. Fails open: whatever could
//! miss is SK_PASS, and the connection is native from then on; native after redirected is in order.

use aya_ebpf::{
    Global,
    bindings::{BPF_F_INGRESS, bpf_sock, sk_action::SK_PASS},
    macros::sk_msg,
    programs::SkMsgContext,
};
use proxy_common::{Counter, LaneState, Tracked};

use crate::{
    maps::{LANES, PROXY_SOCKETS, count, settings},
    sock::{TcpSock, tracked},
};

/// Where this kernel has `tcp_sock.write_seq`; set by the loader, from the kernel's BTF. Without it
/// the verifier refuses the program.
#[unsafe(no_mangle)]
static TCP_WRITE_SEQ: Global<u32> = Global::new(u32::MAX);

/// Likewise `inet_connection_sock.icsk_ulp_ops`; a `tcp_sock` begins with that struct.
#[unsafe(no_mangle)]
pub(crate) static TCP_ULP_OPS: Global<u32> = Global::new(u32::MAX);

/// A send on an enrolled client's socket.
#[sk_msg]
pub(crate) fn sk_msg_verdict(ctx: SkMsgContext) -> u32 {
    // SAFETY: a context field, read at a constant offset.
    let sk = unsafe { (*ctx.msg).__bindgen_anon_3.sk };
    if sk.is_null() {
        return SK_PASS;
    }
    let Some(record) = tracked(sk) else { return SK_PASS };
    if record.lane == LaneState::Native as u8 {
        return SK_PASS;
    }
    if let Err(reason) = may_redirect(record, sk) {
        record.lane = LaneState::Native as u8;
        count(reason);
        return SK_PASS;
    }
    record.lane = LaneState::Redirected as u8;
    record.redirected_bytes += u64::from(ctx.size());
    let verdict = PROXY_SOCKETS.redirect_msg(&ctx, record.original.cookie, u64::from(BPF_F_INGRESS)) as u32;
    count(if verdict == SK_PASS { Counter::SkMsgRedirected } else { Counter::SkMsgRedirectFailed });
    verdict
}

/// Whether this send may be redirected, else why not.
#[inline(always)]
fn may_redirect(record: &Tracked, sk: *mut bpf_sock) -> Result<(), Counter> {
    let next = next_byte(sk).ok_or(Counter::SkMsgNativeBefore)?;
    if next.below_upper_protocol {
        return Err(Counter::SkMsgUpperProtocol);
    }
    // At every send: a call that began before the socket was enrolled queues its bytes in TCP, and
    // may do so after others were redirected (TCP Fast Open, a write that waits for the handshake).
    if next.seq != record.first_seq {
        return Err(Counter::SkMsgNativeBefore);
    }
    // Look before the redirect: the helper's miss would be SK_DROP, and the bytes gone.
    // SAFETY: the value is read at once.
    let lane = unsafe { LANES.get(record.original.cookie) }.ok_or(Counter::SkMsgNoLane)?;
    let fuse_bytes = settings().map_or(0, |settings| settings.sk_msg_fuse_bytes);
    if record.redirected_bytes.saturating_sub(lane.consumed_bytes) > fuse_bytes {
        return Err(Counter::SkMsgFuse);
    }
    Ok(())
}

/// What the kernel knows of the next byte that is queued in TCP.
pub(crate) struct NextByte {
    /// Its sequence number.
    pub(crate) seq: u32,
    /// Set where the bytes that this hook sees are not those that go to the peer: kernel TLS shows
    /// them before it encrypts (`bpf_exec_tx_verdict`). A member of a sockmap may be given a TLS layer
    /// (TCP_ULP); its keys (TLS_TX) were refused with EINVAL on 6.1 and 6.12.117, so that the
    /// application has to encrypt by itself.
    pub(crate) below_upper_protocol: bool,
}

/// Of the socket that sends; `None` where it is not TCP.
#[inline(always)]
pub(crate) fn next_byte(sk: *mut bpf_sock) -> Option<NextByte> {
    // This hook holds the socket's lock.
    let tcp = TcpSock::of(sk)?;
    let ulp_ops: u64 = tcp.read(TCP_ULP_OPS.load());
    Some(NextByte { seq: tcp.read(TCP_WRITE_SEQ.load()), below_upper_protocol: ulp_ops != 0 })
}
