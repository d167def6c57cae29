//! The command: started in its cgroup, without this process's privileges, waited for.

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::ExitStatus,
};

use nix::unistd::{
    Gid, Pid, Uid, User as Account, getgrouplist, getgroups, setfsgid, setfsuid, setgid, setgroups, setuid,
};

use super::{
    ExecError,
    signals::{self, Signals},
};
use crate::{agent::descriptors::restore_limit, kernel::Cgroup};

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

impl From<ExitStatus> for Outcome {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, Some(signal)) => Self::Signalled(signal),
            (None, None) => Self::Exited(1),
        }
    }
}

/// Who called sudo: the command runs as they, not as root.
#[derive(Clone, Debug)]
pub(super) struct User {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl User {
    /// The caller of sudo; `None` where there was no sudo.
    pub(super) fn of_sudo() -> Result<Option<Self>, ExecError> {
        let (Ok(uid), Ok(gid)) = (env::var("SUDO_UID"), env::var("SUDO_GID")) else { return Ok(None) };
        let (Ok(uid_number), Ok(gid_number)) = (uid.parse(), gid.parse()) else {
            return Err(ExecError::SudoIds { got: format!("{uid}:{gid}") });
        };
        let (uid, gid) = (Uid::from_raw(uid_number), Gid::from_raw(gid_number));
        if uid.is_root() || !Uid::effective().is_root() {
            return Ok(None);
        }
        // An account that has no name has no groups but its own.
        let groups = Account::from_uid(uid)
            .ok()
            .flatten()
            .and_then(|account| std::ffi::CString::new(account.name).ok())
            .and_then(|name| getgrouplist(&name, gid).ok())
            .unwrap_or_else(|| vec![gid]);
        Ok(Some(Self { uid, gid, groups }))
    }

    /// Does something with their rights to files. Call it before there are other threads that open any.
    pub(super) fn acting<T>(&self, act: impl FnOnce() -> T) -> io::Result<T> {
        let groups = getgroups()?;
        setgroups(&self.groups)?;
        let (uid, gid) = (setfsuid(self.uid), setfsgid(self.gid));
        let result = act();
        setfsuid(uid);
        setfsgid(gid);
        setgroups(&groups)?;
        Ok(result)
    }

    fn become_in_child(&self) -> io::Result<()> {
        setgroups(&self.groups)?;
        setgid(self.gid)?;
        Ok(setuid(self.uid)?)
    }
}

/// The running command.
pub(super) struct Child {
    process: tokio::process::Child,
    pid: Pid,
}

impl Child {
    /// Starts the command in `cgroup`, with `descriptors` as its soft limit of open files.
    pub(super) fn spawn(
        command: &[OsString],
        cgroup: &Cgroup,
        user: Option<&User>,
        descriptors: u64,
    ) -> Result<Self, ExecError> {
        let (program, arguments) = command.split_first().ok_or_else(|| ExecError::Spawn {
            command: OsString::new(),
            source: io::ErrorKind::NotFound.into(),
        })?;
        let error = |source| ExecError::Spawn { command: program.clone(), source };
        let mut membership =
            File::options().write(true).open(cgroup.path().join("cgroup.procs")).map_err(error)?;
        let user = user.cloned();
        let mut prepared = std::process::Command::new(program);
        prepared.args(arguments);
        let in_child = move || {
            membership.write_all(b"0")?;
            signals::unblock_in_child()?;
            restore_limit(descriptors)?;
            user.as_ref().map_or(Ok(()), User::become_in_child)
        };
        #[expect(unsafe_code, reason = "std runs the closure between fork and exec")]
        // SAFETY: the closure makes system calls on what was prepared before the fork; it does not
        // allocate, lock or unwind.
        unsafe {
            prepared.pre_exec(in_child);
        }
        let process = tokio::process::Command::from(prepared).spawn().map_err(error)?;
        let pid = process.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let pid = pid.ok_or_else(|| error(io::ErrorKind::NotFound.into()))?;
        Ok(Self { process, pid })
    }

    /// Waits for the command to end, and passes signals on until then.
    pub(super) async fn wait(&mut self, signals: &mut Signals) -> Result<Outcome, ExecError> {
        loop {
            tokio::select! {
                ended = self.process.wait() => return ended.map(Outcome::from).map_err(ExecError::Wait),
                received = signals.next() => {
                    let received = received.map_err(ExecError::Signals)?;
                    if !received.from_terminal {
                        signals::send(self.pid, received.signal);
                    }
                }
            }
        }
    }
}
