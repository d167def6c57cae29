//! A pod: cgroups in the kubelet's naming, a network namespace, and processes in both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::cgroups::{self, Tree};
use super::layout::{Layout, Qos};
use super::network;
use crate::netns::Netns;
use crate::peer;
use crate::process::Process;
use crate::server::{Server, Session};

/// A container's port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// What Services may call it.
    pub name: String,
    /// Its number.
    pub port: u16,
}

/// What a pod is to be.
#[derive(Clone, Debug, Default)]
pub struct PodSpec {
    pub(super) name: String,
    pub(super) qos: Qos,
    pub(super) annotations: Vec<(String, String)>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) ports: Vec<Port>,
    pub(super) more_containers: Vec<String>,
    pub(super) host_network: bool,
    pub(super) config_hash: Option<String>,
}

impl PodSpec {
    /// A pod with one container; its label `app` is its name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }.label("app", name)
    }

    /// Its class.
    #[must_use]
    pub fn qos(self, qos: Qos) -> Self {
        Self { qos, ..self }
    }

    /// Adds an annotation.
    #[must_use]
    pub fn annotation(mut self, name: &str, value: &str) -> Self {
        self.annotations.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a label, for Services to find it by.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a port to its container.
    #[must_use]
    pub fn port(mut self, name: &str, port: u16) -> Self {
        self.ports.push(Port { name: name.to_owned(), port });
        self
    }

    /// Adds a container.
    #[must_use]
    pub fn container(mut self, name: &str) -> Self {
        self.more_containers.push(name.to_owned());
        self
    }

    /// In the network of the node, which is here that of the test itself: where an agent runs.
    #[must_use]
    pub fn host_network(self) -> Self {
        Self { host_network: true, ..self }
    }

    /// A static pod: its cgroup is named after this hash, and Kubernetes knows it by another UID.
    #[must_use]
    pub fn config_hash(self, hash: &str) -> Self {
        Self { config_hash: Some(hash.to_owned()), ..self }
    }

    /// The names of its containers; the first has the pod's.
    pub(super) fn containers(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.more_containers.iter().map(String::as_str))
    }
}

/// Where a pod is put.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) node: Arc<Netns>,
    pub(super) cgroups: Arc<Tree>,
    pub(super) layout: Layout,
    pub(super) number: u8,
    pub(super) host: u8,
}

/// A running pod; its processes, cgroups and network go on drop.
#[derive(Debug)]
pub struct Pod {
    // The processes are killed first.
    sandbox: Option<Sandbox>,
    containers: Vec<Container>,
    cgroup: PathBuf,
    place: Place,
    spec: PodSpec,
    uid: String,
    restarts: u32,
}

/// The container that holds the pod's network namespace, and does nothing else.
#[derive(Debug)]
struct Sandbox {
    _pause: Container,
    /// `None` on the host's network.
    netns: Option<Netns>,
}

/// A container, with a process that does nothing.
#[derive(Debug)]
struct Container {
    name: String,
    /// As the runtime tells it: `containerd://…`.
    id: String,
    cgroup: PathBuf,
    monitor: Option<PathBuf>,
    processes: Vec<Process>,
}

impl Pod {
    pub(super) fn start(place: Place, spec: PodSpec, uid: &str) -> Self {
        let of_cgroup = spec.config_hash.as_deref().unwrap_or(uid);
        let cgroup = place.cgroups.make(&place.layout.pod(spec.qos, of_cgroup));
        let mut pod = Self {
            sandbox: None,
            containers: Vec::new(),
            cgroup,
            place,
            spec,
            uid: uid.to_owned(),
            restarts: 0,
        };
        pod.start_sandbox();
        pod.start_containers();
        pod
    }

    fn start_sandbox(&mut self) {
        let Place { node, number, host, .. } = &self.place;
        let netns = (!self.spec.host_network).then(|| {
            let netns = network::namespace();
            network::wire_pod(node, &netns, *number, *host);
            netns
        });
        let pause = self.container("pause", netns.as_ref());
        self.sandbox = Some(Sandbox { _pause: pause, netns });
    }

    fn start_containers(&mut self) {
        let containers = self.spec.containers().map(|name| self.container(name, self.netns())).collect();
        self.containers = containers;
    }

