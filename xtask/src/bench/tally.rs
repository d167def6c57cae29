//! What sluice counted, held against what the clients did: a benchmark of metrics that are wrong is
//! worth nothing.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Requests of all the samples that were compared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tally {
    pub(super) samples: u32,
    /// Answered, as the clients say.
    pub(super) answered: u64,
    /// Counted by sluice beyond those.
    pub(super) beyond: u64,
}

impl Tally {
    /// Compares a report of `sluice exec` with its client's answer.
    ///
    /// # Errors
    /// If sluice counted fewer requests than were answered, or more than were sent, or a status that
    /// no client got, or lost sight of a connection's requests.
    pub(super) fn compare(&mut self, report: &str, answer: &Value) -> Result<()> {
        let lines = report.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let both = |key: &str| -> Result<u64> {
            let number =
                |value: &Value| value[key].as_f64().with_context(|| format!("a client told no {key}"));
            let sum = number(answer)? + number(&answer["warm_up"])?;
            Ok(format!("{sum:.0}").parse()?)
        };
        let (answered, in_flight) = (both("units")?, both("in_flight")?);
        let sum = |count: fn(&Value) -> Option<u64>| lines.iter().filter_map(count).sum::<u64>();
        let seen = sum(|line| line["requests"].as_u64());
        let fine = sum(|line| line["statuses"]["200"].as_u64());
        let statuses = lines.iter().filter_map(|line| line["statuses"].as_object()).flatten();
        ensure!(statuses.into_iter().all(|(status, _)| status == "200"), "sluice counted other statuses");
        ensure!(lines.iter().all(|line| line["lost"].is_null()), "sluice lost sight of requests");
        for (what, count) in [("requests", seen), ("statuses", fine)] {
            ensure!(
                (answered..=answered + in_flight).contains(&count),
                "sluice counted {count} {what}: {answered} were answered, at most {in_flight} more sent"
            );
        }
        self.samples += 1;
        self.answered += answered;
        self.beyond += seen - answered;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A client that got 90 answers and stopped with up to 10 more requests on their way, and a report
    /// of these statuses and something else.
    fn compare(statuses: Value, lost: Value) -> Result<Tally> {
        let answer = json!({ "units": 80, "in_flight": 5, "warm_up": { "units": 10, "in_flight": 5 } });
        let requests: u64 = statuses.as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
        let line = |requests, statuses, lost| {
            json!({ "requests": requests, "statuses": statuses, "lost": lost }).to_string()
        };
        let report = [line(requests, statuses, lost), line(0, json!({}), Value::Null)].join("\n");
        let mut tally = Tally::default();
        tally.compare(&report, &answer).map(|()| tally)
    }

    #[test]
    fn what_was_answered_is_counted_and_what_was_sent_may_be() {
        for beyond in [0, 10] {
            let tally = compare(json!({ "200": 90 + beyond }), Value::Null).expect("they agree");
            assert_eq!(tally, Tally { samples: 1, answered: 90, beyond });
        }
    }

    #[test]
    fn other_counts_are_wrong() {
        assert!(compare(json!({ "200": 89 }), Value::Null).is_err());
        assert!(compare(json!({ "200": 101 }), Value::Null).is_err());
        assert!(compare(json!({ "200": 90, "500": 1 }), Value::Null).is_err());
        assert!(compare(json!({ "200": 90 }), json!("malformed")).is_err());
    }
}
