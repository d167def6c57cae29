//! Reading and writing the port config and the workloads in the kernel's maps.
//!
//! The agent and the command line use the same code on the same maps, so that what is shown is what
//! the kernel has. Each change is a transaction: a port config becomes a *new* profile, complete
//! before one write points the workload to it; the old one is removed when nobody uses it.

mod agent_status;
mod destinations;
mod learned;
mod profiles;
mod subnets;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aya::{
    Pod,
    maps::{Array, HashMap, LpmTrie, MapData, MapError, PerCpuArray, PerCpuValues},
};
use proxy_common::{
    AgentBlob, Counter, Destination, LearnedKey, LogLevel, PortKey, PortRule, Settings, SubnetKey, Workload,
    WorkloadName,
};

pub(crate) use self::{
    agent_status::{AgentStatus, PodCounts},
    learned::Learned,
};
use super::{
    error::KernelError,
    maps::{
        self, AGENT, COUNTERS, DESTINATIONS, HEARTBEAT, INBOUND, LEARNED, MapSource, NAMES, PORTS, SETTINGS,
        SKIP_SUBNETS, WORKLOADS, error,
    },
    pins::Pins,
    sys,
};
use crate::policy::{PortTable, SubnetSet};

/// A workload as the kernel is to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Enrolment {
    /// Id of its cgroup.
    pub(crate) id: u64,
    /// Where in the hierarchy its cgroup may be, [`super::Cgroup::level_bits`].
    pub(crate) level_bits: u32,
    /// What people call it.
    pub(crate) name: WorkloadName,
    /// [`proxy_common::flags`].
    pub(crate) flags: u32,
    /// Port of the proxy's listener on 127.0.0.1, 0 where there is none.
    pub(crate) listener_v4_port: u16,
    /// Port of the proxy's listener on ::1, 0 where there is none.
    pub(crate) listener_v6_port: u16,
    /// Its port config.
    pub(crate) table: PortTable,
    /// The peers that it leaves alone.
    pub(crate) skip_subnets: SubnetSet,
}

/// A workload as the kernel knows it.
#[derive(Clone, Debug)]
pub(crate) struct WorkloadView {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) workload: Workload,
    pub(crate) table: PortTable,
    /// Whether connections that it accepts are brought to the proxy.
    pub(crate) is_inbound_proxied: bool,
}

/// A workload with another port config, and what else is to be known of it.
struct Change<'a> {
    id: u64,
    /// `None` where it has one already.
    name: Option<WorkloadName>,
    /// All but its profile, which is chosen when it is written.
    workload: Workload,
    table: &'a PortTable,
    /// `None` where it keeps what it has.
    skip_subnets: Option<&'a SubnetSet>,
}

/// What was in the maps before a change; `None` where nothing was.
#[derive(Default)]
struct Before {
    levels: Option<u32>,
    names: Vec<(u64, Option<WorkloadName>)>,
    workloads: Vec<(u64, Option<Workload>)>,
}

/// The shared maps.
pub(crate) struct Control {
    workloads: HashMap<MapData, u64, Workload>,
    names: HashMap<MapData, u64, WorkloadName>,
    ports: HashMap<MapData, PortKey, PortRule>,
    destinations: HashMap<MapData, [u8; 16], Destination>,
    learned: HashMap<MapData, LearnedKey, u64>,
    skip_subnets: LpmTrie<MapData, SubnetKey, u8>,
    /// What this process has written there, by workload.
    subnets_of: BTreeMap<u64, SubnetSet>,
    settings: Array<MapData, Settings>,
    heartbeat: Array<MapData, u64>,
    agent: Array<MapData, AgentBlob>,
    counters: PerCpuArray<MapData, u64>,
    inbound: HashMap<MapData, u64, u64>,
}

impl Control {
    pub(super) fn new(source: &dyn MapSource) -> Result<Self, KernelError> {
        Ok(Self {
            workloads: maps::hash(source, WORKLOADS)?,
            names: maps::hash(source, NAMES)?,
            ports: maps::hash(source, PORTS)?,
            destinations: maps::hash(source, DESTINATIONS)?,
            learned: maps::hash(source, LEARNED)?,
            skip_subnets: maps::lpm_trie(source, SKIP_SUBNETS)?,
            subnets_of: BTreeMap::new(),
            settings: maps::array(source, SETTINGS)?,
            heartbeat: maps::array(source, HEARTBEAT)?,
            agent: maps::array(source, AGENT)?,
            counters: maps::per_cpu_array(source, COUNTERS)?,
            inbound: maps::hash(source, INBOUND)?,
        })
    }

