//! A server that is a process of its own, in the workload's cgroup: it listens as it is told on standard
//! input, one line at a time.
//!
//! | line | does | tells |
//! |---|---|---|
//! | `open NAME ADDR BEHAVIOUR [v6only] [reuseport] [device=D]` | listens | `opened NAME ADDR` |
//! | `close NAME` | stops listening | `closed NAME` |
//! | `release` | lets go on what waits to | |
//! | `bequeath NAME ADDR BEHAVIOUR` | listens, leaves that to a child, and ends | `opened NAME ADDR`, `bequeathed` |
//!
//! Of each connection it tells `accepted NAME FROM PEER LOCAL KERNEL`: what accept(2), getpeername(2) and
//! getsockname(2) say, and what the kernel's own table says of the peer; and `ended NAME BYTES CRC END FIRST`.
//! Behaviours are those of [`crate::server::behaviour`], with their numbers as in `reset-after=10/5`, and
//! `reply=N/HEX`, which answers once N bytes have come, and `gated`, which reads once it is released.

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Command, ExitCode, Stdio};
use std::sync::LazyLock;

use anyhow::{Context as _, bail};
use socket2::{Domain, Socket, Type};

use super::steps::{hex, unhex};
use crate::server::behaviour::Gate;
use crate::server::{Server, Session, behaviour};

/// How much of what came first is told.
const FIRST_BYTES: usize = 64;

/// What `gated` servers wait at.
static GATE: LazyLock<Gate> = LazyLock::new(Gate::default);

type Behaviour = Box<dyn Fn(&mut Session) + Send + Sync>;

/// Does what it is told until standard input ends.
pub(super) fn run() -> anyhow::Result<ExitCode> {
    let mut servers = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["open", name, addr, behaviour, options @ ..] => {
                let listener = listen(addr.parse()?, options)?;
                tell(&format!("opened {name} {}", listener.local_addr()?))?;
                servers.insert((*name).to_owned(), serve(name, listener, behaviour)?);
            }
            ["release"] => GATE.open(),
            ["close", name] => {
                servers.remove(*name).with_context(|| format!("no '{name}' is open"))?;
                tell(&format!("closed {name}"))?;
            }
            ["bequeath", name, addr, behaviour] => {
                let listener = listen(addr.parse()?, &[])?;
                tell(&format!("opened {name} {}", listener.local_addr()?))?;
                Command::new(std::env::current_exe()?)
                    .args(["peer", "adopt", name, behaviour])
                    .stdin(Stdio::from(OwnedFd::from(listener)))
                    .spawn()?;
                tell("bequeathed")?;
                return Ok(ExitCode::SUCCESS);
            }
            _ => bail!("unknown order '{line}'"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Serves a listener that another process opened: it is standard input.
pub(super) fn adopt(name: &str, behaviour: &str) -> anyhow::Result<ExitCode> {
    let listener = TcpListener::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let _server = serve(name, listener, behaviour)?;
    tell(&format!("adopted {name}"))?;
    loop {
        // Until the test kills it.
        std::thread::park();
    }
}

fn listen(addr: SocketAddr, options: &[&str]) -> anyhow::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(options.contains(&"v6only"))?;
    }
    for option in options {
        match option.split_once('=').unwrap_or((option, "")) {
            ("v6only", "") => {}
            ("reuseport", "") => socket.set_reuse_port(true)?,
            ("device", device) => socket.bind_device(Some(device.as_bytes()))?,
            _ => bail!("unknown option '{option}'"),
        }
    }
    socket.bind(&addr.into()).with_context(|| format!("bind {addr}"))?;
    socket.listen(4096)?;
    Ok(socket.into())
}

