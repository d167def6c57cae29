//! Lines of a text, and changes to it that touch nothing else.

use std::ops::Range;

/// Changes to one text, applied together.
#[derive(Debug, Default)]
pub(super) struct Edits {
    replaced: Vec<(Range<usize>, String)>,
    removed_lines: Vec<Range<usize>>,
}

impl Edits {
    pub(super) fn insert(&mut self, at: usize, what: String) {
        self.replaced.push((at..at, what));
    }

    pub(super) fn replace(&mut self, range: Range<usize>, with: String) {
        self.replaced.push((range, with));
    }

    /// Inserts whole lines after the one in which `offset` stands. Each of `lines` ends in the text's line end.
    pub(super) fn insert_lines_after(&mut self, text: &str, offset: usize, lines: &str) {
        let end = line_end(text, offset);
        if text[..end].ends_with('\n') {
            self.insert(end, lines.to_owned());
        } else {
            let newline = newline_at(text, offset);
            self.insert(end, format!("{newline}{}", lines.strip_suffix(newline).unwrap_or(lines)));
        }
    }

    /// Removes the lines in which the range stands.
    pub(super) fn remove_lines(&mut self, text: &str, range: &Range<usize>) {
        self.removed_lines.push(line_start(text, range.start)..line_end(text, range.end));
    }

    /// Adds another object's changes.
    pub(super) fn extend(&mut self, others: &Self) {
        self.replaced.extend_from_slice(&others.replaced);
        self.removed_lines.extend_from_slice(&others.removed_lines);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.replaced.is_empty() && self.removed_lines.is_empty()
    }

    /// The changed text; `None` where two changes meet.
    pub(super) fn apply(self, text: &str) -> Option<String> {
        let mut changes = self.replaced;
        changes.extend(whole(text, self.removed_lines).into_iter().map(|range| (range, String::new())));
        // Stable: what is inserted at one place stays in its order.
        changes.sort_by_key(|(range, _)| (range.start, range.end));
        let mut changed = String::with_capacity(text.len() + 256);
        let mut done = 0;
        for (range, with) in changes {
            changed.push_str(text.get(done..range.start)?);
            changed.push_str(&with);
            done = range.end;
        }
        changed.push_str(text.get(done..)?);
        Some(changed)
    }
}

/// Lines to remove, joined where they touch. Where the last has no line end, the one before them goes with it.
fn whole(text: &str, mut lines: Vec<Range<usize>>) -> Vec<Range<usize>> {
    lines.sort_by_key(|range| (range.start, range.end));
    let mut joined: Vec<Range<usize>> = Vec::new();
    for range in lines {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    if let Some(last) = joined.last_mut()
        && last.end == text.len()
        && !text.ends_with('\n')
    {
        let before = &text[..last.start];
        let kept = before.strip_suffix("\r\n").or_else(|| before.strip_suffix('\n')).unwrap_or(before);
        last.start = kept.len();
    }
    joined
}

/// Where the line of this byte begins.
pub(super) fn line_start(text: &str, offset: usize) -> usize {
    text[..offset].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Where the line of this byte ends, behind its line end.
pub(super) fn line_end(text: &str, offset: usize) -> usize {
    text[offset..].find('\n').map_or(text.len(), |newline| offset + newline + 1)
}

/// The line end of the line of this byte, or of the text's first line.
pub(super) fn newline_at(text: &str, offset: usize) -> &'static str {
    let end = line_end(text, offset);
    let line = &text[..end];
    let line = if line.ends_with('\n') { line } else { &text[..line_end(text, 0)] };
    if line.ends_with("\r\n") { "\r\n" } else { "\n" }
}

/// What stands before this byte in its line; a byte order mark does not count.
pub(super) fn before_in_line(text: &str, offset: usize) -> &str {
    text[line_start(text, offset)..offset].trim_start_matches('\u{feff}')
}

/// Whether nothing but spaces stands before this byte in its line.
pub(super) fn is_first_in_line(text: &str, offset: usize) -> bool {
    before_in_line(text, offset).bytes().all(|byte| byte == b' ')
}

/// In which column the byte stands; the first is 0.
pub(super) fn column(text: &str, offset: usize) -> usize {
    before_in_line(text, offset).chars().count()
}

/// The white space at the beginning of the line of this byte.
pub(super) fn indent_of_line(text: &str, offset: usize) -> &str {
    let line = &text[line_start(text, offset)..];
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removing_the_last_line_leaves_a_text_that_ends_as_before() {
        for (text, expected) in
            [("a\nb\nc", "a"), ("a\nb\nc\n", "a\n"), ("a\r\nb\r\nc", "a"), ("a\r\nb\r\nc\r\n", "a\r\n")]
        {
            let mut edits = Edits::default();
            for line in ["b", "c"] {
                let at = text.find(line).unwrap();
                edits.remove_lines(text, &(at..at + 1));
            }
            assert_eq!(edits.apply(text).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn lines_that_are_inserted_after_a_last_line_without_end_have_none_either() {
        for (text, lines, expected) in
            [("a", "b\nc\n", "a\nb\nc"), ("a\n", "b\n", "a\nb\n"), ("x\r\na", "b\r\n", "x\r\na\r\nb")]
        {
            let mut edits = Edits::default();
            edits.insert_lines_after(text, text.find('a').unwrap(), lines);
            assert_eq!(edits.apply(text).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn changes_that_meet_are_refused() {
        let mut edits = Edits::default();
        edits.replace(0..3, "x".into());
        edits.replace(2..4, "y".into());
        assert_eq!(edits.apply("abcdef"), None);
    }
}
