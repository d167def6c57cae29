//! `cargo xtask test`: unit tests, kernel integration on this machine, kernel integration in VMs.
//!
//! The integration tests are one program (package `sluice-tests`, target `integration`) that runs
//! unchanged here and in a guest; it finds sluice through `SLUICE_BIN`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::command::{self, Progress};
use crate::setup::{self, Purpose};
use crate::totals::{self, Phase, Totals};
use crate::vm::{self, Payload};

/// Which tests.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) unit: bool,
    pub(crate) native: bool,
    pub(crate) in_vms: bool,
    pub(crate) vm: vm::Options,
    /// libtest's arguments: names, mostly.
    pub(crate) filter: Vec<String>,
}

/// Runs the tests and ends with the table; `true` when nothing failed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    let integration = options.native || options.in_vms;
    setup::run(if integration { Purpose::Test } else { Purpose::Build }, false)?;
    let progress = Progress::new("test");
    let mut phases = Vec::new();
    if options.unit {
        phases.push(unit(&progress, &options.filter));
    }
    if integration {
        match build(&progress) {
            Ok(payload) => {
                if options.native {
                    phases.push(native(&progress, &payload, &options.filter));
                }
                if options.in_vms {
                    let kernels = vm::KERNELS.map(str::to_owned);
                    let (between, spared) = vm::BETWEEN;
                    let payload_of = |kernel: &str| match &options.filter[..] {
                        [] if kernel == between => {
                            for_guest(&payload, &spared.map(|group| format!("--skip={group}")))
                        }
                        filter => for_guest(&payload, filter),
                    };
                    phases.extend(vm::run(&progress, &kernels, &options.vm, &payload_of));
                }
            }
            Err(error) => phases.push(not_built(&progress, &error)),
        }
    }
    Ok(totals::summarise(&phases))
}

/// `cargo xtask vm-test`
pub(crate) fn run_vms(kernels: &[String], options: &vm::Options, filter: &[String]) -> Result<bool> {
    setup::run(Purpose::Test, false)?;
    let progress = Progress::new("vm-test");
    let payload = match &options.program {
        Some(program) => Payload { tests: program.clone(), sluice: None, args: filter.to_vec() },
        None => for_guest(&build(&progress)?, filter),
    };
    let all = vm::KERNELS.map(str::to_owned);
    let kernels = if kernels.is_empty() { &all[..] } else { kernels };
    Ok(totals::summarise(&vm::run(&progress, kernels, options, &|_: &str| payload.clone())))
}

fn unit(progress: &Progress, filter: &[String]) -> Phase {
    // proxy-ebpf is for the kernel only; what it decides is tested in proxy-common.
    let crates = ["test", "--workspace", "--exclude=proxy-ebpf", "--exclude=sluice-tests", "--no-fail-fast"];
    let harness = ["test", "--package=sluice-tests", "--lib"];
    let commands = [command::cargo(crates), command::cargo(harness)];
    let began = Instant::now();
    let mut totals = Totals::default();
    let mut succeeded = true;
    for mut command in commands {
        command.arg("--").args(filter);
        succeeded &= count(progress, &mut command, &mut totals);
    }
    phase("unit", totals, succeeded, began)
}

fn native(progress: &Progress, payload: &Payload, filter: &[String]) -> Phase {
    let began = Instant::now();
    let mut totals = Totals::default();
    let mut tests = command::command(&payload.tests.to_string_lossy(), filter);
    // A busy machine can miss a deadline; what fails once is named in the end.
    tests.env("SLUICE_TEST_TRIES", "2");
    if let Some(sluice) = &payload.sluice {
        tests.env("SLUICE_BIN", sluice);
    }
    let succeeded = count(progress, &mut tests, &mut totals);
    phase("native", totals, succeeded, began)
}

/// Runs tests, shows what they print and counts their results; whether the command succeeded.
pub(crate) fn count(progress: &Progress, command: &mut Command, totals: &mut Totals) -> bool {
    progress.say(format_args!("$ {}", command::show(command)));
    let ended = command::lines(command, |line| {
        println!("{line}");
        totals.read(line);
    });
    ended.unwrap_or_else(|error| {
        progress.say(format_args!("{error:#}"));
        false
    })
}

pub(crate) fn phase(name: &str, totals: Totals, succeeded: bool, began: Instant) -> Phase {
    let note = match (succeeded, totals.failed) {
        (false, 0) => "did not come to its end: see above",
        (true, _) | (false, _) => "",
    };
    Phase { name: name.into(), totals: totals.settle(succeeded), took: began.elapsed(), note: note.into() }
}

fn not_built(progress: &Progress, error: &anyhow::Error) -> Phase {
    progress.say(format_args!("FAILED: {error:#}"));
    Phase {
        name: "build".into(),
        totals: Totals::default().settle(false),
        took: std::time::Duration::ZERO,
        note: "the integration tests could not run".into(),
    }
}

/// Builds sluice and the integration tests, as they are released.
pub(crate) fn build(progress: &Progress) -> Result<Payload> {
    if !setup::is_root()? {
        bail!("the integration tests load programs into the kernel and make namespaces: run them as root");
    }
    let sluice = build_sluice(progress)?;
    let tests = ["test", "--release", "--package=sluice-tests", "--test=integration", "--no-run"];
    let tests = executable(progress, &tests, "integration")?;
    Ok(Payload { tests, sluice: Some(sluice), args: Vec::new() })
}

/// Builds sluice as it is released; where the program is.
pub(crate) fn build_sluice(progress: &Progress) -> Result<PathBuf> {
    executable(progress, &["build", "--release", "--package=sluice"], "sluice")
}

/// Builds with cargo and takes the program's path from what cargo says it made.
pub(crate) fn executable(progress: &Progress, build: &[&str], name: &str) -> Result<PathBuf> {
    progress.say(format_args!("$ cargo {}", build.join(" ")));
    let mut cargo = command::cargo(build);
    let mut found = None;
    let succeeded = command::lines(cargo.arg("--message-format=json-render-diagnostics"), |line| {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else { return };
        if message["target"]["name"] == name
            && let Some(path) = message["executable"].as_str()
        {
            found = Some(PathBuf::from(path));
        }
    })?;
    if !succeeded {
        bail!("`cargo {}` failed", build.join(" "));
    }
    found.with_context(|| format!("`cargo {}` made no program `{name}`", build.join(" ")))
}

/// A guest has two emulated processors: tests run one by one, so that no deadline of theirs is
/// missed for want of time.
fn for_guest(payload: &Payload, filter: &[String]) -> Payload {
    let mut args = vec!["--test-threads=1".to_owned()];
    args.extend_from_slice(filter);
    Payload { args, ..payload.clone() }
}
