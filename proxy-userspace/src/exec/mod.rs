//! `sluice exec`: one command's connections through the dataplane, and what was seen of them.

mod child;
mod drain;
mod signals;

use std::{
    ffi::{OsStr, OsString},
    io::{self, Write as _},
    net::SocketAddr,
    num::NonZeroU8,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

use proxy_common::LogLevel;
use tokio::runtime::Handle;

pub(crate) use self::{child::Outcome, signals::die_by};
use self::{
    child::{Child, User},
    signals::Signals,
};
use crate::{
    admin::{AdminError, AdminServer, AdminState},
    agent::{self, EnrolError, Node, NodeOptions, NotRoot, WorkloadSpec, descriptors},
    connection::ReportSink,
    kernel::{Cgroup, KernelError, OwnCgroup},
    policy::{LearnOpaque, OpaquePath, OtlpEndpoint, PortRules, SkMsgMode, compile},
    report::{ConnectionReport, ReportError, ReportFile, ReportWriter, Summary},
    spans::{Spans, SpansError},
};

/// What a command's connections are enrolled as.
const WORKLOAD: &str = "exec";
/// What the cgroups of commands begin with; the process id follows.
const CGROUP: &str = "sluice-exec";

/// How to run the command.
#[derive(Debug)]
pub(crate) struct ExecOptions {
    pub(crate) ports: PortRules,
    pub(crate) report: Option<PathBuf>,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) otlp_endpoint: Option<OtlpEndpoint>,
    pub(crate) opaque_path: OpaquePath,
    pub(crate) learn_opaque: LearnOpaque,
    pub(crate) sk_msg: SkMsgMode,
    pub(crate) threads: Option<NonZeroU8>,
    pub(crate) log_level: LogLevel,
    pub(crate) command: Vec<OsString>,
}

