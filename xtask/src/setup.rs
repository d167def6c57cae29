//! `cargo xtask setup`: what the machine lacks, said first and then installed.
//!
//! Everything wanted is in the tables below. With all of it there, set-up is a handful of lookups
//! and installs nothing, so that the other chores can begin with it every time.

mod apt;
mod python;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::command::{self, Progress};
use crate::toolchain::{self, LLVM, Toolchain};
use crate::workspace;

/// What the machine is to be able to do; each includes what it stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Purpose {
    /// Build sluice, kernel programs included.
    Build,
    /// Build, and check the sources.
    Lint,
    /// Build, and run the tests, those in VMs included.
    Test,
    /// Build, and run the fuzz targets.
    Fuzz,
    /// Build, and count instructions.
    Instructions,
    /// Build, and compare with other proxies.
    Bench,
    /// Build, and run the tests that need Kubernetes' API.
    #[value(name = "k8s")]
    K8s,
    /// Build, and make an image of it.
    Image,
    /// Build, and check the manifests.
    Manifests,
    /// Build, lint, test, fuzz and count: what a change must pass.
    All,
}

impl Purpose {
    fn tests(self) -> bool {
        matches!(self, Self::Test | Self::All)
    }

    fn fuzzes(self) -> bool {
        matches!(self, Self::Fuzz | Self::All)
    }

    fn counts(self) -> bool {
        matches!(self, Self::Instructions | Self::All)
    }

    fn lints(self) -> bool {
        matches!(self, Self::Lint | Self::All)
    }
}

/// A Debian package.
struct Package {
    name: &'static str,
    /// The program that it is wanted for: found on PATH, the package is not needed.
    program: Option<&'static str>,
    why: &'static str,
    /// A service that would start with the machine; it is disabled when set-up installed it.
    service: Option<&'static str>,
}

const fn program(name: &'static str, program: &'static str, why: &'static str) -> Package {
    Package { name, program: Some(program), why, service: None }
}

const fn server(name: &'static str, program: &'static str, service: &'static str) -> Package {
    Package { name, program: Some(program), why: "a server that the tests talk to", service: Some(service) }
}

const fn library(name: &'static str, why: &'static str) -> Package {
    Package { name, program: None, why, service: None }
}

/// A Rust with its source: only where no toolchain will do.
const RUST: &[Package] = &[
    library("rustc-web", "compiles the kernel programs"),
    library("cargo-web", "compiles the kernel programs"),
    library("rust-web-src", "core, compiled for the kernel's virtual machine"),
];

/// Only where bpf-linker is not there yet.
const LINKER: &[Package] = &[
    library("llvm-22-dev", "bpf-linker's code generator"),
    library("libpolly-22-dev", "needed to link with LLVM"),
    library("zlib1g-dev", "needed to link with LLVM"),
    library("libzstd-dev", "needed to link with LLVM"),
    library("libxml2-dev", "needed to link with LLVM"),
    program("g++", "g++", "the C++ library that LLVM is linked with"),
];

const FUZZ: &[Package] = &[program("g++", "g++", "compiles libFuzzer")];

const COUNTS: &[Package] = &[program("valgrind", "valgrind", "counts instructions")];

const TESTS: &[Package] = &[
    program("qemu-system-x86", "qemu-system-x86_64", "runs the tests on other kernels"),
    program("xz-utils", "xz", "unpacks those kernels' modules"),
    program("iproute2", "ip", "network namespaces"),
    program("nftables", "nft", "Services' addresses"),
    program("bpftool", "bpftool", "shows what the kernel holds"),
    program("curl", "curl", "an HTTP client"),
    program("openssl", "openssl", "a TLS client and server"),
    program("socat", "socat", "a client and server of many kinds"),
    program("netcat-openbsd", "nc", "a plain TCP client"),
    program("openssh-client", "ssh", "an SSH client"),
    program("python3", "python3", "clients with sockets of their own kind"),
    library("python3-venv", "for clients and servers from PyPI"),
    program("golang-go", "go", "clients with sockets of their own kind"),
    program("nodejs", "node", "clients with sockets of their own kind"),
    program("default-jdk-headless", "javac", "clients with sockets of their own kind"),
    program("nghttp2-client", "nghttp", "HTTP/2 clients, nghttp and h2load"),
    program("nghttp2-server", "nghttpd", "an HTTP/2 server"),
    server("nginx-light", "nginx", "nginx"),
    program("apache2-bin", "apache2", "a server that the tests talk to"),
    server("haproxy", "haproxy", "haproxy"),
    server("redis-server", "redis-server", "redis-server"),
    server("memcached", "memcached", "memcached"),
    server("openssh-server", "sshd", "ssh"),
    server("mariadb-server", "mariadbd", "mariadb"),
    // Its programs are in a directory of the version's own, not on PATH.
    Package {
        name: "postgresql",
        program: None,
        why: "a server that the tests talk to",
        service: Some("postgresql"),
    },
];

