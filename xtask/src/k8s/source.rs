//! Debian's source of Kubernetes, unpacked where Go's old layout (GOPATH) wants it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::directory;
use crate::command::{self, Progress};
use crate::debian::Apt;

/// Debian 12: its Kubernetes (1.20) is the last that can be built with what Debian has.
const SUITE: &str = "bookworm";

/// Vendored by Kubernetes, and too old for Go 1.19: it panics in the first watch. Debian has a newer one.
const REFLECT2: &str = "github.com/modern-go/reflect2";
const REFLECT2_PACKAGE: &str = "golang-github-modern-go-reflect2-dev";

/// The programs beside the API server.
const PROGRAMS: [&str; 2] = ["etcd-server", "kubernetes-client"];

/// A tree that can be built.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) gopath: PathBuf,
    /// Debian's: `1.20.5+really1.20.2-1.1+deb12u1`.
    pub(super) debian_version: String,
    /// Of upstream's release: `1.20.2`.
    pub(super) version: String,
}

impl Source {
    /// The top of Kubernetes' own tree.
    pub(super) fn top(&self) -> PathBuf {
        self.gopath.join("src/k8s.io/kubernetes")
    }
}

/// Downloads and unpacks the source in `directory`, which is emptied first.
pub(super) fn fetch(progress: &Progress, directory: &Path) -> Result<Source> {
    progress.say("reading the list of Debian's sources");
    let apt = Apt::with_list(super::directory().join("apt"), "deb-src", SUITE);
    apt.update()?;
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    let downloads = directory.join("downloads");
    fs::create_dir_all(&downloads)?;
    progress.say("fetching the source of Kubernetes (34 MB)");
    let source = ["source", "--download-only", "-q=2", "-oAPT::Sandbox::User=root", "kubernetes"];
    command::run(apt.command("apt-get", &source).current_dir(&downloads))?;
    let description = fs::read_dir(&downloads)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "dsc"))
        .context("apt-get source brought no .dsc file")?;
    let debian_version = debian_version(&description)?;
    let version = version(&debian_version).to_owned();
    let source = Source { gopath: directory.join("go"), debian_version, version };
    fs::create_dir_all(source.gopath.join("src/k8s.io"))?;
    // apt has compared the files with its signed list; the maintainer's own signature says no more.
    let unpack = ["--extract", "--no-check"];
    let mut unpack = command::command("dpkg-source", unpack);
    command::output(unpack.arg(&description).arg(source.top()))?;
    replace_reflect2(progress, &source.top(), directory)?;
    Ok(source)
}

/// The version in the name of a file: `kubernetes_1.20.5+really1.20.2-1.1+deb12u1.dsc`.
fn debian_version(description: &Path) -> Result<String> {
    let name = description.file_name().unwrap_or_default().to_string_lossy();
    let version = name.strip_prefix("kubernetes_").and_then(|rest| rest.strip_suffix(".dsc"));
    version.map(str::to_owned).with_context(|| format!("expected kubernetes_VERSION.dsc, got {name}"))
}

/// Upstream's version in Debian's: what is before the last dash, and what it really is.
fn version(debian: &str) -> &str {
    let upstream = debian.rsplit_once('-').map_or(debian, |(upstream, _)| upstream);
    upstream.rsplit_once("really").map_or(upstream, |(_, really)| really)
}

fn replace_reflect2(progress: &Progress, top: &Path, directory: &Path) -> Result<()> {
    progress.say(format_args!("putting {REFLECT2_PACKAGE} in place of {REFLECT2}"));
    let package = directory.join("reflect2");
    Apt::own().download(&[REFLECT2_PACKAGE], &package)?;
    let newer = package.join("usr/share/gocode/src").join(REFLECT2);
    let vendored = top.join("vendor").join(REFLECT2);
    fs::remove_dir_all(&vendored).with_context(|| format!("no {REFLECT2} in {}", top.display()))?;
    fs::rename(&newer, &vendored).with_context(|| format!("{REFLECT2_PACKAGE} has no {REFLECT2}"))
}

/// etcd and kubectl, unpacked and not installed: kubectl fits the API server's version.
pub(super) fn fetch_programs(progress: &Progress) -> Result<(PathBuf, PathBuf)> {
    let top = directory().join("programs");
    if !top.exists() {
        progress.say("fetching etcd and kubectl");
        fs::create_dir_all(directory())?;
        Apt::own().download(&PROGRAMS, &top)?;
    }
    let find = |name: &str| {
        let path = top.join("usr/bin").join(name);
        let is_there = path.is_file().then(|| path.clone());
        is_there.with_context(|| format!("Debian's package has no {}", path.display()))
    };
    Ok((find("etcd")?, find("kubectl")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_what_it_really_is() {
        let of = |name: &str| debian_version(Path::new(name)).ok();
        let debian = of("/d/kubernetes_1.20.5+really1.20.2-1.1+deb12u1.dsc");
        assert_eq!(debian.as_deref().map(version), Some("1.20.2"));
        assert_eq!(version("1.32.4-2"), "1.32.4");
        assert_eq!(of("etcd_3.4.23-4.dsc"), None);
    }
}
