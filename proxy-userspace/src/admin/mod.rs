//! The admin server: `/metrics`, `/ready` and `/live` over HTTP/1.
//!
//! Slow and idle clients do not pile up: at most [`MAX_CONNECTIONS`] are served at once (others
//! wait in the listener's queue), a request's header must arrive within
//! [`HEADER_READ_TIMEOUT`], also on a connection that is kept alive, and a connection that has
//! lasted for [`CONNECTION_LIFETIME`] ends with the response it is in.

mod respond;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::metrics::Metrics;

/// How many admin connections are served at once.
pub const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send a request's header.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection is kept; a response that is under way gets as long again to finish.
pub const CONNECTION_LIFETIME: Duration = Duration::from_secs(30);

/// How long open connections may take to finish when the server ends.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
/// How long to wait before the next accept when descriptors or memory ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no admin server.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is taken, not this machine's, or not permitted.
    #[error("cannot listen on the admin address {addr}")]
    Bind {
        /// The address that was asked for.
        addr: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The runtime did not take the listener.
    #[error("cannot serve the admin address {addr}")]
    Serve {
        /// The address that is listened on.
        addr: SocketAddr,
        /// What failed.
        source: io::Error,
    },
}

/// What the endpoints show.
#[derive(Clone, Debug)]
pub struct AdminState {
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// Whether `/ready` says so.
    pub ready: Arc<AtomicBool>,
}

/// A listening admin server that does not answer yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: StdTcpListener,
    local_addr: SocketAddr,
}

impl AdminServer {
    /// Listens. Needs no runtime, so that a taken address is known before anything is changed.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn bind(addr: SocketAddr) -> Result<Self, AdminError> {
        let listen = || {
            let listener = StdTcpListener::bind(addr)?;
            listener.set_nonblocking(true)?;
            let local_addr = listener.local_addr()?;
            Ok(Self { listener, local_addr })
        };
        listen().map_err(|source| AdminError::Bind { addr, source })
    }

    /// The address that is listened on, with the port that the kernel chose where 0 was asked for.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers until `shutdown` is ready, then lets open requests finish for a second.
    ///
    /// # Errors
    /// When the runtime does not take the listener.
    pub async fn serve(
        self,
        state: AdminState,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), AdminError> {
        let addr = self.local_addr;
        let listener =
            TcpListener::from_std(self.listener).map_err(|source| AdminError::Serve { addr, source })?;
        let (stop, stopped) = watch::channel(());
        let mut connections = JoinSet::new();
        {
            let mut shutdown = pin!(shutdown);
            let mut accept = pin!(accept(&listener, &state, &stopped, &mut connections));
            tokio::select! {
                () = &mut shutdown => {}
                () = &mut accept => {}
            }
        }
        drop(listener);
        drop(stop);
        let finished = async { while connections.join_next().await.is_some() {} };
        if timeout(SHUTDOWN_GRACE, finished).await.is_err() {
            tracing::debug!(open = connections.len(), "admin connections cut at shutdown");
        }
        Ok(())
    }
}

/// Accepts for ever.
async fn accept(
    listener: &TcpListener,
    state: &AdminState,
    stopped: &watch::Receiver<()>,
    connections: &mut JoinSet<()>,
) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _peer)) => {
                let (state, stopped) = (state.clone(), stopped.clone());
                connections.spawn(async move {
                    serve_connection(stream, state, stopped).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "admin connection not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        // Forget those that have ended.
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one connection until it ends, its lifetime is over, or the server stops.
async fn serve_connection(stream: TcpStream, state: AdminState, mut stopped: watch::Receiver<()>) {
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { respond::respond(&state, &request).await }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        // `printf 'GET …' | nc` finishes its side before it reads.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = &mut connection => Some(served),
        _ = stopped.changed() => None,
        () = sleep(CONNECTION_LIFETIME) => None,
    };
    let served = match served {
        Some(served) => served,
        None => {
            connection.as_mut().graceful_shutdown();
            match timeout(CONNECTION_LIFETIME, connection).await {
                Ok(served) => served,
                Err(_elapsed) => Ok(()),
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "admin connection ended early");
    }
}
