//! The samples, and what follows from them.

use anyhow::Result;
use serde_json::{Value, json};

use super::Options;
use super::measure::{IDLE_BYTES, Measure, Target};
use super::netns::Network;
use super::sample::{ForeignLoad, Sample};
use super::tally::Tally;
use super::task::Load;
use super::variant::{Mode, Variant};

/// Below this, differences between direct samples are not called noise.
const MIN_NOISE: f64 = 0.05;

/// Everything that was measured.
pub(super) struct Results {
    pub(super) setting: Vec<(&'static str, String)>,
    /// Names and modes; direct comes first.
    pub(super) columns: Vec<(String, Option<Mode>)>,
    loads: Vec<(Load, Vec<Vec<Sample>>)>,
    idle: Vec<Option<f64>>,
    pub(super) foreign: ForeignLoad,
    pub(super) tally: Tally,
}

/// One row of the table.
pub(super) struct Row {
    pub(super) name: String,
    /// What direct is.
    pub(super) direct: String,
    /// For each column but direct's.
    pub(super) cells: Vec<Option<Cell>>,
}

/// One variant's number.
pub(super) struct Cell {
    pub(super) value: f64,
    pub(super) shown: String,
    pub(super) target: Option<Target>,
}

impl Cell {
    pub(super) fn is_missed(&self) -> bool {
        self.target.is_some_and(|target| !target.is_met(self.value))
    }
}

impl Results {
    pub(super) fn new(options: &Options, network: &Network, variants: &[Variant]) -> Result<Self> {
        let read = |file| std::fs::read_to_string(file).map(|text| text.trim().to_owned());
        let mut setting = vec![
            ("topology", options.topology().label().to_owned()),
            ("rounds", options.rounds().to_string()),
            ("seconds", options.seconds().to_string()),
            ("kernel", read("/proc/sys/kernel/osrelease")?),
            ("processors", std::thread::available_parallelism()?.to_string()),
            ("congestion control", network.client.congestion_control()?),
        ];
        if options.idle() > 0 {
            setting.push(("idle connections", options.idle().to_string()));
        }
        setting.extend(options.suite.setting());
        Ok(Self {
            setting,
            columns: variants.iter().map(|variant| (variant.name(), variant.mode())).collect(),
            loads: Vec::new(),
            idle: vec![None; variants.len()],
            foreign: ForeignLoad::default(),
            tally: Tally::default(),
        })
    }

    /// Adds a sample of the variant in column `at`, in the order in which they are taken.
    pub(super) fn add(&mut self, load: Load, at: usize, sample: Sample) {
        if self.loads.last().is_none_or(|(last, _)| *last != load) {
            self.loads.push((load, vec![Vec::new(); self.columns.len()]));
        }
        if let Some((_, samples)) = self.loads.last_mut() {
            samples[at].push(sample);
        }
    }

    pub(super) fn add_idle(&mut self, at: usize, bytes: f64) {
        self.idle[at] = Some(bytes);
    }

    /// Ratios to direct.
    pub(super) fn ratios(&self) -> Vec<Row> {
        let measures = self.loads.iter().flat_map(|(load, samples)| {
            load.measures().iter().map(move |measure| (*load, *measure, samples))
        });
        let row = |(load, measure, samples): (Load, Measure, &Vec<Vec<Sample>>)| {
            let direct = values(&samples[0], measure);
            let noise = noise(&direct);
            let cell = |(at, (_, mode)): (usize, &(String, Option<Mode>))| {
                let value = median(ratios(&values(&samples[at], measure), &direct))?;
                let target = match mode {
                    Some(Mode::Skip) => Some(Target::Within(noise)),
                    Some(Mode::Opaque | Mode::Detect) => load.target(measure),
                    None => None,
                };
                Some(Cell { value, shown: format!("{value:.2}"), target })
            };
            Row {
                name: measure.row(load),
                direct: median(direct.clone()).map_or_else(String::new, |value| measure.show(value)),
                cells: self.columns.iter().enumerate().skip(1).map(cell).collect(),
            }
        };
        measures.map(row).collect()
    }

    /// What the proxy's process took: its time, and its memory.
    pub(super) fn costs(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.loads.iter().map(|(load, samples)| self.cost(*load, samples)).collect();
        if self.idle.iter().any(Option::is_some) {
            let cell = |(bytes, (_, mode)): (&Option<f64>, &(String, Option<Mode>))| {
                let target = mode.is_some().then_some(Target::AtMost(IDLE_BYTES));
                bytes.map(|value| Cell { value, shown: format!("{value:.0}"), target })
            };
            rows.push(Row {
                name: "bytes per idle connection".into(),
                direct: String::new(),
                cells: self.idle.iter().zip(&self.columns).skip(1).map(cell).collect(),
            });
        }
        rows
    }

    fn cost(&self, load: Load, samples: &[Vec<Sample>]) -> Row {
        let unit = load.proxy_unit();
        let cell = |(samples, (_, mode)): (&Vec<Sample>, &(String, Option<Mode>))| {
            let per_unit =
                samples.iter().map(|sample| sample.proxy_seconds_per_unit).collect::<Option<Vec<_>>>()?;
            let value = median(per_unit)? * unit.factor;
            Some(Cell { value, shown: format!("{value:.2}"), target: mode.and(unit.target) })
        };
        Row {
            name: format!("{}, proxy {}", load.name(), unit.name),
            direct: String::new(),
            cells: samples.iter().zip(&self.columns).skip(1).map(cell).collect(),
        }
    }

    /// Every sample.
    pub(super) fn json(&self) -> Value {
        let load = |(load, samples): &(Load, Vec<Vec<Sample>>)| {
            let column = |((name, _), samples): (&(String, _), &Vec<Sample>)| {
                (name.clone(), samples.iter().map(Sample::json).collect::<Value>())
            };
            let samples: serde_json::Map<_, _> = self.columns.iter().zip(samples).map(column).collect();
            json!({ "load": load.name(), "samples": samples })
        };
        self.loads.iter().map(load).collect()
    }
}

fn values(samples: &[Sample], measure: Measure) -> Vec<f64> {
    samples.iter().filter_map(|sample| sample.value(measure)).collect()
}

/// Each value to the mean of the direct ones before and after it.
fn ratios(values: &[f64], direct: &[f64]) -> Vec<f64> {
    values
        .iter()
        .zip(direct.windows(2))
        .map(|(value, around)| 2.0 * value / (around[0] + around[1]))
        .collect()
}

/// How far a direct sample is from its neighbours' mean, as a rule: what a difference must exceed.
fn noise(direct: &[f64]) -> f64 {
    let off = direct.windows(3).map(|three| (2.0 * three[1] / (three[0] + three[2]) - 1.0).abs()).collect();
    median(off).unwrap_or(MIN_NOISE).max(MIN_NOISE)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values.get(middle).copied(),
        _ => Some((values.get(middle.checked_sub(1)?)? + values.get(middle)?) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_to_the_mean_of_the_direct_samples_around_it() {
        assert_eq!(ratios(&[3.0, 5.0], &[1.0, 2.0, 3.0]), [2.0, 2.0]);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0, 9.0]), Some(4.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn noise_is_how_far_direct_is_from_its_neighbours() {
        assert_eq!(noise(&[1.0, 1.0, 1.0]), MIN_NOISE);
        assert_eq!(noise(&[1.0, 1.25, 1.0]), 0.25);
        assert_eq!(noise(&[1.0, 1.25]), MIN_NOISE);
    }
}
