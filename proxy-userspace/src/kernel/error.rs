//! What can go wrong between sluice and the kernel.

use std::{error::Error as _, io, path::PathBuf, time::Duration};

use aya::{
    EbpfError,
    maps::MapError,
    pin::PinError,
    programs::{ProgramError, links::LinkError},
};

use super::{btf::BtfError, capabilities};

/// Why the kernel's side of something failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KernelError {
    /// No cgroup v2 hierarchy is mounted.
    #[error(
        "expected a cgroup v2 mount, found none in /proc/self/mountinfo: under `ip netns exec NAME`, which hides it, use `nsenter --net=/run/netns/NAME` in its place; else mount -t cgroup2 none /sys/fs/cgroup"
    )]
    NoCgroup2,
    /// A path that should be a cgroup v2 directory is not.
    #[error("expected a cgroup v2 directory, got {}: {reason}", path.display())]
    NotACgroup { path: PathBuf, reason: &'static str },
    /// A cgroup's file or directory could not be used.
    #[error("cannot {action} cgroup {}", path.display())]
    Cgroup { action: &'static str, path: PathBuf, source: io::Error },
    /// This process's cgroup is not to be found where cgroup v2 is mounted.
    #[error(
        "expected this process's cgroup, {membership}, below {}, the cgroup mounted at {}: they are named in different cgroup namespaces",
        root.display(), mount.display()
    )]
    CgroupUnnamed { membership: String, mount: PathBuf, root: PathBuf },
    /// The cgroup namespace in which the mounted cgroups have their names could not be entered.
    #[error(
        "cannot enter the cgroup namespace of process 1, to find this process's cgroup at {}: a container that has the node's cgroups needs the node's process ids (hostPID), CAP_SYS_ADMIN and CAP_SYS_PTRACE",
        mount.display()
    )]
    CgroupNamespace { mount: PathBuf, source: io::Error },
    /// A network namespace could not be used.
    #[error("cannot {action} network namespace {}", path.display())]
    Netns { action: &'static str, path: PathBuf, source: io::Error },
    /// The embedded object could not be loaded. The text of aya's error has its causes in it.
    #[error("cannot load the maps: {reason}")]
    Load { reason: String },
    /// The kernel refused a map.
    #[error("the kernel refused map {map}{}", capabilities::told(missing))]
    MapRefused { map: String, missing: Vec<&'static str>, source: io::Error },
    /// The kernel refused a program.
    #[error(
        "the kernel refused program {program}{}{}", capabilities::told(missing),
        verifier.as_ref().map(|line| format!(": verifier: {line}")).unwrap_or_default()
    )]
    ProgramRefused {
        program: &'static str,
        missing: Vec<&'static str>,
        verifier: Option<String>,
        source: io::Error,
    },
    /// A program could not be attached.
    #[error("cannot use program {program}{}", capabilities::told(missing))]
    Program { program: &'static str, missing: Vec<&'static str>, source: Box<ProgramError> },
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

impl KernelError {
    /// The error and its causes, on one line.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&first_line(&cause.to_string()));
            source = cause.source();
        }
        text
    }

    /// The embedded object could not be loaded.
    pub(super) fn load(source: EbpfError) -> Self {
        if let EbpfError::MapError(MapError::CreateError { name, io_error }) = source {
            return Self::MapRefused { map: name, missing: capabilities::missing(), source: io_error };
        }
        Self::Load { reason: first_line(&source.to_string()) }
    }

    /// The kernel refused what aya has no method for.
    pub(super) fn refused(program: &'static str, source: io::Error) -> Self {
        Self::ProgramRefused { program, missing: capabilities::missing(), verifier: None, source }
    }

    /// A program could not be loaded or attached. The verifier's log goes to the log: it has pages.
    pub(super) fn program(program: &'static str, source: ProgramError) -> Self {
        let missing = capabilities::missing();
        if let ProgramError::LoadError { io_error, verifier_log } = source {
            let log = verifier_log.to_string();
            tracing::debug!(program, "the verifier's log:\n{log}");
            return Self::ProgramRefused {
                program,
                missing,
                verifier: verifier_line(&log),
                source: io_error,
            };
        }
        Self::Program { program, missing, source: Box::new(source) }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// What the verifier complains of, of the pages that it prints: the last line that is not about what it
/// was looking at.
fn verifier_line(log: &str) -> Option<String> {
    log.lines().map(str::trim).rfind(|line| !line.is_empty() && !is_detail(line)).map(str::to_owned)
}

/// Whether a line is a statistic, a state of the registers, a line of the source or an instruction.
fn is_detail(line: &str) -> bool {
    const STARTS: [&str; 12] = [
        "processed ",
        "verification time",
        "stack depth",
        "max_states",
        "cur state:",
        "old state:",
        "from ",
        "mark_precise:",
        "parent ",
        "last_idx ",
        "regs=",
        ";",
    ];
    let is_numbered = line.split_once(':').is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    let is_register = line.split_once('=').is_some_and(|(name, _)| {
        name.strip_prefix('R').is_some_and(|number| number.starts_with(|first: char| first.is_ascii_digit()))
            && !name.contains(' ')
    });
    is_numbered || is_register || STARTS.iter().any(|start| line.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verifier_s_complaint_is_found_among_its_states() {
        let log = "36: (57) r2 &= 1                      ; R2=scalar(smin=smin32=0)\n\
                   37: (55) if r2 != 0x0 goto pc+16      ; R2=0\n\
                   ; fn lt(&self, other: &Self) -> bool { *self <  *other } @ cmp.rs:1915\n\
                   infinite loop detected at insn 38\n\
                   cur state: R0=map_value(map=SETTINGS,ks=4,vs=32) R1=1\n\
                   old state: R0=map_value(map=SETTINGS,ks=4,vs=32) R1=1\n\
                   verification time 3112 usec\nstack depth 216+0\nprocessed 841 insns (limit 1000000)\n";
        assert_eq!(verifier_line(log).as_deref(), Some("infinite loop detected at insn 38"));
        let log = "2: (61) r1 = *(u32 *)(r1 +36)\nR0 tried to add from different maps, paths or scalars\n\n";
        assert_eq!(
            verifier_line(log).as_deref(),
            Some("R0 tried to add from different maps, paths or scalars")
        );
        assert_eq!(verifier_line("0: R1=ctx() R10=fp0\nR1=ctx() R10=fp0\n"), None);
        assert_eq!(verifier_line(""), None);
    }

    #[test]
    fn a_refusal_is_one_line_that_names_what_is_missing() {
        let error = KernelError::ProgramRefused {
            program: "connect4",
            missing: vec!["CAP_PERFMON"],
            verifier: Some("infinite loop detected at insn 38".to_owned()),
            source: io::Error::from_raw_os_error(libc::EINVAL),
        };
        let text = format!("{:#}", anyhow::Error::from(error));
        assert_eq!(
            text,
            "the kernel refused program connect4: CAP_PERFMON is missing: verifier: infinite loop detected at \
             insn 38: Invalid argument (os error 22)"
        );
        let error = KernelError::load(EbpfError::MapError(MapError::CreateError {
            name: "EVENTS".to_owned(),
            io_error: io::Error::from_raw_os_error(libc::EPERM),
        }));
        let text = format!("{:#}", anyhow::Error::from(error));
        assert_eq!(text.matches("EVENTS").count(), 1, "{text}");
    }
}
