//! The floor: what a hop through user space costs when it does nothing else.
//!
//! One thread, epoll, and either copies or splice(2), in front of the server's ports or behind a
//! rule of iptables. Prints `{"pid":…}` when it listens, ends with stdin.

mod lane;
mod upstream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::Result;
use clap::ValueEnum;

use super::poll::{Interest, Poll, Token};
use super::task::Port;
use lane::{Lane, Mover};
pub(super) use upstream::MARK;
use upstream::Upstream;

/// How bytes get from one socket to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Means {
    /// A bare relay that reads and writes: the floor.
    #[value(name = "relay-copy")]
    Copy,
    /// A bare relay that moves bytes by splice(2).
    #[value(name = "relay-splice")]
    Splice,
}

/// Where to listen, and where to connect.
#[derive(Debug, clap::Args)]
pub(crate) struct RelayArgs {
    /// How bytes are moved.
    #[arg(long, value_enum)]
    means: Means,
    /// The first of the ports to listen on.
    #[arg(long)]
    listen: u16,
    /// The first of the server's ports. Absent: connections were redirected here, and
    /// SO_ORIGINAL_DST says where to.
    #[arg(long)]
    server: Option<SocketAddr>,
}

/// Relays until stdin ends.
pub(crate) fn run(args: &RelayArgs) -> Result<()> {
    super::files::raise_limit()?;
    let listen = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let routes = match args.server {
        None => vec![(listen(args.listen)?, Upstream::Redirected)],
        Some(first) => {
            let route = |port: Port| -> Result<(TcpListener, Upstream)> {
                let server = port.at(first.ip(), first.port());
                Ok((listen(port.number(args.listen))?, Upstream::Fixed(server)))
            };
            Port::ALL.into_iter().map(route).collect::<Result<_>>()?
        }
    };
    let means = args.means;
    thread::spawn(move || {
        if let Err(error) = Relay::new(routes, means).and_then(Relay::run) {
            eprintln!("bench-relay: {error:#}");
        }
    });
    super::worker::ready()?;
    super::worker::until_stdin_ends()
}

/// All connections. Token: the route's number, or the number of a connection's socket after them.
struct Relay {
    poll: Poll,
    routes: Vec<(TcpListener, Upstream)>,
    pairs: Vec<Option<Pair>>,
    free: Vec<usize>,
    mover: Mover,
}

/// Both sockets of a connection: the client's, the server's.
struct Pair {
    ends: [End; 2],
}

/// A socket, and what comes from it.
struct End {
    stream: TcpStream,
    interest: Interest,
    lane: Lane,
}

impl Relay {
    fn new(routes: Vec<(TcpListener, Upstream)>, means: Means) -> Result<Self> {
        let poll = Poll::new()?;
        for (number, (listener, _)) in routes.iter().enumerate() {
            poll.add(listener, Token(number))?;
        }
        Ok(Self { poll, routes, pairs: Vec::new(), free: Vec::new(), mover: Mover::new(means) })
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
        let server = upstream.connect(&client)?;
        let slot = self.free.pop().unwrap_or(self.pairs.len());
        self.pairs.resize_with(self.pairs.len().max(slot + 1), || None);
        let first = self.routes.len() + 2 * slot;
        let end = |stream: TcpStream, token| -> Result<End> {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            self.poll.add(&stream, Token(token))?;
            Ok(End { stream, interest: Interest::Readable, lane: Lane::new() })
        };
        self.pairs[slot] = Some(Pair { ends: [end(client, first)?, end(server, first + 1)?] });
        Ok(())
    }

    /// One of a connection's sockets is readable, or writable again.
    fn turn(&mut self, slot: usize, side: usize) -> Result<()> {
        let Some(pair) = &mut self.pairs[slot] else { return Ok(()) };
        let mut broken = false;
        for from in [side, 1 - side] {
            broken |= pair.relay(from, &mut self.mover).is_err();
        }
        if broken || pair.ends.iter().all(|end| end.lane.is_done()) {
            self.pairs[slot] = None;
            self.free.push(slot);
            return Ok(());
        }
        for (at, other) in [(0, 1), (1, 0)] {
            let wants_room = pair.ends[other].lane.is_stuck();
            let end = &mut pair.ends[at];
            let interest = match (end.lane.wants_bytes(), wants_room) {
                (true, false) => Interest::Readable,
                (true, true) => Interest::Both,
                (false, true) => Interest::Writable,
                (false, false) => Interest::Nothing,
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
    fn relay(&mut self, from: usize, mover: &mut Mover) -> io::Result<()> {
        let [client, server] = &mut self.ends;
        let (source, sink) = if from == 0 { (client, server) } else { (server, client) };
        source.lane.relay(&source.stream, &sink.stream, mover)
    }
}
