//! `sluice inject` and `sluice uninject` in a pipe: what is read, what is written, and the exit status.

use std::process::Command;

use sluice_tests::exec::sluice;
use sluice_tests::process::{Finished, Process, run};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::tempdir::TempDir;
use sluice_tests::{tests, wait};

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("inject");
    group.of_the_proxy_alone();
    group.sluice(tests![
        the_commands_of_linkerd_s_documentation_work,
        standard_input_goes_to_standard_output,
        uninject_brings_back_what_inject_was_given,
        a_directory_is_read_with_what_is_below_in_order,
        several_inputs_are_one_stream,
        nothing_is_written_where_something_is_wrong,
        a_bad_list_is_named_with_its_flag,
        a_url_is_refused,
        standard_input_twice_is_refused,
        a_directory_without_manifests_is_refused,
        a_wrong_command_line_has_another_status,
        what_is_not_utf_8_is_refused,
        nobody_s_privileges_are_needed,
    ]);
}

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: mysql
spec:
  template:
    metadata:
      labels: {app: mysql} # selected
    spec:
      containers: []
";
const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata:\n  name: mysql\n";

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(sluice());
    command.args(arguments);
    command
}

fn fed(arguments: &[&str], input: &[u8]) -> Finished {
    let mut process = Process::start(command(arguments));
    process.feed(input);
    process.finish(wait::patience())
}

fn stdout(finished: &Finished) -> String {
    assert!(finished.status.success(), "{finished:?}");
    String::from_utf8(finished.stdout.clone()).expect("UTF-8")
}

/// The message; nothing on standard output, and this status.
fn refused(finished: &Finished, status: i32) -> &str {
    assert_eq!(finished.status.code(), Some(status), "{finished:?}");
    assert!(finished.stdout.is_empty(), "{finished:?}");
    &finished.stderr
}

fn the_commands_of_linkerd_s_documentation_work(_: &Env) {
    let directory = TempDir::new();
    assert!(directory.write("mysql-deployment.yml", DEPLOYMENT).exists());
    assert!(directory.write("mysql-service.yml", SERVICE).exists());
    let script = "set -e; cd \"$1\"
        \"$0\" inject mysql-deployment.yml --opaque-ports=4406 \\
          | cat -
         \"$0\" inject mysql-service.yml --opaque-ports=4406 \\
          | cat -";
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(sluice()).arg(directory.path());
    let finished = run(shell);
    let annotated = DEPLOYMENT.replace(
        "      labels",
        "      annotations:\n        linkerd.io/inject: enabled\n        \
         config.linkerd.io/opaque-ports: \"4406\"\n      labels",
    ) + &SERVICE
        .replace("  name", "  annotations:\n    config.linkerd.io/opaque-ports: \"4406\"\n  name");
    assert_eq!(stdout(&finished), annotated);
    assert_eq!(finished.stderr, "\ndeployment \"mysql\" injected\n\n\nservice \"mysql\" annotated\n\n");
}

fn standard_input_goes_to_standard_output(_: &Env) {
    let finished = fed(&["inject", "-"], b"kind: Namespace\r\nmetadata:\r\n  name: a\r\n");
    assert_eq!(
        stdout(&finished),
        "kind: Namespace\r\nmetadata:\r\n  annotations:\r\n    linkerd.io/inject: enabled\r\n  name: a\r\n"
    );
    assert_eq!(stdout(&fed(&["inject", "-"], b"")), "");
}

fn uninject_brings_back_what_inject_was_given(_: &Env) {
    let flags =
        ["inject", "--skip-ports=8080", "-", "--skip-subnets", "10.0.0.0/8", "--skip-inbound-ports=1"];
    let injected = fed(&flags, DEPLOYMENT.as_bytes());
    let annotations = stdout(&injected);
    for annotation in ["linkerd.io/skip-ports: \"8080\"", "config.linkerd.io/skip-subnets: \"10.0.0.0/8\""] {
        assert!(annotations.contains(annotation), "{annotations}");
    }
    let back = fed(&["uninject", "-"], &injected.stdout);
    assert_eq!(stdout(&back), DEPLOYMENT);
    assert_eq!(back.stderr, "\ndeployment \"mysql\" uninjected\n\n");
}

fn a_directory_is_read_with_what_is_below_in_order(_: &Env) {
    let directory = TempDir::new();
    std::fs::create_dir(directory.join("below")).expect("make a directory");
    // A ring.
    std::os::unix::fs::symlink(directory.path(), directory.join("below/up.yml")).expect("make a link");
    for (name, text) in [
        ("z.yaml", "kind: Pod\nmetadata: {name: z}\n"),
        ("a.json", "{\"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"}}"),
        ("below/m.yml", "kind: Pod\nmetadata: {name: m}\n"),
        ("notes.txt", "\tnot YAML"),
    ] {
        assert!(directory.write(name, text).exists());
    }
    let mut command = command(&["inject"]);
    command.arg(directory.path());
    let finished = run(command);
    assert_eq!(finished.stderr, "\npod \"a\" injected\npod \"m\" injected\npod \"z\" injected\n\n");
    let text = stdout(&finished);
    assert_eq!(text.lines().filter(|line| *line == "---").count(), 3, "{text}");
}

