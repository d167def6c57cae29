//! Learns which destinations are opaque, and lets the kernel know.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use proxy_common::{Direction, LearnedKey, OriginalDst, flags};

use crate::{
    kernel::{Control, KernelError},
    metrics::Metrics,
    policy::{Lessons, Outcome},
};

/// What connections that no rule names have been, and what follows for the next ones.
pub(super) struct Learner {
    state: Mutex<State>,
    metrics: Metrics,
}

struct State {
    lessons: Lessons,
    /// The workloads that learn, by the ids of their cgroups.
    learning: HashSet<u64>,
    control: Control,
}

impl Learner {
    pub(super) fn new(control: Control, metrics: Metrics) -> Self {
        let state = State { lessons: Lessons::default(), learning: HashSet::new(), control };
        Self { state: Mutex::new(state), metrics }
    }

    /// These workloads learn from now on, and no others.
    pub(super) fn set_learning(&self, workloads: impl Iterator<Item = u64>) {
        let mut state = self.lock();
        state.learning = workloads.collect();
        let State { lessons, learning, control } = &mut *state;
        for key in lessons.retain(|id| learning.contains(&id)) {
            warn_of(control.forget_learned(key));
        }
        self.metrics.set_learned(state.lessons.learned());
    }

    /// A connection is known to be opaque, or to be anything else.
    pub(super) fn observed(&self, original: &OriginalDst, is_opaque: bool) {
        let direction =
            if original.flags & flags::INBOUND == 0 { Direction::Outbound } else { Direction::Inbound };
        let key = LearnedKey::new(original.workload, direction, original.addr_be, original.port_be);
        let mut state = self.lock();
        if state.learning.contains(&key.workload) && state.observe(key, is_opaque) {
            self.metrics.set_learned(state.lessons.learned());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether what is learned has changed.
    fn observe(&mut self, key: LearnedKey, is_opaque: bool) -> bool {
        let Self { lessons, control, .. } = self;
        let mut outcome = if is_opaque { lessons.opaque(key, Control::now()) } else { lessons.other(&key) };
        if outcome == Outcome::Known && !control.is_learned(key).unwrap_or(true) {
            // `sluice ports forget`: it begins anew, with this connection.
            lessons.other(&key);
            lessons.opaque(key, Control::now());
            outcome = Outcome::Forgotten;
        }
        match outcome {
            Outcome::Nothing | Outcome::Known => return false,
            Outcome::Forgotten => warn_of(control.forget_learned(key)),
            Outcome::Learned { until, instead_of } => {
                if let Some(other) = instead_of {
                    warn_of(control.forget_learned(other));
                }
                if let Err(error) = control.learn(key, until) {
                    // The map is full, as a rule: its connections go on through the proxy.
                    tracing::debug!(error = error.with_causes(), "a destination is not learned");
                    lessons.other(&key);
                }
            }
        }
        true
    }
}

fn warn_of(result: Result<(), KernelError>) {
    if let Err(error) = result {
        tracing::warn!(error = error.with_causes(), "a destination is opaque for longer than it should be");
    }
}
