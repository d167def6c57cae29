//! What can go wrong between sluice and the kernel.

use std::{io, path::PathBuf, time::Duration};

use aya::{
    EbpfError,
    maps::MapError,
    pin::PinError,
    programs::{ProgramError, links::LinkError},
};

use super::btf::BtfError;

/// Why the kernel's side of something failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KernelError {
    /// No cgroup v2 hierarchy is mounted.
    #[error(
        "expected a cgroup v2 mount, found none in /proc/self/mountinfo: mount -t cgroup2 none /sys/fs/cgroup"
    )]
    NoCgroup2,
    /// A path that should be a cgroup v2 directory is not.
    #[error("expected a cgroup v2 directory, got {}: {reason}", path.display())]
    NotACgroup { path: PathBuf, reason: &'static str },
    /// A cgroup's file or directory could not be used.
    #[error("cannot {action} cgroup {}", path.display())]
    Cgroup { action: &'static str, path: PathBuf, source: io::Error },
    /// A network namespace could not be used.
    #[error("cannot {action} network namespace {}", path.display())]
    Netns { action: &'static str, path: PathBuf, source: io::Error },
    /// The embedded object could not be loaded.
    #[error("the kernel refused the maps")]
    Load(#[source] Box<EbpfError>),
    /// The kernel refused a program.
    #[error("the kernel refused program {program}{}", verifier_line(source))]
    Program { program: &'static str, source: Box<ProgramError> },
    /// The kernel does not say where `sk_msg` finds what it reads of a socket.
    #[error("sk_msg needs the kernel's description of its sockets")]
    Btf(#[source] BtfError),
    /// A hook was attached in the way of kernels before 5.7, which cannot be pinned.
    #[error("expected hook {hook} to attach by a link (Linux 5.7)")]
    Link { hook: &'static str, source: Box<LinkError> },
    /// No thread could be started for the heartbeat.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The object lacks something that this binary expects of it.
    #[error("the embedded object has no {kind} {name}")]
    Missing { kind: &'static str, name: &'static str },
    /// A map could not be read or written.
    #[error("cannot {action} map {map}")]
    Map { action: &'static str, map: &'static str, source: Box<MapError> },
    /// The port map cannot take a port config.
    #[error(
        "port map full: {needed} more port blocks needed, {used} of {capacity} in use; nothing was changed"
    )]
    PortMapFull { needed: usize, used: usize, capacity: u32 },
    /// A pin could not be made or opened.
    #[error("cannot pin to {}", path.display())]
    Pin { path: PathBuf, source: Box<PinError> },
    /// The pin directory could not be used.
    #[error("cannot {action} pin directory {}", path.display())]
    PinDir { action: &'static str, path: PathBuf, source: io::Error },
    /// Nothing can be pinned there.
    #[error(
        "expected a pin directory on bpffs, got {}, which is on {filesystem}: name one that is to be made in a bpffs, such as /sys/fs/bpf/sluice; nothing was changed",
        path.display()
    )]
    PinDirNotBpffs { path: PathBuf, filesystem: String },
    /// Every program's pins may be there.
    #[error("expected a pin directory of sluice's own, got {}, where every program pins: name one in it; nothing was changed", path.display())]
    PinDirShared { path: PathBuf },
    /// Something is there that is not ours.
    #[error(
        "expected a pin directory with nothing but sluice's pins, but {} is in it: name one that is to be made, such as {}; nothing was changed",
        stranger.display(), path.join("sluice").display()
    )]
    PinDirNotEmpty { path: PathBuf, stranger: PathBuf },
    /// Another user could replace what is pinned.
    #[error("expected {} to be root's alone: {reason}", path.display())]
    PinDirNotOurs { path: PathBuf, reason: String },
    /// Somebody else is changing the maps, and does not finish.
    #[error("another `sluice ports` is holding {}: it did not finish in {waited:?}; nothing was changed", path.display())]
    PinsLocked { path: PathBuf, waited: Duration },
    /// Another agent runs on the same pin directory.
    #[error("another agent is running on pin directory {}", path.display())]
    AlreadyRunning { path: PathBuf },
    /// There is nothing pinned: no agent runs, or it uses another directory.
    #[error("no running agent: nothing is pinned in {} (is `sluice run` up, with this --pin-dir?)", path.display())]
    NotRunning { path: PathBuf },
    /// A workload's name does not fit into the maps.
    #[error("expected a workload name of 1 to {} bytes, got '{name}'", proxy_common::WorkloadName::MAX_LEN)]
    WorkloadName { name: String },
    /// A workload's name is not enrolled.
    #[error("no workload named '{name}'; enrolled: {}", if enrolled.is_empty() { "none".to_owned() } else { enrolled.join(", ") })]
    UnknownWorkload { name: String, enrolled: Vec<String> },
}

/// The verifier's last word, of the pages that it prints.
fn verifier_line(error: &ProgramError) -> String {
    let ProgramError::LoadError { verifier_log, .. } = error else { return String::new() };
    let log = verifier_log.to_string();
    let line = log.lines().rev().map(str::trim).find(|line| !line.is_empty() && !is_statistic(line));
    line.map(|line| format!(": verifier: {line}")).unwrap_or_default()
}

fn is_statistic(line: &str) -> bool {
    ["processed ", "verification time", "stack depth", "max_states"]
        .iter()
        .any(|start| line.starts_with(start))
}
