//! Pipes for bytes in flight that nobody looks at: splice(2) moves them from socket to socket without
//! copying them. Pooled per thread: an idle connection holds none.

use std::{
    cell::RefCell,
    io,
    os::fd::OwnedFd,
    sync::atomic::{AtomicUsize, Ordering},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice},
    unistd::pipe2,
};
use tokio::{io::Interest, net::TcpStream};

/// Bytes that a pipe is asked to hold, as many as the largest buffer.
const CAPACITY: i32 = 256 << 10;
/// How many idle pipes a thread keeps.
const KEEP: usize = 16;
/// How many pipes the process may have: each is two descriptors. Beyond, bytes are copied.
const MOST: usize = 256;

thread_local! {
    static POOL: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// How many pipes there are.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A pipe, and how many bytes are in it.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
}

impl Pipe {
    /// Takes an empty pipe from this thread's pool; `None` where there are too many, or none is to be had.
    pub(super) fn take() -> Option<Self> {
        POOL.with_borrow_mut(Vec::pop).or_else(Self::open)
    }

    fn open() -> Option<Self> {
        if OPEN.fetch_add(1, Ordering::Relaxed) < MOST
            && let Ok((read, write)) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        {
            // A pipe that stays small works as well, with more calls.
            let _size = fcntl(&write, FcntlArg::F_SETPIPE_SZ(CAPACITY));
            return Some(Self { read, write, held: 0 });
        }
        OPEN.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Gives the pipe to this thread's pool. One that holds bytes is closed.
    pub(super) fn give_back(self) {
        POOL.with_borrow_mut(|pool| {
            if self.held == 0 && pool.len() < KEEP {
                pool.push(self);
            }
        });
    }

    /// Moves in what the source has; the pipe must be empty. Takes the connection's error from the source.
    ///
    /// 0 means that the source itself is to be read: splice(2) says the same of an empty socket, of urgent
    /// data, and of FIN.
    pub(super) fn fill(&mut self, source: &TcpStream) -> io::Result<usize> {
        let capacity = CAPACITY.unsigned_abs() as usize;
        self.held = match splice(source, None, &self.write, None, capacity, flags()) {
            Ok(len) => len,
            Err(Errno::EAGAIN | Errno::EINTR | Errno::EINVAL | Errno::ENOMEM | Errno::ENOTCONN) => 0,
            Err(error) => return Err(error.into()),
        };
        Ok(self.held)
    }

    /// Bytes that are still to be moved out.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// Moves out what the sink has room for.
    pub(super) fn drain(&mut self, sink: &TcpStream) -> io::Result<usize> {
        let len = sink
            .try_io(Interest::WRITABLE, || Ok(splice(&self.read, None, sink, None, self.held, flags())?))?;
        self.held -= len;
        Ok(len)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE
}
