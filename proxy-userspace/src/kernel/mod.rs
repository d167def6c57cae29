//! The kernel's side of sluice: programs, maps, cgroups and network namespaces.
//!
//! The only importer of aya. [`Dataplane`] owns what a running process has loaded; [`Control`] reads
//! and writes the maps that the process shares with the command line.

mod btf;
mod capabilities;
mod cgroup;
mod cgroup_namespace;
mod check;
mod control;
mod dataplane;
mod error;
mod inbound;
mod kernel_log;
mod kernel_path;
mod listening;
mod maps;
mod netns;
mod own_cgroup;
mod pin_dir;
mod pins;
mod pod_cgroup;
mod programs;
mod records;
mod self_test;
mod sock_diag;
mod sys;

pub(crate) use cgroup::Cgroup;
pub(crate) use cgroup_namespace::enter_that_of_the_node;
pub(crate) use check::{Finding, Weight, check};
pub(crate) use control::{AgentStatus, Control, Enrolment, Learned, PodCounts, WorkloadView};
pub(crate) use dataplane::Dataplane;
pub(crate) use error::KernelError;
pub(crate) use inbound::InboundHook;
pub(crate) use kernel_log::KernelLog;
pub(crate) use kernel_path::{ClosedConnection, ClosedEvents, KernelConnection, OpenConnections, OpenList};
pub(crate) use netns::{Netns, NetnsId};
pub(crate) use own_cgroup::OwnCgroup;
pub(crate) use pins::{DEFAULT_PIN_DIR, Pins};
pub(crate) use pod_cgroup::{PodCgroups, kubelet_cgroup, process_of};
pub(crate) use programs::Attached;
pub(crate) use records::Records;
pub(crate) use self_test::Verdict;
