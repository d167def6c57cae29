//! What is told of an exchange.

use std::{borrow::Cow, fmt::Write as _, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{filter::HttpProtocol, timestamp::rfc3339};
use crate::observe::{Exchange, Parties, WallClock};

/// A request and its response. As JSON, its fields are in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event<'a> {
    /// When the request's head was complete: RFC 3339, UTC, to the millisecond.
    pub time: Cow<'a, str>,
    /// `outbound` or `inbound`.
    pub direction: Cow<'a, str>,
    /// The workload's name.
    pub workload: Cow<'a, str>,
    /// The side that connected.
    pub client: SocketAddr,
    /// Where it meant to connect.
    pub dst: SocketAddr,
    /// What the request was sent in.
    pub protocol: HttpProtocol,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub version: Cow<'a, str>,
    /// The method, or `other`.
    pub method: Cow<'a, str>,
    /// Whom the request asks; without a user's name and password.
    pub authority: Option<Cow<'a, str>>,
    /// The start of the target's path, at most 256 bytes; without the query. `None` where there is none, and
    /// for a request that began before the tap did.
    pub path: Option<Cow<'a, str>>,
    /// The status of the final response.
    pub status: Option<u16>,
    /// Where the content type says gRPC or gRPC-Web, and the path names a method.
    pub grpc: Option<Grpc<'a>>,
    /// From the request's head to the response's, in milliseconds.
    pub latency_ms: Option<f64>,
    /// From the request's head to the response's end, in milliseconds.
    pub duration_ms: f64,
    /// Bytes of the response's body, framing included.
    pub response_bytes: u64,
    /// The trace that the request belongs to, in hexadecimal.
    pub trace_id: Option<Cow<'a, str>>,
    /// `complete`, `client-reset`, `server-reset` or `cut`.
    pub end: Cow<'a, str>,
}

/// A gRPC call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grpc<'a> {
    /// The service, with its package.
    pub service: Cow<'a, str>,
    /// The method.
    pub method: Cow<'a, str>,
    /// `grpc-status`; `None` where the server sent none.
    pub status: Option<u32>,
}

impl<'a> Event<'a> {
    /// What is told of an exchange between these parties.
    pub(super) fn of(parties: &'a Parties, exchange: &Exchange<'a>) -> Self {
        let request = exchange.request;
        let since_began = |end: std::time::Instant| end.saturating_duration_since(exchange.began);
        Self {
            time: rfc3339(WallClock::now().time_of(exchange.began)).into(),
            direction: parties.direction.label().into(),
            workload: Cow::Borrowed(&parties.workload),
            client: parties.client,
            dst: parties.dst,
            protocol: HttpProtocol::of(request),
            version: request.version.label().into(),
            method: request.method.label().into(),
            authority: request.host().map(Cow::Borrowed),
            path: request.path().map(Cow::Borrowed),
            status: exchange.status,
            grpc: request.rpc().map(|(service, method)| Grpc {
                service: service.into(),
                method: method.into(),
                status: exchange.grpc_status,
            }),
            latency_ms: exchange.response_began.map(|at| milliseconds(since_began(at))),
            duration_ms: milliseconds(since_began(exchange.ended)),
            response_bytes: exchange.response_bytes,
            trace_id: request.trace.as_ref().map(|trace| hex(&trace.trace_id).into()),
            end: exchange.end.label().into(),
        }
    }
}

/// Whole microseconds, so that there are at most three decimals.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string does not fail.
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Instant;

    use proxy_common::Direction;

    use super::*;
    use crate::observe::{End, Kind, Method, Request, TraceContext, Version};

    pub(in super::super) fn parties() -> Parties {
        Parties::new(
            Direction::Outbound,
            "shop".into(),
            "127.0.0.1:40000".parse().unwrap(),
            "[::ffff:10.0.0.9]:8080".parse().unwrap(),
        )
    }

    pub(in super::super) fn request() -> Request {
        Request {
            version: Version::Http11,
            method: Method::Get,
            kind: Kind::Http,
            authority: Some("web:8080".into()),
            target: Some("/items?token=secret".into()),
            trace: None,
        }
    }

    pub(in super::super) fn call() -> Request {
        let trace = TraceContext { trace_id: [0xab; 16], parent_id: [1; 8], sampled: true };
        Request {
            version: Version::Http2,
            method: Method::Post,
            kind: Kind::Grpc,
            target: Some("/shop.Cart/Add".into()),
            trace: Some(Box::new(trace)),
            ..request()
        }
    }

    pub(in super::super) fn exchange(request: &Request) -> Exchange<'_> {
        let began = Instant::now();
        Exchange {
            request,
            began,
            request_ended: Some(began),
            response_began: Some(began + Duration::from_nanos(1_234_567)),
            ended: began + Duration::from_millis(2),
            status: Some(200),
            grpc_status: None,
            response_bytes: 12,
            end: End::Complete,
        }
    }

    #[test]
    fn an_event_is_one_object_with_exactly_the_documented_fields() {
        let (parties, request) = (parties(), request());
        let mut event = Event::of(&parties, &exchange(&request));
        assert!(event.time.ends_with('Z') && event.time.len() == 24, "{}", event.time);
        event.time = "T".into();
        assert_eq!(
            serde_json::to_string(&event).unwrap(),
            concat!(
                r#"{"time":"T","direction":"outbound","workload":"shop","client":"127.0.0.1:40000","#,
                r#""dst":"10.0.0.9:8080","protocol":"http/1","version":"HTTP/1.1","method":"GET","#,
                r#""authority":"web:8080","path":"/items","status":200,"grpc":null,"latency_ms":1.234,"#,
                r#""duration_ms":2.0,"response_bytes":12,"trace_id":null,"end":"complete"}"#
            )
        );
    }

    #[test]
    fn a_grpc_call_tells_its_service_method_status_and_trace() {
        let (parties, call) = (parties(), call());
        let event = Event::of(&parties, &Exchange { grpc_status: Some(5), ..exchange(&call) });
        assert_eq!(event.protocol, HttpProtocol::Grpc);
        let grpc = event.grpc.unwrap();
        assert_eq!((&*grpc.service, &*grpc.method, grpc.status), ("shop.Cart", "Add", Some(5)));
        assert_eq!(event.trace_id.unwrap(), "ab".repeat(16));
    }

    #[test]
    fn what_never_came_is_null() {
        let (parties, request) = (parties(), Request { authority: None, target: None, ..request() });
        let cut = Exchange { response_began: None, status: None, end: End::Cut, ..exchange(&request) };
        let event = Event::of(&parties, &cut);
        assert_eq!((event.authority, event.path, event.status, event.latency_ms), (None, None, None, None));
        assert_eq!(event.end, "cut");
    }
}
