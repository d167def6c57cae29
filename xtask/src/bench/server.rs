//! The server: echoes on one port, takes bytes on the next, gives bytes on the third.
//!
//! Echo is one thread with epoll, as few system calls as a server can make; bulk is a thread and a
//! large buffer for each connection. Prints `{"pid":…}` when it listens, ends with stdin.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::poll::{Poll, Token};
use super::task::Port;

/// Bytes of one read or write of bulk.
const BLOCK: usize = 256 << 10;

/// Where to listen.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// The address.
    #[arg(long)]
    ip: IpAddr,
    /// The first of three ports.
    #[arg(long)]
    port: u16,
    /// The cgroup to be in, where it matters.
    #[arg(long)]
    cgroup: Option<PathBuf>,
}

/// Serves until stdin ends.
pub(crate) fn run(args: &ServerArgs) -> Result<()> {
    super::files::raise_limit()?;
    args.cgroup.as_deref().map_or(Ok(()), super::cgroups::enter)?;
    let listen = |port: Port| {
        TcpListener::bind(port.at(args.ip, args.port)).context("cannot listen for the benchmark")
    };
    let (echo_port, sink_port, source_port) =
        (listen(Port::Echo)?, listen(Port::Sink)?, listen(Port::Source)?);
    thread::spawn(move || complain(echo(&echo_port)));
    thread::spawn(move || each_connection(&sink_port, sink));
    thread::spawn(move || each_connection(&source_port, source));
    super::worker::ready()?;
    super::worker::until_stdin_ends()
}

fn complain(result: Result<()>) {
    if let Err(error) = result {
        eprintln!("bench-server: {error:#}");
    }
}

/// Sends back what comes, on all connections, until the process ends.
fn echo(listener: &TcpListener) -> Result<()> {
    let mut poll = Poll::new()?;
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut free = Vec::new();
    let mut buffer = vec![0; BLOCK];
    poll.add(listener, Token(0))?;
    loop {
        for Token(number) in poll.wait()? {
            if number == 0 {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                let slot = free.pop().unwrap_or(connections.len());
                connections.resize_with(connections.len().max(slot + 1), || None);
                poll.add(&stream, Token(slot + 1))?;
                connections[slot] = Some(stream);
                continue;
            }
            // Messages fit a socket's buffer and are answered one by one: a write has room, and may block.
            let Some(mut stream) = connections[number - 1].as_ref() else { continue };
            let echoed = stream.read(&mut buffer).and_then(|len| {
                stream.write_all(&buffer[..len])?;
                Ok(len)
            });
            // A socket whose bytes come by sk_msg may be said to be readable, and have nothing.
            let is_open = match echoed {
                Ok(len) => len > 0,
                Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            };
            if !is_open {
                connections[number - 1] = None;
                free.push(number - 1);
            }
        }
    }
}

fn each_connection(listener: &TcpListener, serve: fn(TcpStream) -> io::Result<()>) {
    for stream in listener.incoming().flatten() {
        // The client sees what went wrong, and says so.
        thread::spawn(move || drop(serve(stream)));
    }
}

/// Receives to the end and says how many bytes came.
fn sink(mut stream: TcpStream) -> io::Result<()> {
    let (mut block, mut received) = (vec![0; BLOCK], 0_u64);
    loop {
        match stream.read(&mut block) {
            Ok(0) => return stream.write_all(&received.to_be_bytes()),
            Ok(len) => received += len as u64,
            // As above; this socket has no time-out.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends for as long as the client asks for.
fn source(mut stream: TcpStream) -> io::Result<()> {
    let mut milliseconds = [0; 8];
    stream.read_exact(&mut milliseconds)?;
    let length = Duration::from_millis(u64::from_be_bytes(milliseconds));
    let (block, began) = (vec![b'x'; BLOCK], Instant::now());
    while began.elapsed() < length {
        stream.write_all(&block)?;
    }
    Ok(())
}
