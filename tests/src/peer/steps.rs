//! What a client does, step by step.
//!
//! Results are lines on standard output; the first failed call ends the run with
//! `error STEP ERRNO MS` (milliseconds since the client began to connect) and exit status 1.
//!
//! | step | does | tells |
//! |---|---|---|
//! | `nonblocking`, `bind=ADDR`, `device-lo` | hold for every later connection | |
//! | `fast-open=ADDR/N` | connects by sending N bytes of the pattern (MSG_FASTOPEN); then one write of 10 more | `sent N` |
//! | `fast-connect` | every later connection connects by its first send (TCP_FASTOPEN_CONNECT) | |
//! | `connect=ADDR` | opens, in place of the connection before | `local ADDR`, `peer ADDR` |
//! | `text=T` (`\r \n \\`), `hex=H` | one write | |
//! | `pieces=HEX/MS` | one write per byte, paced | |
//! | `send=N/CHUNK` | writes the pattern | `sent N` |
//! | `recv=N`, `recv-eof`, `recv-line` | reads | `received N CRC`, `line T` |
//! | `recv-slowly=CHUNK/MS` | reads to the end, paced | `received N CRC` |
//! | `exchange=N/CHUNK` | writes, FIN, and reads to the end, all at once | `received N CRC` |
//! | `ping-pong=N` | N times one byte out and back | `ponged N` |
//! | `fill` | writes until nothing is taken any more | `filled N` |
//! | `quiet=MS` | sees that nothing arrives | `quiet`, `noise` |
//! | `fin`, `reset`, `close`, `keep` | ends the connection; keeps it open | |
//! | `many=N/ADDR`, `many-echo` | opens N more; a word out and back on each | `opened N`, `echoed N` |
//! | `udp=ADDR` | a datagram out and back, by a connected socket | `udp local ADDR peer ADDR` |
//! | `say=T`, `await`, `pid` | speaks to the test, waits for a line from it | `T`, `pid N` |

