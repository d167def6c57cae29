//! How a list of ports is read, and what is said about one that cannot be.

use std::ops::RangeInclusive;

/// The longest piece of a bad entry that is repeated in an error, characters.
const SHOWN_LEN: usize = 40;

/// Why a list of ports was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{entry:?}: {problem} (entry {index} of {count})")]
pub struct PortSetError {
    /// The bad entry without surrounding spaces, cut where it is long.
    pub entry: String,
    /// Which entry it is; the first is 1.
    pub index: usize,
    /// How many entries the list has.
    pub count: usize,
    /// What is wrong with it.
    pub problem: PortProblem,
}

/// What is wrong with one entry of a list of ports: what was expected and what came.
///
/// Each `got` is the part of the entry that cannot be read, cut where it is long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortProblem {
    /// Nothing stands between two commas, or beside a comma at an end of the list.
    #[error("expected a port (1-65535) or a range (8000-8100), got nothing: is there a comma too many?")]
    Missing,
    /// As [`Self::Missing`], in a list that may have names.
    #[error(
        "expected a port (1-65535), a range (8000-8100) or a port's name, got nothing: is there a comma too many?"
    )]
    MissingOrName,
    /// Something other than digits.
    #[error("expected a port (1-65535) or a range (8000-8100), got '{}'", got.escape_debug())]
    NotAPort {
        /// What came.
        got: String,
    },
    /// As [`Self::NotAPort`], in a list that may have names.
    #[error("expected a port (1-65535), a range (8000-8100) or a port's name, got '{}'", got.escape_debug())]
    NotAPortOrName {
        /// What came.
        got: String,
    },
    /// A name that no port has.
    #[error("expected the name of a port that is there ({there}), got '{}'", got.escape_debug())]
    UnknownName {
        /// What came.
        got: String,
        /// The names that there are, with commas between them, or that there is none.
        there: String,
    },
    /// Port 0, which TCP does not have.
    #[error("expected a port (1-65535), got '{}': port 0 cannot be connected to", got.escape_debug())]
    Zero {
        /// What came.
        got: String,
    },
    /// A number above 65535.
    #[error("expected a port (1-65535), got '{}', which is above 65535", got.escape_debug())]
    TooLarge {
        /// What came.
        got: String,
    },
    /// A number with a plus sign.
    #[error("expected a port (1-65535), got '{}': write it without the sign", got.escape_debug())]
    Signed {
        /// What came.
        got: String,
    },
    /// A number in hexadecimal, octal or binary notation.
    #[error("expected a port (1-65535) in decimal, got '{}'", got.escape_debug())]
    NotDecimal {
        /// What came.
        got: String,
    },
    /// Two ports with only a space between them.
    #[error("expected a comma between ports, got '{}'", got.escape_debug())]
    NoComma {
        /// What came.
        got: String,
    },
    /// A dash with nothing before it.
    #[error("expected a range with both its ends (8000-8100), got no port before the dash")]
    NoStart,
    /// A dash with nothing after it.
    #[error("expected a range with both its ends (8000-8100), got no port after the dash")]
    NoEnd,
    /// More than one dash.
    #[error("expected a range with one dash (8000-8100), got {dashes} dashes")]
    ManyDashes {
        /// How many there are.
        dashes: usize,
    },
    /// A range that ends before it starts.
    #[error(
        "expected a range that ends where it starts or after it, got {start} to {end}: is it {end}-{start}?"
    )]
    Reversed {
        /// The first port as written.
        start: u16,
        /// The last port as written.
        end: u16,
    },
}

/// Reads a list; the ranges are as written, neither sorted nor merged.
pub(super) fn list(list: &str) -> Result<Vec<RangeInclusive<u16>>, PortSetError> {
    entries(list, entry)
}

/// Reads a list whose entries are read by `entry`; each comes without surrounding spaces.
pub(super) fn entries<T>(
    list: &str,
    entry: impl Fn(&str) -> Result<T, PortProblem>,
) -> Result<Vec<T>, PortSetError> {
    if list.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let read = |(index, written): (usize, &str)| {
        let written = written.trim_ascii();
        entry(written).map_err(|problem| PortSetError {
            entry: shown(written),
            index: index + 1,
            count: list.split(',').count(),
            problem,
        })
    };
    list.split(',').enumerate().map(read).collect()
}

/// Reads one entry: a port or a range.
pub(super) fn entry(entry: &str) -> Result<RangeInclusive<u16>, PortProblem> {
    if entry.is_empty() {
        return Err(PortProblem::Missing);
    }
    let Some((start, end)) = entry.split_once('-') else {
        return port(entry).map(|port| port..=port);
    };
    let (start, end) = (start.trim_ascii(), end.trim_ascii());
    if end.contains('-') {
        return Err(PortProblem::ManyDashes { dashes: entry.matches('-').count() });
    }
    if start.is_empty() {
        return Err(PortProblem::NoStart);
    }
    if end.is_empty() {
        return Err(PortProblem::NoEnd);
    }
    let (start, end) = (port(start)?, port(end)?);
    if end < start {
        return Err(PortProblem::Reversed { start, end });
    }
    Ok(start..=end)
}

