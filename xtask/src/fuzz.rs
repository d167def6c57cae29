//! `cargo xtask fuzz`: builds the fuzz targets (`fuzz/`), gives them seeds, and runs them for a while.
//!
//! Everything that a run writes is in `target/fuzz`: `build`, `seeds`, the `corpus` that has grown, the `logs`, and
//! in `artifacts` each input that something did not hold for.

mod build;
mod outcome;

use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

use self::build::Programs;
use self::outcome::Outcome;
use crate::command::{self, Progress};
use crate::setup::{self, Purpose};
use crate::workspace;

/// Seconds that one input may take. They take a millisecond, and more on a machine that is busy.
const MAX_SECONDS: u32 = 10;
/// Megabytes that a target may have, libFuzzer's own included.
const MAX_MEGABYTES: u32 = 1024;

/// What is to be run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which targets; all of them without a name.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each runs.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    seconds: u32,
    /// What chance begins with, to have a run again; without it each run is another.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u32>,
    /// How many run at once; without it one for each processor.
    #[arg(long, value_name = "NUMBER")]
    jobs: Option<NonZeroUsize>,
    /// Only this input, such as one that was found, on one target.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

/// Runs the targets; `true` when everything held.
pub(crate) fn run(options: &Options) -> Result<bool> {
    setup::run(Purpose::Fuzz, false)?;
    let progress = Progress::new("fuzz");
    let programs = build::build(&progress)?;
    let targets = programs.select(&options.targets)?;
    if let Some(input) = &options.input {
        let [target] = targets[..] else { bail!("expected the one target that the input is for") };
        let mut once = command::command(&programs.path(target)?.to_string_lossy(), [input]);
        return Ok(progress.run(&mut once).is_ok());
    }
    progress.run(&mut command::command(&programs.seeds.to_string_lossy(), [directory().join("seeds")]))?;
    let seed = options.seed.unwrap_or_else(by_the_clock);
    let jobs = options.jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    progress.say(format_args!(
        "{} targets for {} s each, {jobs} at a time, --seed {seed}",
        targets.len(),
        options.seconds
    ));
    let waiting = Mutex::new(targets.iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next().copied();
    let work = || {
        let mut all_held = true;
        while let Some(target) = next() {
            match fuzz(&programs, target, options.seconds, seed) {
                Ok(outcome) => {
                    progress.say(&outcome);
                    all_held &= outcome.held();
                }
                Err(error) => {
                    progress.say(format_args!("{target}: {error:#}"));
                    all_held = false;
                }
            }
        }
        all_held
    };
    let all_held = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        // A worker that panicked has said so.
        workers.into_iter().map(|worker| worker.join().unwrap_or(false)).fold(true, |all, held| all & held)
    });
    progress.say(if all_held { "everything held" } else { "FAILED: see above" });
    Ok(all_held)
}

/// Runs a target to its end, or to the first input that something does not hold for.
fn fuzz(programs: &Programs, target: &str, seconds: u32, seed: u32) -> Result<Outcome> {
    let directory = |kind: &str| {
        let directory = directory().join(kind).join(target);
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))
            .map(|()| directory)
    };
    let (corpus, seeds, artifacts) = (directory("corpus")?, directory("seeds")?, directory("artifacts")?);
    let sources = workspace::root().join("fuzz");
    let (regressions, dictionary) = (
        sources.join("regressions").join(target),
        sources.join("dictionaries").join(format!("{target}.dict")),
    );
    let log = directory("logs")?.with_extension("log");
    let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;

    let mut fuzzer = command::command(&programs.path(target)?.to_string_lossy(), [corpus, seeds]);
    if regressions.is_dir() {
        fuzzer.arg(regressions);
    }
    if dictionary.is_file() {
        fuzzer.arg(format!("-dict={}", dictionary.display()));
    }
    fuzzer.arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzzer.args([format!("-max_total_time={seconds}"), format!("-seed={seed}")]);
    fuzzer.args([format!("-timeout={MAX_SECONDS}"), format!("-rss_limit_mb={MAX_MEGABYTES}")]);
    fuzzer.args(["-print_final_stats=1", "-verbosity=1"]);
    fuzzer.stdout(out.try_clone().context("cannot share the log")?).stderr(out);
    let status = fuzzer.status().with_context(|| format!("cannot run `{}`", command::show(&fuzzer)))?;
    Outcome::read(target, status, &log)
}

/// Where everything that is written goes.
fn directory() -> PathBuf {
    workspace::target().join("fuzz")
}

/// A path as it is shown: from the top of the repository where it is below.
fn shown(path: &Path) -> String {
    path.strip_prefix(workspace::root()).unwrap_or(path).display().to_string()
}

/// A number that is another one each time, and not 0, which libFuzzer takes for none.
fn by_the_clock() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_millis() % 1_000_000_000).unwrap_or_default() + 1
}
