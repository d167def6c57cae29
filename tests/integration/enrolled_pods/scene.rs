//! A cluster with a node, an agent on it, pods that serve, and what becomes of a connection.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use sluice_tests::agent::Agent;
use sluice_tests::http::Samples;
use sluice_tests::kube::{Api, Layout, Node, Pod, PodSpec, World};
use sluice_tests::netns::Netns;
use sluice_tests::process::run;
use sluice_tests::server::{Server, behaviour};
use sluice_tests::{peer, wait};

use crate::inbound::{Accepted, App, told};

pub(super) const INJECT: &str = "linkerd.io/inject";
pub(super) const OPAQUE: &str = "config.linkerd.io/opaque-ports";
pub(super) const SKIP_INBOUND: &str = "config.linkerd.io/skip-inbound-ports";
pub(super) const SKIP_OUTBOUND: &str = "config.linkerd.io/skip-outbound-ports";
pub(super) const SKIP_SUBNETS: &str = "config.linkerd.io/skip-subnets";
pub(super) const SKIP_PORTS: &str = "linkerd.io/skip-ports";

/// A cluster with one node, a server outside of it, and an agent on the node.
pub(super) struct Scene {
    // The agent goes before what it has enrolled.
    pub(super) agent: Agent,
    pub(super) server: Server,
    pub(super) node: Node,
    pub(super) world: World,
}

/// A pod that serves: a process in its first container.
pub(super) struct Shop {
    pub(super) app: App,
    pub(super) pod: Pod,
}

/// What became of a connection at one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// The proxy had no part in it.
    Direct,
    /// It was proxied, and inspected.
    Detect,
    /// It went by itself and was counted, because of what is configured.
    Opaque,
}

/// What became of a connection.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Where the client is, where the server is.
    pub(super) at: [At; 2],
    /// The client's own socket, as the client sees it.
    pub(super) client: SocketAddr,
    /// What the server's system told it.
    pub(super) accepted: Accepted,
    /// All that the client told.
    pub(super) said: String,
}

pub(super) use At::{Detect, Direct, Opaque};

/// The hooks that leave outbound and inbound connections to the kernel.
const KERNEL_PATH: [&str; 2] = ["connect", "sock_ops"];

/// How a client talks to a server that echoes.
pub(super) const ECHO: &[&str] = &["exchange=1000"];

impl Scene {
    pub(super) fn new(api: &Api) -> Self {
        Self::with(api, Layout::usual(), "", "")
    }

    pub(super) fn with_layout(api: &Api, layout: Layout) -> Self {
        Self::with(api, layout, "", "")
    }

    /// With settings of the node, and of the table that speaks of Kubernetes.
    pub(super) fn with(api: &Api, layout: Layout, of_node: &str, of_kubernetes: &str) -> Self {
        let world = World::new(api);
        let node = world.node(layout);
        let server = Server::bind_in(world.cluster().outside(), "[::]:7001", behaviour::echo);
        let config = format!("{of_node}\n{}", world.config(&node, of_kubernetes));
        let agent = Agent::started(&config);
        Self { agent, server, node, world }
    }

    pub(super) fn run(&self, spec: &PodSpec) -> Pod {
        self.world.run(&self.node, spec)
    }

    /// An enrolled pod, by its own annotation.
    pub(super) fn enrolled(&self, name: &str) -> Pod {
        self.enrolled_with(&PodSpec::new(name))
    }

    /// An enrolled pod with annotations of its own. Its port 7001 is that of a server outside.
    pub(super) fn enrolled_with(&self, spec: &PodSpec) -> Pod {
        let pod = self.run(&spec.clone().annotation(INJECT, "enabled"));
        self.expect_enrolled(&pod);
        pod
    }

    /// A pod that serves with echo on these ports, of both families.
    pub(super) fn shop(&self, spec: &PodSpec, ports: &[u16]) -> Shop {
        Shop::of(self.enrolled_with(spec), ports)
    }

    /// Waits until a pod is enrolled, by what the agent says.
    pub(super) fn expect_enrolled(&self, pod: &Pod) {
        let name = self.world.workload(pod);
        wait::eventually("the pod to be enrolled", || self.is_enrolled(&name).then_some(()));
    }

    /// Whether the agent has a workload of this name.
    pub(super) fn is_enrolled(&self, name: &str) -> bool {
        self.status().split_whitespace().any(|word| word == name)
    }

    /// Whether a pod's connection to the server outside goes through the proxy, in either family.
    pub(super) fn is_proxied(&self, pod: &Pod) -> bool {
        let cluster = self.world.cluster();
        let ways = [IpAddr::V4(cluster.outside_v4()), IpAddr::V6(cluster.outside_v6())].map(|ip| {
            let local = exchange(pod, SocketAddr::new(ip, self.server.port()));
            let seen = self.server.accepted();
            let seen = SocketAddr::new(seen.ip().to_canonical(), seen.port());
            assert!(pod.addresses().contains(&seen.ip()), "{seen} is not the pod's own address");
            seen != local
        });
        // It may be enrolled between the two.
        ways[1]
    }

    pub(super) fn expect_proxied(&self, pod: &Pod) {
        wait::eventually("the pod to be proxied", || self.is_proxied(pod).then_some(()));
    }

    pub(super) fn expect_direct(&self, pod: &Pod) {
        wait::eventually("the pod to go direct", || (!self.is_proxied(pod)).then_some(()));
    }

    pub(super) fn status(&self) -> String {
        self.agent.answer(&["status"])
    }

