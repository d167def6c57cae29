//! `cargo xtask bench`: what a hop through sluice costs, against no hop, and against other hops.
//!
//! The same client talks to the same server directly, under `sluice exec` and through other proxies,
//! a sample at a time: direct, a few ways, direct, a few ways, …; a way's ratio is to the mean of the
//! direct samples before and after it. Every sample has processes of its own, warmed up before they
//! are measured. Nothing here fails for being slow. What is measured together is a [part](suite::Part).

mod agent;
mod cgroups;
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
mod readme;
mod record;
mod redirect;
mod relay;
mod report;
mod results;
mod run;
mod sample;
mod server;
mod servers;
mod setting;
mod stats;
mod suite;
mod tally;
mod target;
mod task;
mod variant;
mod way;
mod worker;

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

pub(crate) use client::{ClientArgs, run as client};
pub(crate) use options::Options;
pub(crate) use program::{ProgramArgs, run as program};
pub(crate) use relay::{RelayArgs, run as relay};
pub(crate) use server::{ServerArgs, run as server};

use crate::command::Progress;
use crate::setup::{self, Purpose};
use crate::{test, workspace};
use cgroups::Cgroups;
use netns::Network;
use options::{Output, What};
use results::Results;
use run::Run;
use sample::Sampler;
use setting::Machine;
use suite::Part;
use variant::{Stage, Variant};
use way::Way;
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
    if options.what == What::Pods {
        return pods::run(options.sluice.take(), &progress);
    }
    let parts = options.parts()?;
    let purpose = options.purpose(&parts);
    let given = options.sluice.take();
    if given.is_none() || purpose == Purpose::Bench {
        setup::run_within(purpose, &progress)?;
    }
    let sluice = match given {
        Some(sluice) => sluice,
        None => test::build_sluice(&progress)?,
    };
    let mut machine = Machine::here()?;
    let mut measured = Vec::new();
    for part in &parts {
        let variants = options.variants(part, &sluice)?;
        variants.iter().try_for_each(|variant| machine.note(variant))?;
        let results = measure(part, &variants, &options, &progress)?;
        if options.output == Output::Text {
            println!("{}\n", report::text(&results));
        }
        measured.push(results);
    }
    match options.output {
        Output::Text => println!("measured on {}", machine.shown()),
        Output::Json => println!("{:#}", everything(&machine, &measured)),
    }
    let Some(directory) = &options.record else { return Ok(()) };
    // cargo may run this from any directory of the workspace.
    record::write(&workspace::root().join(directory), &machine, &measured, &progress)?;
    if options.renews_readme() {
        readme::renew(&machine, &measured)?;
        progress.say("README.md has the excerpt");
    }
    Ok(())
}

/// A part, with namespaces and servers of its own.
fn measure(part: &Part, variants: &[Variant], options: &Options, progress: &Progress) -> Result<Results> {
    let directory = workspace::target().join("bench");
    fs::create_dir_all(&directory)?;
    let network = Network::new(part.topology)?;
    let cgroups = part.ways.contains(&Way::Bypass).then(Cgroups::new).transpose()?;
    let servers = servers::start(part.suite, &network, cgroups.as_ref(), &directory)?;
    let stage = Stage {
        suite: part.suite,
        network: &network,
        cgroups: cgroups.as_ref(),
        directory: &directory,
        seconds: options.seconds(part.suite),
    };
    let server_pids = servers.iter().map(|server| server.pid).collect();
    let run = Run {
        results: Results::new(part, options, network.client.congestion_control()?, variants),
        sampler: Sampler::new(&stage, server_pids, options.foreign),
        options,
        variants,
        progress,
    };
    let results = run.measure()?;
    servers.into_iter().try_for_each(Worker::finish)?;
    Ok(results)
}

/// For programs: the rows, and every sample.
fn everything(machine: &Machine, parts: &[Results]) -> Value {
    let part = |results: &Results| {
        let rows = results.ratios().into_iter().chain(results.costs());
        let foreign = results.foreign;
        json!({
            "name": results.part.name(),
            "setting": results.setting.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "foreign_load": {
                "samples": foreign.samples, "redone": foreign.redone, "disturbed": foreign.disturbed,
                "bound_processors": foreign.bound,
            },
            "requests_counted": {
                "samples": results.tally.samples, "answered": results.tally.answered,
                "beyond": results.tally.beyond,
            },
            "rows": rows.map(|row| record::row_json(results, &row)).collect::<Value>(),
            "samples": results.samples(),
        })
    };
    json!({ "machine": machine.shown(), "parts": parts.iter().map(part).collect::<Value>() })
}

/// This program, in another part.
fn this(part: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.arg(part);
    Ok(command)
}
