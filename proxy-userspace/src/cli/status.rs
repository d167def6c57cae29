//! `sluice status`: what a running agent has enrolled, and how it fares.

use std::{io::Write, process::ExitCode};

use proxy_common::flags;

use super::{
    args::{OutputFormat, StatusArgs},
    asked::Asked,
    pods,
};
use crate::kernel::PodCounts;

/// The exit status tells whether the agent runs.
pub(super) fn run(args: &StatusArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let asked = Asked::open(&args.pins.pin_dir)?;
    let alive = asked.is_there() && asked.shows_heartbeat()?;
    let status = if alive { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if args.pods {
        let answer = pods::ask(&args.pins, &args.socket)?;
        match args.output {
            OutputFormat::Text => pods::text(&answer.view, out)?,
            OutputFormat::Json => writeln!(out, "{}", answer.json)?,
        }
        return Ok(status);
    }
    let control = asked.control;
    let agent = control.agent_status()?;
    let age = control.heartbeat_age()?;
    let state =
        if alive { "running" } else { "not running: open workloads go direct, strict ones are refused" };
    writeln!(out, "agent       {state} (pid {}, version {})", agent.pid, agent.version)?;
    writeln!(out, "heartbeat   {} ms ago", age.as_millis())?;
    if let Some(admin) = agent.admin {
        writeln!(out, "admin       http://{admin}/metrics")?;
    }
    writeln!(out, "sk_msg      {}", agent.sk_msg)?;
    writeln!(out, "bypass      {}", agent.same_node_bypass)?;
    if let Some(config) = &agent.config {
        writeln!(out, "config      {}", config.display())?;
    }
    match &agent.config_error {
        Some(error) => writeln!(out, "            NOT IN FORCE, the last good one is: {error}")?,
        None => writeln!(out, "            in force")?,
    }
    if let Some(settings) = &agent.restart_for {
        writeln!(out, "            but for {settings}: restart the agent")?;
    }

    if let Some(counts) = &agent.pods {
        writeln!(out, "kubernetes  {}", pods_text(counts))?;
    }

    writeln!(out, "\nWORKLOAD  (profile, listeners, flags)")?;
    for view in control.workloads()? {
        let workload = view.workload;
        let names = [
            (flags::STRICT, "strict"),
            (flags::LOOPBACK, "include-loopback"),
            (flags::SK_MSG, "sk_msg allowed"),
            (flags::SAME_NODE_BYPASS, "same-node bypass allowed"),
            (flags::OPAQUE_KERNEL, "opaque by the kernel"),
            (flags::LEARN_OPAQUE, "learns opaque"),
            (flags::FOREIGN_PROXY, "foreign proxy"),
            (flags::SKIP_SUBNETS, "skip-subnets"),
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
        writeln!(out, "\nHOOK           OUTCOME              COUNT")?;
    }
    for (counter, value) in counted {
        writeln!(out, "{:13}  {:19}  {value:>6}", counter.hook(), counter.outcome())?;
    }
    Ok(status)
}

/// How the pods fare, on one line.
fn pods_text(counts: &PodCounts) -> String {
    let PodCounts { is_listed, enrolled, waiting, left_alone, problems } = *counts;
    if !is_listed {
        return "the cluster has not been listed yet (see status --pods)".to_owned();
    }
    let pods = if enrolled == 1 { "pod" } else { "pods" };
    let mut text = format!("{enrolled} {pods} enrolled, {waiting} waiting, {left_alone} left alone");
    if problems > 0 {
        let annotations = if problems == 1 { "annotation" } else { "annotations" };
        text = format!("{text}; {problems} {annotations} cannot be used");
    }
    if waiting + problems > 0 {
        text.push_str(" (see status --pods)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_pods_names_what_is_wrong_and_where_more_is_said() {
        let line = |enrolled, waiting, problems| {
            pods_text(&PodCounts { is_listed: true, enrolled, waiting, left_alone: 30, problems })
        };
        assert_eq!(line(12, 0, 0), "12 pods enrolled, 0 waiting, 30 left alone");
        assert_eq!(line(1, 1, 0), "1 pod enrolled, 1 waiting, 30 left alone (see status --pods)");
        assert_eq!(
            line(12, 1, 2),
            "12 pods enrolled, 1 waiting, 30 left alone; 2 annotations cannot be used (see status --pods)"
        );
        assert!(line(0, 0, 1).contains("; 1 annotation cannot be used"));
        let not_yet = pods_text(&PodCounts::default());
        assert_eq!(not_yet, "the cluster has not been listed yet (see status --pods)");
    }
}
