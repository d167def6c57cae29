//! A foreign program, a server or a proxy, for as long as the benchmark wants it.
//!
//! A process stands between, which ends the program when its own stdin ends.

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long a program may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to run, and how to see that it is ready.
#[derive(Debug, clap::Args)]
pub(crate) struct ProgramArgs {
    /// It is ready when it listens there; may be repeated. A connection that is closed at once must
    /// harm nobody.
    #[arg(long, required = true)]
    listens: Vec<SocketAddr>,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
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
    let ready = until_it_listens(&mut child, args);
    if ready.is_ok() {
        let ready_after = u64::try_from(began.elapsed().as_micros())?;
        println!("{}", serde_json::json!({ "pid": child.id(), "ready_after_us": ready_after }));
        super::worker::until_stdin_ends()?;
    }
    // It may have ended by itself; then that is what `ready` says.
    drop(child.kill());
    child.wait()?;
    ready
}

fn until_it_listens(child: &mut Child, args: &ProgramArgs) -> Result<()> {
    let began = Instant::now();
    for address in &args.listens {
        while TcpStream::connect(address).is_err() {
            if began.elapsed() > PATIENCE || child.try_wait()?.is_some() {
                bail!("{} does not listen on {address}", args.command[0].display());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// The command that runs `program` in that way; its arguments are to follow.
pub(super) fn command(program: &Path, listens: &[SocketAddr]) -> Result<Command> {
    let mut command = super::this("bench-program")?;
    for address in listens {
        command.arg("--listens").arg(address.to_string());
    }
    command.arg("--").arg(program);
    Ok(command)
}
