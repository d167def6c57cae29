//! A stream of YAML documents as a tree in which every node knows its place in the text.

use std::{borrow::Cow, ops::Range};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StructureStyle, Tag};

use super::error::{InjectError, Problem};

/// One document.
#[derive(Debug)]
pub(super) struct Document<'t> {
    /// Whether it begins with `---`.
    pub(super) is_explicit: bool,
    pub(super) root: Node<'t>,
}

/// A value, and where it stands.
#[derive(Debug)]
pub(super) struct Node<'t> {
    /// Bytes of the text, without anchor and tag. Of a block mapping or sequence, the start alone is exact.
    pub(super) span: Range<usize>,
    /// The number of its anchor.
    pub(super) anchor: Option<usize>,
    pub(super) tag: Option<String>,
    pub(super) content: Content<'t>,
}

#[derive(Debug)]
pub(super) enum Content<'t> {
    Scalar {
        value: Cow<'t, str>,
        style: ScalarStyle,
    },
    Sequence(Vec<Node<'t>>),
    Mapping(Mapping<'t>),
    /// The anchor that it means, by its number.
    Alias(usize),
}

#[derive(Debug)]
pub(super) struct Mapping<'t> {
    /// Whether it is written in braces.
    pub(super) is_flow: bool,
    pub(super) entries: Vec<Entry<'t>>,
}

#[derive(Debug)]
pub(super) struct Entry<'t> {
    pub(super) key: Node<'t>,
    pub(super) value: Node<'t>,
}

impl<'t> Node<'t> {
    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar { value, .. } => Some(value),
            Content::Sequence(_) | Content::Mapping(_) | Content::Alias(_) => None,
        }
    }

    pub(super) fn mapping(&self) -> Option<&Mapping<'t>> {
        match &self.content {
            Content::Mapping(mapping) => Some(mapping),
            Content::Scalar { .. } | Content::Sequence(_) | Content::Alias(_) => None,
        }
    }

    pub(super) fn sequence(&self) -> Option<&[Node<'t>]> {
        match &self.content {
            Content::Sequence(items) => Some(items),
            Content::Scalar { .. } | Content::Mapping(_) | Content::Alias(_) => None,
        }
    }

    /// A plain scalar that means nothing: `~`, `null`, or no text at all.
    pub(super) fn is_null(&self) -> bool {
        self.is_plain()
            && self.tag.is_none()
            && matches!(self.scalar(), Some("" | "~" | "null" | "Null" | "NULL"))
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self.content, Content::Scalar { style: ScalarStyle::Plain, .. })
    }

    pub(super) fn is_double_quoted(&self) -> bool {
        matches!(self.content, Content::Scalar { style: ScalarStyle::DoubleQuoted, .. })
    }

    /// What it is, for a message.
    pub(super) const fn noun(&self) -> &'static str {
        match self.content {
            Content::Scalar { .. } => "a scalar",
            Content::Sequence(_) => "a sequence",
            Content::Mapping(_) => "a mapping",
            Content::Alias(_) => "an alias",
        }
    }

    /// Where its last character ends. White space that a parser counts to it does not count.
    pub(super) fn end(&self, text: &str) -> usize {
        match &self.content {
            Content::Mapping(Mapping { is_flow: false, entries }) => match entries.last() {
                Some(entry) => entry.end(text),
                None => self.span.end,
            },
            Content::Scalar { .. } | Content::Alias(_) | Content::Mapping(_) => {
                let written = text.get(self.span.clone()).unwrap_or_default();
                self.span.start + written.trim_end().len()
            }
            Content::Sequence(items) => {
                items.iter().map(|item| item.end(text)).max().unwrap_or(0).max(self.span.end)
            }
        }
    }

    /// The node with this anchor, here or below.
    pub(super) fn anchored(&self, anchor: usize) -> Option<&Self> {
        self.walk().find(|node| node.anchor == Some(anchor))
    }

    /// This node and all below it, in the order of the text.
    pub(super) fn walk(&self) -> impl Iterator<Item = &Self> {
        let mut rest = vec![self];
        std::iter::from_fn(move || {
            let node = rest.pop()?;
            match &node.content {
                Content::Scalar { .. } | Content::Alias(_) => {}
                Content::Sequence(items) => rest.extend(items.iter().rev()),
                Content::Mapping(mapping) => {
                    rest.extend(mapping.entries.iter().rev().flat_map(|entry| [&entry.value, &entry.key]));
                }
            }
            Some(node)
        })
    }
}

impl Entry<'_> {
    /// Where its last character ends.
    pub(super) fn end(&self, text: &str) -> usize {
        self.key.end(text).max(self.value.end(text))
    }
}

impl<'t> Mapping<'t> {
    /// The entry with this key; the last one, where it is there twice.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry<'t>> {
        self.entries.iter().rfind(|entry| entry.key.scalar() == Some(key))
    }

    pub(super) fn value(&self, key: &str) -> Option<&Node<'t>> {
        self.entry(key).map(|entry| &entry.value)
    }
}

