//! Any proxy can stand behind the dataplane: it asks for SO_ORIGINAL_DST.

use sluice_tests::agent::Agent;
use sluice_tests::cgroup::Cgroup;
use sluice_tests::process::Process;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{http, tests};

use crate::workload::{Workload, peer_in};

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("foreign");
    sluice_tests::require!(group, SetRetvalInSockopt, since = 6.1);
    group.sluice(tests![
        a_foreign_proxy_reads_the_ipv4_destination,
        a_foreign_proxy_reads_a_mapped_client_s_destination,
        a_foreign_proxy_reads_the_ipv6_destination,
        a_foreign_proxy_that_was_connected_to_directly_is_told_so,
        a_foreign_proxy_s_own_connections_are_left_alone,
    ]);
}

/// A workload with another proxy in front.
struct Fronted {
    workload: Workload,
    proxy_cgroup: Cgroup,
    port: u16,
}

impl Fronted {
    fn new() -> Self {
        Self { workload: Workload::new("shop"), proxy_cgroup: Cgroup::new(), port: http::free_port() }
    }

    fn config(&self) -> String {
        self.workload.config(&format!(
            "[workload.foreign-proxy]\ncgroup = \"{}\"\nport = {}",
            self.proxy_cgroup.path().display(),
            self.port
        ))
    }

    /// The other proxy, listening.
    fn proxy(&self, loopback: &str) -> Process {
        let addr = format!("{loopback}:{}", self.port);
        let command =
            peer_in(self.proxy_cgroup.path().to_owned(), &self.workload.netns, "original-dst", &[addr]);
        let mut proxy = Process::start(command);
        proxy.line("listening");
        proxy
    }

    /// What the proxy is told, and answers, when the workload connects.
    fn told(&self, proxy: &mut Process, to: &str) -> String {
        let mut client = self.workload.client(&[format!("connect={to}"), "recv-line".to_owned()]);
        let answered = client.line("line");
        let told = proxy.line("original");
        assert_eq!(answered, told);
        told
    }
}

fn a_foreign_proxy_reads_the_ipv4_destination(_: &Env) {
    let fronted = Fronted::new();
    let mut proxy = fronted.proxy("127.0.0.1");
    let _agent = Agent::started(&fronted.config());
    assert_eq!(fronted.told(&mut proxy, "10.1.2.3:8080"), "10.1.2.3:8080");
    assert_eq!(fronted.told(&mut proxy, "10.1.2.4:80"), "10.1.2.4:80");
}

fn a_foreign_proxy_reads_a_mapped_client_s_destination(_: &Env) {
    let fronted = Fronted::new();
    let mut proxy = fronted.proxy("127.0.0.1");
    let _agent = Agent::started(&fronted.config());
    assert_eq!(fronted.told(&mut proxy, "[::ffff:10.1.2.3]:8080"), "10.1.2.3:8080");
}

fn a_foreign_proxy_reads_the_ipv6_destination(_: &Env) {
    let fronted = Fronted::new();
    let mut proxy = fronted.proxy("[::1]");
    let _agent = Agent::started(&fronted.config());
    assert_eq!(fronted.told(&mut proxy, "[fd00:1::2]:8080"), "[fd00:1::2]:8080");
}

fn a_foreign_proxy_that_was_connected_to_directly_is_told_so(_: &Env) {
    let fronted = Fronted::new();
    let mut proxy = fronted.proxy("127.0.0.1");
    let _agent = Agent::started(&fronted.config());
    // From outside the workload: nothing was redirected, so there is nothing to tell.
    let addr = format!("127.0.0.1:{}", fronted.port);
    let _stream = fronted.workload.netns.enter(|| std::net::TcpStream::connect(&addr)).expect("connect");
    assert!(proxy.line("original").starts_with("error"), "it was told a destination");
}

fn a_foreign_proxy_s_own_connections_are_left_alone(_: &Env) {
    let fronted = Fronted::new();
    let _proxy = fronted.proxy("127.0.0.1");
    let _agent = Agent::started(&fronted.config());
    let server = fronted.workload.server();
    let steps = [format!("connect={}", server.addr()), "exchange=10".to_owned()];
    let cgroup = fronted.proxy_cgroup.path().to_owned();
    let mut client = Process::start(peer_in(cgroup, &fronted.workload.netns, "client", &steps));
    assert_eq!(client.line("local"), server.accepted().to_string());
}
