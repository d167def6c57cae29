//! Debian's kernels, unpacked and kept under `target/vm/kernels/VERSION`.
//!
//! Nothing is installed: unstable has a list and a cache of its own under `target/vm/apt`.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::directory;
use crate::command::{self, Progress};
use crate::debian::Apt;

/// The packages that name a series' newest kernel.
struct Series {
    /// What its versions begin with, and what `--kernel` calls it.
    prefix: &'static str,
    package: &'static str,
    suite: Suite,
}

#[derive(Clone, Copy, Debug)]
enum Suite {
    /// What this machine's apt knows.
    Own,
    Unstable,
}

const SERIES: [Series; 3] = [
    Series { prefix: "6.1", package: "linux-image-cloud-amd64", suite: Suite::Own },
    Series { prefix: "6.12", package: "linux-image-6.12-cloud-amd64", suite: Suite::Own },
    Series { prefix: "7", package: "linux-image-cloud-amd64", suite: Suite::Unstable },
];

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    /// `uname -r`
    pub(super) version: String,
    pub(super) image: PathBuf,
    /// The directory of its modules.
    pub(super) modules: PathBuf,
}

/// The kernel that is wanted: `6.1`, or a version. One that is here is used, unless `update`.
pub(super) fn find(progress: &Progress, wanted: &str, update: bool) -> Result<Kernel> {
    if !wanted.starts_with(|first: char| first.is_ascii_digit()) {
        bail!("\"{wanted}\": expected a kernel version (6.1, 6.12, 7, 6.12.107)");
    }
    if !update && let Some(kernel) = unpacked(wanted) {
        return Ok(kernel);
    }
    let apt = match SERIES.iter().find(|series| series.prefix == wanted) {
        Some(series) => fetch_series(progress, series)?,
        None => fetch_version(progress, wanted)?,
    };
    unpacked(wanted).with_context(|| format!("{apt} unpacked to no kernel of version {wanted}"))
}

fn kernels() -> PathBuf {
    directory().join("kernels")
}

/// The newest of the unpacked kernels of this series or version.
fn unpacked(wanted: &str) -> Option<Kernel> {
    let entries = fs::read_dir(kernels()).ok()?;
    let versions = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let version = versions.filter(|version| is_of(version, wanted)).max_by_key(|v| order(v))?;
    let top = kernels().join(&version);
    // Debian moved from /lib to /usr/lib, and the image from /boot to beside its modules.
    let modules = ["usr/lib/modules", "lib/modules"].map(|lib| top.join(lib).join(&version));
    let modules = modules.into_iter().find(|directory| directory.is_dir())?;
    let images = [top.join(format!("boot/vmlinuz-{version}")), modules.join("vmlinuz")];
    let image = images.into_iter().find(|image| image.is_file())?;
    Some(Kernel { version, image, modules })
}

/// Whether a version is of a series: `6.12.1` is not of `6.1`.
fn is_of(version: &str, wanted: &str) -> bool {
    version.strip_prefix(wanted).is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
}

/// The numbers in a version, which order it.
fn order(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

fn fetch_series(progress: &Progress, series: &Series) -> Result<String> {
    let apt = apt(series.suite);
    if matches!(series.suite, Suite::Unstable) {
        progress.say("reading the package list of Debian unstable");
        apt.update()?;
    }
    let image = dependencies(&apt, series.package)?
        .into_iter()
        .find(|name| name.starts_with("linux-image-"))
        .with_context(|| format!("{} depends on no kernel: `apt-get update`?", series.package))?;
    unpack(progress, &apt, &image)?;
    Ok(image)
}

fn fetch_version(progress: &Progress, wanted: &str) -> Result<String> {
    for suite in [Suite::Own, Suite::Unstable] {
        let apt = apt(suite);
        if matches!(suite, Suite::Unstable) {
            apt.update()?;
        }
        let names = command::output(&mut apt.command("apt-cache", &["pkgnames", "linux-image-"]))?;
        let matching = names.lines().filter(|name| {
            let version = name.strip_prefix("linux-image-").unwrap_or_default();
            is_of(version, wanted) && version.ends_with("-cloud-amd64") && version.contains(['+', '-'])
        });
        // `6.12-cloud-amd64` names the series, and has no third number.
        let newest = matching.filter(|name| order(name).len() > 3).max_by_key(|name| order(name));
        if let Some(image) = newest {
            unpack(progress, &apt, image)?;
            return Ok(image.to_owned());
        }
    }
    bail!("Debian has no cloud kernel of version {wanted} here (apt-cache search linux-image-{wanted})")
}

/// apt, over the packages of a suite.
fn apt(suite: Suite) -> Apt {
    match suite {
        Suite::Own => Apt::own(),
        Suite::Unstable => Apt::with_list(directory().join("apt"), "deb", "unstable"),
    }
}

/// What a package depends on, directly.
fn dependencies(apt: &Apt, package: &str) -> Result<Vec<String>> {
    let list = command::output(&mut apt.command("apt-cache", &["depends", "--important", package]))?;
    let names = list.lines().filter_map(|line| Some(line.trim().split_once("epends: ")?.1.to_owned()));
    Ok(names.collect())
}

/// Downloads and unpacks a kernel: since 7.x it is spread over several packages
/// (`linux-image-V` depends on `linux-binary-V` and `linux-modules-V`).
fn unpack(progress: &Progress, apt: &Apt, image: &str) -> Result<()> {
    let version = image.strip_prefix("linux-image-").unwrap_or(image);
    let top = kernels().join(version);
    if top.exists() {
        progress.say(format_args!("{version} is the newest, and is here"));
        return Ok(());
    }
    progress.say(format_args!("fetching Linux {version}"));
    let mut packages = BTreeSet::from([image.to_owned()]);
    packages.extend(dependencies(apt, image)?.into_iter().filter(|name| name.ends_with(version)));
    let packages: Vec<_> = packages.iter().map(String::as_str).collect();
    apt.download(&packages, &top)
}

/// A statically linked busybox, from Debian's package: it is not installed, because it would
/// replace the machine's own busybox.
pub(super) fn busybox(progress: &Progress) -> Result<PathBuf> {
    let top = directory().join("busybox");
    let candidates = ["bin/busybox", "usr/bin/busybox"].map(|path| top.join(path));
    if !top.exists() {
        progress.say("fetching busybox");
        Apt::own().download(&["busybox-static"], &top)?;
    }
    candidates.into_iter().find(|path| path.is_file()).context("the package busybox-static has no busybox")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_not_mistaken_for_one_that_begins_alike() {
        assert!(is_of("6.1.0-56-cloud-amd64", "6.1"));
        assert!(!is_of("6.12.117+deb12-cloud-amd64", "6.1"));
        assert!(is_of("6.12.117+deb12-cloud-amd64", "6.12"));
        assert!(is_of("7.2.13+deb14-cloud-amd64", "7"));
    }

    #[test]
    fn the_newest_version_is_the_greatest_in_numbers() {
        let versions = ["6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "6.1.0-47-cloud-amd64"];
        assert_eq!(versions.into_iter().max_by_key(|v| order(v)), Some("6.1.0-56-cloud-amd64"));
    }
}
