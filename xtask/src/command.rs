//! Running programs: what was run, how long it took, and what it said when it failed.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// A command at the top of the repository.
pub(crate) fn command<A: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(workspace::root()).stdin(Stdio::null());
    command
}

/// The cargo that runs us, without what it says of us: build scripts that read the name of their own
/// package would run again, and all that stands on them be built again, each time that cargo is run by
/// a person and by us in turn.
pub(crate) fn cargo<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut cargo = command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()), args);
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of_us| name.to_string_lossy().starts_with(of_us)) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs to the end with our own output; an error if it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = command.status().with_context(|| format!("cannot run `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Runs to the end and returns its stdout; an error with its stderr if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command.output().with_context(|| format!("cannot run `{shown}`"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed ({}): {}", output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs to the end, hands over each line of stdout as it comes, and says whether it succeeded.
pub(crate) fn lines(command: &mut Command, mut each: impl FnMut(&str)) -> Result<bool> {
    let shown = show(command);
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run `{shown}`"))?;
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = BufReader::new(stdout);
        let mut line = Vec::new();
        // Bytes, not `lines()`: what a test prints need not be UTF-8.
        while stdout.read_until(b'\n', &mut line).unwrap_or(0) > 0 {
            each(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
            line.clear();
        }
    }
    Ok(child.wait().with_context(|| format!("cannot wait for `{shown}`"))?.success())
}

/// The command as a person would type it.
pub(crate) fn show(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    if let Some(name) = std::path::Path::new(&words[0]).file_name() {
        words[0] = name.to_string_lossy().into_owned();
    }
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Lines of progress, each with the time since the chore began.
pub(crate) struct Progress {
    chore: &'static str,
    began: Instant,
    on_stderr: bool,
}

impl Progress {
    pub(crate) fn new(chore: &'static str) -> Self {
        Self { chore, began: Instant::now(), on_stderr: false }
    }

    /// On stderr, where stdout is for a program to read.
    pub(crate) fn on_stderr(chore: &'static str) -> Self {
        Self { on_stderr: true, ..Self::new(chore) }
    }

    pub(crate) fn say(&self, what: impl Display) {
        let line = format!("{} [{:6.1}s] {what}", self.chore, self.began.elapsed().as_secs_f64());
        if self.on_stderr {
            eprintln!("{line}");
            return;
        }
        println!("{line}");
        // Others write to our stderr meanwhile; keep the order. A closed stdout is no reason to stop.
        drop(std::io::stdout().flush());
    }

    /// The command as well, then runs it.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        self.say(format_args!("$ {}", show(command)));
        run(command)
    }
}
