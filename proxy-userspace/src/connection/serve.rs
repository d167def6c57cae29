//! From an accepted connection to its end.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsFd as _,
    sync::Arc,
    time::Duration,
};

use proxy_common::{Direction, OriginalDst};
use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream},
};

use super::{
    account::Account,
    downstream::{Downstream, destination, direction},
    live::Open,
    pump::{self, Ending, Side},
    socket,
};
use crate::metrics::CloseReason;

/// How often a record that is not there yet is looked for: first as soon as others have had their turn, then after
/// a rest. A client that came by itself, not by a hook, has none, and is turned away after as many looks.
const RECORD_LOOKS: u32 = 20;
const RECORD_LOOKS_AT_ONCE: u32 = 10;
const RECORD_REST: Duration = Duration::from_millis(1);
/// How long the listener rests when the process is out of descriptors or memory.
const ACCEPT_REST: Duration = Duration::from_millis(10);

/// A listener of the proxy, as its connections know it.
struct Door {
    /// Where it listens; bound to one address, so it is every accepted socket's own.
    own: Option<SocketAddr>,
    downstream: Arc<Downstream>,
}

/// Accepts connections until the task is dropped.
pub(crate) async fn serve(listener: TcpListener, downstream: Arc<Downstream>) {
    let door = Arc::new(Door { own: listener.local_addr().ok(), downstream });
    let downstream = &door.downstream;
    loop {
        match listener.accept().await {
            Ok((client, peer)) => {
                let door = Arc::clone(&door);
                downstream.live.spawn(|open| handle(open, client, peer, door));
            }
            Err(error) if is_exhaustion(&error) => {
                downstream.metrics.rejected(Direction::Outbound, &downstream.workload, CloseReason::Limit);
                tracing::warn!(workload = %downstream.workload, %error, "cannot accept");
                tokio::time::sleep(ACCEPT_REST).await;
            }
            // The client was gone before it was accepted (ECONNABORTED and the like).
            Err(error) => tracing::debug!(workload = %downstream.workload, %error, "accept"),
        }
    }
}

fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// One connection. Whatever goes wrong ends it with RST: the accepted socket is dropped unfinished.
///
/// While it is open, which may be for days, it holds what the relay needs. What it took to come to be is more,
/// and goes before: therefore on the heap.
async fn handle(_open: Open, client: TcpStream, peer: SocketAddr, door: Arc<Door>) {
    let Some((server, mut account)) = Box::pin(reach(&client, peer, &door)).await else { return };
    let reason = relay(&client, &server, &door.downstream, &mut account).await;
    account.close(reason);
}

/// The server that the client meant to reach; `None` where it cannot be, which is accounted for.
async fn reach(client: &TcpStream, peer: SocketAddr, door: &Door) -> Option<(TcpStream, Account)> {
    let Door { own, downstream } = door;
    let original = match original_dst(client, *own, downstream).await {
        Ok(original) => original,
        Err(reason) => {
            tracing::debug!(workload = %downstream.workload, %peer, reason = reason.label(), "refused");
            let came_here = own.is_none_or(|own| client.local_addr().is_ok_and(|local| local == own));
            let direction = if came_here { Direction::Outbound } else { Direction::Inbound };
            downstream.metrics.rejected(direction, &downstream.workload, reason);
            return None;
        }
    };
    let account = Account::open(downstream, peer, &original);
    let upstream = Upstream::of(&original, client, peer, *own);
    match dial(client, &upstream, downstream).await {
        Ok(server) => {
            account.connected();
            Some((server, account))
        }
        Err(reason) => {
            if upstream.presented.is_some() && reason == CloseReason::Refused {
                downstream.surroundings.refused_inbound();
            }
            account.close(reason);
            None
        }
    }
}

/// How the original destination is to be reached.
struct Upstream {
    dst: SocketAddr,
    /// Where the connection must come from, where an outbound client chose that; an inbound one comes from
    /// its destination's own address, by which the kernel's hooks know that it was here already.
    source: Option<IpAddr>,
    /// Whom the application is to see as its peer, where the connection is inbound.
    presented: Option<SocketAddr>,
}

