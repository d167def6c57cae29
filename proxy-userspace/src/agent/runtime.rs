//! The threads of a node: those that connections live on, and those that do everything else.
//!
//! A connection is accepted, dialled and pumped on the same threads. What the agent does besides, such as
//! loading programs for a new pod, never holds them up.

use std::{future::Future, io, num::NonZeroU8, thread};

use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::oneshot,
};

/// The threads of connections. Dropping it ends them, and the connections with them.
struct Connections {
    handle: Handle,
    threads: Option<Threads>,
}

enum Threads {
    /// One that schedules by itself: nothing is shared, and nobody else is to be woken.
    One { end: oneshot::Sender<()>, thread: thread::JoinHandle<()> },
    /// Several that take one another's work.
    Several(#[expect(dead_code, reason = "held for its Drop")] Runtime),
}

impl Connections {
    fn start(threads: NonZeroU8) -> io::Result<Self> {
        if threads.get() > 1 {
            let mut builder = Builder::new_multi_thread();
            let runtime = builder
                .worker_threads(threads.get().into())
                .thread_name("connections")
                .enable_all()
                .build()?;
            return Ok(Self { handle: runtime.handle().clone(), threads: Some(Threads::Several(runtime)) });
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("connections".to_owned()).spawn(move || {
            let _sender_gone = runtime.block_on(ended);
        })?;
        Ok(Self { handle, threads: Some(Threads::One { end, thread }) })
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        if let Some(Threads::One { end, thread }) = self.threads.take() {
            drop(end);
            // Their accounts are closed when it has ended.
            let _panicked = thread.join();
        }
    }
}

/// Runs `main` to its end, and gives it the runtime for connections, which has so many threads.
///
/// # Errors
/// When a runtime or its threads cannot be had.
pub(crate) fn block_on<F: Future>(
    threads: NonZeroU8,
    main: impl FnOnce(Handle) -> F,
) -> io::Result<F::Output> {
    let connections = Connections::start(threads)?;
    let rest = Builder::new_multi_thread().worker_threads(1).thread_name("agent").enable_all().build()?;
    Ok(rest.block_on(main(connections.handle.clone())))
}

/// One for each processor that this process may use.
pub(crate) fn default_threads() -> NonZeroU8 {
    let processors = thread::available_parallelism();
    processors.map_or(NonZeroU8::MIN, |processors| processors.try_into().unwrap_or(NonZeroU8::MAX))
}
