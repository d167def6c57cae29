//! kube-apiserver, built once and kept under `target/k8s`.
//!
//! The source carries all generated code but one file, so that `make generated_files`, which runs every
//! generator over every package, is left out: openapi-gen alone makes what is missing. The cloud
//! providers, a third of the code, are left out as well (build tag `providerless`).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::directory;
use super::source::{self, Source};
use crate::command::{self, Progress};

/// Debian's Go of the time; its own command is not on PATH.
const GO: &str = "/usr/lib/go-1.19/bin/go";

/// Raised when what is built changes.
const RECIPE: u32 = 1;

/// What a package asks for openapi-gen with.
const TAG: &[u8] = b"+k8s:openapi-gen=";

/// Where the packages are that may ask for it, from the top of the tree, and what is not served.
const PACKAGES: [&str; 2] = ["pkg", "staging/src/k8s.io"];
const NOT_SERVED: [&str; 5] =
    ["code-generator", "sample-apiserver", "sample-controller", "sample-cli-plugin", "testdata"];

/// What runs the API.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) kube_apiserver: PathBuf,
    pub(super) etcd: PathBuf,
    pub(super) kubectl: PathBuf,
}

/// The programs, fetched and built where they are not there. Removing `target/k8s` has a newer source
/// looked for.
pub(super) fn programs(progress: &Progress) -> Result<Programs> {
    let (etcd, kubectl) = source::fetch_programs(progress)?;
    if let Some(kube_apiserver) = built() {
        return Ok(Programs { kube_apiserver, etcd, kubectl });
    }
    let work = directory().join("build");
    let source = source::fetch(progress, &work)?;
    let kube_apiserver = directory().join(format!("kube-apiserver_{}_{RECIPE}", source.debian_version));
    build(progress, &source, &kube_apiserver)?;
    // A gigabyte, and nobody looks into it again.
    fs::remove_dir_all(&work)?;
    Ok(Programs { kube_apiserver, etcd, kubectl })
}

/// A program that was built by this recipe, of whatever version.
fn built() -> Option<PathBuf> {
    let entries =
        fs::read_dir(directory()).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let suffix = format!("_{RECIPE}");
    let mut names = entries.filter(|name| name.starts_with("kube-apiserver_") && name.ends_with(&suffix));
    names.next().map(|name| directory().join(name))
}

fn build(progress: &Progress, source: &Source, program: &Path) -> Result<()> {
    let top = source.top();
    generate_openapi(progress, source)?;
    progress.say(format_args!("building kube-apiserver {} (some minutes)", source.version));
    let (major, minor) = source
        .version
        .split_once('.')
        .and_then(|(major, rest)| Some((major, rest.split('.').next()?)))
        .with_context(|| format!("expected MAJOR.MINOR.PATCH, got {}", source.version))?;
    // No table of symbols, and no DWARF.
    let mut linker = vec!["-s -w".to_owned()];
    let git_version = format!("v{}", source.version);
    // The second is what the API tells.
    for package in ["component-base/version", "client-go/pkg/version"] {
        for (name, value) in [("gitVersion", git_version.as_str()), ("gitMajor", major), ("gitMinor", minor)]
        {
            linker.push(format!("-X k8s.io/kubernetes/vendor/k8s.io/{package}.{name}={value}"));
        }
    }
    let partial = source.gopath.join("kube-apiserver");
    let mut go = go(source, ["build", "-tags=providerless", "-ldflags"]);
    go.arg(linker.join(" ")).arg("-o").arg(&partial).arg("./cmd/kube-apiserver").current_dir(&top);
    command::run(&mut go)?;
    fs::rename(&partial, program)?;
    progress.say("kube-apiserver is built");
    Ok(())
}

