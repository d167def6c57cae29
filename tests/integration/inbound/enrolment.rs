//! Which workloads' inbound connections are taken, and what a change of that does.

use sluice_tests::agent::Agent;
use sluice_tests::cgroup::Cgroup;
use sluice_tests::process::run;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::{tests, wait};

use super::decisions::shows;
use super::pod::{Pod, echoed, told, way_from};
use crate::workload::{Way, peer_in};

pub(super) fn register(suite: &mut Suite) {
    suite.group("inbound::enrolment").sluice(tests![
        a_workload_that_wants_no_inbound_is_left_alone,
        inbound_is_switched_live,
        whose_address_is_shown_is_switched_live,
        a_workload_without_a_namespace_of_its_own_is_left_alone,
        two_workloads_in_one_namespace_count_as_the_first,
        a_namespace_that_is_deleted_while_enrolled_does_no_harm,
        a_cgroup_that_is_made_again_is_served_again,
        two_pods_of_one_node_are_proxied_at_both_ends,
        an_open_connection_survives_that_its_workload_leaves,
    ]);
}

fn a_workload_that_wants_no_inbound_is_left_alone(_: &Env) {
    let (without, with) = (Pod::new("without"), Pod::new("with"));
    let agent = Agent::started(&[without.config("inbound = false"), with.config("")].concat());
    let mut apps = [without.app(), with.app()];
    for app in &mut apps {
        app.echo("web", "[::]:8080");
    }
    assert_eq!(without.way_to(&mut apps[0], "web", without.v4(8080)), Way::Direct);
    assert_eq!(with.way_to(&mut apps[1], "web", with.v4(8080)), Way::Proxied);
    shows(agent.admin(), "tcp_open_total", &[("direction", "inbound"), ("workload", "without")], 0.0);
}

fn inbound_is_switched_live(_: &Env) {
    let pod = Pod::new("web");
    let agent = Agent::started(&pod.config(""));
    let mut app = pod.app();
    app.echo("web", "[::]:8080");
    for (setting, way) in [("", Way::Proxied), ("inbound = false", Way::Direct), ("", Way::Proxied)] {
        agent.write_config(&pod.config(setting));
        wait::eventually(setting, || (pod.way_to(&mut app, "web", pod.v4(8080)) == way).then_some(()));
    }
}

fn whose_address_is_shown_is_switched_live(_: &Env) {
    let pod = Pod::new("web");
    let agent = Agent::started(&pod.config("learn-opaque = \"off\""));
    let mut app = pod.app();
    app.echo("web", "0.0.0.0:8080");
    for (setting, shown) in
        [("preserve", pod.node_v4()), ("proxy", pod.v4(0).ip()), ("preserve", pod.node_v4())]
    {
        let settings = format!("learn-opaque = \"off\"\nclient-address = \"{setting}\"");
        agent.write_config(&pod.config(&settings));
        wait::eventually(setting, || {
            pod.run_client(&[format!("connect={}", pod.v4(8080)), "exchange=10".into()]);
            let accepted = app.accepted("web");
            assert_eq!(accepted.kernel.ip(), pod.v4(0).ip(), "proxied all the time");
            (accepted.from.ip() == shown).then_some(())
        });
    }
}

fn a_workload_without_a_namespace_of_its_own_is_left_alone(_: &Env) {
    let (pod, other) = (Pod::new("host"), Pod::new("other"));
    let netns = format!("netns = \"{}\"\n", pod.workload.netns.path().display());
    let agent =
        Agent::started(&[pod.config("inbound = true").replace(&netns, ""), other.config("")].concat());
    let told = agent.answer(&["explain", "--inbound", "80"]);
    assert!(
        told.contains("host <- port 80: direct (") && told.contains("other <- port 80: detect ("),
        "{told}"
    );
    let mut app = pod.app();
    app.echo("web", "0.0.0.0:8080");
    assert_eq!(pod.way_to(&mut app, "web", pod.v4(8080)), Way::Direct);
}

