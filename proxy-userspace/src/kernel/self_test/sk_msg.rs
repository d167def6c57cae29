//! The self-test of `sk_msg` between an application and the proxy.

use std::{
    io::{self, Write as _},
    net::{Shutdown, SocketAddr},
    os::fd::AsRawFd as _,
    thread,
};

use aya::{
    Ebpf,
    maps::{HashMap, SkStorage},
};
use proxy_common::{Lane, LaneState, OriginalDst, Tracked, flags};
use socket2::{Domain, Socket, Type};

use super::{
    Bench, Connection, PATIENCE, Promise, TRACKED, Verdict, accept, backpressure_holds,
    blocking_receive_waits, fin_comes_last, fionread_is_right, listen, look, read_to_end,
};
use crate::kernel::{
    error::KernelError,
    maps::{LANES, error},
};

/// Fast opens: before the kernel's own count was asked, nearly all of them lost their order.
const FAST_OPENS: usize = 4;
/// Runs every test. `sk_msg` must be attached, and `sock_ops` to the cgroup of this process.
pub(in crate::kernel) fn run(ebpf: &mut Ebpf) -> Verdict {
    let promises: [Promise<Redirected<'_>>; 6] = [
        ("a blocking receive waits", blocking_receive_waits),
        ("FIONREAD tells what has arrived", fionread_is_right),
        ("redirected and then native bytes keep their order", order_is_kept),
        ("bytes sent while connecting come first", fast_open_comes_first),
        ("FIN comes after the data", fin_comes_last),
        ("an unread connection stops taking bytes", backpressure_holds),
    ];
    look(&promises, &mut Redirected { ebpf })
}

/// Makes connections that `sk_msg` acts on.
struct Redirected<'a> {
    ebpf: &'a mut Ebpf,
}

impl Bench for Redirected<'_> {
    fn connect(&mut self) -> io::Result<Connection> {
        let listener = listen()?;
        let addr = listener.local_addr()?;
        let (client, cookie) = self.client(addr)?;
        client.connect_timeout(&addr.into(), PATIENCE)?;
        accept(&listener, client, cookie)
    }

    fn close(&mut self, connection: Connection) -> io::Result<()> {
        let Connection { client, server, cookie } = connection;
        drop((client, server));
        let lanes = self.ebpf.map_mut(LANES).ok_or(KernelError::Missing { kind: "map", name: LANES });
        let mut lanes: HashMap<_, u64, Lane> = lanes
            .and_then(|lanes| HashMap::try_from(lanes).map_err(error("open", LANES)))
            .map_err(io::Error::other)?;
        let _already_gone = lanes.remove(&cookie);
        Ok(())
    }
}

impl Redirected<'_> {
    /// A socket that the hooks treat like a redirected client's, once it connects to `addr`. Its
    /// cookie is one that no live connection has: they count up from 1.
    fn client(&mut self, addr: SocketAddr) -> io::Result<(Socket, u64)> {
        let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let cookie = u64::MAX - client.as_raw_fd().unsigned_abs() as u64;
        let original = OriginalDst {
            addr_be: [0; 16],
            port_be: 0,
            decision: 0,
            source: 0,
            flags: flags::SK_MSG,
            cookie,
            workload: 0,
            created_ns: 0,
        };
        let record = Tracked {
            listener_port_be: addr.port().to_be(),
            lane: LaneState::Undecided as u8,
            ..Tracked::new(original, flags::SK_MSG)
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
}

fn order_is_kept(bench: &mut Redirected<'_>) -> io::Result<Result<(), String>> {
    let mut connection = bench.connect()?;
    connection.client.write_all(b"redirected ")?;
    if bench.record(&connection)?.lane != LaneState::Redirected as u8 {
        bench.close(connection)?;
        return Ok(Err("nothing was redirected".to_owned()));
    }
    bench.turn_native(&connection)?;
    connection.client.write_all(b"native")?;
    connection.client.shutdown(Shutdown::Write)?;
    let got = read_to_end(&mut connection.server)?;
    bench.close(connection)?;
    Ok(if got == b"redirected native" {
        Ok(())
    } else {
        Err(format!("got {:?}", String::from_utf8_lossy(&got)))
    })
}

/// TCP Fast Open: the first send waits for the handshake, and queues its bytes in TCP although the
/// socket has become a member of the sockmap in between.
fn fast_open_comes_first(bench: &mut Redirected<'_>) -> io::Result<Result<(), String>> {
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
        let mut reader = connection.server.try_clone()?;
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
