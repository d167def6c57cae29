//! Spans, as a collector gets them.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::Mutex,
    time::{Duration, Instant, SystemTime},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request as HttpRequest, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message as _;
use proxy_common::Direction;
use tokio::net::TcpListener;

use super::*;
use crate::observe::{End, Kind, Method, Request, TraceContext, Version};

/// What a collector was sent: each request's path, and what it carried.
type Received = Arc<Mutex<Vec<(String, ExportTraceServiceRequest)>>>;

/// A collector that answers each request with the next of these statuses, and then with 200.
async fn collector(statuses: &'static [u16]) -> (OtlpEndpoint, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let received = Received::default();
    let kept = Arc::clone(&received);
    tokio::spawn(async move {
        let mut statuses = statuses.iter();
        while let Ok((stream, _)) = listener.accept().await {
            let status = statuses.next().copied().unwrap_or(200);
            let service = service_fn(|request| take(request, &kept, status));
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.unwrap();
        }
    });
    (endpoint, received)
}

async fn take(
    request: HttpRequest<Incoming>,
    received: &Received,
    status: u16,
) -> Result<Response<Full<bytes::Bytes>>, Infallible> {
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    assert!(request.headers()["host"].to_str().unwrap().starts_with("127.0.0.1:"));
    let path = request.uri().to_string();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    if status == 200 {
        received.lock().unwrap().push((path, ExportTraceServiceRequest::decode(body).unwrap()));
    }
    Ok(Response::builder().status(status).body(Full::default()).unwrap())
}

/// The spans that a collector has, of all requests.
fn spans(received: &Received) -> Vec<Span> {
    let received = received.lock().unwrap();
    let resources = received.iter().flat_map(|(_path, request)| &request.resource_spans);
    resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| scope.spans.clone()).collect()
}

fn parties() -> Parties {
    let dst = "10.0.0.9:8080".parse().unwrap();
    Parties::new(Direction::Outbound, "shop".into(), "127.0.0.1:40000".parse().unwrap(), dst)
}

fn traced(sampled: bool) -> Option<Box<TraceContext>> {
    Some(Box::new(TraceContext { trace_id: [0xab; 16], parent_id: [0xcd; 8], sampled }))
}

fn request() -> Request {
    Request {
        version: Version::Http11,
        method: Method::Get,
        kind: Kind::Http,
        authority: Some("web:81".into()),
        target: Some("/items?token=secret".into()),
        trace: traced(true),
    }
}

fn exchange(request: &Request) -> Exchange<'_> {
    let ended = Instant::now();
    let began = ended - Duration::from_millis(250);
    Exchange {
        request,
        began,
        request_ended: Some(began),
        response_began: Some(ended),
        ended,
        status: Some(200),
        grpc_status: None,
        response_bytes: 12,
        end: End::Complete,
    }
}

/// What a collector gets of one exchange.
async fn span_of(exchange: &Exchange<'_>) -> Span {
    let (endpoint, received) = collector(&[]).await;
    let (sender, exporting) = Spans::start(&endpoint).unwrap();
    sender.record(&parties(), exchange);
    exporting.finish().await;
    let [span] = spans(&received).try_into().unwrap();
    span
}

/// The attributes, as `key=value`, sorted.
fn attributes(attributes: &[KeyValue]) -> Vec<String> {
    let shown = |value: &Option<AnyValue>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    let mut attributes: Vec<_> =
        attributes.iter().map(|attribute| format!("{}={}", attribute.key, shown(&attribute.value))).collect();
    attributes.sort();
    attributes
}

#[tokio::test]
async fn a_sampled_request_is_a_child_of_the_span_in_its_header() {
    let request = request();
    let before = SystemTime::now();
    let span = span_of(&exchange(&request)).await;
    assert_eq!((&span.trace_id[..], &span.parent_span_id[..]), (&[0xab; 16][..], &[0xcd; 8][..]));
    assert!(span.span_id.len() == 8 && span.span_id != [0; 8] && span.span_id != [0xcd; 8]);
    assert_eq!((span.kind(), &*span.name), (SpanKind::Client, "GET"));
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 250_000_000);
    let ended = SystemTime::UNIX_EPOCH + Duration::from_nanos(span.end_time_unix_nano);
    assert!(ended + Duration::from_secs(1) > before && ended < before + Duration::from_secs(5));
    assert_eq!(span.status.unwrap_or_default().code(), StatusCode::Unset);
    assert_eq!(
        attributes(&span.attributes),
        [
            "http.request.method=GET",
            "http.response.status_code=200",
            "network.peer.address=10.0.0.9",
            "network.peer.port=8080",
            "network.protocol.name=http",
            "network.protocol.version=1.1",
            "server.address=web",
            "server.port=81",
            "sluice.workload=shop",
            "url.path=/items",
            "url.scheme=http",
        ]
    );
}