    pub(super) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        Samples::of(self.agent.admin()).sum(name, labels)
    }

    /// One connection from a pod to a port of another that echoes, and what became of it at both ends.
    pub(super) fn connect(&self, client: &Pod, shop: &mut Shop, to: SocketAddr) -> Seen {
        self.connect_doing(client, shop, to, ECHO)
    }

    /// [`Scene::connect`], with these steps.
    pub(super) fn connect_doing(
        &self,
        client: &Pod,
        shop: &mut Shop,
        to: SocketAddr,
        steps: &[&str],
    ) -> Seen {
        let command = client.peer("client", &connecting(to, steps));
        self.seen(command, shop, to)
    }

    /// One connection from a pod to itself.
    pub(super) fn connect_to_itself(&self, shop: &mut Shop, to: SocketAddr) -> Seen {
        let command = shop.pod.peer("client", &connecting(to, ECHO));
        self.seen(command, shop, to)
    }

    /// One connection from a namespace in which nothing is enrolled.
    pub(super) fn connect_from(&self, netns: &Netns, shop: &mut Shop, to: SocketAddr) -> Seen {
        let netns = netns.path().to_str().expect("UTF-8").to_owned();
        let words = peer::command(&["--netns", &netns, "client"], &connecting(to, ECHO));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        self.seen(command, shop, to)
    }

    fn seen(&self, command: Command, shop: &mut Shop, to: SocketAddr) -> Seen {
        let before = ["outbound", "inbound"].map(|direction| self.counted(direction));
        let by_kernel_before = KERNEL_PATH.map(|hook| self.on_kernel_path(hook));
        let finished = run(command);
        let said = String::from_utf8_lossy(&finished.stdout).into_owned();
        assert!(finished.status.success(), "{to}: {said}{}", finished.stderr);
        assert_eq!(told(&said, "peer"), to.to_string(), "what the client asked for");
        let client: SocketAddr = told(&said, "local").parse().expect("an address");
        let accepted = shop.accepted();
        assert_eq!(accepted.from, accepted.peer, "accept(2) and getpeername(2)");
        let by_kernel = KERNEL_PATH.map(|hook| self.on_kernel_path(hook));
        let is_proxied = [client.ip().is_loopback(), accepted.kernel != accepted.from];
        let mut at = [Direct; 2];
        for (index, direction) in ["outbound", "inbound"].into_iter().enumerate() {
            if !is_proxied[index] {
                if by_kernel[index] > by_kernel_before[index] {
                    at[index] = Opaque;
                }
                continue;
            }
            wait::eventually("the connection to be counted", || {
                (self.counted(direction) > before[index]).then_some(())
            });
            at[index] = Detect;
        }
        Seen { at, client, accepted, said }
    }

    /// The connections of one direction that were proxied, all of them inspected.
    fn counted(&self, direction: &str) -> f64 {
        let samples = Samples::of(self.agent.admin());
        let name = format!("{direction}_tcp_protocol_connections_total");
        samples.sum(&name, &[]) - samples.sum(&name, &[("detected_by", "config")])
    }

    /// The connections that a hook has left to the kernel.
    fn on_kernel_path(&self, hook: &str) -> f64 {
        self.metric("sluice_hook_outcomes_total", &[("hook", hook), ("outcome", "kernel_path")])
    }

    /// Waits until connections from one pod to another fare like this.
    pub(super) fn expect(&self, client: &Pod, shop: &mut Shop, to: SocketAddr, expected: [At; 2]) {
        let mut last = None;
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait::eventually("connections to fare as they should", || {
                let at = self.connect(client, shop, to).at;
                last = Some(at);
                (at == expected).then_some(())
            });
        }));
        assert!(found.is_ok(), "to {to}: {last:?}, expected {expected:?}\n{}", self.status());
    }
}

impl Shop {
    /// A pod with a server that echoes on these ports.
    pub(super) fn of(pod: Pod, ports: &[u16]) -> Self {
        let app = App::start(pod.peer::<&str>("serve", &[]));
        let mut shop = Self { app, pod };
        for port in ports {
            shop.open(*port, "echo");
        }
        shop
    }

    /// Opens one more port.
    pub(super) fn open(&mut self, port: u16, behaviour: &str) {
        self.app.open(&port.to_string(), &format!("[::]:{port} {behaviour}"));
    }

    /// The next connection, to whichever port.
    pub(super) fn accepted(&mut self) -> Accepted {
        let line = self.app.process.line("accepted");
        Accepted::read(line.split_once(' ').expect("a port, and addresses").1)
    }

    pub(super) fn v4(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.pod.v4().into(), port)
    }

    pub(super) fn v6(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.pod.v6().into(), port)
    }
}

/// The steps of a client that connects and then does these.
fn connecting(to: SocketAddr, steps: &[&str]) -> Vec<String> {
    std::iter::once(format!("connect={to}")).chain(steps.iter().map(|&step| step.to_owned())).collect()
}

/// One connection with some bytes out and back; the client's own address.
pub(super) fn exchange(pod: &Pod, to: SocketAddr) -> SocketAddr {
    let finished = run(pod.peer("client", &[format!("connect={to}"), "exchange=1000".into()]));
    let said = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(finished.status.success(), "{} to {to}: {said}{}", pod.name(), finished.stderr);
    assert_eq!(told(&said, "peer"), to.to_string(), "what the client asked for");
    told(&said, "local").parse().expect("the client's address")
}
