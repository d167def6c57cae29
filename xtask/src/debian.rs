//! Debian's packages and sources, fetched and unpacked: nothing is installed, and this machine's own
//! apt is not changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// apt, over this machine's packages or those of a list of its own.
pub(crate) struct Apt {
    options: Vec<String>,
    list: Option<List>,
}

/// What is read beside this machine's own lists.
struct List {
    state: PathBuf,
    /// `deb` or `deb-src`
    kind: &'static str,
    suite: &'static str,
}

impl Apt {
    /// What this machine's apt knows.
    pub(crate) fn own() -> Self {
        Self { options: Vec::new(), list: None }
    }

    /// A suite of Debian's, with its lists and its cache in `state`, from the mirror that this machine uses.
    pub(crate) fn with_list(state: PathBuf, kind: &'static str, suite: &'static str) -> Self {
        let at = |what: &str, path: &str| format!("-oDir::{what}={}", state.join(path).display());
        let options = vec![
            at("Etc::sourcelist", "sources.list"),
            at("Etc::sourceparts", "none"),
            at("State", "state"),
            at("State::status", "status"),
            at("Cache", "cache"),
            "-oAcquire::Languages=none".into(),
            "-oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".into(),
        ];
        Self { options, list: Some(List { state, kind, suite }) }
    }

    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = command::command(program, &self.options);
        command.args(args);
        command
    }

    /// Reads the suite's list of packages.
    pub(crate) fn update(&self) -> Result<()> {
        let Some(List { state, kind, suite }) = &self.list else { return Ok(()) };
        for directory in ["none", "state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(state.join(directory))?;
        }
        let source = format!("{kind} [signed-by={KEYRING}] {} {suite} main\n", mirror()?);
        fs::write(state.join("sources.list"), source)?;
        fs::write(state.join("status"), "")?;
        command::run(&mut self.command("apt-get", &["update", "-q=2"]))
            .with_context(|| format!("cannot read the package list of Debian {suite}"))
    }

    /// Downloads packages and unpacks them into `top`, which is there only when it is complete.
    pub(crate) fn download(&self, packages: &[&str], top: &Path) -> Result<()> {
        let partial = top.with_extension("partial");
        let root = partial.join("root");
        if partial.exists() {
            fs::remove_dir_all(&partial)?;
        }
        fs::create_dir_all(&root)?;
        let mut download = self.command("apt-get", &["download", "-q=2", "-oAPT::Sandbox::User=root"]);
        command::run(download.args(packages).current_dir(&partial))?;
        for entry in fs::read_dir(&partial)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                command::run(command::command("dpkg-deb", ["-x"]).arg(&path).arg(&root))?;
            }
        }
        fs::rename(&root, top)?;
        Ok(fs::remove_dir_all(&partial)?)
    }
}

/// The mirror that this machine's apt takes Debian from.
fn mirror() -> Result<String> {
    let targets = ["indextargets", "--format", "$(REPO_URI) $(LABEL)", "Created-By: Packages"];
    let targets = command::output(&mut command::command("apt-get", targets))?;
    // The security archive's label is `Debian-Security`.
    let mirror = targets.lines().find_map(|line| line.strip_suffix(" Debian"));
    mirror.map(str::to_owned).context("this machine's apt knows no Debian mirror: `apt-get update`?")
}
