//! Real clients and real servers do not notice sluice.
//!
//! With `sk_msg` off, and with what sluice chooses: forcing it on would test kernels whose sockmap
//! breaks blocking applications, which is what the self-test is there to find out.

mod databases;
mod languages;
mod mail;
mod shell;
mod web;

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use sluice_tests::process::{Process, run};
use sluice_tests::scale::Scale;
use sluice_tests::suite::Suite;
use sluice_tests::{http, wait};

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("peers");
    if Scale::current() == Scale::Small {
        group.leave_out("third-party programs");
    }
    web::register(&mut group);
    databases::register(&mut group);
    mail::register(&mut group);
    shell::register(&mut group);
    languages::register(&mut group);
}

/// A server program on a port of 127.0.0.1.
pub(crate) struct Daemon {
    pub(crate) addr: SocketAddr,
    _process: Process,
}

impl Daemon {
    /// Starts it, and waits until it accepts.
    pub(crate) fn start(port: u16, command: Command) -> Self {
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let mut process = Process::start(command);
        wait::within(Duration::from_secs(30), "a server to accept", || {
            assert!(!process.has_ended(), "the server ended: {}", process.stderr_so_far());
            TcpStream::connect(addr).ok()
        });
        Self { addr, _process: process }
    }

    fn port(&self) -> String {
        self.addr.port().to_string()
    }
}

/// A free port, for servers that must be told one.
pub(crate) fn free_port() -> u16 {
    http::free_port()
}

/// Where a program is; servers are not on every user's path.
pub(crate) fn program(name: &str) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("no program '{name}': cargo xtask setup installs it"))
        .to_str()
        .expect("UTF-8")
        .to_owned()
}

/// Runs a preparation that must succeed; gives what it said.
pub(crate) fn prepared(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    let finished = run(command);
    let said = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(finished.status.success(), "{program} {arguments:?}: {said}{}", finished.stderr);
    said
}

/// The SHA-256 of bytes, in hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    let mut process = Process::start(Command::new(program("sha256sum")));
    process.feed(bytes);
    let finished = process.finish(wait::patience());
    String::from_utf8_lossy(&finished.stdout).split(' ').next().unwrap_or_default().to_owned()
}

/// The pattern's first bytes, all at once.
fn body(len: u64) -> Vec<u8> {
    let mut body = Vec::new();
    while (body.len() as u64) < len {
        body.extend_from_slice(sluice_tests::pattern::at(body.len() as u64, len - body.len() as u64));
    }
    body
}
