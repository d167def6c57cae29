//! What the admin server answers.

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::AdminState;
use crate::metrics;

/// What a response holds.
type Body = Full<Bytes>;

/// Answers a request. hyper leaves the body away where the method is HEAD.
pub(super) async fn respond<B>(
    state: &AdminState,
    request: &Request<B>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path();
    let known = matches!(path, "/metrics" | "/ready" | "/live");
    if !known {
        return Ok(plain(StatusCode::NOT_FOUND, "not found: try /metrics, /ready or /live\n"));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    Ok(match path {
        "/metrics" => scrape(state).await,
        "/ready" if !state.ready.load(Ordering::Acquire) => {
            plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        }
        "/ready" => plain(StatusCode::OK, "ready\n"),
        _ => plain(StatusCode::OK, "live\n"),
    })
}

/// All metrics.
async fn scrape(state: &AdminState) -> Response<Body> {
    let metrics = state.metrics.clone();
    // A full table takes milliseconds, and the hooks' counters are read from the kernel: not on a
    // thread that moves connections' bytes.
    match tokio::task::spawn_blocking(move || metrics.encode()).await {
        Ok(Ok(text)) => response(StatusCode::OK, metrics::CONTENT_TYPE, text),
        Ok(Err(_)) | Err(_) => {
            tracing::warn!("metrics could not be written");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be written\n")
        }
    }
}

/// A line for a person.
fn plain(status: StatusCode, line: &'static str) -> Response<Body> {
    response(status, "text/plain; charset=utf-8", line)
}

fn response(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
