//! The peer program: the test binary under the name `peer`, because a client must be a process of
//! its own in the workload's cgroup.
//!
//! ```text
//! integration peer [--cgroup DIR] [--netns FILE] client STEP…
//!                                                puppet ADDR
//!                                                exec COMMAND…
//!                                                original-dst ADDR
//!                                                serve
//!                                                adopt NAME BEHAVIOUR
//!                                                transfers ROLE SEED COUNT ADDR…
//! ```

mod link;
mod puppet;
mod serve;
pub mod steps;
mod transfer_plan;
mod transfers;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use nix::sched::{CloneFlags, setns};
use socket2::SockRef;

use crate::server;

/// The command that runs the peer program: options and mode, then what the mode takes.
///
/// # Panics
/// When the test binary does not know where it is.
#[must_use]
pub fn command<A: AsRef<str>, B: AsRef<str>>(mode: &[A], rest: &[B]) -> Vec<String> {
    let program = std::env::current_exe().expect("the path of this program");
    let program = program.to_str().expect("a path in UTF-8").to_owned();
    let mode = mode.iter().map(|word| word.as_ref().to_owned());
    let rest = rest.iter().map(|word| word.as_ref().to_owned());
    [program, "peer".to_owned()].into_iter().chain(mode).chain(rest).collect()
}

/// Runs the peer program, if that is what the arguments ask for.
#[must_use]
pub fn main() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next()? != "peer" {
        return None;
    }
    Some(match run(arguments.collect()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("peer: {error:#}");
            ExitCode::from(2)
        }
    })
}

fn run(arguments: Vec<OsString>) -> anyhow::Result<ExitCode> {
    let mut arguments = arguments.into_iter();
    loop {
        let word = arguments.next().context("no mode")?;
        match word.to_str().context("not UTF-8")? {
            "--cgroup" => {
                let procs =
                    std::path::PathBuf::from(arguments.next().context("no cgroup")?).join("cgroup.procs");
                std::fs::write(&procs, "0").with_context(|| format!("enter {}", procs.display()))?;
            }
            "--netns" => {
                let file = File::open(arguments.next().context("no namespace")?)?;
                setns(&file, CloneFlags::CLONE_NEWNET)?;
            }
            "client" => {
                let steps: Vec<String> = arguments.map(|step| step.to_string_lossy().into_owned()).collect();
                return steps::run(&steps);
            }
            "puppet" => {
                let addr = arguments.next().context("no address")?;
                return puppet::run(addr.to_str().context("not UTF-8")?.parse()?);
            }
            "exec" => {
                let program = arguments.next().context("no command")?;
                return Err(Command::new(program).args(arguments).exec().into());
            }
            "serve" => return serve::run(),
            "transfers" => {
                let words: Vec<String> = arguments.map(|word| word.to_string_lossy().into_owned()).collect();
                return transfers::run(&words);
            }
            "adopt" => {
                let name = arguments.next().context("no name")?;
                let behaviour = arguments.next().context("no behaviour")?;
                return serve::adopt(
                    name.to_str().context("not UTF-8")?,
                    behaviour.to_str().context("not UTF-8")?,
                );
            }
            "original-dst" => {
                let addr = arguments.next().context("no address")?;
                return original_dst(addr.to_str().context("not UTF-8")?);
            }
            other => bail!("unknown mode '{other}'"),
        }
    }
}

/// A foreign proxy: accepts, and tells each client's original destination on standard output.
fn original_dst(addr: &str) -> anyhow::Result<ExitCode> {
    let listener = server::listen(addr);
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening {}", listener.local_addr()?)?;
    loop {
        let (mut stream, _) = listener.accept()?;
        let socket = SockRef::from(&stream);
        let told = if addr.starts_with('[') { socket.original_dst_v6() } else { socket.original_dst_v4() };
        let told = match told {
            Ok(addr) => addr
                .as_socket()
                .map_or_else(|| "of no family".to_owned(), |addr: SocketAddr| addr.to_string()),
            Err(error) => format!("error {}", link::errno_name(&error)),
        };
        writeln!(stdout, "original {told}")?;
        writeln!(stream, "{told}")?;
    }
}
