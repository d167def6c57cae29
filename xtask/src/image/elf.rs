//! Whether a program needs another one to load it: whether it is static.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// The type of the segment that names the loader; `elf.h`.
const PT_INTERP: u32 = 3;

/// The loader that a 64-bit little-endian program asks for, if it does.
pub(super) fn interpreter(program: &Path) -> Result<Option<String>> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    interpreter_of(&bytes).with_context(|| format!("expected a 64-bit ELF file: {}", program.display()))
}

/// `None` where it is no such file; then `Some(None)` where it asks for none.
fn interpreter_of(elf: &[u8]) -> Option<Option<String>> {
    // 64 bits, little-endian.
    elf.strip_prefix(b"\x7fELF\x02\x01")?;
    let table = usize::try_from(u64_at(elf, 32)?).ok()?;
    let (size, count) = (usize::from(u16_at(elf, 54)?), usize::from(u16_at(elf, 56)?));
    for header in (0..count).map(|index| table + index * size) {
        if u32_at(elf, header)? == PT_INTERP {
            let offset = usize::try_from(u64_at(elf, header + 8)?).ok()?;
            let length = usize::try_from(u64_at(elf, header + 32)?).ok()?;
            let name = elf.get(offset..)?.get(..length)?;
            return Some(Some(String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()));
        }
    }
    Some(None)
}

fn bytes_at<const N: usize>(elf: &[u8], offset: usize) -> Option<[u8; N]> {
    elf.get(offset..)?.first_chunk().copied()
}

fn u16_at(elf: &[u8], offset: usize) -> Option<u16> {
    bytes_at(elf, offset).map(u16::from_le_bytes)
}

fn u32_at(elf: &[u8], offset: usize) -> Option<u32> {
    bytes_at(elf, offset).map(u32::from_le_bytes)
}

fn u64_at(elf: &[u8], offset: usize) -> Option<u64> {
    bytes_at(elf, offset).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, one segment of this type, and a name behind it.
    fn elf(segment: u32, name: &[u8]) -> Vec<u8> {
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64..68].copy_from_slice(&segment.to_le_bytes());
        elf[64 + 8] = 64 + 56;
        elf[64 + 32] = u8::try_from(name.len()).unwrap();
        elf.extend_from_slice(name);
        elf
    }

    #[test]
    fn a_loader_that_is_asked_for_is_told() {
        let dynamic = elf(PT_INTERP, b"/lib64/ld-linux-x86-64.so.2\0");
        assert_eq!(interpreter_of(&dynamic).unwrap().unwrap(), "/lib64/ld-linux-x86-64.so.2");
        assert_eq!(interpreter_of(&elf(1, b"")), Some(None), "it is static");
    }

    #[test]
    fn what_is_no_program_or_is_cut_off_is_told() {
        assert_eq!(interpreter_of(b"#!/bin/sh\n"), None);
        let dynamic = elf(PT_INTERP, b"/lib64/ld-linux-x86-64.so.2\0");
        for length in 0..dynamic.len() {
            assert_eq!(interpreter_of(&dynamic[..length]), None, "{length} bytes");
        }
    }
}
