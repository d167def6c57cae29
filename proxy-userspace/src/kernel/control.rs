//! Reading and writing the port config and the workloads in the kernel's maps.
//!
//! The agent and the command line use the same code on the same maps, so that what is shown is what
//! the kernel has. Each change is a transaction: a port config becomes a *new* profile, complete
//! before one write points the workload to it; the old one is removed when nobody uses it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap as StdHashMap},
    net::SocketAddr,
    path::PathBuf,
    thread,
    time::Duration,
};

use aya::{
    Pod,
    maps::{Array, HashMap, MapData, MapError, PerCpuArray, PerCpuValues},
};
use proxy_common::{
    AGENT_BLOB_LEN, AgentBlob, Counter, LogLevel, PORT_MAP_CAPACITY, PortKey, PortRule, Settings, Workload,
    WorkloadName,
};

use super::{
    error::KernelError,
    maps::{self, AGENT, COUNTERS, HEARTBEAT, MapSource, NAMES, PORTS, SETTINGS, WORKLOADS, error},
    pins::Pins,
    sys,
};
use crate::policy::PortTable;

/// How long a program that was running when a profile was replaced may still look into the old one.
/// Programs run for microseconds; one that is overtaken all the same looks again.
const PROFILE_GRACE: Duration = Duration::from_millis(20);

/// A workload as the kernel is to know it.
#[derive(Clone, Debug)]
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
}

/// A workload as the kernel knows it.
#[derive(Clone, Debug)]
pub(crate) struct WorkloadView {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) workload: Workload,
    pub(crate) table: PortTable,
}

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
    /// Settings of the config file that only a new agent puts in force.
    pub(crate) restart_for: Option<String>,
}

/// A workload with another port config, and what else is to be known of it.
struct Change<'a> {
    id: u64,
    /// `None` where it has one already.
    name: Option<WorkloadName>,
    /// All but its profile, which is chosen when it is written.
    workload: Workload,
    table: &'a PortTable,
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
    settings: Array<MapData, Settings>,
    heartbeat: Array<MapData, u64>,
    agent: Array<MapData, AgentBlob>,
    counters: PerCpuArray<MapData, u64>,
}

impl Control {
    pub(super) fn new(source: &dyn MapSource) -> Result<Self, KernelError> {
        Ok(Self {
            workloads: maps::hash(source, WORKLOADS)?,
            names: maps::hash(source, NAMES)?,
            ports: maps::hash(source, PORTS)?,
            settings: maps::array(source, SETTINGS)?,
            heartbeat: maps::array(source, HEARTBEAT)?,
            agent: maps::array(source, AGENT)?,
            counters: maps::per_cpu_array(source, COUNTERS)?,
        })
    }

    /// The maps of a running agent.
    pub(crate) fn of_agent(pins: &Pins) -> Result<Self, KernelError> {
        Self::new(pins)
    }

    /// Every workload that the kernel knows, by name.
    pub(crate) fn workloads(&self) -> Result<Vec<WorkloadView>, KernelError> {
        let mut tables = self.tables()?;
        let mut views = Vec::new();
        for entry in self.workloads.iter() {
            let (id, workload) = entry.map_err(error("read", WORKLOADS))?;
            let name = match self.names.get(&id, 0) {
                Ok(name) => name.as_str().to_owned(),
                Err(MapError::KeyNotFound) => format!("cgroup {id}"),
                Err(source) => return Err(error("read", NAMES)(source)),
            };
            let table = tables.entry(workload.profile).or_insert_with(PortTable::new).clone();
            views.push(WorkloadView { id, name, workload, table });
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
                    flags: enrolment.flags,
                    prefix_lens: enrolment.table.prefix_lens(),
                    listener_v4_port_be: enrolment.listener_v4_port.to_be(),
                    listener_v6_port_be: enrolment.listener_v6_port.to_be(),
                    pad: 0,
                },
                table: &enrolment.table,
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

    /// The ids of profiles that have these tables; those that are not there yet are inserted.
    fn insert_profiles<'a>(
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

    fn remove_unused_profiles(&mut self) -> Result<(), KernelError> {
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
        self.workloads
            .iter()
            .map(|entry| entry.map(|(_, workload)| workload.profile))
            .collect::<Result<_, _>>()
            .map_err(error("read", WORKLOADS))
    }

    fn highest_profile(&self, tables: &BTreeMap<u32, PortTable>) -> Result<u32, KernelError> {
        let in_use = self.profiles_in_use()?.last().copied().unwrap_or_default();
        Ok(tables.last_key_value().map_or(0, |(id, _)| *id).max(in_use))
    }

    /// The port configs in the kernel, by profile. A profile without a rule has no entry.
    fn tables(&self) -> Result<BTreeMap<u32, PortTable>, KernelError> {
        let mut entries = BTreeMap::<u32, Vec<(PortKey, PortRule)>>::new();
        for entry in self.ports.iter() {
            let (key, rule) = entry.map_err(error("read", PORTS))?;
            entries.entry(key.profile).or_default().push((key, rule));
        }
        Ok(entries.into_iter().map(|(id, entries)| (id, PortTable::from_keys(entries))).collect())
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

fn entry<V: Pod>(map: &HashMap<MapData, u64, V>, id: u64) -> Result<Option<V>, MapError> {
    match map.get(&id, 0) {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes an entry; `None` removes it.
fn put<V: Pod>(map: &mut HashMap<MapData, u64, V>, id: u64, value: Option<V>) -> Result<(), MapError> {
    let Some(value) = value else {
        return match map.remove(&id) {
            Err(MapError::KeyNotFound) => Ok(()),
            result => result,
        };
    };
    map.insert(id, value, 0)
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