    /// The maps of a running agent.
    pub(crate) fn of_agent(pins: &Pins) -> Result<Self, KernelError> {
        Self::new(pins)
    }

    /// Every workload that the kernel knows, by name.
    pub(crate) fn workloads(&self) -> Result<Vec<WorkloadView>, KernelError> {
        let mut tables = self.tables()?;
        let inbound: BTreeSet<u64> = self
            .inbound
            .iter()
            .map(|entry| entry.map(|(_, id)| id))
            .collect::<Result<_, _>>()
            .map_err(error("read", INBOUND))?;
        let mut views = Vec::new();
        for entry in self.workloads.iter() {
            let (id, workload) = entry.map_err(error("read", WORKLOADS))?;
            let name = match self.names.get(&id, 0) {
                Ok(name) => name.as_str().to_owned(),
                Err(MapError::KeyNotFound) => format!("cgroup {id}"),
                Err(source) => return Err(error("read", NAMES)(source)),
            };
            let table = tables.entry(workload.profile).or_insert_with(PortTable::new).clone();
            let is_inbound_proxied = inbound.contains(&id);
            views.push(WorkloadView { id, name, workload, table, is_inbound_proxied });
        }
        views.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(views)
    }

    /// The workloads of that name, or all of them.
    ///
    /// # Errors
    /// When a map cannot be read, or no workload has the name.
    pub(crate) fn workloads_named(&self, name: Option<&str>) -> Result<Vec<WorkloadView>, KernelError> {
        let mut views = self.workloads()?;
        let Some(name) = name else { return Ok(views) };
        if !views.iter().any(|view| view.name == name) {
            let enrolled = views.into_iter().map(|view| view.name).collect();
            return Err(KernelError::UnknownWorkload { name: name.to_owned(), enrolled });
        }
        views.retain(|view| view.name == name);
        Ok(views)
    }

    /// Enrols workloads, or replaces what is known of them, and forgets those that leave; all or none.
    pub(crate) fn enrol(&mut self, enrolments: &[Enrolment], leaving: &[u64]) -> Result<(), KernelError> {
        let changes: Vec<_> = enrolments
            .iter()
            .map(|enrolment| Change {
                id: enrolment.id,
                name: Some(enrolment.name),
                workload: Workload {
                    profile: 0,
                    flags: enrolment.flags | subnets::flag(&enrolment.skip_subnets),
                    prefix_lens: enrolment.table.prefix_lens(),
                    listener_v4_port_be: enrolment.listener_v4_port.to_be(),
                    listener_v6_port_be: enrolment.listener_v6_port.to_be(),
                    pad: 0,
                },
                table: &enrolment.table,
                skip_subnets: Some(&enrolment.skip_subnets),
            })
            .collect();
        let level_bits = enrolments.iter().fold(0, |bits, enrolment| bits | enrolment.level_bits);
        self.commit(&changes, leaving, level_bits)
    }

    /// Gives workloads other port configs; all or none.
    pub(crate) fn replace_tables(
        &mut self,
        changes: &[(WorkloadView, PortTable)],
    ) -> Result<(), KernelError> {
        let changes: Vec<_> = changes
            .iter()
            .map(|(view, table)| Change {
                id: view.id,
                name: None,
                workload: Workload { prefix_lens: table.prefix_lens(), ..view.workload },
                table,
                skip_subnets: None,
            })
            .collect();
        self.commit(&changes, &[], 0)
    }

