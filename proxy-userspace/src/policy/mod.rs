//! The policy room: what is to be done with a connection, as people write it and as the kernel
//! holds it.
//!
//! Pure: no I/O, no clock, nothing of aya or tokio. A list of ports is parsed once, by
//! [`PortSet`], wherever it comes from; one that may name ports is a [`PortSpec`] until it is known which
//! ports have the names. [`compile`] weighs the levels at which lists are written
//! into one [`PortTable`], and a table turns into map entries and back without loss.

mod endpoint;
mod learned;
mod modes;
mod notation;
mod parse;
mod ports;
mod profile;
mod spec;
mod subnet;
mod table;

pub use endpoint::{OtlpEndpoint, OtlpEndpointError};
pub use learned::{Lessons, Outcome};
pub use modes::{
    BypassMode, ClientAddress, EnrolMode, LearnOpaque, OpaquePath, SkMsgMode, UnknownWord, WhenProxyDown,
};
pub(crate) use notation::WrittenPorts;
pub use parse::{PortProblem, PortSetError};
pub use ports::PortSet;
pub use profile::{DEFAULT_OPAQUE_PORTS, PortRules, compile};
pub use spec::{PortEntry, PortNames, PortSpec};
pub use subnet::{MAX_SUBNETS, Subnet, SubnetProblem, SubnetSet, SubnetSetError};
pub use table::PortTable;
