//! `sluice exec` is as good as not there: for the command, for the one who runs it, and afterwards.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};
use sluice_tests::cgroup::{self, Cgroup};
use sluice_tests::exec::{Outcome, sluice};
use sluice_tests::netns::Netns;
use sluice_tests::process::{Process, run};
use sluice_tests::report::Connection;
use sluice_tests::server::{Server, behaviour};
use sluice_tests::suite::{Env, Suite};
use sluice_tests::tempdir::TempDir;
use sluice_tests::{peer, tests, wait};

pub(crate) fn register(suite: &mut Suite) {
    let mut group = suite.group("exec");
    group.of_the_proxy_alone();
    group.both_lanes(tests![
        the_exit_status_is_the_command_s,
        death_by_signal_is_passed_on,
        standard_streams_are_untouched,
    ]);
    group.sluice(tests![
        a_missing_command_is_127,
        sigterm_reaches_the_command,
        sigint_reaches_the_command,
        the_cgroup_is_gone_afterwards,
        the_cgroup_is_gone_after_the_command_is_killed,
        the_cgroup_is_gone_after_sigterm,
        a_cgroup_that_the_command_made_is_gone_afterwards,
        the_same_process_id_in_two_pid_namespaces_is_no_matter,
        what_a_killed_exec_left_is_removed_by_one_with_its_process_id,
        privileges_are_dropped_to_the_sudo_user,
        without_sudo_the_user_stays,
        the_summary_goes_to_standard_error,
        a_summary_without_connections_is_no_failure,
        port_zero_is_refused,
        a_port_above_65535_is_refused,
        a_backward_range_is_refused,
        a_word_is_refused,
        a_bad_skip_list_is_refused_too,
        a_taken_admin_address_is_refused,
        a_report_that_cannot_be_written_is_refused,
        an_unknown_sk_msg_mode_is_refused,
        no_command_is_refused,
        without_loopback_the_command_runs_or_the_reason_is_told,
        where_ip_hides_the_cgroups_another_way_is_named,
        half_of_sudo_s_ids_runs_nothing,
        the_sudo_user_s_environment_is_their_own,
        a_report_that_waits_for_its_reader_can_be_interrupted,
        a_report_to_standard_output_overwrites_nothing,
        connections_of_another_namespace_are_told_as_such,
        processes_that_are_left_are_told_of,
        who_is_not_root_is_told_that_root_is_needed,
        the_admin_address_is_told,
        a_debug_log_is_about_sluice,
    ]);
}

fn shell(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

fn the_exit_status_is_the_command_s(env: &Env) {
    for code in [0, 3, 77] {
        let outcome = env.exec(&shell(&format!("exit {code}"))).run();
        assert_eq!(outcome.code(), Some(code), "{}", outcome.finished.stderr);
    }
}

fn a_missing_command_is_127(env: &Env) {
    let outcome = env.exec(&["/no/such/command"]).run();
    assert_eq!(outcome.code(), Some(127), "{}", outcome.finished.stderr);
    assert!(outcome.finished.stderr.contains("/no/such/command"), "{}", outcome.finished.stderr);
}

fn death_by_signal_is_passed_on(env: &Env) {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let outcome = env.exec(&shell(&format!("kill -{} $$", signal as i32))).run();
        assert_eq!(outcome.signal(), Some(signal as i32), "{:?}", outcome.finished);
    }
}

fn standard_streams_are_untouched(env: &Env) {
    let mut running = env.exec(&["cat"]).start();
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    running.process.feed(&bytes);
    let outcome = running.finish().success();
    assert!(outcome.finished.stdout == bytes, "{} bytes came back", outcome.finished.stdout.len());
}

/// A command that says when it is there, and which signal it got.
fn trap_and_signal(env: &Env, signal: Signal) -> Outcome {
    let script = "trap 'echo got TERM; exit 42' TERM; trap 'echo got INT; exit 42' INT; \
                  echo ready; while :; do sleep 0.05; done";
    let mut running = env.exec(&shell(script)).start();
    running.process.line("ready");
    running.process.signal(signal);
    running.finish()
}

fn sigterm_reaches_the_command(env: &Env) {
    let outcome = trap_and_signal(env, Signal::SIGTERM);
    assert_eq!(outcome.line("got"), "TERM");
    assert_eq!(outcome.code(), Some(42));
}

fn sigint_reaches_the_command(env: &Env) {
    let outcome = trap_and_signal(env, Signal::SIGINT);
    assert_eq!(outcome.line("got"), "INT");
    assert_eq!(outcome.code(), Some(42));
}

