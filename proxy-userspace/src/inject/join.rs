//! Several texts as one stream of documents.

/// Joins texts, each of which can be read, so that their documents stay apart. A single text stays as it is.
#[must_use]
pub fn join(texts: &[String]) -> String {
    let mut joined = String::new();
    for (at, text) in texts.iter().enumerate() {
        if at == 0 {
            joined.push_str(text);
            continue;
        }
        if !joined.is_empty() && !joined.ends_with('\n') {
            joined.push('\n');
        }
        // A byte order mark belongs at the beginning of a stream.
        let text = text.trim_start_matches('\u{feff}');
        match beginning(text) {
            Beginning::Marker => {}
            // After the end of a document alone can there be directives.
            Beginning::Directive => joined.push_str("...\n"),
            Beginning::Content => joined.push_str("---\n"),
        }
        joined.push_str(text);
    }
    joined
}

enum Beginning {
    Marker,
    Directive,
    Content,
}

/// What the first line is that is neither blank nor a comment.
fn beginning(text: &str) -> Beginning {
    let is_said = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    match text.lines().find(is_said) {
        Some(line) if line.starts_with('%') => Beginning::Directive,
        Some(line) if line.trim_end() == "---" || line.starts_with("--- ") => Beginning::Marker,
        _ => Beginning::Content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_several_texts_stay_apart() {
        let join = |texts: &[&str]| join(&texts.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(join(&["a: 1"]), "a: 1");
        assert_eq!(join(&["a: 1", "b: 2"]), "a: 1\n---\nb: 2");
        assert_eq!(join(&["a: 1\n", "# c\n---\nb: 2\n"]), "a: 1\n# c\n---\nb: 2\n");
        assert_eq!(join(&["a: 1\n", "%YAML 1.2\n---\nb: 2\n"]), "a: 1\n...\n%YAML 1.2\n---\nb: 2\n");
        assert_eq!(join(&["a: 1\n", "\u{feff}{\"b\": 2}"]), "a: 1\n---\n{\"b\": 2}");
        assert_eq!(join(&[]), "");
    }
}
