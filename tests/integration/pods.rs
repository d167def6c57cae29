//! The harness of pods does what a cluster does, by plain TCP and without sluice; and the API, real or
//! the stand-in's, tells the same of it. What is tested with sluice stands on this.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use sluice_tests::kube::{
    Api, Backend, Cluster, Driver, Layout, Pod, PodSpec, Qos, Runtime, ServiceRule, ServiceSpec, StandIn,
    World,
};
use sluice_tests::process::run;
use sluice_tests::scale::Scale;
use sluice_tests::server::{Server, behaviour};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{cgroup, peer, tests};

pub(crate) fn register(suite: &mut Suite) {
    let mut pods = suite.group("pods");
    pods.one_lane(tests![
        a_pod_s_processes_are_in_its_cgroup_and_network_under_every_layout,
        a_monitor_is_in_the_pod_s_cgroup_and_not_in_its_network,
        pods_reach_each_other_on_one_node_and_across_nodes,
        pods_reach_the_outside_which_sees_their_own_addresses,
        the_node_reaches_its_pods_from_its_own_address,
        a_pod_on_the_host_s_network_has_none_of_its_own,
        a_restarted_container_keeps_the_network_and_a_new_sandbox_does_not,
        a_static_pod_s_cgroup_has_the_hash_for_its_name,
        what_a_pod_was_made_of_goes_with_it,
    ]);
    if Scale::current() == Scale::Small {
        pods.leave_out("needs nftables, which the guests do not have");
    }
    pods.one_lane(tests![
        a_service_leads_to_its_pods_in_turn,
        a_pod_reaches_itself_by_its_service,
        a_service_without_pods_refuses,
        the_stand_in_tells_the_same_as_the_kernel,
    ]);
    let mut real = suite.group("k8s::pods");
    real.require_kubernetes();
    real.one_lane(tests![
        the_api_server_tells_the_same_as_the_kernel,
        an_annotation_comes_and_goes,
        a_static_pod_is_known_by_its_mirror,
    ]);
}

/// Connects from a pod, exchanges bytes, and gives who the server saw.
fn seen_from(pod: &Pod, to: SocketAddr, server: &Server) -> IpAddr {
    let finished = run(pod.peer("client", &[format!("connect={to}"), "exchange=1000".into()]));
    assert!(finished.status.success(), "{} to {to}: {finished:?}", pod.name());
    server.accepted().ip().to_canonical()
}

fn at(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

fn netns_of(pid: u32) -> PathBuf {
    std::fs::read_link(format!("/proc/{pid}/ns/net")).expect("a namespace")
}

fn own_netns() -> PathBuf {
    netns_of(std::process::id())
}

/// The processes of a cgroup.
fn processes(cgroup: &Path) -> Vec<u32> {
    let procs = std::fs::read_to_string(cgroup.join("cgroup.procs")).expect("a cgroup");
    procs.lines().map(|pid| pid.parse().expect("a process id")).collect()
}

fn a_pod_s_processes_are_in_its_cgroup_and_network_under_every_layout(_: &Env) {
    let cluster = Cluster::new();
    for layout in Layout::all() {
        let node = cluster.node(layout);
        for qos in [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort] {
            let pod = node.pod(&PodSpec::new("shop").qos(qos).container("sidecar"));
            let place = node.cgroup().join(layout.pod(qos, pod.uid()));
            assert_eq!(pod.cgroup(), place);
            let finished = run(pod.command(&["cat", "/proc/self/cgroup"]));
            let told = String::from_utf8_lossy(&finished.stdout).into_owned();
            let own = cgroup::directory_of(&told).expect("a cgroup");
            assert_eq!(own, pod.container_cgroup("shop"), "{layout:?}");
            for container in ["shop", "sidecar"] {
                let [pid] = processes(pod.container_cgroup(container))[..] else { panic!("one process") };
                assert_ne!(netns_of(pid), own_netns(), "{layout:?}");
            }
        }
    }
}

fn a_monitor_is_in_the_pod_s_cgroup_and_not_in_its_network(_: &Env) {
    let node = Cluster::new().node(Layout::new(Driver::Systemd, Runtime::Crio));
    let pod = node.pod(&PodSpec::new("shop"));
    let entries = std::fs::read_dir(pod.cgroup()).expect("the pod's cgroup").flatten();
    let monitors: Vec<_> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("crio-conmon-"))
        .map(|entry| entry.path())
        .collect();
    assert_eq!(monitors.len(), 2, "the sandbox has one, the container another");
    for monitor in monitors {
        assert_eq!(netns_of(processes(&monitor)[0]), own_netns());
    }
}

