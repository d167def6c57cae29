//! The changed text is read again: it must say what it said, and the annotations.
//!
//! What is written is found by the places that a parser tells. Were one of them wrong, or the text written in a
//! way that was not thought of, the change would be another than was meant, and nobody would see it.

use super::{
    KEYS,
    annotate::Annotation,
    source::Source,
    tree::{Content, Document, Entry, Mapping, Node},
};

/// What is to become of one owner's annotations.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// Where the owner begins in the text before.
    pub(super) start: usize,
    /// What its annotations are to be; none of ours where this is empty.
    pub(super) wanted: Vec<Annotation>,
}

impl Change {
    /// Whether the change may touch this annotation.
    fn touches(&self, entry: &Entry<'_>) -> bool {
        let key = entry.key.scalar().unwrap_or_default();
        if self.wanted.is_empty() {
            KEYS.contains(&key)
        } else {
            self.wanted.iter().any(|annotation| annotation.key == key)
        }
    }

    fn is_done(&self, after: &Source<'_, '_>, owner: &Node<'_>) -> bool {
        let annotation = |key| after.path(owner, &["metadata", "annotations", key]);
        if self.wanted.is_empty() {
            return KEYS.iter().all(|key| annotation(key).is_none());
        }
        self.wanted.iter().all(|wanted| {
            annotation(wanted.key).is_some_and(|node| node.scalar() == Some(&wanted.value) && is_text(node))
        })
    }
}

/// Whether a scalar is text to every reader, as an annotation must be, and no number.
pub(super) fn is_text(node: &Node<'_>) -> bool {
    !node.is_plain()
        || node.scalar().is_some_and(|text| text.starts_with(|first: char| first.is_ascii_alphabetic()))
}

/// Whether the documents say the same, but for the annotations of these owners, which are as wanted.
pub(super) fn is_as_wanted(
    before: &[Document<'_>],
    after_text: &str,
    after: &[Document<'_>],
    changes: &[Change],
) -> bool {
    before.len() == after.len()
        && before.iter().zip(after).enumerate().all(|(at, (before, after))| {
            let source = Source { text: after_text, number: at + 1, root: &after.root };
            let comparison = Comparison { after: source, changes };
            before.is_explicit == after.is_explicit && comparison.is_same(&before.root, &after.root)
        })
}

struct Comparison<'a, 't, 'c> {
    after: Source<'a, 't>,
    changes: &'c [Change],
}

impl<'a, 't> Comparison<'a, 't, '_> {
    fn is_same(&self, before: &Node<'_>, after: &'a Node<'t>) -> bool {
        before.tag == after.tag
            && before.anchor.is_some() == after.anchor.is_some()
            && match (&before.content, &after.content) {
                (Content::Scalar { value: a, .. }, Content::Scalar { value: b, .. }) => {
                    a == b && before.is_plain() == after.is_plain()
                }
                (Content::Alias(a), Content::Alias(b)) => a == b,
                (Content::Sequence(a), Content::Sequence(b)) => {
                    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.is_same(a, b))
                }
                (Content::Mapping(a), Content::Mapping(b)) => {
                    match self.changes.iter().find(|change| change.start == before.span.start) {
                        Some(change) => self.is_changed(change, a, b) && change.is_done(&self.after, after),
                        None => self.are_same(a.entries.iter(), b.entries.iter()),
                    }
                }
                _ => false,
            }
    }

    fn are_same<'x, 'y: 'x>(
        &self,
        mut before: impl Iterator<Item = &'x Entry<'y>>,
        mut after: impl Iterator<Item = &'a Entry<'t>>,
    ) -> bool
    where
        't: 'a,
    {
        loop {
            match (before.next(), after.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if self.is_same(&a.key, &b.key) && self.is_same(&a.value, &b.value) => {}
                _ => return false,
            }
        }
    }

    /// An owner: all but the metadata's annotations is the same. Without anything in it, metadata is as none.
    fn is_changed(&self, change: &Change, before: &Mapping<'_>, after: &'a Mapping<'t>) -> bool {
        let others = |entry: &&Entry<'_>| entry.key.scalar() != Some("metadata");
        let no_annotations = |entry: &&Entry<'_>| entry.key.scalar() != Some("annotations");
        let untouched = |entry: &&Entry<'_>| !change.touches(entry);
        let (Some(metadata_before), Some(metadata_after)) =
            (inner(before, "metadata"), inner(after, "metadata"))
        else {
            return false;
        };
        let annotations = (
            metadata_before.and_then(|metadata| inner(metadata, "annotations")),
            metadata_after.and_then(|metadata| inner(metadata, "annotations")),
        );
        let entries = |mapping: Option<&'a Mapping<'t>>| mapping.map_or(&[][..], |mapping| &mapping.entries);
        self.are_same(before.entries.iter().filter(others), after.entries.iter().filter(others))
            && self.are_same(
                metadata_before.into_iter().flat_map(|mapping| &mapping.entries).filter(no_annotations),
                entries(metadata_after).iter().filter(no_annotations),
            )
            && self.are_same(
                annotations.0.flatten().into_iter().flat_map(|mapping| &mapping.entries).filter(untouched),
                entries(annotations.1.flatten()).iter().filter(untouched),
            )
    }
}

/// The mapping at this key; `Some(None)` where there is nothing, `None` where there is something else.
fn inner<'m, 't>(mapping: &'m Mapping<'t>, key: &str) -> Option<Option<&'m Mapping<'t>>> {
    match mapping.value(key) {
        None => Some(None),
        Some(node) if node.is_null() => Some(None),
        Some(node) => node.mapping().map(Some),
    }
}