/// Reads the documents of a text.
///
/// # Errors
/// The first place at which it is not YAML.
pub(super) fn parse(text: &str) -> Result<Vec<Document<'_>>, InjectError> {
    let mut documents = Vec::new();
    match json_values(text) {
        Some(values) => values.into_iter().try_for_each(|part| parse_part(text, part, &mut documents))?,
        None => parse_part(text, 0..text.len(), &mut documents)?,
    }
    Ok(documents)
}

/// The values of a text in JSON, which may hold several without a separator; YAML has no such thing. `None` where
/// the text is not JSON.
pub(super) fn json_values(text: &str) -> Option<Vec<Range<usize>>> {
    let json = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !json.trim_start().starts_with('{') {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(json).into_iter::<serde::de::IgnoredAny>();
    let mut parts = Vec::new();
    let mut start = 0;
    while let Some(value) = values.next() {
        value.ok()?;
        let end = text.len() - json.len() + values.byte_offset();
        parts.push(start..end);
        start = end;
    }
    Some(parts)
}

fn parse_part<'t>(
    text: &'t str,
    part: Range<usize>,
    documents: &mut Vec<Document<'t>>,
) -> Result<(), InjectError> {
    let options = granit_parser::options! { emit_comments: false };
    let mut builder = Builder { base: part.start, open: Vec::new(), documents };
    let written = text.get(part).unwrap_or_default();
    for event in Parser::new_from_str_with_options(written, options) {
        let (event, span) = event.map_err(|error| builder.refuse(text, &error))?;
        builder.take(event, &span);
    }
    Ok(())
}

struct Builder<'t, 'd> {
    /// Where the part begins in the text.
    base: usize,
    open: Vec<Open<'t>>,
    documents: &'d mut Vec<Document<'t>>,
}

/// A sequence or a mapping whose end is to come.
struct Open<'t> {
    node: Node<'t>,
    /// The key that waits for its value.
    key: Option<Node<'t>>,
}

impl<'t> Builder<'t, '_> {
    fn refuse(&self, text: &str, error: &ScanError) -> InjectError {
        let at = self.base + error.marker().byte_offset().unwrap_or(0);
        // Before the first document's start there is none to count.
        let number = self.documents.len().max(1);
        InjectError::at(text, number, at, Problem::Syntax { message: error.info() })
    }

    fn take(&mut self, event: Event<'t>, span: &Span) {
        let start = self.base + span.start.byte_offset().unwrap_or(0);
        let end = self.base + span.end.byte_offset().unwrap_or(0);
        let node = |anchor: usize, tag: Option<Cow<'_, Tag>>, content| Node {
            span: start..end,
            anchor: (anchor != 0).then_some(anchor),
            tag: tag.map(|tag| tag.to_string()),
            content,
        };
        match event {
            Event::DocumentStart(is_explicit, _) => {
                let nothing = Content::Scalar { value: Cow::Borrowed(""), style: ScalarStyle::Plain };
                self.documents.push(Document { is_explicit, root: node(0, None, nothing) });
            }
            Event::Scalar(value, style, anchor, tag) => {
                self.close(node(anchor, tag, Content::Scalar { value, style }));
            }
            Event::Alias(target) => self.close(node(0, None, Content::Alias(target))),
            Event::SequenceStart(_, anchor, tag) => {
                let node = node(anchor, tag, Content::Sequence(Vec::new()));
                self.open.push(Open { node, key: None });
            }
            Event::MappingStart(style, anchor, tag) => {
                let is_flow = style == StructureStyle::Flow;
                let content = Content::Mapping(Mapping { is_flow, entries: Vec::new() });
                self.open.push(Open { node: node(anchor, tag, content), key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { mut node, .. }) = self.open.pop() {
                    // Those of block style end where something else begins.
                    if start != end {
                        node.span.end = end;
                    }
                    self.close(node);
                }
            }
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentEnd
            // What only comes where it is asked for.
            | Event::Anchor(..)
            | Event::UnresolvedAlias(_)
            | Event::Comment(..)
            | _ => {}
        }
    }

    /// A node is complete: it belongs to what is open, or is the document's root.
    fn close(&mut self, node: Node<'t>) {
        let Some(parent) = self.open.last_mut() else {
            if let Some(document) = self.documents.last_mut() {
                document.root = node;
            }
            return;
        };
        match (&mut parent.node.content, parent.key.take()) {
            (Content::Sequence(items), _) => items.push(node),
            (Content::Mapping(_), None) => parent.key = Some(node),
            (Content::Mapping(mapping), Some(key)) => mapping.entries.push(Entry { key, value: node }),
            (Content::Scalar { .. } | Content::Alias(_), _) => {}
        }
    }
}
