//! What was counted against what was expected.

use super::Counts;

/// What is to be said of the operations, by their names.
#[derive(Debug)]
pub(super) struct Verdicts<'a> {
    operations: Vec<(&'a str, Verdict)>,
    /// Percent; `None` where nothing is compared.
    tolerance: Option<u64>,
}

/// Of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    AsExpected {
        expected: u64,
    },
    More {
        counted: u64,
        expected: u64,
    },
    Fewer {
        counted: u64,
        expected: u64,
    },
    /// The reference does not know it.
    New {
        counted: u64,
    },
    /// The program does not have it any more.
    Gone,
}

impl<'a> Verdicts<'a> {
    pub(super) fn new(counts: &'a Counts, reference: &'a Counts, tolerance: Option<u64>) -> Self {
        let counted = counts.iter().map(|(name, counted)| {
            (name.as_str(), Verdict::of(*counted, reference.get(name).copied(), tolerance))
        });
        let gone = reference.keys().filter(|name| !counts.contains_key(*name));
        let operations = counted.chain(gone.map(|name| (name.as_str(), Verdict::Gone))).collect();
        Self { operations, tolerance }
    }

    /// Whether there is nothing to complain of.
    pub(super) fn hold(&self) -> bool {
        self.complaints().next().is_none()
    }

    /// A few lines each.
    pub(super) fn complaints(&self) -> impl Iterator<Item = String> {
        let tolerance = self.tolerance.unwrap_or_default();
        self.operations.iter().filter_map(move |(name, verdict)| verdict.complaint(name, tolerance))
    }

    fn expected(&self, name: &str) -> Option<u64> {
        let (_, verdict) = self.operations.iter().find(|(other, _)| *other == name)?;
        match verdict {
            Verdict::AsExpected { expected }
            | Verdict::More { expected, .. }
            | Verdict::Fewer { expected, .. } => Some(*expected),
            Verdict::New { .. } | Verdict::Gone => None,
        }
    }
}

impl Verdict {
    fn of(counted: u64, expected: Option<u64>, tolerance: Option<u64>) -> Self {
        let Some(expected) = expected else { return Self::New { counted } };
        let Some(tolerance) = tolerance else { return Self::AsExpected { expected } };
        match counted {
            _ if counted * 100 > expected * (100 + tolerance) => Self::More { counted, expected },
            _ if counted * 100 < expected * (100 - tolerance) => Self::Fewer { counted, expected },
            _ => Self::AsExpected { expected },
        }
    }

    fn complaint(self, name: &str, tolerance: u64) -> Option<String> {
        const ACCEPT: &str = "cargo xtask instructions --accept";
        Some(match self {
            Self::AsExpected { .. } => return None,
            Self::More { counted, expected } => format!(
                "{name}: {counted} instructions, expected {expected} (within {tolerance} %): {}\n  Find out what \
                 costs them; where they are worth it: {ACCEPT}, and say why in the commit",
                change(counted, expected)
            ),
            Self::Fewer { counted, expected } => format!(
                "{name}: {counted} instructions, expected {expected} (within {tolerance} %): {}\n  So that they \
                 cannot come back unseen: {ACCEPT}",
                change(counted, expected)
            ),
            Self::New { counted } => {
                format!("{name}: {counted} instructions, expected none: it is new\n  {ACCEPT}")
            }
            Self::Gone => format!("{name}: expected, and not there any more\n  {ACCEPT}"),
        })
    }
}

/// The operations, with what was expected where something was.
pub(super) fn table(counts: &Counts, verdicts: Option<&Verdicts<'_>>) -> String {
    let width = counts.keys().map(String::len).max().unwrap_or(0).max("operation".len());
    let mut text = format!("{:width$}  instructions  expected  change", "operation");
    for (name, counted) in counts {
        let expected = verdicts.and_then(|verdicts| verdicts.expected(name));
        let (expected, change) = match expected {
            Some(expected) => (expected.to_string(), change(*counted, expected)),
            None => ("-".into(), "-".into()),
        };
        text.push_str(&format!("\n{name:width$}  {counted:>12}  {expected:>8}  {change:>6}"));
    }
    text
}

/// In percent, with a sign: `+3.1%`.
fn change(counted: u64, expected: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let percent = (counted as f64 / expected.max(1) as f64 - 1.0) * 100.0;
    format!("{percent:+.1}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(counted: u64, tolerance: Option<u64>) -> (bool, String) {
        let (counts, reference) = ([("a".into(), counted)].into(), [("a".into(), 1000)].into());
        let verdicts = Verdicts::new(&counts, &reference, tolerance);
        (verdicts.hold(), verdicts.complaints().collect())
    }

    #[test]
    fn what_is_within_the_tolerance_holds() {
        assert!(verdicts(950, Some(5)).0 && verdicts(1050, Some(5)).0);
        assert!(!verdicts(949, Some(5)).0 && !verdicts(1051, Some(5)).0);
        assert!(verdicts(1051, Some(25)).0);
    }

    #[test]
    fn a_complaint_tells_measured_expected_and_how_to_accept() {
        let (_, more) = verdicts(1100, Some(5));
        assert!(more.starts_with("a: 1100 instructions, expected 1000 (within 5 %): +10.0%"), "{more}");
        assert!(more.contains("cargo xtask instructions --accept"), "{more}");
        assert!(verdicts(900, Some(5)).1.contains("-10.0%"));
    }

    #[test]
    fn what_cannot_be_compared_is_not_judged() {
        assert!(verdicts(5000, None).0);
    }

    #[test]
    fn operations_that_are_new_or_gone_are_told() {
        let (counts, reference) = ([("new".into(), 1)].into(), [("old".into(), 2)].into());
        let verdicts = Verdicts::new(&counts, &reference, Some(5));
        let told: Vec<_> = verdicts.complaints().collect();
        assert!(
            told[0].starts_with("new: 1 instructions") && told[1].starts_with("old: expected"),
            "{told:?}"
        );
    }

    #[test]
    fn the_table_has_a_line_for_each() {
        let counts = [("a".into(), 1030), ("bb".into(), 7)].into();
        let reference = [("a".into(), 1000)].into();
        let table = table(&counts, Some(&Verdicts::new(&counts, &reference, Some(5))));
        assert_eq!(
            table,
            "operation  instructions  expected  change\n\
             a                  1030      1000   +3.0%\n\
             bb                    7         -       -"
        );
    }
}
