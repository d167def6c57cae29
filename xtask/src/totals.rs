//! Test results, added up.

use std::time::Duration;

/// How many tests passed, failed and were ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    /// How many result lines were seen: 0 means that no test binary came to its end.
    pub(crate) results: u64,
    /// What the integration suite said of tests that failed: once, or twice.
    pub(crate) tries: Vec<String>,
}

/// What the integration suite puts before the name of a test that failed.
const TRIES: [&str; 2] = ["FAILED ONCE: ", "FAILED TWICE: "];

impl Totals {
    /// Takes in a line if it tells of a test that failed, once or twice.
    pub(crate) fn read_tries(&mut self, line: &str) {
        let said = TRIES.iter().find_map(|words| line.find(words).and_then(|at| line.get(at..)));
        self.tries.extend(said.map(str::to_owned));
    }

    /// Takes in a line if it is a test binary's result line:
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    pub(crate) fn read(&mut self, line: &str) {
        self.read_tries(line);
        let Some((_, result)) = line.split_once("test result: ") else { return };
        let Some((_, counts)) = result.split_once(". ") else { return };
        let count = |what: &str| -> Option<u64> {
            counts.split(';').find_map(|part| part.trim().strip_suffix(what)?.trim().parse().ok())
        };
        let (Some(passed), Some(failed)) = (count("passed"), count("failed")) else { return };
        self.passed += passed;
        self.failed += failed;
        self.ignored += count("ignored").unwrap_or(0);
        self.results += 1;
    }

    /// A run that did not succeed has a failure, even where no test could say so: a crash,
    /// a build error, a guest without a verdict.
    pub(crate) fn settle(mut self, succeeded: bool) -> Self {
        if !succeeded && self.failed == 0 {
            self.failed = 1;
        }
        self
    }
}

/// One line of the summary.
#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) totals: Totals,
    pub(crate) took: Duration,
    /// Why it failed, where that is not a test's name.
    pub(crate) note: String,
}

/// Prints the table and, on the last line alone, the sum; `true` when nothing failed.
pub(crate) fn summarise(phases: &[Phase]) -> bool {
    let width = phases.iter().map(|phase| phase.name.len()).max().unwrap_or(0).max(5);
    println!();
    println!("{:width$}  passed  failed  ignored   seconds", "tests");
    for Phase { name, totals, took, note } in phases {
        let Totals { passed, failed, ignored, .. } = totals;
        let seconds = took.as_secs_f64();
        let line = format!("{name:width$}  {passed:>6}  {failed:>6}  {ignored:>7}  {seconds:>8.1}  {note}");
        println!("{}", line.trim_end());
    }
    for Phase { name, totals, .. } in phases {
        for said in &totals.tries {
            println!("{name}: {said}");
        }
    }
    let passed: u64 = phases.iter().map(|phase| phase.totals.passed).sum();
    let failed: u64 = phases.iter().map(|phase| phase.totals.failed).sum();
    println!("\n{passed} passed, {failed} failed");
    failed == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_add_up_and_other_lines_do_not_count() {
        let mut totals = Totals::default();
        for line in [
            "running 3 tests",
            "test says test result: ok ... ok",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "[   12.0] test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out",
        ] {
            totals.read(line);
        }
        assert_eq!(totals, Totals { passed: 5, failed: 1, ignored: 1, results: 2, tries: Vec::new() });
    }

    #[test]
    fn tests_that_failed_are_named() {
        let mut totals = Totals::default();
        for line in ["test a ... FAILED ONCE: a", "FAILED TWICE: b", "test c ... FAILED"] {
            totals.read(line);
        }
        assert_eq!(totals.tries, ["FAILED ONCE: a", "FAILED TWICE: b"]);
    }

    #[test]
    fn a_run_that_crashed_before_any_result_counts_as_a_failure() {
        assert_eq!(Totals::default().settle(false).failed, 1);
        assert_eq!(Totals::default().settle(true).failed, 0);
        assert_eq!(Totals { failed: 3, ..Totals::default() }.settle(false).failed, 3);
    }
}