const TELL_CGROUP: &str = "grep '^0::' /proc/self/cgroup; echo ready";

fn own_cgroup(line: &str) -> std::path::PathBuf {
    let path = cgroup::directory_of(&format!("0::{line}")).expect("a cgroup");
    assert_ne!(path, cgroup::mount().join(""), "the command is in the root cgroup");
    path
}

fn the_cgroup_is_gone_afterwards(env: &Env) {
    let outcome = env.exec(&shell(TELL_CGROUP)).run().success();
    let text = outcome.text();
    cgroup::expect_gone(&own_cgroup(text.lines().next().expect("a line").trim_start_matches("0::")));
}

fn the_cgroup_is_gone_after_the_command_is_killed(env: &Env) {
    let script = "echo cgroup $(grep '^0::' /proc/self/cgroup); echo pid $$; while :; do sleep 1; done";
    let mut running = env.exec(&shell(script)).start();
    let path = own_cgroup(running.process.line("cgroup").trim_start_matches("0::"));
    assert!(path.is_dir(), "{}", path.display());
    let pid: i32 = running.process.line("pid").parse().expect("a process id");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("kill the command");
    assert_eq!(running.finish().signal(), Some(9));
    cgroup::expect_gone(&path);
}

fn the_cgroup_is_gone_after_sigterm(env: &Env) {
    let script = "echo cgroup $(grep '^0::' /proc/self/cgroup); while :; do sleep 0.05; done";
    let mut running = env.exec(&shell(script)).start();
    let path = own_cgroup(running.process.line("cgroup").trim_start_matches("0::"));
    running.process.signal(Signal::SIGTERM);
    let outcome = running.finish();
    assert_eq!(outcome.signal(), Some(15), "{:?}", outcome.finished);
    cgroup::expect_gone(&path);
}

fn a_cgroup_that_the_command_made_is_gone_afterwards(env: &Env) {
    let mount = cgroup::mount();
    let script = format!(
        "cgroup=$(sed -n 's/^0:://p' /proc/self/cgroup); echo cgroup $cgroup; cd {}/$cgroup; \
         mkdir -p one/two; echo $$ > one/two/cgroup.procs; setsid sleep 600 >/dev/null 2>&1 & echo pid $!",
        mount.display()
    );
    let outcome = env.exec(&shell(&script)).run().success();
    let path = own_cgroup(&outcome.line("cgroup"));
    let pid = Pid::from_raw(outcome.line("pid").parse().expect("a process id"));
    let alive = kill(pid, None).is_ok();
    kill(pid, Signal::SIGKILL).ok();
    assert!(alive, "what the command left running goes on");
    cgroup::expect_gone(path.parent().expect("the cgroup of this run"));
}

/// `sluice exec` as process 1 of a PID namespace, in a cgroup of the test's.
fn exec_as_process_1(cgroup: &Cgroup, script: &str) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(cgroup.path());
    command.args(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]).arg(sluice());
    command.args(["exec", "--", "sh", "-c", script]).env_remove("SUDO_UID").env_remove("SUDO_GID");
    Process::start(command)
}

fn cgroups_of_exec(below: &Cgroup) -> Vec<String> {
    let entries = std::fs::read_dir(below.path()).expect("the cgroup").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.starts_with("sluice-exec-")).collect();
    names.sort();
    names
}

fn the_same_process_id_in_two_pid_namespaces_is_no_matter(_: &Env) {
    let cgroup = Cgroup::new();
    let script = "echo ready; read -r _";
    let mut running = [(); 2].map(|()| {
        let mut process = exec_as_process_1(&cgroup, script);
        process.line("ready");
        process
    });
    assert_eq!(cgroups_of_exec(&cgroup), ["sluice-exec-1", "sluice-exec-1-2"]);
    for process in &mut running {
        process.say("go on");
    }
    for process in running {
        let finished = process.finish(wait::patience());
        assert!(finished.status.success(), "{finished:?}");
    }
    assert_eq!(cgroups_of_exec(&cgroup), [""; 0]);
}

