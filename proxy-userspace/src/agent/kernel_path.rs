//! The accounts of connections that go by themselves: the kernel counts, and is asked now and then.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use proxy_common::{Decision, RuleSource};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    connection::ReportSink,
    kernel::{ClosedConnection, ClosedEvents, KernelConnection, Netns, OpenConnections, OpenList},
    metrics::{CloseReason, ConnectionMetrics, Metrics, Traffic},
    report::{ConnectionReport, Requests},
};

/// What is said of the protocol of opaque connections.
const OPAQUE: &str = "opaque";

/// And of how it is known.
fn known_by(connection: &KernelConnection) -> &'static str {
    if connection.source == RuleSource::Learned { "learned" } else { "config" }
}

/// How often the open connections are looked at; a second less often for each [`LOOK_AT`] of them.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_AT: usize = 4_000;
/// How often the closed ones are asked for where somebody waits for their reports.
const REPORT_EVERY: Duration = Duration::from_millis(50);
/// How long the name of a workload that has left is kept: its last connections may end after it.
const KEEP_NAMES: Duration = Duration::from_secs(60);

/// What is known of the workloads. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<Mutex<KnownWorkloads>>);

#[derive(Debug, Default)]
struct KnownWorkloads {
    /// By the ids of their cgroups.
    names: HashMap<u64, Name>,
    /// By their cookies.
    namespaces: HashMap<u64, Netns>,
}

#[derive(Debug)]
struct Name {
    name: Arc<str>,
    left: Option<Instant>,
}

/// An enrolled workload.
pub(super) struct KnownWorkload<'a> {
    /// Id of its cgroup.
    pub(super) id: u64,
    pub(super) name: &'a str,
    /// Its network namespace, by its cookie.
    pub(super) netns: Option<&'a (u64, Netns)>,
}

