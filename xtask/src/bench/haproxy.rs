//! HAProxy as a forward proxy with one thread, in front of the server's three ports.
//!
//! A process stands between, which ends HAProxy when its own stdin ends.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::task::Port;

/// How long HAProxy may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where to listen, and where to connect.
#[derive(Debug, clap::Args)]
pub(crate) struct HaproxyArgs {
    /// The program.
    #[arg(long)]
    program: PathBuf,
    /// Where its configuration is to be written.
    #[arg(long)]
    config: PathBuf,
    /// The first of three ports to listen on.
    #[arg(long)]
    listen: u16,
    /// The server's address.
    #[arg(long)]
    ip: IpAddr,
    /// The first of its ports.
    #[arg(long)]
    port: u16,
    /// Move bytes by splice(2).
    #[arg(long)]
    splice: bool,
}

/// Runs HAProxy until stdin ends.
pub(crate) fn run(args: &HaproxyArgs) -> Result<()> {
    super::files::raise_limit()?;
    fs::write(&args.config, config(args)?)?;
    let mut haproxy =
        Command::new(&args.program).arg("-db").arg("-f").arg(&args.config).stdin(Stdio::null()).spawn()?;
    let began = Instant::now();
    // The port of Echo: a connection to it that is closed at once harms nobody.
    while TcpStream::connect((Ipv4Addr::LOCALHOST, args.listen)).is_err() {
        if began.elapsed() > PATIENCE || haproxy.try_wait()?.is_some() {
            drop(haproxy.kill());
            bail!("HAProxy does not listen");
        }
        thread::sleep(Duration::from_millis(10));
    }
    println!("{}", serde_json::json!({ "pid": haproxy.id() }));
    super::worker::until_stdin_ends()?;
    haproxy.kill()?;
    haproxy.wait()?;
    Ok(())
}

fn config(args: &HaproxyArgs) -> Result<String> {
    let splice = if args.splice { "  option splice-request\n  option splice-response\n" } else { "" };
    let mut config = format!(
        "global\n  nbthread 1\n  no strict-limits\n  maxconn 6000\n  maxpipes 1000\n\
         defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n{splice}"
    );
    for port in Port::ALL {
        let (listen, to) = (args.listen + port as u16, args.port + port as u16);
        let ip = args.ip;
        writeln!(config, "listen {port:?}\n  bind 127.0.0.1:{listen}\n  server s {ip}:{to}")?;
    }
    Ok(config)
}
