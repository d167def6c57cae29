//! Where it was measured, and with what: numbers without that mean nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::peer::Peer;
use super::variant::Variant;
use super::way::Way;
use crate::command;

/// What is true of all parts of a run.
pub(super) struct Machine {
    pub(super) processor: String,
    pub(super) processors: usize,
    pub(super) memory_gib: f64,
    pub(super) kernel: String,
    /// Programs and their versions, each once.
    pub(super) programs: Vec<(String, String)>,
}

impl Machine {
    /// This one.
    pub(super) fn here() -> Result<Self> {
        let kib =
            meminfo_kib(&fs::read_to_string("/proc/meminfo")?).context("no MemTotal in /proc/meminfo")?;
        Ok(Self {
            processor: model(&fs::read_to_string("/proc/cpuinfo")?).unwrap_or_else(|| "unknown".into()),
            processors: std::thread::available_parallelism()?.get(),
            memory_gib: kib / f64::from(1 << 20),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            programs: Vec::new(),
        })
    }

    /// Remembers which version of a program a variant is had with.
    pub(super) fn note(&mut self, variant: &Variant) -> Result<()> {
        let Some(program) = &variant.program else { return Ok(()) };
        let (name, flag) = match variant.way {
            Way::Peer(Peer::Haproxy | Peer::HaproxySplice) => ("HAProxy", "-v"),
            Way::Peer(Peer::Nginx) => ("nginx", "-v"),
            Way::Peer(Peer::Envoy) => ("Envoy", "--version"),
            Way::Direct | Way::Exec(_) | Way::Bypass | Way::Relay(_) | Way::Redirect => {
                ("sluice", "--version")
            }
        };
        let name = format!("{name}{}", variant.build);
        if self.programs.iter().all(|(known, _)| *known != name) {
            self.programs.push((name, ask(program, flag)?));
        }
        Ok(())
    }

    pub(super) fn shown(&self) -> String {
        let Self { processor, processors, memory_gib, kernel, programs } = self;
        let programs: Vec<_> = programs.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let with = if programs.is_empty() { String::new() } else { format!("; {}", programs.join(", ")) };
        format!("{processors} processors ({processor}), {memory_gib:.0} GiB, Linux {kernel}{with}")
    }
}

fn ask(program: &Path, flag: &str) -> Result<String> {
    let mut command = Command::new(program);
    let output = command.arg(flag).output().with_context(|| format!("cannot run {}", program.display()))?;
    // nginx says it on stderr.
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    version(&said).with_context(|| format!("`{}` told no version: {}", command::show(&command), said.trim()))
}

/// The first thing that looks like one: `2.6.12` of `HAProxy version 2.6.12-1+deb12u3 2026/01/02`.
fn version(said: &str) -> Option<String> {
    said.split(|character: char| !(character.is_ascii_digit() || character == '.'))
        .find(|word| word.split('.').count() >= 3 && word.split('.').all(|part| !part.is_empty()))
        .map(str::to_owned)
}

/// The model of the first processor.
fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim().to_owned())
}

fn meminfo_kib(meminfo: &str) -> Option<f64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One that is nowhere.
    pub(in crate::bench) fn machine() -> Machine {
        Machine {
            processor: "Some CPU".into(),
            processors: 2,
            memory_gib: 8.0,
            kernel: "6.18".into(),
            programs: vec![("nginx".into(), "1.22.1".into())],
        }
    }

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (said, expected) in [
            ("HAProxy version 2.6.12-1+deb12u3 2026/01/02 - https://haproxy.org/", "2.6.12"),
            ("nginx version: nginx/1.22.1\n", "1.22.1"),
            ("envoy  version: abc0123/1.40.0/Clean/RELEASE/BoringSSL", "1.40.0"),
            ("sluice 0.1.0", "0.1.0"),
        ] {
            assert_eq!(version(said).as_deref(), Some(expected));
        }
        assert_eq!(version("no idea ... 1.2"), None);
    }

    #[test]
    fn the_machine_is_read_from_proc() {
        assert_eq!(model("processor\t: 0\nmodel name\t: Some: CPU\n").as_deref(), Some("Some: CPU"));
        assert_eq!(model("processor : 0\n"), None);
        assert_eq!(meminfo_kib("MemTotal:        4000 kB\nMemFree: 1 kB\n"), Some(4000.0));
    }
}
