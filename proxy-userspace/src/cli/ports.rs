//! `sluice ports`: the port config, straight from and to the running agent's maps.

use std::io::Write;

use anyhow::Context as _;
use proxy_common::{Decision, Direction, PortRule, RuleSource};

use super::{
    args::{PortsAction, PortsArgs, PortsChange},
    asked::Asked,
    learned,
};
use crate::kernel::WorkloadView;

pub(super) fn run(args: PortsArgs, out: &mut impl Write) -> anyhow::Result<()> {
    match args.action {
        PortsAction::List { workload, pins } => {
            let Asked { control, .. } = Asked::to_look(&pins.pin_dir)?;
            list(&control.workloads_named(workload.as_deref())?, out)
        }
        PortsAction::Learned { workload, output, pins } => {
            learned::list(workload.as_deref(), output, &pins.pin_dir, out)
        }
        PortsAction::Forget(args) => learned::forget(&args, out),
        PortsAction::Skip(change) => apply(&change, Decision::Skip, out),
        PortsAction::Opaque(change) => apply(&change, Decision::Opaque, out),
        PortsAction::Detect(change) => apply(&change, Decision::Detect, out),
    }
}

fn list(views: &[WorkloadView], out: &mut impl Write) -> anyhow::Result<()> {
    let width = views.iter().map(|view| view.name.len()).max().unwrap_or_default().max("WORKLOAD".len());
    writeln!(out, "{:width$}  {:9}  {:11}  {:8}  SOURCE", "WORKLOAD", "DIRECTION", "PORTS", "DECISION")?;
    for view in views {
        for direction in Direction::ALL {
            for (range, rule) in view.table.ranges(direction) {
                let ports = range_text(&range);
                writeln!(
                    out,
                    "{:width$}  {:9}  {:11}  {:8}  {}",
                    view.name,
                    direction.label(),
                    ports,
                    rule.decision().label(),
                    rule.source().label()
                )?;
            }
        }
        writeln!(out, "{:width$}  {:9}  {:11}  {:8}  no rule", view.name, "both", "others", "detect")?;
    }
    Ok(())
}

fn apply(change: &PortsChange, decision: Decision, out: &mut impl Write) -> anyhow::Result<()> {
    let Asked { pins, mut control } = Asked::to_change(&change.pins.pin_dir)?;
    let _changing = pins.lock_for_writing()?;
    let directions = change.direction.map_or(Direction::ALL.to_vec(), |direction| vec![direction.into()]);
    let changes: Vec<_> = control
        .workloads_named(change.workload.as_deref())?
        .into_iter()
        .map(|view| {
            let mut table = view.table.clone();
            for direction in &directions {
                table.set(*direction, &change.ports, PortRule::new(decision, RuleSource::Live));
            }
            (view, table)
        })
        .collect();
    control.replace_tables(&changes).context("cannot change the ports")?;
    for (view, _) in &changes {
        let directions: Vec<_> = directions.iter().map(|direction| direction.label()).collect();
        writeln!(out, "{}: {} {} ({})", view.name, decision.label(), change.ports, directions.join(", "))?;
    }
    Ok(())
}

/// `80`, or `8000-8100`.
pub(super) fn range_text(range: &std::ops::RangeInclusive<u16>) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("{}-{}", range.start(), range.end())
    }
}
