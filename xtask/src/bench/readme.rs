//! The README's excerpt of a recorded run: what most readers ask for first.

use std::fs;

use anyhow::{Context as _, Result};

use super::report::{self, Targets};
use super::results::Results;
use super::setting::Machine;
use crate::workspace;

/// Where the excerpt begins and ends.
const MARKS: [&str; 2] = ["<!-- bench:begin -->\n", "<!-- bench:end -->\n"];
/// The parts that are shown, and what of each is: rows whose names begin like this.
const EXCERPT: [(&str, &str, &[&str]); 2] = [
    (
        "streams-veth",
        "Messages, bulk and connections, client and server in two network namespaces",
        &[
            "echo 64 B",
            "messages",
            "bulk",
            "connections, 1 at once",
            "connections, 8 at once",
            "bytes per idle connection",
            "start",
        ],
    ),
    ("http-veth", "Requests, likewise", &["http"]),
];

/// Puts the excerpt where the old one is.
pub(super) fn renew(machine: &Machine, parts: &[Results]) -> Result<()> {
    let file = workspace::root().join("README.md");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let renewed = replace(&text, &excerpt(machine, parts)).with_context(|| {
        format!("{}: expected {:?}, one after the other", file.display(), MARKS.map(str::trim_end))
    })?;
    fs::write(&file, renewed).with_context(|| format!("cannot write {}", file.display()))
}

fn excerpt(machine: &Machine, parts: &[Results]) -> String {
    let mut excerpt = format!("On {}.\n", machine.shown());
    for (name, title, rows) in EXCERPT {
        let Some(part) = parts.iter().find(|part| part.part.name() == name) else { continue };
        excerpt += &format!("\n{title}:\n");
        let is_shown = |row: &str| {
            let is_aside = row.contains("proxy µs/message") || row.contains("proxy µs/connection");
            !is_aside && rows.iter().any(|begins| row.starts_with(begins))
        };
        excerpt += &report::tables(part, Targets::Left, is_shown);
    }
    excerpt
}

/// `text` with something else between the marks.
fn replace(text: &str, new: &str) -> Option<String> {
    let [begin, end] = MARKS;
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some([before, begin, new, end, after].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::two_rounds;
    use crate::bench::setting;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = "before\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nafter\n";
        let expected = "before\n<!-- bench:begin -->\nnew\n<!-- bench:end -->\nafter\n";
        assert_eq!(replace(text, "new\n").as_deref(), Some(expected));
        assert_eq!(replace("<!-- bench:end -->\n<!-- bench:begin -->\n", "new"), None);
    }

    #[test]
    fn an_excerpt_has_a_few_rows_and_no_targets() {
        let excerpt = excerpt(&setting::tests::machine(), &[two_rounds()]);
        assert!(excerpt.starts_with("On 2 processors (Some CPU)"), "{excerpt}");
        assert!(excerpt.contains("| echo 64 B p50 | 10.0 µs | 1.50 | 2.00 |\n"), "{excerpt}");
        assert!(excerpt.contains("| start, ms |") && !excerpt.contains("proxy µs/message"), "{excerpt}");
    }

    #[test]
    fn the_readme_has_a_place_for_it() -> Result<()> {
        let text = fs::read_to_string(workspace::root().join("README.md"))?;
        assert!(replace(&text, "").is_some());
        Ok(())
    }
}
