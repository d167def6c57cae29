//! The dashboard asks for nothing that is not there: every metric and every label in its queries is in
//! `docs/metrics.md`.

mod documented;
mod promql;

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use documented::Documented;

/// Labels of a series that are Prometheus's own.
const OF_PROMETHEUS: [&str; 3] = ["instance", "job", "le"];

/// What the dashboard asks for and the documentation does not have, a line each.
pub(super) fn check(dashboard: &Path, docs: &Path) -> Result<Vec<String>> {
    let read =
        |file: &Path| fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()));
    let documented = Documented::parse(&read(docs)?);
    let json = serde_json::from_str(&read(dashboard)?)
        .with_context(|| format!("expected JSON in {}", dashboard.display()))?;
    let queries = queries(&json);
    if queries.is_empty() {
        return Ok(vec![format!("{}: expected queries, found none", dashboard.display())]);
    }
    let undocumented = queries.iter().flat_map(|query| undocumented(query, &documented));
    let mut found: Vec<_> = undocumented.map(|what| format!("{}: {what}", dashboard.display())).collect();
    found.dedup();
    Ok(found)
}

/// The queries of a dashboard's panels and variables.
fn queries(json: &Value) -> Vec<String> {
    match json {
        Value::Object(fields) => {
            let own = ["expr", "definition"].iter().filter_map(|field| fields.get(*field)?.as_str());
            own.map(str::to_owned).chain(fields.values().flat_map(queries)).collect()
        }
        Value::Array(values) => values.iter().flat_map(queries).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn undocumented(query: &str, documented: &Documented) -> Vec<String> {
    let names = promql::names(query);
    let metrics = names.metrics.into_iter().filter(|metric| !documented.has_metric(metric));
    let labels = names
        .labels
        .into_iter()
        .filter(|label| !OF_PROMETHEUS.contains(&label.as_str()) && !documented.has_label(label));
    let metrics = metrics.map(|metric| format!("metric {metric} is not documented: {query}"));
    metrics.chain(labels.map(|label| format!("label {label} is not documented: {query}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_asks_for_what_is_documented() {
        let at = |file: &str| crate::workspace::root().join(file);
        let found = check(&at("deploy/grafana/sluice.json"), &at("docs/metrics.md")).unwrap();
        assert_eq!(found, [""; 0]);
    }

    const DOCS: &str = "\
| name | type | labels | unit | meaning |\n|---|---|---|---|---|\n\
| `opened_total` | counter | *target*, `peer` | connections | opened |\n";

    #[test]
    fn a_query_for_what_is_not_documented_is_told() {
        let documented = Documented::parse(DOCS);
        let told = |query| undocumented(query, &documented);
        assert_eq!(told("sum(rate(opened_total{peer=\"src\"}[5m])) by (workload)"), [""; 0]);
        assert_eq!(
            told("sum(rate(open_total{pear=\"src\"}[5m]))"),
            [
                "metric open_total is not documented: sum(rate(open_total{pear=\"src\"}[5m]))",
                "label pear is not documented: sum(rate(open_total{pear=\"src\"}[5m]))",
            ]
        );
    }

    #[test]
    fn the_queries_of_panels_in_rows_and_of_variables_are_found() {
        let json = serde_json::json!({
            "panels": [{"panels": [{"targets": [{"expr": "a_total"}]}]}, {"targets": [{"expr": "b_total"}]}],
            "templating": {"list": [{"definition": "label_values(c_total, x)", "query": "other"}]},
        });
        assert_eq!(queries(&json), ["a_total", "b_total", "label_values(c_total, x)"]);
    }
}