fn what_a_killed_exec_left_is_removed_by_one_with_its_process_id(_: &Env) {
    let cgroup = Cgroup::new();
    let mut killed = exec_as_process_1(&cgroup, "echo ready; read -r _");
    killed.line("ready");
    // unshare's end kills process 1, and that everything in its namespace.
    killed.signal(Signal::SIGKILL);
    let _finished = killed.finish(wait::patience());
    let populated =
        || std::fs::read_to_string(cgroup.path().join("cgroup.events")).expect("the cgroup's events");
    wait::eventually("the killed to be gone", || populated().contains("populated 0").then_some(()));
    assert_eq!(cgroups_of_exec(&cgroup), ["sluice-exec-1"]);
    let finished = exec_as_process_1(&cgroup, "grep '^0::' /proc/self/cgroup").finish(wait::patience());
    assert!(finished.status.success(), "{finished:?}");
    let own = String::from_utf8_lossy(&finished.stdout).into_owned();
    assert!(own.trim_end().ends_with("/sluice-exec-1/command"), "{own}");
    assert_eq!(cgroups_of_exec(&cgroup), [""; 0]);
}

fn privileges_are_dropped_to_the_sudo_user(env: &Env) {
    let exec = env.exec(&shell("echo user $(id -u); echo group $(id -g); echo groups $(id -G)"));
    let outcome = exec.variable("SUDO_UID", "65534").variable("SUDO_GID", "65533").run().success();
    assert_eq!(outcome.line("user"), "65534");
    assert_eq!(outcome.line("group"), "65533");
    assert!(!outcome.line("groups").split(' ').any(|group| group == "0"), "{}", outcome.line("groups"));
}

fn without_sudo_the_user_stays(env: &Env) {
    let outcome = env.exec(&shell("echo user $(id -u)")).run().success();
    assert_eq!(outcome.line("user"), "0");
}

fn the_summary_goes_to_standard_error(env: &Env) {
    let server = Server::start(behaviour::echo);
    let steps = [format!("connect={}", server.addr()), "exchange=1000".to_owned()];
    let outcome = env.client(&steps).run().success();
    assert!(outcome.finished.stderr.contains(&server.port().to_string()), "{}", outcome.finished.stderr);
    let told = ["local ", "peer ", "received ", "eagain "];
    let strange = outcome
        .text()
        .lines()
        .find(|line| !told.iter().any(|word| line.starts_with(word)))
        .map(str::to_owned);
    assert_eq!(strange, None, "standard output is the command's alone");
}

fn a_summary_without_connections_is_no_failure(env: &Env) {
    let outcome = env.exec(&["true"]).run().success();
    outcome.report(|connections| assert_eq!(connections.len(), 0));
}

/// Runs a command that would leave a trace, with a flag that is refused.
fn refused(env: &Env, flag: &str, value: &str, named: &str) {
    let directory = TempDir::new();
    let trace = directory.join("trace");
    let exec = env.exec(&["touch", trace.to_str().expect("UTF-8")]).flag(flag, value);
    let outcome = exec.run();
    let stderr = &outcome.finished.stderr;
    assert!(outcome.code().is_some_and(|code| code != 0), "{:?}", outcome.finished);
    assert!(stderr.contains(named), "expected an error that names '{named}': {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(!trace.exists(), "the command was run: {stderr}");
}

fn port_zero_is_refused(env: &Env) {
    refused(env, "--opaque-ports", "80, 0", "'0'");
}

fn a_port_above_65535_is_refused(env: &Env) {
    refused(env, "--opaque-ports", "65536", "'65536'");
}

fn a_backward_range_is_refused(env: &Env) {
    refused(env, "--opaque-ports", "80-70", "'80-70'");
}

fn a_word_is_refused(env: &Env) {
    refused(env, "--opaque-ports", "80,abc,443", "'abc'");
}

fn a_bad_skip_list_is_refused_too(env: &Env) {
    for bad in ["0", "65536", "80-70", "abc", "80O0"] {
        refused(env, "--skip-outbound-ports", bad, &format!("'{bad}'"));
    }
}

fn a_taken_admin_address_is_refused(env: &Env) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("its address").to_string();
    refused(env, "--admin", &addr, &addr);
}

fn a_report_that_cannot_be_written_is_refused(env: &Env) {
    refused(env, "--report", "/no/such/directory/report", "/no/such/directory/report");
}

fn an_unknown_sk_msg_mode_is_refused(env: &Env) {
    refused(env, "--sk-msg", "perhaps", "perhaps");
}

fn no_command_is_refused(env: &Env) {
    let nothing: [&str; 0] = [];
    let outcome = env.exec(&nothing).run();
    assert!(outcome.code().is_some_and(|code| code != 0), "{:?}", outcome.finished);
}

