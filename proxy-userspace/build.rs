//! Builds the kernel programs (`proxy-ebpf`) and leaves the object where `kernel::programs` embeds it.
//!
//! The BPF target has no prebuilt `core`, so this needs a rustc with its own sources: a rustup nightly
//! with rust-src, the toolchain in use with rust-src, or a distribution's rustc with rust-src.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

const TARGET: &str = "bpfel-unknown-none";
const BINARY: &str = "sluice-ebpf";

fn main() -> Result<()> {
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    let manifest_dir =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR is not set")?);
    let workspace = manifest_dir.parent().context("the crate is not in a workspace")?;
    for input in ["proxy-ebpf", "proxy-common", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    // The fuzz targets load nothing into a kernel, and should not wait for what could be.
    if env::var_os("CARGO_CFG_FUZZING").is_some() {
        let object = out_dir.join(BINARY);
        return fs::write(&object, b"").with_context(|| format!("cannot write {}", object.display()));
    }
    if env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() != Ok("little") {
        bail!("expected a little-endian target: the kernel programs are built for {TARGET}");
    }
    let target_dir = out_dir.join("bpf");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").context("CARGO_CFG_TARGET_ARCH is not set")?;
    // One whose LLVM is newer than bpf-linker's fails; the next may do.
    let toolchains = Toolchain::with_sources()?;
    let built = toolchains.iter().find(|toolchain| {
        let built = build(toolchain, workspace, &target_dir, &arch);
        if let Err(error) = &built {
            println!("cargo::warning={error:#}");
        }
        built.is_ok()
    });
    built.context(
        "no toolchain built the kernel programs; is bpf-linker installed? `cargo xtask setup` installs it",
    )?;
    let object = target_dir.join(TARGET).join("release").join(BINARY);
    fs::copy(&object, out_dir.join(BINARY)).with_context(|| format!("cannot copy {}", object.display()))?;
    Ok(())
}

fn build(toolchain: &Toolchain, workspace: &Path, target_dir: &Path, arch: &str) -> Result<()> {
    let status = toolchain
        .cargo()
        .current_dir(workspace)
        .args(["build", "--package", "proxy-ebpf", "--release", "--target", TARGET, "-Z", "build-std=core"])
        .arg("--target-dir")
        .arg(target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(arch))
        .status()
        .with_context(|| format!("cannot run cargo of {}", toolchain.name()))?;
    if !status.success() {
        bail!("building the kernel programs with {} failed ({status})", toolchain.name());
    }
    Ok(())
}

/// Line tables and BTF: socket storage is refused without BTF. And LLVM's own way to copy, clear and compare a
/// few bytes, which is in place; bpf-linker's calls functions that go byte by byte, in front of a verifier that
/// goes through every turn.
fn rustflags(arch: &str) -> String {
    [
        &format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        "-Clink-arg=--disable-expand-memcpy-in-order",
    ]
    .join("\x1f")
}

/// A rustc that has its own sources.
enum Toolchain {
    /// By its rustup name.
    Rustup(&'static str),
    /// By its path; `cargo` is beside it.
    Installed(PathBuf),
}

impl Toolchain {
    /// Those that are here and have sources, in the order in which they are tried.
    fn with_sources() -> Result<Vec<Self>> {
        let in_use = PathBuf::from(env::var_os("RUSTC").context("RUSTC is not set")?);
        let candidates = [
            Self::Rustup("nightly"),
            Self::Installed(in_use),
            Self::Installed(PathBuf::from("/usr/bin/rustc")),
        ];
        let names = candidates.each_ref().map(Self::name).join(", ");
        let found: Vec<_> = candidates.into_iter().filter(Self::has_sources).collect();
        if found.is_empty() {
            bail!(
                "expected a Rust toolchain with rust-src, to build core for {TARGET}; looked at {names}; \
                 `cargo xtask setup` installs one"
            );
        }
        Ok(found)
    }

    fn name(&self) -> String {
        match self {
            Self::Rustup(name) => format!("rustup's {name}"),
            Self::Installed(rustc) => rustc.display().to_string(),
        }
    }

    fn has_sources(&self) -> bool {
        let mut command = match self {
            Self::Rustup(name) => rustup_run(name, "rustc"),
            Self::Installed(rustc) => Command::new(rustc),
        };
        let Ok(output) = command.args(["--print", "sysroot"]).output() else { return false };
        let sysroot = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success() && Path::new(&sysroot).join("lib/rustlib/src/rust/library/core").is_dir()
    }

    fn cargo(&self) -> Command {
        let mut command = match self {
            Self::Rustup(name) => rustup_run(name, "cargo"),
            Self::Installed(rustc) => {
                let beside = rustc.with_file_name("cargo");
                // rustup hands out a bare name or its proxy's path; the cargo in use is then right.
                let cargo = if rustc.is_absolute() && beside.exists() {
                    beside.into_os_string()
                } else {
                    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
                };
                let mut command = Command::new(cargo);
                // build-std is an unstable flag of a compiler that calls itself stable.
                command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                command
            }
        };
        // Those of the build that this is part of: clippy's wrapper and the host's flags.
        for variable in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET", "RUSTFLAGS"] {
            command.env_remove(variable);
        }
        command
    }
}

fn rustup_run(toolchain: &str, program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", toolchain, program]).env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
    command
}
