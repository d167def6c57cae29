//! curl and nginx; openssl on both ends.

use std::process::Command;

use sluice_tests::suite::{Env, Group};
use sluice_tests::tempdir::TempDir;
use sluice_tests::tests;

use super::{Daemon, body, free_port, prepared, program, sha256};

pub(super) fn register(group: &mut Group<'_>) {
    group.peers(tests![
        curl_fetches_from_nginx_over_a_kept_alive_connection,
        curl_uploads_to_nginx,
        curl_speaks_http2_in_the_clear_with_nginx,
        curl_speaks_https_with_nginx,
        openssl_s_client_speaks_with_s_server,
    ]);
}

const BODY: u64 = 5_000_000;

/// nginx, with a body to fetch.
pub(super) struct Nginx {
    pub(super) directory: TempDir,
    daemon: Daemon,
}

impl Nginx {
    /// Serves in the clear.
    pub(super) fn http() -> Self {
        Self::with("", "")
    }

    fn with(listen: &str, more: &str) -> Self {
        let directory = TempDir::new();
        let port = free_port();
        let root = directory.path().display();
        let config = format!(
            "daemon off; master_process off; pid {root}/pid; error_log stderr;\n\
             events {{}}\n\
             http {{ access_log off; client_max_body_size 100m; \
             client_body_temp_path {root}/in; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f; \
             uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
             server {{ listen 127.0.0.1:{port} {listen}; {more}\n\
             location / {{ root {root}; }}\n\
             location /upload {{ proxy_pass http://127.0.0.1:{port}/taken; }}\n\
             location /taken {{ return 200 \"$content_length\"; }} }} }}\n"
        );
        let config = directory.write("nginx.conf", config);
        let _body = directory.write("body", body(BODY));
        let mut command = Command::new(program("nginx"));
        command.arg("-p").arg(directory.path()).arg("-c").arg(config);
        Self { daemon: Daemon::start(port, command), directory }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.daemon.addr)
    }
}

fn curl_fetches_from_nginx_over_a_kept_alive_connection(env: &Env) {
    let nginx = Nginx::http();
    let url = nginx.url("/body");
    let command = [&program("curl"), "-sS", "--fail", &url, &url, &url];
    let outcome = env.exec(&command).run().success();
    let expected = body(BODY).repeat(3);
    assert_eq!(sha256(&outcome.finished.stdout), sha256(&expected));
    outcome.report(|connections| {
        assert_eq!(connections.len(), 1, "{connections:?}");
        assert_eq!(connections[0].verdict(), "detect http/1 client-bytes");
        assert!(connections[0].bytes().1 > 3 * BODY);
    });
}

fn curl_uploads_to_nginx(env: &Env) {
    let nginx = Nginx::http();
    let data = format!("@{}", nginx.directory.join("body").display());
    let url = nginx.url("/upload");
    let outcome =
        env.exec(&[&program("curl"), "-sS", "--fail", "--data-binary", &data, &url]).run().success();
    assert_eq!(outcome.text(), BODY.to_string());
    outcome.report(|connections| {
        assert_eq!(connections[0].verdict(), "detect http/1 client-bytes");
        assert!(connections[0].bytes().0 > BODY);
    });
}

fn curl_speaks_http2_in_the_clear_with_nginx(env: &Env) {
    let nginx = Nginx::with("http2", "");
    let url = nginx.url("/body");
    let command = [&program("curl"), "-sS", "--fail", "--http2-prior-knowledge", &url];
    let outcome = env.exec(&command).run().success();
    assert_eq!(sha256(&outcome.finished.stdout), sha256(&body(BODY)));
    outcome.report(|connections| assert_eq!(connections[0].verdict(), "detect http/2 client-bytes"));
}

/// A key and a certificate of its own signature for `shop.test`.
fn certificate(directory: &TempDir) -> (String, String) {
    let [key, certificate] = ["key.pem", "cert.pem"].map(|name| directory.join(name).display().to_string());
    let request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let rest = ["-days", "2", "-subj", "/CN=shop.test", "-keyout", &key, "-out", &certificate];
    let _said = prepared(&program("openssl"), &[&request[..], &rest].concat());
    (key, certificate)
}

fn curl_speaks_https_with_nginx(env: &Env) {
    let directory = TempDir::new();
    let (key, certificate) = certificate(&directory);
    let nginx =
        Nginx::with("ssl http2", &format!("ssl_certificate {certificate}; ssl_certificate_key {key};"));
    let port = nginx.daemon.port();
    let url = format!("https://shop.test:{port}/body");
    let resolve = format!("shop.test:{port}:127.0.0.1");
    let command = [&program("curl"), "-sS", "--fail", "-k", "--resolve", &resolve, &url];
    let outcome = env.exec(&command).run().success();
    assert_eq!(sha256(&outcome.finished.stdout), sha256(&body(BODY)));
    outcome.report(|connections| {
        assert_eq!(connections[0].verdict(), "detect tls client-bytes");
        assert_eq!(connections[0].text("sni"), Some("shop.test"));
        assert!(connections[0].0["alpn"].to_string().contains("h2"), "{connections:?}");
    });
}

fn openssl_s_client_speaks_with_s_server(env: &Env) {
    let directory = TempDir::new();
    let (key, certificate) = certificate(&directory);
    let port = free_port();
    let mut command = Command::new(program("openssl"));
    // It answers each line with the line reversed.
    command.args(["s_server", "-rev", "-quiet", "-alpn", "x-test", "-accept", &format!("127.0.0.1:{port}")]);
    command.args(["-key", &key, "-cert", &certificate]);
    let server = Daemon::start(port, command);
    let connect = server.addr.to_string();
    let openssl = program("openssl");
    let client =
        [&*openssl, "s_client", "-quiet", "-no_ign_eof", "-servername", "shop.test", "-alpn", "x-test"];
    let command = [&client[..], &["-connect", &connect]].concat();
    let mut running = env.exec(&command).start();
    running.process.say("hello");
    running.process.line("olleh");
    running.process.feed(b"");
    let outcome = running.finish();
    outcome.report(|connections| {
        assert_eq!(connections[0].verdict(), "detect tls client-bytes");
        assert_eq!(connections[0].text("sni"), Some("shop.test"));
        assert!(connections[0].0["alpn"].to_string().contains("x-test"), "{connections:?}");
    });
}
