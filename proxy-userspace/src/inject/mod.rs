//! The inject room: annotations in manifests, written and removed.
//!
//! Pure: a text in, a text and a report out; no I/O. [`inject`] does what `linkerd inject` does where it only
//! annotates, and [`uninject`] is its inverse.
//!
//! A manifest is somebody's file, so it is edited and never written anew. A parser finds the places ([`tree`]),
//! the text is changed there and nowhere else ([`annotate`], [`strip`]), in the manner of what stands around them
//! ([`layout`]), and the result is read again to see that it says what it should ([`verify`]). What cannot be
//! changed in place is refused.

mod annotate;
mod error;
mod join;
mod layout;
mod object;
mod overrides;
mod report;
mod source;
mod strip;
mod text;
mod transform;
mod tree;
mod verify;

pub use error::{InjectError, Problem};
pub use join::join;
pub use overrides::Overrides;
pub use report::{Named, Outcome, Reason, ReportLine};
pub use transform::{Transformed, inject, uninject};

/// Whether sluice enrols the pods.
const INJECT: &str = "linkerd.io/inject";
const ENABLED: &str = "enabled";
const DISABLED: &str = "disabled";
const OPAQUE_PORTS: &str = "config.linkerd.io/opaque-ports";
const SKIP_INBOUND_PORTS: &str = "config.linkerd.io/skip-inbound-ports";
const SKIP_OUTBOUND_PORTS: &str = "config.linkerd.io/skip-outbound-ports";
/// Both directions.
const SKIP_PORTS: &str = "linkerd.io/skip-ports";
const SKIP_SUBNETS: &str = "config.linkerd.io/skip-subnets";
const SAME_NODE_BYPASS: &str = "sluice/same-node-bypass";
/// All that `inject` writes and `uninject` removes.
const KEYS: [&str; 7] = [
    INJECT,
    OPAQUE_PORTS,
    SKIP_INBOUND_PORTS,
    SKIP_OUTBOUND_PORTS,
    SKIP_PORTS,
    SKIP_SUBNETS,
    SAME_NODE_BYPASS,
];

#[cfg(test)]
mod tests;
