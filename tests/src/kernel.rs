//! The kernel that runs the tests.

/// A kernel feature that a test cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// `bpf_get_netns_cookie` in `sock_ops` programs.
    NetnsCookieInSockOps,
    /// `cgroup/getsockopt` programs that answer for the kernel.
    SetRetvalInSockopt,
}

/// Major and minor version of the running kernel.
///
/// # Panics
/// When the kernel does not say.
#[must_use]
pub fn version() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("read the kernel's release");
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
    (parts.next().expect("a major version"), parts.next().expect("a minor version"))
}

/// Why a test that needs `feature` is left out here, if it is: only below the version that brought
/// the feature. At or above it the test runs, and fails where the feature is missing.
///
/// # Panics
/// When `since` is not `major.minor`.
#[must_use]
pub fn missing(feature: Feature, since: &str) -> Option<String> {
    let (major, minor) = since.split_once('.').expect("since = major.minor");
    let since_version: (u32, u32) = (major.parse().expect("a number"), minor.parse().expect("a number"));
    let running = version();
    (running < since_version)
        .then(|| format!("needs {feature:?}, since {since}; this is {}.{}", running.0, running.1))
}

/// Leaves the tests of a [`crate::suite::Group`] out below the kernel that brought a feature, and
/// says so; at or above it they run, and fail where it is missing.
///
/// `require!(group, NetnsCookieInSockOps, since = 5.15);`
#[macro_export]
macro_rules! require {
    ($group:expr, $feature:ident, since = $since:literal) => {
        $group.require($crate::kernel::Feature::$feature, stringify!($since))
    };
}
