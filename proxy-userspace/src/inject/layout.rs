//! New keys, written in the manner of what stands around them.
//!
//! What `inject` writes tells what was there before, so that `uninject` can bring it back:
//!
//! | before | after |
//! |---|---|
//! | no `annotations` | a block mapping, or `{ a: b }`, with white space inside both braces |
//! | `annotations: {}` | `annotations: {a: b}`, without white space after the brace |
//! | `annotations:` | `annotations: # sluice inject: was empty`, and a block mapping |
//! | `annotations: ~` | `annotations: # sluice inject: was ~`, and a block mapping |
//! | `{annotations: null}` | `{annotations: { a: b}}`, white space inside the first brace only |
//!
//! The same holds for `metadata`.

use std::ops::Range;

use super::{
    annotate::Annotation,
    text::{column, indent_of_line, is_first_in_line, line_start, newline_at},
    tree::{Entry, Mapping, Node},
};

/// Before what a null was written as, in the comment that takes its place.
pub(super) const MARK: &str = "# sluice inject: was ";
/// What a null that was not written is called there.
pub(super) const MARK_EMPTY: &str = "empty";

/// Keys to write, each the only entry of the one before, and annotations in the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct New<'n> {
    pub(super) keys: &'n [&'static str],
    pub(super) annotations: &'n [Annotation],
}

/// Lines of a block mapping.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) indent: String,
    pub(super) step: String,
    pub(super) newline: &'static str,
}

impl Block {
    /// As the mapping's entries are written. `entry` is the one whose value it is.
    pub(super) fn beside(text: &str, mapping: &Mapping<'_>, entry: Option<&Entry<'_>>) -> Option<Self> {
        let first = mapping.entries.first()?.key.span.start;
        let indent = " ".repeat(column(text, first));
        let inner = mapping.entries.iter().find_map(|entry| step_of(text, entry));
        let step = inner.or_else(|| entry.and_then(|entry| step_of(text, entry)));
        Some(Self { indent, step: " ".repeat(step.unwrap_or(2)), newline: newline_at(text, first) })
    }

    /// As the value of this entry would be written; its siblings show the step.
    pub(super) fn inside(text: &str, entry: &Entry<'_>, siblings: &Mapping<'_>) -> Self {
        let at = entry.key.span.start;
        let step = siblings.entries.iter().find_map(|entry| step_of(text, entry)).unwrap_or(2);
        Self {
            indent: " ".repeat(column(text, at) + step),
            step: " ".repeat(step),
            newline: newline_at(text, at),
        }
    }

    pub(super) fn lines(&self, new: &New<'_>) -> String {
        let Self { indent, step, newline } = self;
        let mut lines = String::new();
        let mut indent = indent.clone();
        for key in new.keys {
            lines.extend([indent.as_str(), key, ":", newline]);
            indent.push_str(step);
        }
        for annotation in new.annotations {
            lines.extend([indent.as_str(), annotation.key, ": ", &annotation.written(false), newline]);
        }
        lines
    }
}

/// How much further to the right a block mapping stands than its key.
fn step_of(text: &str, entry: &Entry<'_>) -> Option<usize> {
    let mapping = entry.value.mapping().filter(|mapping| !mapping.is_flow)?;
    let inner = column(text, mapping.entries.first()?.key.span.start);
    inner.checked_sub(column(text, entry.key.span.start)).filter(|step| *step > 0)
}

/// How entries of a flow mapping are written.
#[derive(Debug)]
pub(super) struct Flow<'t> {
    /// As in JSON: keys and values in double quotes.
    is_quoted: bool,
    /// Between key and value.
    colon: &'static str,
    /// What stands before an entry.
    separator: &'t str,
    /// Where each entry has a line of its own: the indentation of entries, one more step, and the line end.
    own_lines: Option<(&'t str, &'t str, &'static str)>,
}

impl<'t> Flow<'t> {
    /// As the entries of this mapping are written; `None` where there are none.
    pub(super) fn beside(text: &'t str, node: &Node<'_>, mapping: &Mapping<'_>) -> Option<Self> {
        let first = mapping.entries.first()?;
        let inner = text.get(node.span.start + 1..first.key.span.start)?;
        let blank = inner.trim_end_matches([' ', '\t', '\r', '\n']);
        let separator = &inner[blank.len()..];
        let own_lines = separator.contains('\n').then(|| {
            let indent = separator.rsplit('\n').next().unwrap_or_default();
            let outer = indent_of_line(text, node.span.start);
            let step = indent.strip_prefix(outer).filter(|step| !step.is_empty()).unwrap_or("  ");
            (indent, step, newline_at(text, node.span.start))
        });
        Some(Self { separator, own_lines, ..Self::as_entry(text, first) })
    }

