//! The list of tests, in the variants in which they run.

use std::panic::{catch_unwind, resume_unwind};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use crate::exec::Exec;
use crate::kernel::{self, Feature};
use crate::kube::Api;
use crate::scale::Scale;

/// A test: it panics where the promise is not kept.
pub type TestFn = fn(&Env);

/// Names each test after its function.
#[macro_export]
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        &[$((stringify!($name), $name as $crate::suite::TestFn)),+]
    };
}

/// Which path the application's sends take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// No sluice at all: plain TCP, the truth.
    Direct,
    /// `--sk-msg off`: through the loopback TCP stack.
    SkMsgOff,
    /// `--sk-msg on`: forced, whatever the self-test says.
    SkMsgOn,
    /// What sluice chooses by itself.
    Auto,
}

impl Lane {
    const fn label(self) -> Option<&'static str> {
        match self {
            Self::Direct => Some("direct"),
            Self::SkMsgOff => Some("sk_msg_off"),
            Self::SkMsgOn => Some("sk_msg_on"),
            Self::Auto => None,
        }
    }

    /// The value of `--sk-msg`, where one is given.
    #[must_use]
    pub const fn flag(self) -> Option<&'static str> {
        match self {
            Self::SkMsgOff => Some("off"),
            Self::SkMsgOn => Some("on"),
            Self::Direct | Self::Auto => None,
        }
    }
}

/// What a test is told about its variant.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    /// The variant.
    pub lane: Lane,
}

impl Env {
    /// A command under `sluice exec`, in this variant.
    #[must_use]
    pub fn exec<S: AsRef<str>>(&self, command: &[S]) -> Exec {
        Exec::new(self.lane, command)
    }

    /// The peer program as a client, under `sluice exec`; see [`crate::peer::steps`].
    #[must_use]
    pub fn client<S: AsRef<str>>(&self, steps: &[S]) -> Exec {
        Exec::new(self.lane, &crate::peer::command(&["client"], steps))
    }

    /// Whether this is plain TCP.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.lane == Lane::Direct
    }
}

/// Every test of the run.
#[derive(Default)]
pub struct Suite {
    trials: Vec<Trial>,
}

/// The tests of one file.
pub struct Group<'a> {
    suite: &'a mut Suite,
    file: &'static str,
    left_out: Option<String>,
    lane_makes_no_difference: bool,
}

impl Suite {
    /// The tests of `file`.
    pub fn group(&mut self, file: &'static str) -> Group<'_> {
        Group { suite: self, file, left_out: None, lane_makes_no_difference: false }
    }

    /// Whether the clients run without sluice.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        direct()
    }

    /// Runs what the arguments select, in libtest's manner.
    #[must_use]
    pub fn run(self, mut arguments: Arguments) -> ExitCode {
        // The tests wait more than they compute.
        arguments.test_threads.get_or_insert(4);
        libtest_mimic::run(&arguments, self.trials).exit_code()
    }
}

impl Group<'_> {
    /// See [`crate::require!`].
    pub fn require(&mut self, feature: Feature, since: &str) {
        if let Some(reason) = kernel::missing(feature, since) {
            self.leave_out(&reason);
        }
    }

    /// Leaves the tests that are registered from here on out where no API server is, and says so.
    pub fn require_kubernetes(&mut self) {
        if Api::from_env().is_none() {
            self.leave_out("needs an API server: cargo xtask k8s-test");
        }
    }

    /// Leaves the tests that are registered from here on out where the machine is emulated, and says so:
    /// what they are about is decided in the proxy, whatever the kernel.
    pub fn of_the_proxy_alone(&mut self) {
        if Scale::current() == Scale::Small {
            self.leave_out("is of the proxy alone: tested on a real CPU");
        }
    }

    /// Where the machine is emulated, leaves the tests that are registered from here on out with `sk_msg` on:
    /// what it changes is shown by others.
    pub fn lane_makes_no_difference(&mut self) {
        self.lane_makes_no_difference = true;
    }

    /// Leaves the tests that are registered from here on out, and says so.
    pub fn leave_out(&mut self, reason: &str) {
        eprintln!("left out: {}: {reason}", self.file);
        self.left_out = Some(reason.to_owned());
    }

    /// Tests with programs that were written without sluice in mind: with `sk_msg` off and with
    /// sluice's own choice, or direct.
    pub fn peers(&mut self, tests: &[(&'static str, TestFn)]) {
        if !direct() {
            self.add(Lane::SkMsgOff, tests);
        }
        self.one_lane(tests);
    }

    /// Tests of how bytes travel: with `sk_msg` forced on and forced off, or direct.
    pub fn both_lanes(&mut self, tests: &[(&'static str, TestFn)]) {
        if direct() {
            self.add(Lane::Direct, tests);
        } else {
            self.add(Lane::SkMsgOff, tests);
            self.add(Lane::SkMsgOn, tests);
        }
    }

    /// Tests with one lane: sluice's own choice, or direct.
    pub fn one_lane(&mut self, tests: &[(&'static str, TestFn)]) {
        self.add(if direct() { Lane::Direct } else { Lane::Auto }, tests);
    }

    /// Tests of what plain TCP does not have, with `sk_msg` forced on and forced off.
    pub fn both_lanes_of_sluice(&mut self, tests: &[(&'static str, TestFn)]) {
        if !direct() {
            self.both_lanes(tests);
        }
    }

    /// Tests of what plain TCP does not have.
    pub fn sluice(&mut self, tests: &[(&'static str, TestFn)]) {
        if !direct() {
            self.add(Lane::Auto, tests);
        }
    }

    fn add(&mut self, lane: Lane, tests: &[(&'static str, TestFn)]) {
        let is_repetition =
            self.lane_makes_no_difference && lane == Lane::SkMsgOn && Scale::current() == Scale::Small;
        let left_out = match &self.left_out {
            Some(reason) => Some(reason.as_str()),
            None => is_repetition.then_some("is the same without sk_msg: tested on a real CPU"),
        };
        for (name, test) in tests {
            let test = *test;
            let name = match lane.label() {
                Some(label) => format!("{label}::{}::{name}", self.file),
                None => format!("{}::{name}", self.file),
            };
            let mut trial = Trial::test(name.clone(), move || {
                run(&name, test, Env { lane });
                Ok(())
            });
            if let Some(reason) = left_out {
                trial = trial.with_ignored_flag(true).with_kind(reason);
            }
            self.suite.trials.push(trial);
        }
    }
}

/// Runs a test, a second time if it fails and `SLUICE_TEST_TRIES` allows it.
#[expect(clippy::print_stdout, reason = "libtest's own lines, which these stand among, go there")]
fn run(name: &str, test: TestFn, env: Env) {
    if !std::env::var("SLUICE_TEST_TRIES").is_ok_and(|tries| tries == "2") {
        return test(&env);
    }
    if catch_unwind(|| test(&env)).is_ok() {
        return;
    }
    // Whoever counts reads the words at a line's end, so that a line begun by another test does no harm.
    println!("\nFAILED ONCE: {name}");
    if let Err(again) = catch_unwind(|| test(&env)) {
        println!("\nFAILED TWICE: {name}");
        resume_unwind(again);
    }
}

fn direct() -> bool {
    std::env::var_os("SLUICE_TEST_DIRECT").is_some_and(|value| !value.is_empty() && value != "0")
}
