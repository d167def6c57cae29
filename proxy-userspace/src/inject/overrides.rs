//! The values of annotations, as they are given by flags.

use std::{fmt, str::FromStr};

use super::subnets::SubnetList;
use crate::policy::{PortProblem, PortSet, PortSetError};

/// The longest name of a port: of a Service's. A container's has 15 characters at most.
const MAX_NAME_LEN: usize = 63;

/// What `inject` writes besides `linkerd.io/inject: enabled`; what is not given is not written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `config.linkerd.io/opaque-ports`.
    pub opaque_ports: Option<PortList>,
    /// `config.linkerd.io/skip-inbound-ports`.
    pub skip_inbound_ports: Option<PortList>,
    /// `config.linkerd.io/skip-outbound-ports`.
    pub skip_outbound_ports: Option<PortList>,
    /// `linkerd.io/skip-ports`, both directions.
    pub skip_ports: Option<PortList>,
    /// `config.linkerd.io/skip-subnets`.
    pub skip_subnets: Option<SubnetList>,
}

/// Ports, ranges and names of ports, as given; shown without spaces.
///
/// Names cannot be looked up here: they are an object's. The agent reads the same grammar from annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortList {
    entries: Vec<PortEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PortEntry {
    Ports(PortSet),
    Name(String),
}

impl PortList {
    /// The names among the entries.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match entry {
            PortEntry::Name(name) => Some(name.as_str()),
            PortEntry::Ports(_) => None,
        })
    }
}

/// # Errors
/// The first entry that is no port, range or name. The empty string is the empty list.
impl FromStr for PortList {
    type Err = PortListError;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        if list.trim_ascii().is_empty() {
            return Ok(Self { entries: Vec::new() });
        }
        let count = list.split(',').count();
        let entry = |(at, entry): (usize, &str)| {
            let entry = entry.trim_ascii();
            if entry.is_empty() {
                // Alone it would be the empty list.
                let problem = PortProblem::Missing;
                return Err(PortSetError { entry: String::new(), index: at + 1, count, problem }.into());
            }
            if is_name(entry) {
                return Ok(PortEntry::Name(entry.to_owned()));
            }
            match entry.parse() {
                Ok(ports) => Ok(PortEntry::Ports(ports)),
                Err(error) => Err(PortSetError { index: at + 1, count, ..error }.into()),
            }
        };
        Ok(Self { entries: list.split(',').enumerate().map(entry).collect::<Result<_, PortListError>>()? })
    }
}

/// Why a list of ports was refused: the entry, and what is wrong with it as a port. Names are allowed too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{as_port}{}", names_hint(&as_port.problem))]
pub struct PortListError {
    /// What is wrong with it.
    as_port: PortSetError,
}

impl From<PortSetError> for PortListError {
    fn from(as_port: PortSetError) -> Self {
        Self { as_port }
    }
}

/// What a name would be, where the entry looks more like one than like a port.
const fn names_hint(problem: &PortProblem) -> &'static str {
    match problem {
        PortProblem::NotAPort { .. } => "; the name of a port is of a-z, 0-9 and '-', with a letter in it",
        PortProblem::Missing
        | PortProblem::MissingOrName
        | PortProblem::NotAPortOrName { .. }
        | PortProblem::UnknownName { .. }
        | PortProblem::Zero { .. }
        | PortProblem::TooLarge { .. }
        | PortProblem::Signed { .. }
        | PortProblem::NotDecimal { .. }
        | PortProblem::NoComma { .. }
        | PortProblem::NoStart
        | PortProblem::NoEnd
        | PortProblem::ManyDashes { .. }
        | PortProblem::Reversed { .. } => "",
    }
}

/// Whether the text is a name that a port can have: lower case letters, digits and single dashes inside.
///
/// All digits are no name here, though Kubernetes lets a Service's port have such a one.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME_LEN
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl fmt::Display for PortList {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(out, &self.entries)
    }
}

impl fmt::Display for PortEntry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports(ports) => ports.fmt(out),
            Self::Name(name) => out.write_str(name),
        }
    }
}

/// Entries as a list without spaces.
pub(super) fn joined<T: fmt::Display>(out: &mut fmt::Formatter<'_>, entries: &[T]) -> fmt::Result {
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            out.write_str(",")?;
        }
        entry.fmt(out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(list: &str) -> Result<String, String> {
        list.parse::<PortList>().map(|list| list.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_of_ports_keeps_its_order_and_loses_its_spaces() {
        assert_eq!(ports(" 4406 , mysql,8000 - 8100,80").unwrap(), "4406,mysql,8000-8100,80");
        assert_eq!(ports("").unwrap(), "");
        assert_eq!(ports("  ").unwrap(), "");
        assert_eq!(ports("http2-alt,p").unwrap(), "http2-alt,p");
    }

    #[test]
    fn a_bad_entry_is_named_with_its_place() {
        let refused = ports("80, 80O0 ,90").unwrap_err();
        assert!(
            refused.starts_with("\"80O0\": expected a port") && refused.contains("(entry 2 of 3)"),
            "{refused}"
        );
        for bad in ["0", "65536", "9-8", "80,,90", "80,", "-mysql", "mysql-", "my_sql", "MySQL", "80 90"] {
            assert!(ports(bad).is_err(), "{bad}");
        }
        assert!(ports(&"a".repeat(64)).is_err());
    }
}
