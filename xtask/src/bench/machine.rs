//! What the kernel says of processes and of the machine.

use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Result};

/// Of /proc, on every Linux that sluice runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of processor time that a process has had so far, those of its threads included.
pub(super) fn process_seconds(pid: u32) -> Result<f64> {
    seconds(pid, &[14, 15])
}

/// The same, with those of the processes that it has waited for: the programs that it ran.
fn seconds_with_children(pid: u32) -> Result<f64> {
    seconds(pid, &[14, 15, 16, 17])
}

/// utime, stime, cutime, cstime of proc_pid_stat(5), by their numbers.
fn seconds(pid: u32, fields: &[usize]) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name is in parentheses, and may contain some. The rest begins with field 3.
    let (_, rest) = stat.rsplit_once(") ").context("cannot read a process's statistics")?;
    let ticks = |field: &usize| -> Result<f64> {
        Ok(rest.split(' ').nth(field - 3).context("a process's statistics end early")?.parse()?)
    };
    Ok(fields.iter().map(ticks).sum::<Result<f64>>()? / TICKS_PER_SECOND)
}

/// Bytes of a process that are in memory.
pub(super) fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// What the machine has done so far, and what some processes have.
pub(super) struct Watch {
    began: Instant,
    machine: MachineSeconds,
    own: f64,
    pids: Vec<u32>,
}

#[derive(Clone, Copy)]
struct MachineSeconds {
    busy: f64,
    stolen: f64,
}

/// Processors that others kept busy, on average: 1.0 is a whole one.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub(super) struct Foreign(pub(super) f64);

/// What was used while something was watched.
pub(super) struct Used {
    pub(super) foreign: Foreign,
    /// Seconds of all processors, by whomever.
    pub(super) machine_seconds: f64,
}

impl Watch {
    /// Begins; `pids` are ours.
    pub(super) fn begin(pids: Vec<u32>) -> Result<Self> {
        let own = own_seconds(&pids)?;
        Ok(Self { began: Instant::now(), machine: MachineSeconds::read()?, own, pids })
    }

    /// What was used since.
    pub(super) fn used(&self) -> Result<Used> {
        let (now, elapsed) = (MachineSeconds::read()?, self.began.elapsed().as_secs_f64());
        let machine_seconds = now.busy - self.machine.busy;
        let others = machine_seconds - (own_seconds(&self.pids)? - self.own);
        let stolen = now.stolen - self.machine.stolen;
        Ok(Used { foreign: Foreign((others.max(0.0) + stolen) / elapsed), machine_seconds })
    }
}

fn own_seconds(pids: &[u32]) -> Result<f64> {
    pids.iter().map(|pid| seconds_with_children(*pid)).sum()
}

impl MachineSeconds {
    fn read() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let all = stat.lines().next().context("/proc/stat is empty")?;
        let ticks: Vec<f64> = all.split_whitespace().skip(1).map_while(|word| word.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal
        let at = |index: usize| ticks.get(index).copied().unwrap_or(0.0) / TICKS_PER_SECOND;
        Ok(Self { busy: at(0) + at(1) + at(2) + at(5) + at(6), stolen: at(7) })
    }
}
