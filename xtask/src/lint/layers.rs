//! The layer rule: the rooms of proxy-userspace import downwards only.
//!
//! A room is a module at the top of the crate. The sources are read as tokens, so that a path is
//! found wherever it stands (an import, an expression, inside a macro) and a comment or a string
//! is not taken for one.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// The rooms, from the ground up. A room may import those of lower layers, never its neighbours.
/// (`proxy_common`, the contract with the kernel, is a crate below all of them.)
const LAYERS: [&[&str]; 8] = [
    &["policy", "observe"],
    &["metrics"],
    &["config", "inject", "report", "spans", "tap"],
    &["connection", "kernel", "admin"],
    &["agent"],
    &["exec"],
    &["cli"],
    // The files at the top, which import anything.
    &["main", "lib"],
];

/// Crates that only one room may import.
const OWNED_CRATES: [(&str, &[&str]); 8] = [
    ("aya", &["kernel"]),
    ("aya_log", &["kernel"]),
    ("clap", &["cli", "main"]),
    ("granit_parser", &["inject"]),
    ("opentelemetry", &["spans"]),
    ("opentelemetry_http", &["spans"]),
    ("opentelemetry_otlp", &["spans"]),
    ("opentelemetry_sdk", &["spans"]),
];

/// An import that goes up or sideways.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Violation {
    file: PathBuf,
    line: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// Every violation under the crate's `src`.
pub(super) fn check(src: &Path) -> Result<Vec<Violation>> {
    let mut files = Vec::new();
    walk(src, &mut files)?;
    let mut violations = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let module = module_path(file.strip_prefix(src)?);
        check_file(&file, &module, &text, &mut violations)?;
    }
    violations.sort();
    Ok(violations)
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// `observe/http2/mod.rs` → `["observe", "http2"]`
fn module_path(file: &Path) -> Vec<String> {
    let path = file.with_extension("");
    let mut names: Vec<_> = path.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if names.len() > 1 && names.last().is_some_and(|name| name == "mod") {
        names.pop();
    }
    names
}

fn check_file(file: &Path, module: &[String], text: &str, violations: &mut Vec<Violation>) -> Result<()> {
    let tokens: TokenStream = text
        .parse()
        .map_err(|error| anyhow::anyhow!("{}: cannot be read as Rust: {error}", file.display()))?;
    let Some(room) = module.first() else { return Ok(()) };
    if layer(room).is_none() {
        let what = format!("room `{room}` has no layer: give it one in xtask/src/lint/layers.rs");
        violations.push(Violation { file: file.into(), line: 1, what });
        return Ok(());
    }
    let mut paths = Vec::new();
    scan(tokens, module.len(), &mut paths);
    for Import { path, line } in paths {
        if let Some(what) = judge(room, &path) {
            violations.push(Violation { file: file.into(), line, what });
        }
    }
    Ok(())
}

fn layer(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

/// Why a room may not import this, if it may not.
fn judge(room: &str, path: &Imported) -> Option<String> {
    match path {
        Imported::Room(other) if other == room => None,
        Imported::Room(other) => match (layer(room), layer(other)) {
            (Some(from), Some(to)) if to < from => None,
            (Some(from), Some(to)) if to == from => {
                Some(format!("`{room}` imports `{other}`, its neighbour"))
            }
            (_, Some(_)) => Some(format!("`{room}` imports `{other}`, which is above it")),
            // An item of the crate's root: those at the top may; a room stands on no root.
            (_, None) if layer(room) == Some(LAYERS.len() - 1) => None,
            (_, None) => Some(format!("`{room}` imports `crate::{other}`, which is no room")),
        },
        Imported::Crate(name) => {
            let (_, owners) = OWNED_CRATES.iter().find(|(owned, _)| owned == name)?;
            let owners = (!owners.contains(&room)).then(|| owners.join("` and `"))?;
            Some(format!("`{room}` imports the crate `{name}`; only `{owners}` may"))
        }
    }
}

/// The beginning of a path, as far as the rule needs it.
#[derive(Debug, PartialEq, Eq)]
enum Imported {
    /// `crate::ROOM`, however it was spelt.
    Room(String),
    /// Another crate.
    Crate(String),
}

#[derive(Debug)]
struct Import {
    path: Imported,
    line: usize,
}

/// Collects the paths in a stream of tokens. `depth` is how many modules deep it stands, the
/// room being the first.
fn scan(tokens: TokenStream, depth: usize, imports: &mut Vec<Import>) {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => {
                let inside_module = group.delimiter() == Delimiter::Brace
                    && at >= 2
                    && is_word(&tokens[at - 2], "mod")
                    && matches!(tokens[at - 1], TokenTree::Ident(_));
                scan(group.stream(), depth + usize::from(inside_module), imports);
            }
            TokenTree::Ident(word) if !follows_colons(&tokens, at) => {
                let word = word.to_string();
                let here = &tokens[at + 1..];
                if word == "crate" {
                    rooms_after(here, imports);
                } else if word == "super" {
                    supers(here, depth, imports);
                } else if OWNED_CRATES.iter().any(|(name, _)| *name == word)
                    && (after_colons(here).is_some() || is_used_whole(&tokens, at))
                {
                    let line = token.span().start().line;
                    imports.push(Import { path: Imported::Crate(word), line });
                }
            }
            // `::aya::Ebpf` begins with colons, and is the crate all the same.
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// `super::super::ROOM`: enough of them lead out of the room.
fn supers(mut tokens: &[TokenTree], depth: usize, imports: &mut Vec<Import>) {
    let mut climbed = 1;
    while let Some(rest) = after_colons(tokens)
        && rest.first().is_some_and(|token| is_word(token, "super"))
    {
        climbed += 1;
        tokens = &rest[1..];
    }
    if climbed == depth {
        rooms_after(tokens, imports);
    }
}

/// What stands after `crate`: `::room`, or several in braces.
fn rooms_after(tokens: &[TokenTree], imports: &mut Vec<Import>) {
    match after_colons(tokens).and_then(<[TokenTree]>::first) {
        Some(TokenTree::Ident(room)) => {
            let line = room.span().start().line;
            imports.push(Import { path: Imported::Room(room.to_string()), line });
        }
        Some(TokenTree::Group(group)) => {
            // Each of the list begins at the start or after a comma.
            let mut begins = true;
            for token in group.stream() {
                if begins && let TokenTree::Ident(room) = &token {
                    let line = room.span().start().line;
                    imports.push(Import { path: Imported::Room(room.to_string()), line });
                }
                begins = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ',');
            }
        }
        Some(TokenTree::Punct(_) | TokenTree::Literal(_)) | None => {}
    }
}

/// The tokens after a `::` at the start.
fn after_colons(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    let [TokenTree::Punct(first), TokenTree::Punct(second), rest @ ..] = tokens else { return None };
    let colons = first.as_char() == ':' && first.spacing() == Spacing::Joint && second.as_char() == ':';
    colons.then_some(rest)
}

/// Whether the word goes on a path that began before it: `a::crate_name`.
fn follows_colons(tokens: &[TokenTree], at: usize) -> bool {
    at >= 3
        && after_colons(&tokens[at - 2..]).is_some()
        && matches!(&tokens[at - 3], TokenTree::Ident(_) | TokenTree::Group(_))
}

/// `use aya;`, `use aya as x;`, or `aya` in a list at the start of a `use`.
fn is_used_whole(tokens: &[TokenTree], at: usize) -> bool {
    at >= 1 && is_word(&tokens[at - 1], "use")
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

#[cfg(test)]
mod tests;
