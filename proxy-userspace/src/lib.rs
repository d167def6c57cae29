//! sluice: a transparent TCP proxy for Kubernetes nodes.
//!
//! Rooms import downwards only: `policy` and `observe` know of no other; `metrics`, then `config`,
//! `inject`, `report`, `spans` and `tap`, of those; `connection`, `kernel` and `admin` of those below and not of each other; `agent`
//! wires them together, `exec` drives it for one command, and `cli` is on top. `cargo xtask lint` checks
//! it.

pub mod admin;
mod agent;
pub mod cli;
pub mod config;
pub mod connection;
mod exec;
pub mod inject;
mod kernel;
pub mod metrics;
pub mod observe;
pub mod policy;
pub mod report;
pub mod spans;
pub mod tap;
