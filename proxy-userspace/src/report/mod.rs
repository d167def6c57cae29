//! What is said of every finished connection: a line of JSON, and a row of the summary.

mod file;
mod requests;
mod samples;
mod summary;
mod table;
mod units;
mod writer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proxy_common::{Decision, Direction};
use serde::{Serialize, Serializer};

use crate::metrics::CloseReason;

pub use file::ReportFile;
pub use requests::{MAX_METHODS, Requests};
pub use summary::{MAX_ROWS, Summary};
pub use writer::{Finished, QUEUE_LINES, ReportError, ReportWriter};

/// One finished connection. As JSON, its fields are in this order.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionReport {
    /// Which side of the workload the connection is on.
    #[serde(serialize_with = "direction")]
    pub direction: Direction,
    /// The side that connected.
    #[serde(serialize_with = "addr")]
    pub client: SocketAddr,
    /// Where it meant to connect.
    #[serde(serialize_with = "addr")]
    pub dst: SocketAddr,
    /// The workload's name.
    #[serde(serialize_with = "name")]
    pub workload: Arc<str>,
    /// What was done with the connection.
    #[serde(serialize_with = "decision")]
    pub decision: Decision,
    /// `http/1`, `http/2`, `grpc`, `tls` or `opaque`; none where the connection was skipped.
    pub protocol: Option<&'static str>,
    /// `client-bytes`, `server-first`, `config` or `silent`; none where it was skipped.
    pub detected_by: Option<&'static str>,
    /// The server name that a TLS client asked for.
    pub sni: Option<String>,
    /// The protocols that a TLS client offered, in its order.
    pub alpn: Vec<String>,
    /// Bytes that the workload sent.
    pub bytes_sent: u64,
    /// Bytes that the workload received.
    pub bytes_received: u64,
    /// What was seen of requests: `requests`, `statuses`, `latency_ms`, `upgraded`, `grpc`, `lost`.
    #[serde(flatten)]
    pub requests: Requests,
    /// From the client's first byte to the server's first byte, where the client's came first.
    #[serde(rename = "first_byte_ms", serialize_with = "optional_milliseconds")]
    pub first_byte: Option<Duration>,
    /// From accept, or from connect(2) where it was skipped, to the end.
    #[serde(rename = "duration_ms", serialize_with = "milliseconds")]
    pub duration: Duration,
    /// Why it ended.
    #[serde(serialize_with = "close")]
    pub close: CloseReason,
}

/// `ip:port`; IPv6 in brackets, IPv4 mapped into IPv6 as IPv4.
fn addr<S: Serializer>(addr: &SocketAddr, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&canonical(*addr))
}

/// The address with IPv4 mapped into IPv6 as IPv4, and without an IPv6 scope.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

fn name<S: Serializer>(name: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name)
}

fn direction<S: Serializer>(direction: &Direction, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(direction.label())
}

fn decision<S: Serializer>(decision: &Decision, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(decision.label())
}

fn close<S: Serializer>(close: &CloseReason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(close.label())
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // Whole microseconds, so that there are at most three decimals.
    serializer.serialize_f64(duration.as_micros() as f64 / 1_000.0)
}

fn optional_milliseconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => milliseconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A usual connection, for tests to vary.
    pub(super) fn sample() -> ConnectionReport {
        ConnectionReport {
            direction: Direction::Outbound,
            client: "127.0.0.1:40000".parse().unwrap(),
            dst: "127.0.0.1:8080".parse().unwrap(),
            workload: "exec".into(),
            decision: Decision::Detect,
            protocol: Some("http/1"),
            detected_by: Some("client-bytes"),
            sni: None,
            alpn: Vec::new(),
            bytes_sent: 78,
            bytes_received: 1_536,
            requests: Requests::default(),
            first_byte: Some(Duration::from_nanos(1_234_567)),
            duration: Duration::from_millis(12),
            close: CloseReason::Eof,
        }
    }

    #[test]
    fn a_report_is_one_object_with_exactly_the_documented_fields() {
        assert_eq!(
            serde_json::to_string(&sample()).unwrap(),
            concat!(
                r#"{"direction":"outbound","client":"127.0.0.1:40000","dst":"127.0.0.1:8080","#,
                r#""workload":"exec","decision":"detect","protocol":"http/1","#,
                r#""detected_by":"client-bytes","sni":null,"alpn":[],"bytes_sent":78,"#,
                r#""bytes_received":1536,"requests":0,"statuses":{},"latency_ms":null,"upgraded":null,"#,
                r#""grpc":{},"lost":null,"first_byte_ms":1.234,"duration_ms":12.0,"close":"eof"}"#
            )
        );
    }

    #[test]
    fn addresses_are_shown_as_people_write_them() {
        let report = ConnectionReport {
            client: "[::ffff:10.0.0.1]:4000".parse().unwrap(),
            dst: "[2001:db8::1%3]:443".parse().unwrap(),
            ..sample()
        };
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.contains(r#""client":"10.0.0.1:4000","dst":"[2001:db8::1]:443""#), "{json}");
    }

    #[test]
    fn what_does_not_apply_is_null() {
        let report = ConnectionReport {
            decision: Decision::Skip,
            protocol: None,
            detected_by: None,
            first_byte: None,
            ..sample()
        };
        let json = serde_json::to_string(&report).unwrap();
        for field in ["protocol", "detected_by", "sni", "latency_ms", "first_byte_ms", "upgraded", "lost"] {
            assert!(json.contains(&format!(r#""{field}":null"#)), "{json}");
        }
    }

    #[test]
    fn a_name_from_the_network_cannot_break_the_line() {
        let report =
            ConnectionReport { sni: Some("a\"b\nc\u{1b}".into()), alpn: vec!["h2".into()], ..sample() };
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.contains(r#""sni":"a\"b\nc\u001b","alpn":["h2"]"#), "{json}");
        assert!(!json.contains('\n'));
    }
}
