//! One accepted connection, and what came of it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockRef;

use crate::pattern::{self, Tally};

/// How long a server waits for a client before it gives up, so that no thread stays for ever.
const GIVE_UP: Duration = Duration::from_secs(120);

/// How the client's bytes ended, as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The server did not look.
    Open,
    /// FIN.
    Fin,
    /// RST.
    Reset,
    /// Something else.
    Error(ErrorKind),
}

/// What came of a connection.
#[derive(Clone)]
pub struct Record {
    /// The client's address, as the server sees it.
    pub peer: SocketAddr,
    /// What the client sent.
    pub received: Tally,
    /// The first bytes of it.
    pub first: Vec<u8>,
    /// How that ended.
    pub end: End,
    /// When.
    pub ended_at: Instant,
}

/// Without the bytes, which would bury what a failed test has to say.
impl std::fmt::Debug for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { peer, received, end, .. } = self;
        write!(f, "from {peer}: {} bytes, checksum {:08x}, {end:?}", received.bytes(), received.checksum())
    }
}

/// A connection in the hands of a behaviour.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
    record: Record,
}

impl Session {
    pub(super) fn new(stream: TcpStream, peer: SocketAddr) -> Self {
        stream.set_nodelay(true).expect("set TCP_NODELAY");
        stream.set_read_timeout(Some(GIVE_UP)).expect("set a timeout");
        stream.set_write_timeout(Some(GIVE_UP)).expect("set a timeout");
        let record = Record {
            peer,
            received: Tally::default(),
            first: Vec::new(),
            end: End::Open,
            ended_at: Instant::now(),
        };
        Self { stream, record }
    }

    pub(super) fn finish(self) -> Record {
        self.record
    }

    /// Reads once; nothing where the client has ended, whichever way.
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        let began = Instant::now();
        let count = match self.stream.read(buffer) {
            Ok(count) => count,
            // What a socket in a sockmap may say although it blocks.
            Err(error) if error.kind() == ErrorKind::WouldBlock && began.elapsed() < GIVE_UP / 2 => {
                return self.read(buffer);
            }
            Err(error) => {
                self.failed(error.kind());
                return 0;
            }
        };
        if count == 0 {
            self.ended(End::Fin);
        }
        self.record.received.add(&buffer[..count]);
        let room = 4096_usize.saturating_sub(self.record.first.len());
        self.record.first.extend_from_slice(&buffer[..count.min(room)]);
        count
    }

    /// Reads until this many bytes have come in all, or the client has ended.
    pub fn read_up_to(&mut self, total: u64) {
        let mut buffer = vec![0; 64 * 1024];
        while self.record.received.bytes() < total && self.record.end == End::Open {
            let left = total - self.record.received.bytes();
            let len = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            self.read(&mut buffer[..len]);
        }
    }

    /// Reads until the client has ended.
    pub fn read_to_end(&mut self) {
        self.read_up_to(u64::MAX);
    }

    /// Writes; false where the client is gone.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        match self.stream.write_all(bytes) {
            Ok(()) => true,
            Err(error) => {
                self.failed(error.kind());
                false
            }
        }
    }

    /// Writes the first bytes of the pattern.
    pub fn write_pattern(&mut self, len: u64) -> bool {
        let mut offset = 0;
        while offset < len {
            let slice = pattern::at(offset, len - offset);
            if !self.write(slice) {
                return false;
            }
            offset += slice.len() as u64;
        }
        true
    }

    /// Ends the server's own bytes: FIN.
    pub fn fin(&mut self) {
        // The client may be gone already.
        self.stream.shutdown(Shutdown::Write).ok();
    }

    /// Ends the connection by RST.
    pub fn reset(&mut self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("set SO_LINGER");
    }

    /// Reads nothing, and waits for the end: an RST, or both FINs.
    pub fn watch(&mut self) {
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        let timeout = PollTimeout::try_from(GIVE_UP).expect("a short timeout");
        poll(&mut fds, timeout).expect("poll a socket");
        let events = fds[0].revents().unwrap_or(PollFlags::empty());
        if events.contains(PollFlags::POLLERR) {
            self.ended(End::Reset);
        } else if events.contains(PollFlags::POLLHUP) {
            self.ended(End::Fin);
        }
    }

    /// A second handle, for a thread that writes while this one reads.
    ///
    /// # Panics
    /// When there are no file descriptors left.
    #[must_use]
    pub fn writer(&self) -> TcpStream {
        self.stream.try_clone().expect("clone a stream")
    }

    /// How many bytes have come, and how they ended.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    fn failed(&mut self, kind: ErrorKind) {
        let end = match kind {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => End::Reset,
            other => End::Error(other),
        };
        self.ended(end);
    }

    fn ended(&mut self, end: End) {
        if self.record.end == End::Open {
            self.record.end = end;
            self.record.ended_at = Instant::now();
        }
    }
}