/// Nobody can tell which cgroup the listener will be of that a packet is for.
fn two_workloads_in_one_namespace_count_as_the_first(_: &Env) {
    let pod = Pod::new("alpha");
    let beta = Cgroup::new();
    let beta_config = |more: &str| {
        let config = pod.config(more).replace("\"alpha\"", "\"beta\"");
        config.replace(&pod.workload.cgroup.path().display().to_string(), &beta.path().display().to_string())
    };
    let skips = |port: u16| format!("skip-inbound-ports = \"{port}\"");
    let both = [pod.config(&skips(8081)), beta_config(&skips(8082))].concat();
    let agent = Agent::started(&both);
    let mut apps = [
        pod.app(),
        super::pod::App::start(peer_in::<&str>(beta.path().to_owned(), &pod.workload.netns, "serve", &[])),
    ];
    for (app, port) in apps.iter_mut().zip([8080, 8090]) {
        app.echo("web", &format!("[::]:{port}"));
        app.echo("one", &format!("[::]:{}", port + 1));
        app.echo("two", &format!("[::]:{}", port + 2));
    }
    let first_has_all = |apps: &mut [super::pod::App; 2]| {
        assert_eq!(pod.way_to(&mut apps[0], "web", pod.v4(8080)), Way::Proxied);
        assert_eq!(pod.way_to(&mut apps[0], "one", pod.v4(8081)), Way::Direct);
        assert_eq!(pod.way_to(&mut apps[0], "two", pod.v4(8082)), Way::Proxied);
        assert_eq!(pod.way_to(&mut apps[1], "web", pod.v4(8090)), Way::Proxied);
    };
    first_has_all(&mut apps);
    shows(
        agent.admin(),
        "tcp_open_total",
        &[("direction", "inbound"), ("peer", "src"), ("workload", "alpha")],
        3.0,
    );
    shows(agent.admin(), "tcp_open_total", &[("direction", "inbound"), ("workload", "beta")], 0.0);
    let told = agent.answer(&["explain", "--inbound", "8082"]);
    assert!(
        told.contains("alpha <- port 8082: detect (") && told.contains("beta <- port 8082: direct ("),
        "{told}"
    );
    // It does not change hands with a reload; when the first leaves it does.
    agent.write_config(&format!("opaque-ports = \"7777\"\n{both}"));
    wait::eventually("the reload", || agent.answer(&["ports", "list"]).contains("7777").then_some(()));
    first_has_all(&mut apps);
    agent.write_config(&beta_config(&skips(8082)));
    // In this order: for a moment between the two, all go direct.
    wait::eventually("the second to have it", || {
        (pod.way_to(&mut apps[0], "two", pod.v4(8082)) == Way::Direct
            && pod.way_to(&mut apps[1], "two", pod.v4(8092)) == Way::Proxied)
            .then_some(())
    });
    // Who listens in no enrolled cgroup is served, and sees the proxy.
    echoed(&pod.node, pod.v4(8081)).expect("an echo");
    let accepted = apps[0].accepted("one");
    assert_eq!((accepted.from.ip(), accepted.kernel), (pod.v4(0).ip(), accepted.from));
}

fn a_namespace_that_is_deleted_while_enrolled_does_no_harm(_: &Env) {
    let (pod, other) = (Pod::new("short"), Pod::new("long"));
    let mut agent = Agent::started(&[pod.config(""), other.config("")].concat());
    let (mut app, mut others) = (pod.app(), other.app());
    app.echo("web", "[::]:8080");
    others.echo("web", "[::]:8080");
    assert_eq!(pod.way_to(&mut app, "web", pod.v4(8080)), Way::Proxied);
    drop(app);
    // Its file, its processes, its cgroup: as a container runtime does.
    let Pod { workload, .. } = pod;
    drop(workload);
    wait::eventually("the agent to see it", || {
        agent.answer(&["status"]).contains("cgroup gone").then_some(())
    });
    assert_eq!(other.way_to(&mut others, "web", other.v4(8080)), Way::Proxied);
    let next = Pod::new("next");
    agent.write_config(&[other.config(""), next.config("")].concat());
    let mut app = next.app();
    app.echo("web", "[::]:8080");
    wait::eventually("the next workload", || {
        (next.way_to(&mut app, "web", next.v4(8080)) == Way::Proxied).then_some(())
    });
    let finished = agent.stop(nix::sys::signal::Signal::SIGTERM);
    assert!(finished.status.success(), "{finished:?}");
}

