//! The harness of the integration tests: guards for what a test makes on the machine, servers that
//! behave in every way a server can, and `sluice` as a user runs it.
//!
//! Everything is black box: the `sluice` binary is found by `SLUICE_BIN` (default
//! `target/release/sluice` of this workspace) and spoken to by its command line, its report, its
//! admin address and its exit status.
//!
//! | variable | meaning |
//! |---|---|
//! | `SLUICE_BIN` | the binary under test |
//! | `SLUICE_TEST_SCALE=small` | small sizes and no third-party programs: for VMs without KVM |
//! | `SLUICE_TEST_TRIES=2` | a test that fails is run once more, and named with `FAILED ONCE:` or `FAILED TWICE:`: for machines that others use too |
//! | `SLUICE_TEST_KUBECONFIG`, `SLUICE_TEST_KUBE_API` | where Kubernetes' API is: for clients, and as plain HTTP for the tests; `cargo xtask k8s-test` sets both |
//! | `SLUICE_TEST_DIRECT=1` | run the clients without sluice: what plain TCP does is the truth that the proxied runs are held to |
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where it stopped"
)]
#![allow(clippy::wildcard_enum_match_arm, reason = "foreign enums: errno, JSON values")]

pub mod agent;
pub mod cgroup;
pub mod corpus;
pub mod dialogue;
pub mod exec;
pub mod http;
pub mod kernel;
pub mod kube;
pub mod netns;
pub mod pattern;
pub mod peer;
pub mod process;
pub mod report;
pub mod scale;
pub mod server;
pub mod stale;
pub mod suite;
pub mod tempdir;
pub mod wait;