/// Reads one port; the text is not empty and has no surrounding spaces.
fn port(text: &str) -> Result<u16, PortProblem> {
    let all = |accepted: fn(char) -> bool| text.chars().all(accepted);
    if all(|char| char.is_ascii_digit()) {
        return match text.parse() {
            Ok(0) => Err(PortProblem::Zero { got: shown(text) }),
            Ok(port) => Ok(port),
            // Nothing but digits, so it can only be too large.
            Err(_) => Err(PortProblem::TooLarge { got: shown(text) }),
        };
    }
    let got = shown(text);
    if all(|char| char.is_ascii_digit() || char.is_ascii_whitespace()) {
        return Err(PortProblem::NoComma { got });
    }
    if text.strip_prefix('+').is_some_and(|rest| is_number(rest, 10)) {
        return Err(PortProblem::Signed { got });
    }
    let lower = text.to_ascii_lowercase();
    if [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .any(|(prefix, radix)| lower.strip_prefix(prefix).is_some_and(|rest| is_number(rest, radix)))
    {
        return Err(PortProblem::NotDecimal { got });
    }
    Err(PortProblem::NotAPort { got })
}

/// Whether the text is one or more digits of the radix.
fn is_number(text: &str, radix: u32) -> bool {
    !text.is_empty() && text.chars().all(|char| char.is_digit(radix))
}

/// The text as an error repeats it.
pub(super) fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let mut shown: String = chars.by_ref().take(SHOWN_LEN).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is said about a list that cannot be read.
    fn refused(text: &str) -> String {
        list(text).unwrap_err().to_string()
    }

    #[test]
    fn a_bad_entry_is_named_with_its_place_in_the_list() {
        assert_eq!(
            refused("80,80O0,443"),
            r#""80O0": expected a port (1-65535) or a range (8000-8100), got '80O0' (entry 2 of 3)"#
        );
        assert_eq!(
            refused("8000-81O0"),
            r#""8000-81O0": expected a port (1-65535) or a range (8000-8100), got '81O0' (entry 1 of 1)"#
        );
    }

    #[test]
    fn every_way_to_write_a_port_wrong_is_told_apart() {
        let problem = |text: &str| list(text).unwrap_err().problem;
        let got = |text: &str| text.to_owned();
        for text in ["abc", "http", "80.5", "８０", "80;90", "1e3", "80/tcp", "0x", "+", "8\u{0}"] {
            assert_eq!(problem(text), PortProblem::NotAPort { got: got(text) });
        }
        assert_eq!(problem("0"), PortProblem::Zero { got: got("0") });
        assert_eq!(problem("0-80"), PortProblem::Zero { got: got("0") });
        assert_eq!(problem("65536"), PortProblem::TooLarge { got: got("65536") });
        assert_eq!(
            problem("1-99999999999999999999999"),
            PortProblem::TooLarge { got: got("99999999999999999999999") }
        );
        assert_eq!(problem("80-70"), PortProblem::Reversed { start: 80, end: 70 });
        assert_eq!(problem("8000-"), PortProblem::NoEnd);
        assert_eq!(problem("-80"), PortProblem::NoStart);
        assert_eq!(problem("-"), PortProblem::NoStart);
        assert_eq!(problem("1-2-3"), PortProblem::ManyDashes { dashes: 2 });
        assert_eq!(problem("0x50"), PortProblem::NotDecimal { got: got("0x50") });
        assert_eq!(problem("0b101"), PortProblem::NotDecimal { got: got("0b101") });
        assert_eq!(problem("+80"), PortProblem::Signed { got: got("+80") });
        assert_eq!(problem("80 90"), PortProblem::NoComma { got: got("80 90") });
    }

    #[test]
    fn what_is_said_about_each_mistake_says_what_to_write_instead() {
        assert_eq!(
            refused("0"),
            r#""0": expected a port (1-65535), got '0': port 0 cannot be connected to (entry 1 of 1)"#
        );
        assert_eq!(
            refused("65536"),
            r#""65536": expected a port (1-65535), got '65536', which is above 65535 (entry 1 of 1)"#
        );
        assert_eq!(
            refused("80-70"),
            r#""80-70": expected a range that ends where it starts or after it, got 80 to 70: is it 70-80? (entry 1 of 1)"#
        );
        assert_eq!(
            refused("+80"),
            r#""+80": expected a port (1-65535), got '+80': write it without the sign (entry 1 of 1)"#
        );
    }

    #[test]
    fn an_empty_entry_is_an_error_wherever_it_stands() {
        for (text, index, count) in
            [("80,,90", 2, 3), ("80,", 2, 2), (",80", 1, 2), (",", 1, 2), ("80, ,90", 2, 3)]
        {
            let expected = PortSetError { entry: String::new(), index, count, problem: PortProblem::Missing };
            assert_eq!(list(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn a_long_or_unprintable_entry_is_shown_cut_and_escaped() {
        let error = refused(&format!("80\n{}", "x".repeat(100_000)));
        assert!(error.len() < 250, "{}", error.len());
        assert!(error.contains(r"80\nxxx") && error.contains('…'), "{error}");
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_or_refused_and_never_holds_port_0(text in "[0-9, +x\\-]{0,30}|.{0,30}") {
            match list(&text) {
                Ok(ranges) => prop_assert!(ranges.iter().all(|range| *range.start() > 0 && range.start() <= range.end())),
                Err(error) => prop_assert!(error.index >= 1 && error.index <= error.count),
            }
        }
    }
}
