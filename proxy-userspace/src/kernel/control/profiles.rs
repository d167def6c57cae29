//! Port configs in the kernel: profiles, which are never changed, and removed when nobody uses them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap as StdHashMap},
    thread,
    time::Duration,
};

use aya::maps::MapError;
use proxy_common::{PORT_MAP_CAPACITY, PortKey, PortRule};

use super::Control;
use crate::{
    kernel::{
        error::KernelError,
        maps::{DESTINATIONS, PORTS, WORKLOADS, error},
    },
    policy::PortTable,
};

/// How long a program that was running when a profile was replaced may still look into the old one.
/// Programs run for microseconds; one that is overtaken all the same looks again.
const PROFILE_GRACE: Duration = Duration::from_millis(20);

impl Control {
    /// The ids of profiles that have these tables; those that are not there yet are inserted.
    pub(super) fn insert_profiles<'a>(
        &mut self,
        tables: impl Iterator<Item = &'a PortTable>,
    ) -> Result<Vec<u32>, KernelError> {
        let known = self.tables()?;
        let mut ids: StdHashMap<PortTable, u32> =
            known.iter().map(|(id, table)| (table.clone(), *id)).collect();
        let mut next_id = self.highest_profile(&known)?.wrapping_add(1);
        let mut new = Vec::new();
        let profiles = tables
            .map(|table| {
                *ids.entry(table.clone()).or_insert_with(|| {
                    let id = next_id;
                    next_id = next_id.wrapping_add(1);
                    new.extend(table.keys(id));
                    id
                })
            })
            .collect();
        self.insert_blocks(&new, known.iter().map(|(id, table)| table.keys(*id).len()).sum())?;
        Ok(profiles)
    }

    /// Inserts the blocks of new profiles. Where one is refused, those before it are nobody's.
    fn insert_blocks(&mut self, blocks: &[(PortKey, PortRule)], used: usize) -> Result<(), KernelError> {
        let full = || KernelError::PortMapFull { needed: blocks.len(), used, capacity: PORT_MAP_CAPACITY };
        if used + blocks.len() > PORT_MAP_CAPACITY as usize {
            return Err(full());
        }
        for (key, rule) in blocks {
            self.ports.insert(key, rule, 0).map_err(|source| {
                let is_full = matches!(&source, MapError::SyscallError(call) if call.io_error.raw_os_error() == Some(libc::E2BIG));
                if is_full { full() } else { error("write", PORTS)(source) }
            })?;
        }
        Ok(())
    }

    pub(super) fn remove_unused_profiles(&mut self) -> Result<(), KernelError> {
        let used = self.profiles_in_use()?;
        let unused: Vec<PortKey> = self
            .ports
            .keys()
            .filter(|key| key.as_ref().map_or(true, |key| !used.contains(&key.profile)))
            .collect::<Result<_, _>>()
            .map_err(error("read", PORTS))?;
        if unused.is_empty() {
            return Ok(());
        }
        thread::sleep(PROFILE_GRACE);
        for key in unused {
            self.ports.remove(&key).map_err(error("write", PORTS))?;
        }
        Ok(())
    }

    fn profiles_in_use(&self) -> Result<BTreeSet<u32>, KernelError> {
        let of_workloads = self
            .workloads
            .iter()
            .map(|entry| entry.map(|(_, workload)| workload.profile).map_err(error("read", WORKLOADS)));
        let of_destinations = self.destinations.iter().map(|entry| {
            entry.map(|(_, destination)| destination.profile).map_err(error("read", DESTINATIONS))
        });
        of_workloads.chain(of_destinations).collect()
    }

    fn highest_profile(&self, tables: &BTreeMap<u32, PortTable>) -> Result<u32, KernelError> {
        let in_use = self.profiles_in_use()?.last().copied().unwrap_or_default();
        Ok(tables.last_key_value().map_or(0, |(id, _)| *id).max(in_use))
    }

    /// The port configs in the kernel, by profile. A profile without a rule has no entry.
    pub(super) fn tables(&self) -> Result<BTreeMap<u32, PortTable>, KernelError> {
        let mut entries = BTreeMap::<u32, Vec<(PortKey, PortRule)>>::new();
        for entry in self.ports.iter() {
            let (key, rule) = entry.map_err(error("read", PORTS))?;
            entries.entry(key.profile).or_default().push((key, rule));
        }
        Ok(entries.into_iter().map(|(id, entries)| (id, PortTable::from_keys(entries))).collect())
    }
}
