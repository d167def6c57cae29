//! The open connections.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::task::AbortHandle;

/// The open connections, and how many there have been. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    accepted: AtomicU64,
    /// By number. The handle is there as soon as the task has been started.
    open: Mutex<HashMap<u64, Option<AbortHandle>>>,
}

/// An open connection; dropping it counts it out.
pub(super) struct Open {
    shared: Arc<Shared>,
    number: u64,
}

impl Live {
    /// Runs a connection in a task of its own, which holds on to what it is handed until it ends.
    pub(super) fn spawn<Connection>(&self, connection: impl FnOnce(Open) -> Connection)
    where
        Connection: Future<Output = ()> + Send + 'static,
    {
        let number = self.shared.accepted.fetch_add(1, Ordering::Relaxed);
        let open = Open { shared: Arc::clone(&self.shared), number };
        self.shared.open().insert(number, None);
        // The connection itself is the task: wrapped in another future it would take its size twice.
        let task = tokio::spawn(connection(open));
        // Unless it has ended already.
        if let Some(handle) = self.shared.open().get_mut(&number) {
            *handle = Some(task.abort_handle());
        }
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.shared.open().len()
    }

    /// How many have been accepted.
    pub(crate) fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Cuts every one that is open: both ends are reset.
    pub(crate) fn cut(&self) {
        for handle in self.shared.open().values().flatten() {
            handle.abort();
        }
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Option<AbortHandle>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.open().remove(&self.number);
    }
}
