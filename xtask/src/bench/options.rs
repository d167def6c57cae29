//! What the command line asks for.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;

use super::netns::Topology;
use super::suite::{Part, Suite};
use super::variant::Variant;
use super::way::Way;
use crate::setup::Purpose;

/// Where runs are recorded, where nothing else is said.
const RECORDED: &str = "docs/bench";

/// What is measured, as it is named on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// Messages, bulk, connections, idle connections.
    #[default]
    Streams,
    /// Requests: wrk over HTTP/1.1, h2load over HTTP/2.
    Http,
    /// Both, streams by veth and by loopback, with the other proxies.
    All,
    /// Pods: how long an agent takes for many, and what it needs.
    Pods,
}

/// How the benchmark runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What is measured.
    #[arg(value_enum, default_value_t)]
    pub(super) what: What,
    /// How client and server reach one another [default: veth; all: both].
    #[arg(long, value_enum)]
    topology: Option<Topology>,
    /// Samples of each way, for each row of the table [default: 5].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Length of a sample [default: 0.4; http: 1].
    #[arg(long, value_name = "S", value_parser = seconds)]
    seconds: Option<f64>,
    /// 2 rounds of 0.2 seconds, and 500 idle connections, where nothing else is said: shows that it
    /// works, not how fast.
    #[arg(long)]
    quick: bool,
    /// Only these, besides direct.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WAYS")]
    only: Vec<Way>,
    /// Only rows whose names contain this; may be repeated.
    #[arg(long, value_name = "TEXT")]
    row: Vec<String>,
    /// Idle connections whose memory is measured; 0 leaves it out [default: 5000; http has none].
    #[arg(long, value_name = "N")]
    idle: Option<usize>,
    /// Also the bare relays (the floors) and the other proxies; http and all have them anyway.
    #[arg(long)]
    peers: bool,
    /// This sluice, instead of building it.
    #[arg(long, value_name = "PROGRAM")]
    pub(super) sluice: Option<PathBuf>,
    /// Another sluice to measure side by side; its columns have an apostrophe.
    #[arg(long, value_name = "PROGRAM")]
    against: Option<PathBuf>,
    /// Processors that others may keep busy during a sample; above it the sample is taken again, up
    /// to three times.
    #[arg(long, default_value_t = 0.2, value_name = "PROCESSORS")]
    pub(super) foreign: f64,
    /// The table for people, or everything for programs.
    #[arg(long, value_enum, default_value_t)]
    pub(super) output: Output,
    /// Write the numbers, the tables and the plots to this directory, instead of what was recorded there
    /// [docs/bench, where none is named].
    #[arg(long, value_name = "DIRECTORY", num_args = 0..=1, require_equals = true, default_missing_value = RECORDED)]
    pub(super) record: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    #[default]
    Text,
    Json,
}

fn seconds(text: &str) -> Result<f64, String> {
    let expected = || format!("expected seconds, from 0.05 to 600, got '{text}'");
    let seconds: f64 = text.parse().map_err(|_not_a_number| expected())?;
    if (0.05..=600.0).contains(&seconds) { Ok(seconds) } else { Err(expected()) }
}

