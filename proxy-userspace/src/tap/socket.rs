//! The socket that the agent is asked over.

use std::{
    fs, io,
    os::unix::{
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// Where sockets are unless told otherwise.
pub const DEFAULT_DIRECTORY: &str = "/run/sluice";

/// The socket of the agent whose maps are pinned in `pin_dir`: named after that directory, so that agents
/// with pins of their own have sockets of their own.
#[must_use]
pub fn default_path(pin_dir: &Path) -> PathBuf {
    let mut name = pin_dir.file_name().unwrap_or("agent".as_ref()).to_owned();
    name.push(".sock");
    Path::new(DEFAULT_DIRECTORY).join(name)
}

/// Why there is no socket to be asked over.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process answers there.
    #[error("another process answers at the control socket {}", path.display())]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// Something else than a socket is there.
    #[error("expected a socket, or nothing, at {}", path.display())]
    NoSocket {
        /// What is there.
        path: PathBuf,
    },
    /// The directory that it is to be in is not there.
    #[error("expected the directory of the control socket {} to be there", path.display())]
    NoDirectory {
        /// The socket.
        path: PathBuf,
    },
    /// It cannot be made.
    #[error("cannot make the control socket {}", path.display())]
    Make {
        /// The socket.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A listening socket for its owner alone; its file is removed on drop.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the file, which somebody may have replaced.
    file: (u64, u64),
}

impl Socket {
    /// Listens. A socket that nobody answers at any more is replaced. Of directories, the default one
    /// alone is made.
    pub(super) fn bind(path: &Path) -> Result<Self, SocketError> {
        remove_dead(path)?;
        let make = || {
            if path.parent() == Some(Path::new(DEFAULT_DIRECTORY)) {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(DEFAULT_DIRECTORY)?;
            }
            let listener = UnixListener::bind(path)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
            listener.set_nonblocking(true)?;
            let file = identity(path)?;
            Ok(Self { listener, path: path.to_owned(), file })
        };
        make().map_err(|source: io::Error| {
            let path = path.to_owned();
            if source.kind() == io::ErrorKind::NotFound {
                SocketError::NoDirectory { path }
            } else {
                SocketError::Make { path, source }
            }
        })
    }

    /// The listener, for the runtime.
    pub(super) fn listener(&self) -> io::Result<tokio::net::UnixListener> {
        tokio::net::UnixListener::from_std(self.listener.try_clone()?)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            // If it stays, the next one finds it dead.
            fs::remove_file(&self.path).ok();
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Removes what a dead process left.
fn remove_dead(path: &Path) -> Result<(), SocketError> {
    let failed = |source| SocketError::Make { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(SocketError::NoSocket { path: path.to_owned() })
        }
        Ok(_socket) => match UnixStream::connect(path) {
            Ok(_answered) => Err(SocketError::Taken { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A directory that no other test uses, and that goes away.
    pub(in super::super) struct Scratch(PathBuf);

    impl Scratch {
        pub(in super::super) fn new(name: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("sluice-tap-{}-{name}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            Self(directory)
        }

        pub(in super::super) fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn an_agent_has_the_socket_that_is_named_after_its_pins() {
        let of = |pins: &str| default_path(Path::new(pins)).display().to_string();
        assert_eq!(of("/sys/fs/bpf/sluice"), "/run/sluice/sluice.sock");
        assert_eq!(of("/sys/fs/bpf/other/"), "/run/sluice/other.sock");
        assert_eq!(of("/"), "/run/sluice/agent.sock");
    }

    #[test]
    fn a_socket_is_for_its_owner_alone_and_goes_with_its_process() {
        let scratch = Scratch::new("owner");
        let path = scratch.path("control.sock");
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_that_is_not_there_is_not_made() {
        let scratch = Scratch::new("missing");
        let path = scratch.path("new/control.sock");
        let error = Socket::bind(&path).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("expected the directory of the control socket {} to be there", path.display())
        );
        assert!(!scratch.path("new").exists());
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let scratch = Scratch::new("dead");
        let path = scratch.path("control.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = Socket::bind(&path).unwrap();
        let error = Socket::bind(&path).unwrap_err();
        assert!(matches!(error, SocketError::Taken { .. }), "{error}");
        assert_eq!(
            error.to_string(),
            format!("another process answers at the control socket {}", path.display())
        );
        drop(socket);
    }

    #[test]
    fn what_is_no_socket_is_left_where_it_is() {
        let scratch = Scratch::new("file");
        let path = scratch.path("control.sock");
        fs::write(&path, "mine").unwrap();
        assert!(matches!(Socket::bind(&path).unwrap_err(), SocketError::NoSocket { .. }));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_file_that_replaced_the_socket_stays() {
        let scratch = Scratch::new("replaced");
        let path = scratch.path("control.sock");
        let socket = Socket::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        drop(socket);
        assert!(path.exists());
    }
}
