//! Debian's packages, installed without starting what they serve.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{self, Command};

use anyhow::{Context as _, Result};

use crate::command::{self, Progress};

/// Where a package's scripts ask whether they may start a service (Debian policy, 9.3.3).
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Tells our policy from the machine's own.
const MARK: &str = "placed by `cargo xtask setup`";

const INSTALL: [&str; 5] =
    ["install", "--yes", "--no-install-recommends", "-oDPkg::Lock::Timeout=300", "-oDpkg::Use-Pty=0"];

/// The names of all installed packages.
pub(super) fn installed() -> Result<HashSet<String>> {
    let list = ["-W", "-f", "${db:Status-Abbrev}\t${Package}\n"];
    let list = command::output(&mut command::command("dpkg-query", list))?;
    let installed = list.lines().filter_map(|line| line.split_once('\t'));
    Ok(installed.filter(|(status, _)| status.starts_with("ii")).map(|(_, name)| name.into()).collect())
}

/// The command that installs these.
pub(super) fn shown(packages: &[&str]) -> String {
    format!("apt-get install --no-install-recommends {}", packages.join(" "))
}

/// Installs the packages; none of the services starts, now or with the machine.
pub(super) fn install(progress: &Progress, packages: &[&str], services: &[&str]) -> Result<()> {
    progress.run(&mut apt_get(&["update", "-q=2"]))?;
    let policy = NothingStarts::place()?;
    let mut install = apt_get(&INSTALL);
    progress.run(install.arg("-q=2").args(packages))?;
    drop(policy);
    if Path::new("/run/systemd/system").exists() && !services.is_empty() {
        let mut disable = command::command("systemctl", ["disable", "--quiet"]);
        progress.run(disable.args(services))?;
    }
    Ok(())
}

fn apt_get(args: &[&str]) -> Command {
    let mut apt_get = command::command("apt-get", args);
    apt_get.env("DEBIAN_FRONTEND", "noninteractive");
    apt_get
}

/// While it lives, a package's scripts start nothing.
struct NothingStarts {
    ours: bool,
}

impl NothingStarts {
    fn place() -> Result<Self> {
        // A policy of the machine's own stays; one of ours is left from a run that was killed.
        let ours = match fs::read_to_string(POLICY) {
            Ok(policy) => policy.contains(MARK),
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        if ours {
            // 101: not allowed. Should this process be killed before it removes the file, the file
            // removes itself when it is next asked.
            let script = format!(
                "#!/bin/sh\n# {MARK} while it installs\n\
                 if kill -0 {} 2>/dev/null; then exit 101; fi\nrm -f {POLICY}\nexit 0\n",
                process::id()
            );
            fs::write(POLICY, script).with_context(|| format!("cannot write {POLICY}"))?;
            fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NothingStarts {
    fn drop(&mut self) {
        if self.ours {
            // Left behind, it removes itself.
            drop(fs::remove_file(POLICY));
        }
    }
}
