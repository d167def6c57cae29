//! The results as text, as Markdown, as JSON.

use serde_json::{Value, json};

use super::results::{Cell, Results, Row};

/// An aligned table.
pub(super) fn text(results: &Results) -> String {
    let mut lines: Vec<String> =
        results.setting.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    lines.extend(notes(results));
    for (title, rows) in sections(results) {
        lines.push(String::new());
        let table = table(results, title, &rows);
        let width = |column: usize| {
            table.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        for row in &table {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let width = width(column).unwrap_or(0);
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            lines.push(cells.collect::<Vec<_>>().join("  ").trim_end().to_owned());
        }
    }
    lines.join("\n")
}

/// The same, for documents.
pub(super) fn markdown(results: &Results) -> String {
    let setting: Vec<_> = results.setting.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let mut lines = vec![format!("{}.", setting.join(", "))];
    lines.extend(notes(results));
    for (title, rows) in sections(results) {
        lines.push(String::new());
        for (number, row) in table(results, title, &rows).iter().enumerate() {
            lines.push(format!("| {} |", row.join(" | ")));
            if number == 0 {
                lines.push(format!("|{}", "---|".repeat(row.len())));
            }
        }
    }
    lines.join("\n") + "\n"
}

/// The rows, and every sample.
pub(super) fn json(results: &Results) -> Value {
    let rows = |rows: &[Row]| rows.iter().map(|row| row_json(results, row)).collect::<Value>();
    let foreign = results.foreign;
    json!({
        "setting": results.setting.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "foreign_load": {
            "samples": foreign.samples, "redone": foreign.redone, "disturbed": foreign.disturbed,
            "bound_processors": foreign.bound,
        },
        "requests_counted": {
            "samples": results.tally.samples, "answered": results.tally.answered,
            "beyond": results.tally.beyond,
        },
        "ratios": rows(&results.ratios()),
        "proxy": rows(&results.costs()),
        "samples": results.json(),
    })
}

fn row_json(results: &Results, row: &Row) -> Value {
    let cells = results.columns.iter().skip(1).zip(&row.cells).filter_map(|((name, _), cell)| {
        let cell = cell.as_ref()?;
        let target = cell.target.map(|target| target.show());
        Some((name.clone(), json!({ "value": cell.value, "target": target, "missed": cell.is_missed() })))
    });
    json!({ "name": row.name, "direct": row.direct, "cells": cells.collect::<serde_json::Map<_, _>>() })
}

fn sections(results: &Results) -> [(&'static str, Vec<Row>); 2] {
    [("median of ratios to direct", results.ratios()), ("the proxy's process", results.costs())]
}

fn notes(results: &Results) -> Vec<String> {
    let foreign = results.foreign;
    let mut notes = vec![format!(
        "{} samples; taken again because others used more than {} of a processor: {}; kept though disturbed: {}",
        foreign.samples, foreign.bound, foreign.redone, foreign.disturbed
    )];
    let tally = results.tally;
    if tally.samples > 0 {
        notes.push(format!(
            "sluice counted the {} requests that were answered in its {} samples, and {} that were under way \
             when the client stopped",
            tally.answered, tally.samples, tally.beyond
        ));
    }
    if foreign.disturbed * 4 > foreign.samples {
        notes.push("the machine was busy with other things: these numbers are rough".into());
    }
    notes
}

/// The head and the rows. The targets stand in the last column.
fn table(results: &Results, title: &str, rows: &[Row]) -> Vec<Vec<String>> {
    let mut head = vec![title.to_owned()];
    head.extend(results.columns.iter().map(|(name, _)| name.clone()));
    head.push("targets".into());
    let mut table = vec![head];
    for row in rows {
        let mut cells = vec![row.name.clone(), row.direct.clone()];
        cells.extend(row.cells.iter().map(|cell| cell.as_ref().map_or_else(String::new, show)));
        cells.push(targets(results, row));
        table.push(cells);
    }
    table
}

fn show(cell: &Cell) -> String {
    if cell.is_missed() { format!("{} missed", cell.shown) } else { cell.shown.clone() }
}

/// Each target once, with the columns that it is for.
fn targets(results: &Results, row: &Row) -> String {
    let mut targets: Vec<(String, Vec<&str>)> = Vec::new();
    for ((name, _), cell) in results.columns.iter().skip(1).zip(&row.cells) {
        let Some(target) = cell.as_ref().and_then(|cell| cell.target) else { continue };
        let shown = target.show();
        match targets.iter_mut().find(|(known, _)| *known == shown) {
            Some((_, names)) => names.push(name),
            None => targets.push((shown, vec![name])),
        }
    }
    let show = |(target, names): (String, Vec<&str>)| format!("{}: {target}", names.join(" "));
    targets.into_iter().map(show).collect::<Vec<_>>().join("; ")
}
