//! What the proxy asks of its sockets.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd as _,
    time::Duration,
};

use proxy_common::LISTENER_PRIORITY;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpSocket, TcpStream};

/// How long a client may be silent before the kernel asks whether it is still there. The client is on
/// this node, so an answer always comes while it lives.
const CLIENT_KEEPALIVE: Duration = Duration::from_secs(60);
/// The same for a client that may be anywhere: Linux's own timing. One that cannot be reached for a
/// while finds its connection as it left it.
const REMOTE_KEEPALIVE: Duration = Duration::from_secs(7200);
/// With each read, the kernel tells how much is left; `linux/tcp.h`. The message has the same number.
const TCP_INQ: libc::c_int = 36;
const TCP_CM_INQ: libc::c_int = TCP_INQ;
/// How many handshakes may wait for the proxy to accept.
const BACKLOG: i32 = 4096;
/// How long a reset waits for bytes that the peer's window does not take yet.
const RESET_PATIENCE: Duration = Duration::from_millis(100);

/// Opens a listener of the proxy on a loopback address, on a port of the kernel's choice, in the
/// network namespace that this thread is in.
///
/// The options are set here because accepted sockets inherit them.
pub(crate) fn listen(ip: IpAddr) -> io::Result<std::net::TcpListener> {
    let address = SocketAddr::new(ip, 0);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    relay_options(&socket)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(CLIENT_KEEPALIVE))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if let Err(error) = socket.set_priority(LISTENER_PRIORITY) {
        // Needed only where another sluice has a workload above this one.
        tracing::warn!(%ip, %error, "other agents will not know this listener");
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Opens the upstream socket in the network namespace that this thread is in. `source` is where the
/// connection must come from, where the client chose that.
pub(super) fn upstream(dst: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpSocket> {
    let socket = Socket::new(Domain::for_address(dst), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    relay_options(&socket)?;
    // With the node's own timing (hours, as a rule): a silent connection survives what it would
    // survive without a proxy.
    socket.set_keepalive(true)?;
    if let Some(source) = source {
        bind_source(&socket, source)?;
    }
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// Binds the address alone; the port is chosen when the destination is known, as it would have been.
fn bind_source(socket: &Socket, source: IpAddr) -> io::Result<()> {
    // Holds for IPv6 sockets too.
    set_option(socket, libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
    socket.bind(&SocketAddr::new(source, 0).into())
}

/// An accepted connection comes from elsewhere, not from this node.
pub(super) fn expect_from_afar(client: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(REMOTE_KEEPALIVE);
    if let Err(error) = SockRef::from(client).set_tcp_keepalive(&keepalive) {
        tracing::debug!(%error, "a client will be asked early whether it is still there");
    }
}

/// A relay adds no delay of its own, and passes urgent data on in its place in the stream.
///
/// A socket that is closed before [`finish`] ends with RST. So does every socket of a proxy that
/// dies: a stream that was cut must never look complete.
fn relay_options(socket: &Socket) -> io::Result<()> {
    set_option(socket, libc::SOL_TCP, TCP_INQ, 1)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)?;
    socket.set_linger(Some(Duration::ZERO))
}

/// Says that a connection has ended well: what was written to it still leaves after it is closed.
pub(super) fn finish(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(None) {
        tracing::debug!(%error, "a connection ends with RST instead of FIN");
    }
}

/// Sets an option that socket2 does not know.
fn set_option(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    const LEN: libc::socklen_t = 4;
    #[expect(unsafe_code, reason = "setsockopt(2)")]
    // SAFETY: the kernel reads LEN bytes, the size of `value`.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), LEN) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Passes a half-close on.
pub(super) fn shutdown_write(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).shutdown(std::net::Shutdown::Write)
}

/// Whether the connection was reset or timed out; takes the error from the socket.
pub(super) fn pending_error(stream: &TcpStream) -> Option<io::Error> {
    SockRef::from(stream).take_error().ok().flatten()
}

/// What one read brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read {
    /// Bytes; 0 is the end.
    pub(super) len: usize,
    /// Whether the socket said that nothing is left to read, FIN included. A read that is merely short
    /// does not mean that: it stops at urgent data, and at the seam between a socket's two queues
    /// where `sk_msg` is in use.
    pub(super) was_last: bool,
}

/// Reads straight from the socket, whatever tokio knows of its readiness.
pub(super) fn read_now(stream: &TcpStream, space: &mut [u8]) -> io::Result<Read> {
    #[repr(C, align(8))]
    struct Control([u8; CONTROL_LEN]);
    const CONTROL_LEN: usize = 32;
    let mut control = Control([0; CONTROL_LEN]);
    let mut vector = libc::iovec { iov_base: space.as_mut_ptr().cast(), iov_len: space.len() };
    #[expect(unsafe_code, reason = "recvmsg(2), for what TCP_INQ tells")]
    // SAFETY: a msghdr of zeros is valid; every pointer put in outlives the call, with its length.
    let (len, message) = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control.0).cast();
        message.msg_controllen = CONTROL_LEN;
        (libc::recvmsg(stream.as_raw_fd(), &raw mut message, 0), message)
    };
    let Ok(len) = usize::try_from(len) else { return Err(io::Error::last_os_error()) };
    Ok(Read { len, was_last: len > 0 && left_to_read(&message) == Some(0) })
}

/// What TCP_INQ told: bytes left in the queue, or 1 where only FIN is.
fn left_to_read(message: &libc::msghdr) -> Option<i32> {
    #[expect(unsafe_code, reason = "control messages have no safe form")]
    // SAFETY: the kernel has filled the control buffer as far as `msg_controllen` says, which
    // CMSG_FIRSTHDR looks at; a TCP_INQ message holds one int.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(message).as_ref()?;
        if header.cmsg_level != libc::SOL_TCP || header.cmsg_type != TCP_CM_INQ {
            return None;
        }
        Some(libc::CMSG_DATA(header).cast::<i32>().read_unaligned())
    }
}

/// Waits until what was written to a connection that is to be reset has left: RST would overtake it.
pub(super) async fn wait_until_sent(stream: &TcpStream) {
    let deadline = tokio::time::Instant::now() + RESET_PATIENCE;
    while unsent(stream).is_ok_and(|len| len > 0) && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Bytes that were written and have not left for the peer.
fn unsent(stream: &TcpStream) -> io::Result<libc::c_int> {
    /// `linux/sockios.h`; libc does not name it.
    const SIOCOUTQNSD: libc::Ioctl = 0x894b;
    let mut len: libc::c_int = 0;
    #[expect(unsafe_code, reason = "ioctl(2) has no safe form")]
    // SAFETY: the kernel writes one int, and `stream` keeps the descriptor open.
    let result = unsafe { libc::ioctl(stream.as_raw_fd(), SIOCOUTQNSD, &raw mut len) };
    if result == 0 { Ok(len) } else { Err(io::Error::last_os_error()) }
}
