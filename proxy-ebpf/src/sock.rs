//! What more than one hook does with sockets.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    btf_maps::SkStorage,
    helpers::generated::{
        bpf_sk_storage_delete, bpf_sk_storage_get, bpf_skc_to_tcp_sock, bpf_sock_hash_update,
    },
    maps::SockHash,
    programs::SockOpsContext,
};
use proxy_common::{BypassEnd, OriginalDst, Tracked};

use crate::maps::{ACCEPTED, BYPASS_ENDS, TRACKED};

/// What is known of a client's socket.
#[inline(always)]
pub(crate) fn tracked(sk: *mut bpf_sock) -> Option<&'static mut Tracked> {
    stored(pointer(&TRACKED), sk)
}

/// Remembers `record` for a client's socket, in place of what was known of it.
#[inline(always)]
pub(crate) fn track(sk: *mut bpf_sock, record: &mut Tracked) -> bool {
    store(pointer(&TRACKED), sk, record)
}

/// Forgets a client's socket: it may have been redirected by an earlier connect(2).
#[inline(always)]
pub(crate) fn forget(sk: *mut bpf_sock) {
    // SAFETY: as in `stored`. An error says that there was nothing to forget.
    let _nothing_there = unsafe { bpf_sk_storage_delete(pointer(&TRACKED), sk.cast()) };
}

/// Where the client of an accepted socket meant to connect.
#[inline(always)]
pub(crate) fn accepted(sk: *mut bpf_sock) -> Option<&'static mut OriginalDst> {
    stored(pointer(&ACCEPTED), sk)
}

/// Remembers where the client of an accepted socket meant to connect.
#[inline(always)]
pub(crate) fn accept(sk: *mut bpf_sock, original: &mut OriginalDst) -> bool {
    store(pointer(&ACCEPTED), sk, original)
}

/// Which end of which connection a socket is, where it may be bypassed.
#[inline(always)]
pub(crate) fn bypass_end(sk: *mut bpf_sock) -> Option<&'static mut BypassEnd> {
    stored(pointer(&BYPASS_ENDS), sk)
}

/// Remembers which end of which connection a socket is.
#[inline(always)]
pub(crate) fn set_bypass_end(sk: *mut bpf_sock, end: &mut BypassEnd) -> bool {
    store(pointer(&BYPASS_ENDS), sk, end)
}

/// Forgets that a socket was an end of a bypassed connection.
#[inline(always)]
pub(crate) fn forget_bypass_end(sk: *mut bpf_sock) {
    // SAFETY: as in `stored`. An error says that there was nothing to forget.
    let _nothing_there = unsafe { bpf_sk_storage_delete(pointer(&BYPASS_ENDS), sk.cast()) };
}

/// A socket's value in a storage map of `T`. aya's own method takes a `SockAddrContext` only.
#[inline(always)]
fn stored<T>(map: *mut c_void, sk: *mut bpf_sock) -> Option<&'static mut T> {
    // SAFETY: the helper takes a socket that the verifier knows not to be null, and changes nothing.
    let value = unsafe { bpf_sk_storage_get(map, sk.cast(), ptr::null_mut(), 0) };
    // SAFETY: null, or the value of this socket, which lives as long as the socket. It is written by
    // the hooks of this socket only, and those run one at a time: they hold the socket's lock.
    unsafe { value.cast::<T>().as_mut() }
}

/// Sets a socket's value in a storage map of `T`; `false` where there is no memory for it.
#[inline(always)]
fn store<T: Copy>(map: *mut c_void, sk: *mut bpf_sock, new: &mut T) -> bool {
    let initial = ptr::from_mut(new).cast();
    let create = u64::from(BPF_SK_STORAGE_GET_F_CREATE);
    // SAFETY: as in `stored`; `new` is a whole value on this program's stack.
    let value = unsafe { bpf_sk_storage_get(map, sk.cast(), initial, create) };
    // SAFETY: as in `stored`.
    match unsafe { value.cast::<T>().as_mut() } {
        Some(value) => {
            // The helper keeps an older value, of an earlier connect(2) on the same socket.
            *value = *new;
            true
        }
        None => false,
    }
}