/// Why the command was not run, or not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    #[error("already under `sluice exec`: its connections go through the proxy as they are")]
    Nested,
    #[error(transparent)]
    NotRoot(#[from] NotRoot),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    Spans(#[from] SpansError),
    #[error("cannot block and watch signals")]
    Signals(#[source] io::Error),
    #[error("cannot raise the limit of descriptors")]
    Descriptors(#[source] io::Error),
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    #[error("cannot run '{}'", command.display())]
    Spawn { command: OsString, source: io::Error },
    #[error("expected a user id in SUDO_UID and a group id in SUDO_GID, or neither, got {uid} and {gid}")]
    SudoIds { uid: String, gid: String },
    #[error("cannot look up the account of the caller of sudo, user {uid}")]
    SudoAccount { uid: u32, source: io::Error },
    #[error("cannot act as the caller of sudo")]
    ActAsUser(#[source] io::Error),
    #[error("cannot wait for the command")]
    Wait(#[source] io::Error),
}

/// Runs the command to its end.
///
/// # Errors
/// Before the command was started; then it was not run.
pub(crate) fn exec(options: ExecOptions) -> Result<Outcome, ExecError> {
    // By the cgroup, which the command cannot change as it can its environment.
    if Cgroup::path_of_this_process()?.components().any(|part| is_of_exec(part.as_os_str())) {
        return Err(ExecError::Nested);
    }
    agent::require_root("sluice exec")?;
    let user = User::of_sudo()?;
    // While signals still end this process: a FIFO may have to wait for its reader.
    let report = open_report(options.report.as_deref(), user.as_ref())?;
    // Before there are other threads, so that every one of them has the mask.
    signals::block().map_err(ExecError::Signals)?;
    let threads = options.threads.unwrap_or_else(agent::default_threads);
    agent::block_on(threads, |connections| run(options, user, report, connections))
        .map_err(ExecError::Runtime)?
}

/// Opens the report as the caller of sudo, so that it is theirs and they may write it.
fn open_report(path: Option<&Path>, user: Option<&User>) -> Result<Option<ReportFile>, ExecError> {
    let open = || path.map(ReportFile::open).transpose();
    Ok(match user {
        Some(user) => user.acting(open).map_err(ExecError::ActAsUser)?,
        None => open(),
    }?)
}

fn is_of_exec(cgroup: &OsStr) -> bool {
    cgroup.to_str().is_some_and(|name| name.strip_prefix(CGROUP).is_some_and(|rest| rest.starts_with('-')))
}

async fn run(
    options: ExecOptions,
    user: Option<User>,
    report: Option<ReportFile>,
    connections: Handle,
) -> Result<Outcome, ExecError> {
    let descriptors = descriptors::raise_limit().map_err(ExecError::Descriptors)?;
    let admin = options.admin.map(AdminServer::bind).transpose()?;
    let reports = Reports::new(report)?;
    let (spans, exporting) = options.otlp_endpoint.as_ref().map(Spans::start).transpose()?.unzip();
    let own_cgroup = OwnCgroup::enter(CGROUP)?;
    let mut node = Node::start(NodeOptions {
        pin_dir: None,
        sk_msg: options.sk_msg,
        own_cgroup: own_cgroup.of_proxy(),
        connections,
        log_level: options.log_level,
        reports: Some(reports.sink()),
        spans,
    })?;
    let cgroup = own_cgroup.create("command")?;
    node.apply(vec![WorkloadSpec {
        include_loopback: true,
        report_skipped: true,
        sk_msg: options.sk_msg,
        opaque_path: options.opaque_path,
        learn_opaque: options.learn_opaque,
        ..WorkloadSpec::new(WORKLOAD, cgroup.try_clone()?, compile(&options.ports, &PortRules::default()))
    }])
    .map_err(EnrolError::into_cause)?;
    if let Some(admin) = admin {
        // The kernel may have chosen the port. A closed stderr takes no message.
        let _nobody_reads =
            writeln!(io::stderr(), "sluice: the admin address is http://{}", admin.local_addr());
        let state = AdminState { metrics: node.metrics().clone(), ready: Arc::new(AtomicBool::new(true)) };
        tokio::spawn(admin.serve(state, std::future::pending()));
    }
    let mut signals = Signals::watch().map_err(ExecError::Signals)?;

    let mut child = Child::spawn(&options.command, &cgroup, user.as_ref(), descriptors)?;
    let outcome = child.wait(&mut signals).await?;
    drain::drain(&mut node, &cgroup, &mut signals).await;

    node.finish_accounts().await;
    let direct = drain::went_direct(&mut node);
    let left = drain::left_running(&own_cgroup, &cgroup).await;
    drop(node);
    if let Some(exporting) = exporting {
        exporting.finish().await;
    }
    reports.finish();
    for (count, reason) in direct {
        tracing::warn!(count, "connections went direct, and are not reported: {reason}");
    }
    if !left.is_empty() {
        tracing::warn!("{}", without_sluice(&left));
    }
    Ok(outcome)
}

/// What is said of processes that the command left running.
fn without_sluice(left: &[String]) -> String {
    const NAMED: usize = 3;
    let (noun, verb) = if left.len() == 1 { ("process", "goes") } else { ("processes", "go") };
    let (named, rest) = left.split_at(left.len().min(NAMED));
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    format!("{} {noun} of the command {verb} on without sluice: {}{more}", left.len(), named.join(", "))
}

/// Where the command's finished connections are reported. Clones share it.
#[derive(Clone)]
struct Reports {
    writer: Option<Arc<ReportWriter>>,
    summary: Arc<Mutex<Summary>>,
}

impl Reports {
    fn new(file: Option<ReportFile>) -> Result<Self, ExecError> {
        let writer = file.map(ReportWriter::start).transpose()?;
        Ok(Self { writer: writer.map(Arc::new), summary: Arc::default() })
    }

    fn sink(&self) -> ReportSink {
        let reports = self.clone();
        Arc::new(move |report| reports.record(&report))
    }

    fn record(&self, report: &ConnectionReport) {
        if let Some(writer) = &self.writer {
            writer.write(report);
        }
        self.summary.lock().unwrap_or_else(PoisonError::into_inner).record(report);
    }

    /// Completes the report file, and prints the summary.
    fn finish(&self) {
        if let Some(finished) = self.writer.as_ref().map(|writer| writer.finish()) {
            if let Some(error) = finished.error {
                tracing::error!(%error, lost = finished.lost, "the report is not complete");
            } else if finished.lost > 0 {
                tracing::error!(lost = finished.lost, "the report is not complete");
            }
        }
        let summary = self.summary.lock().unwrap_or_else(PoisonError::into_inner);
        // A closed stderr takes no summary.
        let _nobody_reads = summary.print(&mut io::stderr().lock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_are_left_are_named_up_to_three() {
        let left = |count: usize| (1..=count).map(|pid| format!("nginx (pid {pid})")).collect::<Vec<_>>();
        assert_eq!(
            without_sluice(&left(1)),
            "1 process of the command goes on without sluice: nginx (pid 1)"
        );
        assert_eq!(
            without_sluice(&left(5)),
            "5 processes of the command go on without sluice: nginx (pid 1), nginx (pid 2), nginx (pid 3) and 2 more"
        );
    }
}
