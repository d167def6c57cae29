//! What the kernel's hooks counted, read when Prometheus asks.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

use super::labels::HookLabels;

/// A reader of the hooks' counters. Any closure of this shape is one.
pub trait HookCounters: Send + Sync + 'static {
    /// `(hook, outcome, count)` for every outcome; empty where the counters cannot be read.
    fn read(&self) -> Vec<(&'static str, &'static str, u64)>;
}

impl<F> HookCounters for F
where
    F: Fn() -> Vec<(&'static str, &'static str, u64)> + Send + Sync + 'static,
{
    fn read(&self) -> Vec<(&'static str, &'static str, u64)> {
        self()
    }
}

/// Tells the hooks' counters as `sluice_hook_outcomes_total`.
pub(super) struct HookCollector(pub(super) Box<dyn HookCounters>);

impl fmt::Debug for HookCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookCollector").finish_non_exhaustive()
    }
}

impl Collector for HookCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counts = self.0.read();
        if counts.is_empty() {
            return Ok(());
        }
        let mut family = encoder.encode_descriptor(
            "sluice_hook_outcomes",
            "Outcomes of the kernel hooks.",
            None,
            ConstCounter::new(0_u64).metric_type(),
        )?;
        for (hook, outcome, count) in counts {
            ConstCounter::new(count).encode(family.encode_family(&HookLabels { hook, outcome })?)?;
        }
        Ok(())
    }
}
