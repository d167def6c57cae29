//! Clients in other languages, each with its own way with sockets: blocking, non-blocking, and
//! IPv4 mapped into IPv6.

use sluice_tests::server::{Server, behaviour};
use sluice_tests::suite::{Env, Group};
use sluice_tests::tempdir::TempDir;
use sluice_tests::tests;

use super::web::Nginx;
use super::{body, prepared, program, sha256};

pub(super) fn register(group: &mut Group<'_>) {
    group.peers(tests![
        a_python_client_works,
        an_asyncio_client_works,
        a_java_client_works,
        a_node_client_works,
        a_go_client_works,
    ]);
}

/// Runs a client that is told a URL to fetch and a port to speak with an echo server: it prints the
/// SHA-256 of what it fetched, and of what came back when it sent a million bytes of 'x'.
fn works(env: &Env, command: &[&str]) {
    let nginx = Nginx::http();
    let echo = Server::start(behaviour::echo);
    let (url, port) = (nginx.url("/body"), echo.port().to_string());
    let outcome = env.exec(&[command, &[&url, &port]].concat()).run().success();
    assert_eq!(outcome.line("fetched"), sha256(&body(5_000_000)));
    assert_eq!(outcome.line("echoed"), sha256(&vec![b'x'; 1_000_000]));
    assert!(echo.record().received.bytes() == 1_000_000);
    outcome.report(|connections| {
        let of = |verdict: &str| connections.iter().filter(|one| one.verdict() == verdict).count();
        assert_eq!(of("detect http/1 client-bytes"), 1, "{connections:?}");
        assert_eq!(of("detect opaque client-bytes"), 1, "{connections:?}");
        let http = connections.iter().find(|one| one.verdict().contains("http/1"));
        let dst = http.and_then(|one| one.text("dst")).expect("a destination");
        assert!(url.contains(dst), "an IPv4 destination is told as one, mapped or not: {dst}");
    });
}

fn source(directory: &TempDir, name: &str, text: &str) -> String {
    directory.write(name, text).to_str().expect("UTF-8").to_owned()
}

fn a_python_client_works(env: &Env) {
    let directory = TempDir::new();
    let script = source(&directory, "client.py", include_str!("programs/client.py"));
    works(env, &[&program("python3"), &script, "blocking"]);
}

fn an_asyncio_client_works(env: &Env) {
    let directory = TempDir::new();
    let script = source(&directory, "client.py", include_str!("programs/client.py"));
    works(env, &[&program("python3"), &script, "asyncio"]);
}

fn a_java_client_works(env: &Env) {
    let directory = TempDir::new();
    let class = source(&directory, "Client.java", include_str!("programs/Client.java"));
    works(env, &[&program("java"), "-XX:TieredStopAtLevel=1", &class]);
}

fn a_node_client_works(env: &Env) {
    let directory = TempDir::new();
    let script = source(&directory, "client.js", include_str!("programs/client.js"));
    works(env, &[&program("node"), &script]);
}

fn a_go_client_works(env: &Env) {
    let directory = TempDir::new();
    let text = source(&directory, "client.go", include_str!("programs/client.go"));
    let built = directory.join("client").display().to_string();
    let environment = ["CGO_ENABLED=0", "GOPROXY=off", "GOTOOLCHAIN=local", "GO111MODULE=off"];
    let build = ["go", "build", "-o", &built, &text];
    let _said = prepared(&program("env"), &[&environment[..], &build].concat());
    works(env, &[&built]);
}