fn pods_reach_each_other_on_one_node_and_across_nodes(_: &Env) {
    let cluster = Cluster::new();
    let (here, there) = (cluster.node(Layout::usual()), cluster.node(Layout::kind()));
    let client = here.pod(&PodSpec::new("client"));
    for (node, name) in [(&here, "near"), (&there, "far")] {
        let pod = node.pod(&PodSpec::new(name));
        let server = pod.server(8080, behaviour::echo);
        assert_eq!(seen_from(&client, at(pod.v4(), 8080), &server), client.v4(), "{name}");
        assert_eq!(seen_from(&client, at(pod.v6(), 8080), &server), client.v6(), "{name}");
    }
}

fn pods_reach_the_outside_which_sees_their_own_addresses(_: &Env) {
    let cluster = Cluster::new();
    let pod = cluster.node(Layout::usual()).pod(&PodSpec::new("client"));
    let server = Server::bind_in(cluster.outside(), "[::]:443", behaviour::echo);
    assert_eq!(seen_from(&pod, at(cluster.outside_v4(), 443), &server), pod.v4());
    assert_eq!(seen_from(&pod, at(cluster.outside_v6(), 443), &server), pod.v6());
}

fn the_node_reaches_its_pods_from_its_own_address(_: &Env) {
    let node = Cluster::new().node(Layout::usual());
    let pod = node.pod(&PodSpec::new("server"));
    let server = pod.server(8080, behaviour::echo);
    let probe = |to: SocketAddr| {
        let netns = node.netns().path().to_str().expect("UTF-8").to_owned();
        let steps = [format!("connect={to}"), "exchange=10".to_owned()];
        let words = peer::command(&["--netns", &netns, "client"], &steps);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        assert!(run(command).status.success(), "{to}");
        server.accepted().ip().to_canonical()
    };
    assert_eq!(probe(at(pod.v4(), 8080)), node.probes_from_v4());
    assert_eq!(probe(at(pod.v6(), 8080)), node.probes_from_v6());
}

fn a_pod_on_the_host_s_network_has_none_of_its_own(_: &Env) {
    let node = Cluster::new().node(Layout::usual());
    let pod = node.pod(&PodSpec::new("host").host_network());
    assert!(pod.netns().is_none());
    assert_eq!(netns_of(processes(pod.container_cgroup("host"))[0]), own_netns());
}

fn a_restarted_container_keeps_the_network_and_a_new_sandbox_does_not(_: &Env) {
    let cluster = Cluster::new();
    let node = cluster.node(Layout::usual());
    let (client, mut pod) = (node.pod(&PodSpec::new("client")), node.pod(&PodSpec::new("server")));
    let first = (pod.container_cgroup("server").to_owned(), processes(pod.container_cgroup("server"))[0]);
    let network = netns_of(first.1);
    // Held, or the next one may get its number: Linux 7.2 gives them anew at once.
    let _held = std::fs::File::open(format!("/proc/{}/ns/net", first.1)).expect("a namespace");
    pod.restart_containers();
    let second = (pod.container_cgroup("server").to_owned(), processes(pod.container_cgroup("server"))[0]);
    assert_ne!(first, second);
    assert!(!first.0.exists());
    assert_eq!(netns_of(second.1), network);
    let cgroup = pod.cgroup().to_owned();
    pod.recreate_sandbox();
    assert_ne!(netns_of(processes(pod.container_cgroup("server"))[0]), network);
    assert_eq!(pod.cgroup(), cgroup);
    let server = pod.server(8080, behaviour::echo);
    assert_eq!(seen_from(&client, at(pod.v4(), 8080), &server), client.v4(), "it is wired again");
}

