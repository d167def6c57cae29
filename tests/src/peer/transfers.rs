//! Random transfers between two processes, each of which knows from a seed what the other is to do.
//!
//! ```text
//! integration peer transfers serve SEED COUNT ADDR…      one lane for each ADDR
//! integration peer transfers connect SEED COUNT ADDR…    COUNT connections on each lane, one after the other
//! ```
//!
//! Both tell `listening ADDR…`, `wrong LANE INDEX PLAN: what` for a transfer that went wrong, and in the end
//! `done COUNT spurious N`: how often a blocking call said EAGAIN. A transfer that stands still for a minute
//! (longer where the CPU is emulated) ends the process.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use nix::errno::Errno;

use super::link::{Link, Opening};
use super::transfer_plan::{End, Plan, Random, Shape};
use crate::pattern;
use crate::scale::Scale;
use crate::server;

/// How often a blocking call said EAGAIN.
static SPURIOUS: AtomicU64 = AtomicU64::new(0);
/// Steps that all lanes together have made.
static STEPS: AtomicU64 = AtomicU64::new(0);

/// What each lane is at.
static UNDER_WAY: Mutex<BTreeMap<u64, String>> = Mutex::new(BTreeMap::new());

/// One end of one connection.
struct Side<'a> {
    link: Link,
    plan: &'a Plan,
    is_client: bool,
    random: Random,
}

pub(super) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let [role, seed, count, addrs @ ..] = arguments else { bail!("expected ROLE SEED COUNT ADDR…") };
    let (seed, count): (u64, u64) = (seed.parse()?, count.parse()?);
    watch();
    let wrong = match role.as_str() {
        "serve" => {
            let listeners: Vec<TcpListener> = addrs.iter().map(|addr| server::listen(addr)).collect();
            let told: Vec<String> = listeners
                .iter()
                .map(|listener| Ok(listener.local_addr()?.to_string()))
                .collect::<std::io::Result<_>>()?;
            tell(&format!("listening {}", told.join(" ")))?;
            each_lane(listeners, |lane, listener| {
                run_lane(seed, lane, count, false, || Ok(Link::of(listener.accept()?.0)?))
            })
        }
        "connect" => {
            let addrs: Vec<SocketAddr> = addrs.iter().map(|addr| addr.parse()).collect::<Result<_, _>>()?;
            each_lane(addrs, |lane, addr| {
                run_lane(seed, lane, count, true, || Ok(Link::open(Opening::default(), *addr)?))
            })
        }
        other => bail!("unknown role '{other}'"),
    };
    tell(&format!("done {} spurious {}", count, SPURIOUS.load(Ordering::Relaxed)))?;
    Ok(ExitCode::from(u8::from(wrong > 0)))
}

/// Ends the process when nothing moves any more: it would hang with whatever waits for it.
fn watch() {
    thread::spawn(|| {
        let limit = Scale::current().stretch(Duration::from_secs(60));
        let mut last = STEPS.load(Ordering::Relaxed);
        loop {
            // Not a wait for an event: the time in which there should have been one.
            thread::sleep(limit);
            let now = STEPS.load(Ordering::Relaxed);
            if now == last {
                for (lane, what) in &*UNDER_WAY.lock().expect("not poisoned") {
                    let _nobody_reads = tell(&format!("wrong {lane} {what}: nothing has moved for a minute"));
                }
                std::process::exit(1);
            }
            last = now;
        }
    });
}

/// Runs every lane on a thread of its own; how many transfers went wrong.
fn each_lane<T: Sync>(lanes: Vec<T>, run: impl Fn(u64, &T) -> u64 + Sync) -> u64 {
    let run = &run;
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..).zip(&lanes).map(|(lane, what)| scope.spawn(move || run(lane, what))).collect();
        threads.into_iter().map(|lane| lane.join().unwrap_or(1)).sum()
    })
}

