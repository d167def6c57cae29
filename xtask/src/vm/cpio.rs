//! The archive that a kernel unpacks as its first file system: cpio, format `newc`
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, Result};

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive being written. Paths have no leading slash.
pub(super) struct Archive<W> {
    out: W,
    written: u64,
    inodes: u32,
    /// What is in it already.
    paths: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, written: 0, inodes: 0, paths: BTreeSet::new() }
    }

    pub(super) fn directory(&mut self, path: &str) -> Result<()> {
        self.entry(path, DIRECTORY, (0, 0), &[])
    }

    pub(super) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) -> Result<()> {
        self.entry(path, FILE | permissions, (0, 0), content)
    }

    /// A program or library of this machine; through its link, if it is one.
    pub(super) fn copy(&mut self, from: &Path, to: &str) -> Result<()> {
        if self.paths.contains(to) {
            return Ok(());
        }
        let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.file(to, 0o755, &content)
    }

    pub(super) fn link(&mut self, path: &str, to: &str) -> Result<()> {
        self.entry(path, LINK, (0, 0), to.as_bytes())
    }

    pub(super) fn device(&mut self, path: &str, major: u32, minor: u32) -> Result<()> {
        self.entry(path, CHARACTER_DEVICE, (major, minor), &[])
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<()> {
        self.write_entry("TRAILER!!!", 0, (0, 0), &[])?;
        Ok(self.out.flush()?)
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        if self.paths.contains(path) {
            return Ok(());
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent)?;
        }
        self.paths.insert(path.to_owned());
        self.write_entry(path, mode, device, content)
    }

    fn write_entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        self.inodes += 1;
        let size = u32::try_from(content.len()).with_context(|| format!("{path} is too large"))?;
        let name_size = u32::try_from(path.len() + 1).context("a path is too long")?;
        let (major, minor) = device;
        // inode, mode, uid, gid, links, mtime, size, device, the device it is, name, checksum
        let fields = [self.inodes, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08x}"));
        }
        header.push_str(path);
        header.push('\0');
        self.write(header.as_bytes())?;
        self.pad()?;
        self.write(content)?;
        Ok(self.pad()?)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn pad(&mut self) -> io::Result<()> {
        let rest = self.written.next_multiple_of(4) - self.written;
        self.write(&[0; 3][..usize::try_from(rest).unwrap_or(0)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_parents_come_first() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        archive.file("bin/a", 0o755, b"12345").unwrap();
        archive.file("bin/b", 0o755, b"").unwrap();
        archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let at = |name: &str| text.find(name).unwrap_or_else(|| panic!("no {name}"));
        assert!(at("bin\0") < at("bin/a\0") && at("bin/a\0") < at("bin/b\0"));
        assert_eq!(text.matches("070701").count(), 4);
    }
}
