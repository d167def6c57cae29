//! `cargo xtask k8s-test`: the tests that need Kubernetes' API, against a real API server.
//!
//! [`source`] fetches Debian's source of Kubernetes, [`build`] makes kube-apiserver of it, once, and
//! [`cluster`] runs it with etcd on loopback. No kubelet and no controller runs: nodes, pods and their
//! status are made by the tests, and so are the namespaces and cgroups that stand for them.

mod build;
mod cluster;
mod process;
mod source;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use self::cluster::Cluster;
use crate::command::{self, Progress};
use crate::setup::{self, Purpose};
use crate::test;
use crate::totals::{self, Totals};
use crate::workspace;

/// How the names of the tests begin that need the API.
const GROUPS: &str = "k8s::";

/// What is done with the API server.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Build the API server, and run no test.
    #[arg(long)]
    build_only: bool,
    /// Run the API server until standard input ends, and no test.
    #[arg(long, conflicts_with = "build_only")]
    serve: bool,
    /// Only tests whose names contain this. Default: all that need the API.
    #[arg(last = true, value_name = "FILTER")]
    filter: Vec<String>,
}

/// Where all of it is.
fn directory() -> PathBuf {
    workspace::target().join("k8s")
}

/// Builds what is missing and does what is asked for; `true` when no test failed.
pub(crate) fn run(options: &Options) -> Result<bool> {
    setup::run(Purpose::K8s, false)?;
    let progress = Progress::new("k8s-test");
    let programs = build::programs(&progress)?;
    if options.build_only {
        return Ok(true);
    }
    if options.serve {
        let cluster = Cluster::start(&progress, &programs)?;
        for (variable, value) in cluster.environment() {
            println!("export {variable}={value}");
        }
        progress.say("runs until standard input ends (Ctrl-D)");
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
        return Ok(true);
    }
    let payload = test::build(&progress)?;
    let cluster = Cluster::start(&progress, &programs)?;
    let began = Instant::now();
    let mut tests = command::command(&payload.tests.to_string_lossy(), &options.filter);
    if options.filter.is_empty() {
        tests.arg(GROUPS);
    }
    tests.env("SLUICE_TEST_TRIES", "2").envs(cluster.environment());
    if let Some(sluice) = &payload.sluice {
        tests.env("SLUICE_BIN", sluice);
    }
    let mut totals = Totals::default();
    let succeeded = test::count(&progress, &mut tests, &mut totals);
    let phase = test::phase("k8s", totals, succeeded, began);
    Ok(totals::summarise(&[phase]))
}
