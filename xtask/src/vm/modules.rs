//! The kernel modules that the tests need, in the order in which they can be loaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// What Debian's cloud kernels have as modules and the tests may use. BPF, sockmap, cgroups and
/// IPv6 are built in.
const WANTED: [&str; 5] = ["veth", "dummy", "sch_netem", "tcp_diag", "tls"];

/// A module's name and its content, uncompressed.
pub(super) type Module = (String, Vec<u8>);

/// The wanted modules and what they depend on, dependencies first. A kernel that has one of them
/// built in needs no file.
pub(super) fn collect(modules: &Path) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    walk(&modules.join("kernel"), &mut files)?;
    let mut collected = Vec::new();
    for name in WANTED {
        add(name, &files, &mut collected)?;
    }
    Ok(collected)
}

fn add(name: &str, files: &BTreeMap<String, PathBuf>, collected: &mut Vec<Module>) -> Result<()> {
    let Some(path) = files.get(name) else { return Ok(()) };
    if collected.iter().any(|(there, _)| there == name) {
        return Ok(());
    }
    let content = read(path)?;
    for dependency in dependencies(&content) {
        add(&dependency, files, collected)?;
    }
    collected.push((name.to_owned(), content));
    Ok(())
}

fn walk(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else if let Some((name, _)) = entry.file_name().to_string_lossy().split_once(".ko") {
            files.insert(normal(name), entry.path());
        }
    }
    Ok(())
}

/// The kernel takes `-` and `_` in a module's name for the same.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let compressed = path.extension().is_some_and(|extension| extension != "ko");
    if !compressed {
        return fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    }
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => bail!("{}: compressed in an unknown way", path.display()),
    };
    let output = Command::new(program).arg("-dc").arg(path).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} cannot unpack {}", path.display());
    }
    Ok(output.stdout)
}

/// A module names what it depends on in its section `.modinfo`: `depends=a,b`, ended by a zero.
fn dependencies(module: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let Some(at) = module.windows(FIELD.len()).position(|window| window == FIELD) else { return Vec::new() };
    let value = module[at + FIELD.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(normal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_the_module() {
        assert_eq!(dependencies(b"\x7fELF\0license=GPL\0depends=inet-diag,x\0name=y\0"), ["inet_diag", "x"]);
        assert!(dependencies(b"\x7fELF\0depends=\0name=y\0").is_empty());
        assert!(dependencies(b"\x7fELF").is_empty());
    }
}
