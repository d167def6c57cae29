//! Why a text was not changed.

use super::report::Named;

/// Nothing is changed, because of one place in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: document {document}: {problem}")]
pub struct InjectError {
    /// The document of the stream; the first is 1.
    pub document: usize,
    /// The line of the text; the first is 1.
    pub line: usize,
    /// The column, in characters; the first is 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: Box<Problem>,
}

/// What is wrong: what was expected and what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not YAML, nor JSON.
    #[error("expected YAML or JSON: {message}")]
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// A key that a mapping may have once.
    #[error("expected the key {key:?} once in its mapping, got it again")]
    Duplicate {
        /// The key.
        key: String,
    },
    /// Something else where a mapping must be.
    #[error("{key}: expected a mapping, got {got}")]
    NotAMapping {
        /// Whose value it is.
        key: String,
        /// What came.
        got: &'static str,
    },
    /// What would be changed stands elsewhere.
    #[error(
        "{key}: expected a mapping of its own, got an alias: what it means is written elsewhere; write it out here"
    )]
    Alias {
        /// Whose value it is.
        key: String,
    },
    /// What would be changed counts elsewhere too.
    #[error(
        "{key}: expected a mapping that is used once, got one whose anchor is used again in line {line}: \
         a change would count there too; write it out there"
    )]
    Shared {
        /// Whose value it is.
        key: String,
        /// A line in which an alias stands.
        line: usize,
    },
    /// What would be hidden by a new key.
    #[error("expected {key:?} in the mapping itself, got it merged by '<<': write it out here")]
    Merged {
        /// The key.
        key: &'static str,
    },
    /// The name of a port that the object does not have.
    #[error(
        "--{flag}: {entry:?}: expected a port (1-65535), a range (8000-8100) or the name of a port of {object}{}, \
         got '{entry}'",
        names(known)
    )]
    UnknownPort {
        /// The flag without its dashes.
        flag: &'static str,
        /// What came.
        entry: String,
        /// The object whose port it would be.
        object: Named,
        /// The names of its ports.
        known: Vec<String>,
    },
    /// A way of writing that cannot be changed in place without changing something else.
    #[error("{key}: cannot be changed in place as it is written here; write it in the usual way")]
    Uneditable {
        /// What would be changed.
        key: String,
    },
}

/// The names that would have been right.
fn names(known: &[String]) -> String {
    if known.is_empty() {
        return ", which names none".to_owned();
    }
    format!(" ({})", known.join(", "))
}

impl InjectError {
    /// The error of a byte of the text.
    pub(super) fn at(text: &str, document: usize, offset: usize, problem: Problem) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let in_line = before.get(line_start..).unwrap_or_default();
        Self {
            document,
            line: before.matches('\n').count() + 1,
            column: in_line.trim_start_matches('\u{feff}').chars().count() + 1,
            problem: Box::new(problem),
        }
    }
}
