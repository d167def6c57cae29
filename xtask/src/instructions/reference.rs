//! What was counted before, as the repository keeps it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::Counts;
use super::toolchain::Toolchain;

/// What was counted, and with what.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) toolchain: Toolchain,
    pub(super) counts: Counts,
}

impl Reference {
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("{}: not as this chore writes it", file.display()))
    }

    pub(super) fn write(&self, file: &Path) -> Result<()> {
        fs::write(file, self.to_text()?).with_context(|| format!("cannot write {}", file.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let json: Value = serde_json::from_str(text).context("expected JSON")?;
        let of_toolchain = |field: &str| {
            let value = json["toolchain"][field].as_str();
            value.map(str::to_owned).with_context(|| format!("expected a text in toolchain.{field}"))
        };
        let toolchain = Toolchain {
            architecture: of_toolchain("architecture")?,
            rustc: of_toolchain("rustc")?,
            libc: of_toolchain("libc")?,
            valgrind: of_toolchain("valgrind")?,
        };
        let counts = json["instructions"].as_object().context("expected an object in instructions")?;
        let count = |(name, count): (&String, &Value)| {
            let number = count.as_u64().with_context(|| format!("{name}: expected a number, got {count}"))?;
            Ok((name.clone(), number))
        };
        Ok(Self { toolchain, counts: counts.iter().map(count).collect::<Result<_>>()? })
    }

    fn to_text(&self) -> Result<String> {
        let Toolchain { architecture, rustc, libc, valgrind } = &self.toolchain;
        let json = json!({
            "toolchain": { "architecture": architecture, "rustc": rustc, "libc": libc, "valgrind": valgrind },
            "instructions": self.counts,
        });
        Ok(serde_json::to_string_pretty(&json).context("cannot be written as JSON")? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_reads_back() {
        let toolchain = Toolchain {
            architecture: "x86_64".into(),
            rustc: "1.95.0".into(),
            libc: "2.36".into(),
            valgrind: "3.19.0".into(),
        };
        let reference = Reference { toolchain, counts: [("pump message".into(), 812)].into() };
        assert_eq!(Reference::parse(&reference.to_text().unwrap()).unwrap(), reference);
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = Reference::parse("{\"toolchain\": {}, \"instructions\": {}}").unwrap_err();
        assert_eq!(error.to_string(), "expected a text in toolchain.architecture");
    }

    #[test]
    fn the_reference_of_this_repository_can_be_read() {
        let file = crate::workspace::root().join("instructions/reference.json");
        assert!(!Reference::read(&file).unwrap().counts.is_empty());
    }
}
