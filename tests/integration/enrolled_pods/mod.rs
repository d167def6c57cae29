//! Pods are enrolled as their annotations say, while they live and while those change. Each promise is
//! held against the stand-in, and under `cargo xtask k8s-test` against a real API server.

/// Tests that any API server will do for: a function of this file each.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod stand_in {
            use sluice_tests::{kube::StandIn, suite::Env};
            $(pub(super) fn $name(_: &Env) {
                let stand_in = StandIn::start();
                super::$name(&stand_in.api());
            })+
        }
        mod real {
            use sluice_tests::{kube::Api, suite::Env};
            $(pub(super) fn $name(_: &Env) {
                super::$name(&Api::from_env().expect("the tests are left out without it"));
            })+
        }
        pub(super) fn register(pods: &mut Group<'_>, server: ApiServer) {
            match server {
                ApiServer::StandIn => {
                    use stand_in::{$($name),+};
                    pods.sluice(tests![$($name),+]);
                }
                ApiServer::Real => {
                    use real::{$($name),+};
                    pods.sluice(tests![$($name),+]);
                }
            }
        }
    };
}

mod annotations;
mod away;
mod directions;
mod enrolment;
mod live;
mod mistakes;
mod scene;
mod seeds;
mod services;

use sluice_tests::scale::Scale;
use sluice_tests::suite::{Group, Suite};

/// Who answers.
#[derive(Clone, Copy, Debug)]
enum ApiServer {
    StandIn,
    Real,
}

pub(crate) fn register(suite: &mut Suite) {
    let mut pods = suite.group("enrolled_pods");
    if Scale::current() == Scale::Small {
        pods.leave_out("needs nftables, which the guests do not have");
    }
    with(&mut pods, ApiServer::StandIn);
    away::register(&mut pods);
    let mut pods = suite.group("k8s::enrolled_pods");
    pods.require_kubernetes();
    with(&mut pods, ApiServer::Real);
}

fn with(pods: &mut Group<'_>, server: ApiServer) {
    enrolment::register(pods, server);
    directions::register(pods, server);
    seeds::register(pods, server);
    annotations::register(pods, server);
    services::register(pods, server);
    live::register(pods, server);
    mistakes::register(pods, server);
}