fn run_lane(
    seed: u64,
    lane: u64,
    count: u64,
    is_client: bool,
    mut next: impl FnMut() -> anyhow::Result<Link>,
) -> u64 {
    let mut wrong = 0;
    for index in 0..count {
        let plan = Plan::new(seed, lane, index);
        let random = Random::new(seed ^ u64::from(is_client), lane, index);
        UNDER_WAY.lock().expect("not poisoned").insert(lane, format!("{index} {plan:?}"));
        let result = next().and_then(|link| Side { link, plan: &plan, is_client, random }.transfer());
        STEPS.fetch_add(1, Ordering::Relaxed);
        UNDER_WAY.lock().expect("not poisoned").remove(&lane);
        let Err(error) = result else { continue };
        wrong += 1;
        let side = if is_client { "client" } else { "server" };
        let _nobody_reads = tell(&format!("wrong {lane} {index} {side} {plan:?}: {error:#}"));
    }
    wrong
}

impl Side<'_> {
    fn transfer(mut self) -> anyhow::Result<()> {
        let nonblocking = self.own().nonblocking;
        self.link.set_nonblocking(nonblocking)?;
        let [to_server, to_client] = self.plan.bytes;
        let (out, back) = if self.is_client { (to_server, to_client) } else { (to_client, to_server) };
        match self.plan.shape {
            Shape::Duplex => self.duplex(out, back)?,
            Shape::HalfClose if self.is_client => {
                self.send(0, out)?;
                self.link.stream.shutdown(Shutdown::Write)?;
                self.receive_to_end(back)?;
            }
            Shape::HalfClose => {
                self.receive_to_end(back)?;
                self.send(0, out)?;
                self.link.stream.shutdown(Shutdown::Write)?;
            }
            Shape::PingPong { rounds } => self.ping_pong(rounds, out, back)?,
            Shape::Reset { by_client } if by_client == self.is_client => {
                if !by_client {
                    self.receive(0, HERE)?;
                }
                self.send(0, out)?;
                SPURIOUS.fetch_add(self.link.spurious, Ordering::Relaxed);
                return Ok(self.link.reset()?);
            }
            Shape::Reset { by_client } => {
                if !by_client {
                    self.send(0, HERE)?;
                }
                self.receive_to_reset(back)?;
            }
        }
        SPURIOUS.fetch_add(self.link.spurious, Ordering::Relaxed);
        Ok(())
    }

    fn own(&self) -> End {
        let [client, server] = self.plan.ends;
        if self.is_client { client } else { server }
    }

    /// Writes bytes of the pattern from `from` on.
    fn send(&mut self, from: u64, len: u64) -> anyhow::Result<()> {
        let own = self.own();
        send(&mut self.link, &mut self.random, own, from, len)
    }

    fn duplex(&mut self, out: u64, back: u64) -> anyhow::Result<()> {
        let mut writer = self.link.second_handle()?;
        let (own, mut random) = (self.own(), self.random.fork());
        let thread = thread::spawn(move || {
            let sent = send(&mut writer, &mut random, own, 0, out)
                .and_then(|()| Ok(writer.stream.shutdown(Shutdown::Write)?));
            SPURIOUS.fetch_add(writer.spurious, Ordering::Relaxed);
            sent
        });
        let received = self.receive_to_end(back);
        thread.join().ok().context("the writer panicked")?.context("write")?;
        received
    }

    /// Questions and answers, which add up to `out` and `back` bytes, or to the other way round.
    fn ping_pong(&mut self, rounds: u64, out: u64, back: u64) -> anyhow::Result<()> {
        for round in 0..rounds {
            let part = |all: u64| (all * round / rounds, all * (round + 1) / rounds);
            let ((out_from, out_to), (back_from, back_to)) = (part(out), part(back));
            if self.is_client {
                self.send(out_from, out_to - out_from)?;
                self.receive(back_from, back_to)?;
            } else {
                self.receive(back_from, back_to)?;
                self.send(out_from, out_to - out_from)?;
            }
        }
        if self.is_client {
            self.link.stream.shutdown(Shutdown::Write)?;
        }
        self.receive_to_end_from(back, back)?;
        Ok(self.link.stream.shutdown(Shutdown::Write).or_else(already_gone)?)
    }

    /// Reads bytes of the pattern between two places.
    fn receive(&mut self, from: u64, to: u64) -> anyhow::Result<()> {
        let mut at = from;
        while at < to {
            let count = self.read(at, to - at)?;
            ensure!(count > 0, "FIN after {at} of {to} bytes");
            at += count;
        }
        Ok(())
    }

    fn receive_to_end(&mut self, len: u64) -> anyhow::Result<()> {
        self.receive_to_end_from(0, len)
    }

    fn receive_to_end_from(&mut self, from: u64, len: u64) -> anyhow::Result<()> {
        self.receive(from, len)?;
        let count = self.read(len, u64::MAX).context("instead of FIN")?;
        ensure!(count == 0, "{count} bytes too many after {len}");
        Ok(())
    }

    /// Reads until RST: what came before it is in order, and it is never taken for an end.
    fn receive_to_reset(&mut self, len: u64) -> anyhow::Result<()> {
        let mut at = 0;
        loop {
            match self.read(at, u64::MAX) {
                Ok(0) => bail!("FIN instead of RST after {at} of {len} bytes"),
                Ok(count) => at += count,
                Err(error) if is_reset(&error) => break,
                Err(error) => return Err(error),
            }
        }
        ensure!(at <= len, "{at} bytes of {len}");
        Ok(())
    }

    /// One read of at most `most` bytes, which must be those of the pattern at `at`.
    fn read(&mut self, at: u64, most: u64) -> anyhow::Result<u64> {
        let own = self.own();
        let room = self.random.up_to(own.read_max).clamp(1, most.min(pattern::MAX_SLICE as u64));
        let mut buffer = vec![0; usize::try_from(room)?];
        if own.is_slow && self.random.is_one_in(SLOW_READS) {
            // The pace of a slow reader, not a wait for an event.
            thread::sleep(Duration::from_micros(self.random.up_to(SLOW_MICROS)));
        }
        let count = self.link.read(&mut buffer)?;
        STEPS.fetch_add(1, Ordering::Relaxed);
        ensure!(
            buffer[..count] == *pattern::at(at, count as u64),
            "other bytes than expected after {at}: {}",
            found_at(&buffer[..count])
        );
        Ok(count as u64)
    }
}

