//! What a config file means: from words to a [`Config`], or the first thing that is wrong.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Component, Path, PathBuf};

use proxy_common::WorkloadName;
use toml::Spanned;

use super::error::{Setting, ValueProblem};
use super::{Config, DEFAULT_ADMIN, ForeignProxy, KubernetesConfig, WorkloadConfig, file};
use crate::policy::{
    BypassMode, ClientAddress, LearnOpaque, OpaquePath, OtlpEndpoint, PortRules, PortSet, SkMsgMode,
    SubnetSet,
};

/// A value that a setting cannot have.
pub(super) struct Wrong {
    /// Where the value starts in the text, bytes.
    pub(super) offset: usize,
    /// The setting.
    pub(super) setting: Setting,
    /// What is wrong with the value.
    pub(super) problem: Box<ValueProblem>,
}

/// Checks the whole file.
pub(super) fn config(file: file::File) -> Result<Config, Wrong> {
    let node = Owner(None);
    let admin = match &file.admin {
        Some(admin) => node.admin(admin)?,
        None => DEFAULT_ADMIN,
    };
    let otlp_endpoint = file.tracing.otlp_endpoint.map(|written| node.otlp_endpoint(&written)).transpose()?;
    let ports = PortRules {
        opaque: node.ports("opaque-ports", file.opaque_ports)?,
        skip_outbound: node.ports("skip-outbound-ports", file.skip_outbound_ports)?,
        skip_inbound: node.ports("skip-inbound-ports", file.skip_inbound_ports)?,
    };

    let skip_subnets = node.subnets("skip-subnets", file.skip_subnets)?.unwrap_or_default();
    let kubernetes = file.kubernetes.map(kubernetes).transpose()?;
    let kubelet = file.kubelet_cgroup.map(|written| node.kubelet(&written)).transpose()?;

    let mut names: HashSet<String> = HashSet::new();
    // With the name of the workload that has it.
    let mut cgroups: HashMap<PathBuf, String> = HashMap::new();
    let mut workloads = Vec::with_capacity(file.workload.len());
    for written in file.workload {
        let (name_at, cgroup_at) = (written.name.span().start, written.cgroup.span().start);
        let inbound = written.inbound.unwrap_or(file.inbound);
        let client_address = written.client_address.unwrap_or(file.client_address);
        let inbound = inbound.then_some(client_address);
        let of_node = OfNode {
            sk_msg: file.sk_msg,
            same_node_bypass: file.same_node_bypass,
            opaque_path: file.opaque_path,
            learn_opaque: file.learn_opaque,
            skip_subnets: &skip_subnets,
        };
        let workload = workload(written, &of_node, inbound)?;
        let name = workload.name.clone();
        if !names.insert(name.clone()) {
            let problem = ValueProblem::NameTaken { got: name.clone() };
            return Err(Owner(Some(&name)).wrong("name", name_at, problem));
        }
        if let Some(holder) = cgroups.insert(workload.cgroup.clone(), name.clone()) {
            let problem = ValueProblem::CgroupTaken { got: workload.cgroup.display().to_string(), holder };
            return Err(Owner(Some(&name)).wrong("cgroup", cgroup_at, problem));
        }
        if let Some((kubelet, offset)) = &kubelet
            && workload.cgroup.starts_with(kubelet)
        {
            let problem = ValueProblem::WorkloadOfKubelet { got: kubelet.display().to_string(), held: name };
            return Err(node.wrong("kubelet-cgroup", *offset, problem));
        }
        workloads.push(workload);
    }
    Ok(Config {
        admin,
        sk_msg: file.sk_msg,
        same_node_bypass: file.same_node_bypass,
        opaque_path: file.opaque_path,
        threads: file.threads,
        learn_opaque: file.learn_opaque,
        otlp_endpoint,
        ports,
        skip_subnets,
        inbound: file.inbound.then_some(file.client_address),
        kubelet_cgroup: kubelet.map(|(path, _)| path),
        kubernetes,
        workloads,
    })
}

/// Checks how pods are enrolled.
fn kubernetes(written: file::Kubernetes) -> Result<KubernetesConfig, Wrong> {
    let node = Owner(None);
    let node_name = match written.node_name {
        Some(name) if name.get_ref().is_empty() => {
            let problem = ValueProblem::NodeName;
            return Err(node.wrong("kubernetes.node-name", name.span().start, problem));
        }
        name => name.map(Spanned::into_inner),
    };
    let kubeconfig = written.kubeconfig.map(|path| node.path("kubernetes.kubeconfig", &path)).transpose()?;
    Ok(KubernetesConfig {
        enrol: written.enrol,
        node_name,
        kubeconfig,
        when_proxy_down: written.when_proxy_down,
    })
}

/// The node's choices, for workloads that have none of their own.
struct OfNode<'a> {
    sk_msg: SkMsgMode,
    same_node_bypass: BypassMode,
    opaque_path: OpaquePath,
    learn_opaque: LearnOpaque,
    skip_subnets: &'a SubnetSet,
}

