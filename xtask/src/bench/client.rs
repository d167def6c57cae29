//! The client: one task, warmed up, then measured when told to.
//!
//! Prints `{"pid":…}` when it is warm, begins when a line comes on stdin, prints what it measured as
//! a JSON object, and ends with stdin. So its start is in nobody's account, and what it holds open
//! can be looked at.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::http;
use super::task::{Port, Task};

/// Bytes of one read or write of bulk.
const BLOCK: usize = 256 << 10;
/// A server that does not answer within this is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to do, and with whom.
#[derive(Debug, clap::Args)]
pub(crate) struct ClientArgs {
    /// The server's address.
    #[arg(long)]
    ip: IpAddr,
    /// The first of its ports.
    #[arg(long)]
    port: u16,
    /// How long to measure.
    #[arg(long)]
    seconds: f64,
    /// How many connections.
    #[arg(long)]
    count: usize,
    /// Bytes of a message.
    #[arg(long)]
    size: usize,
    /// What to do with them.
    #[arg(long, value_enum)]
    task: Task,
    /// The cgroup to be in, where it matters.
    #[arg(long)]
    cgroup: Option<PathBuf>,
}

/// Does the task.
pub(crate) fn run(args: &ClientArgs) -> Result<()> {
    super::files::raise_limit()?;
    args.cgroup.as_deref().map_or(Ok(()), super::cgroups::enter)?;
    let mut told = io::stdin().lock().lines();
    let measured = Duration::from_secs_f64(args.seconds);
    let (warm_up, _) = if args.task == Task::Start {
        (Value::Null, Vec::new())
    } else {
        perform(args, measured / 8, args.count.min(8)).context("warming up")?
    };
    say(&json!({ "pid": std::process::id() }))?;
    if told.next().transpose()?.is_none() {
        return Ok(());
    }
    let (mut result, held) = perform(args, measured, args.count)?;
    result["warm_up"] = warm_up;
    say(&result)?;
    while told.next().transpose()?.is_some() {}
    drop(held);
    Ok(())
}

fn say(value: &Value) -> Result<()> {
    println!("{value}");
    Ok(io::stdout().flush()?)
}

/// Does the task for so long, or with so many connections; returns what is still open.
fn perform(args: &ClientArgs, length: Duration, count: usize) -> Result<(Value, Vec<TcpStream>)> {
    let to = |port: Port| port.at(args.ip, args.port);
    let result = match args.task {
        Task::Start => json!({ "units": 1 }),
        Task::Echo => echo(to(Port::Echo), args.size, length)?,
        Task::Requests => parallel(count, |start| requests(to(Port::Echo), args.size, start, length))?,
        Task::Up => parallel(count, |start| up(to(Port::Sink), start, length))?,
        Task::Down => parallel(count, |start| down(to(Port::Source), start, length))?,
        Task::Connect => parallel(count, |start| connect(to(Port::Echo), start, length))?,
        Task::Hold => {
            let held = (0..count).map(|_| idle(to(Port::Echo), args.size)).collect::<Result<Vec<_>>>()?;
            return Ok((json!({ "units": held.len() }), held));
        }
        Task::Http1 => http::wrk(to(Port::Http1), count, length)?,
        Task::Http2 => http::h2load(to(Port::Http2), count, length)?,
    };
    Ok((result, Vec::new()))
}