const BENCH: &[Package] = &[
    program("iproute2", "ip", "network namespaces"),
    program("wrk", "wrk", "a client that measures HTTP/1.1"),
    program("nghttp2-client", "h2load", "a client that measures HTTP/2"),
    program("nghttp2-server", "nghttpd", "a server that the benchmark talks to"),
    Package { why: "a server and a proxy to compare with", ..server("nginx-light", "nginx", "nginx") },
    // A module, which nginx loads.
    library("libnginx-mod-stream", "nginx as a proxy of TCP, to compare with"),
    Package { why: "a proxy to compare with", ..server("haproxy", "haproxy", "haproxy") },
    program("iptables", "iptables", "REDIRECT, to compare with"),
    program("python3", "python3", "installs Envoy, a proxy to compare with, and draws plots"),
    library("python3-venv", "installs Envoy"),
];

const K8S: &[Package] = &[
    // Its command is not on PATH.
    library("golang-1.19-go", "builds Kubernetes' API server"),
    program("dpkg-dev", "dpkg-source", "unpacks its source"),
    program("iproute2", "ip", "network namespaces"),
    program("nftables", "nft", "Services' addresses"),
];

const IMAGE: &[Package] = &[
    program("buildah", "buildah", "makes the image"),
    program("binutils", "strip", "takes the debug information out of the program in it"),
];

const MANIFESTS: &[Package] = &[
    program("kubernetes-client", "kubectl", "renders the manifests"),
    program("python3", "python3", "checks them"),
    library("python3-venv", "checks them"),
];

/// A program from crates.io.
struct Crate {
    name: &'static str,
    version: &'static str,
    why: &'static str,
}

const BPF_LINKER: Crate =
    Crate { name: "bpf-linker", version: "0.13.0", why: "links the kernel programs; builds for a minute" };
const CARGO_DENY: Crate =
    Crate { name: "cargo-deny", version: "0.20.2", why: "checks the dependencies; builds for minutes" };

/// What is missing.
#[derive(Default)]
struct Plan {
    packages: Vec<&'static Package>,
    /// `rust-src` for rustup's nightly, where there is no apt to ask.
    nightly: bool,
    crates: Vec<&'static Crate>,
    components: Vec<&'static str>,
    environments: Vec<&'static python::Environment>,
}

/// Installs what is missing, after saying so.
pub(crate) fn run(purpose: Purpose, dry_run: bool) -> Result<()> {
    let plan = Plan::make(purpose)?;
    let progress = Progress::new("setup");
    if dry_run && !plan.is_empty() {
        plan.print();
        return Ok(());
    }
    carry_out(&plan, &progress)
}

/// The same, as a part of a chore that says what it does by itself.
pub(crate) fn run_within(purpose: Purpose, progress: &Progress) -> Result<()> {
    carry_out(&Plan::make(purpose)?, progress)
}

fn carry_out(plan: &Plan, progress: &Progress) -> Result<()> {
    if plan.is_empty() {
        progress.say("everything is there");
        return Ok(());
    }
    plan.print();
    plan.install(progress)?;
    if let Err(refusals) = toolchain::find() {
        bail!("installed all, and still no Rust can build the kernel programs:\n  {}", refusals.join("\n  "));
    }
    progress.say("done");
    Ok(())
}

impl Plan {
    fn make(purpose: Purpose) -> Result<Self> {
        let mut plan = Self::default();
        let mut wanted: Vec<&Package> = Vec::new();
        match toolchain::find() {
            Ok(Toolchain::Nightly { .. } | Toolchain::Distribution { .. }) => {}
            Err(_) if toolchain::is_debian() => wanted.extend(RUST),
            Err(_) => plan.nightly = true,
        }
        if !works("bpf-linker", &["--version"]) {
            plan.crates.push(&BPF_LINKER);
            wanted.extend(LINKER);
        }
        if purpose.tests() {
            wanted.extend(TESTS);
            plan.environments.push(&python::TESTS);
        }
        if purpose == Purpose::Bench {
            wanted.extend(BENCH);
            plan.environments.push(&python::BENCH);
        }
        if purpose == Purpose::K8s {
            wanted.extend(K8S);
        }
        if purpose == Purpose::Image {
            wanted.extend(IMAGE);
        }
        if purpose == Purpose::Manifests {
            wanted.extend(MANIFESTS);
            plan.environments.push(&python::MANIFESTS);
        }
        plan.environments.retain(|environment| !environment.is_here());
        if purpose.fuzzes() {
            // Wanted for bpf-linker as well, where that is not there.
            wanted.retain(|package| FUZZ.iter().all(|other| other.name != package.name));
            wanted.extend(FUZZ);
        }
        if purpose.counts() {
            wanted.extend(COUNTS);
        }
        if purpose.lints() {
            if !works("cargo-deny", &["--version"]) {
                plan.crates.push(&CARGO_DENY);
            }
            for (component, program) in [("rustfmt", "cargo-fmt"), ("clippy", "cargo-clippy")] {
                if !works(program, &["--version"]) {
                    plan.components.push(component);
                }
            }
        }
        let installed = if toolchain::is_debian() { apt::installed()? } else { HashSet::new() };
        plan.packages = wanted.into_iter().filter(|package| !package.is_here(&installed)).collect();
        Ok(plan)
    }

