//! The order of a part's samples.

use anyhow::Result;

use super::options::Options;
use super::results::Results;
use super::sample::Sampler;
use super::task::Load;
use super::variant::Variant;
use super::way::Way;
use crate::command::Progress;

/// Samples between two direct ones: what changes slowly on the machine is to be the same for all of them.
const BETWEEN_DIRECTS: usize = 4;

/// A part, from the first sample to the last.
pub(super) struct Run<'a> {
    pub(super) options: &'a Options,
    /// Direct comes first.
    pub(super) variants: &'a [Variant],
    pub(super) sampler: Sampler<'a>,
    pub(super) results: Results,
    pub(super) progress: &'a Progress,
}

impl Run<'_> {
    pub(super) fn measure(mut self) -> Result<Results> {
        let suite = self.results.part.suite;
        for load in suite.loads() {
            if self.options.wants(&load.name()) {
                self.measure_load(*load)?;
            }
        }
        if self.options.idle(suite) > 0 {
            self.measure_idle(Load::idle(self.options.idle(suite)))?;
        }
        if self.options.starts(suite) {
            self.measure_start()?;
        }
        self.results.foreign = self.sampler.foreign_load();
        self.results.tally = self.sampler.tally();
        Ok(self.results)
    }

    fn measure_load(&mut self, load: Load) -> Result<()> {
        let takes = |at: &usize| self.variants[*at].way.takes(load);
        let others: Vec<_> = (1..self.variants.len()).filter(takes).collect();
        if others.is_empty() {
            return Ok(());
        }
        let rounds = self.options.rounds();
        for round in 0..rounds as usize {
            self.progress.say(format_args!("{}, round {} of {rounds}", load.name(), round + 1));
            for at in order(&others, round) {
                self.sample(load, at)?;
            }
        }
        self.sample(load, 0)
    }

    fn sample(&mut self, load: Load, at: usize) -> Result<()> {
        self.results.add(load, at, self.sampler.measure(&self.variants[at], load)?);
        Ok(())
    }

    /// The memory that idle connections take.
    fn measure_idle(&mut self, load: Load) -> Result<()> {
        for (at, variant) in self.variants.iter().enumerate() {
            if variant.way != Way::Direct {
                self.progress.say(format_args!("{} idle connections, {}", load.count, variant.name()));
                self.results.add_idle(at, self.sampler.bytes_per_connection(variant, load)?);
            }
        }
        Ok(())
    }

    fn measure_start(&mut self) -> Result<()> {
        self.progress.say("start");
        for _ in 0..self.options.rounds() {
            for (at, variant) in self.variants.iter().enumerate() {
                self.results.add_start(at, self.sampler.start_milliseconds(variant)?);
            }
        }
        Ok(())
    }
}

/// A round: each of `others` once, another one first each time, and direct (0) before every few.
fn order(others: &[usize], round: usize) -> Vec<usize> {
    let (late, early) = others.split_at(round % others.len().max(1));
    let turns = [early, late].concat();
    turns.chunks(BETWEEN_DIRECTS).flat_map(|some| [&[0], some].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_comes_before_every_few_and_each_round_begins_with_another() {
        assert_eq!(order(&[1, 2, 3, 4, 5], 0), [0, 1, 2, 3, 4, 0, 5]);
        assert_eq!(order(&[1, 2, 3, 4, 5], 7), [0, 3, 4, 5, 1, 0, 2]);
        assert_eq!(order(&[3], 4), [0, 3]);
    }
}
