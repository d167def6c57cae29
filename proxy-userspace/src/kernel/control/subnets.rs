//! The peers that workloads leave alone.
//!
//! A workload's new subnets are there before it is written, and its old ones until after: in between it
//! leaves more peers alone than it should, never fewer.

use std::collections::BTreeMap;

use aya::maps::{MapError, lpm_trie::Key};
use proxy_common::{SubnetKey, flags};

use super::{Change, Control};
use crate::{
    kernel::{
        error::KernelError,
        maps::{SKIP_SUBNETS, error},
    },
    policy::{Subnet, SubnetSet},
};

/// The flag that lets the hooks look at all.
pub(super) fn flag(subnets: &SubnetSet) -> u32 {
    if subnets.is_empty() { 0 } else { flags::SKIP_SUBNETS }
}

impl Control {
    /// The peers that workloads leave alone, by the id of the workload's cgroup. Those of one that has left
    /// may be among them for a moment.
    pub(crate) fn skip_subnets(&self) -> Result<BTreeMap<u64, SubnetSet>, KernelError> {
        let mut found = BTreeMap::<u64, Vec<Subnet>>::new();
        for entry in self.skip_subnets.iter() {
            let (key, _) = entry.map_err(error("read", SKIP_SUBNETS))?;
            let prefix_len = key.prefix_len().saturating_sub(SubnetKey::WORKLOAD_BITS);
            let SubnetKey { workload_be, addr_be } = key.data();
            if let Some(subnet) = u8::try_from(prefix_len).ok().and_then(|len| Subnet::of(addr_be, len)) {
                found.entry(u64::from_be_bytes(workload_be)).or_default().push(subnet);
            }
        }
        Ok(found.into_iter().map(|(workload, subnets)| (workload, subnets.into_iter().collect())).collect())
    }

    /// Writes subnets that a workload has not got yet. Where that fails, those that were written stay
    /// until the workload's next change, or until it leaves.
    pub(super) fn add_subnets(&mut self, workload: u64, subnets: &SubnetSet) -> Result<(), KernelError> {
        for subnet in subnets.iter() {
            self.skip_subnets.insert(&key(workload, subnet), 1, 0).map_err(error("write", SKIP_SUBNETS))?;
        }
        Ok(())
    }

    /// Removes the subnets that workloads have no more, now that they are written.
    pub(super) fn settle_subnets(&mut self, changes: &[Change<'_>], leaving: &[u64]) {
        let changed = changes.iter().filter_map(|change| Some((change.id, change.skip_subnets?)));
        let none = SubnetSet::EMPTY;
        for (workload, subnets) in changed.chain(leaving.iter().map(|id| (*id, &none))) {
            let before = self.subnets_of.remove(&workload).unwrap_or_default();
            let kept: Vec<_> = subnets.iter().collect();
            for gone in before.iter().filter(|subnet| !kept.contains(subnet)) {
                match self.skip_subnets.remove(&key(workload, gone)) {
                    Ok(()) | Err(MapError::KeyNotFound) => {}
                    Err(error) => tracing::warn!(%error, "a subnet stays in the map"),
                }
            }
            if !subnets.is_empty() {
                self.subnets_of.insert(workload, subnets.clone());
            }
        }
    }
}

fn key(workload: u64, subnet: Subnet) -> Key<SubnetKey> {
    let prefix_len = SubnetKey::WORKLOAD_BITS + u32::from(subnet.prefix_len());
    Key::new(prefix_len, SubnetKey::new(workload, subnet.addr_be()))
}