#[tokio::test]
async fn a_grpc_call_is_named_after_its_method() {
    let call = Request {
        version: Version::Http2,
        method: Method::Post,
        kind: Kind::Grpc,
        authority: None,
        target: Some("/shop.Cart/Add".into()),
        ..request()
    };
    let span = span_of(&Exchange { grpc_status: Some(14), ..exchange(&call) }).await;
    assert_eq!(span.name, "shop.Cart/Add");
    assert_eq!(span.status.as_ref().unwrap().code(), StatusCode::Error);
    let attributes = attributes(&span.attributes);
    for attribute in [
        "error.type=14",
        "network.protocol.version=2",
        "rpc.grpc.status_code=14",
        "rpc.method=Add",
        "rpc.service=shop.Cart",
        "rpc.system=grpc",
        "server.address=10.0.0.9",
        "server.port=8080",
    ] {
        assert!(attributes.iter().any(|found| found == attribute), "{attribute} in {attributes:?}");
    }
}

#[tokio::test]
async fn a_failure_is_what_the_metrics_count_as_one() {
    let http = request();
    let call = Request { version: Version::Http2, kind: Kind::Grpc, ..request() };
    for (exchange, failure) in [
        (Exchange { status: Some(404), ..exchange(&http) }, None),
        (Exchange { status: Some(503), ..exchange(&http) }, Some("error.type=503")),
        (Exchange { end: End::Cut, ..exchange(&http) }, Some("error.type=cut")),
        (Exchange { end: End::ServerReset, ..exchange(&http) }, Some("error.type=server-reset")),
        (Exchange { grpc_status: Some(0), ..exchange(&call) }, None),
        (Exchange { grpc_status: Some(5), ..exchange(&call) }, None),
        (Exchange { grpc_status: Some(13), ..exchange(&call) }, Some("error.type=13")),
        (Exchange { grpc_status: Some(99), ..exchange(&call) }, Some("error.type=99")),
        (exchange(&call), Some("error.type=no-grpc-status")),
    ] {
        let span = span_of(&exchange).await;
        let status = if failure.is_some() { StatusCode::Error } else { StatusCode::Unset };
        assert_eq!(span.status.clone().unwrap_or_default().code(), status, "{exchange:?}");
        let attributes = attributes(&span.attributes);
        let error = attributes.iter().find(|attribute| attribute.starts_with("error.type="));
        assert_eq!(error.map(String::as_str), failure);
    }
}

#[tokio::test]
async fn what_is_not_sampled_is_nobodys_business() {
    let (endpoint, received) = collector(&[]).await;
    let (sender, exporting) = Spans::start(&endpoint).unwrap();
    for trace in [None, traced(false)] {
        sender.record(&parties(), &exchange(&Request { trace, ..request() }));
    }
    exporting.finish().await;
    assert!(received.lock().unwrap().is_empty());
}

#[tokio::test]
async fn spans_are_sent_together_under_the_name_of_the_proxy() {
    let (endpoint, received) = collector(&[]).await;
    let (sender, exporting) = Spans::start(&endpoint).unwrap();
    let request = request();
    for _ in 0..export::BATCH + 88 {
        sender.record(&parties(), &exchange(&request));
    }
    exporting.finish().await;
    let ids: HashSet<_> = spans(&received).into_iter().map(|span| span.span_id).collect();
    assert_eq!(ids.len(), export::BATCH + 88);
    let received = received.lock().unwrap();
    assert_eq!(received.len(), 2);
    for (path, request) in &*received {
        assert_eq!(path, "/v1/traces");
        let resource = request.resource_spans[0].resource.as_ref().unwrap();
        let version = format!("service.version={}", env!("CARGO_PKG_VERSION"));
        assert_eq!(attributes(&resource.attributes), ["service.name=sluice".to_owned(), version]);
        assert_eq!(request.resource_spans[0].scope_spans[0].scope.as_ref().unwrap().name, "sluice");
    }
}

#[tokio::test]
async fn a_span_does_not_wait_for_a_full_batch() {
    let (endpoint, received) = collector(&[]).await;
    let (sender, _exporting) = Spans::start(&endpoint).unwrap();
    sender.record(&parties(), &exchange(&request()));
    let deadline = Instant::now() + Duration::from_secs(10);
    while spans(&received).is_empty() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_collector_that_is_busy_is_asked_again() {
    let (endpoint, received) = collector(&[503]).await;
    let (sender, exporting) = Spans::start(&endpoint).unwrap();
    sender.record(&parties(), &exchange(&request()));
    exporting.finish().await;
    assert_eq!(spans(&received).len(), 1);
}

#[tokio::test]
async fn a_collector_that_hangs_loses_spans_and_holds_nobody_up() {
    // Connections are taken by the kernel, and nobody reads.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (sender, exporting) = Spans::start(&endpoint).unwrap();
    let request = request();
    for _ in 0..QUEUE + 5 {
        sender.record(&parties(), &exchange(&request));
    }
    assert_eq!(sender.lost.load(Ordering::Relaxed), 5);
    let asked = Instant::now();
    exporting.finish().await;
    assert!(asked.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_collector_that_is_not_there_is_no_error() {
    let (sender, exporting) = Spans::start(&"http://127.0.0.1:1".parse().unwrap()).unwrap();
    sender.record(&parties(), &exchange(&request()));
    exporting.finish().await;
}
