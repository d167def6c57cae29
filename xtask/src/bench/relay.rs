//! The floor: what a hop through user space costs when it does nothing else.
//!
//! One thread, epoll, copies of 64 KiB, in front of the server's ports. Prints `{"pid":…}`
//! when it listens, ends with stdin.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context as _, Result};

use super::poll::{Interest, Poll, Token};
use super::task::Port;

const BUFFER: usize = 64 << 10;
/// Reads of one lane before the others get their turn.
const READS_PER_TURN: usize = 16;

/// Where to listen, and where to connect.
#[derive(Debug, clap::Args)]
pub(crate) struct RelayArgs {
    /// The first of the ports to listen on.
    #[arg(long)]
    listen: u16,
    /// The server's address.
    #[arg(long)]
    ip: IpAddr,
    /// The first of its ports.
    #[arg(long)]
    port: u16,
}

/// Relays until stdin ends.
pub(crate) fn run(args: &RelayArgs) -> Result<()> {
    super::files::raise_limit()?;
    let mut routes = Vec::new();
    for port in Port::ALL {
        let listener = TcpListener::bind(port.at(Ipv4Addr::LOCALHOST.into(), args.listen))?;
        routes.push((listener, port.at(args.ip, args.port)));
    }
    thread::spawn(move || {
        if let Err(error) = Relay::new(routes).and_then(Relay::run) {
            eprintln!("bench-relay: {error:#}");
        }
    });
    super::worker::ready()?;
    super::worker::until_stdin_ends()
}

/// All connections. Token: the route's number, or the number of a connection's socket after them.
struct Relay {
    poll: Poll,
    routes: Vec<(TcpListener, SocketAddr)>,
    pairs: Vec<Option<Pair>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
}

/// Both sockets of a connection: the client's, the server's.
struct Pair {
    ends: [End; 2],
}

/// A socket, and what of it waits for the other.
struct End {
    stream: TcpStream,
    interest: Interest,
    /// Read from here, and not written to the other end yet.
    stuck: Vec<u8>,
    finished: bool,
}

impl Relay {
    fn new(routes: Vec<(TcpListener, SocketAddr)>) -> Result<Self> {
        let poll = Poll::new()?;
        for (number, (listener, _)) in routes.iter().enumerate() {
            poll.add(listener, Token(number))?;
        }
        Ok(Self { poll, routes, pairs: Vec::new(), free: Vec::new(), buffer: vec![0; BUFFER] })
    }

    fn run(mut self) -> Result<()> {
        loop {
            for Token(number) in self.poll.wait()? {
                match number.checked_sub(self.routes.len()) {
                    None => self.accept(number)?,
                    Some(socket) => self.turn(socket / 2, socket % 2)?,
                }
            }
        }
    }

    fn accept(&mut self, route: usize) -> Result<()> {
        let (listener, upstream) = &self.routes[route];
        let (client, _) = listener.accept()?;
        let server = TcpStream::connect(upstream).context("cannot connect to the server")?;
        let slot = self.free.pop().unwrap_or(self.pairs.len());
        self.pairs.resize_with(self.pairs.len().max(slot + 1), || None);
        let first = self.routes.len() + 2 * slot;
        let end = |stream: TcpStream, token| -> Result<End> {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            self.poll.add(&stream, Token(token))?;
            Ok(End { stream, interest: Interest::Readable, stuck: Vec::new(), finished: false })
        };
        self.pairs[slot] = Some(Pair { ends: [end(client, first)?, end(server, first + 1)?] });
        Ok(())
    }

    /// One of a connection's sockets is readable, or writable again.
    fn turn(&mut self, slot: usize, side: usize) -> Result<()> {
        let Some(pair) = &mut self.pairs[slot] else { return Ok(()) };
        let mut broken = false;
        for from in [side, 1 - side] {
            broken |= pair.relay(from, &mut self.buffer).is_err();
        }
        if broken || pair.ends.iter().all(|end| end.finished && end.stuck.is_empty()) {
            self.pairs[slot] = None;
            self.free.push(slot);
            return Ok(());
        }
        for (at, other) in [(0, 1), (1, 0)] {
            let wants_room = !pair.ends[other].stuck.is_empty();
            let end = &mut pair.ends[at];
            let interest = match (end.finished || !end.stuck.is_empty(), wants_room) {
                (false, false) => Interest::Readable,
                (false, true) => Interest::Both,
                (true, true) => Interest::Writable,
                (true, false) => Interest::Nothing,
            };
            if interest != end.interest {
                end.interest = interest;
                self.poll.change(&end.stream, Token(self.routes.len() + 2 * slot + at), interest)?;
            }
        }
        Ok(())
    }
}

impl Pair {
    /// Moves what there is from one end to the other.
    fn relay(&mut self, from: usize, buffer: &mut [u8]) -> io::Result<()> {
        let [client, server] = &mut self.ends;
        let (source, sink) = if from == 0 { (client, server) } else { (server, client) };
        if !source.stuck.is_empty() {
            let written = write_some(&sink.stream, &source.stuck)?;
            source.stuck.drain(..written);
            if !source.stuck.is_empty() {
                return Ok(());
            }
            if source.finished {
                return sink.stream.shutdown(Shutdown::Write);
            }
        }
        for _ in 0..READS_PER_TURN {
            if source.finished {
                break;
            }
            let len = match (&source.stream).read(buffer) {
                Ok(0) => {
                    source.finished = true;
                    return sink.stream.shutdown(Shutdown::Write);
                }
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            let written = write_some(&sink.stream, &buffer[..len])?;
            if written < len {
                source.stuck.extend_from_slice(&buffer[written..len]);
                break;
            }
            if len < buffer.len() {
                break;
            }
        }
        Ok(())
    }
}

/// Writes until there is no room.
fn write_some(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(len) => written += len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}
