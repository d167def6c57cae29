//! The bpf(2) calls that aya has no method for, and the few facts asked of sockets and limits.
#![expect(unsafe_code, reason = "bpf(2), flock(2), getsockopt(2), ioctl(2) and setrlimit(2)")]

use std::{
    ffi::{CStr, CString},
    fs::File,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use aya_obj::generated::{
    bpf_attach_type::BPF_SK_LOOKUP, bpf_cmd, bpf_insn, bpf_prog_type::BPF_PROG_TYPE_SK_LOOKUP,
};
use zerocopy::{Immutable, IntoBytes};

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
    element(bpf_cmd::BPF_MAP_UPDATE_ELEM, map, key, std::ptr::from_ref(value).cast_mut().cast(), BPF_EXIST)
}

/// Makes an entry, or replaces its value.
pub(super) fn put<K: IntoBytes + Immutable, V: IntoBytes + Immutable>(
    map: BorrowedFd<'_>,
    key: &K,
    value: &V,
) -> io::Result<()> {
    element(bpf_cmd::BPF_MAP_UPDATE_ELEM, map, key, std::ptr::from_ref(value).cast_mut().cast(), 0)
}

/// Removes an entry.
pub(super) fn remove<K: IntoBytes + Immutable>(map: BorrowedFd<'_>, key: &K) -> io::Result<()> {
    element(bpf_cmd::BPF_MAP_DELETE_ELEM, map, key, std::ptr::null_mut(), 0)
}

fn element<K: IntoBytes + Immutable>(
    command: bpf_cmd,
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
    unsafe { bpf(command, &attr) }.map(drop)
}

/// One call of bpf(2); what it returns is a descriptor for some commands, 0 for others.
///
/// # Safety
/// The descriptors and pointers in `attr` are what the command takes them for, and outlive the call.
unsafe fn bpf<T>(command: bpf_cmd, attr: &T) -> io::Result<libc::c_int> {
    // SAFETY: `attr` outlives the call, and the caller answers for what is in it.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_long, std::ptr::from_ref(attr), size_of::<T>())
    };
    libc::c_int::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}

/// The part of `union bpf_attr` that BPF_PROG_LOAD uses.
#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// Loads a program of type `sk_lookup` whose maps are in its instructions already.
pub(super) fn load_sk_lookup(instructions: &[bpf_insn], license: &CStr) -> io::Result<OwnedFd> {
    let attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_SK_LOOKUP as u32,
        insn_cnt: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: *b"sk_lookup\0\0\0\0\0\0\0",
        prog_ifindex: 0,
        expected_attach_type: BPF_SK_LOOKUP as u32,
    };
    // SAFETY: the slice and the string outlive the call, the one with its length, the other with its end.
    let fd = unsafe { bpf(bpf_cmd::BPF_PROG_LOAD, &attr) }?;
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program to a network namespace, for as long as the result is open.
pub(super) fn attach_sk_lookup(program: BorrowedFd<'_>, netns: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct LinkAttr {
        prog_fd: u32,
        target_fd: u32,
        attach_type: u32,
        flags: u32,
    }
    let attr = LinkAttr {
        prog_fd: program.as_raw_fd().unsigned_abs(),
        target_fd: netns.as_raw_fd().unsigned_abs(),
        attach_type: BPF_SK_LOOKUP as u32,
        flags: 0,
    };
    // SAFETY: both descriptors are borrowed for the call.
    let fd = unsafe { bpf(bpf_cmd::BPF_LINK_CREATE, &attr) }?;
    // SAFETY: the call has just made this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Pins a link or a map at a path in a bpffs.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    #[repr(C)]
    struct PinAttr {
        pathname: u64,
        bpf_fd: u32,
        file_flags: u32,
    }
    let pathname = CString::new(path.as_os_str().as_bytes())?;
    let attr = PinAttr {
        pathname: pathname.as_ptr() as u64,
        bpf_fd: object.as_raw_fd().unsigned_abs(),
        file_flags: 0,
    };
    // SAFETY: the string outlives the call, and the descriptor is borrowed for it.
    unsafe { bpf(bpf_cmd::BPF_OBJ_PIN, &attr) }.map(drop)
}

/// The cookie of the network namespace that a socket is in (SO_NETNS_COOKIE, Linux 5.14).
pub(super) fn netns_cookie(socket: &impl AsRawFd) -> io::Result<u64> {
    cookie(socket, libc::SO_NETNS_COOKIE)
}

/// A socket's own cookie (SO_COOKIE).
pub(super) fn socket_cookie(socket: &impl AsRawFd) -> io::Result<u64> {
    cookie(socket, libc::SO_COOKIE)
}

fn cookie(socket: &impl AsRawFd, option: libc::c_int) -> io::Result<u64> {
    let mut cookie: u64 = 0;
    const LEN: libc::socklen_t = 8;
    let mut len = LEN;
    // SAFETY: the kernel writes at most `len` bytes, the size of `cookie`.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw mut cookie).cast(), &raw mut len)
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
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
