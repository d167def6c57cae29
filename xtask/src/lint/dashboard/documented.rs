//! The metrics and labels of `docs/metrics.md`: rows of its tables that begin with `name`.

use std::collections::HashSet;

/// What is written of `direction`, `workload` and the rest in one word.
const TARGET: &str = "*target*";
const LABELS_OF_TARGET: [&str; 5] = ["direction", "workload", "target_addr", "target_ip", "target_port"];
/// What a histogram's series are called.
const OF_HISTOGRAM: [&str; 3] = ["_bucket", "_sum", "_count"];
const BOTH_DIRECTIONS: &str = "{outbound,inbound}";

/// The names that are documented.
#[derive(Debug, Default)]
pub(super) struct Documented {
    metrics: HashSet<String>,
    labels: HashSet<String>,
}

impl Documented {
    /// Reads the tables whose columns are `name`, `type`, `labels`, ….
    pub(super) fn parse(markdown: &str) -> Self {
        let mut documented = Self::default();
        let mut in_table = false;
        for line in markdown.lines() {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            match cells.as_slice() {
                ["", "name", "type", "labels", ..] => in_table = true,
                ["", name, kind, labels, ..] if in_table => documented.add(name, kind, labels),
                _ => in_table = false,
            }
        }
        documented
    }

    fn add(&mut self, name: &str, kind: &str, labels: &str) {
        for name in in_backticks(name) {
            let names = match name.strip_prefix(BOTH_DIRECTIONS) {
                Some(rest) => vec![format!("outbound{rest}"), format!("inbound{rest}")],
                None => vec![name.to_owned()],
            };
            for name in names {
                if kind == "histogram" {
                    self.metrics.extend(OF_HISTOGRAM.map(|series| format!("{name}{series}")));
                } else {
                    self.metrics.insert(name);
                }
            }
        }
        self.labels.extend(in_backticks(labels).map(str::to_owned));
        if labels.contains(TARGET) {
            self.labels.extend(LABELS_OF_TARGET.map(str::to_owned));
        }
    }

    pub(super) fn has_metric(&self, name: &str) -> bool {
        self.metrics.contains(name)
    }

    pub(super) fn has_label(&self, name: &str) -> bool {
        self.labels.contains(name)
    }
}

/// What stands in backticks.
fn in_backticks(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_metrics_are_read_and_others_are_not() {
        let documented = Documented::parse(
            "text `no_total`\n\n\
             | name | type | labels | unit | meaning |\n|---|---|---|---|---|\n\
             | `a_total` | counter | *target*, `peer` | b | `no` |\n\
             | `{outbound,inbound}_c_ms` | histogram | `d` | ms | |\n\
             | `e`, `f` | | | as named | |\n\n\
             | label | values |\n|---|---|\n| `no_label` | |\n",
        );
        for metric in ["a_total", "outbound_c_ms_bucket", "inbound_c_ms_count", "e", "f"] {
            assert!(documented.has_metric(metric), "{metric}");
        }
        for label in ["peer", "workload", "target_addr", "d"] {
            assert!(documented.has_label(label), "{label}");
        }
        for no in ["no_total", "outbound_c_ms", "no", "no_label", "label", "---", "name"] {
            assert!(!documented.has_metric(no) && !documented.has_label(no), "{no}");
        }
    }
}
