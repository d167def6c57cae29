//! The project's chores: `cargo xtask --help` lists them.
//!
//! Each chore is a module. What they share: [`command`] runs programs and says how long they
//! took, [`workspace`] knows where things are, [`totals`] adds up test results.
#![expect(clippy::print_stdout, reason = "a chore's output is its product")]

mod bench;
mod cli;
mod command;
mod debian;
mod demo;
mod fuzz;
mod image;
mod instructions;
mod k8s;
mod lint;
mod manifests;
mod setup;
mod test;
mod toolchain;
mod totals;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::run(cli::Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        // What failed was already printed, where it failed.
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
