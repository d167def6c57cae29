//! A client that does what it is told on standard input, one line at a time; see
//! [`crate::dialogue`].
//!
//! | line | does | tells |
//! |---|---|---|
//! | `connect` | opens another connection, in place of the one before | `local ADDR`, `peer ADDR` |
//! | `write HEX` | one write | |
//! | `read N` | reads N bytes, or to the end | `read HEX` |
//! | `fin` | ends its side | |
//! | `end` | reads to the end | `end HEX eof`, or the error's name for `eof` |
//! | `reset` | closes with RST | |
//!
//! It ends with its standard input.

use std::io::{BufRead as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use super::link::{Link, Opening, errno_name};
use super::steps::{hex, unhex};

/// Connects, and then is a puppet.
pub(super) fn run(to: SocketAddr) -> anyhow::Result<ExitCode> {
    let mut link = connect(to)?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "connect" => {
                drop(link);
                link = connect(to)?;
            }
            "write" => link.write_all(&unhex(rest)?)?,
            "read" => {
                let mut bytes = vec![0; rest.parse()?];
                let mut have = 0;
                while have < bytes.len() {
                    match link.read(&mut bytes[have..])? {
                        0 => break,
                        count => have += count,
                    }
                }
                tell(&format!("read {}", hex(&bytes[..have])))?;
            }
            "fin" => link.stream.shutdown(Shutdown::Write)?,
            "end" => {
                let (rest, how) = rest_of(&mut link);
                tell(&format!("end {} {how}", hex(&rest)))?;
            }
            "reset" => {
                link.reset()?;
                return Ok(ExitCode::SUCCESS);
            }
            other => bail!("unknown order '{other}'"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn connect(to: SocketAddr) -> anyhow::Result<Link> {
    let link = Link::open(Opening::default(), to)?;
    tell(&format!("local {}", link.stream.local_addr()?))?;
    tell(&format!("peer {}", link.stream.peer_addr()?))?;
    Ok(link)
}

fn rest_of(link: &mut Link) -> (Vec<u8>, String) {
    let mut rest = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match link.read(&mut buffer) {
            Ok(0) => return (rest, "eof".to_owned()),
            Ok(count) => rest.extend_from_slice(&buffer[..count]),
            Err(error) => return (rest, errno_name(&error)),
        }
    }
}

fn tell(line: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).context("tell the test")
}
