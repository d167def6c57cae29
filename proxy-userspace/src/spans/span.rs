//! One exchange as a span, by OpenTelemetry's conventions for HTTP and RPC.

use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use proxy_common::Direction;

use crate::{
    metrics::is_grpc_failure,
    observe::{End, Exchange, Kind, Method, Parties, Request, TraceContext, Version, WallClock},
};

/// The span of an exchange: of the header's trace, below the header's span, under an id of its own.
pub(super) fn of(parties: &Parties, exchange: &Exchange<'_>, trace: &TraceContext) -> SpanData {
    let clock = WallClock::now();
    let context = SpanContext::new(
        TraceId::from_bytes(trace.trace_id),
        RandomIdGenerator::default().new_span_id(),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    );
    let failure = failure(exchange);
    let mut attributes = attributes(parties, exchange);
    let status = match failure {
        Some(failure) => {
            attributes.push(KeyValue::new("error.type", failure));
            Status::error("")
        }
        None => Status::Unset,
    };
    SpanData {
        span_context: context,
        parent_span_id: SpanId::from_bytes(trace.parent_id),
        parent_span_is_remote: true,
        // Seen from the workload, as Linkerd's and Envoy's proxies have it: what it sends is a client's.
        span_kind: match parties.direction {
            Direction::Outbound => SpanKind::Client,
            Direction::Inbound => SpanKind::Server,
        },
        name: name(exchange.request).into(),
        start_time: clock.time_of(exchange.began),
        end_time: clock.time_of(exchange.ended),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: InstrumentationScope::builder("sluice")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

/// `service/method` of a gRPC call, the method alone of any other request: names are few, and a path is not.
fn name(request: &Request) -> String {
    match request.rpc() {
        Some((service, method)) => format!("{service}/{method}"),
        None if request.method == Method::Other => "HTTP".to_owned(),
        None => request.method.label().to_owned(),
    }
}

fn attributes(parties: &Parties, exchange: &Exchange<'_>) -> Vec<KeyValue> {
    let request = exchange.request;
    let dst = parties.dst;
    let (host, port) = server(request.host(), dst.port());
    let mut attributes = Vec::with_capacity(14);
    let mut add = |key: &'static str, value: opentelemetry::Value| attributes.push(KeyValue::new(key, value));
    add("sluice.workload", parties.workload.to_string().into());
    add("server.address", host.map_or_else(|| dst.ip().to_string(), str::to_owned).into());
    add("server.port", i64::from(port).into());
    add("network.peer.address", dst.ip().to_string().into());
    add("network.peer.port", i64::from(dst.port()).into());
    add("network.protocol.name", "http".into());
    let version = match request.version {
        Version::Http10 => "1.0",
        Version::Http11 => "1.1",
        Version::Http2 => "2",
    };
    add("network.protocol.version", version.into());
    add("url.scheme", "http".into());
    let method = if request.method == Method::Other { "_OTHER" } else { request.method.label() };
    add("http.request.method", method.into());
    if let Some(path) = request.path() {
        add("url.path", path.to_owned().into());
    }
    if let Some(status) = exchange.status {
        add("http.response.status_code", i64::from(status).into());
    }
    if let Some((service, method)) = request.rpc() {
        add("rpc.system", if request.kind == Kind::Grpc { "grpc" } else { "grpc_web" }.into());
        add("rpc.service", service.to_owned().into());
        add("rpc.method", method.to_owned().into());
        if let Some(status) = exchange.grpc_status {
            add("rpc.grpc.status_code", i64::from(status).into());
        }
    }
    attributes
}

/// The host and the port of an authority; the port is the destination's where it names none.
fn server(authority: Option<&str>, dst_port: u16) -> (Option<&str>, u16) {
    let Some(authority) = authority.filter(|authority| !authority.is_empty()) else {
        return (None, dst_port);
    };
    let (host, port) = match authority.rsplit_once(':') {
        // The colon of a port stands after the bracket of an IPv6 address.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(dst_port)),
        Some(_) | None => (authority, dst_port),
    };
    (Some(host.trim_start_matches('[').trim_end_matches(']')), port)
}

/// What makes the exchange a failure, if it is one, in a word: that it did not end well, a status of 5xx, or
/// a gRPC status that blames the server. Of a gRPC call, no status is a failure too.
fn failure(exchange: &Exchange<'_>) -> Option<String> {
    match (exchange.end, exchange.status, exchange.grpc_status) {
        (End::ClientReset | End::ClientLeft | End::ServerReset | End::Cut, _, _) => {
            Some(exchange.end.label().to_owned())
        }
        (End::Complete, Some(status @ 500..), _) => Some(status.to_string()),
        (End::Complete, _, Some(grpc)) => is_grpc_failure(grpc).then(|| grpc.to_string()),
        (End::Complete, _, None) => {
            (exchange.request.kind == Kind::Grpc).then(|| "no-grpc-status".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_as_the_request_names_it() {
        for (authority, named) in [
            (None, (None, 8080)),
            (Some(""), (None, 8080)),
            (Some("web"), (Some("web"), 8080)),
            (Some("web:81"), (Some("web"), 81)),
            (Some("[::1]"), (Some("::1"), 8080)),
            (Some("[::1]:81"), (Some("::1"), 81)),
            (Some("web:x"), (Some("web"), 8080)),
        ] {
            assert_eq!(server(authority, 8080), named, "{authority:?}");
        }
    }
}
