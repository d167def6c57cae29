//! `cargo xtask demo`: sluice's main job, on real traffic.
//!
//! This process is the servers; the client is this program again (`demo-client`), once by itself
//! and once under `sluice exec`. What sluice reports is set against what the client counted:
//! a demonstration that shows the wrong thing fails.

mod client;
mod outcome;
mod servers;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

pub(crate) use client::{ClientArgs, run as client};

use crate::command::{self, Progress};
use crate::setup::{self, Purpose};
use crate::{test, workspace};
use outcome::{Connection, Reported};
use servers::{Kind, Server, Tls};

/// The name in the TLS server's certificate, which clients ask for.
const NAME: &str = "demo.test";
/// What clients and server agree on inside TLS.
const ALPN: &str = "http/1.1";

/// What is expected of the connections to one server.
struct Scene {
    /// Names the server in the table and between the client and us.
    name: &'static str,
    kind: Kind,
    decision: &'static str,
    /// Not known of a connection that sluice was told to leave alone.
    protocol: Option<&'static str>,
    detected_by: Option<&'static str>,
}

const SCENES: [Scene; 5] = [
    scene("http", Kind::Http, "detect", "http/1", "client-bytes"),
    scene("banner", Kind::Banner, "detect", "opaque", "server-first"),
    scene("tls", Kind::Tls, "detect", "tls", "client-bytes"),
    scene("opaque-port", Kind::Http, "opaque", "opaque", "config"),
    Scene { name: "skipped-port", kind: Kind::Http, decision: "skip", protocol: None, detected_by: None },
];

const fn scene(
    name: &'static str,
    kind: Kind,
    decision: &'static str,
    protocol: &'static str,
    detected_by: &'static str,
) -> Scene {
    Scene { name, kind, decision, protocol: Some(protocol), detected_by: Some(detected_by) }
}

/// Builds sluice and shows it; `false` when what it reported is wrong.
pub(crate) fn run() -> Result<bool> {
    setup::run(Purpose::Build, false)?;
    let progress = Progress::new("demo");
    if !setup::is_root()? {
        bail!("sluice loads programs into the kernel: run this as root");
    }
    let sluice = test::build_sluice(&progress)?;
    let directory = workspace::target().join("demo");
    fs::create_dir_all(&directory)?;
    let report = directory.join("report.jsonl");
    if report.exists() {
        fs::remove_file(&report)?;
    }

    let tls = Tls::new(NAME, ALPN)?;
    let certificate = directory.join("certificate.der");
    fs::write(&certificate, tls.certificate())?;
    let servers = SCENES.iter().map(|scene| Server::start(scene.kind, &tls)).collect::<Result<Vec<_>>>()?;
    let named = || SCENES.iter().zip(&servers);
    for (scene, server) in named() {
        progress.say(format_args!("{} listens on {}", scene.name, server.address));
    }

    let client_program = std::env::current_exe().context("cannot find this program")?;
    let client = |mut command: Command| -> Result<Vec<Connection>> {
        command.arg("demo-client").arg("--certificate").arg(&certificate);
        for (scene, server) in named() {
            command.arg(format!("--{}", scene.name)).arg(server.address.to_string());
        }
        Connection::read_all(&command::output(&mut command)?)
    };
    progress.say("running the client by itself");
    let direct = client(Command::new(&client_program))?;

    let port = |wanted: &str| {
        let server = named().find(|(scene, _)| scene.decision == wanted);
        server.map_or(0, |(_, server)| server.address.port()).to_string()
    };
    let mut exec = Command::new(&sluice);
    exec.args(["exec", "--opaque-ports", &port("opaque"), "--skip-outbound-ports", &port("skip")]);
    exec.arg("--report").arg(&report).arg("--").arg(&client_program);
    progress.say(format_args!("$ {} demo-client …", command::show(&exec)));
    let through = client(exec)?;

    let reported = Reported::read_all(&read(&report)?)?;
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    outcome::print(&addresses, &direct, &through, &reported);
    let wrong = outcome::wrong(&addresses, &through, &reported);
    for what in &wrong {
        println!("WRONG: {what}");
    }
    progress.say(if wrong.is_empty() {
        format!("all as expected; sluice's report is {}", report.display())
    } else {
        format!("FAILED: {} not as expected; sluice's report is {}", wrong.len(), report.display())
    });
    Ok(wrong.is_empty())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("sluice wrote no report to {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_content_with_the_servers() {
        let tls = Tls::new(NAME, ALPN).unwrap();
        let certificate = std::env::temp_dir().join(format!("sluice-demo-{}.der", std::process::id()));
        fs::write(&certificate, tls.certificate()).unwrap();
        let start = |kind| Server::start(kind, &tls).unwrap().address;
        let args = ClientArgs {
            certificate: certificate.clone(),
            http: start(Kind::Http),
            banner: start(Kind::Banner),
            tls: start(Kind::Tls),
            opaque_port: start(Kind::Http),
            skipped_port: start(Kind::Http),
        };
        client(&args).unwrap();
        // A server that speaks first is not what the HTTP client asked for.
        assert!(client(&ClientArgs { http: args.banner, ..args }).is_err());
        fs::remove_file(certificate).unwrap();
    }
}
