//! What `sk_msg` does to an application's socket on this kernel, by trying.
//!
//! Membership in a sockmap alone can break a blocking application, and what breaks differs between
//! kernels and their patch levels. So the real program runs on a few connections of this process,
//! and each promise that an application relies on is looked at.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    thread,
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    maps::{HashMap, SkStorage},
};
use proxy_common::{LISTENER_PRIORITY, Lane, LaneState, OriginalDst, Tracked, flags};
use socket2::{Domain, SockRef, Socket, Type};

use super::{
    error::KernelError,
    maps::{LANES, error},
};

const TRACKED: &str = "TRACKED";
/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Transfers in which a receive waits beside a send, and the bytes of each: well over the byte fuse and
/// the sockets' buffers, so that the send has to wait.
const TRANSFERS: usize = 3;
const TRANSFER_BYTES: usize = 2 << 20;
const SMALL_BUFFER: usize = 64 << 10;
/// Fast opens: before the kernel's own count was asked, nearly all of them lost their order.
const FAST_OPENS: usize = 4;
/// What may be in flight with nobody reading: the byte fuse, and TCP's own buffers.
const IN_FLIGHT_LIMIT: usize = 16 << 20;

/// What the self-test found, promise by promise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SkMsgVerdict {
    broken: Vec<(&'static str, String)>,
}

impl SkMsgVerdict {
    /// Whether every promise was kept.
    pub(crate) fn passed(&self) -> bool {
        self.broken.is_empty()
    }
}

impl fmt::Display for SkMsgVerdict {
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

type Promise = fn(&mut Bench<'_>) -> io::Result<Result<(), String>>;

/// Runs every test. `sk_msg` must be attached, and `sock_ops` to the cgroup of this process.
pub(super) fn run(ebpf: &mut Ebpf) -> Result<SkMsgVerdict, KernelError> {
    let promises: [(&str, Promise); 6] = [
        ("a blocking receive waits", blocking_receive_waits),
        ("FIONREAD tells what has arrived", fionread_is_right),
        ("redirected and then native bytes keep their order", order_is_kept),
        ("bytes sent while connecting come first", fast_open_comes_first),
        ("FIN comes after the data", fin_comes_last),
        ("an unread connection stops taking bytes", backpressure_holds),
    ];
    let mut verdict = SkMsgVerdict::default();
    let mut bench = Bench { ebpf };
    for (promise, test) in promises {
        match test(&mut bench) {
            Ok(Ok(())) => {}
            Ok(Err(found)) => verdict.broken.push((promise, found)),
            // What went wrong once would go wrong again, after as long a wait.
            Err(error) => {
                verdict.broken.push((promise, error.to_string()));
                break;
            }
        }
    }
    Ok(verdict)
}

/// Makes connections that `sk_msg` acts on.
struct Bench<'a> {
    ebpf: &'a mut Ebpf,
}

/// A client's socket, in the client's sockmap, and the proxy's end of it.
struct Connection {
    client: TcpStream,
    proxy: TcpStream,
    cookie: u64,
}

impl Bench<'_> {
    fn connect(&mut self) -> io::Result<Connection> {
        let listener = listen()?;
        let addr = listener.local_addr()?;
        let (client, cookie) = self.client(addr)?;
        client.connect_timeout(&addr.into(), PATIENCE)?;
        accept(&listener, client, cookie)
    }

    /// A socket that the hooks treat like a redirected client's, once it connects to `addr`. Its
    /// cookie is one that no live connection has: they count up from 1.
    fn client(&mut self, addr: SocketAddr) -> io::Result<(Socket, u64)> {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let cookie = u64::MAX - client.as_raw_fd().unsigned_abs() as u64;
        let record = Tracked {
            original: OriginalDst {
                addr_be: [0; 16],
                port_be: 0,
                decision: 0,
                source: 0,
                flags: flags::SK_MSG,
                cookie,
                workload: 0,
                created_ns: 0,
            },
            redirected_bytes: 0,
            received_at_fin_wait2: 0,
            first_seq: 0,
            pad: 0,
            flags: flags::SK_MSG,
            listener_port_be: addr.port().to_be(),
            lane: LaneState::Undecided as u8,
            established: 0,
        };
        self.tracked()
            .and_then(|mut map| map.insert(&client, record, 0).map_err(error("write", TRACKED)))
            .map_err(io::Error::other)?;
        Ok((client, cookie))
    }

    fn tracked(&mut self) -> Result<SkStorage<&mut aya::maps::MapData, Tracked>, KernelError> {
        let map = self.ebpf.map_mut(TRACKED).ok_or(KernelError::Missing { kind: "map", name: TRACKED })?;
        SkStorage::try_from(map).map_err(error("open", TRACKED))
    }

    fn record(&mut self, connection: &Connection) -> io::Result<Tracked> {
        self.tracked()
            .and_then(|map| map.get(&connection.client, 0).map_err(error("read", TRACKED)))
            .map_err(io::Error::other)
    }

    fn turn_native(&mut self, connection: &Connection) -> io::Result<()> {
        let record = Tracked { lane: LaneState::Native as u8, ..self.record(connection)? };
        self.tracked()
            .and_then(|mut map| map.insert(&connection.client, record, 0).map_err(error("write", TRACKED)))
            .map_err(io::Error::other)
    }