    /// Writes changes; those that are written when one fails are taken back.
    fn commit(
        &mut self,
        changes: &[Change<'_>],
        leaving: &[u64],
        level_bits: u32,
    ) -> Result<(), KernelError> {
        let mut before = Before::default();
        let result = self.write(changes, leaving, level_bits, &mut before);
        if result.is_err() {
            self.take_back(before);
        } else {
            self.settle_subnets(changes, leaving);
        }
        // The profiles that nobody uses any more; after a failure, the new ones. The change is made or
        // taken back by now, so what goes wrong here takes room and does no other harm.
        if let Err(error) = self.remove_unused_profiles() {
            tracing::warn!(%error, "unused port blocks stay until the next change");
        }
        result
    }

    /// Writes what the programs look up last first, and notes what was there before.
    fn write(
        &mut self,
        changes: &[Change<'_>],
        leaving: &[u64],
        level_bits: u32,
        before: &mut Before,
    ) -> Result<(), KernelError> {
        let profiles = self.insert_profiles(changes.iter().map(|change| change.table))?;
        let levels = self.settings()?.cgroup_levels;
        if levels & level_bits != level_bits {
            before.levels = Some(levels);
            self.change_settings(|settings| settings.cgroup_levels |= level_bits)?;
        }
        for (change, profile) in changes.iter().zip(profiles) {
            let workload = Workload { profile, ..change.workload };
            if let Some(name) = change.name {
                before.names.push((change.id, entry(&self.names, change.id).map_err(error("read", NAMES))?));
                put(&mut self.names, change.id, Some(name)).map_err(error("write", NAMES))?;
            }
            if let Some(subnets) = change.skip_subnets {
                self.add_subnets(change.id, subnets)?;
            }
            self.write_workload(change.id, Some(workload), before)?;
        }
        for id in leaving {
            self.write_workload(*id, None, before)?;
            before.names.push((*id, entry(&self.names, *id).map_err(error("read", NAMES))?));
            put(&mut self.names, *id, None).map_err(error("write", NAMES))?;
        }
        Ok(())
    }

    fn write_workload(
        &mut self,
        id: u64,
        workload: Option<Workload>,
        before: &mut Before,
    ) -> Result<(), KernelError> {
        before.workloads.push((id, entry(&self.workloads, id).map_err(error("read", WORKLOADS))?));
        put(&mut self.workloads, id, workload).map_err(error("write", WORKLOADS))
    }

    fn take_back(&mut self, before: Before) {
        let mut results = Vec::new();
        for (id, workload) in before.workloads.into_iter().rev() {
            results.push(put(&mut self.workloads, id, workload).map_err(error("write", WORKLOADS)));
        }
        for (id, name) in before.names.into_iter().rev() {
            results.push(put(&mut self.names, id, name).map_err(error("write", NAMES)));
        }
        if let Some(levels) = before.levels {
            results.push(self.change_settings(|settings| settings.cgroup_levels = levels));
        }
        for error in results.into_iter().filter_map(Result::err) {
            tracing::error!(%error, "cannot take back a change that failed");
        }
    }

    /// What the programs are told.
    pub(crate) fn settings(&self) -> Result<Settings, KernelError> {
        self.settings.get(&0, 0).map_err(error("read", SETTINGS))
    }

    /// Changes what the programs are told.
    pub(crate) fn change_settings(&mut self, change: impl FnOnce(&mut Settings)) -> Result<(), KernelError> {
        let mut settings = self.settings()?;
        change(&mut settings);
        self.settings.set(0, settings, 0).map_err(error("write", SETTINGS))
    }

    /// Sets how much the programs log.
    pub(crate) fn set_log_level(&mut self, level: LogLevel) -> Result<(), KernelError> {
        self.change_settings(|settings| settings.log_level = level as u32)
    }

    /// Shows that the proxy is alive.
    pub(crate) fn beat(&mut self) -> Result<(), KernelError> {
        self.heartbeat.set(0, sys::monotonic_ns(), 0).map_err(error("write", HEARTBEAT))
    }

    /// How long ago the proxy last showed that it is alive.
    pub(crate) fn heartbeat_age(&self) -> Result<Duration, KernelError> {
        let beat = self.heartbeat.get(&0, 0).map_err(error("read", HEARTBEAT))?;
        Ok(Duration::from_nanos(sys::monotonic_ns().saturating_sub(beat)))
    }

    /// Sets every counter to zero.
    pub(super) fn reset_counters(&mut self) -> Result<(), KernelError> {
        for counter in Counter::ALL {
            let index = *counter as u32;
            let zeros = self.counters.get(&index, 0).map(|values| vec![0; values.len()]);
            zeros
                .and_then(|zeros| PerCpuValues::try_from(zeros).map_err(Into::into))
                .and_then(|zeros| self.counters.set(index, zeros, 0))
                .map_err(error("write", COUNTERS))?;
        }
        Ok(())
    }

    /// The sum of a counter over all CPUs, for every counter.
    pub(crate) fn counters(&self) -> Result<Vec<(Counter, u64)>, KernelError> {
        Counter::ALL
            .iter()
            .map(|counter| {
                let values = self.counters.get(&(*counter as u32), 0).map_err(error("read", COUNTERS))?;
                Ok((*counter, values.iter().sum()))
            })
            .collect()
    }
}

fn entry<K: Pod, V: Pod>(map: &HashMap<MapData, K, V>, key: K) -> Result<Option<V>, MapError> {
    match map.get(&key, 0) {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes an entry; `None` removes it.
fn put<K: Pod, V: Pod>(map: &mut HashMap<MapData, K, V>, key: K, value: Option<V>) -> Result<(), MapError> {
    let Some(value) = value else {
        return match map.remove(&key) {
            Err(MapError::KeyNotFound) => Ok(()),
            result => result,
        };
    };
    map.insert(key, value, 0)
}
