//! sluice's kernel programs, one file per hook.
//!
//! | hook | says |
//! |---|---|
//! | [`connect`] | whether a connection is left alone or brought to the proxy |
//! | [`sk_lookup`] | brings connections that a workload accepts to the proxy |
//! | [`sock_ops`] | hands the original destination over; watches for the end of a connection |
//! | [`kernel_path`] | its part that tells of connections that go by themselves |
//! | [`listening`] | its part that knows where applications listen |
//! | [`probes`] | notes the kubelet's own connections |
//! | [`getpeername`] | tells the application the address it asked for |
//! | [`getsockopt`] | answers SO_ORIGINAL_DST to a foreign proxy |
//! | [`sk_msg`] | carries application sends to the proxy without the loopback TCP stack |
//! | [`bypass`] | carries them to an application on the same node, past TCP |
//! | [`rendezvous`] | its part that finds the other end |
//!
//! Whatever goes wrong in here, a connection goes direct: only a workload that asked to be strict
//! is refused. Every outcome is counted ([`proxy_common::Counter`]).

#![no_std]
#![no_main]

mod bypass;
mod connect;
mod getpeername;
mod getsockopt;
mod kernel_path;
mod listening;
mod log;
mod maps;
mod probes;
mod rendezvous;
mod rules;
mod sk_lookup;
mod sk_msg;
mod sock;
mod sock_ops;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

// aya calls GPL-only helpers (bpf_ktime_get_ns is free, bpf_probe_read_kernel is not).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