fn a_static_pod_s_cgroup_has_the_hash_for_its_name(_: &Env) {
    let hash = "0123456789abcdef0123456789abcdef";
    let node = Cluster::new().node(Layout::usual());
    let pod = node.pod(&PodSpec::new("static").config_hash(hash));
    assert_eq!(pod.cgroup(), node.cgroup().join(Layout::usual().pod(Qos::BestEffort, hash)));
    assert_ne!(pod.uid(), hash);
}

fn what_a_pod_was_made_of_goes_with_it(_: &Env) {
    let node = Cluster::new().node(Layout::new(Driver::Cgroupfs, Runtime::Crio));
    let pod = node.pod(&PodSpec::new("shop"));
    let (cgroup, netns) = (pod.cgroup().to_owned(), pod.netns().expect("its own").path());
    drop(pod);
    assert!(!cgroup.exists() && !netns.exists());
    let (top, netns) = (node.cgroup().to_owned(), node.netns().path());
    drop(node);
    assert!(!top.exists() && !netns.exists());
}

/// A rule for port 80.
fn rule(address: &str, pods: &[&Pod]) -> ServiceRule {
    let address: IpAddr = address.parse().expect("an address");
    let of_family = |pod: &&Pod| {
        let mut own = pod.addresses().into_iter();
        Backend { address: own.find(|own| own.is_ipv4() == address.is_ipv4()).expect("both"), port: 8080 }
    };
    ServiceRule { address, port: 80, backends: pods.iter().map(of_family).collect() }
}

const SERVICE: [&str; 2] = ["10.96.0.10", "fd00:96::10"];

fn a_service_leads_to_its_pods_in_turn(_: &Env) {
    let cluster = Cluster::new();
    let (here, there) = (cluster.node(Layout::usual()), cluster.node(Layout::usual()));
    let client = here.pod(&PodSpec::new("client"));
    let pods = [here.pod(&PodSpec::new("near")), there.pod(&PodSpec::new("far"))];
    let servers = pods.each_ref().map(|pod| pod.server(8080, behaviour::echo));
    here.set_services(&SERVICE.map(|address| rule(address, &pods.each_ref())));
    for address in SERVICE {
        let to = at(address.parse::<IpAddr>().expect("an address"), 80);
        for _ in 0..4 {
            let finished = run(client.peer("client", &[format!("connect={to}"), "exchange=10".into()]));
            assert!(finished.status.success(), "{to}: {finished:?}");
            let told = String::from_utf8_lossy(&finished.stdout).into_owned();
            assert!(told.contains(&format!("peer {to}\n")), "{told}");
        }
        for (server, pod) in servers.iter().zip(&pods) {
            assert_eq!(server.accepted_so_far().len(), 2, "{} by {address}", pod.name());
        }
    }
}

fn a_pod_reaches_itself_by_its_service(_: &Env) {
    let node = Cluster::new().node(Layout::usual());
    let pod = node.pod(&PodSpec::new("self"));
    let server = pod.server(8080, behaviour::echo);
    node.set_services(&SERVICE.map(|address| rule(address, &[&pod])));
    let [v4, v6] = SERVICE.map(|address| at(address.parse::<IpAddr>().expect("an address"), 80));
    assert_eq!(seen_from(&pod, v4, &server), node.probes_from_v4());
    assert_eq!(seen_from(&pod, v6, &server), node.probes_from_v6());
}

fn a_service_without_pods_refuses(_: &Env) {
    let node = Cluster::new().node(Layout::usual());
    let pod = node.pod(&PodSpec::new("client"));
    node.set_services(&SERVICE.map(|address| rule(address, &[])));
    for address in SERVICE {
        let to = at(address.parse::<IpAddr>().expect("an address"), 80);
        let finished = run(pod.peer("client", &[format!("connect={to}")]));
        let told = String::from_utf8_lossy(&finished.stdout).into_owned();
        assert!(told.contains("error connect ECONNREFUSED"), "{to}: {finished:?}");
    }
}

