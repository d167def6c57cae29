//! The pump: one message from socket to socket, from the poll that finds it to the one that waits again.
//!
//! The sockets are on loopback. A system call counts as one instruction, so that only what the proxy and tokio
//! do is counted.

use std::{
    future::Future,
    io::{Read as _, Write as _},
    net::TcpStream as StdStream,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
};

use anyhow::{Context as _, Result, ensure};
use sluice::connection::counting::{self, Accounts};
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
};

use crate::{
    Turn,
    account::MESSAGE,
    classify::{ANSWER, REQUEST},
    repeat,
};

pub(crate) fn message() -> Result<()> {
    let mut pumped = Pumped::new(None)?;
    repeat(|turn| pumped.pass(turn, End::Client, MESSAGE))
}

pub(crate) fn counted_message() -> Result<()> {
    let mut pumped = Pumped::new(Some(&Accounts::new(false)))?;
    repeat(|turn| pumped.pass(turn, End::Client, MESSAGE))
}

pub(crate) fn http1_exchange() -> Result<()> {
    let mut pumped = Pumped::new(Some(&Accounts::new(true)))?;
    repeat(|turn| {
        pumped.pass(turn, End::Client, REQUEST)?;
        pumped.pass(turn, End::Server, ANSWER)
    })
}

/// Who sends.
#[derive(Clone, Copy)]
enum End {
    Client,
    Server,
}

/// A connection through the pump.
struct Pumped {
    runtime: Runtime,
    client: StdStream,
    server: StdStream,
    downstream: Arc<TcpStream>,
    upstream: Arc<TcpStream>,
    pumping: Pin<Box<dyn Future<Output = ()>>>,
}

impl Pumped {
    fn new(accounts: Option<&Accounts>) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build().context("no runtime")?;
        let (client, downstream) = pair()?;
        let (server, upstream) = pair()?;
        let entered = runtime.enter();
        let (downstream, upstream) =
            (Arc::new(TcpStream::from_std(downstream)?), Arc::new(TcpStream::from_std(upstream)?));
        drop(entered);
        let mut account = accounts.map(Accounts::open);
        let pumping = {
            let (downstream, upstream) = (Arc::clone(&downstream), Arc::clone(&upstream));
            Box::pin(async move { counting::pump(&downstream, &upstream, account.as_mut()).await })
        };
        Ok(Self { runtime, client, server, downstream, upstream, pumping })
    }

    /// A message from one end to the other. What the pump does for it is one poll, and is counted.
    fn pass(&mut self, turn: &Turn, from: End, message: &[u8]) -> Result<()> {
        let Self { runtime, client, server, downstream, upstream, pumping } = self;
        let (sender, source, receiver) = match from {
            End::Client => (client, downstream, server),
            End::Server => (server, upstream, client),
        };
        sender.write_all(message)?;
        // The runtime has learned of the message when the pump is polled.
        runtime.block_on(source.readable())?;
        let polled = turn.count(|| pumping.as_mut().poll(&mut Context::from_waker(Waker::noop())));
        ensure!(polled.is_pending(), "the pump has ended");
        let mut received = vec![0; message.len()];
        receiver.read_exact(&mut received).context("the pump did not pass the message on in one poll")?;
        ensure!(received == message, "the pump passed on other bytes");
        Ok(())
    }
}

/// A connection: the peer's end, whose reads fail where nothing is there, and the proxy's.
fn pair() -> Result<(StdStream, StdStream)> {
    let listener = counting::listen().context("cannot listen on loopback")?;
    let peer = StdStream::connect(listener.local_addr()?).context("cannot connect on loopback")?;
    peer.set_nodelay(true)?;
    peer.set_nonblocking(true)?;
    let (ours, _) = listener.accept()?;
    ours.set_nonblocking(true)?;
    Ok((peer, ours))
}
