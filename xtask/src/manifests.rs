//! `cargo xtask manifests`: what `deploy/` holds, rendered by kubectl and held against Kubernetes's schemas.
//!
//! No API server is asked, so nothing is known of admission: that is for one to say, by
//! `kubectl apply --dry-run=server`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::command::{self, Progress};
use crate::setup::{self, Purpose};
use crate::workspace;

/// The kustomizations.
pub(crate) const KUSTOMIZATIONS: [&str; 3] = ["deploy/base", "deploy/privileged", "deploy/example"];

/// The oldest and the newest version whose schemas are at hand.
const VERSIONS: [&str; 2] = ["1.25", "1.37"];

/// Which manifests.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Further files of manifests, as they are.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Renders and checks all of them; `false` when one does not keep to a schema.
pub(crate) fn run(options: &Options) -> Result<bool> {
    setup::run(Purpose::Manifests, false)?;
    let progress = Progress::new("manifests");
    let directory = workspace::target().join("manifests");
    fs::create_dir_all(&directory)?;
    let mut files = KUSTOMIZATIONS
        .iter()
        .map(|kustomization| {
            progress.say(format_args!("$ kubectl kustomize {kustomization}"));
            let file = directory.join(kustomization.replace('/', "-")).with_extension("yaml");
            fs::write(&file, render(kustomization)?)
                .with_context(|| format!("cannot write {}", file.display()))?;
            Ok(file)
        })
        .collect::<Result<Vec<_>>>()?;
    files.extend(options.files.iter().cloned());
    check(&progress, &files)
}

/// What kubectl makes of a kustomization.
pub(crate) fn render(kustomization: &str) -> Result<String> {
    command::output(&mut command::command("kubectl", ["kustomize", kustomization]))
}

/// Whether files keep to the schemas, strictly: a field that none knows is an error.
fn check(progress: &Progress, files: &[PathBuf]) -> Result<bool> {
    let validate = setup::kubernetes_validate();
    let mut all_pass = true;
    for version in VERSIONS {
        let strict = ["--strict", "--quiet", "--kubernetes-version", version].map(Path::new);
        let words = strict.into_iter().chain(files.iter().map(PathBuf::as_path));
        let mut validate = command::command(&validate.to_string_lossy(), words);
        let passes = progress.run(&mut validate).is_ok();
        progress
            .say(format_args!("Kubernetes {version}: {}", if passes { "nothing found" } else { "FAILED" }));
        all_pass &= passes;
    }
    Ok(all_pass)
}
