//! The integration tests on other kernels: Debian's, each in a virtual machine of its own.
//!
//! [`kernel`] fetches the kernel's packages, [`initramfs`] packs the tests with all they need into
//! one archive, and [`qemu`] boots it and reads the console. The guest's first process
//! (`init.sh`) runs the tests, prints one verdict line and powers off. A guest without a verdict
//! has failed.

mod cpio;
mod initramfs;
mod kernel;
mod modules;
mod qemu;

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::command::Progress;
use crate::totals::{Phase, Totals};
use crate::workspace;

/// The kernels that sluice promises to run on: Debian 12's, its backport, and Debian unstable's.
pub(crate) const KERNELS: [&str; 3] = ["6.1", "6.12", "7"];

/// The groups of tests that 6.12 is spared where nothing else is said: it is between two kernels that are tested with
/// all of them, 6.1 in a guest and a newer one natively.
pub(crate) const BETWEEN: (&str, [&str; 13]) = (
    "6.12",
    [
        "bytes::",
        "close::",
        "container::",
        "down::",
        "enrolment::",
        "foreign::",
        "hostile::",
        "identity::",
        "many::",
        "pods::",
        "probes::",
        "reasons::",
        "run::",
    ],
);

/// How the virtual machines run.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) kvm: bool,
    pub(crate) update_kernels: bool,
    pub(crate) deadline: Duration,
    /// Runs in the guest in place of the integration tests.
    pub(crate) program: Option<PathBuf>,
}

/// What runs in the guest.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    /// A libtest-like program: its `test result:` line is the verdict.
    pub(crate) tests: PathBuf,
    /// `SLUICE_BIN` for the tests.
    pub(crate) sluice: Option<PathBuf>,
    /// Arguments to the tests.
    pub(crate) args: Vec<String>,
}

/// Where the kernels, archives and logs are.
fn directory() -> PathBuf {
    workspace::target().join("vm")
}

/// How many guests run at one time. An emulated guest keeps one processor busy; three share two of them for less
/// time than two and then one take, and deadlines have room for it.
const AT_ONCE: usize = KERNELS.len();

/// Runs each kernel's payload on it.
pub(crate) fn run(
    progress: &Progress,
    kernels: &[String],
    options: &Options,
    payload_of: &(impl Fn(&str) -> Payload + Sync),
) -> Vec<Phase> {
    let waiting = Mutex::new(kernels.iter().enumerate());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let mut phases: Vec<_> = thread::scope(|scope| {
        let worker = || {
            let mut phases = Vec::new();
            while let Some((index, wanted)) = next() {
                phases.push((index, run_one(progress, wanted, options, &payload_of(wanted))));
            }
            phases
        };
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    });
    phases.sort_by_key(|(index, _)| *index);
    phases.into_iter().map(|(_, phase)| phase).collect()
}

fn run_one(progress: &Progress, wanted: &str, options: &Options, payload: &Payload) -> Phase {
    let began = Instant::now();
    let (name, verdict) = match boot(progress, wanted, options, payload) {
        Ok((version, verdict)) => (version, verdict),
        Err(error) => (wanted.to_owned(), Err(error)),
    };
    let (totals, note) = match verdict {
        Ok(totals) => (totals, String::new()),
        Err(error) => {
            progress.say(format_args!("FAILED: {error:#}"));
            (Totals::default().settle(false), format!("{error:#}"))
        }
    };
    // The table has one line for each.
    let note = note.lines().next().unwrap_or_default().to_owned();
    Phase { name: format!("vm {name}"), totals, took: began.elapsed(), note }
}

/// The kernel's full version, and the guest's verdict or why there is none.
fn boot(
    progress: &Progress,
    wanted: &str,
    options: &Options,
    payload: &Payload,
) -> Result<(String, Result<Totals>)> {
    let (kernel, archive) = {
        // One at a time: they fetch into the same places.
        static FETCHING: Mutex<()> = Mutex::new(());
        let _alone = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
        let kernel = kernel::find(progress, wanted, options.update_kernels)?;
        let archive = initramfs::pack(progress, &kernel, payload)?;
        (kernel, archive)
    };
    progress.say(format_args!("booting Linux {}", kernel.version));
    let verdict = qemu::run(&kernel, &archive, options);
    Ok((kernel.version, verdict))
}
