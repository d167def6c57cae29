//! WebSocket and CONNECT: HTTP up to the answer, and bytes from there on.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;

use sluice_tests::server::{Server as Raw, Session};
use sluice_tests::suite::{Env, Group};
use sluice_tests::tempdir::TempDir;
use sluice_tests::tests;

use super::clients;
use super::servers::Server;
use super::{count, logged};
use crate::peers::{Daemon, free_port, program};

pub(super) fn register(group: &mut Group<'_>) {
    group.peers(tests![
        websockets_and_websockets,
        curl_connects_through_a_proxy,
        curl_is_refused_by_a_proxy,
        curl_asks_a_proxy_for_an_absolute_target,
    ]);
}

fn websockets_and_websockets(env: &Env) {
    let directory = TempDir::new();
    let script = directory.write("websocket_peer.py", include_str!("programs/websocket_peer.py"));
    let port = free_port();
    let mut command = Command::new(clients::python());
    command.arg(&script).args(["serve", &port.to_string()]);
    let server = Daemon::start(port, command);
    let addr = server.addr.to_string();
    let command = [&*clients::python(), script.to_str().expect("UTF-8"), "ask", &addr];
    let outcome = env.exec(&command).run().success();
    assert_eq!(outcome.line("echoed"), "5");
    outcome.report(|connections| {
        assert_eq!(connections.len(), 1, "{connections:?}");
        let connection = &connections[0];
        assert_eq!(connection.text("protocol"), Some("http/1"), "{connection:?}");
        assert_eq!(connection.text("upgraded"), Some("websocket"), "{connection:?}");
        assert_eq!(connection.number("requests"), 1, "{connection:?}");
        assert_eq!(connection.counts("statuses"), count(["101".to_owned()].into_iter()));
        assert_eq!(connection.text("lost"), None, "{connection:?}");
    });
}

/// The least of a proxy: joins the connection to the target of CONNECT, where that is a port of
/// 127.0.0.1; otherwise 403. What is not CONNECT goes to `origin`, as it came.
fn proxy(origin: String) -> impl Fn(&mut Session) {
    move |session| {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            if session.read(&mut byte) == 0 {
                return;
            }
            head.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&head);
        let mut words = text.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let tunnel = method == "CONNECT";
        if tunnel && !target.starts_with("127.0.0.1:") {
            session.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n");
            return;
        }
        let mut upstream = TcpStream::connect(if tunnel { target } else { &origin }).expect("an origin");
        if tunnel {
            session.write(b"HTTP/1.1 200 Connection established\r\n\r\n");
        } else {
            upstream.write_all(&head).expect("write to the origin");
        }
        let mut from = upstream.try_clone().expect("clone a stream");
        let mut to = session.writer();
        let back = std::thread::spawn(move || {
            // Either may go first.
            std::io::copy(&mut from, &mut to).ok();
            to.shutdown(std::net::Shutdown::Write).ok();
        });
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let read = session.read(&mut buffer);
            if read == 0 || upstream.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        upstream.shutdown(std::net::Shutdown::Write).ok();
        back.join().expect("the way back");
    }
}

fn curl(env: &Env, flags: &[&str], proxy: &Raw, urls: &[&str]) -> sluice_tests::exec::Outcome {
    let curl = program("curl");
    let proxy = proxy.addr().to_string();
    let told = ["-o", "/dev/null", "-w", "status %{http_code} %{http_connect}\\n"];
    let mut words = vec![&*curl, "-sS", "--noproxy", "", "-x", &*proxy];
    words.extend(flags);
    for url in urls {
        words.extend(told);
        words.push(url);
    }
    env.exec(&words).run()
}

fn curl_connects_through_a_proxy(env: &Env) {
    let server = Server::nginx("");
    let proxy = Raw::start(proxy(server.addr()));
    let url = format!("http://{}/ok", server.addr());
    let outcome = curl(env, &["--proxytunnel"], &proxy, &[&url]).success();
    assert_eq!(outcome.line("status"), "200 200");
    logged(&server, &count(["200".to_owned()].into_iter()));
    // What goes through the tunnel is not looked at: one request, and its answer.
    outcome.report(|connections| {
        assert_eq!(connections.len(), 1, "{connections:?}");
        let connection = &connections[0];
        assert_eq!(connection.text("protocol"), Some("http/1"), "{connection:?}");
        assert_eq!(connection.text("upgraded"), Some("connect"), "{connection:?}");
        assert_eq!(connection.number("requests"), 1, "{connection:?}");
        assert_eq!(connection.counts("statuses"), count(["200".to_owned()].into_iter()));
    });
}

fn curl_is_refused_by_a_proxy(env: &Env) {
    let proxy = Raw::start(proxy(String::new()));
    let outcome = curl(env, &["--proxytunnel"], &proxy, &["http://shop.test/ok"]);
    assert_eq!(outcome.line("status"), "000 403");
    outcome.report(|connections| {
        let connection = &connections[0];
        assert_eq!(connection.text("upgraded"), None, "{connection:?}");
        assert_eq!(connection.number("requests"), 1, "{connection:?}");
        assert_eq!(connection.counts("statuses"), count(["403".to_owned()].into_iter()));
    });
}

fn curl_asks_a_proxy_for_an_absolute_target(env: &Env) {
    let server = Server::nginx("");
    let proxy = Raw::start(proxy(server.addr()));
    let urls = ["http://shop.test/ok", "http://shop.test/absent"];
    let outcome = curl(env, &[], &proxy, &urls).success();
    assert_eq!(outcome.lines("status"), ["200 000", "404 000"]);
    let statuses = count(["200".to_owned(), "404".to_owned()].into_iter());
    super::agree(&outcome, &server, &statuses, "http/1");
}
