//! The command line: what may be typed, and what each subcommand does with it.

mod args;
mod asked;
mod check;
mod cluster;
mod destination;
mod explain;
mod inject;
mod learned;
mod log;
mod pods;
mod ports;
mod status;
mod tap;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser as _;

use self::{
    args::{Args, Command, LogLevelArgs},
    asked::Asked,
};
use crate::{
    agent::{self, RunOptions},
    config::Config,
    exec::{self, ExecError, ExecOptions, Outcome},
    kernel,
    policy::PortRules,
};

/// Exit status when sluice itself failed, as of timeout(1) and env(1).
const FAILED: u8 = 125;
/// Exit status when the command could not be run.
const CANNOT_RUN: u8 = 126;
/// Exit status when the command was not found.
const NOT_FOUND: u8 = 127;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let command = args.command;
    match log::start(command.default_log_filter()).and_then(|()| run(command)) {
        Ok(status) => status,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("{error:#}"));
            ExitCode::from(status_of(&error))
        }
    }
}

/// Says something on stderr. A closed one takes no message.
fn say(message: std::fmt::Arguments<'_>) {
    let _nobody_reads = writeln!(io::stderr(), "sluice: {message}");
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match command {
        Command::Exec(args) => {
            drop(out);
            let outcome = exec::exec(ExecOptions {
                ports: PortRules {
                    opaque: args.opaque_ports,
                    skip_outbound: args.skip_outbound_ports,
                    skip_inbound: None,
                },
                report: args.report,
                admin: args.admin,
                otlp_endpoint: args.otlp_endpoint,
                opaque_path: args.opaque_path,
                learn_opaque: args.learn_opaque,
                sk_msg: args.sk_msg,
                threads: args.threads,
                log_level: args.kernel_log.into(),
                command: args.command,
            })?;
            return Ok(end_as(outcome));
        }
        Command::Run(args) => {
            drop(out);
            // Before the runtime has threads.
            kernel::enter_that_of_the_node()?;
            agent::run(RunOptions {
                config: args.config,
                enrol: args.enrol,
                threads: args.threads,
                pin_dir: args.pins.pin_dir,
                control_socket: args.socket.control_socket,
                log_level: args.kernel_log.into(),
            })?;
        }
        Command::Ports(args) => ports::run(args, &mut out)?,
        Command::Status(args) => return status::run(&args, &mut out),
        Command::Tap(args) => tap::run(args, &mut out)?,
        Command::Explain(args) => explain::run(&args, &mut out)?,
        Command::Check(args) => return check::run(&args, &mut out),
        Command::Inject(args) => inject::inject(args, &mut out)?,
        Command::Uninject(args) => inject::uninject(&args, &mut out)?,
        Command::LogLevel(LogLevelArgs { level, pins }) => {
            let Asked { pins, mut control } = Asked::to_change(&pins.pin_dir)?;
            // The agent changes other settings in the same entry.
            let _changing = pins.lock_for_writing()?;
            control.set_log_level(level.into())?;
        }
        Command::Schema => writeln!(out, "{:#}", Config::schema())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends as the command ended.
fn end_as(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Exited(status) => ExitCode::from(u8::try_from(status & 0xff).unwrap_or(FAILED)),
        Outcome::Signalled(signal) => {
            exec::die_by(signal);
            ExitCode::from(u8::try_from(128 + signal).unwrap_or(FAILED))
        }
    }
}

fn status_of(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(ExecError::Spawn { source, .. }) if source.kind() == io::ErrorKind::NotFound => NOT_FOUND,
        Some(ExecError::Spawn { .. }) => CANNOT_RUN,
        Some(_) => FAILED,
        None => 1,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
