//! The self-test of the same-node bypass.

use std::{
    io::{self, Write as _},
    net::Shutdown,
    path::PathBuf,
    thread,
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, SkStorage},
};
use proxy_common::{BypassKey, Bypassed, Decision, OriginalDst, PrefixLens, Tracked, Workload, flags};
use socket2::{Domain, Socket, Type};

use super::{
    Bench, Connection, PATIENCE, Promise, TRACKED, Verdict, accept, backpressure_holds,
    blocking_receive_waits, fin_comes_last, fionread_is_right, listen, look, read_to_end,
};
use crate::kernel::{
    cgroup::Cgroup,
    control::Control,
    error::KernelError,
    maps::{self, BYPASSED, INBOUND, WORKLOADS, error},
    netns::Netns,
    programs, sys,
};

/// The id of the workload that this process plays, in maps that nobody else uses: no cgroup's.
const WORKLOAD: u64 = 0;
/// More than the test takes.
const HEARTBEAT_MAX_AGE_NS: u64 = 600_000_000_000;
/// How often, and after how long each, it is looked whether two ends have found each other.
const PAIRING_LOOKS: usize = 100;
const PAIRING_REST: Duration = Duration::from_millis(1);

/// Runs every test, with programs and maps of its own, on connections of this process, which must be in this
/// cgroup.
pub(in crate::kernel) fn run(own_cgroup: &Cgroup) -> Result<Verdict, KernelError> {
    let mut ebpf = programs::open_object()?;
    let _link = programs::attach_bypass(&mut ebpf)?;
    programs::load(&mut ebpf, programs::SOCK_OPS)?;
    let _hook = programs::attach_workload_sock_ops(&mut ebpf, own_cgroup)?;
    let mut bypassed = Bypass::new(&ebpf)?;
    bypassed.switch(true)?;
    let promises: [Promise<Bypass>; 8] = [
        ("sends go to the receiver's queue", something_is_redirected),
        ("a blocking receive waits", blocking_receive_waits),
        ("a blocking receive waits beside TCP", blocking_receive_waits_beside_tcp),
        ("FIONREAD tells what has arrived", fionread_is_right),
        ("FIONREAD tells what has arrived by TCP", fionread_is_right_of_tcp),
        ("bytes keep their order between the lanes", order_is_kept),
        ("FIN comes after the data", fin_comes_last),
        ("an unread connection stops taking bytes", backpressure_holds),
    ];
    Ok(look(&promises, &mut bypassed))
}

/// Makes connections that are bypassed at both ends.
struct Bypass {
    control: Control,
    tracked: SkStorage<MapData, Tracked>,
    bypassed: HashMap<MapData, BypassKey, Bypassed>,
}

impl Bench for Bypass {
    fn connect(&mut self) -> io::Result<Connection> {
        let listener = listen()?;
        let addr = listener.local_addr()?;
        let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let cookie = sys::socket_cookie(&client)?;
        let original = OriginalDst {
            addr_be: proxy_common::mapped(addr.ip()),
            port_be: addr.port().to_be(),
            decision: Decision::Opaque as u8,
            source: 0,
            flags: 0,
            cookie,
            workload: WORKLOAD,
            created_ns: cookie,
        };
        let record = Tracked::new(original, flags::SAME_NODE_BYPASS);
        self.tracked.insert(&client, record, 0).map_err(error("write", TRACKED)).map_err(io::Error::other)?;
        client.connect_timeout(&addr.into(), PATIENCE)?;
        let connection = accept(&listener, client, cookie)?;
        // A socket can be accepted a moment before the hooks have run for it.
        for _ in 0..PAIRING_LOOKS {
            thread::sleep(PAIRING_REST);
            if self.found(&connection).is_some() {
                break;
            }
        }
        Ok(connection)
    }

    /// The hooks take back all that they left.
    fn close(&mut self, connection: Connection) -> io::Result<()> {
        drop(connection);
        Ok(())
    }
}

