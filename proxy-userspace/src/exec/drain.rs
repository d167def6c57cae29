//! After the command has ended: its connections end too, in their own time.

use std::time::Duration;

use proxy_common::Counter;
use tokio::time::Instant;

use super::signals::Signals;
use crate::{
    agent::Node,
    kernel::{Cgroup, OwnCgroup},
};

/// How long connections may take to deliver what the command had sent, when no process of it is left
/// that could still want something.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long connections that went by themselves may take to be reported as closed.
const REPORT_PATIENCE: Duration = Duration::from_millis(300);
/// How long a process that is left may take to end before it is told of.
const ENDING_PATIENCE: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_millis(2);
/// When the user is told what is waited for.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// Waits until the command's connections have ended.
///
/// Those of a process that the command left running may take as long as they like; a signal ends the
/// wait.
pub(super) async fn drain(node: &mut Node, cgroup: &Cgroup, signals: &mut Signals) {
    let started = Instant::now();
    let mut told = false;
    loop {
        let open = node.live().count() as u64 + unaccepted(node);
        let waited = started.elapsed();
        if open == 0 && (waited > REPORT_PATIENCE || unreported(node) == 0) {
            return;
        }
        if waited > PATIENCE && !cgroup.is_populated() {
            tracing::warn!(open, "connections that did not finish are cut");
            break;
        }
        if waited > TELL_AFTER && !told {
            told = true;
            tracing::warn!(open, "the command has ended; waiting for its connections (Ctrl-C cuts them)");
        }
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            _ = signals.next() => break,
        }
    }
    // Again and again: one may be accepted while the others are cut.
    while node.live().count() > 0 {
        node.live().cut();
        tokio::time::sleep(POLL).await;
    }
}

/// Connections that are established and that the proxy has not accepted yet.
fn unaccepted(node: &mut Node) -> u64 {
    let Ok(counters) = node.control().counters() else { return 0 };
    count_of(&counters, Counter::SockOpsHandedOver)
        .saturating_sub(count_of(&counters, Counter::SockOpsCollected))
        .saturating_sub(node.live().accepted())
}

/// Connections that were not brought to the proxy although they should have been: how many, and why.
pub(super) fn went_direct(node: &mut Node) -> Vec<(u64, &'static str)> {
    let Ok(counters) = node.control().counters() else { return Vec::new() };
    [
        (Counter::ConnectHeartbeatStale, "the proxy was stopped, or hung"),
        (
            Counter::ConnectListenerGone,
            "they are of another network namespace, where the proxy does not listen",
        ),
        (Counter::ConnectNoListener, "the proxy has no listener of their address family (is lo up?)"),
        (Counter::ConnectStorageFailed, "the kernel had no room to keep their destinations"),
    ]
    .into_iter()
    .map(|(counter, reason)| (count_of(&counters, counter), reason))
    .filter(|(count, _)| *count > 0)
    .collect()
}

/// The processes of the command that go on, by name and id. Those that are about to end get a moment.
pub(super) async fn left_running(own_cgroup: &OwnCgroup, cgroup: &Cgroup) -> Vec<String> {
    let started = Instant::now();
    while cgroup.is_populated() && started.elapsed() < ENDING_PATIENCE {
        tokio::time::sleep(POLL).await;
    }
    let name_of = |pid: u32| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(format!("{} (pid {pid})", name.trim_end().escape_debug()))
    };
    own_cgroup.others().into_iter().filter_map(name_of).collect()
}

fn count_of(counters: &[(Counter, u64)], wanted: Counter) -> u64 {
    counters.iter().filter(|(counter, _)| *counter == wanted).map(|(_, value)| *value).sum()
}

/// Connections that went by themselves and whose close has not been reported.
fn unreported(node: &mut Node) -> u64 {
    let Ok(counters) = node.control().counters() else { return 0 };
    (count_of(&counters, Counter::ConnectSkipped) + count_of(&counters, Counter::ConnectKernelPath))
        .saturating_sub(count_of(&counters, Counter::SockOpsCloseReported))
        .saturating_sub(count_of(&counters, Counter::SockOpsEventLost))
}
