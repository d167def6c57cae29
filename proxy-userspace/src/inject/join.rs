//! Several texts as one stream of documents.

use super::tree::json_values;

/// Joins texts, each of which can be read, so that their documents stay apart. A single text stays as it is.
///
/// kubectl (1.32) reads a stream as JSON or as YAML, as its first character is. As JSON it wants no separators; as
/// YAML it takes the first value of JSON between two of them, and drops the others without a word.
#[must_use]
pub fn join(texts: &[String]) -> String {
    if let [text] = texts {
        return text.clone();
    }
    let is_json = |text: &String| json_values(text).is_some();
    let all_json = texts.iter().all(is_json);
    let mut joined = String::new();
    for text in texts {
        // A byte order mark belongs at the beginning of a stream.
        let text = text.trim_start_matches('\u{feff}');
        match json_values(text) {
            Some(_) if all_json => push_document(&mut joined, "", text),
            Some(values) => {
                values.into_iter().for_each(|value| push_document(&mut joined, "---\n", text[value].trim()));
            }
            None => {
                let separator = separator(&joined, text);
                push_document(&mut joined, separator, text);
            }
        }
    }
    joined
}

fn push_document(joined: &mut String, separator: &str, text: &str) {
    if !joined.is_empty() && !joined.ends_with('\n') {
        joined.push('\n');
    }
    joined.push_str(separator);
    joined.push_str(text);
}

/// What a text in YAML needs before it.
fn separator(joined: &str, text: &str) -> &'static str {
    let is_said = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    match text.lines().find(is_said) {
        _ if joined.is_empty() => "",
        // After the end of a document alone can there be directives.
        Some(line) if line.starts_with('%') => "...\n",
        Some(line) if line.trim_end() == "---" || line.starts_with("--- ") => "",
        _ => "---\n",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(texts: &[&str]) -> String {
        join(&texts.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn documents_of_several_texts_stay_apart() {
        assert_eq!(joined(&["a: 1", "b: 2"]), "a: 1\n---\nb: 2");
        assert_eq!(joined(&["a: 1\n", "# c\n---\nb: 2\n"]), "a: 1\n# c\n---\nb: 2\n");
        assert_eq!(joined(&["a: 1\n", "%YAML 1.2\n---\nb: 2\n"]), "a: 1\n...\n%YAML 1.2\n---\nb: 2\n");
        assert_eq!(joined(&["# c\n", "b: 2\n"]), "# c\n---\nb: 2\n");
        assert_eq!(joined(&[]), "");
    }

    #[test]
    fn a_single_text_stays_as_it_is() {
        for text in ["a: 1", "\u{feff}a: 1\r\n", "{\"a\": 1}{\"b\": 2}", ""] {
            assert_eq!(joined(&[text]), text);
        }
    }

    #[test]
    fn json_alone_has_no_separators_and_beside_yaml_each_value_has_one() {
        assert_eq!(joined(&["{\"a\": 1}", "{\"b\": 2}{\"c\": 3}\n"]), "{\"a\": 1}\n{\"b\": 2}{\"c\": 3}\n");
        assert_eq!(
            joined(&["\u{feff}{\"a\": 1}\n{\"b\": 2}", "c: 3\n", "{\"d\": 4}\n"]),
            "---\n{\"a\": 1}\n---\n{\"b\": 2}\n---\nc: 3\n---\n{\"d\": 4}"
        );
    }
}
