//! The samples of a part, and what follows from them.

use serde_json::{Value, json};

use super::Options;
use super::measure::{Kind, Measure};
use super::sample::{ForeignLoad, Sample};
use super::stats::{Between, Spread, median, noise, ratios};
use super::suite::Part;
use super::tally::Tally;
use super::target::Target;
use super::task::{Load, Task};
use super::variant::Variant;
use super::way::Way;

/// Everything that was measured in a part.
pub(super) struct Results {
    pub(super) part: Part,
    pub(super) setting: Vec<(&'static str, String)>,
    /// Direct comes first.
    pub(super) columns: Vec<Column>,
    loads: Vec<(Load, Vec<Vec<Taken>>)>,
    /// Bytes for each idle connection, by column.
    idle: Vec<Vec<f64>>,
    /// Milliseconds until it is there, by column.
    start: Vec<Vec<f64>>,
    pub(super) foreign: ForeignLoad,
    pub(super) tally: Tally,
}

/// One way, of one build.
pub(super) struct Column {
    pub(super) name: String,
    way: Way,
}

/// A sample, and how many direct ones there were before it.
struct Taken {
    sample: Sample,
    directs_before: usize,
}

/// One row of the table.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Digits behind the point.
    pub(super) decimals: usize,
    /// What direct is.
    pub(super) direct: String,
    /// For each column but direct's.
    pub(super) cells: Vec<Option<Cell>>,
}

/// One way's number.
pub(super) struct Cell {
    pub(super) spread: Spread,
    pub(super) target: Option<Target>,
}

impl Cell {
    pub(super) fn is_missed(&self) -> bool {
        self.target.is_some_and(|target| !target.is_met(self.spread.median))
    }
}

impl Results {
    pub(super) fn new(part: &Part, options: &Options, congestion: String, variants: &[Variant]) -> Self {
        let mut setting = vec![
            ("topology", part.topology.label().to_owned()),
            ("rounds", options.rounds().to_string()),
            ("seconds", options.seconds(part.suite).to_string()),
            ("congestion control", congestion),
            ("threads of each proxy", "1".into()),
        ];
        if options.idle(part.suite) > 0 {
            setting.push(("idle connections", options.idle(part.suite).to_string()));
        }
        setting.extend(part.suite.setting());
        Self {
            part: part.clone(),
            setting,
            columns: variants
                .iter()
                .map(|variant| Column { name: variant.name(), way: variant.way })
                .collect(),
            loads: Vec::new(),
            idle: vec![Vec::new(); variants.len()],
            start: vec![Vec::new(); variants.len()],
            foreign: ForeignLoad::default(),
            tally: Tally::default(),
        }
    }

    /// Adds a sample of the variant in column `at`, in the order in which they are taken.
    pub(super) fn add(&mut self, load: Load, at: usize, sample: Sample) {
        if self.loads.last().is_none_or(|(last, _)| *last != load) {
            self.loads.push((load, self.columns.iter().map(|_| Vec::new()).collect()));
        }
        if let Some((_, samples)) = self.loads.last_mut() {
            let directs_before = samples[0].len();
            samples[at].push(Taken { sample, directs_before });
        }
    }

    pub(super) fn add_idle(&mut self, at: usize, bytes: f64) {
        self.idle[at].push(bytes);
    }

    pub(super) fn add_start(&mut self, at: usize, milliseconds: f64) {
        self.start[at].push(milliseconds);
    }

    /// A row of what each column but direct's makes of its number.
    fn cells(&self, cell: impl Fn(usize, Way) -> Option<Cell>) -> Vec<Option<Cell>> {
        self.columns.iter().enumerate().skip(1).map(|(at, column)| cell(at, column.way)).collect()
    }

    /// Ratios to direct.
    pub(super) fn ratios(&self) -> Vec<Row> {
        let row = |load: Load, measure: Measure, samples: &[Vec<Taken>]| {
            let direct: Vec<f64> = between(&samples[0], measure).iter().map(|taken| taken.value).collect();
            let noise = noise(&direct);
            Row {
                name: measure.row(load),
                kind: measure.kind(),
                decimals: 2,
                cells: self.cells(|at, way| {
                    let spread = Spread::of(ratios(&between(&samples[at], measure), &direct))?;
                    let target = Target::of_ratio(way, load, measure, noise);
                    Some(Cell { spread, target })
                }),
                direct: median(direct).map_or_else(String::new, |value| measure.show(value)),
            }
        };
        let rows = self.loads.iter().flat_map(|(load, samples)| {
            load.measures().iter().map(move |measure| row(*load, *measure, samples))
        });
        rows.collect()
    }

    /// What was used: time of processors, memory, time to start.
    pub(super) fn costs(&self) -> Vec<Row> {
        let is_bulk = |load: Load| matches!(load.task, Task::Up | Task::Down);
        let small = || self.loads.iter().filter(|(load, _)| load.is_small());
        let mut rows: Vec<Row> = small().map(|(load, samples)| self.proxy_time(*load, samples)).collect();
        let bulk = small().filter(|(load, _)| is_bulk(*load));
        rows.extend(bulk.map(|(load, samples)| self.machine_time(*load, samples)));
        let own = |name: &str, values: &[Vec<f64>], target: Target| Row {
            name: name.into(),
            kind: Kind::Cost,
            decimals: 0,
            direct: values[0]
                .first()
                .and(median(values[0].clone()))
                .map_or_else(String::new, |value| format!("{value:.0}")),
            cells: self.cells(|at, way| {
                Some(Cell { spread: Spread::of(values[at].clone())?, target: way.is_own().then_some(target) })
            }),
        };
        for (name, values, target) in [
            ("bytes per idle connection", &self.idle, Target::of_idle_bytes()),
            ("start, ms", &self.start, Target::of_start()),
        ] {
            if values.iter().any(|values| !values.is_empty()) {
                rows.push(own(name, values, target));
            }
        }
        rows
    }

