//! `sluice status`: what a running agent has enrolled, and how it fares.

use std::{io::Write, process::ExitCode};

use proxy_common::flags;

use super::{args::StatusArgs, asked::Asked};

/// The exit status tells whether the agent runs.
pub(super) fn run(args: &StatusArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let asked = Asked::open(&args.pins.pin_dir)?;
    let alive = asked.is_there() && asked.shows_heartbeat()?;
    let control = asked.control;
    let agent = control.agent_status()?;
    let age = control.heartbeat_age()?;
    let state =
        if alive { "running" } else { "not running: open workloads go direct, strict ones are refused" };
    writeln!(out, "agent      {state} (pid {}, version {})", agent.pid, agent.version)?;
    writeln!(out, "heartbeat  {} ms ago", age.as_millis())?;
    if let Some(admin) = agent.admin {
        writeln!(out, "admin      http://{admin}/metrics")?;
    }
    writeln!(out, "sk_msg     {}", agent.sk_msg)?;
    if let Some(config) = &agent.config {
        writeln!(out, "config     {}", config.display())?;
    }
    match &agent.config_error {
        Some(error) => writeln!(out, "           NOT IN FORCE, the last good one is: {error}")?,
        None => writeln!(out, "           in force")?,
    }
    if let Some(settings) = &agent.restart_for {
        writeln!(out, "           but for {settings}: restart the agent")?;
    }

    writeln!(out, "\nWORKLOAD  (profile, listeners, flags)")?;
    for view in control.workloads()? {
        let workload = view.workload;
        let names = [
            (flags::STRICT, "strict"),
            (flags::LOOPBACK, "include-loopback"),
            (flags::SK_MSG, "sk_msg allowed"),
            (flags::FOREIGN_PROXY, "foreign proxy"),
        ];
        let set: Vec<_> =
            names.iter().filter(|(flag, _)| workload.flags & flag != 0).map(|(_, name)| *name).collect();
        writeln!(
            out,
            "{}  (profile {}, 127.0.0.1:{} and [::1]:{}, {})",
            view.name,
            workload.profile,
            u16::from_be(workload.listener_v4_port_be),
            u16::from_be(workload.listener_v6_port_be),
            if set.is_empty() { "no flags".to_owned() } else { set.join(", ") }
        )?;
    }

    for missing in &agent.missing {
        writeln!(out, "NOT THERE: {missing}")?;
    }

    let counted: Vec<_> = control.counters()?.into_iter().filter(|(_, value)| *value > 0).collect();
    if !counted.is_empty() {
        writeln!(out, "\nHOOK         OUTCOME              COUNT")?;
    }
    for (counter, value) in counted {
        writeln!(out, "{:11}  {:19}  {value:>6}", counter.hook(), counter.outcome())?;
    }
    Ok(if alive { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
