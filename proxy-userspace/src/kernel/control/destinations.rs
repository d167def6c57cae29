//! What is known of the destinations of the workloads: Services and pods, by address.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
};

use proxy_common::{Destination, Direction, mapped};

use super::{Control, entry, put};
use crate::{
    kernel::{
        error::KernelError,
        maps::{DESTINATIONS, error},
    },
    policy::PortTable,
};

impl Control {
    /// Lets new connections to these addresses be as the tables say, inbound, and forgets addresses that
    /// leave; all or none.
    pub(crate) fn change_destinations(
        &mut self,
        changes: &[(IpAddr, &PortTable)],
        leaving: &[IpAddr],
    ) -> Result<(), KernelError> {
        let mut before = Vec::new();
        let result = self.write_destinations(changes, leaving, &mut before);
        if result.is_err() {
            for (addr_be, destination) in before.into_iter().rev() {
                if let Err(error) = put(&mut self.destinations, addr_be, destination) {
                    tracing::error!(%error, "cannot take back a change that failed");
                }
            }
        }
        if let Err(error) = self.remove_unused_profiles() {
            tracing::warn!(%error, "unused port blocks stay until the next change");
        }
        result
    }

    fn write_destinations(
        &mut self,
        changes: &[(IpAddr, &PortTable)],
        leaving: &[IpAddr],
        before: &mut Vec<([u8; 16], Option<Destination>)>,
    ) -> Result<(), KernelError> {
        let profiles = self.insert_profiles(changes.iter().map(|(_, table)| *table))?;
        let changed = changes.iter().zip(profiles).map(|((address, table), profile)| {
            let prefix_lens = table.prefix_lens()[Direction::Inbound as usize];
            (mapped(*address), Some(Destination { profile, prefix_lens }))
        });
        for (addr_be, destination) in changed.chain(leaving.iter().map(|address| (mapped(*address), None))) {
            before.push((addr_be, entry(&self.destinations, addr_be).map_err(error("read", DESTINATIONS))?));
            put(&mut self.destinations, addr_be, destination).map_err(error("write", DESTINATIONS))?;
        }
        Ok(())
    }

    /// What the kernel knows of destinations.
    pub(crate) fn destinations(&self) -> Result<BTreeMap<IpAddr, PortTable>, KernelError> {
        let tables = self.tables()?;
        self.destinations
            .iter()
            .map(|entry| {
                let (addr_be, destination) = entry.map_err(error("read", DESTINATIONS))?;
                let table = tables.get(&destination.profile).cloned().unwrap_or_else(PortTable::new);
                Ok((Ipv6Addr::from(addr_be).to_canonical(), table))
            })
            .collect()
    }
}
