//! What the programs are told by the agent, and what the agent tells the CLI.

/// How much the programs log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum LogLevel {
    /// Nothing: no log call is reached.
    Off = 0,
    /// What went wrong.
    Warn = 1,
    /// Every decision.
    Debug = 2,
}

/// SO_PRIORITY of every listener of every sluice: so the hooks of one know what another has redirected,
/// where cgroups are nested. An accepted socket does not inherit it (`sk_clone_lock`); only SYN-ACKs on
/// loopback bear it. Above 6, so that setting it takes CAP_NET_ADMIN or CAP_NET_RAW (seen on 6.18).
pub const LISTENER_PRIORITY: u32 = 0x736c_6365;

/// The one entry of the `SETTINGS` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct Settings {
    /// Bit *n*: a workload's cgroup is *n* levels below the root of the hierarchy.
    pub cgroup_levels: u32,
    /// A [`LogLevel`].
    pub log_level: u32,
    /// 1 when new connections of workloads that allow it may use `sk_msg`, else 0.
    pub sk_msg: u32,
    /// 1 when connections between workloads that allow it may be bypassed, else 0.
    pub same_node_bypass: u32,
    /// The byte fuse: redirected and not yet consumed bytes above which a connection turns native.
    pub sk_msg_fuse_bytes: u64,
    /// Age in nanoseconds above which the proxy's heartbeat is stale.
    pub heartbeat_max_age_ns: u64,
}

/// Length of [`AgentBlob`], bytes.
pub const AGENT_BLOB_LEN: usize = 4096;

/// The one entry of the `AGENT` map: what the running agent says of itself, as JSON.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct AgentBlob {
    /// UTF-8 JSON, filled up with zeros.
    pub json: [u8; AGENT_BLOB_LEN],
}