impl Bypass {
    fn new(ebpf: &Ebpf) -> Result<Self, KernelError> {
        let mut control = Control::new(ebpf)?;
        control.beat()?;
        let mut workloads: HashMap<_, u64, Workload> = maps::hash(ebpf, WORKLOADS)?;
        let workload = Workload {
            profile: 0,
            flags: flags::SAME_NODE_BYPASS,
            prefix_lens: [PrefixLens::default(); 2],
            listener_v4_port_be: 0,
            listener_v6_port_be: 0,
            pad: 0,
        };
        workloads.insert(WORKLOAD, workload, 0).map_err(error("write", WORKLOADS))?;
        let mut inbound: HashMap<_, u64, u64> = maps::hash(ebpf, INBOUND)?;
        let netns_cookie = Netns::own().cookie().map_err(|source| KernelError::Netns {
            action: "ask for the cookie of",
            path: PathBuf::from("/proc/self/ns/net"),
            source,
        })?;
        inbound.insert(netns_cookie, WORKLOAD, 0).map_err(error("write", INBOUND))?;
        Ok(Self { control, tracked: maps::sk_storage(ebpf, TRACKED)?, bypassed: maps::hash(ebpf, BYPASSED)? })
    }

    /// Lets sends take the fast lane, or none of them.
    fn switch(&mut self, is_on: bool) -> Result<(), KernelError> {
        self.control.change_settings(|settings| {
            settings.same_node_bypass = u32::from(is_on);
            settings.heartbeat_max_age_ns = HEARTBEAT_MAX_AGE_NS;
        })
    }

    /// Bytes that the client and the server sent by the fast lane.
    fn redirected_bytes(&self, connection: &Connection) -> (u64, u64) {
        let found = self.found(connection);
        found.map_or((0, 0), |found| (found.client_redirected_bytes, found.server_redirected_bytes))
    }

    /// What the hooks know of a connection; nothing where its ends have not found each other.
    fn found(&self, connection: &Connection) -> Option<Bypassed> {
        let key = BypassKey { client_cookie: connection.cookie, connected_ns: connection.cookie };
        self.bypassed.get(&key, 0).ok()
    }
}

fn something_is_redirected(bench: &mut Bypass) -> io::Result<Result<(), String>> {
    let mut connection = bench.connect()?;
    connection.client.write_all(b"question")?;
    connection.server.write_all(b"answer")?;
    let redirected = bench.redirected_bytes(&connection);
    connection.client.shutdown(Shutdown::Write)?;
    connection.server.shutdown(Shutdown::Write)?;
    let got = [read_to_end(&mut connection.server)?, read_to_end(&mut connection.client)?];
    bench.close(connection)?;
    Ok(if got != [b"question".to_vec(), b"answer".to_vec()] {
        Err(format!("got {:?}", got.map(|got| String::from_utf8_lossy(&got).into_owned())))
    } else if redirected != (8, 6) {
        Err(format!("{} and {} bytes of 8 and 6 were", redirected.0, redirected.1))
    } else {
        Ok(())
    })
}

/// Makes connections that are members, and whose sends take the slow lane.
struct ByTcp<'a>(&'a mut Bypass);

impl Bench for ByTcp<'_> {
    fn connect(&mut self) -> io::Result<Connection> {
        // What joins only joins while it is on.
        let connection = self.0.connect()?;
        self.0.switch(false).map_err(io::Error::other)?;
        Ok(connection)
    }

    fn close(&mut self, connection: Connection) -> io::Result<()> {
        self.0.switch(true).map_err(io::Error::other)?;
        self.0.close(connection)
    }
}

fn blocking_receive_waits_beside_tcp(bench: &mut Bypass) -> io::Result<Result<(), String>> {
    blocking_receive_waits(&mut ByTcp(bench))
}

fn fionread_is_right_of_tcp(bench: &mut Bypass) -> io::Result<Result<(), String>> {
    fionread_is_right(&mut ByTcp(bench))
}

fn order_is_kept(bench: &mut Bypass) -> io::Result<Result<(), String>> {
    let mut connection = bench.connect()?;
    connection.client.write_all(b"fast ")?;
    bench.switch(false).map_err(io::Error::other)?;
    connection.client.write_all(b"slow ")?;
    bench.switch(true).map_err(io::Error::other)?;
    // Not by the fast lane: the slow one is not empty.
    connection.client.write_all(b"slow again")?;
    connection.client.shutdown(Shutdown::Write)?;
    let got = read_to_end(&mut connection.server)?;
    bench.close(connection)?;
    Ok(if got == b"fast slow slow again" {
        Ok(())
    } else {
        Err(format!("got {:?}", String::from_utf8_lossy(&got)))
    })
}
