//! What becomes of pods when the API server does what a healthy one does not: it is a stand-in's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sluice_tests::kube::stand_in::{Fault, On, WatchEnd};
use sluice_tests::kube::{PodSpec, StandIn};
use sluice_tests::process::resident_bytes;
use sluice_tests::suite::{Env, Group};
use sluice_tests::{http, tests, wait};

use super::scene::{Detect, Direct, INJECT, SKIP_INBOUND, SKIP_OUTBOUND, Scene};

pub(super) fn register(pods: &mut Group<'_>) {
    pods.sluice(tests![
        while_the_server_is_away_pods_stay_as_they_are,
        pods_that_come_and_go_while_the_server_is_away_are_caught_up_with,
        an_agent_that_starts_while_the_server_is_away_enrols_when_it_is_back,
        a_server_that_forgets_or_breaks_off_is_followed_again,
        a_watch_that_is_refused_as_too_old_is_begun_anew,
        after_a_bookmark_a_server_that_forgot_is_not_asked_for_everything,
        a_server_that_is_busy_is_asked_again,
        many_changes_at_once_end_in_what_is_true_then,
    ]);
}

fn while_the_server_is_away_pods_stay_as_they_are(_: &Env) {
    let mut stand_in = StandIn::start();
    let scene = Scene::new(&stand_in.api());
    let pod = scene.enrolled("shop");
    stand_in.go_away();
    for _ in 0..10 {
        assert!(scene.is_proxied(&pod), "what is known stays known");
    }
    stand_in.come_back();
    scene.world.annotate("pods", "shop", SKIP_OUTBOUND, Some("7001"));
    scene.expect_direct(&pod);
}

fn a_server_that_forgets_or_breaks_off_is_followed_again(_: &Env) {
    let stand_in = StandIn::start();
    let scene = Scene::new(&stand_in.api());
    let pod = scene.enrolled("shop");
    for end in [WatchEnd::Cleanly, WatchEnd::MidLine, WatchEnd::Gone] {
        if end == WatchEnd::Gone {
            stand_in.compact();
        }
        stand_in.end_watches(end);
        scene.world.annotate("pods", "shop", SKIP_OUTBOUND, Some("7001"));
        scene.expect_direct(&pod);
        scene.world.annotate("pods", "shop", SKIP_OUTBOUND, None);
        scene.expect_proxied(&pod);
    }
}

fn a_server_that_is_busy_is_asked_again(_: &Env) {
    let stand_in = StandIn::start();
    let scene = Scene::new(&stand_in.api());
    let pod = scene.enrolled("shop");
    for fault in [
        Fault::TooManyRequests { retry_after: 1 },
        Fault::Overloaded { retry_after: 1 },
        Fault::ServerError,
        Fault::Half,
        Fault::Disconnect,
    ] {
        for on in [On::List, On::Watch] {
            stand_in.fail_with(on, fault);
        }
        stand_in.end_watches(WatchEnd::Gone);
        scene.world.annotate("pods", "shop", SKIP_OUTBOUND, Some("7001"));
        scene.expect_direct(&pod);
        scene.world.annotate("pods", "shop", SKIP_OUTBOUND, None);
        scene.expect_proxied(&pod);
        stand_in.heal();
    }
}

fn pods_that_come_and_go_while_the_server_is_away_are_caught_up_with(_: &Env) {
    let mut stand_in = StandIn::start();
    let api = stand_in.api();
    let scene = Scene::new(&api);
    let client = scene.run(&PodSpec::new("client"));
    let stays = scene.enrolled("stays");
    let goes = scene.enrolled("goes");
    let mut moves = scene.enrolled("moves");
    let gone = scene.world.workload(&goes);
    let mut shop = scene.shop(&PodSpec::new("shop").annotation(SKIP_INBOUND, "9090"), &[8080, 9090]);
    stand_in.go_away();
    // On the node things go on as ever.
    drop(goes);
    moves.recreate_sandbox();
    scene.expect_proxied(&moves);
    assert!(scene.is_proxied(&stays));
    for (port, at) in [(8080, Detect), (9090, Direct)] {
        let to = shop.v4(port);
        scene.expect(&client, &mut shop, to, [Direct, at]);
    }
    // What happens in the cluster meanwhile is not known here.
    assert!(stand_in.delete("Pod", scene.world.namespace(), "goes"));
    stand_in.come_back();
    let late = scene.run(&PodSpec::new("late").annotation(INJECT, "enabled"));
    wait::within(wait::patience() * 3, "the pod that came to be proxied", || {
        scene.is_proxied(&late).then_some(())
    });
    wait::eventually("the pod that went to be forgotten", || (!scene.is_enrolled(&gone)).then_some(()));
    assert!(scene.is_proxied(&stays));
}

