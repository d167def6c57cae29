//! The command: started in its cgroup, without this process's privileges, waited for.

use std::{
    env,
    ffi::{CString, OsString},
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
    /// `None` for an id without an account.
    account: Option<Account>,
}

impl User {
    /// The caller of sudo; `None` where there was no sudo, or root called it.
    ///
    /// # Errors
    /// When what sudo says of them is not whole: the command must not run as root by mistake.
    pub(super) fn of_sudo() -> Result<Option<Self>, ExecError> {
        let Some((uid, gid)) = sudo_ids(env::var_os("SUDO_UID"), env::var_os("SUDO_GID"))? else {
            return Ok(None);
        };
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        if uid.is_root() {
            return Ok(None);
        }
        let failed = |source: nix::Error| ExecError::SudoAccount { uid: uid.as_raw(), source: source.into() };
        let account = Account::from_uid(uid).map_err(failed)?;
        // An id that has no account has no groups but its own.
        let name = account.as_ref().and_then(|account| CString::new(account.name.clone()).ok());
        let groups = name.map_or_else(|| Ok(vec![gid]), |name| getgrouplist(&name, gid)).map_err(failed)?;
        Ok(Some(Self { uid, gid, groups, account }))
    }

    /// What in root's environment is theirs: as sudo sets it. `None` is to be left out.
    fn environment(&self) -> [(&'static str, Option<OsString>); 5] {
        let account = self.account.as_ref();
        let name = account.map(|account| OsString::from(&account.name));
        [
            ("HOME", account.map(|account| account.dir.clone().into())),
            ("SHELL", account.map(|account| account.shell.clone().into())),
            ("USER", name.clone()),
            ("LOGNAME", name),
            // Root's mailbox.
            ("MAIL", None),
        ]
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

/// The ids that sudo tells of its caller; `None` where there was no sudo.
fn sudo_ids(uid: Option<OsString>, gid: Option<OsString>) -> Result<Option<(u32, u32)>, ExecError> {
    let id = |text: &OsString| {
        // Not `parse` alone, which takes a sign. The highest number is no id: setuid(2) refuses it.
        let text = text.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        text.parse().ok().filter(|id| *id != u32::MAX)
    };
    if uid.is_none() && gid.is_none() {
        return Ok(None);
    }
    match (uid.as_ref().and_then(id), gid.as_ref().and_then(id)) {
        (Some(uid), Some(gid)) => Ok(Some((uid, gid))),
        _ => Err(ExecError::SudoIds { uid: told(uid), gid: told(gid) }),
    }
}

fn told(value: Option<OsString>) -> String {
    value
        .map_or_else(|| "nothing".to_owned(), |value| format!("'{}'", value.to_string_lossy().escape_debug()))
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
        for (variable, value) in user.iter().flat_map(User::environment) {
            match value {
                Some(value) => prepared.env(variable, value),
                None => prepared.env_remove(variable),
            };
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_sudo_are_both_there_or_neither() {
        let ids = |uid: Option<&str>, gid: Option<&str>| {
            sudo_ids(uid.map(Into::into), gid.map(Into::into)).map_err(|error| error.to_string())
        };
        assert_eq!(ids(None, None), Ok(None));
        assert_eq!(ids(Some("1000"), Some("100")), Ok(Some((1000, 100))));
        for (uid, gid, got) in [
            (Some("1000"), None, "'1000' and nothing"),
            (None, Some("1000"), "nothing and '1000'"),
            (Some("abc"), Some("1000"), "'abc' and '1000'"),
            (Some("1000"), Some("+5"), "'1000' and '+5'"),
            (Some(""), Some(""), "'' and ''"),
            (Some("4294967295"), Some("0"), "'4294967295' and '0'"),
        ] {
            let error = ids(uid, gid).unwrap_err();
            assert!(error.contains(got), "{error}");
        }
    }
}
