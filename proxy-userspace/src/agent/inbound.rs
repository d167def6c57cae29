//! Looks now and then who listens in the workloads' network namespaces.
//!
//! The kernel's hooks tell of sockets that were opened in an enrolled cgroup since it was; of all
//! others, nobody does.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::Notify, task::JoinHandle};

use crate::kernel::InboundHook;

/// How long a listener that closed unseen goes on taking connections, which end with RST then, and how
/// long one that opened unseen is left alone.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks that were asked for.
const LOOK_REST: Duration = Duration::from_millis(20);

/// The namespaces that are looked into. Dropping it ends that.
pub(super) struct InboundWatch {
    hooks: Arc<Mutex<BTreeMap<u64, Weak<InboundHook>>>>,
    look: Arc<Notify>,
    task: JoinHandle<()>,
}

impl InboundWatch {
    /// Starts with none. Call it within a tokio runtime.
    pub(super) fn start() -> Self {
        let hooks = Arc::new(Mutex::new(BTreeMap::new()));
        let look = Arc::new(Notify::new());
        let task = tokio::spawn(keep_looking(Arc::clone(&hooks), Arc::clone(&look)));
        Self { hooks, look, task }
    }

    /// Looks into the namespaces of these hooks, and no others, from now on.
    pub(super) fn watch<'a>(&self, hooks: impl Iterator<Item = &'a Arc<InboundHook>>) {
        let hooks = hooks.map(|hook| (hook.netns_cookie(), Arc::downgrade(hook))).collect();
        *self.hooks.lock().unwrap_or_else(PoisonError::into_inner) = hooks;
    }

    /// Asks for a look at once.
    pub(super) fn look(&self) -> &Arc<Notify> {
        &self.look
    }
}

impl Drop for InboundWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_looking(hooks: Arc<Mutex<BTreeMap<u64, Weak<InboundHook>>>>, look: Arc<Notify>) {
    loop {
        let _asked_or_due = tokio::time::timeout(LOOK_EVERY, look.notified()).await;
        let now: Vec<_> = {
            let hooks = hooks.lock().unwrap_or_else(PoisonError::into_inner);
            hooks.values().filter_map(Weak::upgrade).collect()
        };
        let looked = tokio::task::spawn_blocking(move || {
            for hook in now {
                if let Err(error) = hook.look() {
                    tracing::warn!(%error, netns = hook.netns_cookie(), "cannot look who listens");
                }
            }
        });
        if let Err(error) = looked.await {
            tracing::warn!(%error, "looking who listens failed");
        }
        tokio::time::sleep(LOOK_REST).await;
    }
}
