//! `cargo xtask instructions`: counts the instructions of what the proxy does most often, under valgrind, and
//! compares with what was counted before (`instructions/reference.json`).
//!
//! Time is noisy where a machine is shared; what a program executes is not. The numbers are those of one
//! compiler, one C library and one valgrind, which the reference names; with others, [`Toolchain`] says how far
//! they may be off.

mod callgrind;
mod reference;
mod toolchain;
mod verdict;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};

use self::reference::Reference;
use self::toolchain::Toolchain;
use self::verdict::Verdicts;
use crate::command::{self, Progress};
use crate::setup::{self, Purpose};
use crate::{test, workspace};

/// What is to be counted.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Write what was counted as the reference, and compare with nothing.
    #[arg(long)]
    accept: bool,
}

/// Instructions of one run of an operation, by its name.
type Counts = BTreeMap<String, u64>;

/// Counts, and compares or accepts; `true` when every operation is within the tolerance.
pub(crate) fn run(options: &Options) -> Result<bool> {
    setup::run(Purpose::Instructions, false)?;
    let progress = Progress::new("instructions");
    let program = test::executable(
        &progress,
        &["build", "--release", "--package=sluice-instructions"],
        "sluice-instructions",
    )?;
    let toolchain = Toolchain::of_this_machine()?;
    let counts = count(&program)?;
    progress.say(format_args!("counted {} operations with {toolchain}", counts.len()));
    let file = workspace::root().join("instructions/reference.json");
    if options.accept {
        let reference = Reference { toolchain, counts };
        reference.write(&file)?;
        println!("{}", verdict::table(&reference.counts, None));
        progress.say("instructions/reference.json holds these now: commit it with what has changed them");
        return Ok(true);
    }
    let reference = Reference::read(&file)?;
    let verdicts =
        Verdicts::new(&counts, &reference.counts, toolchain.tolerance_percent(&reference.toolchain));
    println!("{}", verdict::table(&counts, Some(&verdicts)));
    if let Some(warning) = toolchain.warning(&reference.toolchain) {
        progress.say(warning);
    }
    for complaint in verdicts.complaints() {
        println!("{complaint}");
    }
    progress.say(if verdicts.hold() { "as expected" } else { "FAILED: see above" });
    Ok(verdicts.hold())
}

/// Every operation that the program has.
fn count(program: &Path) -> Result<Counts> {
    let shown = program.to_string_lossy();
    let list = command::output(&mut command::command(&shown, [""; 0]))?;
    let operations = list.lines().map(|line| {
        let (runs, name) = line.split_once(' ')?;
        Some((runs.parse::<u64>().ok().filter(|runs| *runs > 0)?, name))
    });
    let mut counts = Counts::new();
    for operation in operations {
        let (runs, name) = operation.with_context(|| format!("expected a number and a name, got: {list}"))?;
        let total = callgrind::count(program, name)?;
        counts.insert(name.to_owned(), total.div_ceil(runs));
    }
    Ok(counts)
}