/// Puts the socket of this hook into a sockmap, under a cookie; whether it is there now. `when` is one of
/// `BPF_ANY` and `BPF_NOEXIST`.
#[inline(always)]
pub(crate) fn join(ctx: &SockOpsContext, map: &'static SockHash<u64>, mut cookie: u64, when: u32) -> bool {
    let map = ptr::from_ref(map).cast_mut().cast();
    // SAFETY: the helper takes this hook's context, and a key on this program's stack.
    unsafe { bpf_sock_hash_update(ctx.ops, map, ptr::from_mut(&mut cookie).cast(), u64::from(when)) == 0 }
}

#[inline(always)]
fn pointer<T>(map: &'static SkStorage<T>) -> *mut c_void {
    ptr::from_ref(map).cast_mut().cast()
}

/// The kernel's own struct of a TCP socket.
pub(crate) struct TcpSock(*const u8);

impl TcpSock {
    /// `None` where the socket is none of TCP.
    #[inline(always)]
    pub(crate) fn of(sk: *mut bpf_sock) -> Option<Self> {
        // SAFETY: the helper takes a socket that the verifier knows not to be null.
        let tcp = unsafe { bpf_skc_to_tcp_sock(sk.cast()) }.cast::<u8>().cast_const();
        if tcp.is_null() { None } else { Some(Self(tcp)) }
    }

    /// Reads a member; `offset` is in bytes from the start of the struct.
    #[inline(always)]
    pub(crate) fn read<T: Copy>(&self, offset: u32) -> T {
        // SAFETY: the verifier holds the offset, a constant to it, against the kernel's own `tcp_sock`.
        unsafe { self.0.add(offset as usize).cast::<T>().read_volatile() }
    }
}

/// Four words of network-order memory as 16 bytes.
#[inline(always)]
pub(crate) fn bytes_of(words: [u32; 4]) -> [u8; 16] {
    let [a, b, c, d] = words.map(u32::to_ne_bytes);
    [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2], d[3]]
}

/// 16 bytes as four words of network-order memory.
#[inline(always)]
pub(crate) fn words_of(bytes: [u8; 16]) -> [u32; 4] {
    let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3, d0, d1, d2, d3] = bytes;
    [[a0, a1, a2, a3], [b0, b1, b2, b3], [c0, c1, c2, c3], [d0, d1, d2, d3]].map(u32::from_ne_bytes)
}

/// Reads four consecutive words of a context, each with a load of its own.
///
/// A whole-array read makes LLVM form `ctx + offset`, which the verifier rejects
/// ("dereference of modified ctx ptr").
macro_rules! context_words {
    ($context:expr, $field:ident) => {{
        let context = $context;
        // SAFETY: a context field, read at a constant offset.
        let words = unsafe {
            [
                core::ptr::addr_of!((*context).$field[0]).read_volatile(),
                core::ptr::addr_of!((*context).$field[1]).read_volatile(),
                core::ptr::addr_of!((*context).$field[2]).read_volatile(),
                core::ptr::addr_of!((*context).$field[3]).read_volatile(),
            ]
        };
        $crate::sock::bytes_of(words)
    }};
}

/// Writes four consecutive words of a context, each with a store of its own.
macro_rules! set_context_words {
    ($context:expr, $field:ident, $bytes:expr) => {{
        let context = $context;
        let [a, b, c, d] = $crate::sock::words_of($bytes);
        // SAFETY: a writable context field, written at a constant offset.
        unsafe {
            core::ptr::addr_of_mut!((*context).$field[0]).write_volatile(a);
            core::ptr::addr_of_mut!((*context).$field[1]).write_volatile(b);
            core::ptr::addr_of_mut!((*context).$field[2]).write_volatile(c);
            core::ptr::addr_of_mut!((*context).$field[3]).write_volatile(d);
        }
    }};
}

pub(crate) use {context_words, set_context_words};