    /// As this entry is written, for what is new in its value.
    pub(super) fn as_entry(text: &str, entry: &Entry<'_>) -> Self {
        let key_end = entry.key.span.end;
        let between = text.get(key_end..entry.value.span.start.max(key_end)).unwrap_or_default();
        let is_quoted = entry.key.is_double_quoted();
        let colon = if is_quoted && between == ":" { ":" } else { ": " };
        Self { is_quoted, colon, separator: "", own_lines: None }
    }

    /// Before an entry that follows another one.
    fn comma(&self) -> String {
        let blank = match self.separator {
            "" if self.colon == ":" => "",
            "" => " ",
            separator => separator,
        };
        format!(",{blank}")
    }

    /// Entries to stand before the first one, with what divides them from it.
    pub(super) fn before_first(&self, new: &New<'_>) -> String {
        let comma = self.comma();
        self.entries(new).into_iter().flat_map(|entry| [entry, comma.clone()]).collect()
    }

    /// Entries to stand alone in a mapping that has none.
    pub(super) fn alone(&self, new: &New<'_>) -> String {
        self.entries(new).join(&self.comma())
    }

    fn entries(&self, new: &New<'_>) -> Vec<String> {
        let key = |key: &str| if self.is_quoted { format!("\"{key}\"") } else { key.to_owned() };
        let Some((first, keys)) = new.keys.split_first() else {
            let entry = |annotation: &Annotation| {
                [&key(annotation.key), self.colon, &annotation.written(self.is_quoted)].concat()
            };
            return new.annotations.iter().map(entry).collect();
        };
        let inner = New { keys, ..*new };
        let value = match self.own_lines {
            Some((indent, step, newline)) => {
                let indent_inside = [indent, step].concat();
                let inside =
                    Flow { own_lines: Some((&indent_inside, step, newline)), separator: "", ..*self };
                let entries = inside.entries(&inner).join(&format!(",{newline}{indent_inside}"));
                format!("{{{newline}{indent_inside}{entries}{newline}{indent}}}")
            }
            None => format!("{{ {} }}", Flow { separator: "", ..*self }.alone(&inner)),
        };
        vec![[&key(first), self.colon, &value].concat()]
    }
}

/// Where the value of an entry whose value is not written would be: behind the colon.
pub(super) fn behind_colon(text: &str, entry: &Entry<'_>) -> Option<usize> {
    let rest = text.get(entry.key.span.end..)?;
    let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
    rest[blank..].starts_with(':').then_some(entry.key.span.end + blank + 1)
}

/// The comment that tells what a null was, and how that was written. It stands behind the entry's colon.
pub(super) fn mark<'t>(text: &'t str, entry: &Entry<'_>) -> Option<(Range<usize>, &'t str)> {
    let behind = behind_colon(text, entry)?;
    let line = text[behind..].lines().next().unwrap_or_default();
    let comment = line.trim_start_matches([' ', '\t']);
    let start = behind + (line.len() - comment.len());
    let was = comment.strip_prefix(MARK)?;
    let was = &was[..was.find([' ', '\t']).unwrap_or(was.len())];
    let end = start + MARK.len() + was.len();
    match was {
        // With the space that was put before it.
        MARK_EMPTY => Some((behind..end, "")),
        "~" | "null" | "Null" | "NULL" => Some((start..end, was)),
        _ => None,
    }
}

/// Where lines can be inserted so that they are the first of a block mapping: above its first key, and above
/// the comments that belong to that.
pub(super) fn above_first(text: &str, mapping: &Mapping<'_>, entry: &Entry<'_>) -> Option<usize> {
    let first = mapping.entries.first()?.key.span.start;
    if !is_first_in_line(text, first) {
        return None;
    }
    let mut at = line_start(text, first);
    loop {
        let above = line_start(text, at.checked_sub(1)?);
        let line = text[above..at].trim();
        let belongs = line.is_empty() || line.starts_with('#');
        if !belongs || above <= entry.key.span.end {
            return Some(at);
        }
        at = above;
    }
}
