//! What a workload accepts goes through the proxy, and neither end can tell.
//!
//! Pods are network namespaces at the end of a wire; their clients are at the other end, where the node is.
//! A pod's application is a process in its cgroup ([`sluice_tests::peer`], `serve`), which tells what
//! accept(2), getpeername(2) and the kernel's own table of sockets say of each connection.

mod bytes;
mod decisions;
mod down;
mod enrolment;
mod identity;
mod listening;
mod pod;
mod probes;

use sluice_tests::suite::Suite;

pub(crate) use self::pod::{Accepted, App, told};

pub(crate) fn register(suite: &mut Suite) {
    listening::register(suite);
    identity::register(suite);
    decisions::register(suite);
    bytes::register(suite);
    down::register(suite);
    enrolment::register(suite);
    probes::register(suite);
}
