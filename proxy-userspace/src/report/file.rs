//! The file that reports go to: opened first, and not emptied before it is known that the command runs.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
        unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

use super::ReportError;

/// A file, a pipe or a device that is open for the report.
#[derive(Debug)]
pub struct ReportFile {
    file: File,
    path: PathBuf,
    is_shared: bool,
}

impl ReportFile {
    /// Opens the file, or makes it. An old one keeps what is in it, for now.
    ///
    /// `-`, `/dev/stdout`, `/dev/stderr` and `/dev/fd/N` are what this process was started with: the
    /// same open file, so that what the command writes to it and the report stay apart. A FIFO that
    /// nobody reads is waited for, as a shell does; call it while signals still end the process.
    ///
    /// # Errors
    /// When it cannot be opened for writing.
    pub fn open(path: &Path) -> Result<Self, ReportError> {
        let inherited = inherited(path);
        let file = inherited.map_or_else(|| open(path), duplicate);
        file.map(|file| Self { file, path: path.to_owned(), is_shared: inherited.is_some() })
            .map_err(|source| ReportError::Create { path: path.to_owned(), source })
    }

    /// Empties a file that is the report's alone. Says whether it is: then what was written can be
    /// taken back.
    pub(super) fn begin(self) -> Result<(File, bool), ReportError> {
        let Self { file, path, is_shared } = self;
        let empty = || {
            let is_own = !is_shared && file.metadata()?.is_file();
            if is_own {
                file.set_len(0)?;
            }
            Ok(is_own)
        };
        match empty() {
            Ok(is_own) => Ok((file, is_own)),
            Err(source) => Err(ReportError::Create { path, source }),
        }
    }
}

/// The number of the descriptor that a path stands for.
fn inherited(path: &Path) -> Option<RawFd> {
    let number = match path.to_str()? {
        "-" | "/dev/stdout" => return Some(1),
        "/dev/stderr" => return Some(2),
        path => path.strip_prefix("/dev/fd/").or_else(|| path.strip_prefix("/proc/self/fd/"))?,
    };
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| number.parse().ok())?
}

/// A second descriptor of an open file that this process was started with.
fn duplicate(number: RawFd) -> io::Result<File> {
    // What this process has opened by itself is none of the caller's, and closes on exec.
    fs::symlink_metadata(format!("/proc/self/fd/{number}"))?;
    #[expect(unsafe_code, reason = "a descriptor that the caller names by its number")]
    // SAFETY: it is open, as /proc says, and nothing closes it within this function.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    if FdFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFD)?).contains(FdFlag::FD_CLOEXEC) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    let is_writable =
        OFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFL)?) & OFlag::O_ACCMODE != OFlag::O_RDONLY;
    if !is_writable {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    let owned: OwnedFd = fd.try_clone_to_owned()?;
    Ok(owned.into())
}

fn open(path: &Path) -> io::Result<File> {
    let mut waiting = OpenOptions::new();
    waiting.write(true).create(true).truncate(false);
    let mut at_once = waiting.clone();
    let opened = at_once.custom_flags(libc::O_NONBLOCK).open(path);
    match opened {
        Ok(file) => {
            // The writes are to wait: they have a thread of their own.
            let flags = OFlag::from_bits_truncate(fcntl(file.as_fd(), FcntlArg::F_GETFL)?);
            fcntl(file.as_fd(), FcntlArg::F_SETFL(flags & !OFlag::O_NONBLOCK))?;
            Ok(file)
        }
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) && is_fifo(path) => {
            tracing::warn!(report = %path.display(), "waiting for somebody to read the report");
            waiting.open(path)
        }
        Err(error) => Err(error),
    }
}

fn is_fifo(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_stands_for_a_descriptor_is_known() {
        let of = |path: &str| inherited(Path::new(path));
        assert_eq!((of("-"), of("/dev/stdout"), of("/dev/stderr")), (Some(1), Some(1), Some(2)));
        assert_eq!((of("/dev/fd/63"), of("/proc/self/fd/7")), (Some(63), Some(7)));
        for path in ["./-", "report", "/dev/fd/x", "/dev/fd/-1", "/dev/fd/", "/dev/fd/1/x", "/dev/null"] {
            assert_eq!(of(path), None, "{path}");
        }
    }

    #[test]
    fn a_descriptor_of_this_process_s_own_is_not_the_caller_s() {
        let (_reader, writer) = io::pipe().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&writer);
        let error = ReportFile::open(Path::new(&format!("/dev/fd/{number}"))).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write the report to /dev/fd/{number}"));
        assert!(ReportFile::open(Path::new("/dev/fd/1234567")).is_err());
    }
}
