//! The client's socket, blocking or not.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::sendfile::sendfile;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpFastOpenConnect;
use socket2::{Domain, SockRef, Socket, Type};

/// Of <linux/socket.h>; nix has no name for it.
const MSG_FASTOPEN: i32 = 0x2000_0000;

/// How a client opens its connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opening {
    pub(super) nonblocking: bool,
    pub(super) source: Option<SocketAddr>,
    pub(super) to_loopback_device: bool,
    pub(super) by_first_send: bool,
}

/// A connected socket.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) stream: TcpStream,
    nonblocking: bool,
    /// How often a blocking call said EAGAIN, which it must not.
    pub(super) spurious: u64,
}

impl Link {
    pub(super) fn open(opening: Opening, to: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(opening.nonblocking)?;
        if opening.to_loopback_device {
            socket.bind_device(Some(b"lo"))?;
        }
        if opening.by_first_send {
            setsockopt(&socket, TcpFastOpenConnect, &true)?;
        }
        if let Some(source) = opening.source {
            socket.bind(&source.into())?;
        }
        if let Err(error) = socket.connect(&to.into()) {
            if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) {
                return Err(error);
            }
            wait_for(&socket, PollFlags::POLLOUT)?;
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
        }
        Ok(Self { stream: socket.into(), nonblocking: opening.nonblocking, spurious: 0 })
    }

    /// Connects by sending; gives how many bytes were taken.
    pub(super) fn fast_open(to: SocketAddr, bytes: &[u8]) -> io::Result<(Self, usize)> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_tcp_nodelay(true)?;
        let sent = socket.send_to_with_flags(bytes, &to.into(), MSG_FASTOPEN)?;
        Ok((Self { stream: socket.into(), nonblocking: false, spurious: 0 }, sent))
    }

    /// One that was accepted.
    pub(super) fn of(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, nonblocking: false, spurious: 0 })
    }

    pub(super) fn set_nonblocking(&mut self, nonblocking: bool) -> io::Result<()> {
        self.nonblocking = nonblocking;
        self.stream.set_nonblocking(nonblocking)
    }

    /// Sends bytes by sendfile(2), out of a file in memory.
    pub(super) fn send_file(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::from(memfd_create(c"bytes", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(bytes)?;
        let (mut offset, mut left) = (0, bytes.len());
        while left > 0 {
            match sendfile(&self.stream, &file, Some(&mut offset), left) {
                Ok(count) => left -= count,
                Err(Errno::EAGAIN) => self.would_block(PollFlags::POLLOUT)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.would_block(PollFlags::POLLIN)?,
                other => return other,
            }
        }
    }

    pub(super) fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.would_block(PollFlags::POLLOUT)?
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes until nothing has been taken for `calm`; gives how much was.
    pub(super) fn fill(&mut self, bytes: &[u8], calm: Duration) -> io::Result<u64> {
        self.stream.set_nonblocking(true)?;
        let mut taken = 0;
        loop {
            match self.stream.write(bytes) {
                Ok(count) => taken += count as u64,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::POLLOUT)];
                    let timeout = PollTimeout::try_from(calm).unwrap_or(PollTimeout::MAX);
                    if poll(&mut fds, timeout)? == 0 {
                        self.stream.set_nonblocking(self.nonblocking)?;
                        return Ok(taken);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether something arrives (bytes, an end or an error) within `limit`.
    pub(super) fn stirs_within(&self, limit: Duration) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        Ok(poll(&mut fds, PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX))? > 0)
    }

    /// Closes with RST.
    pub(super) fn reset(self) -> io::Result<()> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))
    }

    pub(super) fn second_handle(&self) -> io::Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, nonblocking: self.nonblocking, spurious: 0 })
    }

    fn would_block(&mut self, flags: PollFlags) -> io::Result<()> {
        if !self.nonblocking {
            self.spurious += 1;
        }
        wait_for(&self.stream, flags)
    }
}

fn wait_for(socket: &impl std::os::fd::AsFd, flags: PollFlags) -> io::Result<()> {
    let mut fds = [PollFd::new(socket.as_fd(), flags)];
    poll(&mut fds, PollTimeout::NONE)?;
    Ok(())
}

/// `ECONNRESET`, say.
pub(super) fn errno_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => format!("{:?}", Errno::from_raw(code)),
        None => format!("{:?}", error.kind()),
    }
}
