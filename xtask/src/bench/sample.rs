//! One sample, taken again while others disturb it.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::machine::{self, Foreign, Watch};
use super::measure::Measure;
use super::tally::Tally;
use super::task::Load;
use super::variant::{Stage, Variant};

/// How often a disturbed sample is taken again.
const MAX_REDOS: u32 = 3;
/// After so many samples in a row that stayed disturbed, none is taken again until one is not: the
/// machine is busy for good, and waiting does not help.
const GIVE_UP_AFTER: u32 = 4;
/// Wait before a sample is taken again: what disturbs is often over soon.
const REDO_PAUSE: Duration = Duration::from_millis(500);

/// What one run of a client gave.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    answer: Value,
    /// Seconds of the proxy for each unit of work.
    pub(super) proxy_seconds_per_unit: Option<f64>,
    /// Seconds of all processors for each unit of work.
    pub(super) machine_seconds_per_unit: f64,
    foreign: Foreign,
}

impl Sample {
    pub(super) fn value(&self, measure: Measure) -> Option<f64> {
        self.answer[measure.key()].as_f64()
    }

    #[cfg(test)]
    pub(super) fn made(answer: Value, proxy: Option<f64>, machine: f64) -> Self {
        Self {
            answer,
            proxy_seconds_per_unit: proxy,
            machine_seconds_per_unit: machine,
            foreign: Foreign::default(),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "answer": self.answer, "foreign_processors": self.foreign.0,
            "proxy_seconds_per_unit": self.proxy_seconds_per_unit,
            "machine_seconds_per_unit": self.machine_seconds_per_unit,
        })
    }
}

/// How much others disturbed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ForeignLoad {
    pub(super) samples: u32,
    /// Taken again.
    pub(super) redone: u32,
    /// Kept though disturbed, because every time was.
    pub(super) disturbed: u32,
    pub(super) bound: f64,
}

/// Takes samples.
pub(super) struct Sampler<'a> {
    stage: &'a Stage<'a>,
    server_pids: Vec<u32>,
    load: ForeignLoad,
    tally: Tally,
    disturbed_in_a_row: u32,
}

impl<'a> Sampler<'a> {
    pub(super) fn new(stage: &'a Stage<'a>, server_pids: Vec<u32>, bound: f64) -> Self {
        let load = ForeignLoad { bound, ..ForeignLoad::default() };
        Self { stage, server_pids, load, tally: Tally::default(), disturbed_in_a_row: 0 }
    }

    pub(super) fn foreign_load(&self) -> ForeignLoad {
        self.load
    }

    /// What sluice counted, and the clients.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// A sample; where all tries are disturbed, the least disturbed one.
    pub(super) fn measure(&mut self, variant: &Variant, load: Load) -> Result<Sample> {
        self.load.samples += 1;
        let mut best = self.once(variant, load)?;
        let redos = if self.disturbed_in_a_row < GIVE_UP_AFTER { MAX_REDOS } else { 0 };
        for _ in 0..redos {
            if best.foreign.0 <= self.load.bound {
                break;
            }
            self.load.redone += 1;
            thread::sleep(REDO_PAUSE);
            let next = self.once(variant, load)?;
            if next.foreign < best.foreign {
                best = next;
            }
        }
        if best.foreign.0 > self.load.bound {
            self.load.disturbed += 1;
            self.disturbed_in_a_row += 1;
        } else {
            self.disturbed_in_a_row = 0;
        }
        Ok(best)
    }

    fn once(&mut self, variant: &Variant, load: Load) -> Result<Sample> {
        let mut rig = variant.set_up(load, self.stage)?;
        let mut pids = rig.pids();
        pids.extend(&self.server_pids);
        pids.push(std::process::id());
        let proxy_seconds = |pid: Option<u32>| pid.map(machine::process_seconds).transpose();
        let before = proxy_seconds(rig.proxy_pid)?;
        let watch = Watch::begin(pids)?;
        let answer = rig.client.go().with_context(|| format!("{}: {}", variant.name(), load.name()))?;
        let used = watch.used()?;
        let after = proxy_seconds(rig.proxy_pid)?;
        rig.finish(load)?;
        if variant.counts(load) {
            let report = fs::read_to_string(self.stage.report()).context("sluice left no report")?;
            let compared = self.tally.compare(&report, &answer);
            compared.with_context(|| format!("{}: {}", variant.name(), load.name()))?;
        }
        let units = answer["units"].as_f64().context("a client did not say how much it did")?;
        let proxy_seconds_per_unit = before.zip(after).map(|(before, after)| (after - before) / units);
        let machine_seconds_per_unit = used.machine_seconds / units;
        Ok(Sample { answer, proxy_seconds_per_unit, machine_seconds_per_unit, foreign: used.foreign })
    }

    /// Milliseconds until a way can be used: a proxy listens, or a command under sluice runs.
    pub(super) fn start_milliseconds(&self, variant: &Variant) -> Result<f64> {
        let rig = variant.set_up(Load::START, self.stage)?;
        let ready_after = rig.ready_after();
        rig.finish(Load::START)?;
        Ok(ready_after.as_secs_f64() * 1e3)
    }

    /// Bytes of the proxy's memory for each of many idle connections.
    pub(super) fn bytes_per_connection(&self, variant: &Variant, load: Load) -> Result<f64> {
        let mut rig = variant.set_up(load, self.stage)?;
        let pid = rig.proxy_pid.context("there is no proxy")?;
        let before = machine::resident_bytes(pid)?;
        rig.client.go()?;
        let after = machine::resident_bytes(pid)?;
        rig.finish(load)?;
        Ok((after as f64 - before as f64) / load.count as f64)
    }
}
