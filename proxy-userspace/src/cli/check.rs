//! `sluice check`: whether this machine can run sluice.

use std::{io::Write, process::ExitCode};

use super::{
    args::{CheckArgs, OutputFormat},
    cluster,
};
use crate::kernel::{self, Finding, Weight};

pub(super) fn run(args: &CheckArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let mut findings = kernel::check();
    if args.cluster {
        findings.extend(cluster::check(args)?);
    }
    match args.output {
        OutputFormat::Json => writeln!(out, "{}", serde_json::to_string_pretty(&findings)?)?,
        OutputFormat::Text => text(&findings, out)?,
    }
    let failed = findings.iter().any(|finding| finding.weight == Weight::Required && finding.error.is_some());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(super) fn text(findings: &[Finding], out: &mut impl Write) -> anyhow::Result<()> {
    for finding in findings {
        let (mark, detail) = match (&finding.error, finding.weight) {
            (None, _) => ("ok  ", finding.detail.clone()),
            (Some(error), Weight::Required) => ("FAIL", Some(error.clone())),
            (Some(error), Weight::Optional) => ("off ", Some(error.clone())),
        };
        let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
        writeln!(out, "{mark}  {}{detail}", finding.what)?;
    }
    Ok(())
}
