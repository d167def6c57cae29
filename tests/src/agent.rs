//! `sluice run`: a node agent of the test's own, with its own pins.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::exec::sluice;
use crate::process::{Finished, Process, run};
use crate::tempdir::{TempDir, unique_name};
use crate::{http, wait};

/// Where bpffs is mounted.
pub const BPFFS: &str = "/sys/fs/bpf";

/// Where agents have their control sockets, named after their pin directories.
const CONTROL_SOCKETS: &str = "/run/sluice";

/// A directory for pins, not made yet; removed with what was pinned in it on drop.
#[derive(Debug)]
pub struct PinDir {
    path: PathBuf,
}

impl PinDir {
    /// A directory in bpffs, which is mounted where it is not.
    ///
    /// # Panics
    /// When bpffs cannot be mounted.
    #[must_use]
    pub fn new() -> Self {
        static MOUNTED: Once = Once::new();
        MOUNTED.call_once(|| {
            let mounts = std::fs::read_to_string("/proc/mounts").expect("read the mounts");
            if !mounts.lines().any(|line| line.split(' ').nth(1) == Some(BPFFS)) {
                let none: Option<&str> = None;
                nix::mount::mount(Some("bpf"), BPFFS, Some("bpf"), nix::mount::MsFlags::empty(), none)
                    .expect("mount bpffs");
            }
        });
        Self { path: Path::new(BPFFS).join(unique_name()) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Default for PinDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for PinDir {
    fn drop(&mut self) {
        // What a killed agent left; otherwise it is gone.
        let mut socket = self.path.file_name().expect("a name").to_owned();
        socket.push(".sock");
        std::fs::remove_file(Path::new(CONTROL_SOCKETS).join(socket)).ok();
        match std::fs::remove_dir_all(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => eprintln!("left behind: {}: {error}", self.path.display()),
        }
    }
}

/// An agent, and where it keeps its things.
#[derive(Debug)]
pub struct Agent {
    // Dropped in this order: the process must end before its pins are taken away.
    process: Option<Process>,
    pins: PinDir,
    directory: TempDir,
    admin: SocketAddr,
}

impl Agent {
    /// An agent with this config (`admin` is added), not started yet.
    #[must_use]
    pub fn stopped(config: &str) -> Self {
        let admin = SocketAddr::from(([127, 0, 0, 1], http::free_port()));
        let agent = Self { process: None, pins: PinDir::new(), directory: TempDir::new(), admin };
        agent.write_config(config);
        agent
    }

    /// An agent that is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn started(config: &str) -> Self {
        let mut agent = Self::stopped(config);
        agent.start();
        agent
    }

    /// Starts the agent and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start(&mut self) {
        self.start_through(&[]);
    }

    /// [`Agent::start`] as an argument of another program, which begins with these words.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn start_through(&mut self, words: &[String]) {
        let mut process = Process::start(through(words, &self.run_command()));
        let mut last = None;
        // The programs and, with the bypass, its self-test: ten seconds of an emulated CPU, for each of four tests.
        let deadline = Instant::now() + wait::patience() * 3;
        while !matches!(last, Some(Ok((200, _)))) {
            assert!(!process.has_ended(), "the agent ended: {}", process.stderr_so_far());
            assert!(
                Instant::now() < deadline,
                "the agent is not ready: {last:?}\n{}",
                process.stderr_so_far()
            );
            std::thread::sleep(Duration::from_millis(5));
            last = Some(http::get(self.admin, "/ready"));
        }
        self.process = Some(process);
    }

    /// Starts the agent where it is not expected to be ready soon.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_unready(&mut self) {
        self.process = Some(Process::start(self.run_command()));
    }

    /// Runs the agent where it is expected to give up.
    ///
    /// # Panics
    /// When it goes on.
    #[must_use]
    pub fn run_to_its_end(&self) -> Finished {
        run(self.run_command())
    }

    /// [`Agent::run_to_its_end`] as an argument of another program.
    ///
    /// # Panics
    /// When it goes on.
    #[must_use]
    pub fn run_to_its_end_through(&self, words: &[String]) -> Finished {
        run(through(words, &self.run_command()))
    }

    /// [`Agent::run_to_its_end`], with more flags.
    ///
    /// # Panics
    /// When it goes on.
    #[must_use]
    pub fn run_to_its_end_with(&self, flags: &[&str]) -> Finished {
        let mut command = self.run_command();
        command.args(flags);
        run(command)
    }

    fn run_command(&self) -> Command {
        let mut command = Command::new(sluice());
        command.args(["run", "--config"]).arg(self.config_path());
        command.arg("--pin-dir").arg(self.pins.path());
        command
    }

    /// Replaces the config, in one step as editors and ConfigMaps do.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_config(&self, config: &str) {
        let text = format!("admin = \"{}\"\n{config}", self.admin);
        let draft = self.directory.write("config.toml.new", text);
        std::fs::rename(draft, self.config_path()).expect("put the config in place");
    }

    /// Leaves nothing of the config, as a cut-off write does.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn empty_config(&self) {
        std::fs::write(self.config_path(), "").expect("empty the config");
    }

    fn config_path(&self) -> PathBuf {
        self.directory.join("config.toml")
    }

    /// Its admin address.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Where its pins are.
    #[must_use]
    pub fn pin_dir(&self) -> &Path {
        self.pins.path()
    }

    /// The running agent.
    ///
    /// # Panics
    /// When it is not running.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the agent runs")
    }

    /// Ends it without a word, with whatever it was started through.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Sends a signal and waits for the end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self, signal: Signal) -> Finished {
        let process = self.process.take().expect("the agent runs");
        process.signal(signal);
        process.finish(wait::patience())
    }

    /// Runs a subcommand against its pins: `["ports", "list"]`, say.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn ask(&self, arguments: &[&str]) -> Finished {
        run(self.asking(arguments))
    }

    /// [`Agent::ask`], for what goes on.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_asking(&self, arguments: &[&str]) -> Process {
        Process::start(self.asking(arguments))
    }

    fn asking(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(sluice());
        command.args(arguments).arg("--pin-dir").arg(self.pins.path());
        command
    }

    /// [`Agent::ask`], for what must succeed; gives its standard output.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn answer(&self, arguments: &[&str]) -> String {
        let finished = self.ask(arguments);
        assert!(finished.status.success(), "sluice {arguments:?}: {}", finished.stderr);
        String::from_utf8_lossy(&finished.stdout).into_owned()
    }
}

/// A command as the last arguments of another.
fn through(words: &[String], command: &Command) -> Command {
    let mut all = words.iter().map(AsRef::as_ref).chain([command.get_program()]).chain(command.get_args());
    let mut outer = Command::new(all.next().expect("a program"));
    outer.args(all);
    outer
}
