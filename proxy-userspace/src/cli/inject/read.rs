//! Where manifests are read from.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// What a directory's files must end in to be read.
const EXTENSIONS: [&str; 3] = ["json", "yaml", "yml"];
/// The name of standard input.
const STDIN: &str = "-";

/// A text, and what a message calls it.
pub(super) struct Input {
    pub(super) name: String,
    pub(super) text: String,
}

/// Reads all that is named, in that order; a directory's files by name.
pub(super) fn inputs(paths: &[PathBuf]) -> anyhow::Result<Vec<Input>> {
    if paths.iter().filter(|path| is_stdin(path)).count() > 1 {
        bail!("expected - once, got it again: standard input can be read once");
    }
    let mut inputs = Vec::new();
    for path in paths {
        if is_stdin(path) {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
            inputs.push(decoded("standard input".to_owned(), bytes)?);
            continue;
        }
        if let Some(url) = path.to_str().filter(|path| path.contains("://")) {
            bail!(
                "expected a file, a directory or -, got the URL {url}: fetch it, and give it to standard input"
            );
        }
        let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut files = Vec::new();
        if metadata.is_dir() {
            walk(path, &mut files)?;
            if files.is_empty() {
                bail!("{}: expected a file that ends in .yml, .yaml or .json, got none", path.display());
            }
        } else {
            files.push(path.clone());
        }
        for file in files {
            let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            inputs.push(decoded(file.display().to_string(), bytes)?);
        }
    }
    Ok(inputs)
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// The manifests in a directory and below. Links to directories are not followed: they can lead in a ring.
fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let context = || format!("cannot read {}", directory.display());
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).with_context(context)? {
        entries.push(entry.with_context(context)?);
    }
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type().with_context(context)?;
        let is_manifest =
            || path.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known));
        if kind.is_dir() {
            walk(&path, files)?;
        } else if is_manifest() && !(kind.is_symlink() && path.is_dir()) {
            files.push(path);
        }
    }
    Ok(())
}

fn decoded(name: String, bytes: Vec<u8>) -> anyhow::Result<Input> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Input { name, text }),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
            bail!("{name}:{line}: expected text in UTF-8, got something else at byte {}", valid + 1)
        }
    }
}