fn an_agent_that_starts_while_the_server_is_away_enrols_when_it_is_back(_: &Env) {
    let mut stand_in = StandIn::start();
    let mut scene = Scene::new(&stand_in.api());
    let pod = scene.enrolled("shop");
    scene.agent.kill();
    stand_in.go_away();
    scene.agent.start_unready();
    let is_live = || http::get(scene.agent.admin(), "/live").is_ok_and(|(status, _)| status == 200);
    wait::eventually("the agent to be there", || is_live().then_some(()));
    // It cannot know of the pod, which goes direct.
    assert!(!scene.is_proxied(&pod));
    stand_in.come_back();
    wait::within(wait::patience() * 3, "the pod to be proxied", || scene.is_proxied(&pod).then_some(()));
}

fn a_watch_that_is_refused_as_too_old_is_begun_anew(_: &Env) {
    let stand_in = StandIn::start();
    let scene = Scene::new(&stand_in.api());
    let pod = scene.enrolled("shop");
    for fault in [Fault::Gone, Fault::Half, Fault::Disconnect] {
        stand_in.fail_times(On::Watch, fault, 4);
        stand_in.end_watches(WatchEnd::MidLine);
        scene.world.annotate("pods", "shop", SKIP_OUTBOUND, Some("7001"));
        scene.expect_direct(&pod);
        scene.world.annotate("pods", "shop", SKIP_OUTBOUND, None);
        scene.expect_proxied(&pod);
        stand_in.heal();
    }
}

fn after_a_bookmark_a_server_that_forgot_is_not_asked_for_everything(_: &Env) {
    let stand_in = StandIn::start();
    let scene = Scene::new(&stand_in.api());
    let pod = scene.enrolled("shop");
    let is_list_of_pods =
        |request: &String| request.starts_with("GET /api/v1/pods?") && !request.contains("watch=");
    let lists = || stand_in.requests().iter().filter(|request| is_list_of_pods(request)).count();
    let before = lists();
    assert!(before > 0, "{:?}", stand_in.requests());
    // Changes that are not this watch's make its last count an old one, but for the bookmark.
    stand_in.bookmark();
    scene.world.annotate("pods", "shop", SKIP_OUTBOUND, Some("7001"));
    scene.expect_direct(&pod);
    stand_in.bookmark();
    scene.world.annotate("pods", "shop", SKIP_OUTBOUND, None);
    scene.expect_proxied(&pod);
    stand_in.end_watches(WatchEnd::Cleanly);
    scene.world.annotate("pods", "shop", SKIP_OUTBOUND, Some("7001"));
    scene.expect_direct(&pod);
    assert_eq!(lists(), before, "{:?}", stand_in.requests());
}

fn many_changes_at_once_end_in_what_is_true_then(_: &Env) {
    const PODS: usize = 250;
    /// The time that the test is about, at 50 changes a second.
    const TIME: Duration = Duration::from_secs(5);
    let stand_in = StandIn::start();
    let mut scene = Scene::new(&stand_in.api());
    let pod = scene.enrolled("shop");
    let pid = scene.agent.process().pid();
    let churn = stand_in.churn(scene.node.name(), PODS, 50);
    let admin = scene.agent.admin();
    wait::eventually("the agent to know them", || {
        (scene.metric("sluice_pods", &[("state", "waiting")]) >= PODS as f64).then_some(())
    });
    let before = resident_bytes(pid);
    let is_over = AtomicBool::new(false);
    let (asked, slowest) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut asked, mut slowest) = (0_u32, Duration::ZERO);
            while !is_over.load(Ordering::Relaxed) {
                let began = std::time::Instant::now();
                let (status, _) = http::get(admin, "/metrics").expect("the admin address answers");
                assert_eq!(status, 200);
                slowest = slowest.max(began.elapsed());
                asked += 1;
            }
            (asked, slowest)
        });
        // A change of the one pod that is there takes its turn among the others.
        let began = std::time::Instant::now();
        while began.elapsed() < TIME {
            scene.world.annotate("pods", "shop", SKIP_OUTBOUND, Some("7001"));
            scene.expect_direct(&pod);
            scene.world.annotate("pods", "shop", SKIP_OUTBOUND, None);
            scene.expect_proxied(&pod);
        }
        is_over.store(true, Ordering::Relaxed);
        asking.join().expect("the admin address answers all the time")
    });
    let changes = churn.stop();
    assert!(changes >= 50 * 4, "{changes} changes");
    assert!(asked >= 10 && slowest < wait::patience() / 2, "{asked} answers, the slowest after {slowest:?}");
    let grown = resident_bytes(pid).saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more than before");
    for number in 0..PODS {
        assert!(stand_in.delete("Pod", "default", &format!("pod-{number}")));
    }
    wait::eventually("the agent to know what is there", || {
        let of = |state| scene.metric("sluice_pods", &[("state", state)]);
        ((of("enrolled"), of("waiting"), of("left alone")) == (1.0, 0.0, 0.0)).then_some(())
    });
    assert!(scene.is_proxied(&pod));
}