/// How much a client sends that is to be reset. Without it, a client that wakes late hears of the reset from
/// connect(2), and reads nothing: plain TCP is the same (seen on 6.1).
const HERE: u64 = 1;

/// Of a slow reader's reads, one in so many waits, so long at most.
const SLOW_READS: u64 = 4;
const SLOW_MICROS: u64 = 2_000;

fn send(link: &mut Link, random: &mut Random, own: End, from: u64, len: u64) -> anyhow::Result<()> {
    let mut sent = 0;
    while sent < len {
        let chunk = random.up_to(own.write_max).clamp(1, len - sent);
        // In one call, as an application would.
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < chunk {
            let at = from + sent + bytes.len() as u64;
            bytes.extend_from_slice(pattern::at(at, chunk - bytes.len() as u64));
        }
        if own.by_sendfile {
            link.send_file(&bytes)?;
        } else {
            link.write_all(&bytes)?;
        }
        STEPS.fetch_add(1, Ordering::Relaxed);
        sent += chunk;
    }
    Ok(())
}

/// Where in the pattern the bytes are from, if they are.
fn found_at(bytes: &[u8]) -> String {
    let whole = pattern::at(0, u64::MAX);
    let head = &bytes[..bytes.len().min(16)];
    let place = whole.windows(head.len()).position(|window| window == head);
    place.map_or_else(|| "of no place".to_owned(), |at| format!("those at {at} of the period"))
}

fn is_reset(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    code == Some(Errno::ECONNRESET as i32)
}

/// The other end may have closed for good.
fn already_gone(error: std::io::Error) -> std::io::Result<()> {
    if error.raw_os_error() == Some(Errno::ENOTCONN as i32) { Ok(()) } else { Err(error) }
}

fn tell(line: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
