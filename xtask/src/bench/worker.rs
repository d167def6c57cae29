//! This program again, as a process of its own that is talked to by lines.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::netns::Netns;

/// How long a process may take to answer, beyond what it measures.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a process may take to end.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// The same, where something went wrong.
const DROP_PATIENCE: Duration = Duration::from_secs(1);

/// Tells the starter that this process is ready. For the process itself.
pub(super) fn ready() -> Result<()> {
    println!("{}", json!({ "pid": std::process::id() }));
    Ok(io::stdout().flush()?)
}

/// Returns when the starter is gone, or wants this process to go.
pub(super) fn until_stdin_ends() -> Result<()> {
    io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A process that has said that it is ready.
pub(super) struct Worker {
    child: Child,
    answers: Receiver<String>,
    log: PathBuf,
    /// The process that said so: not the child where something stands between.
    pub(super) pid: u32,
    /// How long that took.
    pub(super) ready_after: Duration,
}

impl Worker {
    /// Starts `command` in `netns` and waits until it is ready. Its stderr goes to the file `log`.
    pub(super) fn start(mut command: Command, netns: &Netns, log: &Path) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(log)?);
        let began = Instant::now();
        let mut child = netns.spawn(&mut command)?;
        let (lines, answers) = channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    if lines.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        let mut worker = Self { child, answers, log: log.to_owned(), pid: 0, ready_after: Duration::ZERO };
        let answer = worker.answer()?;
        let pid = answer["pid"].as_u64().context("a process did not say its id")?;
        worker.pid = u32::try_from(pid)?;
        // What starts another program knows better how long that one took.
        worker.ready_after =
            answer["ready_after_us"].as_u64().map_or_else(|| began.elapsed(), Duration::from_micros);
        Ok(worker)
    }

    /// The process that was started.
    pub(super) fn child_pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to begin, and waits for what it has to say.
    pub(super) fn go(&mut self) -> Result<Value> {
        let mut stdin = self.child.stdin.as_ref().context("the process was told to end")?;
        stdin.write_all(b"go\n").with_context(|| self.last_words())?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Value> {
        let line = self.answers.recv_timeout(PATIENCE).with_context(|| self.last_words())?;
        Ok(serde_json::from_str(&line)?)
    }

    fn last_words(&self) -> String {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        format!("process {} did not answer; it said: {}", self.child.id(), said.trim())
    }

    /// Lets it end.
    pub(super) fn finish(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let began = Instant::now();
        while began.elapsed() < END_PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                if !status.success() {
                    bail!("{} ({status})", self.last_words());
                }
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("{}", self.last_words())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // It is ending by itself, and ends what it has started; where it does not, it has to.
            let began = Instant::now();
            while began.elapsed() < DROP_PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
                thread::sleep(Duration::from_millis(5));
            }
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
