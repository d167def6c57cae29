//! Servers on threads of the test, which behave in every way a server can.

pub mod behaviour;
mod session;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

pub use self::session::{End, Record, Session};
use crate::netns::Netns;
use crate::wait;

/// A listening server; each connection has a thread of its own. Closed on drop.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    listener: TcpListener,
    records: Receiver<Record>,
    accepted: Receiver<SocketAddr>,
}

impl Server {
    /// A server on a free port of 127.0.0.1.
    #[must_use]
    pub fn start(behaviour: impl Fn(&mut Session) + Send + Sync + 'static) -> Self {
        Self::bind("127.0.0.1:0", behaviour)
    }

    /// A server on an address.
    ///
    /// # Panics
    /// When the address cannot be had.
    #[must_use]
    pub fn bind(addr: &str, behaviour: impl Fn(&mut Session) + Send + Sync + 'static) -> Self {
        Self::serve(listen(addr), behaviour)
    }

    /// A server in another network namespace.
    ///
    /// # Panics
    /// When the address cannot be had.
    #[must_use]
    pub fn bind_in(
        netns: &Netns,
        addr: &str,
        behaviour: impl Fn(&mut Session) + Send + Sync + 'static,
    ) -> Self {
        Self::serve(netns.enter(|| listen(addr)), behaviour)
    }

    /// A server on a listener.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn serve(listener: TcpListener, behaviour: impl Fn(&mut Session) + Send + Sync + 'static) -> Self {
        let addr = listener.local_addr().expect("the address of a listener");
        let (to_records, records) = channel();
        let (to_accepted, accepted) = channel();
        let behaviour = Arc::new(behaviour);
        let accepting = listener.try_clone().expect("clone a listener");
        std::thread::spawn(move || {
            // Ends when the listener is shut down.
            while let Ok((stream, peer)) = accepting.accept() {
                // The test may not care who came, or when.
                to_accepted.send(peer).ok();
                let behaviour = Arc::clone(&behaviour);
                let records: Sender<Record> = to_records.clone();
                std::thread::Builder::new()
                    .stack_size(256 * 1024)
                    .spawn(move || {
                        let mut session = Session::new(stream, peer);
                        behaviour(&mut session);
                        records.send(session.finish()).ok();
                    })
                    .expect("start a thread");
            }
        });
        Self { addr, listener, records, accepted }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Where it listens, as an IPv6 socket names an IPv4 address.
    #[must_use]
    pub fn mapped_addr(&self) -> String {
        format!("[::ffff:{}]:{}", self.addr.ip(), self.addr.port())
    }

    /// The record of the connection that ended next.
    ///
    /// # Panics
    /// When none ends.
    #[must_use]
    pub fn record(&self) -> Record {
        self.record_within(wait::patience())
    }

    /// [`Server::record`], with a limit of its own.
    ///
    /// # Panics
    /// When none ends within the limit.
    #[must_use]
    pub fn record_within(&self, limit: Duration) -> Record {
        self.records
            .recv_timeout(limit)
            .unwrap_or_else(|_| panic!("no connection to {} ended within {limit:?}", self.addr))
    }

    /// The records of the next connections to end, by how much came: their ends race.
    ///
    /// # Panics
    /// When there are not that many.
    #[must_use]
    pub fn records(&self, count: usize) -> Vec<Record> {
        let mut records: Vec<_> = (0..count).map(|_| self.record()).collect();
        records.sort_by_key(|record| record.received.bytes());
        records
    }

    /// Who connected next, as the server sees it.
    ///
    /// # Panics
    /// When nobody does.
    pub fn accepted(&self) -> SocketAddr {
        self.accepted
            .recv_timeout(wait::patience())
            .unwrap_or_else(|_| panic!("nobody connected to {}", self.addr))
    }

    /// Everybody who has connected, and whom [`Server::accepted`] has not told of.
    #[must_use]
    pub fn accepted_so_far(&self) -> Vec<SocketAddr> {
        self.accepted.try_iter().collect()
    }

    /// Whether nobody has connected whom [`Server::accepted`] has not told of.
    #[must_use]
    pub fn was_left_alone(&self) -> bool {
        self.accepted.try_recv().is_err()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes the accepting thread; a listener that was never connected to has nothing to lose.
        SockRef::from(&self.listener).shutdown(std::net::Shutdown::Both).ok();
    }
}

/// A listener with a long queue.
///
/// # Panics
/// When the address cannot be had.
#[must_use]
pub fn listen(addr: &str) -> TcpListener {
    let addr: SocketAddr = addr.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("make a socket");
    socket.set_reuse_address(true).expect("set SO_REUSEADDR");
    socket.bind(&addr.into()).unwrap_or_else(|error| panic!("bind {addr}: {error}"));
    socket.listen(4096).expect("listen");
    socket.into()
}

/// A port that refuses connections for as long as this lives: bound, and not listening.
#[derive(Debug)]
pub struct ClosedPort(Socket);

impl ClosedPort {
    /// A port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("make a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(&any.into()).expect("bind a free port");
        Self(socket)
    }

    /// Its address.
    ///
    /// # Panics
    /// Never: a bound socket has an address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.0.local_addr().ok().and_then(|addr| addr.as_socket()).expect("the address of a socket")
    }
}

impl Default for ClosedPort {
    fn default() -> Self {
        Self::new()
    }
}
