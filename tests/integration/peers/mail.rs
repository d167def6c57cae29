//! Python's smtplib and a small SMTP server: the server speaks first.

use std::process::Command;

use sluice_tests::suite::{Env, Group};
use sluice_tests::tempdir::TempDir;
use sluice_tests::tests;

use super::{Daemon, free_port, program};

pub(super) fn register(group: &mut Group<'_>) {
    group.peers(tests![smtplib_delivers_to_an_smtp_server]);
}

fn smtplib_delivers_to_an_smtp_server(env: &Env) {
    let directory = TempDir::new();
    let server = directory.write("server.py", include_str!("programs/smtp_server.py"));
    let client = directory.write("client.py", include_str!("programs/smtp_client.py"));
    let port = free_port();
    let mut command = Command::new(program("python3"));
    command.arg(server).arg(port.to_string());
    let server = Daemon::start(port, command);
    let command = [&program("python3"), client.to_str().expect("UTF-8"), &server.port()];
    let outcome = env.exec(&command).run().success();
    assert_eq!(outcome.text().trim(), "250 taken 1000");
    outcome.report(|connections| assert_eq!(connections[0].verdict(), "detect opaque server-first"));
}
