//! How many descriptors this process may have: each connection takes two.

use std::io;

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// Raises the soft limit to the hard one. Returns the soft limit as it was, for children.
///
/// # Errors
/// When the limit cannot be read or set.
pub(crate) fn raise_limit() -> io::Result<rlim_t> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(soft)
}

/// Sets the soft limit as it was. Called between fork and exec.
pub(crate) fn restore_limit(soft: rlim_t) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?)
}