    fn container(&self, name: &str, netns: Option<&Netns>) -> Container {
        let layout = self.place.layout;
        let id = container_id();
        let make = |name: String| {
            let cgroup = self.cgroup.join(name);
            std::fs::create_dir(&cgroup).unwrap_or_else(|error| panic!("make {}: {error}", cgroup.display()));
            cgroup
        };
        // The monitor comes first, and stays on the node's network.
        let monitor = layout.monitor(&id).map(make);
        let cgroup = make(layout.container(&id));
        let mut processes: Vec<_> = monitor.iter().map(|monitor| idle(monitor, None)).collect();
        processes.push(idle(&cgroup, netns));
        let id = format!("{}://{id}", layout.runtime.scheme());
        Container { name: name.to_owned(), id, cgroup, monitor, processes }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What was asked for.
    #[must_use]
    pub fn spec(&self) -> &PodSpec {
        &self.spec
    }

    /// What Kubernetes knows it by.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Its address; that of nobody on the host's network.
    #[must_use]
    pub fn v4(&self) -> Ipv4Addr {
        network::pod_v4(self.place.number, self.place.host)
    }

    /// Its address; that of nobody on the host's network.
    #[must_use]
    pub fn v6(&self) -> Ipv6Addr {
        network::pod_v6(self.place.number, self.place.host)
    }

    /// Both addresses.
    #[must_use]
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.v4().into(), self.v6().into()]
    }

    /// Its network namespace, unless that is the host's.
    #[must_use]
    pub fn netns(&self) -> Option<&Netns> {
        self.sandbox.as_ref().and_then(|sandbox| sandbox.netns.as_ref())
    }

    /// Its cgroup.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// The cgroup of a container.
    ///
    /// # Panics
    /// When there is none of this name.
    #[must_use]
    pub fn container_cgroup(&self, name: &str) -> &Path {
        let container = self.containers.iter().find(|container| container.name == name);
        &container.unwrap_or_else(|| panic!("no container {name} in {}", self.spec.name)).cgroup
    }

    /// The id of a container as the API tells it, if it runs.
    #[must_use]
    pub fn container_id(&self, name: &str) -> Option<&str> {
        self.containers.iter().find(|container| container.name == name).map(|container| container.id.as_str())
    }

    /// How often its containers were started again.
    #[must_use]
    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    /// The peer program in the pod's first container: a client of its own cgroup and network.
    ///
    /// # Panics
    /// When the containers were stopped.
    pub fn peer<S: AsRef<str>>(&self, mode: &str, rest: &[S]) -> Command {
        peer_in(self.container_cgroup(&self.spec.name), self.netns(), mode, rest)
    }

    /// Any program in the pod's first container.
    ///
    /// # Panics
    /// When the containers were stopped.
    pub fn command<S: AsRef<str>>(&self, words: &[S]) -> Command {
        self.peer("exec", words)
    }

    /// A server on every address of the pod, of both families. It is a thread of the test in the pod's
    /// network: what matters of a server is where it listens.
    ///
    /// # Panics
    /// When the port is taken.
    #[must_use]
    pub fn server(&self, port: u16, behaviour: impl Fn(&mut Session) + Send + Sync + 'static) -> Server {
        self.server_at(&format!("[::]:{port}"), behaviour)
    }

    /// [`Pod::server`], on one address.
    ///
    /// # Panics
    /// When the address cannot be had.
    #[must_use]
    pub fn server_at(&self, addr: &str, behaviour: impl Fn(&mut Session) + Send + Sync + 'static) -> Server {
        match self.netns() {
            Some(netns) => Server::bind_in(netns, addr, behaviour),
            None => Server::bind(addr, behaviour),
        }
    }

    /// Stops the containers and starts others in their place; the sandbox stays, as it does when a
    /// container crashes.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn restart_containers(&mut self) {
        self.restarts += 1;
        self.stop_containers();
        self.start_containers();
    }

    /// Stops everything and starts it anew, with another network namespace in the same pod cgroup, as
    /// after the sandbox was lost.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn recreate_sandbox(&mut self) {
        self.restarts += 1;
        self.stop_containers();
        if self.netns().is_some() {
            network::unwire_pod(&self.place.node, self.place.host);
        }
        self.sandbox = None;
        self.start_sandbox();
        self.start_containers();
    }

    /// Stops the containers, as of a job that is done; sandbox and cgroup stay.
    pub fn stop_containers(&mut self) {
        self.containers.clear();
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.stop_containers();
        self.sandbox = None;
        cgroups::remove(&self.cgroup);
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.processes.clear();
        for cgroup in std::iter::once(&self.cgroup).chain(&self.monitor) {
            cgroups::remove(cgroup);
        }
    }
}

/// A process that does nothing, and ends with the test.
fn idle(cgroup: &Path, netns: Option<&Netns>) -> Process {
    let words = ["sh", "-c", "echo idle; exec cat"];
    let mut process = Process::start(peer_in(cgroup, netns, "exec", &words));
    process.line("idle");
    process
}

/// The peer program in a cgroup, which it enters before the network, as containers do.
fn peer_in<S: AsRef<str>>(cgroup: &Path, netns: Option<&Netns>, mode: &str, rest: &[S]) -> Command {
    let cgroup = cgroup.to_str().expect("UTF-8").to_owned();
    let netns = netns.map(|netns| netns.path().to_str().expect("UTF-8").to_owned());
    let mut options = vec!["--cgroup", &cgroup];
    options.extend(netns.iter().flat_map(|netns| ["--netns", netns.as_str()]));
    options.push(mode);
    let words = peer::command(&options, rest);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// An id as runtimes give them: 64 hexadecimal digits.
fn container_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{:056x}{:08x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
