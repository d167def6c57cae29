//! `cargo xtask bench pods`: the tests' own pods, in numbers; they measure and print by themselves.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::command::{self, Progress};
use crate::setup::{self, Purpose};
use crate::test;

/// Builds the tests and sluice, where none is given, and runs what measures.
pub(super) fn run(sluice: Option<PathBuf>, progress: &Progress) -> Result<()> {
    setup::run_within(Purpose::Test, progress)?;
    let payload = test::build(progress)?;
    let Some(sluice) = sluice.or(payload.sluice) else { bail!("no sluice was built") };
    let mut tests = command::command(&payload.tests.to_string_lossy(), ["scale::", "--nocapture"]);
    tests.env("SLUICE_BIN", sluice).env("SLUICE_TEST_BENCH", "pods");
    command::run(&mut tests)
}
