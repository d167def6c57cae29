//! `sluice inject` and `sluice uninject`: manifests from files and standard input to standard output.

mod read;

use std::{
    fmt::Display,
    io::{self, Write},
    path::PathBuf,
    str::FromStr,
};

use anyhow::Context as _;
use clap::Args as ClapArgs;

use self::read::Input;
use crate::{
    inject::{self, InjectError, Overrides, ReportLine, Transformed},
    policy::BypassMode,
};

/// `sluice inject`.
///
/// Lists are text here: what is wrong with one is no mistake in how the command is called, and has another exit
/// status.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct InjectArgs {
    #[command(flatten)]
    inputs: Inputs,
    /// Ports whose connections are not inspected: numbers, ranges, names of ports.
    #[arg(long, value_name = "PORTS")]
    opaque_ports: Option<String>,
    /// Ports of the pods, to be left alone for those who connect to them.
    #[arg(long, value_name = "PORTS")]
    skip_inbound_ports: Option<String>,
    /// Ports to be left alone where the pods connect to them.
    #[arg(long, value_name = "PORTS")]
    skip_outbound_ports: Option<String>,
    /// Ports to be left alone in both directions.
    #[arg(long, value_name = "PORTS")]
    skip_ports: Option<String>,
    /// Networks to be left alone, such as 10.0.0.0/8,fd00::/8.
    #[arg(long, value_name = "NETWORKS")]
    skip_subnets: Option<String>,
    /// Whether opaque connections within a node go past TCP: disabled, enabled (where the self-test passes),
    /// forced. Not every application can bear that.
    #[arg(long, value_name = "MODE")]
    same_node_bypass: Option<BypassMode>,
}

/// `sluice uninject`.
#[derive(Debug, ClapArgs)]
pub(in crate::cli) struct UninjectArgs {
    #[command(flatten)]
    inputs: Inputs,
}

#[derive(Debug, ClapArgs)]
struct Inputs {
    /// Manifests: a file, a directory with all .yml, .yaml and .json in it and below, or - for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn inject(args: InjectArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let overrides = Overrides {
        opaque_ports: list("opaque-ports", args.opaque_ports)?,
        skip_inbound_ports: list("skip-inbound-ports", args.skip_inbound_ports)?,
        skip_outbound_ports: list("skip-outbound-ports", args.skip_outbound_ports)?,
        skip_ports: list("skip-ports", args.skip_ports)?,
        skip_subnets: list("skip-subnets", args.skip_subnets)?,
        same_node_bypass: args.same_node_bypass,
    };
    run(&args.inputs, |text| inject::inject(text, &overrides), out)
}

pub(super) fn uninject(args: &UninjectArgs, out: &mut impl Write) -> anyhow::Result<()> {
    run(&args.inputs, inject::uninject, out)
}

fn list<T>(flag: &'static str, value: Option<String>) -> anyhow::Result<Option<T>>
where
    T: FromStr,
    T::Err: Display,
{
    let parse = |list: String| list.parse().map_err(|error| anyhow::anyhow!("--{flag}: {error}"));
    value.map(parse).transpose()
}

/// Nothing is written before all of it is known to be right.
fn run(
    inputs: &Inputs,
    transform: impl Fn(&str) -> Result<Transformed, InjectError>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut texts = Vec::new();
    let mut report = Vec::new();
    for Input { name, text } in read::inputs(&inputs.files)? {
        let transformed = match transform(&text) {
            Ok(transformed) => transformed,
            // `web.yml:3:5: …`, as compilers do.
            Err(error) => anyhow::bail!("{name}:{error}"),
        };
        texts.push(transformed.text);
        report.extend(transformed.report);
    }
    out.write_all(inject::join(&texts).as_bytes())
        .and_then(|()| out.flush())
        .context("cannot write the result")?;
    tell(&report);
    Ok(())
}

/// On stderr, between blank lines, as Linkerd does. A closed one takes no report.
fn tell(report: &[ReportLine]) {
    let mut err = io::stderr().lock();
    let lines: Vec<_> = report.iter().map(ToString::to_string).collect();
    let _nobody_reads = writeln!(err, "\n{}\n", lines.join("\n"));
}
