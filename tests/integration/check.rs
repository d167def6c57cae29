//! `sluice check` tells what this kernel can do, by trying.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use sluice_tests::exec::sluice;
use sluice_tests::process::run;
use sluice_tests::suite::{Env, Suite};
use sluice_tests::tempdir::TempDir;
use sluice_tests::tests;

pub(crate) fn register(suite: &mut Suite) {
    suite.group("check").sluice(tests![
        check_succeeds_and_names_each_hook,
        check_tells_of_the_self_test,
        check_without_privileges_fails_and_says_so,
        a_missing_capability_is_named_on_one_line,
        help_and_version_need_nothing,
    ]);
}

fn check() -> Command {
    let mut command = Command::new(sluice());
    command.arg("check");
    command
}

fn check_succeeds_and_names_each_hook(_: &Env) {
    let finished = run(check());
    let text = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(finished.status.success(), "{text}{}", finished.stderr);
    for hook in
        ["connect4", "connect6", "getpeername4", "getpeername6", "getsockopt", "sock_ops", "sk_msg", "cgroup"]
    {
        assert!(text.contains(hook), "no '{hook}' in\n{text}");
    }
}

fn check_tells_of_the_self_test(_: &Env) {
    let text = String::from_utf8_lossy(&run(check()).stdout).into_owned();
    let line = text.lines().find(|line| line.to_lowercase().contains("self-test"));
    assert!(line.is_some(), "no self-test in\n{text}");
}

fn check_without_privileges_fails_and_says_so(_: &Env) {
    // Where everybody may run it: the build directory need not be.
    let directory = TempDir::new();
    let copy = directory.join("sluice");
    std::fs::copy(sluice(), &copy).expect("copy sluice");
    let mut command = Command::new(copy);
    command.arg("check").uid(65_534).gid(65_534);
    let finished = run(command);
    assert!(!finished.status.success(), "{finished:?}");
    let told = [&*String::from_utf8_lossy(&finished.stdout), &finished.stderr].concat();
    assert!(["root", "CAP_", "ermi"].iter().any(|word| told.contains(word)), "{told}");
}

/// Arguments of sluice, without some of root's capabilities.
fn without(capability: &str, arguments: &[&str]) -> sluice_tests::process::Finished {
    let dropped = format!("-{capability},-sys_admin");
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", &dropped, "--inh-caps", "-all"]).arg(sluice()).args(arguments);
    run(command)
}

fn a_missing_capability_is_named_on_one_line(_: &Env) {
    for capability in ["bpf", "perfmon", "net_admin"] {
        let named = format!("CAP_{} is missing", capability.to_uppercase());
        let finished = without(capability, &["exec", "--", "true"]);
        assert_eq!(finished.status.code(), Some(125), "{finished:?}");
        assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
        assert!(finished.stderr.contains(&named), "{}", finished.stderr);
        let finished = without(capability, &["check"]);
        let text = String::from_utf8_lossy(&finished.stdout).into_owned();
        assert!(!finished.status.success() && text.contains(&named), "{text}");
        assert!(text.lines().all(|line| line.len() < 300), "{text}");
    }
    let finished = without("perfmon", &["exec", "--", "true"]);
    assert!(!finished.stderr.contains("state:"), "{}", finished.stderr);
}

fn help_and_version_need_nothing(_: &Env) {
    for flag in ["--help", "--version"] {
        let mut command = Command::new(sluice());
        command.arg(flag);
        let finished = run(command);
        assert!(finished.status.success() && !finished.stdout.is_empty(), "{flag}: {finished:?}");
    }
}
