//! ssh and sshd.

use std::process::Command;

use sluice_tests::suite::{Env, Group};
use sluice_tests::tempdir::TempDir;
use sluice_tests::tests;

use super::{Daemon, body, free_port, prepared, program};

pub(super) fn register(group: &mut Group<'_>) {
    group.peers(tests![ssh_speaks_with_sshd]);
}

fn ssh_speaks_with_sshd(env: &Env) {
    let directory = TempDir::new();
    let [host_key, user_key] = ["host", "user"].map(|name| directory.join(name).display().to_string());
    for key in [&host_key, &user_key] {
        let _said = prepared(&program("ssh-keygen"), &["-q", "-t", "ed25519", "-N", "", "-f", key]);
    }
    let port = free_port();
    let config = directory.write(
        "sshd_config",
        format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nAuthorizedKeysFile {user_key}.pub\n\
             StrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\nPidFile none\n"
        ),
    );
    // sshd insists on this directory, which a boot would have made.
    std::fs::create_dir_all("/run/sshd").expect("make /run/sshd");
    let mut command = Command::new(program("sshd"));
    command.args(["-D", "-e", "-f"]).arg(config);
    let server = Daemon::start(port, command);

    let known = format!("UserKnownHostsFile={}", directory.join("known").display());
    let options = ["-F", "none", "-o", &known, "-o", "StrictHostKeyChecking=no", "-o", "IdentitiesOnly=yes"];
    let ssh = [&*program("ssh"), "-q", "-i", &user_key, "-p", &server.port()];
    let command = [&ssh[..], &options, &["root@127.0.0.1", "cat"]].concat();
    let bytes = body(3_000_000);
    let mut running = env.exec(&command).start();
    running.process.feed(&bytes);
    let outcome = running.finish().success();
    assert!(outcome.finished.stdout == bytes, "{} bytes came back", outcome.finished.stdout.len());
    // Both ends send their version at once; whoever is first, it is opaque.
    outcome.report(|connections| {
        assert_eq!(connections[0].text("protocol"), Some("opaque"), "{connections:?}");
        assert_eq!(connections[0].text("decision"), Some("detect"), "{connections:?}");
    });
}
