//! Which Rust can build the kernel programs.
//!
//! `bpfel-unknown-none` has no pre-built core, so the build needs `-Z build-std=core`: an unstable
//! flag and the standard library's source. Stable Rust from rustup has neither allowed. Two kinds
//! of toolchain do; `proxy-userspace/build.rs` tries what it finds of them until one has built:
//!
//! 1. rustup's `nightly`, if it has the component `rust-src`:
//!    `cargo +nightly build -Z build-std=core --target bpfel-unknown-none`
//! 2. a distribution's Rust with its source (Debian: `rustc-web`, `cargo-web`, `rust-web-src`):
//!    `RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc /usr/bin/cargo build -Z build-std=core …`

use std::fmt;
use std::path::{Path, PathBuf};

use crate::command;

/// The LLVM that `setup` links bpf-linker with on Debian. A rustc with a newer one writes bitcode
/// that bpf-linker cannot read.
pub(crate) const LLVM: u32 = 22;
/// The oldest rustc that builds the workspace, from the manifest.
const MINIMUM: &str = env!("CARGO_PKG_RUST_VERSION");

/// A Rust that can build the kernel programs.
#[derive(Debug)]
pub(crate) enum Toolchain {
    /// rustup's nightly, which has rust-src.
    Nightly { release: String },
    /// The distribution's own rustc and cargo, in /usr/bin, with the source beside them.
    Distribution { release: String },
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nightly { release } => write!(f, "rustup's nightly {release} with rust-src"),
            Self::Distribution { release } => write!(f, "the distribution's rustc {release} with its source"),
        }
    }
}

/// Why a candidate will not do.
pub(crate) type Refusals = Vec<String>;

/// The first toolchain that will do, or why each of them will not.
pub(crate) fn find() -> Result<Toolchain, Refusals> {
    nightly().map_err(|refusal| vec![format!("rustup's nightly: {refusal}")]).or_else(|mut refusals| {
        distribution().map_err(|refusal| {
            refusals.push(format!("the distribution's Rust: {refusal}"));
            refusals
        })
    })
}

fn nightly() -> Result<Toolchain, String> {
    // `rustup run`, because `rustc +nightly` may download a toolchain that is not there.
    let rustc = |arg: &str| {
        command::output(&mut command::command("rustup", ["run", "nightly", "rustc", arg]))
            .map_err(|_absent| "not installed".to_owned())
    };
    let version = Version::parse(&rustc("-vV")?)?;
    if version.llvm > LLVM && is_debian() {
        return Err(format!("its LLVM is {}, newer than bpf-linker's {LLVM}", version.llvm));
    }
    let sysroot = PathBuf::from(rustc("--print=sysroot")?.trim());
    if !has_core(&sysroot.join("lib/rustlib/src/rust/library")) {
        return Err("has no rust-src".into());
    }
    Ok(Toolchain::Nightly { release: version.release })
}

fn distribution() -> Result<Toolchain, String> {
    let rustc = |arg: &str| {
        command::output(&mut command::command("/usr/bin/rustc", [arg]))
            .map_err(|_absent| "not installed (/usr/bin/rustc)".to_owned())
    };
    let version = Version::parse(&rustc("-vV")?)?;
    if number(&version.release) < number(MINIMUM) {
        return Err(format!("{} is older than {MINIMUM}", version.release));
    }
    if !Path::new("/usr/bin/cargo").exists() {
        return Err("has no cargo (/usr/bin/cargo)".into());
    }
    let sysroot = PathBuf::from(rustc("--print=sysroot")?.trim());
    let beside = sysroot.join("lib/rustlib/src/rust/library");
    let debians = PathBuf::from(format!("/usr/src/rustc-{}/library", version.release));
    if !has_core(&beside) && !has_core(&debians) {
        return Err("has no source".into());
    }
    Ok(Toolchain::Distribution { release: version.release })
}

fn has_core(library: &Path) -> bool {
    library.join("core/Cargo.toml").exists() || library.join("core/src/lib.rs").exists()
}

/// Whether packages come through apt here.
pub(crate) fn is_debian() -> bool {
    Path::new("/usr/bin/apt-get").exists()
}

#[derive(Debug, PartialEq, Eq)]
struct Version {
    /// `1.96.0`, `1.97.0-nightly`
    release: String,
    /// LLVM's major version.
    llvm: u32,
}

impl Version {
    /// Reads `rustc -vV`.
    fn parse(verbose: &str) -> Result<Self, String> {
        let field = |name: &str| verbose.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let release = field("release").ok_or("says no release")?.to_owned();
        let llvm = field("LLVM version")
            .and_then(|version| version.split('.').next()?.parse().ok())
            .ok_or("says no LLVM version")?;
        Ok(Self { release, llvm })
    }
}

/// `1.97.0-nightly` → (1, 97)
fn number(release: &str) -> (u32, u32) {
    let mut parts = release.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verbose_version_gives_release_and_llvm() {
        let verbose = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\n\
                       release: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        let version = Version { release: "1.97.0-nightly".into(), llvm: 22 };
        assert_eq!(Version::parse(verbose), Ok(version));
        assert!(Version::parse("rustc 1.97.0").is_err());
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(number("1.100.0") > number("1.95"));
        assert!(number("1.97.0-nightly") >= number("1.95"));
        assert!(number("1.63.0") < number("1.95"));
    }
}
