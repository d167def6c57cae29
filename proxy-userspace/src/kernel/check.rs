//! Whether this machine can run sluice: by trying, not by version number.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::Duration,
};

use super::{
    cgroup::cgroup2_mount_point, cgroup_namespace::enter_that_of_the_node, dataplane::Dataplane,
    error::KernelError, own_cgroup::OwnCgroup, programs, self_test::Verdict, sys,
};

/// How long a connection within this machine may take.
const LOOPBACK_PATIENCE: Duration = Duration::from_secs(2);

/// How much depends on a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Weight {
    /// sluice does not run without it.
    Required,
    /// sluice runs with less.
    Optional,
}

/// One thing that was tried.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Finding {
    /// What.
    pub(crate) what: String,
    /// How much depends on it.
    pub(crate) weight: Weight,
    /// What there is to say where it worked.
    pub(crate) detail: Option<String>,
    /// Why it did not work.
    pub(crate) error: Option<String>,
}

impl Finding {
    fn of<T>(what: &str, weight: Weight, result: &Result<T, KernelError>, detail: Option<String>) -> Self {
        let error = result.as_ref().err().map(KernelError::with_causes);
        Self { what: what.to_owned(), weight, detail: if error.is_some() { None } else { detail }, error }
    }

    /// Whether applications can bear something; `setting` uses it where they can.
    fn of_self_test(what: &str, setting: &str, result: Result<Verdict, KernelError>) -> Self {
        let (detail, error) = match result {
            Ok(verdict) if verdict.passed() => (Some(format!("{setting} uses it")), None),
            Ok(verdict) => (None, Some(format!("{setting} leaves it: {verdict}"))),
            Err(error) => (None, Some(error.with_causes())),
        };
        let what = format!("{what} keeps what applications rely on (self-test)");
        Self { what, weight: Weight::Optional, detail, error }
    }
}

/// Tries everything.
pub(crate) fn check() -> Vec<Finding> {
    let mut findings = Vec::new();
    let mount = enter_that_of_the_node().and_then(|()| cgroup2_mount_point());
    let at = mount.as_ref().ok().map(|path| path.display().to_string());
    findings.push(Finding::of("cgroup v2 is mounted", Weight::Required, &mount, at));
    let root = nix::unistd::Uid::effective().is_root();
    findings.push(Finding {
        what: "running as root".to_owned(),
        weight: Weight::Required,
        detail: None,
        error: (!root).then(|| "expected uid 0: programs are loaded, cgroups made".to_owned()),
    });
    findings.push(Finding {
        what: "locked memory".to_owned(),
        weight: Weight::Optional,
        detail: Some(match sys::lift_memlock_limit() {
            Ok(()) => "the limit can be lifted".to_owned(),
            Err(error) => format!("the limit stays ({error}); it counts before Linux 5.11 only"),
        }),
        error: None,
    });
    check_programs(&mut findings);
    check_cgroup(&mut findings);
    check_sk_msg(&mut findings);
    check_bypass(&mut findings);
    findings
}

/// Loads each program by itself.
fn check_programs(findings: &mut Vec<Finding>) {
    let object = programs::open_object();
    findings.push(Finding::of("the maps can be made", Weight::Required, &object, None));
    let Ok(mut ebpf) = object else { return };
    for name in programs::ALL {
        let weight = if programs::is_required(name) { Weight::Required } else { Weight::Optional };
        let loaded = programs::load(&mut ebpf, name);
        findings.push(Finding::of(&format!("program {name} loads"), weight, &loaded, None));
    }
}

/// Attaches the hooks to a cgroup made for it.
fn check_cgroup(findings: &mut Vec<Finding>) {
    let attach = || -> Result<(), KernelError> {
        let own_cgroup = OwnCgroup::enter("sluice-check")?;
        let cgroup = own_cgroup.create("hooks")?;
        Dataplane::load(None)?.attach_workload(&cgroup).map(drop)
    };
    findings.push(Finding::of("the hooks attach to a cgroup", Weight::Required, &attach(), None));
    findings.push(loopback());
}

/// The loopback interface must carry connections: the proxy listens there.
fn loopback() -> Finding {
    let connect = || -> std::io::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let mut client = TcpStream::connect_timeout(&listener.local_addr()?, LOOPBACK_PATIENCE)?;
        client.write_all(b"x")?;
        let mut byte = [0];
        listener.accept()?.0.read_exact(&mut byte)
    };
    Finding {
        what: "127.0.0.1 carries connections".to_owned(),
        weight: Weight::Required,
        detail: None,
        error: connect().err().map(|error| error.to_string()),
    }
}

fn check_sk_msg(findings: &mut Vec<Finding>) {
    let test = || {
        let own_cgroup = OwnCgroup::enter("sluice-check")?;
        let mut dataplane = Dataplane::load(None)?;
        dataplane.attach_sk_msg()?;
        dataplane.attach_listeners(own_cgroup.of_proxy())?;
        dataplane.test_sk_msg()
    };
    findings.push(Finding::of_self_test("sk_msg", "--sk-msg auto", test()));
}

fn check_bypass(findings: &mut Vec<Finding>) {
    let test = || Dataplane::test_bypass(OwnCgroup::enter("sluice-check")?.of_proxy());
    findings.push(Finding::of_self_test("same-node bypass", "same-node-bypass = \"enabled\"", test()));
}
