//! The results as text and as Markdown: the same tables.

use super::results::{Cell, Results, Row};

/// Aligned tables.
pub(super) fn text(results: &Results) -> String {
    let mut lines = vec![results.part.name()];
    lines.extend(results.setting.iter().map(|(name, value)| format!("{name}: {value}")));
    lines.extend(notes(results));
    for (title, rows) in sections(results) {
        lines.push(String::new());
        let table = table(results, title, &rows, Targets::Shown);
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

/// Whether a table tells of targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Targets {
    Shown,
    Left,
}

/// The same, for documents.
pub(super) fn markdown(results: &Results) -> String {
    let setting: Vec<_> = results.setting.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    let mut lines = vec![format!("{}.", setting.join("; "))];
    lines.extend(notes(results).into_iter().map(|note| format!("{note}.")));
    // Each a paragraph of its own.
    lines.join("\n\n") + "\n" + &tables(results, Targets::Shown, |_| true)
}

/// The tables alone, with the rows of which `is_shown` says so.
pub(super) fn tables(results: &Results, targets: Targets, is_shown: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    for (title, mut rows) in sections(results) {
        rows.retain(|row| is_shown(&row.name));
        if rows.is_empty() {
            continue;
        }
        text.push('\n');
        for (number, row) in table(results, title, &rows, targets).iter().enumerate() {
            text += &format!("| {} |\n", row.join(" | "));
            if number == 0 {
                text += &format!("|{}\n", "---|".repeat(row.len()));
            }
        }
    }
    text
}

fn sections(results: &Results) -> impl Iterator<Item = (&'static str, Vec<Row>)> {
    [("ratio to direct, median", results.ratios()), ("what it takes, median", results.costs())]
        .into_iter()
        .filter(|(_, rows)| !rows.is_empty())
}

/// What has to be known of how the samples were taken.
pub(super) fn notes(results: &Results) -> Vec<String> {
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

/// The head and the rows. The targets, where they are wanted, stand in the last column.
fn table(results: &Results, title: &str, rows: &[Row], targets: Targets) -> Vec<Vec<String>> {
    let mut head = vec![title.to_owned()];
    head.extend(results.columns.iter().map(|column| column.name.clone()));
    head.extend((targets == Targets::Shown).then(|| "targets".to_owned()));
    let mut table = vec![head];
    for row in rows {
        let mut cells = vec![row.name.clone(), row.direct.clone()];
        let show = |cell: &Option<Cell>| {
            cell.as_ref().map_or_else(String::new, |cell| show(cell, row.decimals, targets))
        };
        cells.extend(row.cells.iter().map(show));
        if targets == Targets::Shown {
            let names = results.columns.iter().skip(1).map(|column| column.name.as_str());
            let bounds = row.cells.iter().map(|cell| cell.as_ref()?.target.map(|target| target.show()));
            cells.push(bounds_by_ways(names.zip(bounds)));
        }
        table.push(cells);
    }
    table
}

fn show(cell: &Cell, decimals: usize, targets: Targets) -> String {
    let value = format!("{:.decimals$}", cell.spread.median);
    if targets == Targets::Shown && cell.is_missed() { format!("{value} missed") } else { value }
}

/// Each target once, with the columns that it is for.
fn bounds_by_ways<'a>(of_columns: impl Iterator<Item = (&'a str, Option<String>)>) -> String {
    let mut targets: Vec<(String, Vec<&str>)> = Vec::new();
    for (name, target) in of_columns {
        let Some(target) = target else { continue };
        match targets.iter_mut().find(|(known, _)| *known == target) {
            Some((_, names)) => names.push(name),
            None => targets.push((target, vec![name])),
        }
    }
    let show = |(target, names): (String, Vec<&str>)| format!("{}: {target}", names.join(", "));
    targets.into_iter().map(show).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results;

    #[test]
    fn each_target_stands_once_with_all_that_it_is_for() {
        let bound = |text: &str| Some(text.to_owned());
        let columns =
            [("skip", bound("<= 1")), ("opaque", bound("<= 2")), ("relay", None), ("detect", bound("<= 2"))];
        assert_eq!(bounds_by_ways(columns.into_iter()), "skip: <= 1; opaque, detect: <= 2");
    }

    #[test]
    fn a_table_has_a_line_for_each_row_and_a_cell_for_each_way() {
        let table = markdown(&results::tests::two_rounds());
        assert!(
            table.contains("| ratio to direct, median | direct | skip | relay-copy | targets |\n"),
            "{table}"
        );
        assert!(
            table.contains("| echo 64 B p50 | 10.0 µs | 1.50 missed | 2.00 | skip: <= 1.02 |\n"),
            "{table}"
        );
        assert!(table.contains("| start, ms | 2 | 30 |  | skip: <= 300 |\n"), "{table}");
    }

    #[test]
    fn a_busy_machine_is_told_of() {
        let mut results = results::tests::two_rounds();
        assert_eq!(notes(&results).len(), 1);
        results.foreign.disturbed = results.foreign.samples;
        assert!(notes(&results).last().is_some_and(|note| note.contains("rough")));
    }
}