fn without_loopback_the_command_runs_or_the_reason_is_told(env: &Env) {
    let netns = Netns::new();
    netns.ip(&["link", "set", "lo", "down"]);
    let outcome = env.exec(&shell("exit 5")).run_in(&netns);
    let told = ["127.0.0.1", "loopback", "lo "].iter().any(|word| outcome.finished.stderr.contains(word));
    assert!(outcome.code() == Some(5) || told, "{:?}", outcome.finished);
}

fn where_ip_hides_the_cgroups_another_way_is_named(_: &Env) {
    if !cgroup::mount().starts_with("/sys") {
        return;
    }
    let netns = Netns::new();
    let name = netns.path().file_name().expect("a name").to_owned();
    let mut command = Command::new("ip");
    command.args(["netns", "exec"]).arg(name).arg(sluice()).args(["exec", "--", "true"]);
    let finished = run(command);
    assert_eq!(finished.status.code(), Some(125), "{finished:?}");
    assert!(finished.stderr.contains("nsenter --net=/run/netns/"), "{}", finished.stderr);
}

fn half_of_sudo_s_ids_runs_nothing(env: &Env) {
    for ids in [
        &[("SUDO_UID", "65534")][..],
        &[("SUDO_GID", "65534")],
        &[("SUDO_UID", "abc"), ("SUDO_GID", "65534")],
        &[("SUDO_UID", "65534"), ("SUDO_GID", "")],
    ] {
        let exec = env.exec(&shell("echo ran as $(id -u)"));
        let outcome = ids.iter().fold(exec, |exec, (name, value)| exec.variable(name, value)).run();
        assert_eq!(outcome.code(), Some(125), "{ids:?}: {:?}", outcome.finished);
        assert_eq!(outcome.text(), "", "{ids:?}");
        assert!(outcome.finished.stderr.contains("SUDO_UID and a group id in SUDO_GID"), "{ids:?}");
    }
}

fn the_sudo_user_s_environment_is_their_own(env: &Env) {
    let script = "echo home ${HOME-none}; echo shell ${SHELL-none}; echo user ${USER-none}; \
                  echo logname ${LOGNAME-none}";
    let mut exec = env.exec(&shell(script));
    for (name, value) in [("HOME", "/root"), ("SHELL", "/root/sh"), ("USER", "root"), ("LOGNAME", "root")] {
        exec = exec.variable(name, value);
    }
    let outcome = exec.variable("SUDO_UID", "65534").variable("SUDO_GID", "65534").run().success();
    let account = User::from_uid(Uid::from_raw(65534)).expect("look the account up");
    let none = || "none".to_owned();
    let (home, shell, name) = account.map_or_else(
        || (none(), none(), none()),
        |account| (account.dir.display().to_string(), account.shell.display().to_string(), account.name),
    );
    assert_eq!(outcome.line("home"), home);
    // A shell may set this one by itself where it is not there.
    if shell != "none" {
        assert_eq!(outcome.line("shell"), shell);
    }
    assert_eq!(outcome.line("user"), name);
    assert_eq!(outcome.line("logname"), name);
}

/// `sluice exec` without the harness's flags, and without what sudo may have left.
fn plain<S: AsRef<std::ffi::OsStr>>(flags: &[&str], words: &[S]) -> Command {
    let mut command = Command::new(sluice());
    command.arg("exec").args(flags).arg("--").args(words);
    command.env_remove("SUDO_UID").env_remove("SUDO_GID");
    command
}

fn a_report_that_waits_for_its_reader_can_be_interrupted(_: &Env) {
    let directory = TempDir::new();
    let (fifo, trace) = (directory.join("fifo"), directory.join("trace"));
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("make a FIFO");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let process = Process::start(plain(
            &["--report", fifo.to_str().expect("UTF-8")],
            &["touch", trace.to_str().expect("UTF-8")],
        ));
        wait::eventually("sluice to say what it waits for", || {
            process.stderr_so_far().contains("waiting for somebody to read the report").then_some(())
        });
        process.signal(signal);
        let finished = process.finish(wait::patience());
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&finished.status),
            Some(signal as i32),
            "{finished:?}"
        );
    }
    assert!(!trace.exists(), "the command was run");
}