impl Known {
    /// These are all there are now.
    pub(super) fn set<'a>(&self, workloads: impl Iterator<Item = KnownWorkload<'a>>) {
        let mut known = self.lock();
        let now = Instant::now();
        known.names.retain(|_, name| now.duration_since(*name.left.get_or_insert(now)) < KEEP_NAMES);
        known.namespaces.clear();
        for KnownWorkload { id, name, netns } in workloads {
            let same = known.names.get(&id).filter(|known| &*known.name == name);
            let name = same.map_or_else(|| Arc::from(name), |known| Arc::clone(&known.name));
            known.names.insert(id, Name { name, left: None });
            known.namespaces.extend(netns.cloned());
        }
    }

    fn name(&self, id: u64) -> Option<Arc<str>> {
        self.lock().names.get(&id).map(|name| Arc::clone(&name.name))
    }

    fn netns(&self, cookie: u64) -> Option<Netns> {
        self.lock().namespaces.get(&cookie).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, KnownWorkloads> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps the accounts, until it is told to stop.
pub(super) struct Bookkeeper {
    /// `None` once it was told.
    task: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Bookkeeper {
    pub(super) fn start(accounts: Accounts, events: ClosedEvents, open: OpenConnections) -> Self {
        let (stop, stopped) = oneshot::channel();
        Self { task: Some((stop, tokio::spawn(keep(accounts, events, open, stopped)))) }
    }

    /// Stops, when everything that has ended until now is accounted for.
    pub(super) async fn finish(&mut self) {
        if let Some((stop, task)) = self.task.take() {
            let _has_ended = stop.send(());
            let _whatever_it_says = task.await;
        }
    }
}

impl Drop for Bookkeeper {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.task {
            task.abort();
        }
    }
}

async fn keep(
    mut accounts: Accounts,
    mut events: ClosedEvents,
    mut open: OpenConnections,
    mut stop: oneshot::Receiver<()>,
) {
    let rest = if accounts.reports.is_some() { REPORT_EVERY } else { LOOK_EVERY };
    let mut look_at = Instant::now() + LOOK_EVERY;
    loop {
        tokio::select! {
            _ = &mut stop => break,
            waited = events.wait(rest) => {
                if let Err(error) = waited {
                    tracing::warn!(%error, "connections that go by themselves are not counted any more");
                    return;
                }
            }
        }
        if Instant::now() >= look_at {
            look(&mut open, &mut events, &mut accounts);
            let more = u32::try_from(accounts.open.len() / LOOK_AT).unwrap_or(u32::MAX);
            look_at = Instant::now() + LOOK_EVERY.saturating_mul(more.saturating_add(1));
        } else {
            events.drain(|closed| accounts.closed(&closed));
        }
    }
    events.drain(|closed| accounts.closed(&closed));
}

/// Asks for the open connections first: one that is not among them has told of its end by then.
fn look(open: &mut OpenConnections, events: &mut ClosedEvents, accounts: &mut Accounts) {
    let list = open
        .list(|cookie| accounts.known.netns(cookie))
        .inspect_err(|error| tracing::warn!(error = error.with_causes(), "cannot ask for open connections"));
    let mut ended = HashSet::new();
    events.drain(|closed| {
        ended.insert(closed.connection.cookie);
        accounts.closed(&closed);
    });
    if let Ok(list) = list {
        accounts.open(&list, &ended);
    }
}

/// The accounts of the connections on the kernel path.
pub(super) struct Accounts {
    metrics: Metrics,
    reports: Option<ReportSink>,
    known: Known,
    /// By the cookies of their sockets.
    open: HashMap<u64, Account>,
}

struct Account {
    metrics: ConnectionMetrics,
    /// What has been counted.
    counted: Traffic,
    lived: Duration,
}

impl Accounts {
    pub(super) fn new(metrics: Metrics, reports: Option<ReportSink>, known: Known) -> Self {
        Self { metrics, reports, known, open: HashMap::new() }
    }

    /// These are all that are open now, but for those that have `ended` since.
    fn open(&mut self, list: &OpenList, ended: &HashSet<u64>) {
        for connection in list.connections.iter().filter(|one| !ended.contains(&one.cookie)) {
            if let Some(mut account) = self.account_of(connection) {
                account.metrics.server_connected_for(connection.duration);
                account.count(connection);
                self.open.insert(connection.cookie, account);
            }
        }
        let there: HashSet<&u64> = list.cookies.iter().collect();
        for (_, account) in self.open.extract_if(|cookie, _| !there.contains(cookie)) {
            account.metrics.close(CloseReason::Unreported, account.lived);
        }
    }

    /// One has ended.
    fn closed(&mut self, closed: &ClosedConnection) {
        let connection = &closed.connection;
        if connection.decision == Decision::Opaque
            && let Some(mut account) = self.account_of(connection)
        {
            if closed.was_established {
                account.metrics.server_connected_for(connection.duration);
            }
            account.count(connection);
            account.metrics.close(closed.reason, connection.duration);
        }
        self.report(closed);
    }

    /// Takes the account of a connection out, or opens one; `None` where nobody knows its workload.
    fn account_of(&mut self, connection: &KernelConnection) -> Option<Account> {
        if let Some(account) = self.open.remove(&connection.cookie) {
            return Some(account);
        }
        let workload = self.known.name(connection.workload)?;
        let metrics = self.metrics.open(connection.direction, &workload, connection.dst);
        metrics.detected(OPAQUE, known_by(connection));
        Some(Account { metrics, counted: Traffic::default(), lived: Duration::ZERO })
    }

    fn report(&self, closed: &ClosedConnection) {
        let Some(sink) = &self.reports else { return };
        let ClosedConnection { connection, client, reason, .. } = closed;
        let Some(workload) = self.known.name(connection.workload) else { return };
        let is_opaque = connection.decision == Decision::Opaque;
        sink(ConnectionReport {
            direction: connection.direction,
            client: *client,
            dst: connection.dst,
            workload,
            decision: connection.decision,
            protocol: is_opaque.then_some(OPAQUE),
            detected_by: is_opaque.then(|| known_by(connection)),
            sni: None,
            alpn: Vec::new(),
            bytes_sent: connection.traffic.from_client,
            bytes_received: connection.traffic.from_server,
            requests: Requests::default(),
            first_byte: None,
            duration: connection.duration,
            close: *reason,
        });
    }
}

impl Account {
    /// Counts what has come since the last time.
    fn count(&mut self, connection: &KernelConnection) {
        let Traffic { from_client, from_server, round_trip, retransmits } = connection.traffic;
        let since = Traffic {
            from_client: from_client.saturating_sub(self.counted.from_client),
            from_server: from_server.saturating_sub(self.counted.from_server),
            round_trip,
            retransmits: retransmits.saturating_sub(self.counted.retransmits),
        };
        self.metrics.carried(&since, connection.duration.saturating_sub(self.lived));
        self.counted = connection.traffic;
        self.lived = connection.duration;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use proxy_common::Direction;

    use super::*;

    const WORKLOAD: u64 = 17;

    fn accounts() -> Accounts {
        let names = Known::default();
        names.set([KnownWorkload { id: WORKLOAD, name: "db", netns: None }].into_iter());
        Accounts::new(Metrics::new(Vec::new), None, names)
    }

    fn list<const N: usize>(connections: [KernelConnection; N]) -> OpenList {
        let cookies = connections.iter().map(|connection| connection.cookie).collect();
        OpenList { cookies, connections: connections.into() }
    }

    fn connection(cookie: u64, sent: u64) -> KernelConnection {
        KernelConnection {
            cookie,
            workload: WORKLOAD,
            direction: Direction::Outbound,
            decision: Decision::Opaque,
            source: RuleSource::Default,
            dst: SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 3306)),
            traffic: Traffic { from_client: sent, from_server: 2 * sent, ..Traffic::default() },
            duration: Duration::from_secs(5),
        }
    }

    fn closed(connection: KernelConnection) -> ClosedConnection {
        let client = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 2), 40_000));
        ClosedConnection { connection, client, was_established: true, reason: CloseReason::Eof }
    }

    /// The sum of a series over its label sets that have `label` in them.
    fn value(accounts: &Accounts, series: &str, label: &str) -> u64 {
        let text = accounts.metrics.encode().unwrap();
        let lines =
            text.lines().filter(|line| line.starts_with(&format!("{series}{{")) && line.contains(label));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    #[test]
    fn bytes_show_while_the_connection_lives_and_are_counted_once() {
        let mut accounts = accounts();
        accounts.open(&list([connection(1, 100)]), &HashSet::new());
        assert_eq!(value(&accounts, "tcp_read_bytes_total", "peer=\"src\""), 100);
        assert_eq!(value(&accounts, "tcp_open_connections", "peer=\"src\""), 1);
        accounts.open(&list([connection(1, 150)]), &HashSet::new());
        accounts.closed(&closed(connection(1, 160)));
        assert_eq!(value(&accounts, "tcp_read_bytes_total", "peer=\"src\""), 160);
        assert_eq!(value(&accounts, "tcp_read_bytes_total", "peer=\"dst\""), 320);
        assert_eq!(value(&accounts, "tcp_open_total", "peer=\"src\""), 1);
        assert_eq!(value(&accounts, "tcp_open_connections", "peer=\"src\""), 0);
        assert_eq!(value(&accounts, "sluice_connection_close_total", "reason=\"eof\""), 1);
    }

    #[test]
    fn a_connection_whose_end_nobody_told_is_closed_as_unreported() {
        let mut accounts = accounts();
        accounts.open(&list([connection(1, 100), connection(2, 10)]), &HashSet::new());
        accounts.open(&list([connection(2, 10)]), &HashSet::new());
        assert_eq!(value(&accounts, "sluice_connection_close_total", "reason=\"unreported\""), 1);
        assert_eq!(value(&accounts, "tcp_open_connections", "peer=\"src\""), 1);
    }

    #[test]
    fn a_connection_that_could_not_be_asked_is_still_open() {
        let mut accounts = accounts();
        accounts.open(&list([connection(1, 100)]), &HashSet::new());
        accounts.open(&OpenList { cookies: vec![1], connections: Vec::new() }, &HashSet::new());
        assert_eq!(value(&accounts, "tcp_open_connections", "peer=\"src\""), 1);
    }

    #[test]
    fn a_connection_that_has_ended_since_is_not_opened_again() {
        let mut accounts = accounts();
        accounts.closed(&closed(connection(1, 7)));
        accounts.open(&list([connection(1, 7)]), &HashSet::from([1]));
        assert_eq!(value(&accounts, "tcp_open_total", "peer=\"src\""), 1);
    }

    #[test]
    fn a_short_connection_is_counted_at_its_end() {
        let mut accounts = accounts();
        accounts.closed(&closed(connection(1, 7)));
        assert_eq!(value(&accounts, "tcp_open_total", "peer=\"dst\""), 1);
        assert_eq!(value(&accounts, "tcp_write_bytes_total", "peer=\"dst\""), 7);
    }

    #[test]
    fn a_skipped_connection_is_not_counted() {
        let mut accounts = accounts();
        accounts.closed(&closed(KernelConnection { decision: Decision::Skip, ..connection(1, 7) }));
        assert_eq!(value(&accounts, "tcp_open_total", "peer"), 0);
    }

    #[test]
    fn the_name_of_a_workload_that_has_left_is_still_known() {
        let mut accounts = accounts();
        accounts.known.set([KnownWorkload { id: 18, name: "other", netns: None }].into_iter());
        accounts.closed(&closed(connection(1, 7)));
        assert_eq!(value(&accounts, "tcp_open_total", "workload=\"db\",target_addr"), 2);
    }
}
