//! Programs that answer, each with an access log of its own.

use std::path::PathBuf;
use std::process::Command;

use sluice_tests::tempdir::TempDir;

use super::clients;
use crate::peers::{Daemon, free_port, program};

/// A server, and its access log.
pub(super) struct Server {
    daemon: Daemon,
    log: PathBuf,
    status_of: fn(&str) -> Option<&str>,
    _directory: TempDir,
}

impl Server {
    /// nginx; `listen` may say `http2`.
    pub(super) fn nginx(listen: &str) -> Self {
        let directory = TempDir::new();
        let port = free_port();
        let root = directory.path().display();
        let _stream = directory.write("stream", [b'x'; 100_000]);
        let config = format!(
            "daemon off; master_process off; pid {root}/pid; error_log stderr;\n\
             events {{}}\n\
             http {{ log_format told '$request_method $status'; access_log {root}/log told;\n\
             client_body_temp_path {root}/in; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f; \
             uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
             server {{ listen 127.0.0.1:{port} {listen};\n\
             location = /ok {{ return 200 'hello\\n'; }} location = /take {{ return 200 'taken\\n'; }}\n\
             location = /empty {{ return 204; }} location = /same {{ return 304; }}\n\
             location = /moved {{ return 302 /ok; }} location = /broken {{ return 500; }}\n\
             location = /stream {{ root {root}; default_type text/html; sub_filter y z; }} }} }}\n"
        );
        let config = directory.write("nginx.conf", config);
        let mut command = Command::new(program("nginx"));
        command.arg("-p").arg(directory.path()).arg("-c").arg(config);
        Self::start(directory, port, command)
    }

    /// Apache httpd, which also takes upgrades to HTTP/2, and HTTP/2 at once.
    pub(super) fn apache() -> Self {
        let directory = TempDir::new();
        let port = free_port();
        let root = directory.path().display();
        for page in ["ok", "take", "stream"] {
            let _page = directory.write(page, "hello\n".repeat(1000));
        }
        let _same = directory.write("same", "Status: 304 Not Modified\n\n");
        let modules: String = ["mpm_event", "authz_core", "http2", "alias", "asis", "rewrite"]
            .iter()
            .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
            .collect();
        let config = format!(
            "ServerRoot {root}\nServerName shop.test\nListen 127.0.0.1:{port}\n{modules}\
             User nobody\nGroup nogroup\nPidFile {root}/pid\nMutex file:{root}\nErrorLog {root}/errors\n\
             StartServers 1\nServerLimit 1\nThreadsPerChild 16\nMaxRequestWorkers 16\n\
             MinSpareThreads 1\nMaxSpareThreads 16\n\
             DocumentRoot {root}\nLogFormat \"%m %>s\" told\nCustomLog {root}/log told\n\
             Protocols h2c http/1.1\nH2Direct on\nH2Upgrade on\n\
             RewriteEngine on\nRewriteRule ^/empty$ - [R=204,L]\n\
             RewriteRule ^/broken$ - [R=500,L]\nRedirect 302 /moved /ok\n\
             <Location /same>\nSetHandler send-as-is\n</Location>\n"
        );
        let config = directory.write("apache.conf", config);
        let mut command = Command::new(program("apache2"));
        command.arg("-DFOREGROUND").arg("-f").arg(config);
        let mut server = Self::start(directory, port, command);
        // An upgrade is logged as well, and then the same request's response over HTTP/2.
        server.status_of = |line| status_of(line).filter(|status| *status != "101");
        server
    }

    /// `HAProxy`, answering by itself; it tells HTTP/2 by its preface.
    pub(super) fn haproxy() -> Self {
        let directory = TempDir::new();
        let port = free_port();
        let answer = |status: u16, path: &str| {
            format!(
                " http-request return status {status} content-type text/plain string answer if {{ path {path} }}\n"
            )
        };
        let config = format!(
            "global\n log stdout format raw local0 info\n\
             defaults\n mode http\n log global\n log-format \"%HM %ST\"\n timeout client 60s\n timeout server 60s\n \
             timeout connect 60s\n timeout http-request 60s\n\
             frontend all\n bind 127.0.0.1:{port}\n http-request wait-for-body time 60s if METH_POST\n{}{}{}{}\
             \x20http-request redirect location /ok code 302 if {{ path /moved }}\n\
             \x20http-request return status 204 if {{ path /empty }}\n\
             \x20http-request return status 304 if {{ path /same }}\n\
             \x20http-request return status 404 content-type text/plain string absent\n",
            answer(200, "/ok"),
            answer(200, "/take"),
            answer(200, "/stream"),
            answer(500, "/broken"),
        );
        let config = directory.write("haproxy.cfg", config);
        let command =
            logging(&directory, &[&program("haproxy"), "-db", "-f", config.to_str().expect("UTF-8")]);
        Self::start(directory, port, command)
    }

    /// nghttpd, which tells each header that it sends.
    pub(super) fn nghttpd() -> Self {
        let directory = TempDir::new();
        let port = free_port();
        let _page = directory.write("ok", "hello\n".repeat(1000));
        let root = directory.path().to_str().expect("UTF-8").to_owned();
        let words =
            [&*program("nghttpd"), "-v", "--no-tls", "-a", "127.0.0.1", "-d", &root, &port.to_string()];
        let command = logging(&directory, &words);
        let mut server = Self::start(directory, port, command);
        server.status_of = |line| line.split_once(":status: ").map(|(_, status)| status);
        server
    }

    /// `programs/serve.py`: `http.server`, `aiohttp`, `hypercorn` or `h2`.
    pub(super) fn python(mode: &str) -> Self {
        Self::script(&clients::python(), "serve.py", include_str!("programs/serve.py"), mode)
    }

    /// `programs/serve.js`: `http` or `http2`.
    pub(super) fn node(mode: &str) -> Self {
        Self::script(&program("node"), "serve.js", include_str!("programs/serve.js"), mode)
    }

    /// `programs/peer.go`.
    pub(super) fn go() -> Self {
        let directory = TempDir::new();
        let port = free_port();
        let mut command = Command::new(clients::go());
        command.arg("serve").arg(port.to_string()).arg(directory.join("log"));
        Self::start(directory, port, command)
    }

    fn script(runner: &str, name: &str, text: &str, mode: &str) -> Self {
        let directory = TempDir::new();
        let port = free_port();
        let script = directory.write(name, text);
        let mut command = Command::new(runner);
        command.arg(script).args([mode, &port.to_string()]).arg(directory.join("log"));
        Self::start(directory, port, command)
    }

    /// Starts one that logs `METHOD STATUS` lines into `log`.
    fn start(directory: TempDir, port: u16, command: Command) -> Self {
        let daemon = Daemon::start(port, command);
        Self { log: directory.join("log"), daemon, status_of, _directory: directory }
    }

    /// Where it listens.
    pub(super) fn addr(&self) -> String {
        self.daemon.addr.to_string()
    }

    /// The statuses that it has logged up to now.
    pub(super) fn statuses(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter_map(self.status_of).map(|status| status.trim().to_owned()).collect()
    }
}

/// The status of a line `METHOD STATUS`. A connection without a request is logged without a method.
fn status_of(line: &str) -> Option<&str> {
    let (method, status) = line.split_once(' ')?;
    method.bytes().all(|byte| byte.is_ascii_uppercase()).then_some(status)
}

/// A command whose standard output is the log.
fn logging(directory: &TempDir, words: &[&str]) -> Command {
    let log = directory.join("log");
    let mut command = Command::new("sh");
    command.args(["-c", "log=$1; shift; exec \"$@\" > \"$log\"", "sh"]).arg(log).args(words);
    command
}
