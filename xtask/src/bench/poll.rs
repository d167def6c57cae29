//! epoll, level-triggered: what the echo server and the floor relay wait with.

use std::os::fd::AsFd;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Names a descriptor among those waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(pub(super) usize);

/// Descriptors that are waited for.
pub(super) struct Poll {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    Nothing,
    Readable,
    Writable,
    Both,
}

impl Poll {
    pub(super) fn new() -> Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("cannot make an epoll")?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); 256] })
    }

    /// Waits for a descriptor to be readable, until it is closed.
    pub(super) fn add(&self, fd: impl AsFd, token: Token) -> Result<()> {
        self.epoll.add(fd, event(Interest::Readable, token)).context("cannot watch a connection")
    }

    /// Waits for something else.
    pub(super) fn change(&self, fd: impl AsFd, token: Token, interest: Interest) -> Result<()> {
        let changed = self.epoll.modify(fd, &mut event(interest, token));
        changed.context("cannot watch a connection")
    }

    /// The descriptors that are ready, at least one.
    pub(super) fn wait(&mut self) -> Result<Vec<Token>> {
        loop {
            match self.epoll.wait(&mut self.events, EpollTimeout::NONE) {
                Ok(count) => {
                    let token =
                        |event: &EpollEvent| Token(usize::try_from(event.data()).unwrap_or(usize::MAX));
                    return Ok(self.events.iter().take(count).map(token).collect());
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("cannot wait"),
            }
        }
    }
}

fn event(interest: Interest, Token(number): Token) -> EpollEvent {
    let flags = match interest {
        Interest::Nothing => EpollFlags::empty(),
        Interest::Readable => EpollFlags::EPOLLIN,
        Interest::Writable => EpollFlags::EPOLLOUT,
        Interest::Both => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
    };
    EpollEvent::new(flags, number as u64)
}
