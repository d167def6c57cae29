//! The names in a query of Prometheus: enough of its language to tell metrics, labels and functions apart.

/// What a query names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) metrics: Vec<String>,
    pub(super) labels: Vec<String>,
}

/// Before a list of labels in parentheses.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words between expressions.
const OPERATORS: [&str; 6] = ["and", "or", "unless", "bool", "offset", "atan2"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    /// `{…}`: a label stands before its matcher.
    Selector,
    /// `by (…)`
    Labels,
    /// `label_values(METRIC, LABEL)`, which is Grafana's and not Prometheus's.
    LabelValues { comma: bool },
    /// `sum(…)`, `(…)`
    Expression,
    /// `[5m]`
    Range,
}

/// Reads a query; variables (`$x`) and what is in quotes are left out.
pub(super) fn names(query: &str) -> Names {
    let mut names = Names::default();
    let mut inside = Vec::new();
    let mut word_before = String::new();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => quoted(rest),
            '$' => 1 + word(rest.get(1..).unwrap_or_default()),
            'a'..='z' | 'A'..='Z' | '_' | ':' => word(rest),
            // A number may have a unit behind it.
            '0'..='9' => word(rest),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length.min(rest.len()));
        rest = after;
        match first {
            '{' => inside.push(Inside::Selector),
            '[' => inside.push(Inside::Range),
            '(' => inside.push(match word_before.as_str() {
                "label_values" => Inside::LabelValues { comma: false },
                word if BEFORE_LABELS.contains(&word) => Inside::Labels,
                _ => Inside::Expression,
            }),
            '}' | ']' | ')' => drop(inside.pop()),
            ',' => {
                if let Some(Inside::LabelValues { comma }) = inside.last_mut() {
                    *comma = true;
                }
            }
            'a'..='z' | 'A'..='Z' | '_' | ':' => {
                let next = after.trim_start();
                // `sum(…)`, `sum by (…) (…)`
                let is_function = next.starts_with('(') || ["by", "without"].contains(&&next[..word(next)]);
                match inside.last() {
                    Some(Inside::Range) => {}
                    Some(Inside::Selector | Inside::Labels | Inside::LabelValues { comma: true }) => {
                        names.labels.push(token.to_owned());
                    }
                    Some(Inside::Expression | Inside::LabelValues { comma: false }) | None => {
                        if !is_function && !OPERATORS.contains(&token) && !BEFORE_LABELS.contains(&token) {
                            names.metrics.push(token.to_owned());
                        }
                    }
                }
            }
            _ => {}
        }
        if !token.trim().is_empty() {
            token.clone_into(&mut word_before);
        }
    }
    names
}

/// How long a name or a number is.
fn word(text: &str) -> usize {
    let is_of_word = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | ':');
    text.find(|character| !is_of_word(character)).unwrap_or(text.len())
}

/// How long a string is, with its quotes.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return at + 1,
            _ => escaped = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(query: &str, metrics: &[&str], labels: &[&str]) {
        let names = names(query);
        assert_eq!((names.metrics, names.labels), (owned(metrics), owned(labels)), "{query}");
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn metrics_labels_and_functions_are_told_apart() {
        expect("up", &["up"], &[]);
        expect("rate(a_total[5m]) / 2", &["a_total"], &[]);
        expect(
            "topk(10, sum(rate(a_total{x=\"b}c\", y=~\"$w\"}[$__rate_interval])) by (z))",
            &["a_total"],
            &["x", "y", "z"],
        );
        expect("sum by (a, b) (c) and on (d) e offset 5m", &["c", "e"], &["a", "b", "d"]);
        expect("histogram_quantile(0.95, sum(a_bucket) by (le)) > 1e3", &["a_bucket"], &["le"]);
        expect("label_values(a{b=\"c\"}, d)", &["a"], &["b", "d"]);
        expect("a{b=\"\\\"c\", d=\"e\"}", &["a"], &["b", "d"]);
    }

    #[test]
    fn a_query_that_is_cut_off_ends() {
        let query = "sum(rate(a_total{x=\"µ\"}[5m])) by (z)";
        for (length, _) in query.char_indices() {
            names(&query[..length]);
        }
    }
}
