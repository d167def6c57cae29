//! `sluice exec`, as a user runs it.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::netns::Netns;
use crate::process::{Finished, Process};
use crate::report::Connection;
use crate::scale::Scale;
use crate::suite::Lane;
use crate::tempdir::TempDir;

/// The binary under test.
#[must_use]
pub fn sluice() -> PathBuf {
    std::env::var_os("SLUICE_BIN").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/release/sluice"),
        PathBuf::from,
    )
}

/// A command to be run under `sluice exec`; directly in [`Lane::Direct`].
#[derive(Debug)]
pub struct Exec {
    lane: Lane,
    flags: Vec<OsString>,
    command: Vec<OsString>,
    variables: Vec<(String, String)>,
    directory: TempDir,
    limit: Duration,
}

/// A command that runs under `sluice exec`.
#[derive(Debug)]
pub struct Running {
    /// The `sluice` process (the command itself when direct).
    pub process: Process,
    directory: TempDir,
    limit: Duration,
    direct: bool,
    skips: bool,
}

/// What a run left.
#[derive(Debug)]
pub struct Outcome {
    /// Exit status and output.
    pub finished: Finished,
    report: Option<Vec<Connection>>,
}

impl Exec {
    /// A command in a variant.
    #[must_use]
    pub fn new<S: AsRef<str>>(lane: Lane, command: &[S]) -> Self {
        let directory = TempDir::new();
        let mut flags = Vec::new();
        if let Some(value) = lane.flag() {
            flags.extend(["--sk-msg".into(), value.into()]);
        }
        flags.extend(["--report".into(), directory.join("report").into()]);
        Self {
            lane,
            flags,
            command: command.iter().map(|word| word.as_ref().into()).collect(),
            variables: Vec::new(),
            directory,
            limit: Scale::current().stretch(Duration::from_secs(60)),
        }
    }

    /// Sets a flag, in place of the value that it had.
    #[must_use]
    pub fn flag(mut self, name: &str, value: impl Into<OsString>) -> Self {
        if let Some(at) = self.flags.iter().position(|flag| flag == name) {
            self.flags.drain(at..at + 2);
        }
        self.flags.extend([name.into(), value.into()]);
        self
    }

    /// Sets an environment variable of `sluice`.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it in the test's own network namespace.
    #[must_use]
    pub fn start(self) -> Running {
        let process = Process::start(self.command_line());
        self.running(process)
    }

    /// Starts it in another network namespace.
    #[must_use]
    pub fn start_in(self, netns: &Netns) -> Running {
        let process = netns.enter(|| Process::start(self.command_line()));
        self.running(process)
    }

    /// Runs it to its end, without standard input.
    #[must_use]
    pub fn run(self) -> Outcome {
        self.start().finish()
    }

    /// [`Exec::run`] in another network namespace.
    #[must_use]
    pub fn run_in(self, netns: &Netns) -> Outcome {
        self.start_in(netns).finish()
    }

    fn running(self, process: Process) -> Running {
        Running {
            process,
            skips: self.flags.iter().any(|flag| flag == "--skip-outbound-ports"),
            directory: self.directory,
            limit: self.limit,
            direct: self.lane == Lane::Direct,
        }
    }

    fn command_line(&self) -> Command {
        let mut command = if self.lane == Lane::Direct {
            let (program, arguments) = self.command.split_first().expect("a command");
            let mut command = Command::new(program);
            command.args(arguments);
            command
        } else {
            let mut command = Command::new(sluice());
            command.arg("exec").args(&self.flags).arg("--").args(&self.command);
            command
        };
        // The caller's own sudo must not change whom the command runs as.
        command.env_remove("SUDO_UID").env_remove("SUDO_GID").envs(self.variables.iter().cloned());
        command
    }
}

impl Running {
    /// Waits for the end.
    #[must_use]
    pub fn finish(self) -> Outcome {
        let finished = self.process.finish(self.limit);
        let report = (!self.direct).then(|| {
            let report = std::fs::read_to_string(self.directory.join("report")).unwrap_or_default();
            Connection::parse_all(&report)
        });
        let outcome = Outcome { finished, report };
        if !self.skips {
            outcome.assert_through_the_dataplane();
        }
        outcome
    }
}

impl Outcome {
    /// Without this, a sluice that does nothing would pass every test of what must not change:
    /// each connection that the peer program tells of is in the report, and none was left alone.
    fn assert_through_the_dataplane(&self) {
        let Some(report) = &self.report else { return };
        let connected = self.lines("local").len();
        assert!(
            report.len() >= connected,
            "{connected} connections, {} in the report\n{}",
            report.len(),
            self.finished.stderr
        );
        let left_alone = report.iter().find(|connection| connection.text("decision") == Some("skip"));
        assert!(left_alone.is_none(), "nothing was to be skipped: {left_alone:?}");
    }

    /// Asserts that the command succeeded.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn success(self) -> Self {
        assert!(self.finished.status.success(), "{:?}", self.finished);
        self
    }

    /// The exit code, where the process exited.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.finished.status.code()
    }

    /// The signal it died of: of its own, or told as 128 + n in the manner of shells.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        let told = self.code().filter(|code| (129..=192).contains(code)).map(|code| code - 128);
        self.finished.status.signal().or(told)
    }

    /// Standard output.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.finished.stdout).into_owned()
    }

    /// The rests of the lines on standard output that start with `word`.
    #[must_use]
    pub fn lines(&self, word: &str) -> Vec<String> {
        let rest = |line: &str| line.strip_prefix(word)?.strip_prefix(' ').map(str::to_owned);
        self.text().lines().filter_map(rest).collect()
    }

    /// The rest of the first such line.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn line(&self, word: &str) -> String {
        self.lines(word)
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("no line '{word} …' from {:?}", self.finished))
    }

    /// Checks the reported connections; nothing when direct, where there is no report.
    pub fn report(&self, check: impl FnOnce(&[Connection])) {
        if let Some(report) = &self.report {
            check(report);
        }
    }

    /// The reported connections in the order in which the peer program opened them.
    ///
    /// # Panics
    /// When one is missing.
    #[must_use]
    pub fn connections_in_order(&self) -> Vec<&Connection> {
        let report = self.report.as_ref().expect("a report");
        let of = |local: &String| {
            // The report names a mapped address by its IPv4 form.
            let unmapped = local.replace("[::ffff:", "");
            let names = |client: &str| client == local || client == unmapped.replacen(']', "", 1);
            let found = report.iter().find(|one| one.text("client").is_some_and(names));
            found.unwrap_or_else(|| panic!("no connection from {local} in {report:?}"))
        };
        self.lines("local").iter().map(of).collect()
    }

    /// The one connection of the report.
    ///
    /// # Panics
    /// When there is not exactly one.
    #[must_use]
    pub fn only_connection(&self) -> &Connection {
        let report = self.report.as_ref().expect("a report");
        assert_eq!(report.len(), 1, "one connection: {report:?}\nstderr: {}", self.finished.stderr);
        &report[0]
    }
}
