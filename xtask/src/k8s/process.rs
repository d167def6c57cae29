//! A server that ends with us, whichever way we end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::command;

/// A running server; killed and reaped on drop. Should this process be killed first, the kernel kills it.
pub(super) struct Server {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts a program; what it says goes to `NAME.log` in `directory`.
    pub(super) fn start(program: &Path, arguments: &[String], directory: &Path) -> Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let log = directory.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut server: Command = command::command("setpriv", ["--pdeathsig", "SIGKILL", "--"]);
        server.arg(program).args(arguments).current_dir(directory);
        let child = server
            .stdout(output.try_clone()?)
            .stderr(output)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {name}"))?;
        Ok(Self { name, child, log })
    }

    /// An error, with the end of what it said, if it has ended.
    pub(super) fn expect_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended ({status}): {}", self.name, self.last_words());
        }
        Ok(())
    }

    /// Everything it has said.
    pub(super) fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of its log.
    pub(super) fn last_words(&self) -> String {
        let said = self.said();
        let lines: Vec<_> = said.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nobody to kill, and its status is there.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
