//! Black-box tests of `sluice`: one file per promise.
//!
//! One binary with its own main, so that it runs natively and as the payload of a VM alike; under
//! the name `peer` it is the client or server program of the tests. `sluice_tests` says which
//! variables it listens to.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where it stopped"
)]

mod bypass;
mod capacity;
mod check;
mod client_hello;
mod close;
mod cluster;
mod container;
mod detect;
mod down;
mod enrolled_pods;
mod exec;
mod foreign;
mod hostile;
mod http_identity;
mod http_lost;
mod http_metrics;
mod http_peers;
mod identity;
mod inbound;
mod inject;
mod kernel_path;
mod learned;
mod many;
mod metrics;
mod peers;
mod pods;
mod ports;
mod reasons;
mod reload;
mod run;
mod scale;
mod skip;
mod tap;
mod transfer;
mod transparency;
mod workload;

use std::process::ExitCode;

use libtest_mimic::Arguments;
use sluice_tests::suite::Suite;
use sluice_tests::{peer, stale};

fn main() -> ExitCode {
    if let Some(code) = peer::main() {
        return code;
    }
    let arguments = Arguments::from_args();
    let mut suite = Suite::default();
    transfer::register(&mut suite);
    transparency::register(&mut suite);
    close::register(&mut suite);
    reasons::register(&mut suite);
    detect::register(&mut suite);
    skip::register(&mut suite);
    kernel_path::register(&mut suite);
    learned::register(&mut suite);
    tap::register(&mut suite);
    identity::register(&mut suite);
    inbound::register(&mut suite);
    exec::register(&mut suite);
    many::register(&mut suite);
    peers::register(&mut suite);
    run::register(&mut suite);
    ports::register(&mut suite);
    reload::register(&mut suite);
    down::register(&mut suite);
    metrics::register(&mut suite);
    check::register(&mut suite);
    cluster::register(&mut suite);
    container::register(&mut suite);
    inject::register(&mut suite);
    bypass::register(&mut suite);
    capacity::register(&mut suite);
    foreign::register(&mut suite);
    hostile::register(&mut suite);
    http_identity::register(&mut suite);
    http_lost::register(&mut suite);
    http_metrics::register(&mut suite);
    http_peers::register(&mut suite);
    pods::register(&mut suite);
    enrolled_pods::register(&mut suite);
    scale::register(&mut suite);

    if !arguments.list {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("these tests load kernel programs and make network namespaces: they need root");
            return ExitCode::FAILURE;
        }
        if !suite.is_direct() && !sluice_tests::exec::sluice().exists() {
            eprintln!("no sluice at {}: build it, or set SLUICE_BIN", sluice_tests::exec::sluice().display());
            return ExitCode::FAILURE;
        }
        raise_file_limit();
        default_signals();
        stale::collect();
    }
    let list = arguments.list;
    let code = suite.run(arguments);
    if !list {
        // Agents that were killed on purpose.
        stale::collect();
    }
    code
}

/// A shell starts what is to run in the background with these ignored, and a shell under test could then
/// not trap them.
fn default_signals() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    for number in [Signal::SIGINT, Signal::SIGQUIT] {
        #[expect(unsafe_code, reason = "sigaction(2); the default action runs no code of ours")]
        // SAFETY: no handler is installed.
        unsafe { signal(number, SigHandler::SigDfl) }.expect("the default action");
    }
}

/// The clients and servers of thousands of connections are a few processes.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("read RLIMIT_NOFILE");
    let wanted = most.max(65_536);
    if setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_err() {
        setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("raise RLIMIT_NOFILE");
    }
}
