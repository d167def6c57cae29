//! Which exchanges a tap asks for.

use serde::{Deserialize, Serialize};

use crate::observe::{Parties, Protocol, Request};

/// What a request is sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpProtocol {
    /// HTTP/1.0 or HTTP/1.1.
    #[serde(rename = "http/1")]
    Http1,
    /// HTTP/2, but for gRPC.
    #[serde(rename = "http/2")]
    Http2,
    /// gRPC on HTTP/2.
    #[serde(rename = "grpc")]
    Grpc,
}

impl HttpProtocol {
    /// What a request is sent in.
    pub(super) const fn of(request: &Request) -> Self {
        match request.protocol() {
            Protocol::Grpc => Self::Grpc,
            Protocol::Http2 => Self::Http2,
            Protocol::Http1 | Protocol::Tls | Protocol::Opaque => Self::Http1,
        }
    }

    /// The name, as a connection's protocol has it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Http1 => Protocol::Http1.label(),
            Self::Http2 => Protocol::Http2.label(),
            Self::Grpc => Protocol::Grpc.label(),
        }
    }
}

/// Which exchanges are told: those that everything here holds for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Of this workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Sent in this protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<HttpProtocol>,
    /// To this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl Filter {
    /// Whether an exchange of this request is told.
    pub(super) fn admits(&self, parties: &Parties, request: &Request) -> bool {
        self.workload.as_deref().is_none_or(|workload| workload == &*parties.workload)
            && self.port.is_none_or(|port| port == parties.dst.port())
            && self.protocol.is_none_or(|protocol| protocol == HttpProtocol::of(request))
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::tests::{call, parties, request};
    use super::*;

    #[test]
    fn an_empty_filter_admits_everything() {
        assert!(Filter::default().admits(&parties(), &request()));
        assert!(Filter::default().admits(&parties(), &call()));
    }

    #[test]
    fn everything_that_is_asked_for_must_hold() {
        let filter =
            Filter { workload: Some("shop".into()), protocol: Some(HttpProtocol::Grpc), port: Some(8080) };
        assert!(filter.admits(&parties(), &call()));
        assert!(!filter.admits(&parties(), &request()));
        assert!(!Filter { workload: Some("shop2".into()), ..filter.clone() }.admits(&parties(), &call()));
        assert!(!Filter { port: Some(80), ..filter }.admits(&parties(), &call()));
    }

    #[test]
    fn the_written_names_are_the_labels() {
        for protocol in [HttpProtocol::Http1, HttpProtocol::Http2, HttpProtocol::Grpc] {
            assert_eq!(serde_json::to_value(protocol).unwrap(), protocol.label());
        }
    }
}
