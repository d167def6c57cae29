//! What is counted of requests and responses.
//!
//! Names, labels, classification and buckets are Linkerd's, as far as they go; `docs/metrics.md` has every
//! family. Counted are the request when its head is complete, and the exchange when it is over.
//!
//! # Cardinality
//! Nothing that a peer sends is a label before it went through a bound. Methods and versions are closed sets,
//! paths are no label. Per direction, [`MAX_AUTHORITIES`] pairs of target and authority keep the authority's
//! name, and at most [`MAX_AUTHORITIES_OF_TARGET`] for one target; [`MAX_RESPONSES`] combinations of status,
//! gRPC status and error keep their labels, at most [`MAX_RESPONSES_OF_AUTHORITY`] for one authority;
//! [`MAX_LATENCIES`] of them keep a latency histogram of their own, and the rest shares one for its workload,
//! for [`MAX_WORKLOAD_LATENCIES`] workloads. What comes later is counted as `overflow`.
//!
//! # Cost
//! A connection keeps the series that it used last. A request that is like one before it on its connection
//! formats nothing, allocates nothing, and takes no lock but the histograms' own.

mod authority;
mod class;
mod connection;
mod families;
mod labels;
mod series;
#[cfg(test)]
mod tests;

pub use class::is_grpc_failure;
pub use connection::HttpMetrics;
pub(super) use families::HttpFamilies;
pub use families::{MAX_AUTHORITIES, MAX_LATENCIES, MAX_RESPONSES, MAX_WORKLOAD_LATENCIES};
pub(super) use series::TargetAuthorities;
pub use series::{MAX_AUTHORITIES_OF_TARGET, MAX_RESPONSES_OF_AUTHORITY};
