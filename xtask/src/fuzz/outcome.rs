//! What a run of a target has come to, as its log tells.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context as _, Result};

use super::shown;

/// Bytes that are shown of an input.
const MAX_SHOWN: usize = 4096;
/// Lines that are shown of a log, from the first that tells what went wrong.
const MAX_LINES: usize = 60;
/// What the line begins with, or holds, that tells what went wrong.
const WRONG: [&str; 3] = [") panicked at ", "ERROR: libFuzzer", "ALARM: "];

/// How it went.
pub(super) struct Outcome {
    target: String,
    /// `None` when everything held.
    failure: Option<Failure>,
    log: PathBuf,
    /// Inputs tried, and how many a second.
    tried: u64,
    per_second: u64,
    /// Edges that were seen.
    coverage: u64,
}

/// What did not hold.
struct Failure {
    status: ExitStatus,
    /// The log, from where it tells.
    told: Vec<String>,
    /// The input, where libFuzzer has left it.
    input: Option<(PathBuf, Vec<u8>)>,
}

impl Outcome {
    /// Reads the log of a run that has ended.
    pub(super) fn read(target: &str, status: ExitStatus, log: &Path) -> Result<Self> {
        let bytes = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let failure = (!status.success()).then(|| Failure::read(&text, status));
        Ok(Self {
            target: target.to_owned(),
            failure,
            log: log.to_owned(),
            tried: number_after(&text, "stat::number_of_executed_units:"),
            per_second: number_after(&text, "stat::average_exec_per_sec:"),
            coverage: number_after(&text, " cov: "),
        })
    }

    /// Whether everything held.
    pub(super) const fn held(&self) -> bool {
        self.failure.is_none()
    }
}

impl Failure {
    fn read(text: &str, status: ExitStatus) -> Self {
        let lines: Vec<_> = text.lines().collect();
        let is_wrong = |line: &&str| WRONG.iter().any(|words| line.contains(words));
        let from = lines.iter().position(is_wrong).unwrap_or(lines.len().saturating_sub(MAX_LINES));
        let told = lines.iter().skip(from).take(MAX_LINES).map(|line| (*line).to_owned()).collect();
        let input =
            text.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path);
        let input = input.map(PathBuf::from).and_then(|path| fs::read(&path).ok().map(|bytes| (path, bytes)));
        Self { status, told, input }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, failure, log, tried, per_second, coverage } = self;
        let Some(Failure { status, told, input }) = failure else {
            return write!(f, "{target:8} held: {tried} inputs, {per_second} a second, {coverage} edges");
        };
        writeln!(f, "{target:8} FAILED ({status})")?;
        for line in told {
            writeln!(f, "    {line}")?;
        }
        if let Some((path, bytes)) = input {
            let start = bytes.get(..MAX_SHOWN).unwrap_or(bytes);
            writeln!(f, "  the input, {} bytes: \"{}\"", bytes.len(), start.escape_ascii())?;
            writeln!(f, "  is in {}; to try it again:", shown(path))?;
            writeln!(f, "    cargo xtask fuzz {target} --input {}", shown(path))?;
            writeln!(f, "  once mended, keep it: cp {} fuzz/regressions/{target}/NAME", shown(path))?;
        }
        write!(f, "  the whole log is {}", shown(log))
    }
}

/// The number behind the last of these words; 0 where there is none.
fn number_after(text: &str, words: &str) -> u64 {
    let rest = text.rsplit_once(words).map_or("", |(_, rest)| rest).trim_start();
    let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn numbers_are_the_last_of_their_kind() {
        let log = "#1 INITED cov: 5 ft: 6\n#9 DONE   cov: 12 ft: 70\nstat::average_exec_per_sec:     4995\n";
        assert_eq!(number_after(log, " cov: "), 12);
        assert_eq!(number_after(log, "stat::average_exec_per_sec:"), 4995);
        assert_eq!(number_after(log, "stat::number_of_executed_units:"), 0);
    }

    #[test]
    fn a_failure_tells_what_went_wrong() {
        let log =
            "INFO: Seed: 1\n\nthread '<unnamed>' (7) panicked at a.rs:1:2:\nno\n==7== ERROR: libFuzzer: x\n";
        let failure = Failure::read(log, ExitStatus::from_raw(77 << 8));
        assert!(failure.told[0].contains("panicked at a.rs") && failure.told[1] == "no");
        assert!(failure.input.is_none());
    }
}
