//! What sockmaps do to an application's socket on this kernel, by trying.
//!
//! Membership in a sockmap alone can break a blocking application, and what breaks differs between
//! kernels and their patch levels. So the real programs run on a few connections of this process,
//! and each promise that an application relies on is looked at.

mod bypass;
mod sk_msg;

use std::{
    fmt,
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use proxy_common::LISTENER_PRIORITY;
use socket2::{SockRef, Socket};

pub(super) use self::{bypass::run as of_bypass, sk_msg::run as of_sk_msg};
use super::sys;

const TRACKED: &str = "TRACKED";
/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Transfers in which a receive waits beside a send, and the bytes of each: well over the byte fuse and
/// the sockets' buffers, so that the send has to wait.
const TRANSFERS: usize = 3;
const TRANSFER_BYTES: usize = 2 << 20;
const SMALL_BUFFER: usize = 64 << 10;
/// What may be in flight with nobody reading: the fuse or the queue's limit, and TCP's own buffers.
const IN_FLIGHT_LIMIT: usize = 16 << 20;

/// What a self-test found, promise by promise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    broken: Vec<(&'static str, String)>,
}

impl Verdict {
    /// Whether every promise was kept.
    pub(crate) fn passed(&self) -> bool {
        self.broken.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.passed() {
            return f.write_str("passed");
        }
        for (index, (promise, found)) in self.broken.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{promise}: {found}")?;
        }
        Ok(())
    }
}

/// What is looked at: its name, and a test that says what it found instead.
type Promise<B> = (&'static str, fn(&mut B) -> io::Result<Result<(), String>>);

/// Makes connections that the programs act on.
trait Bench {
    fn connect(&mut self) -> io::Result<Connection>;

    /// Ends a connection, and takes back what the hooks left in maps.
    fn close(&mut self, connection: Connection) -> io::Result<()>;
}

/// A connection within this process.
struct Connection {
    client: TcpStream,
    server: TcpStream,
    /// Of the client's socket, as the maps have it.
    cookie: u64,
}

/// Looks at every promise.
fn look<B>(promises: &[Promise<B>], bench: &mut B) -> Verdict {
    let mut verdict = Verdict::default();
    for (promise, test) in promises {
        match test(bench) {
            Ok(Ok(())) => {}
            Ok(Err(found)) => verdict.broken.push((promise, found)),
            // What went wrong once would go wrong again, after as long a wait.
            Err(error) => {
                verdict.broken.push((promise, error.to_string()));
                break;
            }
        }
    }
    verdict
}

/// A listener that another sluice, whose workload this process is in, leaves alone as the proxy's.
fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    SockRef::from(&listener).set_priority(LISTENER_PRIORITY)?;
    Ok(listener)
}

fn accept(listener: &TcpListener, client: Socket, cookie: u64) -> io::Result<Connection> {
    let client = TcpStream::from(client);
    let (server, _) = listener.accept()?;
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
    }
    Ok(Connection { client, server, cookie })
}

/// The client's receive waits while its send waits for room; the room that comes must not wake the
/// receive with "try again".
fn blocking_receive_waits<B: Bench>(bench: &mut B) -> io::Result<Result<(), String>> {
    for _ in 0..TRANSFERS {
        let connection = bench.connect()?;
        let early = transfer(&connection)?;
        bench.close(connection)?;
        if early > 0 {
            return Ok(Err(format!("{early} times it returned EAGAIN")));
        }
    }
    Ok(Ok(()))
}

/// How often the client's blocking receive returned without data.
fn transfer(connection: &Connection) -> io::Result<usize> {
    for socket in [&connection.client, &connection.server] {
        // Small, so that the sender runs out of room early and often.
        let socket = SockRef::from(socket);
        socket.set_send_buffer_size(SMALL_BUFFER)?;
        socket.set_recv_buffer_size(SMALL_BUFFER)?;
    }
    let (mut client_in, mut client_out) = (connection.client.try_clone()?, connection.client.try_clone()?);
    let (mut server_in, mut server_out) = (connection.server.try_clone()?, connection.server.try_clone()?);
    thread::scope(|scope| {
        let sender = scope.spawn(move || client_out.write_all(&vec![1; TRANSFER_BYTES]));
        let answerer = scope.spawn(move || -> io::Result<()> {
            let mut chunk = vec![0; 16 << 10];
            let mut left = TRANSFER_BYTES;
            while left > 0 {
                match retry_early(|| server_in.read(&mut chunk))? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    len => left -= len.min(left),
                }
            }
            server_out.write_all(&[1])
        });
        let mut early = 0;
        let mut byte = [0];
        loop {
            let before = Instant::now();
            match client_in.read(&mut byte) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => break,
                Err(error) if is_early(&error, before) => early += 1,
                Err(error) => return Err(error),
            }
        }
        for result in [sender.join(), answerer.join()] {
            result.map_err(|_panic| io::Error::other("a thread of the test panicked"))??;
        }
        Ok(early)
    })
}

/// Reads of which nothing is promised but the data.
fn retry_early(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        let before = Instant::now();
        match read() {
            Err(error) if is_early(&error, before) => {}
            other => return other,
        }
    }
}

/// Whether a receive said "try again" before its time was up.
fn is_early(error: &io::Error, started: Instant) -> bool {
    error.kind() == io::ErrorKind::WouldBlock && started.elapsed() < PATIENCE / 2
}

fn fionread_is_right<B: Bench>(bench: &mut B) -> io::Result<Result<(), String>> {
    const LEN: usize = 1_000;
    let mut connection = bench.connect()?;
    connection.server.write_all(&[1; LEN])?;
    // Returns when the first byte is there; the rest came with it, in one piece.
    connection.client.peek(&mut [0])?;
    let told = sys::readable_bytes(&connection.client)?;
    bench.close(connection)?;
    Ok(if told == LEN { Ok(()) } else { Err(format!("{told} of {LEN}")) })
}

fn fin_comes_last<B: Bench>(bench: &mut B) -> io::Result<Result<(), String>> {
    const LEN: usize = 200_000;
    let mut connection = bench.connect()?;
    connection.client.write_all(&vec![1; LEN])?;
    connection.client.shutdown(Shutdown::Write)?;
    let got = read_to_end(&mut connection.server)?.len();
    bench.close(connection)?;
    Ok(if got == LEN { Ok(()) } else { Err(format!("{got} of {LEN} bytes before it")) })
}

fn backpressure_holds<B: Bench>(bench: &mut B) -> io::Result<Result<(), String>> {
    let mut connection = bench.connect()?;
    connection.client.set_nonblocking(true)?;
    let chunk = vec![1; 64 << 10];
    let mut taken = 0;
    while taken <= IN_FLIGHT_LIMIT {
        match connection.client.write(&chunk) {
            Ok(len) => taken += len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    connection.client.shutdown(Shutdown::Write)?;
    let got = read_to_end(&mut connection.server)?.len();
    bench.close(connection)?;
    Ok(match (taken <= IN_FLIGHT_LIMIT, got == taken) {
        (true, true) => Ok(()),
        (false, _) => Err(format!("took more than {IN_FLIGHT_LIMIT} bytes")),
        (true, false) => Err(format!("{got} of {taken} bytes arrived")),
    })
}

fn read_to_end(socket: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        match retry_early(|| socket.read(&mut chunk))? {
            0 => return Ok(all),
            len => all.extend_from_slice(&chunk[..len]),
        }
    }
}