fn the_stand_in_tells_the_same_as_the_kernel(_: &Env) {
    for versions in [&["v1"][..], &["v1beta1"]] {
        let stand_in = StandIn::start();
        stand_in.serve_endpoint_slices(versions);
        tells_the_same_as_the_kernel(&stand_in.api());
    }
}

fn the_api_server_tells_the_same_as_the_kernel(_: &Env) {
    tells_the_same_as_the_kernel(&real());
}

fn real() -> Api {
    Api::from_env().expect("the tests are left out without it")
}

fn tells_the_same_as_the_kernel(api: &Api) {
    let world = World::new(api);
    let node = world.node(Layout::usual());
    let client = world.run(&node, &PodSpec::new("client"));
    let pod = world.run(&node, &PodSpec::new("server").port("http", 8080).qos(Qos::Burstable));
    let spec = ServiceSpec::new("server").port_to_name(80, "http");
    let service = world.service(&spec, &[&node], &[&pod]);
    let server = pod.server(8080, behaviour::echo);
    assert_eq!(seen_from(&client, at(service.v4(), 80), &server), client.v4());
    assert_eq!(seen_from(&client, at(service.v6(), 80), &server), client.v6());

    let list = api.get(&format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", node.name()));
    let items = list["items"].as_array().expect("a list");
    let names: Vec<_> = items.iter().filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
    assert_eq!(names, ["client", "server"]);
    let told = &items[1];
    assert_eq!(told["metadata"]["uid"], pod.uid());
    assert_eq!(told["status"]["podIP"], pod.v4().to_string());
    assert_eq!(told["status"]["podIPs"][1]["ip"], pod.v6().to_string());
    assert_eq!(told["status"]["phase"], "Running");
    let group = api.get("/apis/discovery.k8s.io");
    let version = group["preferredVersion"]["groupVersion"].as_str().expect("a version");
    let slices = format!("/apis/{version}/namespaces/{}/endpointslices", world.namespace());
    let slices = api.get(&format!("{slices}?labelSelector=kubernetes.io/service-name%3Dserver"));
    assert_eq!(slices["items"].as_array().map(Vec::len), Some(2), "{slices}");
    assert_eq!(slices["items"][0]["endpoints"][0]["targetRef"]["uid"], pod.uid());

    let (path, cgroup) = (world.path("pods", "server"), pod.cgroup().to_owned());
    world.remove(pod);
    assert!(!cgroup.exists());
    assert_eq!(api.request(&format!("GET {path}"), "", &serde_json::Value::Null).status, 404);
}

fn an_annotation_comes_and_goes(_: &Env) {
    let world = World::new(&real());
    let node = world.node(Layout::usual());
    let pod = world.run(&node, &PodSpec::new("shop").annotation("linkerd.io/inject", "enabled"));
    let annotations = || world.api().get(&world.path("pods", pod.name()))["metadata"]["annotations"].clone();
    let skip = "config.linkerd.io/skip-inbound-ports";
    world.annotate("pods", "shop", skip, Some("8080"));
    assert_eq!(annotations()[skip], "8080");
    assert_eq!(annotations()["linkerd.io/inject"], "enabled");
    world.annotate("pods", "shop", skip, None);
    assert!(annotations()[skip].is_null());
    world.annotate_namespace(skip, Some("9090"));
    let namespace = world.api().get(&format!("/api/v1/namespaces/{}", world.namespace()));
    assert_eq!(namespace["metadata"]["annotations"][skip], "9090");
}

fn a_static_pod_is_known_by_its_mirror(_: &Env) {
    let world = World::new(&real());
    let node = world.node(Layout::usual());
    let hash = "fedcba9876543210fedcba9876543210";
    let pod = world.run(&node, &PodSpec::new("static").config_hash(hash));
    let mirror = world.api().get(&world.path("pods", "static"));
    assert_eq!(mirror["metadata"]["annotations"]["kubernetes.io/config.hash"], hash);
    assert_eq!(mirror["metadata"]["uid"], pod.uid());
    assert!(
        pod.cgroup().ends_with(format!("kubepods-besteffort-pod{hash}.slice")),
        "{}",
        pod.cgroup().display()
    );
}
