//! `sluice run`: a node driven by a config file, reloaded when it changes, and by a cluster.

mod agent;

use std::{
    io,
    num::NonZeroU8,
    path::PathBuf,
    sync::{Arc, PoisonError, atomic::AtomicBool, atomic::Ordering},
    time::Duration,
};

use proxy_common::LogLevel;
use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

use self::agent::{Agent, Surroundings};
use super::{
    EnrolError, NotRoot,
    config_file::ConfigFile,
    descriptors,
    pods::{Pods, PodsError},
    require_root,
    runtime::{block_on, default_threads},
};
use crate::{
    admin::{AdminError, AdminServer, AdminState},
    config::{Config, ConfigError},
    kernel::{KernelError, OwnCgroup, Pins},
    policy::EnrolMode,
    spans::{Spans, SpansError},
    tap::{self, Answers, SocketError},
};

/// How often the config file and the places of the workloads are looked at.
const CONFIG_POLL: Duration = Duration::from_millis(500);

/// When `/ready` says so although the cluster could not be listed: an API server that stays away must not
/// hold up the node.
const READY_AT_LAST: Duration = Duration::from_secs(60);

/// How to run the agent.
#[derive(Debug)]
pub(crate) struct RunOptions {
    pub(crate) config: PathBuf,
    /// Which pods are enrolled, whatever the config says.
    pub(crate) enrol: Option<EnrolMode>,
    /// How many threads connections have, whatever the config says.
    pub(crate) threads: Option<NonZeroU8>,
    pub(crate) pin_dir: PathBuf,
    /// Where taps ask; `None` is the socket that is named after the pins.
    pub(crate) control_socket: Option<PathBuf>,
    pub(crate) log_level: LogLevel,
}

/// Why the agent did not start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error(transparent)]
    Spans(#[from] SpansError),
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    #[error(transparent)]
    NotRoot(#[from] NotRoot),
    #[error(transparent)]
    Pods(#[from] PodsError),
    #[error("--enrol is for the pods of a cluster: expected a table [kubernetes] in {}", path.display())]
    EnrolWithoutCluster { path: PathBuf },
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
    #[error("cannot start the threads of connections")]
    Runtime(#[source] io::Error),
}

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// When it does not start, or cannot go on.
pub(crate) fn run(options: RunOptions) -> Result<(), RunError> {
    require_root("sluice run")?;
    let mut file = ConfigFile::new(options.config.clone(), options.enrol);
    let config = file.load()?;
    if options.enrol.is_some() && config.kubernetes.is_none() {
        return Err(RunError::EnrolWithoutCluster { path: options.config });
    }
    let threads = options.threads.or(config.threads).unwrap_or_else(default_threads);
    block_on(threads, |connections| drive(options, file, config, connections)).map_err(RunError::Runtime)?
}

async fn drive(
    options: RunOptions,
    mut file: ConfigFile,
    config: Config,
    connections: Handle,
) -> Result<(), RunError> {
    // Before the pins are claimed: an agent that gives up takes the hooks of a killed one with it. Where
    // another agent has the pins, it most likely has the address too, and is what to tell of.
    let admin = AdminServer::bind(config.admin).map_err(|error| match Pins::open(&options.pin_dir) {
        Ok(pins) if pins.is_claimed() => KernelError::AlreadyRunning { path: options.pin_dir.clone() }.into(),
        _ => RunError::from(error),
    })?;
    let mut stop = Stop::watch().map_err(RunError::Signals)?;
    let mut reload = signal(SignalKind::hangup()).map_err(RunError::Signals)?;

    if let Err(error) = descriptors::raise_limit() {
        tracing::warn!(%error, "the limit of descriptors stays as it is");
    }
    let own_cgroup = OwnCgroup::enter("sluice-agent")?;
    let (spans, exporting) = config.otlp_endpoint.as_ref().map(Spans::start).transpose()?.unzip();
    let pods = Pods::start(&config).await?;
    let surroundings = Surroundings { own_cgroup: own_cgroup.of_proxy(), connections, spans };
    let mut agent = Agent::start(&config, &options, surroundings, &admin, pods)?;
    // Once the pins are this agent's: a socket that answers is not that of another one with the same pins.
    let control_socket =
        options.control_socket.clone().unwrap_or_else(|| tap::default_path(&options.pin_dir));
    let told = Arc::clone(&agent.told);
    let pods = move || {
        let view = told.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.view();
        serde_json::to_value(view).ok()
    };
    let answers = Answers::new(agent.node.tap().clone(), pods);
    let taps = tap::Server::bind(&control_socket, answers)?;
    agent.apply(config)?;
    agent.tell_of_pods();
    agent.publish();
    agent.node.dataplane().remove_stale_pins();
    let ready = Arc::new(AtomicBool::new(agent.pods.is_none()));
    let ready_at_last = Instant::now() + READY_AT_LAST;
    let state = AdminState { metrics: agent.node.metrics().clone(), ready: Arc::clone(&ready) };
    tracing::info!(
        workloads = agent.config.workloads.len(),
        admin = %admin.local_addr(),
        pins = %options.pin_dir.display(),
        control_socket = %control_socket.display(),
        sk_msg = %agent.status.sk_msg,
        "ready"
    );
    let (closing, closed) = tokio::sync::watch::channel(());
    let closing_of = |mut closed: tokio::sync::watch::Receiver<()>| async move {
        let _sender_gone = closed.changed().await;
    };
    let serving = tokio::spawn(admin.serve(state, closing_of(closed.clone())));
    let tapping = tokio::spawn(taps.serve(closing_of(closed)));

    let mut poll = tokio::time::interval(CONFIG_POLL);
    poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.wait() => break,
            _ = reload.recv() => agent.reload(&mut file),
            _ = poll.tick() => {
                if file.has_settled() {
                    agent.reload(&mut file);
                }
                agent.follow_workloads();
                if agent.pods.as_ref().is_some_and(Pods::have_moved) {
                    agent.follow_pods();
                } else {
                    agent.tell_of_pods();
                }
            }
            () = due(&mut agent.pods) => agent.follow_pods(),
        }
        if !ready.load(Ordering::Relaxed) {
            let is_late = Instant::now() >= ready_at_last;
            if is_late {
                tracing::warn!("the cluster could not be listed so far; ready without its pods");
            }
            let have_pods = agent.pods.as_ref().is_none_or(Pods::have_been_looked_at);
            ready.store(is_late || have_pods, Ordering::Release);
        }
    }
    ready.store(false, Ordering::Relaxed);
    drop(closing);
    let _whatever_they_say = tokio::join!(serving, tapping);
    drop(agent);
    if let Some(exporting) = exporting {
        exporting.finish().await;
    }
    Ok(())
}

/// Waits until pods are to be looked at; for ever where none are followed.
async fn due(pods: &mut Option<Pods>) {
    match pods {
        Some(pods) => pods.due().await,
        None => std::future::pending().await,
    }
}

/// SIGTERM and SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn watch() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