impl Options {
    pub(super) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 })
    }

    pub(super) fn seconds(&self, suite: Suite) -> f64 {
        self.seconds.unwrap_or(if self.quick { 0.2 } else { suite.seconds() })
    }

    /// Idle connections to look at; 0 where some rows only are wanted.
    pub(super) fn idle(&self, suite: Suite) -> usize {
        match suite {
            Suite::Streams if self.row.is_empty() => {
                self.idle.unwrap_or(if self.quick { 500 } else { 5_000 })
            }
            Suite::Streams | Suite::Http => 0,
        }
    }

    /// Whether to measure how long the ways take to be there.
    pub(super) fn starts(&self, suite: Suite) -> bool {
        suite == Suite::Streams && self.wants("start")
    }

    pub(super) fn wants(&self, row: &str) -> bool {
        self.row.is_empty() || self.row.iter().any(|text| row.contains(text.as_str()))
    }

    /// Whether this is the run that the README tells of: everything, recorded where it belongs.
    pub(super) fn renews_readme(&self) -> bool {
        let is_whole = self.what == What::All
            && self.topology.is_none()
            && self.only.is_empty()
            && self.row.is_empty()
            && self.against.is_none();
        is_whole && self.record.as_deref() == Some(Path::new(RECORDED))
    }

    /// What the machine has to have for it.
    pub(super) fn purpose(&self, parts: &[Part]) -> Purpose {
        let has_others = parts.iter().flat_map(|part| &part.ways).any(|way| way.is_foreign());
        // nginx and nghttpd are servers of one, plots are drawn by Python.
        let is_http = parts.iter().any(|part| part.suite == Suite::Http);
        if has_others || is_http || self.record.is_some() { Purpose::Bench } else { Purpose::Build }
    }

    /// What is compared with what; empty for pods, which are a program of their own.
    ///
    /// # Errors
    /// If no part has a way that was asked for, or a row.
    pub(super) fn parts(&self) -> Result<Vec<Part>> {
        let everywhere = self.what == What::All;
        let (suites, topologies): (&[Suite], &[Topology]) = match self.what {
            What::Streams => (&[Suite::Streams], &[Topology::Veth]),
            What::Http => (&[Suite::Http], &[Topology::Veth]),
            What::All => (&[Suite::Streams, Suite::Http], &[Topology::Veth, Topology::Loopback]),
            What::Pods => (&[], &[]),
        };
        let mut parts = Vec::new();
        for suite in suites {
            for topology in self.topology.as_ref().map_or(topologies, std::slice::from_ref) {
                // The other proxies are compared by veth; requests are, where nothing else is asked for.
                let is_side_show = everywhere && *topology == Topology::Loopback && self.topology.is_none();
                if is_side_show && *suite == Suite::Http {
                    continue;
                }
                let others = !is_side_show && (everywhere || self.peers || *suite == Suite::Http);
                let floors = others || everywhere;
                let mut ways = self.only.clone();
                if ways.is_empty() {
                    ways.extend(suite.own());
                    ways.extend(floors.then_some(suite.floors()).into_iter().flatten());
                    ways.extend(others.then_some(suite.others()).into_iter().flatten());
                } else {
                    ways.retain(|way| *way != Way::Direct && suite.ways().contains(way));
                }
                parts.push(Part { suite: *suite, topology: *topology, ways });
            }
        }
        self.check(&parts)?;
        Ok(parts)
    }

    fn check(&self, parts: &[Part]) -> Result<()> {
        for way in &self.only {
            let known: Vec<_> = parts.iter().flat_map(|part| part.suite.ways()).collect();
            let names: Vec<_> = known.iter().map(|way| way.name()).collect();
            ensure!(
                self.what == What::Pods || known.contains(way),
                "--only: expected some of {}, got '{}'",
                names.join(", "),
                way.name()
            );
        }
        let rows: Vec<_> = parts.iter().flat_map(|part| part.suite.loads()).map(|load| load.name()).collect();
        for text in &self.row {
            let is_known =
                rows.iter().any(|row| row.contains(text.as_str())) || "start".contains(text.as_str());
            ensure!(
                self.what == What::Pods || is_known,
                "--row: expected a part of one of these: {}, start; got '{text}'",
                rows.join(", ")
            );
        }
        Ok(())
    }

    /// What is compared; direct comes first.
    ///
    /// # Errors
    /// If a program is not installed.
    pub(super) fn variants(&self, part: &Part, sluice: &Path) -> Result<Vec<Variant>> {
        let of_this = |way, program| Variant { way, program, build: "" };
        let mut variants = vec![of_this(Way::Direct, None)];
        for way in &part.ways {
            let program = match way {
                Way::Direct | Way::Relay(_) | Way::Redirect => None,
                Way::Exec(_) | Way::Bypass => Some(sluice.to_owned()),
                Way::Peer(peer) => Some(peer.program().with_context(|| {
                    format!("{} is not installed: cargo xtask setup --for bench", way.name())
                })?),
            };
            variants.push(of_this(*way, program));
            if let (true, Some(against)) = (way.is_own(), &self.against) {
                if !against.is_file() {
                    bail!("--against: expected a program, got '{}'", against.display());
                }
                variants.push(Variant { way: *way, program: Some(against.clone()), build: "'" });
            }
        }
        Ok(variants)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &str) -> Options {
        Cli::try_parse_from(format!("bench {line}").split_whitespace()).expect("a command line").options
    }

    fn parts(line: &str) -> Vec<(String, Vec<String>)> {
        let parts = options(line).parts().expect("parts");
        let names = |part: &Part| part.ways.iter().map(|way| way.name()).collect();
        parts.iter().map(|part| (part.name(), names(part))).collect()
    }

    #[test]
    fn everything_is_measured_by_veth_and_what_is_ours_by_loopback_too() {
        let all = parts("all");
        let names: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["streams-veth", "streams-loopback", "http-veth"]);
        let has = |part: usize, way: &str| all[part].1.iter().any(|name| name == way);
        assert!(has(0, "envoy") && has(0, "redirect") && has(0, "relay-splice"));
        assert!(has(1, "detect") && has(1, "relay-copy") && !has(1, "envoy"));
        assert!(has(2, "http1") && has(2, "nginx") && !has(2, "detect"));
    }

    #[test]
    fn only_narrows_down_each_part_to_what_it_knows() {
        let only = parts("all --only http1,relay-copy,direct --topology veth");
        let relay = "relay-copy".to_owned();
        assert_eq!(only[0], ("streams-veth".into(), vec![relay.clone()]));
        assert_eq!(only[1], ("http-veth".into(), vec!["http1".into(), relay]));
    }

    #[test]
    fn what_nobody_knows_is_an_error_that_says_what_there_is() {
        let error = options("http --only redirect").parts().expect_err("no such way there").to_string();
        assert!(error.contains("got 'redirect'") && error.contains("http2"), "{error}");
        let error = options("streams --row ecko").parts().expect_err("no such row").to_string();
        assert!(error.contains("got 'ecko'") && error.contains("echo 64 B"), "{error}");
        assert!(Cli::try_parse_from(["bench", "--seconds", "never"]).is_err());
        assert!(Cli::try_parse_from(["bench", "--seconds", "0"]).is_err());
    }

    #[test]
    fn only_a_whole_run_that_is_recorded_in_its_place_renews_the_readme() {
        assert!(options("all --record").renews_readme());
        for line in ["all", "all --record=/tmp/elsewhere", "http --record", "all --record --only skip"] {
            assert!(!options(line).renews_readme(), "{line}");
        }
    }

    #[test]
    fn others_are_installed_only_where_they_are_measured() {
        let purpose = |line| {
            let options = options(line);
            options.purpose(&options.parts().expect("parts"))
        };
        assert_eq!(purpose("streams"), Purpose::Build);
        for line in ["streams --peers", "streams --only redirect", "streams --record", "http", "all"] {
            assert_eq!(purpose(line), Purpose::Bench, "{line}");
        }
    }
}