fn serve(name: &str, listener: TcpListener, behaviour: &str) -> anyhow::Result<Server> {
    let behaviour = behaviour_of(behaviour)?;
    let name = name.to_owned();
    Ok(Server::serve(listener, move |session| {
        let stream = session.writer();
        let from = session.record().peer;
        // A test that has seen enough closes the pipe.
        tell(&format!("accepted {name} {from} {}", ends(&stream))).ok();
        drop(stream);
        behaviour(session);
        let record = session.record();
        let first = hex(&record.first[..record.first.len().min(FIRST_BYTES)]);
        let (bytes, checksum) = (record.received.bytes(), record.received.checksum());
        tell(&format!("ended {name} {bytes} {checksum:08x} {:?} {first}", record.end)).ok();
    }))
}

fn behaviour_of(word: &str) -> anyhow::Result<Behaviour> {
    let (name, value) = word.split_once('=').unwrap_or((word, "0"));
    Ok(match name {
        "echo" => Box::new(behaviour::echo),
        "sink" => Box::new(behaviour::sink),
        "silent" => Box::new(behaviour::silent),
        "stall" => Box::new(behaviour::stall),
        "gated" => Box::new(|session: &mut Session| {
            GATE.wait();
            session.read_to_end();
        }),
        "banner" => Box::new(behaviour::banner("220 here\r\n")),
        "http" => Box::new(behaviour::http("hello")),
        "source" => Box::new(behaviour::source(value.parse()?)),
        "both-ways" => Box::new(behaviour::both_ways(value.parse()?)),
        "answer-after-fin" => Box::new(behaviour::answer_after_fin(value.parse()?)),
        "reply" => {
            let (read, answer) = value.split_once('/').context("BYTES/HEX")?;
            let (read, answer) = (read.parse()?, unhex(answer)?);
            Box::new(move |session: &mut Session| {
                session.read_up_to(read);
                session.write(&answer);
                session.read_to_end();
            })
        }
        "reset-after" => {
            let (written, read) = value.split_once('/').context("WRITTEN/READ")?;
            Box::new(behaviour::reset_after(written.parse()?, read.parse()?))
        }
        other => bail!("unknown behaviour '{other}'"),
    })
}

/// What the system says of a connection: `PEER LOCAL KERNEL`; `-` where it says nothing.
fn ends(stream: &TcpStream) -> String {
    let word = |addr: Option<SocketAddr>| addr.map_or_else(|| "-".to_owned(), |addr| addr.to_string());
    let kernel = in_table(stream).ok().flatten();
    format!("{} {} {}", word(stream.peer_addr().ok()), word(stream.local_addr().ok()), word(kernel))
}

/// The peer of a socket by `/proc/self/net/tcp`, which no hook changes.
fn in_table(stream: &TcpStream) -> anyhow::Result<Option<SocketAddr>> {
    let inode = nix::sys::stat::fstat(stream)?.st_ino.to_string();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let table = std::fs::read_to_string(table)?;
        let rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
        if let Some(row) = rows.into_iter().find(|row| row.get(9) == Some(&inode.as_str())) {
            return Ok(Some(address_in_table(row[2])?));
        }
    }
    Ok(None)
}

/// `0100007F:1F90`: words of the address as this machine reads them, and a port.
fn address_in_table(text: &str) -> anyhow::Result<SocketAddr> {
    let (ip, port) = text.split_once(':').context("ADDRESS:PORT")?;
    let mut bytes = Vec::new();
    for at in (0..ip.len()).step_by(8) {
        let word = ip.get(at..at + 8).context("a whole word")?;
        bytes.extend(u32::from_str_radix(word, 16)?.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice())?)).to_canonical(),
    };
    Ok(SocketAddr::new(ip, u16::from_str_radix(port, 16)?))
}

fn tell(line: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use super::address_in_table;

    #[test]
    #[cfg(target_endian = "little")]
    fn addresses_are_read_as_the_kernel_writes_them() {
        assert_eq!(address_in_table("0100007F:1F90").unwrap().to_string(), "127.0.0.1:8080");
        let mapped = "0000000000000000FFFF00000201A8C0:0050";
        assert_eq!(address_in_table(mapped).unwrap().to_string(), "192.168.1.2:80");
        let v6 = "000000FD000000000000000001000000:0001";
        assert_eq!(address_in_table(v6).unwrap().to_string(), "[fd00::1]:1");
    }
}
