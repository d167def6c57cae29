//! A program that the benchmark did not bring, a server or a proxy, for as long as it is wanted.
//!
//! A process stands between, which ends the program when its own stdin ends.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a program may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take to end in order.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// What to run, and how to see that it is ready.
#[derive(Debug, clap::Args)]
pub(crate) struct ProgramArgs {
    /// It is ready when it is so on all of these; may be repeated.
    #[arg(long, required = true)]
    listens: Vec<SocketAddr>,
    /// How it shows that it is ready.
    #[arg(long, value_enum)]
    ready: Ready,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// How a program shows that it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Ready {
    /// It listens. A connection that is closed at once must harm nobody. It is killed in the end.
    Listens,
    /// It is an agent, which says so over HTTP, and has to put the kernel in order in the end.
    Admin,
}

/// Runs the program until stdin ends.
pub(crate) fn run(args: &ProgramArgs) -> Result<()> {
    super::files::raise_limit()?;
    let (program, arguments) = args.command.split_first().context("no program")?;
    let mut command = Command::new(program);
    // What it says goes with our stderr: stdout is where our own answers go.
    command.args(arguments).stdin(Stdio::null()).stdout(io::stderr());
    let began = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
    let ready = until_it_is_ready(&mut child, args);
    if ready.is_ok() {
        let ready_after = u64::try_from(began.elapsed().as_micros())?;
        println!("{}", serde_json::json!({ "pid": child.id(), "ready_after_us": ready_after }));
        super::worker::until_stdin_ends()?;
    }
    if args.ready == Ready::Admin {
        end_in_order(&mut child)?;
    }
    // It may have ended by itself; then that is what `ready` says.
    drop(child.kill());
    child.wait()?;
    ready
}

fn until_it_is_ready(child: &mut Child, args: &ProgramArgs) -> Result<()> {
    let began = Instant::now();
    for address in &args.listens {
        while !args.ready.is_so(*address) {
            if began.elapsed() > PATIENCE || child.try_wait()?.is_some() {
                bail!("{} is not ready on {address}", args.command[0].display());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

fn end_in_order(child: &mut Child) -> Result<()> {
    let began = Instant::now();
    if child.try_wait()?.is_none() {
        kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
    }
    while child.try_wait()?.is_none() && began.elapsed() < END_PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

impl Ready {
    fn is_so(self, address: SocketAddr) -> bool {
        let Ok(mut stream) = TcpStream::connect(address) else { return false };
        match self {
            Self::Listens => true,
            Self::Admin => {
                let mut answer = String::new();
                let asked =
                    stream.write_all(b"GET /ready HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n");
                asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok()
                    && answer.starts_with("HTTP/1.1 200 ")
            }
        }
    }
}

/// The command that runs `program` in that way; its arguments are to follow.
pub(super) fn command(program: &Path, listens: &[SocketAddr], ready: Ready) -> Result<Command> {
    let mut command = super::this("bench-program")?;
    for address in listens {
        command.arg("--listens").arg(address.to_string());
    }
    let ready = ready.to_possible_value().context("a way to be ready has no name")?;
    command.args(["--ready", ready.get_name()]).arg("--").arg(program);
    Ok(command)
}
