//! The bpf(2) calls that aya has no method for, and the few facts asked of sockets and limits.
#![expect(unsafe_code, reason = "bpf(2), flock(2), getsockopt(2) and setrlimit(2)")]

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use zerocopy::{Immutable, IntoBytes};

const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;
/// Update an entry that is there; never make one.
const BPF_EXIST: u64 = 2;

/// The part of `union bpf_attr` that the element commands use.
#[repr(C)]
struct ElementAttr {
    map_fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Replaces the value of an entry that is there.
pub(super) fn replace<K: IntoBytes + Immutable, V: IntoBytes + Immutable>(
    map: BorrowedFd<'_>,
    key: &K,
    value: &V,
) -> io::Result<()> {
    element(BPF_MAP_UPDATE_ELEM, map, key, std::ptr::from_ref(value).cast_mut().cast(), BPF_EXIST)
}

/// Removes an entry.
pub(super) fn remove<K: IntoBytes + Immutable>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    element(BPF_MAP_DELETE_ELEM, map, key, std::ptr::null_mut(), 0)
}

fn element<K: IntoBytes + Immutable>(
    command: libc::c_long,
    map: BorrowedFd<'_>,
    key: &K,
    value: *mut libc::c_void,
    flags: u64,
) -> io::Result<()> {
    let attr = ElementAttr {
        map_fd: map.as_raw_fd().unsigned_abs(),
        pad: 0,
        key: key.as_bytes().as_ptr() as u64,
        value: value as u64,
        flags,
    };
    // SAFETY: `attr` outlives the call; key and value are as large as the map says, for both sides
    // take their types from proxy-common.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attr, size_of::<ElementAttr>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Locks a directory for as long as `dir` is open; `false` where somebody else has.
pub(super) fn try_lock(dir: &File) -> io::Result<bool> {
    // SAFETY: flock(2) takes a descriptor, which `dir` keeps open, and touches no memory.
    if unsafe { libc::flock(dir.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        error => Err(error),
    }
}

/// How many bytes a socket can be read without waiting, as it tells applications (FIONREAD).
pub(super) fn readable_bytes(socket: &impl AsRawFd) -> io::Result<usize> {
    let mut len: libc::c_int = 0;
    // SAFETY: the kernel writes one int.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONREAD, &raw mut len) };
    if result == 0 { Ok(len.unsigned_abs() as usize) } else { Err(io::Error::last_os_error()) }
}

/// CLOCK_MONOTONIC, nanoseconds: what bpf_ktime_get_ns counts.
pub(super) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// Before Linux 5.11 map memory counts against the locked memory of the process.
pub(super) fn lift_memlock_limit() -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the kernel reads one rlimit.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