/// As when a container of a pod is restarted by itself.
fn a_cgroup_that_is_made_again_is_served_again(_: &Env) {
    let pod = Pod::new("web");
    let _agent = Agent::started(&pod.config(""));
    let mut app = pod.app();
    app.echo("web", "[::]:8080");
    assert_eq!(pod.way_to(&mut app, "web", pod.v4(8080)), Way::Proxied);
    drop(app);
    pod.workload.cgroup.make_anew();
    let mut app = pod.app();
    app.echo("web", "[::]:8080");
    wait::eventually("the workload to be enrolled again", || {
        let way = pod.way_to(&mut app, "web", pod.v4(8080));
        (way == Way::Proxied).then_some(())
    });
}

fn two_pods_of_one_node_are_proxied_at_both_ends(_: &Env) {
    let pod = Pod::new("server");
    let client = Cgroup::new();
    let config = format!(
        "[[workload]]\nname = \"client\"\ncgroup = \"{}\"\nnetns = \"{}\"\n",
        client.path().display(),
        pod.node.path().display()
    );
    let agent = Agent::started(&[pod.config(""), config].concat());
    let mut app = pod.app();
    app.open("web", "[::]:8080 http");
    for (addr, source) in [(pod.v4(8080), pod.node_v4()), (pod.v6(8080), pod.node_v6())] {
        let steps = [
            format!("connect={addr}"),
            "text=GET / HTTP/1.1\\r\\nHost: shop.test\\r\\n\\r\\n".into(),
            "recv-line".into(),
            "fin".into(),
            "recv-eof".into(),
        ];
        let finished = run(peer_in(client.path().to_owned(), &pod.node, "client", &steps));
        let stdout = String::from_utf8_lossy(&finished.stdout).into_owned();
        assert_eq!(told(&stdout, "line"), "HTTP/1.1 200 OK");
        assert_eq!(told(&stdout, "peer"), addr.to_string());
        let accepted = app.accepted("web");
        // Its port is that of the proxy's socket at the client's end, as without a proxy at this one.
        assert_eq!((accepted.from.ip(), accepted.peer), (source, accepted.from));
        assert_eq!(accepted.kernel.ip(), addr.ip());
    }
    for (direction, workload) in [("outbound", "client"), ("inbound", "server")] {
        let labels = [("direction", direction), ("workload", workload)];
        shows(agent.admin(), "tcp_open_total", &[labels[0], labels[1], ("peer", "dst")], 2.0);
        shows(agent.admin(), "request_total", &labels, 2.0);
        shows(agent.admin(), "response_total", &labels, 2.0);
    }
    shows(agent.admin(), "tcp_open_total", &[("peer", "dst")], 4.0);
    // The other way as well: the client's workload accepts, and has its own address.
    let mut other =
        super::pod::App::start(peer_in::<&str>(client.path().to_owned(), &pod.node, "serve", &[]));
    other.echo("web", "0.0.0.0:9090");
    let addr = std::net::SocketAddr::new(pod.node_v4(), 9090);
    assert_eq!(way_from(&pod.workload.netns, &mut other, "web", addr), Way::Proxied);
}

fn an_open_connection_survives_that_its_workload_leaves(_: &Env) {
    let (pod, other) = (Pod::new("web"), Pod::new("other"));
    let agent = Agent::started(&[pod.config(""), other.config("")].concat());
    let mut app = pod.app();
    app.echo("web", "0.0.0.0:8080");
    let steps = [
        format!("connect={}", pod.v4(8080)),
        "ping-pong=1".into(),
        "say=open".into(),
        "await".into(),
        "exchange=100000".into(),
    ];
    let mut client = sluice_tests::process::Process::start(pod.client(&steps));
    client.line("open");
    assert_eq!(app.accepted("web").kernel.ip(), pod.v4(0).ip());
    agent.write_config(&other.config(""));
    wait::eventually("the workload to leave", || {
        (pod.way_to(&mut app, "web", pod.v4(8080)) == Way::Direct).then_some(())
    });
    client.say("go on");
    assert!(client.line("received").starts_with("100000 "));
}
