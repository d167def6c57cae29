//! Annotations are set: the changes to the text that do it.

use super::{
    error::{InjectError, Problem},
    layout::{Block, Flow, MARK, MARK_EMPTY, New, above_first, behind_colon},
    object::Owner,
    source::Source,
    text::{Edits, column},
    tree::{Content, Entry, Mapping, Node},
    verify::is_text,
};

/// An annotation, and the value that it is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Annotation {
    pub(super) key: &'static str,
    /// Without characters that need escaping in double quotes.
    pub(super) value: String,
}

impl Annotation {
    /// The value as it is written. A list could be taken for a number, so it is quoted.
    pub(super) fn written(&self, is_quoted: bool) -> String {
        let is_word = self.value.bytes().all(|byte| byte.is_ascii_lowercase()) && !self.value.is_empty();
        if is_word && !is_quoted && self.key == super::INJECT {
            self.value.clone()
        } else {
            format!("\"{}\"", self.value)
        }
    }
}

/// Sets the annotations of an owner. Those that count already are not touched.
///
/// # Errors
/// The place cannot be changed without changing something else.
pub(super) fn set<'a>(
    source: &Source<'a, '_>,
    owner: &Owner<'a, '_>,
    wanted: &[Annotation],
    edits: &mut Edits,
) -> Result<(), InjectError> {
    let missing: Vec<_> = wanted
        .iter()
        .filter(|annotation| {
            let counts = owner.annotation(source, annotation.key);
            // A number is refused by the API server: there, it is no annotation.
            !counts.is_some_and(|node| node.scalar() == Some(&annotation.value) && is_text(node))
        })
        .cloned()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Some(mapping) = owner.node.mapping() else { return Ok(()) };
    let new = |keys| New { keys, annotations: &missing };
    let mut editor = Editor { source, edits };
    let Some(metadata) = source.own(owner.node, mapping, "metadata")? else {
        let new = new(&["metadata", "annotations"]);
        return match owner.kind {
            Some(kind) => editor.insert_below(owner.node, mapping, kind, &new),
            None => editor.insert(owner.node, mapping, owner.entry, &new),
        };
    };
    let Some(in_metadata) = source.mapping_of(metadata)? else {
        return editor.fill_null(mapping, metadata, &new(&["annotations"]));
    };
    let Some(annotations) = source.own(&metadata.value, in_metadata, "annotations")? else {
        return editor.insert(&metadata.value, in_metadata, Some(metadata), &new(&["annotations"]));
    };
    let Some(in_annotations) = source.mapping_of(annotations)? else {
        return editor.fill_null(in_metadata, annotations, &new(&[]));
    };
    let mut added = Vec::new();
    for annotation in &missing {
        let mut own =
            in_annotations.entries.iter().filter(|entry| entry.key.scalar() == Some(annotation.key));
        match (own.next(), own.next()) {
            (None, _) => added.push(annotation.clone()),
            (Some(entry), None) => editor.replace(in_annotations, entry, annotation)?,
            (_, Some(again)) => {
                let key = annotation.key.to_owned();
                return Err(source.error(&again.key, Problem::Duplicate { key }));
            }
        }
    }
    if added.is_empty() {
        return Ok(());
    }
    let new = New { keys: &[], annotations: &added };
    editor.insert(&annotations.value, in_annotations, Some(annotations), &new)
}

struct Editor<'s, 'a, 't, 'e> {
    source: &'s Source<'a, 't>,
    edits: &'e mut Edits,
}

impl Editor<'_, '_, '_, '_> {
    /// New entries at the beginning of a mapping, the value of `entry`.
    fn insert(
        &mut self,
        node: &Node<'_>,
        mapping: &Mapping<'_>,
        entry: Option<&Entry<'_>>,
        new: &New<'_>,
    ) -> Result<(), InjectError> {
        let text = self.source.text;
        if mapping.is_flow {
            return self.insert_flow(node, mapping, entry, new);
        }
        let place = entry.and_then(|entry| above_first(text, mapping, entry));
        match (place, Block::beside(text, mapping, entry)) {
            (Some(place), Some(block)) => self.edits.insert(place, block.lines(new)),
            _ => return Err(self.uneditable(entry.map_or(node, |entry| &entry.key))),
        }
        Ok(())
    }

