//! One guest: booted, watched on its console, judged.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::kernel::Kernel;
use super::{Options, directory};
use crate::totals::Totals;

const START: &str = "SLUICE-VM-START";
const VERDICT: &str = "SLUICE-VM-VERDICT: ";
/// What the guest found in the kernel's log at the end.
const SPLAT: &str = "SLUICE-VM-SPLAT: ";
/// With what a kernel says on the console that it is broken.
const COMPLAINTS: [&str; 4] = ["Kernel panic", "BUG: ", "WARNING: CPU", "general protection fault"];

/// How much of the log a failure shows.
const TAIL: usize = 60;

/// Boots the kernel with the archive and returns the tests' verdict.
pub(super) fn run(kernel: &Kernel, archive: &Path, options: &Options) -> Result<Totals> {
    let logs = directory().join("logs");
    fs::create_dir_all(&logs)?;
    let path = logs.join(format!("{}.log", kernel.version));
    let mut log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut guest = Guest::boot(kernel, archive, options.kvm)?;
    let mut console = Console::default();
    let end = watch(&mut guest, &mut log, &mut console, &kernel.version, options.deadline);
    drop(guest);
    let verdict = end.and_then(|()| console.verdict());
    if let Err(error) = &verdict {
        let all = fs::read(&path).unwrap_or_default();
        let all = String::from_utf8_lossy(&all);
        let lines: Vec<_> = all.lines().collect();
        println!("---- the end of {}", path.display());
        for line in &lines[lines.len().saturating_sub(TAIL)..] {
            println!("| {}", line.trim_end());
        }
        println!("---- Linux {}: {error:#}", kernel.version);
    }
    verdict
}

/// Follows the console until the guest powers off.
fn watch(
    guest: &mut Guest,
    log: &mut File,
    console: &mut Console,
    version: &str,
    deadline: Duration,
) -> Result<()> {
    let began = Instant::now();
    let (lines, received) = mpsc::channel();
    let stdout = guest.console.take().context("qemu has no console")?;
    // Ends with qemu, whose end closes the console.
    thread::spawn(move || {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        while stdout.read_until(b'\n', &mut line).unwrap_or(0) > 0 {
            if lines.send(std::mem::take(&mut line)).is_err() {
                return;
            }
        }
    });
    loop {
        let left = deadline.saturating_sub(began.elapsed());
        match received.recv_timeout(left) {
            Ok(line) => {
                log.write_all(&line)?;
                let line = String::from_utf8_lossy(&line);
                let line = line.trim_end_matches(['\r', '\n']);
                if console.read(line) {
                    println!("  {version}: {line}");
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => bail!("no end after {} s", deadline.as_secs()),
        }
    }
    let status = guest.process.wait().context("cannot wait for qemu")?;
    if !status.success() {
        bail!("qemu failed ({status}): {}", guest.errors());
    }
    Ok(())
}

/// What the console has said so far.
#[derive(Default)]
struct Console {
    started: bool,
    verdict: Option<String>,
    splat: Option<String>,
    totals: Totals,
}

impl Console {
    /// Takes in a line; whether it is worth showing: from the start of the tests to the verdict.
    fn read(&mut self, line: &str) -> bool {
        if line.contains(START) {
            self.started = true;
        }
        self.totals.read_tries(line);
        if let Some((_, verdict)) = line.split_once(VERDICT) {
            self.verdict = Some(verdict.to_owned());
        }
        // The kernel's own lines begin with the time; what a test prints is no complaint.
        let complains = line.starts_with('[') && COMPLAINTS.iter().any(|words| line.contains(words));
        let splat = line.strip_prefix(SPLAT).or_else(|| complains.then_some(line));
        if let (None, Some(splat)) = (&self.splat, splat) {
            self.splat = Some(splat.trim().to_owned());
        }
        self.started && (self.verdict.is_none() || line.contains(VERDICT))
    }

    fn verdict(&self) -> Result<Totals> {
        if let Some(splat) = &self.splat {
            bail!("the kernel complained: {splat}");
        }
        let Some(verdict) = &self.verdict else {
            bail!("{}", if self.started { "no verdict" } else { "no verdict: the tests never started" });
        };
        let mut totals = self.totals.clone();
        totals.read(&format!("test result: {verdict}"));
        if totals.results == 0 {
            bail!("cannot read the verdict: {verdict}");
        }
        Ok(totals.settle(verdict.ends_with("exit=0")))
    }
}

/// A running qemu; it ends when this is dropped.
struct Guest {
    process: Child,
    console: Option<ChildStdout>,
}

impl Guest {
    fn boot(kernel: &Kernel, archive: &Path, kvm: bool) -> Result<Self> {
        // Emulated, a processor without RDRAND takes seconds to gather randomness. In one thread: with one
        // for each processor 7.2 died now and then while it patched its own code (Oops: int3).
        let machine: &[&str] = if kvm {
            &["-accel", "kvm", "-cpu", "host"]
        } else {
            &["-accel", "tcg,thread=single", "-cpu", "qemu64,+rdrand"]
        };
        let mut process = Command::new("qemu-system-x86_64")
            .args(machine)
            .args(["-m", "1500", "-smp", "2", "-no-reboot", "-nodefaults", "-no-user-config"])
            .args(["-display", "none", "-serial", "stdio", "-monitor", "none", "-net", "none"])
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(archive)
            // A broken kernel ends the guest at once: panic=-1 reboots, -no-reboot ends.
            .args(["-append", "console=ttyS0 quiet panic=-1 oops=panic random.trust_cpu=on"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run qemu-system-x86_64")?;
        let console = process.stdout.take();
        Ok(Self { process, console })
    }

    fn errors(&mut self) -> String {
        let stderr = self.process.stderr.take().map(std::io::read_to_string);
        stderr.and_then(Result::ok).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Both fail when it has ended by itself, which is as good.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(lines: &[&str]) -> Console {
        let mut console = Console::default();
        for line in lines {
            console.read(line);
        }
        console
    }

    const GOOD: &str = "SLUICE-VM-VERDICT: ok. 3 passed; 0 failed; 0 ignored; exit=0";

    #[test]
    fn a_verdict_gives_its_counts() {
        let totals = console(&["SLUICE-VM-START: Linux 6.1", GOOD]).verdict().unwrap();
        assert_eq!((totals.passed, totals.failed), (3, 0));
    }

    #[test]
    fn a_verdict_of_a_program_that_failed_is_a_failure() {
        let bad = "SLUICE-VM-VERDICT: ok. 3 passed; 0 failed; 0 ignored; exit=139";
        assert_eq!(console(&["SLUICE-VM-START", bad]).verdict().unwrap().failed, 1);
    }

    #[test]
    fn no_verdict_and_a_kernel_that_complained_are_failures() {
        assert!(console(&["SLUICE-VM-START", "test a ... ok"]).verdict().is_err());
        assert!(console(&[]).verdict().is_err());
        let splat = "[ 1.0] WARNING: CPU: 0 PID: 1 at net/core/skmsg.c:1";
        assert!(console(&["SLUICE-VM-START", splat, GOOD]).verdict().is_err());
        let found = format!("SLUICE-VM-SPLAT: {splat}");
        assert!(console(&["SLUICE-VM-START", &found, GOOD]).verdict().is_err());
        assert!(console(&["SLUICE-VM-START", "test says BUG: ... ok", GOOD]).verdict().is_ok());
    }
}
