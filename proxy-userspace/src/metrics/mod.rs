//! What the proxy counts, and how it is told to Prometheus.
//!
//! | series | labels |
//! |---|---|
//! | `tcp_open_total`, `tcp_open_connections` | direction, peer, workload, target_addr, target_ip, target_port |
//! | `tcp_read_bytes_total`, `tcp_write_bytes_total` | the same |
//! | `tcp_close_total` | the same, and errno |
//! | `tcp_connection_duration_ms` | direction, peer, workload |
//! | `request_total` | direction, workload, target_addr, target_ip, target_port, authority |
//! | `response_total` | the same, and status_code, classification, grpc_status, error |
//! | `response_latency_ms` | as `request_total`, and status_code |
//! | `{outbound,inbound}_http_requests_total` | workload, method, version |
//! | `{outbound,inbound}_http_statuses_total` | workload, http_status, error |
//! | `{outbound,inbound}_grpc_requests_total` | workload |
//! | `{outbound,inbound}_grpc_statuses_total` | workload, grpc_status, error |
//! | `{outbound,inbound}_{http,grpc}_{request,response}_duration_seconds` | workload |
//! | `sluice_http_upgrades_total` | direction, workload, protocol |
//! | `sluice_http_lost_total`, `sluice_http_lost_requests_total` | direction, workload, reason |
//! | `{outbound,inbound}_tcp_detect_http_results_total` | result |
//! | `{outbound,inbound}_tcp_protocol_connections_total` | protocol, detected_by |
//! | `sluice_connection_close_total` | direction, workload, reason |
//! | `sluice_kernel_path_retransmits_total`, `sluice_kernel_path_connection_seconds_total` | direction, workload |
//! | `sluice_kernel_path_round_trip_seconds` | direction, workload |
//! | `sluice_hook_outcomes_total` | hook, outcome |
//! | `sluice_config_last_reload_successful`, `sluice_config_reload_errors_total` | |
//! | `sluice_sk_msg_enabled`, `sluice_same_node_bypass_enabled` | |
//! | `sluice_learned_destinations` | |
//! | `sluice_pods` | state |
//! | `sluice_annotation_problems` | |
//! | `sluice_build_info` | version |
//! | `process_*` | |
//!
//! The names of the first rows, and the values of their labels, are Linkerd's. `peer` says which
//! of the proxy's two sockets is meant: `src` leads to the side that connected, `dst` to the
//! upstream. "Read" is what the proxy read from that socket. `dst` counts only upstream
//! connections that were established: a refused one is a close of `src` with its errno.
//!
//! # Cardinality
//! Per direction, the first [`MAX_TARGETS`] pairs of workload and target keep their target labels;
//! for every later pair `target_addr`, `target_ip` and `target_port` are `overflow`. The first
//! [`MAX_WORKLOADS`] workloads keep their name, later ones are `overflow` as well. Series are
//! kept when they are idle: what is never forgotten is never counted twice. The histogram has no
//! target labels, because its 26 buckets would be most of what a full table says.

mod close;
mod connection;
mod families;
mod hooks;
mod http;
mod kernel_path;
mod labels;
mod process;
mod targets;
#[cfg(test)]
mod tests;

pub use close::CloseReason;
pub use connection::{ConnectionMetrics, Traffic};
pub use families::{CONTENT_TYPE, Metrics};
pub use hooks::HookCounters;
pub use http::{
    HttpMetrics, MAX_AUTHORITIES, MAX_AUTHORITIES_OF_TARGET, MAX_LATENCIES, MAX_RESPONSES,
    MAX_RESPONSES_OF_AUTHORITY, MAX_WORKLOAD_LATENCIES, is_grpc_failure,
};
pub use labels::OVERFLOW;
pub use targets::{MAX_TARGETS, MAX_WORKLOADS};