fn several_inputs_are_one_stream(_: &Env) {
    let directory = TempDir::new();
    let first = directory.write("first.yml", "kind: ConfigMap");
    let mut command = command(&["inject"]);
    command.arg(&first).arg("-").arg(&first);
    let mut process = Process::start(command);
    process.feed(b"---\nkind: ConfigMap # from a pipe\n");
    let finished = process.finish(wait::patience());
    assert_eq!(
        stdout(&finished),
        "kind: ConfigMap\n---\nkind: ConfigMap # from a pipe\n---\nkind: ConfigMap"
    );
}

fn nothing_is_written_where_something_is_wrong(_: &Env) {
    let directory = TempDir::new();
    let good = directory.write("good.yml", DEPLOYMENT);
    let bad = directory.write("bad.yml", "a: b\n---\nkind: Pod\nmetadata:\n\tname: x\n");
    let mut command = command(&["inject"]);
    command.arg(good).arg(&bad);
    let finished = run(command);
    let place = format!("sluice: {}:5:2: document 2: expected YAML or JSON: ", bad.display());
    assert!(refused(&finished, 1).starts_with(&place), "{finished:?}");
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    let finished = fed(&["uninject", "-"], b"{");
    assert!(refused(&finished, 1).starts_with("sluice: standard input:1:1: document 1: "), "{finished:?}");
}

fn a_bad_list_is_named_with_its_flag(_: &Env) {
    let directory = TempDir::new();
    let service = directory.write("service.yml", SERVICE);
    let with = |flag: &str| {
        let mut command = command(&["inject"]);
        command.arg(&service).arg(flag);
        run(command)
    };
    for flag in ["--opaque-ports", "--skip-inbound-ports", "--skip-outbound-ports", "--skip-ports"] {
        let finished = with(&format!("{flag}=80, 80O0"));
        let said = refused(&finished, 1);
        assert!(said.starts_with(&format!("sluice: {flag}: \"80O0\": expected a port (1-65535)")), "{said}");
        assert!(said.contains("(entry 2 of 2)"), "{said}");
    }
    let finished = with("--skip-subnets=10.1.0.0/33");
    assert!(refused(&finished, 1).contains("--skip-subnets: \"10.1.0.0/33\""), "{finished:?}");
    let finished = with("--opaque-ports=mysql");
    assert!(
        refused(&finished, 1).contains("service \"mysql\", which names none, got 'mysql'"),
        "{finished:?}"
    );
}

fn a_url_is_refused(_: &Env) {
    let finished = run(command(&["inject", "https://example.com/web.yml"]));
    assert!(refused(&finished, 1).contains("got the URL https://example.com/web.yml"), "{finished:?}");
}

fn standard_input_twice_is_refused(_: &Env) {
    assert!(refused(&fed(&["inject", "-", "-"], b""), 1).contains("standard input can be read once"));
}

fn a_directory_without_manifests_is_refused(_: &Env) {
    let directory = TempDir::new();
    let mut command = command(&["uninject"]);
    command.arg(directory.path());
    assert!(
        refused(&run(command), 1).contains("expected a file that ends in .yml, .yaml or .json, got none")
    );
}

fn a_wrong_command_line_has_another_status(_: &Env) {
    assert!(refused(&run(command(&["inject"])), 2).contains("error: "));
    assert!(refused(&run(command(&["inject", "-", "--manual"])), 2).contains("error: "));
    assert!(refused(&run(command(&["uninject", "-", "--opaque-ports=1"])), 2).contains("error: "));
}

fn what_is_not_utf_8_is_refused(_: &Env) {
    let said = fed(&["inject", "-"], b"a: b\n\xff\xfe");
    assert!(
        refused(&said, 1).contains("standard input:2: expected text in UTF-8, got something else at byte 6")
    );
}

fn nobody_s_privileges_are_needed(_: &Env) {
    use std::os::unix::process::CommandExt as _;
    let directory = TempDir::new();
    let copy = directory.join("sluice");
    std::fs::copy(sluice(), &copy).expect("copy sluice");
    let manifest = directory.write("pod.yml", "kind: Pod\nmetadata: {name: a}\n");
    let mut command = Command::new(copy);
    command.arg("inject").arg(manifest).uid(65_534).gid(65_534);
    assert!(stdout(&run(command)).contains("linkerd.io/inject: enabled"));
}