fn a_report_to_standard_output_overwrites_nothing(_: &Env) {
    let server = Server::start(behaviour::echo);
    let steps = [format!("connect={}", server.addr()), "exchange=1000".to_owned()];
    let words = peer::command(&["client"], &steps);
    let script =
        ["sh", "-c", "echo before; \"$@\" >/dev/null; sleep 0.2; echo after", "sh"].map(str::to_owned);
    let words = [&script[..], &words].concat();
    for name in ["-", "/dev/stdout", "/dev/fd/1"] {
        let directory = TempDir::new();
        let path = directory.write("out", "old\n");
        let out = std::fs::OpenOptions::new().append(true).open(&path).expect("open the output");
        let status = plain(&["--report", name], &words)
            .current_dir(directory.path())
            .stdout(out)
            .stderr(std::process::Stdio::null())
            .status()
            .expect("run sluice");
        assert!(status.success(), "{name}: {status}");
        let text = std::fs::read_to_string(&path).expect("read the output");
        let (report, said): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('{'));
        assert_eq!(said, ["old", "before", "after"], "{name}: {text}");
        assert_eq!(Connection::parse_all(&report.join("\n")).len(), 1, "{name}: {text}");
        assert!(!directory.join("-").exists(), "{name}");
    }
    // And where the output is at its beginning, and not appended to.
    let directory = TempDir::new();
    let path = directory.join("out");
    let out = std::fs::File::create(&path).expect("make the output");
    let status = plain(&["--report", "/dev/stdout"], &words)
        .stdout(out)
        .stderr(std::process::Stdio::null())
        .status()
        .expect("run sluice");
    assert!(status.success(), "{status}");
    let text = std::fs::read_to_string(&path).expect("read the output");
    assert!(text.starts_with("before\n") && text.contains("\nafter\n"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with('{')).count(), 1, "{text}");
}

fn connections_of_another_namespace_are_told_as_such(_: &Env) {
    let netns = Netns::new();
    let server = Server::bind_in(&netns, "127.0.0.1:0", behaviour::echo);
    let steps = [format!("connect={}", server.addr()), "exchange=1000".to_owned()];
    let path = netns.path().to_str().expect("UTF-8").to_owned();
    let finished = run(plain(&[], &peer::command(&["--netns", &path, "client"], &steps)));
    assert!(finished.status.success(), "{finished:?}");
    assert!(finished.stderr.contains("of another network namespace"), "{}", finished.stderr);
    assert!(!finished.stderr.contains("stopped"), "{}", finished.stderr);
}

fn processes_that_are_left_are_told_of(env: &Env) {
    let script = "setsid sleep 600 >/dev/null 2>&1 & echo pid $!";
    let outcome = env.exec(&shell(script)).run().success();
    let pid: i32 = outcome.line("pid").parse().expect("a process id");
    let alive = kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok();
    assert!(alive, "what the command left running goes on");
    let told = format!("1 process of the command goes on without sluice: sleep (pid {pid})");
    assert!(outcome.finished.stderr.contains(&told), "{}", outcome.finished.stderr);
    let outcome = env.exec(&["true"]).run().success();
    assert!(!outcome.finished.stderr.contains("without sluice"), "{}", outcome.finished.stderr);
}

fn who_is_not_root_is_told_that_root_is_needed(_: &Env) {
    // Where the binary is, another user may not get to.
    let directory = TempDir::new();
    let binary = directory.join("sluice");
    std::fs::copy(sluice(), &binary).expect("copy sluice");
    let config = directory.write("config.toml", "");
    let config = config.to_str().expect("UTF-8");
    for arguments in [&["exec", "--", "true"][..], &["run", "--config", config]] {
        let mut command = Command::new(&binary);
        command.args(arguments).uid(65_534).gid(65_534).current_dir("/");
        let finished = run(command);
        assert!(!finished.status.success(), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.contains("needs root"), "{arguments:?}: {}", finished.stderr);
    }
}

fn the_admin_address_is_told(_: &Env) {
    let mut process = Process::start(plain(&["--admin", "127.0.0.1:0"], &shell("echo ready; read line")));
    process.line("ready");
    let told = process.stderr_so_far();
    let addr = told.lines().find_map(|line| line.strip_prefix("sluice: the admin address is http://"));
    let addr = addr.unwrap_or_else(|| panic!("no address in: {told}")).parse().expect("an address");
    assert_eq!(sluice_tests::http::get(addr, "/ready").expect("an answer").0, 200);
    process.say("end");
    assert!(process.finish(wait::patience()).status.success());
}

fn a_debug_log_is_about_sluice(env: &Env) {
    let outcome = env.exec(&["true"]).variable("SLUICE_LOG", "debug").run().success();
    let lines = outcome.finished.stderr.lines().count();
    assert!(lines < 50, "{lines} lines: {}", outcome.finished.stderr);
    let outcome = env.exec(&["true"]).variable("SLUICE_LOG", "debug,aya=debug").run().success();
    assert!(outcome.finished.stderr.lines().count() > lines, "{}", outcome.finished.stderr);
}
