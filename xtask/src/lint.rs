//! `cargo xtask lint`: format, clippy, dependencies, the layer rule, the dashboard's metrics.
//!
//! Every check runs, also after one has failed.

mod dashboard;
mod layers;

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::command::{self, Progress};
use crate::setup::{self, Purpose};
use crate::workspace;

/// How long the advisory database may take to come.
const FETCH: Duration = Duration::from_secs(60);

/// Runs all checks; `true` when nothing was found.
pub(crate) fn run() -> Result<bool> {
    setup::run(Purpose::Lint, false)?;
    let progress = Progress::new("lint");
    let mut failed = Vec::new();
    for (name, mut command) in checks() {
        if progress.run(&mut command).is_err() {
            failed.push(name);
        }
    }
    advisories(&progress, &mut failed)?;
    if !layers(&progress)? {
        failed.push("layers");
    }
    if !dashboard(&progress)? {
        failed.push("dashboard");
    }
    if failed.is_empty() {
        progress.say("nothing found");
    } else {
        progress.say(format_args!("FAILED: {}", failed.join(", ")));
    }
    Ok(failed.is_empty())
}

fn checks() -> [(&'static str, Command); 4] {
    let host = ["clippy", "--workspace", "--exclude=proxy-ebpf", "--all-targets", "--", "-Dwarnings"];
    // A program without std must abort on panic; its own target's profile says so, the host's not.
    let kernel =
        ["clippy", "--package=proxy-ebpf", "--config=profile.dev.panic=\"abort\"", "--", "-Dwarnings"];
    [
        ("fmt", command::cargo(["fmt", "--all", "--check"])),
        ("clippy", command::cargo(host)),
        ("clippy of the kernel programs", command::cargo(kernel)),
        ("deny", command::cargo(["deny", "--log-level=error", "check", "bans", "licenses", "sources"])),
    ]
}

/// Known vulnerabilities: only where their database can be had.
fn advisories(progress: &Progress, failed: &mut Vec<&'static str>) -> Result<()> {
    let mut fetch = command::cargo(["deny", "fetch", "db"]);
    if !succeeds_within(&mut fetch, FETCH)? {
        progress.say("advisories: NOT CHECKED, their database cannot be fetched from here");
        return Ok(());
    }
    let check = ["deny", "--log-level=error", "check", "--disable-fetch", "advisories"];
    if progress.run(&mut command::cargo(check)).is_err() {
        failed.push("advisories");
    }
    Ok(())
}

/// Runs silently; `false` if it fails or takes too long.
fn succeeds_within(command: &mut Command, limit: Duration) -> Result<bool> {
    let began = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    while began.elapsed() < limit {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        thread::sleep(Duration::from_millis(100));
    }
    child.kill()?;
    child.wait()?;
    Ok(false)
}

fn layers(progress: &Progress) -> Result<bool> {
    progress.say("the layer rule in proxy-userspace/src");
    let violations = layers::check(&workspace::root().join("proxy-userspace/src"))?;
    for violation in &violations {
        println!("{violation}");
    }
    Ok(violations.is_empty())
}

fn dashboard(progress: &Progress) -> Result<bool> {
    let (dashboard, docs) = ("deploy/grafana/sluice.json", "docs/metrics.md");
    progress.say(format_args!("the metrics of {dashboard} in {docs}"));
    let undocumented = dashboard::check(&workspace::root().join(dashboard), &workspace::root().join(docs))?;
    for what in &undocumented {
        println!("{what}");
    }
    Ok(undocumented.is_empty())
}
