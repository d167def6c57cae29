//! Annotations are removed, and what was made for them: the changes to the text that do it.

use super::{
    KEYS,
    error::{InjectError, Problem},
    layout::mark,
    object::Owner,
    source::Source,
    text::{Edits, is_first_in_line},
    tree::{Entry, Mapping, Node},
};

/// Removes our annotations from an owner; whether there were any.
///
/// # Errors
/// The place cannot be changed without changing something else.
pub(super) fn unset<'a>(
    source: &Source<'a, '_>,
    owner: &Owner<'a, '_>,
    edits: &mut Edits,
) -> Result<bool, InjectError> {
    if source.path(owner.node, &["metadata", "annotations"]).is_none()
        || KEYS.iter().all(|key| source.path(owner.node, &["metadata", "annotations", key]).is_none())
    {
        return Ok(false);
    }
    let Some(mapping) = owner.node.mapping() else { return Ok(false) };
    let Some(metadata) = source.own(owner.node, mapping, "metadata")? else { return Ok(false) };
    let Some(in_metadata) = source.mapping_of(metadata)? else { return Ok(false) };
    let Some(annotations) = source.own(&metadata.value, in_metadata, "annotations")? else {
        return Ok(false);
    };
    let Some(in_annotations) = source.mapping_of(annotations)? else { return Ok(false) };
    let is_ours = |entry: &Entry<'_>| entry.key.scalar().is_some_and(|key| KEYS.contains(&key));
    if !in_annotations.entries.iter().any(is_ours) {
        // Only a merge has them.
        return Err(source.error(&annotations.key, Problem::Merged { key: super::INJECT }));
    }
    let mut stripper = Stripper { source, edits };
    // From the inside out, for as long as nothing is left but what inject has made.
    if stripper.remove(annotations, in_annotations, is_ours)?
        && stripper.remove(metadata, in_metadata, |entry| std::ptr::eq(entry, annotations))?
    {
        stripper.remove_from(owner.node, mapping, |entry| std::ptr::eq(entry, metadata))?;
    }
    Ok(true)
}

struct Stripper<'s, 'a, 't, 'e> {
    source: &'s Source<'a, 't>,
    edits: &'e mut Edits,
}

impl Stripper<'_, '_, '_, '_> {
    /// Removes entries of the mapping that is the value of `holder`; whether `holder` has to go as well.
    fn remove(
        &mut self,
        holder: &Entry<'_>,
        mapping: &Mapping<'_>,
        goes: impl Fn(&Entry<'_>) -> bool,
    ) -> Result<bool, InjectError> {
        let text = self.source.text;
        if !mapping.entries.iter().all(&goes) {
            self.remove_from(&holder.value, mapping, goes)?;
            // Somebody has put something beside ours: it will not be null again.
            if let Some((comment, _)) = mark(text, holder).filter(|_| !mapping.is_flow) {
                let blank = text[..comment.start].trim_end_matches([' ', '\t']).len();
                self.edits.replace(blank..comment.end, String::new());
            }
            return Ok(false);
        }
        if !mapping.is_flow {
            self.remove_from(&holder.value, mapping, goes)?;
            let Some((comment, was)) = mark(text, holder) else { return Ok(true) };
            self.edits.replace(comment, was.to_owned());
            return Ok(false);
        }
        let span = holder.value.span.clone();
        let (Some(first), Some(last)) = (mapping.entries.first(), mapping.entries.last()) else {
            return Ok(true);
        };
        let is_blank = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_whitespace);
        if !is_blank(text.as_bytes().get(span.start + 1)) {
            self.edits.replace(first.key.span.start..behind_comma(text, last), String::new());
            return Ok(false);
        }
        if is_blank(text.as_bytes().get(span.end - 2)) {
            return Ok(true);
        }
        self.edits.replace(span, "null".to_owned());
        Ok(false)
    }

    /// Removes entries of a mapping, which stays.
    fn remove_from(
        &mut self,
        node: &Node<'_>,
        mapping: &Mapping<'_>,
        goes: impl Fn(&Entry<'_>) -> bool,
    ) -> Result<(), InjectError> {
        if mapping.is_flow {
            self.remove_from_flow(mapping, goes);
            return Ok(());
        }
        let text = self.source.text;
        for entry in mapping.entries.iter().filter(|entry| goes(entry)) {
            let start = entry.key.span.start;
            if !is_first_in_line(text, start) {
                let key = entry.key.scalar().unwrap_or_default().to_owned();
                return Err(self.source.error(node, Problem::Uneditable { key }));
            }
            // What was in a block mapping is gone already; comments there are somebody's.
            let is_block = entry.value.mapping().is_some_and(|mapping| !mapping.is_flow);
            let end = if is_block { entry.key.span.end } else { entry.end(text) };
            self.edits.remove_lines(text, &(start..end));
        }
        Ok(())
    }

    fn remove_from_flow(&mut self, mapping: &Mapping<'_>, goes: impl Fn(&Entry<'_>) -> bool) {
        let text = self.source.text;
        let mut kept: Option<&Entry<'_>> = None;
        let mut entries = mapping.entries.iter().peekable();
        while let Some(entry) = entries.next() {
            if !goes(entry) {
                kept = Some(entry);
                continue;
            }
            let mut last = entry;
            while let Some(next) = entries.next_if(|next| goes(next)) {
                last = next;
            }
            let range = match (entries.peek(), kept) {
                (Some(next), _) => entry.key.span.start..next.key.span.start,
                (None, Some(kept)) => kept.end(text)..last.end(text),
                (None, None) => entry.key.span.start..behind_comma(text, last),
            };
            self.edits.replace(range, String::new());
        }
    }
}

/// Where the entry ends, with a comma that follows.
fn behind_comma(text: &str, entry: &Entry<'_>) -> usize {
    let end = entry.end(text);
    let rest = text.get(end..).unwrap_or_default();
    let blank = rest.len() - rest.trim_start().len();
    if rest[blank..].starts_with(',') { end + blank + 1 } else { end }
}