fn open(to: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(to).with_context(|| format!("cannot connect to {to}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads all of it.
///
/// A blocking socket whose bytes come by sk_msg may say EAGAIN though it has not waited as long as it
/// should: then it is asked again.
fn read_exact(stream: &mut TcpStream, mut into: &mut [u8]) -> Result<()> {
    let began = Instant::now();
    while !into.is_empty() {
        match stream.read(into) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(len) => into = into.get_mut(len..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && began.elapsed() < PATIENCE => {}
            Err(error) => return Err(error).context("the server did not answer"),
        }
    }
    Ok(())
}

/// What is sent and sent back: no protocol that a proxy knows begins like this.
fn message(size: usize) -> Vec<u8> {
    (1..=250).cycle().take(size).collect()
}

/// Messages back and forth on one connection, one at a time, until `each` has had enough of them.
fn exchange(stream: &mut TcpStream, size: usize, mut each: impl FnMut(Duration) -> bool) -> Result<()> {
    let message = message(size);
    let mut answer = vec![0; size];
    loop {
        let sent = Instant::now();
        stream.write_all(&message)?;
        read_exact(stream, &mut answer)?;
        if !each(sent.elapsed()) {
            break;
        }
    }
    ensure!(answer == message, "the echo came changed");
    Ok(())
}

/// How long each message takes.
fn echo(to: SocketAddr, size: usize, length: Duration) -> Result<Value> {
    let mut took = Vec::with_capacity(1 << 16);
    let began = Instant::now();
    exchange(&mut open(to)?, size, |this| {
        took.push(this);
        began.elapsed() < length
    })?;
    took.sort_unstable();
    let at =
        |percent: usize| took.get(took.len() * percent / 100).map_or(0.0, |took| took.as_secs_f64() * 1e6);
    Ok(json!({ "p50": at(50), "p99": at(99), "units": took.len() }))
}

/// How many messages there are.
fn requests(to: SocketAddr, size: usize, start: &Barrier, length: Duration) -> Result<u64> {
    let opened = open(to);
    start.wait();
    let (mut stream, began, mut done) = (opened?, Instant::now(), 0);
    exchange(&mut stream, size, |_| {
        done += 1;
        began.elapsed() < length
    })?;
    Ok(done)
}

/// Runs `each` on so many threads at once and adds up what they did, as a rate from the common start
/// to the last one's end.
fn parallel(count: usize, each: impl Fn(&Barrier) -> Result<u64> + Sync) -> Result<Value> {
    let start = Barrier::new(count + 1);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(|| each(&start))).collect();
        start.wait();
        let began = Instant::now();
        let mut units = 0;
        for thread in threads {
            units += thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(json!({ "rate": units as f64 / began.elapsed().as_secs_f64(), "units": units }))
    })
}

/// Sends for so long, and waits until the server has it all.
fn up(to: SocketAddr, start: &Barrier, length: Duration) -> Result<u64> {
    let opened = open(to);
    start.wait();
    let mut stream = opened?;
    let block = vec![b'x'; BLOCK];
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < length {
        stream.write_all(&block)?;
        sent += BLOCK as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut received = [0; 8];
    read_exact(&mut stream, &mut received).context("the server did not say what it received")?;
    ensure!(u64::from_be_bytes(received) == sent, "the server did not receive what was sent");
    Ok(sent)
}

/// Asks the server to send for so long, and receives it all.
fn down(to: SocketAddr, start: &Barrier, length: Duration) -> Result<u64> {
    let opened = open(to);
    start.wait();
    let mut stream = opened?;
    let milliseconds = u64::try_from(length.as_millis())?;
    stream.write_all(&milliseconds.to_be_bytes())?;
    let (mut block, mut received, began) = (vec![0; BLOCK], 0, Instant::now());
    loop {
        match stream.read(&mut block) {
            Ok(0) => return Ok(received),
            Ok(len) => received += len as u64,
            // As in `read_exact`.
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && began.elapsed() < length + PATIENCE => {}
            Err(error) => return Err(error).context("the server stopped sending"),
        }
    }
}

/// Connects, has one byte sent back, closes; again and again.
fn connect(to: SocketAddr, start: &Barrier, length: Duration) -> Result<u64> {
    start.wait();
    let (began, mut done) = (Instant::now(), 0);
    while began.elapsed() < length {
        let mut stream = TcpStream::connect(to)?;
        stream.write_all(&message(1))?;
        read_exact(&mut stream, &mut [0])?;
        done += 1;
    }
    Ok(done)
}

/// A connection that has carried a message each way, and now does nothing.
fn idle(to: SocketAddr, size: usize) -> Result<TcpStream> {
    let mut stream = open(to)?;
    exchange(&mut stream, size, |_| false)?;
    Ok(stream)
}
