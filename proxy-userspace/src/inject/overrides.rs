//! The values of annotations, as they are given by flags.

use crate::policy::{BypassMode, PortSpec, SubnetSet};

/// What `inject` writes besides `linkerd.io/inject: enabled`; what is not given is not written.
///
/// Names of ports cannot be looked up here: they are an object's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `config.linkerd.io/opaque-ports`.
    pub opaque_ports: Option<PortSpec>,
    /// `config.linkerd.io/skip-inbound-ports`.
    pub skip_inbound_ports: Option<PortSpec>,
    /// `config.linkerd.io/skip-outbound-ports`.
    pub skip_outbound_ports: Option<PortSpec>,
    /// `linkerd.io/skip-ports`, both directions.
    pub skip_ports: Option<PortSpec>,
    /// `config.linkerd.io/skip-subnets`.
    pub skip_subnets: Option<SubnetSet>,
    /// `sluice/same-node-bypass`.
    pub same_node_bypass: Option<BypassMode>,
}
