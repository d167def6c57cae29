//! Looks now and then who listens in the workloads' network namespaces.
//!
//! The kernel's hooks tell of sockets that were opened in an enrolled cgroup since it was; of all
//! others, nobody does.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::Notify, task::JoinHandle};

use crate::kernel::{InboundHook, KernelError};

/// How often some namespaces are looked into in turn. A listener that opened unseen is left alone until
/// then; one that closed unseen is found by the first connection, which ends with RST.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many at a time: the kernel walks all its listeners for each, half a millisecond on a node of
/// 24 GB (`inet_diag`, Linux 6.18).
const LOOKS: usize = 10;
/// Between two looks that were asked for: workloads must not keep the agent busy.
const LOOK_REST: Duration = Duration::from_millis(100);

/// The namespaces that are looked into. Dropping it ends that.
pub(super) struct InboundWatch {
    hooks: Arc<Mutex<Hooks>>,
    asks: Arc<Asks>,
    task: JoinHandle<()>,
}

/// By the cookie of the namespace.
type Hooks = BTreeMap<u64, Weak<InboundHook>>;

/// The namespaces that somebody wants looked into at once.
#[derive(Debug, Default)]
pub(super) struct Asks {
    netns_cookies: Mutex<BTreeSet<u64>>,
    asked: Notify,
}

impl Asks {
    /// Asks for a look.
    pub(super) fn look_into(&self, netns_cookie: u64) {
        lock(&self.netns_cookies).insert(netns_cookie);
        self.asked.notify_one();
    }
}

impl InboundWatch {
    /// Starts with none. Call it within a tokio runtime.
    pub(super) fn start() -> Self {
        let (hooks, asks) = (Arc::default(), Arc::default());
        let task = tokio::spawn(keep_looking(Arc::clone(&hooks), Arc::clone(&asks)));
        Self { hooks, asks, task }
    }

    /// Looks into the namespaces of these hooks, and no others, from now on.
    pub(super) fn watch<'a>(&self, hooks: impl Iterator<Item = &'a Arc<InboundHook>>) {
        *lock(&self.hooks) = hooks.map(|hook| (hook.netns_cookie(), Arc::downgrade(hook))).collect();
    }

    /// Where to ask for a look at once.
    pub(super) fn asks(&self) -> &Arc<Asks> {
        &self.asks
    }
}

impl Drop for InboundWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_looking(hooks: Arc<Mutex<Hooks>>, asks: Arc<Asks>) {
    let mut last = 0;
    loop {
        let is_due = tokio::time::timeout(LOOK_EVERY, asks.asked.notified()).await.is_err();
        let mut wanted = std::mem::take(&mut *lock(&asks.netns_cookies));
        if is_due {
            let turn = in_turn(&lock(&hooks), last);
            last = turn.last().copied().unwrap_or_default();
            wanted.extend(turn);
        }
        let looked_into: Vec<_> = {
            let hooks = lock(&hooks);
            wanted.iter().filter_map(|cookie| hooks.get(cookie)?.upgrade()).collect()
        };
        let looked = tokio::task::spawn_blocking(move || look(&looked_into)).await;
        if let Err(error) = looked.map_err(|panicked| panicked.to_string()).flatten() {
            tracing::warn!(error, "cannot look who listens");
        }
        tokio::time::sleep(LOOK_REST).await;
    }
}

/// The next namespaces after `last`, and from the first on after the last one.
fn in_turn<T>(hooks: &BTreeMap<u64, T>, last: u64) -> Vec<u64> {
    let after = hooks.range((Bound::Excluded(last), Bound::Unbounded));
    after.chain(hooks.range(..=last)).map(|(cookie, _)| *cookie).take(LOOKS).collect()
}

/// What goes wrong in one namespace does not keep the others from being looked into.
fn look(hooks: &[Arc<InboundHook>]) -> Result<(), String> {
    let Some(first) = hooks.first() else { return Ok(()) };
    let told = |error: KernelError| error.with_causes();
    let noted = first.noted().map_err(told)?;
    hooks.iter().map(|hook| hook.look(&noted).map_err(told)).fold(Ok(()), Result::and)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_namespace_has_its_turn() {
        let hooks: BTreeMap<u64, ()> = (1..=25).map(|cookie| (cookie, ())).collect();
        let mut last = 0;
        let mut turns = || {
            let turn = in_turn(&hooks, last);
            last = *turn.last().unwrap();
            turn
        };
        assert_eq!(turns(), (1..=10).collect::<Vec<_>>());
        assert_eq!(turns(), (11..=20).collect::<Vec<_>>());
        assert_eq!(turns(), [21, 22, 23, 24, 25, 1, 2, 3, 4, 5]);
        assert_eq!(in_turn(&BTreeMap::from([(7, ())]), 7), [7]);
        assert!(in_turn(&BTreeMap::<u64, ()>::new(), 7).is_empty());
    }
}
