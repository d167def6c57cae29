//! The guest's file system: busybox, the tests, sluice, the tools that the tests use, the shared
//! libraries of all of them, and the kernel modules.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::cpio::Archive;
use super::kernel::{self, Kernel};
use super::{Payload, directory, modules};
use crate::command::{self, Progress};
use crate::workspace;

/// Tools that the tests use where the guest has them. Only those of this machine are there.
const TOOLS: [&str; 12] = [
    "curl",
    "openssl",
    "ip",
    "tc",
    "ss",
    "bpftool",
    "socat",
    "redis-server",
    "memcached",
    "nginx",
    "setpriv",
    "unshare",
];

/// Files that the tools read, where this machine has them.
const FILES: [&str; 4] =
    ["/usr/lib/ssl/openssl.cnf", "/etc/nginx/mime.types", "/etc/services", "/etc/protocols"];

const ENVIRONMENT: &str = "etc/sluice-vm.env";

/// Writes the archive and returns its path.
pub(super) fn pack(progress: &Progress, kernel: &Kernel, payload: &Payload) -> Result<PathBuf> {
    let busybox = kernel::busybox(progress)?;
    let path = directory().join(format!("{}.cpio", kernel.version));
    fs::create_dir_all(directory())?;
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));

    for mounted in ["proc", "sys", "dev", "tmp", "run", "root", "var/log", "var/lib", "var/tmp"] {
        archive.directory(mounted)?;
    }
    // The first process has a console only if this is here before devtmpfs is.
    archive.device("dev/console", 5, 1)?;
    archive.device("dev/null", 1, 3)?;
    archive.copy(&busybox, "bin/busybox")?;
    archive.file("init", 0o755, include_bytes!("init.sh"))?;
    archive.file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")?;
    archive.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")?;
    archive.file("etc/hosts", 0o644, b"127.0.0.1 localhost\n::1 localhost\n")?;
    archive.file("etc/nsswitch.conf", 0o644, b"passwd: files\ngroup: files\nhosts: files\n")?;
    archive.link("var/run", "/run")?;
    archive.link("usr/sbin", "bin")?;

    let mut order = String::new();
    for (name, content) in modules::collect(&kernel.modules)? {
        archive.file(&format!("modules/{name}.ko"), 0o644, &content)?;
        order.push_str(&format!("{name}\n"));
    }
    archive.file("modules/order", 0o644, order.as_bytes())?;

    let mut programs = vec![(payload.tests.clone(), "bin/sluice-vm-tests".to_owned())];
    if let Some(sluice) = &payload.sluice {
        programs.push((sluice.clone(), "bin/sluice".to_owned()));
    }
    for tool in TOOLS {
        programs.extend(workspace::program(tool).map(|path| (path, format!("usr/bin/{tool}"))));
    }
    // busybox's shell runs its own applets before what is on PATH.
    programs.extend(workspace::program("dash").map(|path| (path, "bin/sh".to_owned())));
    let mut libraries = BTreeSet::new();
    for (from, to) in &programs {
        archive.copy(from, to)?;
        libraries.extend(shared_libraries(from)?);
    }
    for library in &libraries {
        archive.copy(library, relative(library))?;
    }
    for file in FILES.map(Path::new).into_iter().filter(|file| file.exists()) {
        archive.copy(file, relative(file))?;
    }
    archive.file(ENVIRONMENT, 0o644, environment(payload).as_bytes())?;
    archive.finish()?;
    Ok(path)
}

/// What tests are told by whoever starts them.
const PASSED_ON: [&str; 3] = ["SLUICE_TEST_TRANSFERS", "SLUICE_TEST_SEED", "SLUICE_TEST_DIRECT"];

/// What the tests find in their environment, as `init.sh` reads it.
fn environment(payload: &Payload) -> String {
    let passed: String = PASSED_ON
        .iter()
        .filter_map(|name| Some(format!(" {name}={}", quote(&std::env::var(name).ok()?))))
        .collect();
    let quoted: Vec<_> = payload.args.iter().map(|arg| quote(arg)).collect();
    format!(
        "export SLUICE_BIN=/bin/sluice SLUICE_VM=1 SLUICE_TEST_SCALE=small SLUICE_TEST_TRIES=2 RUST_BACKTRACE=1{passed}\nSLUICE_VM_ARGS={}\n",
        quote(&quoted.join(" "))
    )
}

/// One word for the shell.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The shared libraries that a program needs, its interpreter included.
fn shared_libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let Ok(list) = command::output(command::command("ldd", [""; 0]).arg(program)) else {
        // "not a dynamic executable"
        return Ok(Vec::new());
    };
    Ok(list.lines().filter_map(library).map(PathBuf::from).collect())
}

/// `libc.so.6 => /lib/libc.so.6 (0x…)` or `/lib64/ld-linux-x86-64.so.2 (0x…)`
fn library(line: &str) -> Option<&str> {
    let (path, _) = line.trim().rsplit_once(" (")?;
    let path = path.split_once(" => ").map_or(path, |(_, path)| path);
    path.starts_with('/').then_some(path)
}

fn relative(path: &Path) -> &str {
    path.to_str().unwrap_or_default().trim_start_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_names_libraries_and_the_interpreter() {
        assert_eq!(library("\tlibc.so.6 => /lib/libc.so.6 (0x0000)"), Some("/lib/libc.so.6"));
        assert_eq!(library("\t/lib64/ld-linux-x86-64.so.2 (0x0000)"), Some("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(library("\tlinux-vdso.so.1 (0x00007ffe)"), None);
        assert_eq!(library("\tstatically linked"), None);
    }

    #[test]
    fn words_survive_the_shell() {
        assert_eq!(quote("it's"), r"'it'\''s'");
    }
}
