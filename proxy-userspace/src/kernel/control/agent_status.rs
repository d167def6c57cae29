//! What the running agent says of itself, for `sluice status`.

use std::{net::SocketAddr, path::PathBuf};

use proxy_common::{AGENT_BLOB_LEN, AgentBlob};

use super::Control;
use crate::kernel::{
    error::KernelError,
    maps::{AGENT, error},
};

/// What the running agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct AgentStatus {
    /// Process id.
    pub(crate) pid: u32,
    /// Of the binary.
    pub(crate) version: String,
    /// The admin server's address.
    pub(crate) admin: Option<SocketAddr>,
    /// The config file.
    pub(crate) config: Option<PathBuf>,
    /// Why the config file as it is now is not in force.
    pub(crate) config_error: Option<String>,
    /// Workloads of the config that are not where they were, and not enrolled until they are back.
    #[serde(default)]
    pub(crate) missing: Vec<String>,
    /// Whether `sk_msg` is in use, and why not.
    pub(crate) sk_msg: String,
    /// Whether the same-node bypass is in use, and why not.
    #[serde(default)]
    pub(crate) same_node_bypass: String,
    /// Settings of the config file that only a new agent puts in force.
    pub(crate) restart_for: Option<String>,
    /// How the pods of the node fare, where the agent follows them.
    #[serde(default)]
    pub(crate) pods: Option<PodCounts>,
}

/// How many pods of the node are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct PodCounts {
    /// Whether the cluster has been listed once.
    pub(crate) is_listed: bool,
    pub(crate) enrolled: usize,
    /// They are to be enrolled, and are not.
    pub(crate) waiting: usize,
    pub(crate) left_alone: usize,
    /// Annotations that cannot be used.
    pub(crate) problems: usize,
}

impl Control {
    /// What the agent says of itself.
    pub(crate) fn agent_status(&self) -> Result<AgentStatus, KernelError> {
        let blob = self.agent.get(&0, 0).map_err(error("read", AGENT))?;
        let len = blob.json.iter().position(|byte| *byte == 0).unwrap_or(AGENT_BLOB_LEN);
        Ok(serde_json::from_slice(&blob.json[..len]).unwrap_or_default())
    }

    /// Says something of the agent. What is too long is cut, so that the rest fits.
    pub(crate) fn set_agent_status(&mut self, status: &AgentStatus) -> Result<(), KernelError> {
        let json = status_json(status.clone());
        let mut blob = AgentBlob { json: [0; AGENT_BLOB_LEN] };
        if let Some(room) = blob.json.get_mut(..json.len()) {
            room.copy_from_slice(&json);
        }
        self.agent.set(0, blob, 0).map_err(error("write", AGENT))
    }
}

/// The status as JSON of at most [`AGENT_BLOB_LEN`] bytes.
fn status_json(mut status: AgentStatus) -> Vec<u8> {
    const LONGEST_ERROR: usize = AGENT_BLOB_LEN / 4;
    let json_of = |status: &AgentStatus| serde_json::to_vec(status).unwrap_or_default();
    let mut json = json_of(&status);
    if json.len() > AGENT_BLOB_LEN
        && let Some(error) = &mut status.config_error
    {
        error.truncate(error.floor_char_boundary(LONGEST_ERROR));
        json = json_of(&status);
    }
    let mut unnamed = 0_usize;
    while json.len() > AGENT_BLOB_LEN && status.missing.len() > 1 {
        // The last one says how many came before it.
        let keep = status.missing.len().saturating_sub(if unnamed == 0 { 1 } else { 2 });
        unnamed += status.missing.len() - keep - usize::from(unnamed > 0);
        status.missing.truncate(keep);
        status.missing.push(format!("and {unnamed} more"));
        json = json_of(&status);
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_is_too_long_is_cut_and_still_read() {
        let missing: Vec<_> =
            (0..250).map(|n| format!("workload-{n}: cgroup gone: /sys/fs/cgroup/{n}")).collect();
        let status =
            AgentStatus { pid: 7, config_error: Some("x".repeat(5000)), missing, ..AgentStatus::default() };
        let json = status_json(status.clone());
        assert!(json.len() <= AGENT_BLOB_LEN, "{} bytes", json.len());
        let read: AgentStatus = serde_json::from_slice(&json).unwrap();
        assert_eq!(read.pid, 7);
        let (last, named) = read.missing.split_last().unwrap();
        assert_eq!(named, &status.missing[..named.len()]);
        assert_eq!(*last, format!("and {} more", 250 - named.len()));
    }

    #[test]
    fn a_status_that_fits_is_whole() {
        let status = AgentStatus { missing: vec!["a".to_owned(), "b".to_owned()], ..AgentStatus::default() };
        assert_eq!(serde_json::from_slice::<AgentStatus>(&status_json(status.clone())).unwrap(), status);
    }
}
