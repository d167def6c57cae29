//! The process itself, as the usual `process_*` series; read from /proc/self.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Clock ticks a second where the auxiliary vector does not say: Linux's USER_HZ on every
/// architecture that has eBPF.
const DEFAULT_TICKS_PER_SECOND: u64 = 100;
/// Type of the auxiliary vector's entry for clock ticks (getauxval(3)).
const AT_CLKTCK: u64 = 17;

/// Tells the `process_*` series. What cannot be read is left out.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    ticks_per_second: u64,
    /// Seconds since the epoch. Read once, because the kernel's boot time moves with the clock.
    start_time_seconds: Option<f64>,
}

impl ProcessCollector {
    /// A collector for this process.
    pub(super) fn new() -> Self {
        let ticks_per_second = fs::read("/proc/self/auxv")
            .ok()
            .and_then(|auxv| ticks_in_auxv(&auxv))
            .unwrap_or(DEFAULT_TICKS_PER_SECOND);
        let start_time_seconds = boot_time_seconds()
            .zip(read_stat())
            .map(|(boot, stat)| boot as f64 + seconds(stat.start_ticks, ticks_per_second));
        Self { ticks_per_second, start_time_seconds }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(value) = self.start_time_seconds {
            let help = "When the process started, seconds since the epoch.";
            encode(&mut encoder, "process_start_time_seconds", help, &ConstGauge::new(value))?;
        }
        if let Some(stat) = read_stat() {
            let cpu = ConstCounter::new(seconds(stat.cpu_ticks, self.ticks_per_second));
            encode(&mut encoder, "process_cpu_seconds", "User and system CPU time used.", &cpu)?;
        }
        if let Some(value) = open_fds() {
            encode(&mut encoder, "process_open_fds", "Open file descriptors.", &ConstGauge::new(value))?;
        }
        if let Some(value) = resident_bytes() {
            let help = "Resident memory.";
            encode(&mut encoder, "process_resident_memory_bytes", help, &ConstGauge::new(value))?;
        }
        Ok(())
    }
}

/// Writes a metric that has no labels.
fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

/// Clock ticks as seconds.
fn seconds(ticks: u64, ticks_per_second: u64) -> f64 {
    ticks as f64 / ticks_per_second as f64
}

/// What is read of proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    /// User and system time, clock ticks.
    cpu_ticks: u64,
    /// Start of the process, clock ticks since boot.
    start_ticks: u64,
}

/// This process's line.
fn read_stat() -> Option<Stat> {
    parse_stat(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// Reads fields 14, 15 and 22, counted from 1.
fn parse_stat(line: &str) -> Option<Stat> {
    // Field 2 is the command in parentheses: it may hold spaces, and parentheses of its own.
    let (_, rest) = line.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let user: u64 = fields.nth(14 - 3)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let start_ticks = fields.nth(22 - 16)?.parse().ok()?;
    Some(Stat { cpu_ticks: user.checked_add(system)?, start_ticks })
}

/// When the system booted, seconds since the epoch.
fn boot_time_seconds() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// How many descriptors are open.
fn open_fds() -> Option<u64> {
    // Less the one that the listing itself needs.
    u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1)).ok()
}

/// Resident memory, bytes.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The clock ticks a second in an auxiliary vector: pairs of a type and a value.
fn ticks_in_auxv(auxv: &[u8]) -> Option<u64> {
    const WORD: usize = size_of::<usize>();
    let words = auxv.chunks_exact(WORD).filter_map(|word| word.try_into().ok().map(usize::from_ne_bytes));
    let words: Vec<_> = words.filter_map(|word| u64::try_from(word).ok()).collect();
    let entry = words.chunks_exact(2).find(|entry| entry.first() == Some(&AT_CLKTCK))?;
    entry.get(1).copied().filter(|ticks| *ticks > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let line = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 4 0 12345 1000 10";
        assert_eq!(parse_stat(line), Some(Stat { cpu_ticks: 300, start_ticks: 12345 }));
    }

    #[test]
    fn a_short_line_is_nothing() {
        assert_eq!(parse_stat("7 (a) S 1 7"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn the_running_kernel_s_files_are_understood() {
        assert!(read_stat().is_some());
        assert!(boot_time_seconds().is_some());
        assert!(open_fds().is_some_and(|count| count > 2));
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
        assert!(ticks_in_auxv(&fs::read("/proc/self/auxv").unwrap()).is_some());
    }
}
