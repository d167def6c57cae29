//! What the command line asks for.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::ValueEnum;

use super::netns::Topology;
use super::suite::Suite;
use super::variant::{Variant, Way};

/// How the benchmark runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What is measured.
    #[arg(value_enum, default_value_t)]
    pub(super) suite: Suite,
    /// How client and server reach one another [default: loopback; http: veth].
    #[arg(long, value_enum)]
    topology: Option<Topology>,
    /// Samples of each variant, for each row of the table [default: 7; http: 5].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Length of a sample [default: 1].
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// 5 rounds of 0.3 seconds, and 1,000 idle connections, where nothing else is said.
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
    /// Also a bare relay (the floor), and the other proxies that are installed; http has them anyway.
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
    /// Write the table to this file as well, as Markdown.
    #[arg(long, value_name = "FILE")]
    pub(super) markdown: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    #[default]
    Text,
    Json,
}

impl Options {
    pub(super) fn topology(&self) -> Topology {
        self.topology.unwrap_or(self.suite.topology())
    }

    pub(super) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 5 } else { self.suite.rounds() })
    }

    pub(super) fn seconds(&self) -> f64 {
        self.seconds.unwrap_or(if self.quick { 0.3 } else { 1.0 })
    }

    /// Idle connections to look at; 0 where some rows only are wanted.
    pub(super) fn idle(&self) -> usize {
        match self.suite {
            Suite::Streams if self.row.is_empty() => {
                self.idle.unwrap_or(if self.quick { 1_000 } else { 5_000 })
            }
            Suite::Streams | Suite::Http | Suite::Pods => 0,
        }
    }

    pub(super) fn wants(&self, row: &str) -> bool {
        self.row.is_empty() || self.row.iter().any(|text| row.contains(text.as_str()))
    }

    /// What is compared; direct comes first.
    ///
    /// # Errors
    /// If the suite does not have what was asked for.
    pub(super) fn variants(&self, sluice: &Path) -> Result<Vec<Variant>> {
        let suite = self.suite;
        let mut ways = self.only.clone();
        if ways.is_empty() {
            ways.extend(suite.modes().iter().copied().map(Way::Exec));
        }
        if self.peers || self.only.is_empty() && suite.always_has_peers() {
            ways.extend(suite.peers().iter().filter(|way| !self.only.contains(way)));
        }
        let mut variants = vec![Variant::Direct];
        for way in ways {
            match way {
                Way::Exec(mode) => {
                    variants.push(Variant::Exec { mode, sluice: sluice.to_owned(), build: "" });
                    if let Some(against) = &self.against {
                        variants.push(Variant::Exec { mode, sluice: against.clone(), build: "'" });
                    }
                }
                Way::RelayCopy => variants.push(Variant::RelayCopy),
                Way::Peer(peer) => {
                    let known: Vec<_> = suite.peers().iter().map(|way| way.name()).collect();
                    let name = way.name();
                    ensure!(known.contains(&name), "'{name}' is not among these: {}", known.join(", "));
                    match peer.program() {
                        Some(program) => variants.push(Variant::Peer { peer, program }),
                        None => eprintln!(
                            "bench: {name} is not installed (cargo xtask setup --for bench): left out"
                        ),
                    }
                }
            }
        }
        Ok(variants)
    }
}
