//! `cargo xtask bench`: what a hop through sluice costs, against no hop.
//!
//! The same client talks to the same server directly, under `sluice exec` and through other proxies,
//! a sample at a time: direct, each variant, direct, each variant, …; a variant's ratio is to the
//! mean of the direct samples before and after it. Every sample has processes of its own, warmed up
//! before they are measured. Nothing here fails for being slow. What is measured together is a
//! [suite](suite::Suite).

mod client;
mod files;
mod http;
mod machine;
mod measure;
mod netns;
mod options;
mod peer;
mod pods;
mod poll;
mod program;
mod relay;
mod report;
mod results;
mod sample;
mod server;
mod servers;
mod suite;
mod tally;
mod task;
mod variant;
mod worker;

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

pub(crate) use client::{ClientArgs, run as client};
pub(crate) use options::Options;
pub(crate) use program::{ProgramArgs, run as program};
pub(crate) use relay::{RelayArgs, run as relay};
pub(crate) use server::{ServerArgs, run as server};

use crate::command::Progress;
use crate::setup::{self, Purpose};
use crate::{test, workspace};
use netns::Network;
use options::Output;
use results::Results;
use sample::Sampler;
use task::Load;
use variant::{Mode, Stage, Variant};
use worker::Worker;

/// Measures, and prints what was measured.
pub(crate) fn run(mut options: Options) -> Result<()> {
    let progress = match options.output {
        Output::Text => Progress::new("bench"),
        Output::Json => Progress::on_stderr("bench"),
    };
    if !setup::is_root()? {
        bail!("the benchmark makes network namespaces and runs sluice: run it as root");
    }
    if options.suite == suite::Suite::Pods {
        return pods::run(options.sluice.take(), &progress);
    }
    let given = options.sluice.take();
    if given.is_none() || options.suite.purpose() == Purpose::Bench {
        setup::run_within(options.suite.purpose(), &progress)?;
    }
    let sluice = match given {
        Some(sluice) => sluice,
        None => test::build_sluice(&progress)?,
    };
    let variants = options.variants(&sluice)?;
    let directory = workspace::target().join("bench");
    fs::create_dir_all(&directory)?;
    let network = Network::new(options.topology())?;
    let servers = servers::start(options.suite, &network, &directory)?;
    let stage =
        Stage { suite: options.suite, network: &network, directory: &directory, seconds: options.seconds() };
    let server_pids = servers.iter().map(|server| server.pid).collect();
    let run = Run {
        results: Results::new(&options, &network, &variants)?,
        sampler: Sampler::new(&stage, server_pids, options.foreign),
        options: &options,
        variants: &variants,
        progress: &progress,
    };
    let results = run.measure()?;
    servers.into_iter().try_for_each(Worker::finish)?;

    if let Some(file) = &options.markdown {
        fs::write(file, report::markdown(&results))?;
        progress.say(format_args!("the table is in {}", file.display()));
    }
    match options.output {
        Output::Text => println!("{}", report::text(&results)),
        Output::Json => println!("{:#}", report::json(&results)),
    }
    Ok(())
}

/// A run, from the first sample to the last.
struct Run<'a> {
    options: &'a Options,
    /// Direct comes first.
    variants: &'a [Variant],
    sampler: Sampler<'a>,
    results: Results,
    progress: &'a Progress,
}

impl Run<'_> {
    fn measure(mut self) -> Result<Results> {
        for load in self.options.suite.loads() {
            if self.options.wants(&load.name()) {
                self.measure_load(*load)?;
            }
        }
        if self.options.idle() > 0 {
            self.measure_idle(variant::idle(self.options.idle()))?;
        }
        self.results.foreign = self.sampler.foreign_load();
        self.results.tally = self.sampler.tally();
        Ok(self.results)
    }

    fn measure_load(&mut self, load: Load) -> Result<()> {
        let rounds = self.options.rounds();
        let others = self.variants.len() - 1;
        for round in 0..rounds as usize {
            self.progress.say(format_args!("{}, round {} of {rounds}", load.name(), round + 1));
            self.sample(load, 0)?;
            // Every variant gets to come first.
            for turn in 0..others {
                self.sample(load, 1 + (turn + round) % others)?;
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
            if *variant == Variant::Direct || variant.mode() == Some(Mode::Skip) {
                continue;
            }
            self.progress.say(format_args!("{} idle connections, {}", load.count, variant.name()));
            self.results.add_idle(at, self.sampler.bytes_per_connection(variant, load)?);
        }
        Ok(())
    }
}

/// This program, in another part.
fn this(part: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.arg(part);
    Ok(command)
}
