//! `cargo xtask bench`: what a hop through sluice costs, against no hop.
//!
//! The same client talks to the same server directly and under `sluice exec`, a sample at a time:
//! direct, each variant, direct, each variant, …; a variant's ratio is to the mean of the direct
//! samples before and after it. Every sample has processes of its own, warmed up before they are
//! measured. Nothing here fails for being slow.

mod client;
mod files;
mod haproxy;
mod machine;
mod measure;
mod netns;
mod poll;
mod relay;
mod report;
mod results;
mod sample;
mod server;
mod task;
mod variant;
mod worker;

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::ValueEnum;

pub(crate) use client::{ClientArgs, run as client};
pub(crate) use haproxy::{HaproxyArgs, run as haproxy};
pub(crate) use relay::{RelayArgs, run as relay};
pub(crate) use server::{ServerArgs, run as server};

use crate::command::Progress;
use crate::setup::{self, Purpose};
use crate::{test, workspace};
use netns::{Network, Topology};
use results::Results;
use sample::Sampler;
use task::Load;
use variant::{Mode, Stage, Variant};

/// How the benchmark runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How client and server reach one another.
    #[arg(long, value_enum, default_value_t)]
    topology: Topology,
    /// Samples of each variant, for each row of the table.
    #[arg(long, default_value_t = 7, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Length of a sample.
    #[arg(long, default_value_t = 1.0, value_name = "S")]
    seconds: f64,
    /// 5 rounds of 0.3 seconds, and 1,000 idle connections.
    #[arg(long, conflicts_with_all = ["rounds", "seconds", "idle"])]
    quick: bool,
    /// Only these of sluice's modes.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "MODES")]
    only: Vec<Mode>,
    /// Only rows whose names contain this; may be repeated.
    #[arg(long, value_name = "TEXT")]
    row: Vec<String>,
    /// Idle connections whose memory is measured; 0 leaves it out.
    #[arg(long, default_value_t = 5_000, value_name = "N")]
    idle: usize,
    /// Also a bare relay (the floor), and HAProxy where it is installed.
    #[arg(long)]
    peers: bool,
    /// This sluice, instead of building it.
    #[arg(long, value_name = "PROGRAM")]
    sluice: Option<PathBuf>,
    /// Another sluice to measure side by side; its columns have an apostrophe.
    #[arg(long, value_name = "PROGRAM")]
    against: Option<PathBuf>,
    /// Processors that others may keep busy during a sample; above it the sample is taken again, up
    /// to three times.
    #[arg(long, default_value_t = 0.2, value_name = "PROCESSORS")]
    foreign: f64,
    /// The table for people, or everything for programs.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Write the table to this file as well, as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

/// Measures, and prints what was measured.
pub(crate) fn run(mut options: Options) -> Result<()> {
    if options.quick {
        (options.rounds, options.seconds, options.idle) = (5, 0.3, 1_000);
    }
    let progress = match options.output {
        Output::Text => Progress::new("bench"),
        Output::Json => Progress::on_stderr("bench"),
    };
    if !setup::is_root()? {
        bail!("the benchmark makes network namespaces and runs sluice: run it as root");
    }
    let sluice = match options.sluice.take() {
        Some(sluice) => sluice,
        None => {
            setup::run(Purpose::Build, false)?;
            test::build_sluice(&progress)?
        }
    };
    let directory = workspace::target().join("bench");
    fs::create_dir_all(&directory)?;
    let network = Network::new(options.topology)?;
    let server = variant::server(&network, &directory)?;
    let stage = Stage { network: &network, directory: &directory, seconds: options.seconds };
    let mut sampler = Sampler::new(&stage, server.pid, options.foreign);

    let variants = variants(&options, &sluice);
    let mut results = Results::new(&options, &network, &variants)?;
    for load in Load::ALL {
        let is_wanted = |text: &String| load.name().contains(text.as_str());
        if !options.row.is_empty() && !options.row.iter().any(is_wanted) {
            continue;
        }
        for round in 0..options.rounds as usize {
            progress.say(format_args!("{}, round {} of {}", load.name(), round + 1, options.rounds));
            results.add(load, 0, sampler.measure(&variants[0], load)?);
            // Every variant gets to come first.
            for turn in 0..variants.len() - 1 {
                let at = 1 + (turn + round) % (variants.len() - 1);
                results.add(load, at, sampler.measure(&variants[at], load)?);
            }
        }
        results.add(load, 0, sampler.measure(&variants[0], load)?);
    }
    if options.idle > 0 && options.row.is_empty() {
        let load = variant::idle(options.idle);
        for (at, variant) in variants.iter().enumerate() {
            if *variant == Variant::Direct || variant.mode() == Some(Mode::Skip) {
                continue;
            }
            progress.say(format_args!("{} idle connections, {}", options.idle, variant.name()));
            results.add_idle(at, sampler.bytes_per_connection(variant, load)?);
        }
    }
    results.foreign = sampler.foreign_load();
    server.finish()?;

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

/// What is compared; direct comes first.
fn variants(options: &Options, sluice: &std::path::Path) -> Vec<Variant> {
    let modes =
        if options.only.is_empty() { &[Mode::Skip, Mode::Opaque, Mode::Detect] } else { &options.only[..] };
    let mut variants = vec![Variant::Direct];
    for mode in modes {
        variants.push(Variant::Exec { mode: *mode, sluice: sluice.to_owned(), build: "" });
        if let Some(against) = &options.against {
            variants.push(Variant::Exec { mode: *mode, sluice: against.clone(), build: "'" });
        }
    }
    if options.peers {
        variants.push(Variant::RelayCopy);
        if let Some(program) = workspace::program("haproxy") {
            for splice in [false, true] {
                variants.push(Variant::Haproxy { program: program.clone(), splice });
            }
        } else {
            eprintln!("bench: HAProxy is not installed (apt-get install haproxy): left out");
        }
    }
    variants
}
