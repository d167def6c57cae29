//! The byte pump: both ways at once, from the first byte, in whichever direction it comes.
//!
//! One task moves both directions of a connection. It waits for a socket to have bytes, takes a
//! buffer, reads, shows the bytes to the watcher, writes, and gives the buffer back; it waits for
//! room only while the other side has none. Many bytes that the watcher does not look at pass through
//! a pipe instead, uncopied. What happens to one side is passed on to the other as what it is: FIN as
//! FIN, RST as RST.
//!
//! ```text
//!   one lane:  read ──► pending ──► written ─┐     ends Finished:   FIN came, and was passed on
//!               ▲                            │          SourceGone: the sender was reset
//!               └────────────────────────────┘          SinkGone:   the receiver takes no more
//! ```

mod lane;

use std::{future::poll_fn, io, task::Poll};

use tokio::net::TcpStream;

use lane::{Ended, Lane};

/// Watches the bytes of a connection as they pass.
pub(super) trait Watch {
    /// Whether it looks at bytes; otherwise it may be told their number alone.
    fn looks(&self) -> bool;
    /// Bytes were read from this side; they are not written to the other yet.
    fn sent(&mut self, by: Side, bytes: &[u8]);
    /// As many bytes were taken from this side, unseen.
    fn sent_unseen(&mut self, by: Side, len: usize);
    /// As many bytes were written to this side.
    fn took(&mut self, by: Side, len: usize);
    /// This side has finished, and the other was told.
    fn finished(&mut self, by: Side);
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    /// The side across.
    const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// How a pumped connection ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// Both ends finished.
    Finished,
    /// One end went away: reset, timed out. The other end is to be reset.
    Broken { by: Side, error: io::Error },
}

/// Moves bytes between the client and the server until the connection has ended. `may_splice` is false
/// where one of the sockets must be read by read(2).
pub(super) async fn pump(
    client: &TcpStream,
    server: &TcpStream,
    may_splice: bool,
    watch: &mut impl Watch,
) -> Ending {
    let mut up = Lane::new(Side::Client, may_splice);
    let mut down = Lane::new(Side::Server, may_splice);
    poll_fn(|context| {
        loop {
            let up_state = up.poll(context, client, server, watch);
            down.source_is_gone |= up.ended == Some(Ended::SinkGone);
            let down_state = down.poll(context, server, client, watch);
            if down.ended == Some(Ended::SinkGone) && up_state.is_pending() && !up.source_is_gone {
                up.source_is_gone = true;
                continue;
            }
            return match (up_state, down_state) {
                (Poll::Ready(Ended::Finished), Poll::Ready(Ended::Finished)) => Poll::Ready(Ending::Finished),
                // A source that is gone has nothing more to say, and cannot be told anything.
                (Poll::Ready(Ended::SourceGone), _) => Poll::Ready(broken(Side::Client, &mut up)),
                (_, Poll::Ready(Ended::SourceGone)) => Poll::Ready(broken(Side::Server, &mut down)),
                // A sink that is gone may have sent something before it went: the other lane ends when
                // that is delivered.
                (Poll::Ready(Ended::SinkGone), Poll::Ready(_)) => Poll::Ready(broken(Side::Server, &mut up)),
                (Poll::Ready(_), Poll::Ready(Ended::SinkGone)) => {
                    Poll::Ready(broken(Side::Client, &mut down))
                }
                _ => Poll::Pending,
            };
        }
    })
    .await
}

fn broken(by: Side, lane: &mut Lane) -> Ending {
    let error = lane.error.take().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
    Ending::Broken { by, error }
}

#[cfg(test)]
mod tests;
