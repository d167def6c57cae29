//! Builds the fuzz targets as cargo-fuzz does, with any compiler.
//!
//! cargo-fuzz asks for a nightly because of the sanitizers. Coverage alone is had by flags that are stable, and
//! there is little for AddressSanitizer to find in safe code. The flags are in `RUSTFLAGS`, and with `--target`
//! cargo keeps them from what runs while it builds.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::directory;
use crate::command::{self, Progress};

/// The package of the targets.
const PACKAGE: &str = "sluice-fuzz";
/// The example that writes seeds.
const SEEDS: &str = "seeds";
/// What makes code tell libFuzzer where it goes, as in cargo-fuzz 0.13; and the `cfg` that it sets.
const FLAGS: [&str; 6] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// What was built.
pub(super) struct Programs {
    /// Each target's name and program.
    targets: Vec<(String, PathBuf)>,
    /// What writes the seeds.
    pub(super) seeds: PathBuf,
}

impl Programs {
    /// The targets of these names, or all of them.
    pub(super) fn select<'a>(&'a self, names: &'a [String]) -> Result<Vec<&'a str>> {
        if names.is_empty() {
            return Ok(self.names().collect());
        }
        for name in names {
            if !self.names().any(|known| known == name) {
                bail!("expected {}, got '{name}'", self.names().collect::<Vec<_>>().join(", "));
            }
        }
        Ok(names.iter().map(String::as_str).collect())
    }

    /// The program of a target.
    pub(super) fn path(&self, target: &str) -> Result<&PathBuf> {
        let found = self.targets.iter().find(|(name, _)| name == target);
        found.map(|(_, path)| path).with_context(|| format!("cargo named no program `{target}`"))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(|(name, _)| name.as_str())
    }
}

/// Builds all targets.
pub(super) fn build(progress: &Progress) -> Result<Programs> {
    let host = host()?;
    let package = format!("--package={PACKAGE}");
    let mut build = command::cargo(["build", &package, "--bins", "--examples", "--profile=fuzz"]);
    build.args(["--target", &host, "--target-dir"]).arg(directory().join("build"));
    build.arg("--message-format=json-render-diagnostics").env("RUSTFLAGS", FLAGS.join(" "));
    build.env_remove("CARGO_ENCODED_RUSTFLAGS");
    progress.say(format_args!("$ RUSTFLAGS=\"{} …\" {}", FLAGS[0], command::show(&build)));
    let (mut targets, mut seeds) = (Vec::new(), None);
    let succeeded = command::lines(&mut build, |line| {
        if let Some((name, path)) = program(line) {
            if name == SEEDS {
                seeds = Some(path);
            } else {
                targets.push((name, path));
            }
        }
    })?;
    if !succeeded {
        bail!("the fuzz targets cannot be built");
    }
    targets.sort();
    Ok(Programs { targets, seeds: seeds.context("cargo named no program that writes seeds")? })
}

/// The name and the path of a program of ours that cargo says it has made.
fn program(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_ours = message["package_id"].as_str()?.contains(&format!("/fuzz#{PACKAGE}@"));
    let path = message["executable"].as_str().filter(|_| is_ours)?;
    Some((message["target"]["name"].as_str()?.to_owned(), path.into()))
}

/// The triple of this machine, which cargo must be told for the flags not to go everywhere.
fn host() -> Result<String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = command::output(&mut command::command(&rustc, ["-vV"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc names no host")
}