    /// New entries of an object, below the line that says its kind.
    fn insert_below(
        &mut self,
        node: &Node<'_>,
        mapping: &Mapping<'_>,
        kind: &Entry<'_>,
        new: &New<'_>,
    ) -> Result<(), InjectError> {
        let text = self.source.text;
        if mapping.is_flow {
            return self.insert_flow(node, mapping, None, new);
        }
        let Some(block) = Block::beside(text, mapping, None) else { return Err(self.uneditable(node)) };
        self.edits.insert_lines_after(text, kind.value.end(text), &block.lines(new));
        Ok(())
    }

    fn insert_flow(
        &mut self,
        node: &Node<'_>,
        mapping: &Mapping<'_>,
        entry: Option<&Entry<'_>>,
        new: &New<'_>,
    ) -> Result<(), InjectError> {
        let text = self.source.text;
        if let (Some(first), Some(flow)) = (mapping.entries.first(), Flow::beside(text, node, mapping)) {
            self.edits.insert(first.key.span.start, flow.before_first(new));
            return Ok(());
        }
        let Some(entry) = entry else { return Err(self.uneditable(node)) };
        self.edits.insert(node.span.start + 1, Flow::as_entry(text, entry).alone(new));
        Ok(())
    }

    /// A mapping instead of a null, in the way that tells what was there.
    fn fill_null(
        &mut self,
        parent: &Mapping<'_>,
        entry: &Entry<'_>,
        new: &New<'_>,
    ) -> Result<(), InjectError> {
        let text = self.source.text;
        let Some(behind) = behind_colon(text, entry) else {
            // `{annotations}` is a key too.
            if parent.is_flow {
                let filled = Flow::as_entry(text, entry).alone(new);
                self.edits.insert(entry.key.span.end, format!(": {{ {filled}}}"));
                return Ok(());
            }
            return Err(self.uneditable(&entry.key));
        };
        let value = entry.value.span.clone();
        if entry.value.anchor.is_some() {
            return Err(self.uneditable(&entry.key));
        }
        if parent.is_flow {
            let filled = Flow::as_entry(text, entry).alone(new);
            if value.is_empty() {
                self.edits.insert(behind, format!(" {{ {filled}}}"));
            } else {
                self.edits.replace(value, format!("{{ {filled}}}"));
            }
            return Ok(());
        }
        let line = if value.is_empty() { behind } else { value.start };
        if value.is_empty() {
            self.edits.insert(behind, format!(" {MARK}{MARK_EMPTY}"));
        } else {
            self.edits.replace(value.clone(), format!("{MARK}{}", &text[value]));
        }
        let lines = Block::inside(text, entry, parent).lines(new);
        self.edits.insert_lines_after(text, line, &lines);
        Ok(())
    }

    fn replace(
        &mut self,
        mapping: &Mapping<'_>,
        entry: &Entry<'_>,
        annotation: &Annotation,
    ) -> Result<(), InjectError> {
        let text = self.source.text;
        self.source.refuse_shared(&entry.value, || annotation.key.to_owned())?;
        let is_quoted = entry.value.is_double_quoted() || (mapping.is_flow && entry.key.is_double_quoted());
        let written = annotation.written(is_quoted);
        match &entry.value.content {
            Content::Scalar { .. } if entry.value.span.is_empty() => {
                let Some(behind) = behind_colon(text, entry) else { return Err(self.uneditable(&entry.key)) };
                self.edits.insert(behind, format!(" {written}"));
            }
            Content::Scalar { .. } | Content::Alias(_) => {
                let start = written_start(text, &entry.value);
                self.edits.replace(start..entry.value.end(text).max(start), written);
            }
            Content::Mapping(_) | Content::Sequence(_) => return Err(self.uneditable(&entry.key)),
        }
        Ok(())
    }

    fn uneditable(&self, at: &Node<'_>) -> InjectError {
        let key = at.scalar().unwrap_or("metadata").to_owned();
        self.source.error(at, Problem::Uneditable { key })
    }
}

/// Where a scalar's writing begins. Of one with an indicator (`|`, `>`), the span is the text alone.
fn written_start(text: &str, node: &Node<'_>) -> usize {
    use granit_parser::ScalarStyle;
    let start = node.span.start;
    match node.content {
        Content::Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, .. } => {
            let line_above = start - column(text, start);
            text[..line_above].rfind(['|', '>']).unwrap_or(start)
        }
        Content::Scalar { .. } | Content::Alias(_) | Content::Sequence(_) | Content::Mapping(_) => start,
    }
}
