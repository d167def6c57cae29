//! The config file: read when it has changed, and its writer is done.
//!
//! By name and content, not by inotify, so that a ConfigMap (a symbolic link that is swapped) needs no
//! special case.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::{
    config::{Config, ConfigError},
    policy::EnrolMode,
};

/// The config file, and what it looked like.
pub(super) struct ConfigFile {
    path: PathBuf,
    /// Which pods are enrolled whatever the file says.
    enrol: Option<EnrolMode>,
    /// When it was last read.
    read: Option<Appearance>,
    /// When it was last looked at.
    looked: Option<Appearance>,
}

/// Changes whenever the file is written, replaced, or reached through another link.
type Appearance = (PathBuf, u64, SystemTime, u64);

impl ConfigFile {
    /// A file; `enrol`, where it is given, stands for its word on which pods are enrolled.
    pub(super) fn new(path: PathBuf, enrol: Option<EnrolMode>) -> Self {
        Self { path, enrol, read: None, looked: None }
    }

    pub(super) fn load(&mut self) -> Result<Config, ConfigError> {
        self.read = appearance(&self.path);
        self.looked.clone_from(&self.read);
        let mut config = Config::load(&self.path)?;
        if let (Some(enrol), Some(kubernetes)) = (self.enrol, &mut config.kubernetes) {
            kubernetes.enrol = enrol;
        }
        Ok(config)
    }

    /// Whether it has changed since it was read and not since the last look: somebody who writes it
    /// piece by piece is done.
    pub(super) fn has_settled(&mut self) -> bool {
        let now = appearance(&self.path);
        let before = std::mem::replace(&mut self.looked, now);
        self.looked == before && self.looked != self.read
    }

    /// As if it had changed.
    pub(super) fn load_again(&mut self) {
        self.read = None;
    }
}

fn appearance(path: &Path) -> Option<Appearance> {
    let target = path.canonicalize().ok()?;
    let metadata = target.metadata().ok()?;
    Some((target, metadata.ino(), metadata.modified().ok()?, metadata.len()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_asked_for_stands_for_the_file_s_word_at_every_load() {
        let path = std::env::temp_dir().join(format!("sluice-enrol-{}.toml", std::process::id()));
        let mut file = ConfigFile::new(path.clone(), Some(EnrolMode::All));
        let mut enrols = |text: &str| {
            fs::write(&path, text).unwrap();
            file.load().unwrap().kubernetes.map(|kubernetes| kubernetes.enrol)
        };
        assert_eq!(enrols("[kubernetes]\n"), Some(EnrolMode::All));
        assert_eq!(enrols("[kubernetes]\nenrol = 'annotated'\n"), Some(EnrolMode::All));
        assert_eq!(enrols("# No cluster.\n"), None);
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_changed_file_is_read_once_it_looks_the_same_twice() {
        let path = std::env::temp_dir().join(format!("sluice-settle-{}.toml", std::process::id()));
        fs::write(&path, "# 1\n").unwrap();
        let mut file = ConfigFile::new(path.clone(), None);
        file.load().unwrap();
        assert!(!file.has_settled(), "it is as it was read");
        fs::write(&path, "# 1, half\n").unwrap();
        assert!(!file.has_settled(), "it may go on");
        fs::write(&path, "# 1, half and half\n").unwrap();
        assert!(!file.has_settled(), "it went on");
        assert!(file.has_settled());
        assert!(file.has_settled(), "nobody has read it yet");
        file.load().unwrap();
        assert!(!file.has_settled());
        file.load_again();
        assert!(file.has_settled(), "another try was asked for");
        file.load().unwrap();

        // Another file of the same length in its place, as editors do.
        let other = path.with_extension("new");
        fs::copy(&path, &other).unwrap();
        let modified = path.metadata().unwrap().modified().unwrap();
        fs::File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!file.has_settled());
        assert!(file.has_settled(), "it has another inode");
        fs::remove_file(&path).unwrap();
    }
}
