//! Doors for the program that counts instructions (`instructions/`), into parts that have none of their own.
//! Nothing else uses them.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::BorrowedFd,
    sync::Arc,
};

use proxy_common::{Decision, OriginalDst, RuleSource, map_v4};
use tokio::net::TcpStream;

use super::{
    account::Account,
    downstream::{Downstream, Surroundings},
    live::Live,
    pump::{self, Side, Watch},
    socket,
};
use crate::{
    metrics::{CloseReason, Metrics},
    tap::Hub,
};

/// The accounts of one workload's connections, all to the same destination.
pub struct Accounts {
    downstream: Arc<Downstream>,
    client: SocketAddr,
    original: OriginalDst,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

impl Accounts {
    /// Those of connections that are inspected, or that are not.
    #[must_use]
    pub fn new(are_inspected: bool) -> Self {
        let decision = if are_inspected { Decision::Detect } else { Decision::Opaque };
        let downstream = Downstream {
            workload: "counted".into(),
            surroundings: Arc::new(Nowhere),
            metrics: Metrics::new(Vec::new),
            reports: None,
            tap: Hub::default(),
            spans: None,
            live: Live::default(),
        };
        let original = OriginalDst {
            addr_be: map_v4([10, 0, 0, 2]),
            port_be: 80_u16.to_be(),
            decision: decision as u8,
            source: RuleSource::None as u8,
            flags: 0,
            cookie: 1,
            workload: 1,
            created_ns: 0,
        };
        Self {
            downstream: Arc::new(downstream),
            client: SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 40_000)),
            original,
        }
    }

    /// Opens the account of a connection, and finds its server.
    #[must_use]
    pub fn open(&self) -> Opened {
        let account = Account::open(&self.downstream, self.client, &self.original);
        account.connected();
        Opened(account)
    }
}

/// The account of an open connection.
pub struct Opened(Account);

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

impl Opened {
    /// The client sends bytes, and the server takes them.
    pub fn client_sends(&mut self, bytes: &[u8]) {
        self.0.sent(Side::Client, bytes);
        self.0.took(Side::Server, bytes.len());
    }

    /// The server sends bytes, and the client takes them.
    pub fn server_sends(&mut self, bytes: &[u8]) {
        self.0.sent(Side::Server, bytes);
        self.0.took(Side::Client, bytes.len());
    }

    /// Both have finished.
    pub fn close(mut self) {
        self.0.finished(Side::Client);
        self.0.finished(Side::Server);
        self.0.close(CloseReason::Eof);
    }
}

/// Moves bytes between two sockets until they have ended; nobody watches where there is no account.
pub async fn pump(client: &TcpStream, server: &TcpStream, account: Option<&mut Opened>) {
    let _ending = match account {
        Some(account) => pump::pump(client, server, true, &mut account.0).await,
        None => pump::pump(client, server, true, &mut Nobody).await,
    };
}

/// A listener whose connections have the options that the proxy's have.
///
/// # Errors
/// As bind(2) and listen(2) fail.
pub fn listen() -> io::Result<TcpListener> {
    socket::listen(Ipv4Addr::LOCALHOST.into())
}

/// Watches nothing.
pub(super) struct Nobody;

impl Watch for Nobody {
    fn looks(&self) -> bool {
        false
    }
    fn sent(&mut self, _: Side, _: &[u8]) {}
    fn sent_unseen(&mut self, _: Side, _: usize) {}
    fn took(&mut self, _: Side, _: usize) {}
    fn finished(&mut self, _: Side) {}
}

/// There is no kernel's side.
struct Nowhere;

impl Surroundings for Nowhere {
    fn original_dst(&self, _: BorrowedFd<'_>) -> io::Result<Option<OriginalDst>> {
        Ok(None)
    }
    fn in_netns(&self, open: &mut dyn FnMut()) -> io::Result<()> {
        open();
        Ok(())
    }
    fn present_client(&self, _: BorrowedFd<'_>, _: SocketAddr, _: u16) -> io::Result<()> {
        Ok(())
    }
    fn refused_inbound(&self) {}
    fn observed(&self, _: &OriginalDst, _: bool) {}
    fn consumed(&self, _: u64, _: u64) {}
    fn ended(&self, _: u64) {}
}
