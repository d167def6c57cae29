//! Child processes: spoken to by lines, waited for with a deadline, killed and reaped on drop.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::wait;

/// A running child, in a process group of its own.
#[derive(Debug)]
pub struct Process {
    what: String,
    child: Child,
    stdout: Pump,
    stderr: Pump,
    lines: Receiver<String>,
    status: Option<ExitStatus>,
}

/// What a child left.
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote to standard output.
    pub stdout: Vec<u8>,
    /// All it wrote to standard error.
    pub stderr: String,
}

impl std::fmt::Debug for Finished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\nstdout: {}\nstderr: {}", self.status, readable(&self.stdout), self.stderr)
    }
}

impl Process {
    /// Starts a command with its three streams piped.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let what = format!("{command:?}").chars().take(300).collect();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = spawn(&mut command).unwrap_or_else(|error| panic!("start {what}: {error}"));
        let (sender, lines) = channel();
        let stdout = Pump::start(child.stdout.take().expect("piped"), Some(sender));
        let stderr = Pump::start(child.stderr.take().expect("piped"), None);
        Self { what, child, stdout, stderr, lines, status: None }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits for a line on standard output that starts with `word` and gives the rest of it; the
    /// lines before it are passed over.
    ///
    /// # Panics
    /// When the output ends, or stays away.
    pub fn line(&mut self, word: &str) -> String {
        let deadline = Instant::now() + wait::patience();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!(
                    "no line '{word} …' from {}\nstdout: {}\nstderr: {}",
                    self.what,
                    readable(&self.stdout.so_far()),
                    self.stderr_so_far()
                );
            };
            if let Some(rest) = line.strip_prefix(word)
                && (rest.is_empty() || rest.starts_with(' '))
            {
                return rest.trim().to_owned();
            }
        }
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    /// When it does not read any more.
    pub fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("standard input is open");
        writeln!(stdin, "{line}").unwrap_or_else(|error| panic!("speak to {}: {error}", self.what));
    }

    /// Writes bytes to its standard input and closes it.
    ///
    /// # Panics
    /// When it does not read any more.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut stdin = self.child.stdin.take().expect("standard input is open");
        stdin.write_all(bytes).unwrap_or_else(|error| panic!("feed {}: {error}", self.what));
    }

    /// Sends a signal to the process alone, not to its group.
    ///
    /// # Panics
    /// When it is gone.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("{signal} to {}: {error}", self.what));
    }

    /// What it has written to standard error up to now.
    #[must_use]
    pub fn stderr_so_far(&self) -> String {
        String::from_utf8_lossy(&self.stderr.so_far()).into_owned()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("ask for a child's status");
        }
        self.status.is_some()
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it does not come within the limit.
    #[must_use]
    pub fn finish(mut self, limit: Duration) -> Finished {
        let deadline = Instant::now() + limit;
        while !self.has_ended() {
            assert!(
                Instant::now() < deadline,
                "{} did not end within {limit:?}\nstdout: {}\nstderr: {}",
                self.what,
                readable(&self.stdout.so_far()),
                self.stderr_so_far()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        // A grandchild that outlived the child may hold the pipes: its output is not waited for.
        let deadline = Instant::now() + Duration::from_secs(2);
        while !(self.stdout.is_done() && self.stderr.is_done()) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        Finished {
            status: self.status.expect("it has ended"),
            stdout: self.stdout.so_far(),
            stderr: self.stderr_so_far(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // ESRCH is the usual case: everything has ended.
        killpg(self.pid(), Signal::SIGKILL).ok();
        self.child.wait().ok();
    }
}

/// A thread that empties a pipe.
#[derive(Debug)]
struct Pump {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

/// Starts the command. A program that was just written is busy for as long as a child that another
/// test forked meanwhile holds it open: until that child's exec.
fn spawn(command: &mut Command) -> std::io::Result<Child> {
    for _ in 0..100 {
        match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(10));
            }
            started => return started,
        }
    }
    command.spawn()
}

impl Pump {
    fn start(mut pipe: impl std::io::Read + Send + 'static, lines: Option<Sender<String>>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut line = Vec::new();
            let mut buffer = [0; 16 * 1024];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                sink.lock().expect("not poisoned").extend_from_slice(&buffer[..count]);
                let Some(lines) = &lines else { continue };
                for byte in &buffer[..count] {
                    if *byte == b'\n' {
                        let whole = String::from_utf8_lossy(&line).into_owned();
                        line.clear();
                        // Nobody may be listening any more.
                        lines.send(whole).ok();
                    } else {
                        line.push(*byte);
                    }
                }
            }
        });
        Self { bytes, thread }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().expect("not poisoned").clone()
    }

    fn is_done(&self) -> bool {
        self.thread.is_finished()
    }
}

/// The end of what was written, as text that a terminal can show.
#[must_use]
pub fn readable(bytes: &[u8]) -> String {
    const SHOWN: usize = 2000;
    let tail = &bytes[bytes.len().saturating_sub(SHOWN)..];
    let cut = if tail.len() < bytes.len() { "… " } else { "" };
    match std::str::from_utf8(tail) {
        Ok(text) => format!("{cut}{text}"),
        Err(_) => format!("{} bytes that are not text", bytes.len()),
    }
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started or does not end in time.
#[must_use]
pub fn run(command: Command) -> Finished {
    let mut process = Process::start(command);
    process.child.stdin.take();
    process.finish(wait::patience() * 3)
}

/// How many descriptors a process has open.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn open_files(pid: Pid) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process").count()
}

/// The resident memory of a process, bytes.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn resident_bytes(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

/// Whether a process still exists.
#[must_use]
pub fn is_alive(pid: Pid) -> bool {
    kill(pid, None).is_ok()
}
