//! Where the relay connects to.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};

use anyhow::{Context as _, Result};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, connect, getsockopt, setsockopt, socket, sockopt,
};

/// On packets of the relay's own connections, which are not to be redirected again.
pub(in crate::bench) const MARK: u32 = 0x51;

/// The server of a connection.
pub(super) enum Upstream {
    Fixed(SocketAddr),
    /// The one that the client meant to connect to, before iptables redirected it.
    Redirected,
}

impl Upstream {
    pub(super) fn connect(&self, client: &TcpStream) -> Result<TcpStream> {
        match self {
            Self::Fixed(server) => TcpStream::connect(server).context("cannot connect to the server"),
            Self::Redirected => {
                let original = getsockopt(client, sockopt::OriginalDst).context("it was not redirected")?;
                let address = Ipv4Addr::from(u32::from_be(original.sin_addr.s_addr));
                let server = SocketAddrV4::new(address, u16::from_be(original.sin_port));
                let kind = (AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC);
                let socket = socket(kind.0, kind.1, kind.2, None)?;
                setsockopt(&socket, sockopt::Mark, &MARK).context("cannot mark a connection")?;
                let connected = connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrIn::from(server));
                connected.context("cannot connect to the server")?;
                Ok(TcpStream::from(socket))
            }
        }
    }
}