use std::io::{BufRead as _, Write as _};
use std::net::{Shutdown, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::link::{Link, Opening, errno_name};
use crate::pattern::{self, Tally};

pub(super) fn run(steps: &[String]) -> anyhow::Result<ExitCode> {
    let mut client = Client {
        opening: Opening::default(),
        link: None,
        kept: Vec::new(),
        spurious: 0,
        began: Instant::now(),
    };
    for step in steps {
        let (name, value) = step.split_once('=').unwrap_or((step, ""));
        let Err(error) = client.step(name, value) else { continue };
        let Some(cause) = error.downcast_ref::<std::io::Error>() else {
            return Err(error.context(format!("step '{step}'")));
        };
        tell(&format!("error {name} {} {}", errno_name(cause), client.began.elapsed().as_millis()))?;
        client.tell_spurious()?;
        return Ok(ExitCode::from(1));
    }
    client.tell_spurious()?;
    Ok(ExitCode::SUCCESS)
}

struct Client {
    opening: Opening,
    link: Option<Link>,
    kept: Vec<Link>,
    spurious: u64,
    began: Instant,
}

impl Client {
    fn step(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        match name {
            "nonblocking" => self.opening.nonblocking = true,
            "bind" => self.opening.source = Some(value.parse()?),
            "device-lo" => self.opening.to_loopback_device = true,
            "fast-connect" => self.opening.by_first_send = true,
            "fast-open" => {
                let (addr, len) = value.split_once('/').context("ADDR/N")?;
                self.fast_open(addr.parse()?, len.parse()?)?;
            }
            "connect" => self.connect(value.parse()?)?,
            "text" => self.link()?.write_all(&unescape(value))?,
            "hex" => self.link()?.write_all(&unhex(value)?)?,
            "pieces" => self.pieces(value)?,
            "send" => {
                let (len, chunk) = len_and_chunk(value)?;
                send(self.link()?, len, chunk)?;
                tell(&format!("sent {len}"))?;
            }
            "recv" => self.receive(value.parse()?, u64::MAX, None)?,
            "recv-eof" => self.receive(u64::MAX, u64::MAX, None)?,
            "recv-line" => self.receive_line()?,
            "recv-slowly" => {
                let (chunk, pace) = value.split_once('/').context("CHUNK/MS")?;
                self.receive(u64::MAX, chunk.parse()?, Some(Duration::from_millis(pace.parse()?)))?;
            }
            "exchange" => self.exchange(value)?,
            "ping-pong" => self.ping_pong(value.parse()?)?,
            "fill" => {
                let filled = self.link()?.fill(pattern::at(0, 32 * 1024), Duration::from_millis(300))?;
                tell(&format!("filled {filled}"))?;
            }
            "quiet" => {
                let stirs = self.link()?.stirs_within(Duration::from_millis(value.parse()?))?;
                tell(if stirs { "noise" } else { "quiet" })?;
            }
            "fin" => self.link()?.stream.shutdown(Shutdown::Write)?,
            "reset" => self.take()?.reset()?,
            "close" => drop(self.take()?),
            "keep" => {
                let link = self.take()?;
                self.kept.push(link);
            }
            "many" => {
                let (count, addr) = value.split_once('/').context("N/ADDR")?;
                self.open_many(count.parse()?, addr.parse()?)?;
            }
            "many-echo" => self.echo_many()?,
            "udp" => udp(value.parse()?)?,
            "say" => tell(value)?,
            "await" => {
                let mut line = String::new();
                std::io::stdin().lock().read_line(&mut line)?;
            }
            "pid" => tell(&format!("pid {}", std::process::id()))?,
            other => bail!("unknown step '{other}'"),
        }
        Ok(())
    }

    fn link(&mut self) -> anyhow::Result<&mut Link> {
        self.link.as_mut().context("not connected")
    }

    fn take(&mut self) -> anyhow::Result<Link> {
        let link = self.link.take().context("not connected")?;
        self.spurious += link.spurious;
        Ok(link)
    }

    fn connect(&mut self, to: SocketAddr) -> anyhow::Result<()> {
        if self.link.is_some() {
            drop(self.take()?);
        }
        self.began = Instant::now();
        let link = Link::open(self.opening, to)?;
        // A connection that is reset at once has no peer any more.
        if let (Ok(local), Ok(peer)) = (link.stream.local_addr(), link.stream.peer_addr()) {
            tell(&format!("local {local}"))?;
            tell(&format!("peer {peer}"))?;
        }
        self.link = Some(link);
        Ok(())
    }

    fn fast_open(&mut self, to: SocketAddr, len: u64) -> anyhow::Result<()> {
        self.began = Instant::now();
        let (first, second) = (whole(len), pattern::at(len, 10));
        let (mut link, taken) = Link::fast_open(to, &first)?;
        link.write_all(first.get(taken..).unwrap_or_default())?;
        link.write_all(second)?;
        self.link = Some(link);
        Ok(tell(&format!("sent {}", first.len() + second.len()))?)
    }

    fn pieces(&mut self, value: &str) -> anyhow::Result<()> {
        let (bytes, pace) = value.split_once('/').context("HEX/MS")?;
        let pace = Duration::from_millis(pace.parse()?);
        for byte in unhex(bytes)? {
            self.link()?.write_all(&[byte])?;
            // The pace of a slow client, not a wait for an event.
            std::thread::sleep(pace);
        }
        Ok(())
    }

    fn receive(&mut self, len: u64, chunk: u64, pace: Option<Duration>) -> anyhow::Result<()> {
        let tally = receive(self.link()?, len, chunk, pace);
        tell(&format!("received {} {:08x}", tally.0.bytes(), tally.0.checksum()))?;
        Ok(tally.1?)
    }

    fn receive_line(&mut self) -> anyhow::Result<()> {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.link()?.read(&mut byte)? == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        let took = self.began.elapsed().as_millis();
        tell(&format!("line {}", String::from_utf8_lossy(&line).trim_end()))?;
        Ok(tell(&format!("took {took}"))?)
    }

    fn exchange(&mut self, value: &str) -> anyhow::Result<()> {
        let (len, chunk) = len_and_chunk(value)?;
        let mut writer = self.link()?.second_handle()?;
        let thread = std::thread::spawn(move || {
            let sent = send(&mut writer, len, chunk).and_then(|()| writer.stream.shutdown(Shutdown::Write));
            (sent, writer.spurious)
        });
        self.receive(u64::MAX, u64::MAX, None)?;
        let (sent, spurious) = thread.join().ok().context("the writer panicked")?;
        self.spurious += spurious;
        Ok(sent?)
    }

    fn ping_pong(&mut self, count: u64) -> anyhow::Result<()> {
        for round in 0..count {
            let byte = pattern::at(round, 1);
            let mut back = [0];
            self.link()?.write_all(byte)?;
            if self.link()?.read(&mut back)? != 1 || back != byte {
                bail!("round {round}: sent {byte:?}, got {back:?}");
            }
        }
        Ok(tell(&format!("ponged {count}"))?)
    }

    fn open_many(&mut self, count: u32, to: SocketAddr) -> anyhow::Result<()> {
        for _ in 0..count {
            self.kept.push(Link::open(self.opening, to)?);
        }
        Ok(tell(&format!("opened {count}"))?)
    }

    fn echo_many(&mut self) -> anyhow::Result<()> {
        for (index, link) in self.kept.iter_mut().enumerate() {
            link.write_all(&(index as u64).to_be_bytes())?;
        }
        for (index, link) in self.kept.iter_mut().enumerate() {
            let mut back = [0; 8];
            let mut have = 0;
            while have < back.len() {
                match link.read(&mut back[have..])? {
                    0 => bail!("connection {index} was closed"),
                    count => have += count,
                }
            }
            if u64::from_be_bytes(back) != index as u64 {
                bail!("connection {index} answered {}", u64::from_be_bytes(back));
            }
        }
        Ok(tell(&format!("echoed {}", self.kept.len()))?)
    }

    fn tell_spurious(&mut self) -> std::io::Result<()> {
        let all = self.link.iter().chain(&self.kept).map(|link| link.spurious).sum::<u64>();
        tell(&format!("eagain {}", self.spurious + all))
    }
}

fn udp(to: SocketAddr) -> anyhow::Result<()> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.connect(to)?;
    socket.send(b"ping")?;
    let mut back = [0; 4];
    socket.recv(&mut back)?;
    Ok(tell(&format!("udp local {} peer {}", socket.local_addr()?, socket.peer_addr()?))?)
}

