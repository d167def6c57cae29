//! `cargo xtask image`: the image of the node agent, as an archive that every runtime can load.
//!
//! The program is linked statically, so that nothing else need be in the image. buildah keeps what it makes
//! under the target directory; no registry is asked for anything.

mod elf;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{self, Progress};
use crate::setup::{self, Purpose};
use crate::workspace;

/// How the image is made; the context is a directory with the program alone.
const CONTAINERFILE: &str = "deploy/image/Containerfile";

/// What the image is to be.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The image's name, with the registry that it will be in, if any.
    #[arg(long, value_name = "NAME:TAG", default_value = concat!("sluice:", env!("CARGO_PKG_VERSION")))]
    tag: String,
    /// Where to write the archive [default: image/sluice.tar in the target directory].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Builds the program, the image, and the archive.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run(Purpose::Image, false)?;
    let progress = Progress::new("image");
    let directory = workspace::target().join("image");
    let program = build(&progress, &directory)?;
    if let Some(interpreter) = elf::interpreter(&program)? {
        bail!("expected a static program, got one that needs {interpreter}: {}", program.display());
    }
    let context = directory.join("context");
    fs::create_dir_all(&context)?;
    let stripped = context.join("sluice");
    // The names of functions stay, for the backtrace of a panic.
    let strip = ["--strip-debug".as_ref(), "-o".as_ref(), stripped.as_os_str(), program.as_os_str()];
    progress.run(&mut command::command("strip", strip))?;

    let Options { tag, output } = options;
    let mut build = buildah(&directory);
    build.args(["build", "--isolation=chroot", "--quiet", "--tag", tag, "--file", CONTAINERFILE]);
    build.arg(format!("--label=org.opencontainers.image.version={}", env!("CARGO_PKG_VERSION")));
    progress.run(build.arg(&context))?;
    let archive = output.clone().unwrap_or_else(|| directory.join("sluice.tar"));
    if archive.exists() {
        // buildah adds to no archive that is there.
        fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
    }
    let to = format!("docker-archive:{}:{tag}", archive.display());
    progress.run(buildah(&directory).args(["push", "--quiet", tag]).arg(to))?;
    progress.say(format_args!(
        "{tag}: program {}, archive {} at {}",
        megabytes(&stripped)?,
        megabytes(&archive)?,
        archive.display()
    ));
    Ok(())
}

/// Builds sluice for this machine, with its C library in it; says where it is.
fn build(progress: &Progress, directory: &Path) -> Result<PathBuf> {
    let host = host()?;
    // A directory of its own: with other flags everything is built anew.
    let mut build = command::cargo(["build", "--release", "--package=sluice", "--target", &host]);
    build.arg("--target-dir").arg(directory);
    // For the target alone: a build script, and a macro's library, cannot be static. With `--target` named
    // cargo tells the two apart. Flags for everything would be taken in their place.
    for others in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        build.env_remove(others);
    }
    let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", host.to_uppercase().replace('-', "_"));
    progress.run(build.env(flags, "-Ctarget-feature=+crt-static"))?;
    Ok(directory.join(host).join("release/sluice"))
}

/// The triple of this machine, from the rustc in use.
fn host() -> Result<String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = command::output(&mut command::command(&rustc, ["-vV"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("expected a line `host: …` of rustc -vV")?.to_owned())
}

/// buildah, with a storage of its own that needs nothing of the kernel.
fn buildah(directory: &Path) -> Command {
    let mut buildah = command::command("buildah", ["--storage-driver=vfs"]);
    buildah.arg("--root").arg(directory.join("storage")).arg("--runroot").arg(directory.join("run"));
    buildah
}

#[expect(clippy::cast_precision_loss, reason = "it is shown with one decimal")]
fn megabytes(file: &Path) -> Result<String> {
    let length = fs::metadata(file).with_context(|| format!("cannot find {}", file.display()))?.len();
    Ok(format!("{:.1} MB", length as f64 / 1e6))
}
