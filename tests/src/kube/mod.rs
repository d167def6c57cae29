//! Pods without Kubernetes: what a kubelet, a container runtime, a network plugin and kube-proxy leave
//! on a node, made by the test.
//!
//! ```text
//!   ┌── pod ───┐  ┌── pod ───┐        ┌── pod ───┐
//!   │   eth0   │  │   eth0   │        │   eth0   │      a network namespace each
//!   └────┬─────┘  └────┬─────┘        └────┬─────┘
//!   ┌────┴─ node ──────┴─────┐        ┌────┴─ node ─┐   another each: routes, and Services by nftables
//!   └──────────┬─────────────┘        └─────┬───────┘
//!   ┌──────────┴────── outside ─────────────┴───────┐   another: knows the way to every pod
//!   └───────────────────────────────────────────────┘
//! ```
//!
//! [`Cluster`] is the network, [`Node`] has pods in the kubelet's [`Layout`] of cgroups, [`Pod`] runs the
//! test's clients and servers. [`World`] makes the same known to an API server, a real one ([`Api`], under
//! `cargo xtask k8s-test`) or a [`StandIn`].

mod api;
mod cgroups;
mod cluster;
mod layout;
mod network;
mod node;
mod pod;
mod services;
pub mod stand_in;
mod world;

pub use self::api::{Answer, Api};
pub use self::cluster::Cluster;
pub use self::layout::{Driver, Layout, Qos, Runtime};
pub use self::node::Node;
pub use self::pod::{Pod, PodSpec, Port};
pub use self::services::{Backend, ServiceRule};
pub use self::stand_in::StandIn;
pub use self::world::{Service, ServiceSpec, World};
