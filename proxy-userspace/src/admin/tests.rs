//! The admin server over loopback.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;

/// A server that runs until it is told to stop.
struct Running {
    addr: SocketAddr,
    ready: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), AdminError>>,
}

fn start() -> Running {
    let server = AdminServer::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = server.local_addr();
    let ready = Arc::new(AtomicBool::new(false));
    let state = AdminState { metrics: Metrics::new(Vec::new), ready: Arc::clone(&ready) };
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(server.serve(state, async { stopped.await.unwrap_or(()) }));
    Running { addr, ready, stop, served }
}

/// The whole response to one request.
async fn ask(addr: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn live_and_ready_answer_what_is_so() {
    let server = start();
    let live = ask(server.addr, "GET", "/live").await;
    assert!(live.starts_with("HTTP/1.1 200 OK\r\n") && live.ends_with("\r\n\r\nlive\n"), "{live}");
    let unready = ask(server.addr, "GET", "/ready").await;
    assert!(unready.starts_with("HTTP/1.1 503 "), "{unready}");
    server.ready.store(true, Ordering::Release);
    let ready = ask(server.addr, "GET", "/ready?verbose").await;
    assert!(ready.starts_with("HTTP/1.1 200 OK\r\n") && ready.ends_with("\r\n\r\nready\n"), "{ready}");
}

#[tokio::test]
async fn metrics_are_openmetrics_text() {
    let server = start();
    let response = ask(server.addr, "GET", "/metrics").await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{head}"
    );
    assert!(body.contains("\nsluice_build_info{") && body.ends_with("# EOF\n"), "{body}");
}

#[tokio::test]
async fn head_answers_with_the_length_and_no_body() {
    let server = start();
    let response = ask(server.addr, "HEAD", "/live").await;
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.contains("content-length: 5\r\n") && response.ends_with("\r\n\r\n"), "{response}");
}

#[tokio::test]
async fn an_unknown_path_is_not_found_and_another_method_not_allowed() {
    let server = start();
    assert!(ask(server.addr, "GET", "/").await.starts_with("HTTP/1.1 404 "));
    assert!(ask(server.addr, "POST", "/shutdown").await.starts_with("HTTP/1.1 404 "));
    let refused = ask(server.addr, "POST", "/ready").await;
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("allow: GET, HEAD\r\n"), "{refused}");
}

#[tokio::test]
async fn a_request_whose_sender_has_finished_is_answered() {
    let server = start();
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(b"GET /live HTTP/1.0\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.ends_with("live\n"), "{response}");
}

#[test]
fn a_taken_address_is_an_error_that_names_it_and_the_cause() {
    let first = AdminServer::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = AdminServer::bind(first.local_addr()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on the admin address {}", first.local_addr()));
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn clients_that_say_nothing_or_too_little_are_cut_and_make_room() {
    let server = start();
    let started = Instant::now();
    let mut idle = Vec::new();
    for index in 0..MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        match index % 3 {
            // Half a header.
            0 => stream.write_all(b"GET /live HTTP/1.1\r\nHost:").await.unwrap(),
            // One whole request, kept alive and then idle.
            1 => stream.write_all(b"GET /live HTTP/1.1\r\nHost: admin\r\n\r\n").await.unwrap(),
            _ => {}
        }
        idle.push(stream);
    }
    let answer = timeout(HEADER_READ_TIMEOUT * 2, ask(server.addr, "GET", "/live")).await;
    assert!(answer.expect("idle clients hold every slot").ends_with("live\n"));
    assert!(started.elapsed() >= HEADER_READ_TIMEOUT, "more clients than the limit were served");
    for mut stream in idle {
        let mut rest = Vec::new();
        // Closed or reset, but over.
        let ended = timeout(HEADER_READ_TIMEOUT, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "an idle client was kept");
    }
}

#[tokio::test]
async fn shutdown_closes_the_listener_and_idle_connections() {
    let server = start();
    let mut idle = TcpStream::connect(server.addr).await.unwrap();
    assert!(ask(server.addr, "GET", "/live").await.ends_with("live\n"));
    server.stop.send(()).unwrap();
    timeout(SHUTDOWN_GRACE * 3, server.served).await.expect("served for ever").unwrap().unwrap();
    assert!(TcpStream::connect(server.addr).await.is_err());
    let mut rest = Vec::new();
    timeout(SHUTDOWN_GRACE, idle.read_to_end(&mut rest)).await.expect("kept open").unwrap_or(0);
}
