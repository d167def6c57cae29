//! `sluice exec`: one command's connections through the dataplane, and what was seen of them.

mod child;
mod drain;
mod signals;

use std::{
    ffi::{OsStr, OsString},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
};

use proxy_common::{Decision, Direction, LogLevel};
use tokio::sync::oneshot;

use self::{child::Child, signals::Signals};
pub(crate) use self::{child::Outcome, signals::die_by};
use crate::{
    admin::{AdminError, AdminServer, AdminState},
    agent::{self, Node, NodeOptions, WorkloadSpec, descriptors},
    connection::ReportSink,
    kernel::{Cgroup, ClosedEvents, KernelError, OwnCgroup, SkippedConnection, SkippedEnding},
    metrics::CloseReason,
    policy::{OtlpEndpoint, PortRules, SkMsgMode, compile},
    report::{ConnectionReport, ReportError, ReportWriter, Requests, Summary},
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
    pub(crate) sk_msg: SkMsgMode,
    pub(crate) log_level: LogLevel,
    pub(crate) command: Vec<OsString>,
}

/// Why the command was not run, or not as it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecError {
    #[error("already under `sluice exec`: its connections go through the proxy as they are")]
    Nested,
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
    #[error("expected a user id in SUDO_UID and a group id in SUDO_GID, got '{got}'")]
    SudoIds { got: String },
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
    // Before there are other threads, so that every one of them has the mask.
    signals::block().map_err(ExecError::Signals)?;
    let runtime = agent::runtime().map_err(ExecError::Runtime)?;
    runtime.block_on(run(options))
}

fn is_of_exec(cgroup: &OsStr) -> bool {
    cgroup.to_str().is_some_and(|name| name.strip_prefix(CGROUP).is_some_and(|rest| rest.starts_with('-')))
}

async fn run(options: ExecOptions) -> Result<Outcome, ExecError> {
    let user = child::User::of_sudo()?;
    let descriptors = descriptors::raise_limit().map_err(ExecError::Descriptors)?;
    let admin = options.admin.map(AdminServer::bind).transpose()?;
    let reports = Reports::new(options.report.as_deref(), user.as_ref())?;
    let (spans, exporting) = options.otlp_endpoint.as_ref().map(Spans::start).transpose()?.unzip();
    let own_cgroup = OwnCgroup::enter(CGROUP)?;
    let mut node = Node::start(NodeOptions {
        pin_dir: None,
        sk_msg: options.sk_msg,
        own_cgroup: own_cgroup.of_proxy(),
        log_level: options.log_level,
        reports: Some(reports.sink()),
        spans,
    })?;
    let cgroup = own_cgroup.create("command")?;
    node.apply(vec![WorkloadSpec {
        include_loopback: true,
        report_skipped: true,
        sk_msg: options.sk_msg,
        ..WorkloadSpec::new(WORKLOAD, cgroup.try_clone()?, compile(&options.ports, &PortRules::default()))
    }])?;
    let (stop, stopped) = oneshot::channel();
    let skipped = tokio::spawn(report_skipped(node.dataplane().closed_events()?, reports.clone(), stopped));
    if let Some(admin) = admin {
        let state = AdminState { metrics: node.metrics().clone(), ready: Arc::new(AtomicBool::new(true)) };
        tokio::spawn(admin.serve(state, std::future::pending()));
    }
    let mut signals = Signals::watch().map_err(ExecError::Signals)?;

    let mut child = Child::spawn(&options.command, &cgroup, user.as_ref(), descriptors)?;
    let outcome = child.wait(&mut signals).await?;
    drain::drain(&mut node, &cgroup, &mut signals).await;

    let _reader_gone = stop.send(());
    let _whatever_it_says = skipped.await;
    let direct = drain::went_direct(&mut node);
    drop(node);
    if let Some(exporting) = exporting {
        exporting.finish().await;
    }
    reports.finish();
    if direct > 0 {
        tracing::warn!(
            direct,
            "connections went direct while the proxy was stopped or busy; they are not reported"
        );
    }
    Ok(outcome)
}

/// Reports the skipped connections that the kernel saw the end of, until told to stop.
async fn report_skipped(mut events: ClosedEvents, reports: Reports, mut stop: oneshot::Receiver<()>) {
    loop {
        tokio::select! {
            _ = &mut stop => break,
            waited = events.wait(|connection| reports.skipped(&connection)) => {
                if let Err(error) = waited {
                    tracing::warn!(%error, "skipped connections go unreported");
                    return;
                }
            }
        }
    }
    events.drain(|connection| reports.skipped(&connection));
}

/// Where the command's finished connections are reported. Clones share it.
#[derive(Clone)]
struct Reports {
    writer: Option<Arc<ReportWriter>>,
    summary: Arc<Mutex<Summary>>,
}

impl Reports {
    fn new(path: Option<&Path>, user: Option<&child::User>) -> Result<Self, ExecError> {
        // The file is opened as the caller of sudo, so that it is theirs and they may write it.
        let create = || path.map(ReportWriter::create).transpose();
        let writer = match user {
            Some(user) => user.acting(create).map_err(ExecError::ActAsUser)?,
            None => create(),
        }?;
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

    fn skipped(&self, connection: &SkippedConnection) {
        self.record(&ConnectionReport {
            direction: Direction::Outbound,
            client: connection.client,
            dst: connection.dst,
            workload: WORKLOAD.into(),
            decision: Decision::Skip,
            protocol: None,
            detected_by: None,
            sni: None,
            alpn: Vec::new(),
            bytes_sent: connection.sent_bytes,
            bytes_received: connection.received_bytes,
            requests: Requests::default(),
            first_byte: None,
            duration: connection.duration,
            close: match connection.ending {
                SkippedEnding::Finished => CloseReason::Eof,
                SkippedEnding::Cut => CloseReason::Reset,
                SkippedEnding::NotEstablished => CloseReason::NotEstablished,
            },
        });
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