/// Checks one workload on its own.
fn workload(
    written: file::Workload,
    of_node: &OfNode<'_>,
    inbound: Option<ClientAddress>,
) -> Result<WorkloadConfig, Wrong> {
    let name = written.name.get_ref().clone();
    let owner = Owner(Some(&name));
    owner.name(&written.name)?;

    let cgroup = owner.path("cgroup", &written.cgroup)?;
    let netns = written.netns.map(|netns| owner.path("netns", &netns)).transpose()?;
    let ports = PortRules {
        opaque: owner.ports("opaque-ports", written.opaque_ports)?,
        skip_outbound: owner.ports("skip-outbound-ports", written.skip_outbound_ports)?,
        skip_inbound: owner.ports("skip-inbound-ports", written.skip_inbound_ports)?,
    };
    let skip_subnets = owner.subnets("skip-subnets", written.skip_subnets)?;
    let foreign_proxy =
        written.foreign_proxy.map(|proxy| owner.foreign_proxy(&cgroup, &proxy)).transpose()?;
    Ok(WorkloadConfig {
        cgroup,
        netns,
        ports,
        skip_subnets: skip_subnets.unwrap_or_else(|| of_node.skip_subnets.clone()),
        when_proxy_down: written.when_proxy_down,
        include_loopback: written.include_loopback,
        same_node_bypass: written.same_node_bypass.unwrap_or(of_node.same_node_bypass),
        sk_msg: written.sk_msg.unwrap_or(of_node.sk_msg),
        opaque_path: written.opaque_path.unwrap_or(of_node.opaque_path),
        learn_opaque: written.learn_opaque.unwrap_or(of_node.learn_opaque),
        inbound,
        foreign_proxy,
        name,
    })
}

/// Whose settings are checked: a workload's by its name, or the node's.
struct Owner<'a>(Option<&'a str>);

impl Owner<'_> {
    /// The value at `offset` is wrong.
    fn wrong(&self, key: &'static str, offset: usize, problem: ValueProblem) -> Wrong {
        let setting = Setting { workload: self.0.map(str::to_owned), key };
        Wrong { offset, setting, problem: Box::new(problem) }
    }

    /// An address to listen on.
    fn admin(&self, written: &Spanned<String>) -> Result<SocketAddr, Wrong> {
        written.get_ref().parse().map_err(|_no_facts| {
            let got = written.get_ref().clone();
            self.wrong("admin", written.span().start, ValueProblem::Address { got })
        })
    }

    /// The URL of a collector.
    fn otlp_endpoint(&self, written: &Spanned<String>) -> Result<OtlpEndpoint, Wrong> {
        written.get_ref().parse().map_err(|error| {
            self.wrong("tracing.otlp-endpoint", written.span().start, ValueProblem::OtlpEndpoint(error))
        })
    }

    /// A name that the kernel's map can hold and a listing can show.
    fn name(&self, written: &Spanned<String>) -> Result<(), Wrong> {
        let got = written.get_ref();
        let unfit = |char: char| char.is_whitespace() || char.is_control();
        if WorkloadName::new(got).is_none() || got.contains(unfit) {
            let problem = ValueProblem::Name { got: got.clone() };
            return Err(self.wrong("name", written.span().start, problem));
        }
        Ok(())
    }

    /// A path that means the same wherever the agent runs.
    fn path(&self, key: &'static str, written: &Spanned<String>) -> Result<PathBuf, Wrong> {
        let path = Path::new(written.get_ref());
        if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
            let problem = ValueProblem::Path { got: written.get_ref().clone() };
            return Err(self.wrong(key, written.span().start, problem));
        }
        // Without doubled slashes, dots and a slash at the end.
        Ok(path.components().collect())
    }

    /// The kubelet's cgroup, and where it stands in the text.
    fn kubelet(&self, written: &Spanned<String>) -> Result<(PathBuf, usize), Wrong> {
        Ok((self.path("kubelet-cgroup", written)?, written.span().start))
    }

    /// A list of ports, where there is one.
    fn ports(&self, key: &'static str, written: file::Ports) -> Result<Option<PortSet>, Wrong> {
        let Some(written) = written else { return Ok(None) };
        let offset = written.span().start;
        match written.into_inner().0 {
            Ok(ports) => Ok(Some(ports)),
            Err(error) => Err(self.wrong(key, offset, ValueProblem::Ports(error))),
        }
    }

    /// A list of subnets, where there is one.
    fn subnets(
        &self,
        key: &'static str,
        written: Option<Spanned<String>>,
    ) -> Result<Option<SubnetSet>, Wrong> {
        let Some(written) = written else { return Ok(None) };
        let parsed = written.get_ref().parse();
        parsed.map(Some).map_err(|error| self.wrong(key, written.span().start, ValueProblem::Subnets(error)))
    }

    /// A proxy outside of the workload that it serves.
    fn foreign_proxy(&self, workload: &Path, written: &file::ForeignProxy) -> Result<ForeignProxy, Wrong> {
        let cgroup = self.path("foreign-proxy.cgroup", &written.cgroup)?;
        if cgroup == workload {
            let problem = ValueProblem::ProxyInWorkload { got: written.cgroup.get_ref().clone() };
            return Err(self.wrong("foreign-proxy.cgroup", written.cgroup.span().start, problem));
        }
        let got = *written.port.get_ref();
        let port = u16::try_from(got).ok().and_then(NonZeroU16::new).ok_or_else(|| {
            self.wrong("foreign-proxy.port", written.port.span().start, ValueProblem::Port { got })
        })?;
        Ok(ForeignProxy { cgroup, port })
    }
}
