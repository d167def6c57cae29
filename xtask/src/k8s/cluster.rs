//! etcd and kube-apiserver on loopback, for one run.
//!
//! ```text
//! tests ──HTTP──► kubectl proxy ──┐
//! sluice ─────────────HTTPS───────┴─► kube-apiserver ───► etcd
//! ```

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::build::Programs;
use super::process::Server;
use crate::command::{self, Progress};

/// How long a server may take until it answers: they share the machine with the tests of others.
const PATIENCE: Duration = Duration::from_secs(90);

/// A port that we saw free may be taken by the time that the server opens it.
const TRIES: u32 = 3;

/// Who may ask, by token. `admin` may do everything, `agent` what the tests allow its ServiceAccount.
const USERS: [(&str, &str, &str); 2] = [
    ("admin", "admin", "system:masters"),
    ("agent", "system:serviceaccount:sluice:sluice", "system:serviceaccounts,system:serviceaccounts:sluice"),
];

/// The running servers.
pub(super) struct Cluster {
    // Dropped in this order, before the directory.
    proxy: Server,
    _kube_apiserver: Server,
    _etcd: Server,
    directory: Directory,
}

impl Cluster {
    /// Starts the servers, and waits until the API answers.
    pub(super) fn start(progress: &Progress, programs: &Programs) -> Result<Self> {
        let mut tried = 0;
        loop {
            tried += 1;
            match Self::try_start(progress, programs) {
                Err(error) if tried < TRIES => progress.say(format_args!("once more: {error:#}")),
                result => return result,
            }
        }
    }

    fn try_start(progress: &Progress, programs: &Programs) -> Result<Self> {
        let directory = Directory::new()?;
        let at = |name: &str| directory.path.join(name);
        let (client, peer, api) = (free_port()?, free_port()?, free_port()?);

        let etcd_at = format!("http://127.0.0.1:{client}");
        let peer_at = format!("http://127.0.0.1:{peer}");
        let arguments = [
            format!("--data-dir={}", at("etcd").display()),
            format!("--listen-client-urls={etcd_at}"),
            format!("--advertise-client-urls={etcd_at}"),
            format!("--listen-peer-urls={peer_at}"),
            format!("--initial-advertise-peer-urls={peer_at}"),
            format!("--initial-cluster=default={peer_at}"),
            // A crash of the machine may take it all.
            "--unsafe-no-fsync".to_owned(),
        ];
        let mut etcd = Server::start(&programs.etcd, &arguments, &directory.path)?;

        let tokens: Vec<_> =
            USERS.iter().map(|(name, user, groups)| format!("{name},{user},{name},\"{groups}\"\n")).collect();
        fs::write(at("tokens"), tokens.concat())?;
        let key = rcgen::KeyPair::generate().context("cannot make a key")?;
        fs::write(at("signing.key"), key.serialize_pem())?;
        fs::write(at("signing.pub"), key.public_key_pem())?;
        let arguments = [
            format!("--etcd-servers={etcd_at}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={api}"),
            // It makes its certificate itself.
            format!("--cert-dir={}", at("certificates").display()),
            format!("--token-auth-file={}", at("tokens").display()),
            "--authorization-mode=RBAC".to_owned(),
            // Nobody makes the default ServiceAccount of a namespace here.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-signing-key-file={}", at("signing.key").display()),
            format!("--service-account-key-file={}", at("signing.pub").display()),
            "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112".to_owned(),
            "--feature-gates=IPv6DualStack=true".to_owned(),
            // Its own address is loopback, which no Endpoints may have.
            "--endpoint-reconciler-type=none".to_owned(),
            "--allow-privileged".to_owned(),
        ];
        let mut kube_apiserver = Server::start(&programs.kube_apiserver, &arguments, &directory.path)?;

        let certificate = at("certificates/apiserver.crt");
        until("kube-apiserver makes its certificate", || {
            etcd.expect_running()?;
            kube_apiserver.expect_running()?;
            Ok(certificate.is_file().then_some(()))
        })?;
        write_kubeconfig(&at("kubeconfig"), &certificate, api)?;
        let kubeconfig = format!("--kubeconfig={}", at("kubeconfig").display());
        let ask = || {
            let arguments = [kubeconfig.as_str(), "--request-timeout=5s", "get", "--raw=/readyz"];
            let mut kubectl = command::command(&programs.kubectl.to_string_lossy(), arguments);
            command::output(&mut kubectl)
        };
        until("kube-apiserver is ready", || {
            kube_apiserver.expect_running()?;
            Ok(ask().is_ok_and(|answer| answer == "ok").then_some(()))
        })
        .with_context(|| kube_apiserver.last_words())?;

        let arguments = [kubeconfig, "proxy".to_owned(), "--port=0".to_owned()];
        let proxy = Server::start(&programs.kubectl, &arguments, &directory.path)?;
        let mut cluster = Self { proxy, _kube_apiserver: kube_apiserver, _etcd: etcd, directory };
        until("kubectl proxy listens", || {
            cluster.proxy.expect_running()?;
            Ok(cluster.plain_address())
        })?;
        progress.say(format_args!("kube-apiserver is ready, at https://127.0.0.1:{api}"));
        Ok(cluster)
    }

    /// What the tests are told of it.
    pub(super) fn environment(&self) -> [(&'static str, String); 2] {
        [
            ("SLUICE_TEST_KUBECONFIG", self.directory.path.join("kubeconfig").display().to_string()),
            ("SLUICE_TEST_KUBE_API", self.plain_address().unwrap_or_default()),
        ]
    }

    /// Where the API is served without TLS, to whoever asks: `127.0.0.1:PORT`.
    fn plain_address(&self) -> Option<String> {
        let said = self.proxy.said();
        // Only whole lines: it may be writing.
        let lines = said.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        lines.filter_map(|line| line.strip_prefix("Starting to serve on ")).next().map(str::to_owned)
    }
}

/// The server's certificate comes with the one that signed it.
fn write_kubeconfig(path: &Path, certificate: &Path, port: u16) -> Result<()> {
    let names = || USERS.iter().map(|(name, ..)| name);
    let users: Vec<_> =
        names().map(|name| serde_json::json!({ "name": name, "user": { "token": name } })).collect();
    let contexts: Vec<_> = names()
        .map(|name| serde_json::json!({ "name": name, "context": { "cluster": "test", "user": name } }))
        .collect();
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "test", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": certificate,
        }}],
        "users": users,
        "contexts": contexts,
        "current-context": "admin",
    });
    fs::write(path, serde_json::to_string_pretty(&config)?).context("cannot write a kubeconfig")
}

/// A port that the kernel says is free.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0)).context("no free port")?.local_addr()?.port())
}

/// Asks until the answer is there.
fn until<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if began.elapsed() > PATIENCE {
            bail!("waited {} s in vain: {what}", PATIENCE.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// A directory for one run, closed to others; removed on drop.
struct Directory {
    path: PathBuf,
}

impl Directory {
    fn new() -> Result<Self> {
        // The tests sweep what such a name stands for once the process is gone.
        let path = std::env::temp_dir().join(format!("slt-{}-k8s", std::process::id()));
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let directory = Self { path };
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&directory.path, fs::Permissions::from_mode(0o700))?;
        Ok(directory)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("k8s-test: left behind: {}: {error}", self.path.display());
        }
    }
}
