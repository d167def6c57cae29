//! redis, memcached, PostgreSQL and MariaDB, with their own clients.

use std::path::PathBuf;
use std::process::Command;

use sluice_tests::suite::{Env, Group};
use sluice_tests::tempdir::TempDir;
use sluice_tests::tests;

use super::{Daemon, body, free_port, prepared, program};

pub(super) fn register(group: &mut Group<'_>) {
    group.peers(tests![
        redis_cli_speaks_with_redis,
        a_python_client_speaks_with_memcached,
        psql_speaks_with_postgresql,
        mariadb_speaks_with_mariadbd,
        a_redis_port_on_the_opaque_list_is_not_inspected,
    ]);
}

fn redis(directory: &TempDir) -> Daemon {
    let port = free_port();
    let mut command = Command::new(program("redis-server"));
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]);
    command.arg(directory.path());
    Daemon::start(port, command)
}

fn redis_cli_speaks_with_redis(env: &Env) {
    let directory = TempDir::new();
    let redis = redis(&directory);
    let cli = [&*program("redis-cli"), "-h", "127.0.0.1", "-p", &redis.port()];
    let outcome = env.exec(&[&cli[..], &["-r", "500", "INCR", "n"]].concat()).run().success();
    assert_eq!(outcome.text().lines().last(), Some("500"));
    outcome.report(|connections| assert_eq!(connections[0].verdict(), "detect opaque client-bytes"));

    // A value of a megabyte there and back.
    let value: Vec<u8> = body(1_000_000).iter().map(|byte| b'a' + byte % 26).collect();
    let mut running = env.exec(&[&cli[..], &["-x", "SET", "k"]].concat()).start();
    running.process.feed(&value);
    assert_eq!(running.finish().success().text().trim(), "OK");
    let outcome = env.exec(&[&cli[..], &["GET", "k"]].concat()).run().success();
    assert!(outcome.text().trim_end().as_bytes() == value, "another value came back");
}

fn a_redis_port_on_the_opaque_list_is_not_inspected(env: &Env) {
    let directory = TempDir::new();
    let redis = redis(&directory);
    let port = redis.port();
    let command = [&*program("redis-cli"), "-h", "127.0.0.1", "-p", &port, "PING"];
    let outcome = env.exec(&command).flag("--opaque-ports", &port).run().success();
    assert_eq!(outcome.text().trim(), "PONG");
    outcome.report(|connections| assert_eq!(connections[0].verdict(), "opaque opaque config"));
}

fn a_python_client_speaks_with_memcached(env: &Env) {
    let port = free_port();
    let mut command = Command::new(program("memcached"));
    command.args(["-u", "root", "-l", "127.0.0.1", "-p", &port.to_string()]);
    let memcached = Daemon::start(port, command);
    let directory = TempDir::new();
    let client = directory.write("memcached.py", include_str!("programs/memcached.py"));
    let command = [&program("python3"), client.to_str().expect("UTF-8"), &memcached.port()];
    let outcome = env.exec(&command).run().success();
    assert_eq!(outcome.text().trim(), "same 20 times");
    outcome.report(|connections| assert_eq!(connections[0].verdict(), "detect opaque client-bytes"));
}

/// A program of PostgreSQL's own directory, of whichever version there is.
fn of_postgresql(name: &str) -> String {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin").join(name)).find(|path| path.exists());
    let path: PathBuf = found.unwrap_or_else(|| program(name).into());
    path.to_str().expect("UTF-8").to_owned()
}

fn psql_speaks_with_postgresql(env: &Env) {
    let directory = TempDir::new();
    let [data, sockets] = ["data", "."].map(|name| directory.join(name).display().to_string());
    let as_postgres = ["--reuid=postgres", "--regid=postgres", "--clear-groups"];
    let initdb = [&*of_postgresql("initdb"), "--no-sync", "-A", "trust", "-U", "postgres", "-D", &data];
    let _said = prepared(&program("setpriv"), &[&as_postgres[..], &initdb].concat());
    let port = free_port();
    let mut command = Command::new(program("setpriv"));
    command.args(as_postgres).arg(of_postgresql("postgres"));
    command.args(["-D", &data, "-k", &sockets, "-p", &port.to_string()]);
    command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
    let server = Daemon::start(port, command);
    let query = "create table t as select i, md5(i::text) from generate_series(1, 50000) i; \
                 select * from t order by i; select md5(string_agg(md5, '' order by i)) from t";
    let psql = [&*program("psql"), "-X", "-At", "-h", "127.0.0.1", "-U", "postgres", "-p", &server.port()];
    let outcome = env.exec(&[&psql[..], &["-c", query]].concat()).run().success();
    assert_eq!(outcome.text().lines().filter(|line| line.contains('|')).count(), 50_000);
    outcome.report(|connections| {
        assert!(connections.iter().all(|connection| connection.verdict() == "detect opaque client-bytes"));
        assert!(connections.iter().map(|connection| connection.bytes().1).sum::<u64>() > 1_000_000);
    });
}

fn mariadb_speaks_with_mariadbd(env: &Env) {
    let directory = TempDir::new();
    let [data, socket] = ["data", "socket"].map(|name| directory.join(name).display().to_string());
    let install = ["--no-defaults", "--user=mysql", "--auth-root-authentication-method=normal"];
    let _said = prepared(
        &program("mariadb-install-db"),
        &[&install[..], &["--skip-test-db", &format!("--datadir={data}")]].concat(),
    );
    let port = free_port();
    let mut command = Command::new(program("mariadbd"));
    command.args(["--no-defaults", "--user=mysql", "--bind-address=127.0.0.1", "--skip-grant-tables"]);
    command.args([&format!("--datadir={data}"), &format!("--socket={socket}"), &format!("--port={port}")]);
    let server = Daemon::start(port, command);
    let client = [&*program("mariadb"), "--no-defaults", "--protocol=tcp", "-h127.0.0.1", "-N", "-B"];
    let query = "select seq, md5(seq) from seq_1_to_50000";
    let port = format!("-P{}", server.port());
    let outcome = env.exec(&[&client[..], &[&port, "-e", query, "mysql"]].concat()).run().success();
    assert_eq!(outcome.text().lines().count(), 50_000);
    // The server speaks first.
    outcome.report(|connections| assert_eq!(connections[0].verdict(), "detect opaque server-first"));
}