impl Upstream {
    fn of(original: &OriginalDst, client: &TcpStream, peer: SocketAddr, own: Option<SocketAddr>) -> Self {
        let dst = destination(original);
        match direction(original) {
            // A client that chose its address is seen to come from the loopback address otherwise.
            Direction::Outbound => {
                let source = own.filter(|own| own.ip() != peer.ip()).map(|_| peer.ip());
                Self { dst, source, presented: None }
            }
            Direction::Inbound => {
                socket::expect_from_afar(client);
                Self { dst, source: Some(dst.ip()), presented: Some(peer) }
            }
        }
    }
}

async fn original_dst(
    client: &TcpStream,
    own: Option<SocketAddr>,
    downstream: &Downstream,
) -> Result<OriginalDst, CloseReason> {
    for look in 0..RECORD_LOOKS {
        let original = downstream.surroundings.original_dst(client.as_fd()).map_err(|error| {
            tracing::warn!(workload = %downstream.workload, %error, "cannot read the original destination");
            CloseReason::Error
        })?;
        match original {
            Some(original) if Some(destination(&original)) == own => return Err(CloseReason::Loop),
            Some(original) => return Ok(original),
            // A socket is in the accept queue before the hook has run on it, for microseconds.
            None if look < RECORD_LOOKS_AT_ONCE => tokio::task::yield_now().await,
            None => tokio::time::sleep(RECORD_REST).await,
        }
    }
    Err(CloseReason::NoOriginalDst)
}

/// Connects to the original destination from the workload's namespace, unless the client is reset first.
async fn dial(
    client: &TcpStream,
    upstream: &Upstream,
    downstream: &Downstream,
) -> Result<TcpStream, CloseReason> {
    let dst = upstream.dst;
    let mut opened = Err(io::ErrorKind::Other.into());
    let open = &mut || opened = socket::upstream(dst, upstream.source);
    let entered = downstream.surroundings.in_netns(open);
    let socket = entered.and(opened).map_err(|error| dial_reason(&error))?;
    if let Some(peer) = upstream.presented
        && let Err(error) = downstream.surroundings.present_client(socket.as_fd(), peer, dst.port())
    {
        tracing::debug!(workload = %downstream.workload, %peer, %error, "the application will not see its client");
    }
    let connecting = socket.connect(dst);
    tokio::select! {
        biased;
        connected = connecting => connected.map_err(|error| {
            tracing::debug!(workload = %downstream.workload, %dst, %error, "cannot connect");
            dial_reason(&error)
        }),
        // Resolves on an error only: data and FIN wait for the server.
        _ = client.ready(Interest::ERROR) => Err(CloseReason::ClientReset),
    }
}

fn dial_reason(error: &io::Error) -> CloseReason {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ECONNRESET) => CloseReason::Refused,
        Some(
            libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::EACCES
            | libc::EPERM,
        ) => CloseReason::Unreachable,
        Some(libc::ETIMEDOUT) => CloseReason::TimedOut,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL) => {
            CloseReason::Limit
        }
        _ => CloseReason::Error,
    }
}

/// Pumps until the connection ends, and readies both sockets to end as it did.
async fn relay(
    client: &TcpStream,
    server: &TcpStream,
    downstream: &Downstream,
    account: &mut Account,
) -> CloseReason {
    // splice(2) does not see what `sk_msg` brought.
    let may_splice = !account.may_use_sk_msg();
    match pump::pump(client, server, may_splice, account).await {
        Ending::Finished => {
            socket::finish(client);
            socket::finish(server);
            CloseReason::Eof
        }
        Ending::Broken { by, error } => {
            tracing::debug!(workload = %downstream.workload, ?by, %error, "broken");
            socket::wait_until_sent(match by {
                Side::Client => server,
                Side::Server => client,
            })
            .await;
            broken_reason(by, &error)
        }
    }
}

fn broken_reason(by: Side, error: &io::Error) -> CloseReason {
    match (by, error.kind()) {
        (Side::Client, io::ErrorKind::TimedOut) => CloseReason::ClientTimedOut,
        (Side::Client, _) => CloseReason::ClientReset,
        (Side::Server, io::ErrorKind::TimedOut) => CloseReason::ServerTimedOut,
        (Side::Server, _) => CloseReason::ServerReset,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A node holds tens of thousands of connections that do nothing.
    #[test]
    fn a_connection_s_task_is_small() {
        fn size_of_future<Args, Connection: Future>(_: impl FnOnce(Args) -> Connection) -> usize {
            size_of::<Connection>()
        }
        let size = size_of_future(|(open, client, peer, door)| handle(open, client, peer, door));
        assert!(size <= 832, "{size} bytes");
    }
}
