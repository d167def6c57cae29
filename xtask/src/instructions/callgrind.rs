//! One run of the program under callgrind.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::{command, workspace};

/// The function within which is counted. Its name stands in the symbol, however the compiler decorates that.
const COUNTED: &str = "--toggle-collect=*counted_by_valgrind*";

/// Instructions that the program executes within that function, of all runs of this operation.
pub(super) fn count(program: &Path, operation: &str) -> Result<u64> {
    let out = workspace::target().join("instructions.callgrind");
    let mut valgrind = command::command(
        "valgrind",
        [
            "--tool=callgrind".to_owned(),
            format!("--callgrind-out-file={}", out.display()),
            COUNTED.to_owned(),
            "--quiet".to_owned(),
        ],
    );
    valgrind.arg(program).arg(operation);
    command::output(&mut valgrind)?;
    let profile = fs::read_to_string(&out).with_context(|| format!("cannot read {}", out.display()))?;
    total(&profile).with_context(|| format!("valgrind counted nothing of '{operation}'"))
}

/// The sum that a profile names; `None` where nothing was counted.
fn total(profile: &str) -> Option<u64> {
    let totals = profile.lines().find_map(|line| line.strip_prefix("totals: "))?;
    totals.trim().parse().ok().filter(|total| *total > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_and_nothing_is_no_total() {
        assert_eq!(total("events: Ir\nfn=(1) x\n1 70\n\ntotals: 5904\n"), Some(5904));
        assert_eq!(total("events: Ir\n\ntotals: 0\n"), None);
        assert_eq!(total("events: Ir\n"), None);
    }
}