/// Makes the description of every type that the API serves.
fn generate_openapi(progress: &Progress, source: &Source) -> Result<()> {
    let top = source.top();
    progress.say("describing the API (openapi-gen)");
    let generator = source.gopath.join("openapi-gen");
    let mut go = go(source, ["build", "-o"]);
    go.arg(&generator).arg("./vendor/k8s.io/kube-openapi/cmd/openapi-gen").current_dir(&top);
    command::run(&mut go)?;
    let mut packages = BTreeSet::new();
    for directory in PACKAGES {
        tagged(&top.join(directory), &mut packages)?;
    }
    if packages.is_empty() {
        bail!("no package below {} asks for openapi-gen", top.display());
    }
    let inputs: Vec<_> = packages.iter().map(|package| import_path(&top, package)).collect::<Result<_>>()?;
    let package = "pkg/generated/openapi";
    let mut generate = environment(command::command(&generator.to_string_lossy(), ["-i"]), source);
    generate.arg(inputs.join(",")).args(["-p", &format!("k8s.io/kubernetes/{package}")]);
    generate.args([
        "-O",
        "zz_generated.openapi",
        "-h",
        "vendor/k8s.io/code-generator/hack/boilerplate.go.txt",
    ]);
    generate.arg("-r").arg(source.gopath.join("violations")).current_dir(&top);
    command::output(&mut generate)?;
    let made = top.join(package).join("zz_generated.openapi.go");
    if !made.is_file() {
        bail!("openapi-gen made no {}", made.display());
    }
    Ok(())
}

/// The directories of packages with the tag.
fn tagged(directory: &Path, packages: &mut BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if !NOT_SERVED.contains(&&*name) && !name.starts_with('_') {
                tagged(&path, packages)?;
            }
        } else if path.extension() == Some(OsStr::new("go"))
            && !name.ends_with("_test.go")
            && !packages.contains(directory)
            && contains(&fs::read(&path)?, TAG)
        {
            packages.insert(directory.to_owned());
        }
    }
    Ok(())
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

/// What Go calls the package in a directory: what is in `staging` is seen through `vendor`.
fn import_path(top: &Path, directory: &Path) -> Result<String> {
    let path = directory.strip_prefix(top)?.to_string_lossy().into_owned();
    let path = match path.strip_prefix("staging/src/") {
        Some(staged) => format!("vendor/{staged}"),
        None => path,
    };
    Ok(format!("k8s.io/kubernetes/{path}"))
}

fn go<A: AsRef<OsStr>>(source: &Source, args: impl IntoIterator<Item = A>) -> Command {
    // Whoever works on this machine meanwhile goes first.
    let mut nice = command::command("nice", ["-n", "10", GO]);
    nice.args(args);
    environment(nice, source)
}

/// Go's settings, and none of the machine's own: no modules, no network, no C.
fn environment(mut command: Command, source: &Source) -> Command {
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("GO") {
            command.env_remove(variable);
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directory = Path::new(GO).parent().unwrap_or(Path::new("/")).to_owned();
    let paths = std::iter::once(directory).chain(std::env::split_paths(&path));
    if let Ok(path) = std::env::join_paths(paths) {
        command.env("PATH", path);
    }
    command.env("GOPATH", &source.gopath).env("GO111MODULE", "off").env("GOPROXY", "off");
    command.env("GOENV", "off").env("CGO_ENABLED", "0");
    // Goes with the rest: 700 MB that help nobody once the program is there.
    command.env("GOCACHE", source.gopath.join("cache"));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staged_packages_are_named_as_vendored_ones() {
        let import = |path: &str| import_path(Path::new("/t"), Path::new(path)).unwrap();
        assert_eq!(import("/t/pkg/apis/core"), "k8s.io/kubernetes/pkg/apis/core");
        assert_eq!(
            import("/t/staging/src/k8s.io/api/core/v1"),
            "k8s.io/kubernetes/vendor/k8s.io/api/core/v1"
        );
    }

    #[test]
    fn a_tag_is_found_anywhere_in_a_file() {
        assert!(contains(b"// +k8s:openapi-gen=true\npackage v1\n", TAG));
        assert!(!contains(b"// +k8s:openapi-gen", TAG));
    }
}
