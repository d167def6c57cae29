//! What numbers depend on besides the sources.

use std::fmt;

use anyhow::{Context as _, Result};

use crate::command;

/// Percent that an operation may be off where the reference was counted with the same toolchain. Hash seeds are
/// 0.1 % of it; how the compiler parts a crate that has changed elsewhere was 4.9 % of one operation.
const SAME: u64 = 10;
/// Percent that it may be off with another: enough for what compilers and allocators change from one version
/// to the next, too little for an allocation more in a small operation.
const OTHER: u64 = 25;

/// A compiler, and what counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Toolchain {
    /// Of processors: `x86_64`.
    pub(super) architecture: String,
    /// `1.95.0`
    pub(super) rustc: String,
    /// Whose allocator and memcpy are counted as well: `2.36`
    pub(super) libc: String,
    /// `3.19.0`
    pub(super) valgrind: String,
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { architecture, rustc, libc, valgrind } = self;
        write!(f, "rustc {rustc}, glibc {libc}, valgrind {valgrind} on {architecture}")
    }
}

impl Toolchain {
    pub(super) fn of_this_machine() -> Result<Self> {
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
        Ok(Self {
            architecture: std::env::consts::ARCH.into(),
            rustc: version(&rustc, &["--version"])?,
            libc: version("getconf", &["GNU_LIBC_VERSION"])?,
            valgrind: version("valgrind", &["--version"])?,
        })
    }

    /// Percent that an operation may be off from the reference; `None` where nothing can be said.
    pub(super) fn tolerance_percent(&self, reference: &Self) -> Option<u64> {
        match () {
            () if self == reference => Some(SAME),
            () if self.architecture == reference.architecture => Some(OTHER),
            () => None,
        }
    }

    /// What is to be known of a comparison with another toolchain.
    pub(super) fn warning(&self, reference: &Self) -> Option<String> {
        let tolerance = self.tolerance_percent(reference);
        let what = match tolerance {
            Some(SAME) => return None,
            Some(other) => format!("{other} % off is as good as equal here, instead of {SAME} %"),
            None => "nothing can be compared".into(),
        };
        Some(format!(
            "WARNING: the reference is of {reference}: {what}. Where this toolchain is what is built with from \
             now on, count a state that is known to be good, and accept it: cargo xtask instructions --accept"
        ))
    }
}

/// The first word with a dot of what a program says, without what stands before its first digit.
fn version(program: &str, args: &[&str]) -> Result<String> {
    let said = command::output(&mut command::command(program, args))?;
    number(&said).with_context(|| format!("`{program}` names no version: {said}"))
}

fn number(said: &str) -> Option<String> {
    let word = said.split_whitespace().find(|word| word.contains('.'))?;
    let number = word.trim_start_matches(|char: char| !char.is_ascii_digit());
    (!number.is_empty()).then(|| number.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolchain(architecture: &str, rustc: &str) -> Toolchain {
        Toolchain {
            architecture: architecture.into(),
            rustc: rustc.into(),
            libc: "2.36".into(),
            valgrind: "3.19.0".into(),
        }
    }

    #[test]
    fn versions_are_read_from_what_programs_say() {
        assert_eq!(number("rustc 1.95.0 (59807616e 2026-04-14)\n").as_deref(), Some("1.95.0"));
        assert_eq!(number("glibc 2.36\n").as_deref(), Some("2.36"));
        assert_eq!(number("valgrind-3.19.0\n").as_deref(), Some("3.19.0"));
        assert_eq!(number("none"), None);
    }

    #[test]
    fn another_compiler_widens_the_tolerance_and_says_so() {
        let reference = toolchain("x86_64", "1.95.0");
        let newer = toolchain("x86_64", "1.96.0");
        assert_eq!(newer.tolerance_percent(&reference), Some(OTHER));
        let warning = newer.warning(&reference).unwrap();
        assert!(
            warning.contains("is of rustc 1.95.0, glibc 2.36") && warning.contains("--accept"),
            "{warning}"
        );
        assert_eq!(
            (reference.tolerance_percent(&reference), reference.warning(&reference)),
            (Some(SAME), None)
        );
    }

    #[test]
    fn other_processors_are_not_compared() {
        let (reference, other) = (toolchain("x86_64", "1.95.0"), toolchain("aarch64", "1.95.0"));
        assert_eq!(other.tolerance_percent(&reference), None);
        assert!(other.warning(&reference).unwrap().contains("nothing can be compared"));
    }
}