    fn proxy_time(&self, load: Load, samples: &[Vec<Taken>]) -> Row {
        let unit = load.unit();
        Row {
            name: format!("{}, proxy {}", load.name(), unit.name),
            kind: Kind::Cost,
            decimals: 2,
            direct: String::new(),
            cells: self.cells(|at, way| {
                let seconds = |taken: &Taken| Some(taken.sample.proxy_seconds_per_unit? * unit.factor);
                let rounds = samples[at].iter().map(seconds).collect::<Option<Vec<_>>>()?;
                let target = Target::of_proxy_time(way, load);
                Some(Cell { spread: Spread::of(rounds)?, target })
            }),
        }
    }

    fn machine_time(&self, load: Load, samples: &[Vec<Taken>]) -> Row {
        let unit = load.unit();
        let rounds = |at: usize| -> Option<Spread> {
            let seconds = |taken: &Taken| taken.sample.machine_seconds_per_unit * unit.factor;
            Spread::of(samples[at].iter().map(seconds).collect())
        };
        Row {
            name: format!("{}, machine {}", load.name(), unit.name),
            kind: Kind::Cost,
            decimals: 2,
            direct: rounds(0).map_or_else(String::new, |spread| format!("{:.2}", spread.median)),
            cells: self.cells(|at, _| Some(Cell { spread: rounds(at)?, target: None })),
        }
    }

    /// Every sample.
    pub(super) fn samples(&self) -> Value {
        let load = |(load, samples): &(Load, Vec<Vec<Taken>>)| {
            let column = |(column, samples): (&Column, &Vec<Taken>)| {
                let samples = samples.iter().map(|taken| taken.sample.json()).collect::<Value>();
                (column.name.clone(), samples)
            };
            let samples: serde_json::Map<_, _> = self.columns.iter().zip(samples).map(column).collect();
            json!({ "load": load.name(), "samples": samples })
        };
        self.loads.iter().map(load).collect()
    }
}

fn between(samples: &[Taken], measure: Measure) -> Vec<Between> {
    let value = |taken: &Taken| {
        Some(Between { value: taken.sample.value(measure)?, directs_before: taken.directs_before })
    };
    samples.iter().filter_map(value).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::netns::Topology;
    use crate::bench::relay::Means;
    use crate::bench::suite::Suite;
    use crate::bench::way::Mode;

    fn sample(p50: f64) -> Sample {
        Sample::made(json!({ "p50": p50, "p99": 2.0 * p50 }), Some(p50 / 1e6), p50 / 1e6)
    }

    /// A way of sluice's at 1.5 and a relay at 2, in two rounds in which direct grew slower.
    pub(in crate::bench) fn two_rounds() -> Results {
        let ways = [Way::Direct, Way::Exec(Mode::Skip), Way::Relay(Means::Copy)];
        let part = Part { suite: Suite::Streams, topology: Topology::Veth, ways: ways.to_vec() };
        let columns = ways.map(|way| Column { name: way.name(), way });
        let mut results = Results {
            part,
            setting: vec![("rounds", "2".into())],
            columns: columns.into(),
            loads: Vec::new(),
            idle: vec![Vec::new(); 3],
            start: vec![vec![2.0], vec![30.0], Vec::new()],
            foreign: ForeignLoad { samples: 7, ..ForeignLoad::default() },
            tally: Tally::default(),
        };
        let echo = Load::STREAMS[0];
        for (at, p50) in [(0, 8.0), (1, 13.5), (2, 18.0), (0, 10.0), (1, 16.5), (2, 22.0), (0, 12.0)] {
            results.add(echo, at, sample(p50));
        }
        results
    }

    #[test]
    fn each_round_is_compared_with_the_direct_samples_beside_it() {
        let rows = two_rounds().ratios();
        let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["echo 64 B p50", "echo 64 B p99"]);
        let [Some(skip), Some(relay)] = &rows[0].cells[..] else { panic!("two cells") };
        assert_eq!(skip.spread.rounds, [1.5, 1.5]);
        assert_eq!(relay.spread.rounds, [2.0, 2.0]);
        assert!(skip.is_missed() && !relay.is_missed());
    }

    #[test]
    fn costs_are_in_units_of_their_own() {
        let rows = two_rounds().costs();
        let proxy = &rows[0];
        assert_eq!(proxy.name, "echo 64 B, proxy µs/message");
        let median = |cell: &Option<Cell>| cell.as_ref().map(|cell| cell.spread.median);
        assert_eq!(proxy.cells.iter().map(median).collect::<Vec<_>>(), [Some(15.0), Some(20.0)]);
        assert!(rows.iter().all(|row| row.kind == Kind::Cost && row.cells.len() == 2));
    }
}
