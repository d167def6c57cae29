//! What a run leaves for others to read: numbers, tables, plots.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::measure::Kind;
use super::report;
use super::results::{Results, Row};
use super::setting::Machine;
use crate::command::{self, Progress};
use crate::{setup, workspace};

/// The numbers.
const RESULTS: &str = "results.json";
/// The tables, and the plots between them.
const PAGE: &str = "README.md";
/// Digits behind the point that are kept: more are noise.
const PRECISION: f64 = 1e4;

/// Writes all of it to `directory`.
pub(super) fn write(
    directory: &Path,
    machine: &Machine,
    parts: &[Results],
    progress: &Progress,
) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let put = |name: &str, text: String| {
        let file = directory.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    };
    put(RESULTS, numbers(machine, parts)?)?;
    put(PAGE, page(machine, parts))?;
    let script = workspace::root().join("xtask/src/bench/plot.py");
    let python = setup::bench_python();
    let mut plot = command::command(&python.to_string_lossy(), [script.as_path(), &directory.join(RESULTS)]);
    progress.run(plot.arg(directory))?;
    progress.say(format_args!("recorded in {}", directory.display()));
    Ok(())
}

/// The file that a plot is in.
fn plot(part: &Results, kind: Kind) -> String {
    format!("{}-{}.png", part.part.name(), kind.label())
}

/// A line for each row, so that two runs can be compared by diff.
fn numbers(machine: &Machine, parts: &[Results]) -> Result<String> {
    let mut lines =
        vec!["{".to_owned(), format!("\"machine\": {},", machine_json(machine)), "\"parts\": [".into()];
    for (number, part) in parts.iter().enumerate() {
        let mut head = json!({
            "name": part.part.name(),
            "setting": part.setting.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
            "notes": report::notes(part),
            "ways": part.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(),
        });
        let kinds = [Kind::Latency, Kind::Rate, Kind::Cost];
        head["plots"] =
            kinds.map(|kind| (kind.label().to_owned(), Value::from(plot(part, kind)))).into_iter().collect();
        let head = serde_json::to_string(&head)?;
        lines.push(format!("{}, \"rows\": [", head.strip_suffix('}').unwrap_or(&head)));
        let rows: Vec<_> = rows(part).iter().map(|row| row_json(part, row).to_string()).collect();
        lines.push(rows.join(",\n"));
        lines.push(if number + 1 < parts.len() { "]}," } else { "]}" }.into());
    }
    lines.push("]}".into());
    Ok(lines.join("\n") + "\n")
}

fn rows(part: &Results) -> Vec<Row> {
    part.ratios().into_iter().chain(part.costs()).collect()
}

fn machine_json(machine: &Machine) -> Value {
    json!({
        "processor": machine.processor, "processors": machine.processors,
        "memory_gib": rounded(machine.memory_gib), "kernel": machine.kernel,
        "programs": machine.programs.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
    })
}

/// A row, by ways.
pub(super) fn row_json(part: &Results, row: &Row) -> Value {
    let cells = part.columns.iter().skip(1).zip(&row.cells).filter_map(|(column, cell)| {
        let cell = cell.as_ref()?;
        let spread = &cell.spread;
        let value = json!({
            "median": rounded(spread.median), "low": rounded(spread.low), "high": rounded(spread.high),
            "rounds": spread.rounds.iter().copied().map(rounded).collect::<Vec<_>>(),
            "target": cell.target.map(|target| target.show()), "missed": cell.is_missed(),
        });
        Some((column.name.clone(), value))
    });
    json!({
        "name": row.name, "kind": row.kind.label(), "better": row.kind.better().label(),
        "direct": row.direct, "ways": cells.collect::<Map<_, _>>(),
    })
}

fn rounded(value: f64) -> f64 {
    (value * PRECISION).round() / PRECISION
}

fn page(machine: &Machine, parts: &[Results]) -> String {
    let mut page = format!(
        "# Benchmark\n\nWritten by `cargo xtask bench all --record`, which anyone can run; the numbers of every \
         round are in [{RESULTS}]({RESULTS}).\n\nMeasured on {}.\n\nA ratio is to the direct samples just \
         before and after, in the same run; tables have the medians of the rounds, plots the least and the \
         greatest as well. For latencies and costs lower is better, for rates higher. [CONTRIBUTING]\
         (../../CONTRIBUTING.md#benchmarks) says what each way and each row is.\n",
        machine.shown()
    );
    for part in parts {
        page += &format!("\n## {}\n\n", part.part.name());
        page += &report::markdown(part);
        let rows = rows(part);
        for kind in [Kind::Latency, Kind::Rate, Kind::Cost] {
            if rows.iter().any(|row| row.kind == kind && row.cells.iter().any(Option::is_some)) {
                page += &format!("\n![{} of {}]({})\n", kind.label(), part.part.name(), plot(part, kind));
            }
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::two_rounds;
    use crate::bench::setting::tests::machine;

    #[test]
    fn the_numbers_can_be_read_and_have_every_round() -> Result<()> {
        let numbers: Value = serde_json::from_str(&numbers(&machine(), &[two_rounds(), two_rounds()])?)?;
        assert_eq!(numbers["machine"]["programs"]["nginx"], "1.22.1");
        let parts = numbers["parts"].as_array().context("no parts")?;
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[1]["plots"]["rate"], "streams-veth-rate.png");
        let row = &parts[1]["rows"][0];
        assert_eq!((&row["name"], &row["better"]), (&json!("echo 64 B p50"), &json!("lower")));
        assert_eq!(row["ways"]["relay-copy"]["rounds"], json!([2.0, 2.0]));
        assert_eq!(row["ways"]["skip"]["missed"], json!(true));
        Ok(())
    }

    #[test]
    fn the_page_names_the_machine_and_shows_only_plots_that_are_drawn() {
        let page = page(&machine(), &[two_rounds()]);
        assert!(page.contains("2 processors (Some CPU), 8 GiB, Linux 6.18; nginx 1.22.1."), "{page}");
        assert!(page.contains("](streams-veth-latency.png)") && page.contains("](streams-veth-cost.png)"));
        assert!(!page.contains("](streams-veth-rate.png)"), "{page}");
    }
}
