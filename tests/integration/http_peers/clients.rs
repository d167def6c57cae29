//! Programs that ask, and tell `status N` of each response.

use std::path::PathBuf;
use std::sync::OnceLock;

use sluice_tests::tempdir::TempDir;

use crate::peers::{prepared, program};

/// A client program, and how to make it ask.
pub(super) struct Client {
    directory: TempDir,
    how: How,
}

enum How {
    /// curl, with the flag that says which HTTP.
    Curl(&'static str),
    /// A program of ours, which takes an address and the items.
    Program(Vec<String>),
}

/// curl, speaking the HTTP that the flag says.
pub(super) fn curl(version: &'static str) -> Client {
    let directory = TempDir::new();
    let _body = directory.write("body", [b'x'; 3000]);
    Client { directory, how: How::Curl(version) }
}

/// The Python that has the packages of `cargo xtask setup`.
pub(super) fn python() -> String {
    // Beside the directory that this program was built into: target/PROFILE/deps/integration-HASH.
    let this = std::env::current_exe().expect("the path of this program");
    let target = this.ancestors().nth(3).expect("a target directory");
    let python = target.join("python/bin/python");
    assert!(python.exists(), "no {}: cargo xtask setup installs it", python.display());
    python.to_str().expect("UTF-8").to_owned()
}

/// The Go program, built once for all tests: that takes seconds.
pub(super) fn go() -> String {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, built) = BUILT.get_or_init(|| {
        let directory = TempDir::new();
        let text = directory.write("peer.go", include_str!("programs/peer.go"));
        let built = directory.join("peer");
        let [built_to, text] = [&built, &text].map(|path| path.to_str().expect("UTF-8"));
        let environment = ["CGO_ENABLED=0", "GOPROXY=off", "GOTOOLCHAIN=local", "GO111MODULE=off"];
        let build = ["go", "build", "-o", built_to, text];
        let _said = prepared(&program("env"), &[&environment[..], &build].concat());
        (directory, built)
    });
    built.to_str().expect("UTF-8").to_owned()
}

impl Client {
    /// `programs/ask.py`: `1.0`, `1.1`, `pipelined` or `aiohttp`.
    pub(super) fn python(mode: &str) -> Self {
        Self::script(&[&python()], "ask.py", include_str!("programs/ask.py"), mode)
    }

    /// `programs/ask.js`: `http` or `http2`.
    pub(super) fn node(mode: &str) -> Self {
        Self::script(&[&program("node")], "ask.js", include_str!("programs/ask.js"), mode)
    }

    /// `programs/Ask.java`: `1.1` or `2`.
    pub(super) fn java(mode: &str) -> Self {
        let java = [&*program("java"), "-XX:TieredStopAtLevel=1"];
        Self::script(&java, "Ask.java", include_str!("programs/Ask.java"), mode)
    }

    /// `programs/peer.go`.
    pub(super) fn go() -> Self {
        Self { directory: TempDir::new(), how: How::Program(vec![go(), "ask".into()]) }
    }

    fn script(runner: &[&str], name: &str, text: &str, mode: &str) -> Self {
        let directory = TempDir::new();
        let script = directory.write(name, text).to_str().expect("UTF-8").to_owned();
        let mut words: Vec<String> = runner.iter().map(|&word| word.to_owned()).collect();
        words.extend([script, mode.to_owned()]);
        Self { directory, how: How::Program(words) }
    }

    /// The command that asks for the items.
    pub(super) fn command(&self, addr: &str, items: &[&str]) -> Vec<String> {
        match &self.how {
            How::Program(words) => {
                let items = items.iter().map(|&item| item.to_owned());
                words.iter().cloned().chain([addr.to_owned()]).chain(items).collect()
            }
            How::Curl(version) => self.curl(version, addr, items),
        }
    }

    fn curl(&self, version: &str, addr: &str, items: &[&str]) -> Vec<String> {
        let curl = program("curl");
        let one = |item: &str| self.curl_words(version, addr, item);
        if version.starts_with("--http1") {
            let all = items.iter().map(|item| one(item)).collect::<Vec<_>>().join(&["--next".to_owned()][..]);
            return [curl, "-sS".to_owned()].into_iter().chain(all).collect();
        }
        // Debian 12's curl breaks a connection of HTTP/2 in the clear when it uses it again.
        let each = items.iter().map(|item| {
            let words: Vec<_> = one(item).iter().map(|word| format!("'{word}'")).collect();
            format!("{curl} -sS {}", words.join(" "))
        });
        let script = each.collect::<Vec<_>>().join(" && ");
        vec!["sh".to_owned(), "-c".to_owned(), script]
    }

    fn curl_words(&self, version: &str, addr: &str, item: &str) -> Vec<String> {
        let body = format!("@{}", self.directory.join("body").display());
        let parts: Vec<_> = item.split(':').collect();
        let framing: &[&str] = match parts[..] {
            ["HEAD", _] => &["--head"],
            [_, _, "chunked"] => &["-H", "Transfer-Encoding: chunked", "--data-binary", &body],
            [_, _, _] => &["--data-binary", &body],
            _ => &[],
        };
        let told = [version, "-o", "/dev/null", "-w", "status %{http_code}\\n"];
        let words = told.iter().chain(framing).map(|&word| word.to_owned());
        words.chain([format!("http://{addr}{}", parts[1])]).collect()
    }
}