    /// Ends a connection, and takes back what the hooks left for a proxy.
    fn close(&mut self, connection: Connection) -> io::Result<()> {
        let Connection { client, proxy, cookie } = connection;
        drop((client, proxy));
        let lanes = self.ebpf.map_mut(LANES).ok_or(KernelError::Missing { kind: "map", name: LANES });
        let mut lanes: HashMap<_, u64, Lane> = lanes
            .and_then(|lanes| HashMap::try_from(lanes).map_err(error("open", LANES)))
            .map_err(io::Error::other)?;
        let _already_gone = lanes.remove(&cookie);
        Ok(())
    }
}

/// A listener that another sluice, whose workload this process is in, leaves alone as the proxy's.
fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    SockRef::from(&listener).set_priority(LISTENER_PRIORITY)?;
    Ok(listener)
}

fn accept(listener: &TcpListener, client: Socket, cookie: u64) -> io::Result<Connection> {
    let client = TcpStream::from(client);
    let (proxy, _) = listener.accept()?;
    for socket in [&client, &proxy] {
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
    }
    Ok(Connection { client, proxy, cookie })
}

/// The client's receive waits while its send waits for room; the room that comes must not wake the
/// receive with "try again".
fn blocking_receive_waits(bench: &mut Bench<'_>) -> io::Result<Result<(), String>> {
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
    for socket in [&connection.client, &connection.proxy] {
        // Small, so that the sender runs out of room early and often.
        let socket = SockRef::from(socket);
        socket.set_send_buffer_size(SMALL_BUFFER)?;
        socket.set_recv_buffer_size(SMALL_BUFFER)?;
    }
    let (mut client_in, mut client_out) = (connection.client.try_clone()?, connection.client.try_clone()?);
    let (mut proxy_in, mut proxy_out) = (connection.proxy.try_clone()?, connection.proxy.try_clone()?);
    thread::scope(|scope| {
        let sender = scope.spawn(move || client_out.write_all(&vec![1; TRANSFER_BYTES]));
        let answerer = scope.spawn(move || -> io::Result<()> {
            let mut chunk = vec![0; 16 << 10];
            let mut left = TRANSFER_BYTES;
            while left > 0 {
                match retry_early(|| proxy_in.read(&mut chunk))? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    len => left -= len.min(left),
                }
            }
            proxy_out.write_all(&[1])
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

/// The proxy's own reads: nothing is promised of them but the data.
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

fn fionread_is_right(bench: &mut Bench<'_>) -> io::Result<Result<(), String>> {
    const LEN: usize = 1_000;
    let mut connection = bench.connect()?;
    connection.proxy.write_all(&[1; LEN])?;
    // Returns when the first byte is there; the rest came with it, in one segment.
    connection.client.peek(&mut [0])?;
    let told = super::sys::readable_bytes(&connection.client)?;
    bench.close(connection)?;
    Ok(if told == LEN { Ok(()) } else { Err(format!("{told} of {LEN}")) })
}

fn order_is_kept(bench: &mut Bench<'_>) -> io::Result<Result<(), String>> {
    let mut connection = bench.connect()?;
    connection.client.write_all(b"redirected ")?;
    if bench.record(&connection)?.lane != LaneState::Redirected as u8 {
        bench.close(connection)?;
        return Ok(Err("nothing was redirected".to_owned()));
    }
    bench.turn_native(&connection)?;
    connection.client.write_all(b"native")?;
    connection.client.shutdown(Shutdown::Write)?;
    let got = read_to_end(&mut connection.proxy)?;
    bench.close(connection)?;
    Ok(if got == b"redirected native" {
        Ok(())
    } else {
        Err(format!("got {:?}", String::from_utf8_lossy(&got)))
    })
}

/// TCP Fast Open: the first send waits for the handshake, and queues its bytes in TCP although the
/// socket has become a member of the sockmap in between.
fn fast_open_comes_first(bench: &mut Bench<'_>) -> io::Result<Result<(), String>> {
    let first = vec![b'1'; 100_000];
    let expected = [first.as_slice(), b"2"].concat();
    for _ in 0..FAST_OPENS {
        let listener = listen()?;
        let addr = listener.local_addr()?;
        let (client, cookie) = bench.client(addr)?;
        client.set_write_timeout(Some(PATIENCE))?;
        let sent = client.send_to_with_flags(&first, &addr.into(), libc::MSG_FASTOPEN);
        let len = match sent {
            // This namespace does without it (net.ipv4.tcp_fastopen).
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(Ok(())),
            other => other?,
        };
        let mut connection = accept(&listener, client, cookie)?;
        let mut reader = connection.proxy.try_clone()?;
        let reader = thread::spawn(move || read_to_end(&mut reader));
        connection.client.write_all(expected.get(len..).unwrap_or_default())?;
        connection.client.shutdown(Shutdown::Write)?;
        let got = reader.join().map_err(|_panic| io::Error::other("a thread of the test panicked"))??;
        bench.close(connection)?;
        if got != expected {
            let at = got.iter().zip(&expected).take_while(|(got, expected)| got == expected).count();
            return Ok(Err(format!("byte {at} is another one")));
        }
    }
    Ok(Ok(()))
}

fn fin_comes_last(bench: &mut Bench<'_>) -> io::Result<Result<(), String>> {
    const LEN: usize = 200_000;
    let mut connection = bench.connect()?;
    connection.client.write_all(&vec![1; LEN])?;
    connection.client.shutdown(Shutdown::Write)?;
    let got = read_to_end(&mut connection.proxy)?.len();
    bench.close(connection)?;
    Ok(if got == LEN { Ok(()) } else { Err(format!("{got} of {LEN} bytes before it")) })
}

fn backpressure_holds(bench: &mut Bench<'_>) -> io::Result<Result<(), String>> {
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
    let got = read_to_end(&mut connection.proxy)?.len();
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
