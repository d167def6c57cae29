//! What is logged, and where.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// Starts the log on stderr, as SLUICE_LOG says, or else as `default` does.
pub(super) fn start(default: &str) -> anyhow::Result<()> {
    const VARIABLE: &str = "SLUICE_LOG";
    let filter = match std::env::var(VARIABLE) {
        Ok(filter) => EnvFilter::try_new(of_sluice(&filter)).with_context(|| {
            format!("{VARIABLE}: expected a level (error, warn, info, debug) or a filter, got '{filter}'")
        })?,
        Err(_not_set) => EnvFilter::new(of_sluice(default)),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
    Ok(())
}

/// A filter whose levels without a name are sluice's: of other crates, that log every relocation of
/// the kernel programs and every wake-up, warnings are enough unless they are named.
fn of_sluice(filter: &str) -> String {
    let directive = |directive: &str| {
        let is_verbose = ["info", "debug", "trace"].iter().any(|level| level.eq_ignore_ascii_case(directive));
        if is_verbose { format!("warn,sluice={directive}") } else { directive.to_owned() }
    };
    filter.split(',').map(|written| directive(written.trim())).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_without_a_name_is_sluice_s() {
        for (filter, expected) in [
            ("debug", "warn,sluice=debug"),
            ("INFO", "warn,sluice=INFO"),
            ("error", "error"),
            ("off", "off"),
            ("info,sluice_ebpf=trace", "warn,sluice=info,sluice_ebpf=trace"),
            ("debug, aya=info", "warn,sluice=debug,aya=info"),
            ("aya=debug", "aya=debug"),
            ("", ""),
        ] {
            assert_eq!(of_sluice(filter), expected);
            assert!(EnvFilter::try_new(expected).is_ok(), "{expected}");
        }
    }
}
