//! The kernel's own knowledge of a network namespace's TCP sockets (`sock_diag`).

use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags},
};
use netlink_sys::{Socket, protocols::NETLINK_SOCK_DIAG};

use super::netns::Netns;

/// What the kernel fills at a time (`NLMSG_GOODSIZE`, at most 32 KiB for a reader with that much room).
const READ_BYTES: usize = 32 << 10;

/// Asks one network namespace.
#[derive(Debug)]
pub(super) struct SockDiag {
    socket: Socket,
}

/// A message that the kernel has sent.
enum Answer {
    Socket(Box<InetResponse>),
    /// It has no more to say.
    Done,
}

impl SockDiag {
    /// Opens the way to ask, which lives for as long as the namespace.
    pub(super) fn of(netns: &Netns) -> io::Result<Self> {
        Ok(Self { socket: netns.enter(|| Socket::new(NETLINK_SOCK_DIAG))?? })
    }

    /// Hands over every listener of both families.
    pub(super) fn listeners(&self, mut take: impl FnMut(&InetResponse)) -> io::Result<()> {
        for (family, id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
            let request = request(family, id, StateFlags::LISTEN, ExtensionFlags::empty());
            self.socket.send(&bytes_of(request, NLM_F_REQUEST | NLM_F_DUMP), 0)?;
            let mut is_done = false;
            while !is_done {
                self.read(|answer| match answer? {
                    Answer::Socket(socket) => {
                        take(&socket);
                        Ok(())
                    }
                    Answer::Done => {
                        is_done = true;
                        Ok(())
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Hands over what is known of each of these sockets, with its TCP_INFO; those that are gone are left out.
    /// At most as many at a time as the kernel has room to answer: some hundred.
    pub(super) fn sockets(&self, ids: Vec<SocketId>, mut take: impl FnMut(&InetResponse)) -> io::Result<()> {
        let mut waited_for = ids.len();
        if waited_for == 0 {
            return Ok(());
        }
        let mut requests = Vec::new();
        for id in ids {
            let family = if id.source_address.is_ipv4() { AF_INET } else { AF_INET6 };
            let request = request(family, id, StateFlags::all(), ExtensionFlags::INFO);
            requests.extend(bytes_of(request, NLM_F_REQUEST));
        }
        self.socket.send(&requests, 0)?;
        while waited_for > 0 {
            self.read(|answer| {
                waited_for = waited_for.saturating_sub(1);
                // An error is about one socket: it is gone.
                if let Ok(Answer::Socket(socket)) = answer {
                    take(&socket);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Reads what has come, a message at a time.
    fn read(&self, mut each: impl FnMut(io::Result<Answer>) -> io::Result<()>) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(READ_BYTES);
        self.socket.recv(&mut buffer, 0)?;
        let mut rest = buffer.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
            // Messages begin at multiples of four bytes.
            let len = (message.header.length as usize).next_multiple_of(4).max(1);
            rest = rest.get(len..).unwrap_or_default();
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(socket)) => {
                    each(Ok(Answer::Socket(socket)))?;
                }
                NetlinkPayload::Done(_) => each(Ok(Answer::Done))?,
                NetlinkPayload::Error(error) => each(Err(error.to_io()))?,
                NetlinkPayload::Overrun(_) => return Err(io::ErrorKind::OutOfMemory.into()),
                NetlinkPayload::Noop | NetlinkPayload::InnerMessage(_) | _ => {}
            }
        }
        Ok(())
    }
}

fn request(family: u8, socket_id: SocketId, states: StateFlags, extensions: ExtensionFlags) -> InetRequest {
    InetRequest { family, protocol: IPPROTO_TCP, extensions, states, socket_id }
}

fn bytes_of(request: InetRequest, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}
