//! One document, as it is read: aliases and merges lead where they lead in YAML.

use super::{
    error::{InjectError, Problem},
    tree::{Content, Entry, Mapping, Node},
};

/// How many aliases are followed from one place: a ring of them ends.
const MAX_ALIASES: usize = 16;
/// How many mappings are looked into for one key: merges of merges of merges end.
const MAX_MERGED: usize = 256;
/// The key whose value's entries count as the mapping's own.
const MERGE: &str = "<<";

/// One document of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a, 't> {
    pub(super) text: &'t str,
    /// The document of the stream; the first is 1.
    pub(super) number: usize,
    pub(super) root: &'a Node<'t>,
}

impl<'a, 't> Source<'a, 't> {
    pub(super) fn error(&self, at: &Node<'_>, problem: Problem) -> InjectError {
        InjectError::at(self.text, self.number, at.span.start, problem)
    }

    /// What the node is, or what the alias means.
    pub(super) fn resolve(&self, node: &'a Node<'t>) -> Option<&'a Node<'t>> {
        let mut node = node;
        for _ in 0..MAX_ALIASES {
            let Content::Alias(target) = node.content else { return Some(node) };
            node = self.root.anchored(target)?;
        }
        None
    }

    /// The value of the key: the mapping's own, or a merged one.
    pub(super) fn value(&self, node: &'a Node<'t>, key: &str) -> Option<&'a Node<'t>> {
        let mut left = MAX_MERGED;
        self.value_within(node, key, &mut left)
    }

    fn value_within(&self, node: &'a Node<'t>, key: &str, left: &mut usize) -> Option<&'a Node<'t>> {
        *left = left.checked_sub(1)?;
        let mapping = self.resolve(node)?.mapping()?;
        if let Some(own) = mapping.value(key) {
            return self.resolve(own);
        }
        let merged = self.resolve(mapping.value(MERGE)?)?;
        match merged.sequence() {
            Some(several) => several.iter().find_map(|one| self.value_within(one, key, left)),
            None => self.value_within(merged, key, left),
        }
    }

    /// The value of a path of keys.
    pub(super) fn path(&self, node: &'a Node<'t>, keys: &[&str]) -> Option<&'a Node<'t>> {
        keys.iter().try_fold(node, |node, key| self.value(node, key))
    }

    /// The text of a scalar at a path of keys.
    pub(super) fn scalar(&self, node: &'a Node<'t>, keys: &[&str]) -> Option<&'a str> {
        self.path(node, keys)?.scalar()
    }

    /// The mapping's own entry, to change it or what is in it.
    ///
    /// # Errors
    /// The key is there twice, or a merge has it, so that one of the mapping's own would hide it.
    pub(super) fn own(
        &self,
        node: &'a Node<'t>,
        mapping: &'a Mapping<'t>,
        key: &'static str,
    ) -> Result<Option<&'a Entry<'t>>, InjectError> {
        let mut entries = mapping.entries.iter().filter(|entry| entry.key.scalar() == Some(key));
        let first = entries.next();
        if let Some(again) = entries.next() {
            return Err(self.error(&again.key, Problem::Duplicate { key: key.to_owned() }));
        }
        if first.is_none() && self.value(node, key).is_some() {
            return Err(self.error(node, Problem::Merged { key }));
        }
        Ok(first)
    }

    /// The entry's value as a mapping to change; `None` where it is null.
    ///
    /// # Errors
    /// It is something else, or stands elsewhere, or counts elsewhere too.
    pub(super) fn mapping_of(&self, entry: &'a Entry<'t>) -> Result<Option<&'a Mapping<'t>>, InjectError> {
        let key = || entry.key.scalar().unwrap_or_default().to_owned();
        self.refuse_shared(&entry.value, key)?;
        match &entry.value.content {
            Content::Mapping(mapping) => Ok(Some(mapping)),
            Content::Alias(_) => Err(self.error(&entry.value, Problem::Alias { key: key() })),
            Content::Scalar { .. } if entry.value.is_null() => Ok(None),
            Content::Scalar { .. } | Content::Sequence(_) => {
                let got = entry.value.noun();
                Err(self.error(&entry.value, Problem::NotAMapping { key: key(), got }))
            }
        }
    }

    /// # Errors
    /// The node has an anchor that an alias means.
    pub(super) fn refuse_shared(
        &self,
        node: &Node<'t>,
        key: impl FnOnce() -> String,
    ) -> Result<(), InjectError> {
        let Some(anchor) = node.anchor else { return Ok(()) };
        let means = |node: &&Node<'_>| matches!(node.content, Content::Alias(target) if target == anchor);
        let Some(alias) = self.root.walk().find(means) else { return Ok(()) };
        let line = self.text[..alias.span.start].matches('\n').count() + 1;
        Err(self.error(node, Problem::Shared { key: key(), line }))
    }
}
