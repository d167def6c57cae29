//! The heartbeat: shows the kernel programs that the proxy is alive.
//!
//! A thread of its own beats, because a runtime that is merely busy must not look dead, and beats only
//! while the runtime answers, because one that hangs must. A process that is stopped does neither.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use crate::kernel::Control;

/// How often the thread beats, and how often the runtime answers.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long the runtime may be silent before it is taken for hung.
const RUNTIME_PATIENCE: Duration = Duration::from_secs(5);

/// Beats until it is dropped.
#[derive(Debug)]
pub(super) struct Heartbeat {
    runtime: tokio::task::JoinHandle<()>,
    /// Dropping it ends the thread.
    _running: Arc<()>,
}

impl Heartbeat {
    /// Starts the thread, and the task that answers for the runtime of connections.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(super) fn start(control: Control, connections: &Handle) -> io::Result<Self> {
        let started = Instant::now();
        let answered = Arc::new(AtomicU64::new(0));
        let running = Arc::new(());
        let (seen, still_running) = (Arc::clone(&answered), Arc::downgrade(&running));
        thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            let mut control = control;
            while still_running.strong_count() > 0 {
                let silent =
                    started.elapsed().saturating_sub(Duration::from_millis(seen.load(Ordering::Relaxed)));
                if silent < RUNTIME_PATIENCE {
                    beat(&mut control);
                }
                thread::sleep(INTERVAL);
            }
        })?;
        let runtime = connections.spawn(async move {
            loop {
                let since_start = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                answered.store(since_start, Ordering::Relaxed);
                tokio::time::sleep(INTERVAL).await;
            }
        });
        Ok(Self { runtime, _running: running })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.runtime.abort();
    }
}

fn beat(control: &mut Control) {
    if let Err(error) = control.beat() {
        tracing::error!(%error, "no heartbeat: new connections will go direct");
    }
}
