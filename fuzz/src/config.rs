//! The config file.

use std::path::Path;

use sluice::config::{Config, ConfigError, Place};

/// The target `config`. Memory has no bound here but the file's size: root writes it.
pub fn config(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let path = Path::new("sluice.toml");
    match Config::parse(text, path) {
        Ok(config) => {
            let longer = format!("{text}\n# and no more\n");
            assert!(Config::parse(&longer, path).is_ok_and(|longer| longer == config));
            for (at, workload) in config.workloads.iter().enumerate() {
                assert!(workload.cgroup.is_absolute(), "{workload:?}");
                assert!(workload.netns.as_ref().is_none_or(|netns| netns.is_absolute()), "{workload:?}");
                let before = config.workloads.iter().take(at);
                assert!(before.clone().all(|other| other.name != workload.name), "{workload:?}");
                assert!(before.clone().all(|other| other.cgroup != workload.cgroup), "{workload:?}");
                // Compiles, whatever the lists are.
                let _table = config.table(workload);
            }
        }
        Err(error) => {
            let shown = error.to_string();
            match error {
                ConfigError::Syntax { at, .. } | ConfigError::Value { at, .. } => {
                    check_place(&at, text, &shown)
                }
                ConfigError::Read { .. } | ConfigError::Empty { .. } => panic!("nothing was read: {shown}"),
            }
        }
    }
}

/// An error points at a place in the file, or behind its last character.
fn check_place(at: &Place, text: &str, shown: &str) {
    let lines: Vec<_> = text.split('\n').collect();
    let line = at.line.checked_sub(1).and_then(|line| lines.get(line));
    let length = line.map(|line| line.chars().count());
    assert!(length.is_some_and(|length| (1..=length + 1).contains(&at.column)), "{shown}");
    assert!(shown.starts_with("sluice.toml:"), "{shown}");
}