    fn is_empty(&self) -> bool {
        let Self { packages, nightly, crates, components, environments } = self;
        packages.is_empty()
            && !nightly
            && crates.is_empty()
            && components.is_empty()
            && environments.is_empty()
    }

    fn print(&self) {
        println!("setup: this machine lacks, and will get:");
        for Package { name, why, .. } in &self.packages {
            println!("  apt     {name:20} {why}");
        }
        if self.nightly {
            println!("  rustup  {:20} core, compiled for the kernel's virtual machine", "nightly, rust-src");
        }
        for component in &self.components {
            println!("  rustup  {component:20} checks the sources");
        }
        for Crate { name, version, why } in &self.crates {
            println!("  cargo   {:20} {why}", format!("{name} {version}"));
        }
        for environment in &self.environments {
            for python::Requirement { pin, why } in environment.requirements {
                println!("  pip     {pin:20} {why}, under {}", shown(&environment.directory()));
            }
        }
    }

    fn install(&self, progress: &Progress) -> Result<()> {
        if !self.packages.is_empty() {
            self.install_packages(progress)?;
        }
        if self.nightly {
            let install = ["toolchain", "install", "nightly", "--profile=minimal", "--component=rust-src"];
            progress
                .run(&mut command::command("rustup", install))
                .context("no Rust can build the kernel programs: install a nightly with rust-src")?;
        }
        for component in &self.components {
            progress.run(&mut command::command("rustup", ["component", "add", component]))?;
        }
        for program in &self.crates {
            progress.run(&mut program.install())?;
        }
        for environment in &self.environments {
            environment.install(progress)?;
        }
        Ok(())
    }

    fn install_packages(&self, progress: &Progress) -> Result<()> {
        let names: Vec<_> = self.packages.iter().map(|package| package.name).collect();
        if !toolchain::is_debian() {
            bail!("there is no apt here; install what these Debian packages hold: {}", names.join(" "));
        }
        if !is_root()? {
            bail!("installing packages needs root: run this as root, or first\n  {}", apt::shown(&names));
        }
        let services: Vec<_> = self.packages.iter().filter_map(|package| package.service).collect();
        apt::install(progress, &names, &services)
    }
}

impl Package {
    fn is_here(&self, installed: &HashSet<String>) -> bool {
        let on_path = self.program.is_some_and(|program| workspace::program(program).is_some());
        on_path || installed.contains(self.name)
    }
}

impl Crate {
    fn install(&self) -> Command {
        let Self { name, version, .. } = self;
        // A directory of ours, so that what a broken-off build has done is not lost.
        let directory = workspace::target().join("tools");
        let mut install = command::cargo(["install", "--locked", "--force", "--version", version, name]);
        install.arg("--target-dir").arg(directory);
        if *name == BPF_LINKER.name && toolchain::is_debian() {
            install.args(["--no-default-features", "--features", &format!("llvm-{LLVM}")]);
            install.env("LLVM_PREFIX", format!("/usr/lib/llvm-{LLVM}"));
        }
        install
    }
}

/// Whether a program is there and runs: one whose libraries are gone must be built anew.
fn works(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
}

/// Whether this process is root.
pub(crate) fn is_root() -> Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(Path::new("/proc/self").metadata().context("cannot read /proc/self")?.uid() == 0)
}

/// Envoy, where the purpose `bench` installs it.
pub(crate) fn envoy() -> PathBuf {
    python::BENCH.directory().join("bin/envoy")
}

/// The Python that draws the benchmark's plots, where the same installs it.
pub(crate) fn bench_python() -> PathBuf {
    python::BENCH.directory().join("bin/python")
}

/// The program that knows Kubernetes's schemas, where the purpose `manifests` installs it.
pub(crate) fn kubernetes_validate() -> PathBuf {
    python::MANIFESTS.directory().join("bin/kubernetes-validate")
}

/// As seen from the top of the repository.
fn shown(path: &Path) -> String {
    path.strip_prefix(workspace::root()).unwrap_or(path).display().to_string()
}
