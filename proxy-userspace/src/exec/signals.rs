//! Signals that are meant for the command.

use std::io;

use nix::{
    sys::{
        resource::{Resource, setrlimit},
        signal::{self, SigHandler, SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::Pid,
};
use tokio::io::{Interest, unix::AsyncFd};

/// What is passed on. The others keep their effect on this process.
const FORWARDED: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// `si_code` of a signal that the kernel sent: of a terminal, which sends it to the command as well.
const SI_KERNEL: i32 = 0x80;

/// Keeps the signals from this process, and from the threads that it will start.
pub(super) fn block() -> io::Result<()> {
    Ok(forwarded().thread_block()?)
}

/// Gives a child its signals back. Called between fork and exec.
pub(super) fn unblock_in_child() -> io::Result<()> {
    Ok(forwarded().thread_unblock()?)
}

fn forwarded() -> SigSet {
    FORWARDED.into_iter().collect()
}

/// The blocked signals, as they come.
pub(super) struct Signals {
    fd: AsyncFd<SignalFd>,
}

/// A signal, and whether the command has got it too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    pub(super) signal: Signal,
    pub(super) from_terminal: bool,
}

impl Signals {
    pub(super) fn watch() -> io::Result<Self> {
        let fd = SignalFd::with_flags(&forwarded(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        #[expect(unsafe_code, reason = "tokio's promise that a watched descriptor stays open")]
        // SAFETY: the signalfd owns its descriptor, and keeps it open.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Self { fd })
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> io::Result<Received> {
        loop {
            let mut ready = self.fd.readable_mut().await?;
            let Some(info) = ready.get_inner_mut().read_signal()? else {
                ready.clear_ready();
                continue;
            };
            let number = i32::try_from(info.ssi_signo).map_err(io::Error::other)?;
            return Ok(Received {
                signal: Signal::try_from(number)?,
                from_terminal: info.ssi_code == SI_KERNEL,
            });
        }
    }
}

/// Sends a signal to the command.
pub(super) fn send(pid: Pid, signal: Signal) {
    if let Err(error) = signal::kill(pid, signal) {
        tracing::debug!(%pid, %signal, %error, "the command is gone");
    }
}

/// Ends this process as the command ended: by the same signal. Returns where that signal does not end
/// a process.
pub(crate) fn die_by(number: i32) {
    let Ok(signal) = Signal::try_from(number) else { return };
    // The command has left its core; this process's would overwrite it.
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        tracing::debug!(%error, "there may be a second core");
    }
    #[expect(unsafe_code, reason = "sigaction(2); the default action runs no code of ours")]
    // SAFETY: no handler is installed.
    let restored = unsafe { signal::signal(signal, SigHandler::SigDfl) };
    if restored.is_ok() && SigSet::from(signal).thread_unblock().is_ok() && signal::raise(signal).is_ok() {
        tracing::debug!(%signal, "did not end this process");
    }
}