fn send(link: &mut Link, len: u64, chunk: u64) -> std::io::Result<()> {
    let mut offset = 0;
    while offset < len {
        let slice = pattern::at(offset, chunk.min(len - offset));
        link.write_all(slice)?;
        offset += slice.len() as u64;
    }
    Ok(())
}

/// What was read, whether or not the reading ended well.
fn receive(link: &mut Link, len: u64, chunk: u64, pace: Option<Duration>) -> (Tally, std::io::Result<()>) {
    let mut tally = Tally::default();
    let mut buffer = vec![0; 256 * 1024];
    while tally.bytes() < len {
        let room =
            usize::try_from(chunk.min(len - tally.bytes())).map_or(buffer.len(), |n| n.min(buffer.len()));
        match link.read(&mut buffer[..room]) {
            Ok(0) => break,
            Ok(count) => tally.add(&buffer[..count]),
            Err(error) => return (tally, Err(error)),
        }
        if let Some(pace) = pace {
            // The pace of a slow client, not a wait for an event.
            std::thread::sleep(pace);
        }
    }
    (tally, Ok(()))
}

/// The first bytes of the pattern, in one piece.
fn whole(len: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < len {
        bytes.extend_from_slice(pattern::at(bytes.len() as u64, len - bytes.len() as u64));
    }
    bytes
}

fn tell(line: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

fn len_and_chunk(value: &str) -> anyhow::Result<(u64, u64)> {
    let (len, chunk) = value.split_once('/').map_or((value, None), |(len, chunk)| (len, Some(chunk)));
    Ok((len.parse()?, chunk.map_or(Ok(u64::MAX), str::parse)?))
}

fn unescape(text: &str) -> Vec<u8> {
    text.replace("\\r", "\r").replace("\\n", "\n").replace("\\\\", "\\").into_bytes()
}

/// The bytes that [`hex`] wrote.
///
/// # Errors
/// When it is not hexadecimal.
pub fn unhex(text: &str) -> anyhow::Result<Vec<u8>> {
    let pair = |at: usize| Ok(u8::from_str_radix(text.get(at..at + 2).context("an odd length")?, 16)?);
    (0..text.len()).step_by(2).map(pair).collect()
}

/// Bytes as the steps `hex` and `pieces` take them.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
