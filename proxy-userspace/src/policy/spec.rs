//! A list of ports that may name them, as annotations have it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZeroU16,
    ops::RangeInclusive,
    str::FromStr,
};

use super::{
    parse::{self, PortProblem, PortSetError},
    ports::PortSet,
};

/// Characters of the names that an error lists.
const LISTED_LEN: usize = 160;

/// The longest name of a port, bytes: of a Service's. A container's has 15 at most.
const NAME_LEN: usize = 63;

/// A list of ports, ranges and names; what the names mean is not known yet.
///
/// ```
/// use sluice::policy::{PortNames, PortSpec};
///
/// let spec: PortSpec = "http, 8000-8100, 9090".parse()?;
/// let names: PortNames = [("http", 80), ("http", 8080)].into_iter().collect();
/// assert_eq!(spec.resolve(&names)?.to_string(), "80,8000-8100,9090");
/// # Ok::<(), sluice::policy::PortSetError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortSpec {
    /// As written, neither sorted nor merged: an error tells which of them it is about.
    entries: Vec<PortEntry>,
}

/// One entry of a [`PortSpec`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PortEntry {
    /// A port, or several in a row; never port 0, never reversed.
    Ports(RangeInclusive<u16>),
    /// The name of one port or several.
    Name(Box<str>),
}

/// Which ports have which name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortNames {
    ports: BTreeMap<Box<str>, BTreeSet<u16>>,
}

impl PortNames {
    /// The ports of a name; none where nothing has it.
    pub fn ports(&self, name: &str) -> impl Iterator<Item = u16> + '_ {
        self.ports.get(name).into_iter().flatten().copied()
    }

    /// The names there are, as an error lists them.
    fn listed(&self) -> String {
        if self.ports.is_empty() {
            return "there is none".to_owned();
        }
        let mut listed = String::new();
        for name in self.ports.keys() {
            if listed.len() + name.len() > LISTED_LEN {
                listed.push_str(", …");
                break;
            }
            if !listed.is_empty() {
                listed.push_str(", ");
            }
            listed.push_str(name);
        }
        listed
    }
}

/// Port 0 and the empty name are left out: nothing can be said of them.
impl<'a> FromIterator<(&'a str, u16)> for PortNames {
    fn from_iter<I: IntoIterator<Item = (&'a str, u16)>>(named: I) -> Self {
        let mut ports: BTreeMap<Box<str>, BTreeSet<u16>> = BTreeMap::new();
        for (name, port) in named {
            if NonZeroU16::new(port).is_some() && !name.is_empty() {
                ports.entry(name.into()).or_default().insert(port);
            }
        }
        Self { ports }
    }
}

impl PortSpec {
    /// The entries, in the order in which they are written.
    #[must_use]
    pub fn entries(&self) -> &[PortEntry] {
        &self.entries
    }

    /// The names among the entries.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter_map(|entry| match entry {
            PortEntry::Name(name) => Some(&**name),
            PortEntry::Ports(_) => None,
        })
    }

    /// The ports that are meant, where every name is to be known.
    ///
    /// # Errors
    /// The first name that no port has, with those that there are.
    pub fn resolve(&self, names: &PortNames) -> Result<PortSet, PortSetError> {
        for (index, entry) in self.entries.iter().enumerate() {
            let PortEntry::Name(name) = entry else { continue };
            if names.ports(name).next().is_none() {
                let got = parse::shown(name);
                let problem = PortProblem::UnknownName { got: got.clone(), there: names.listed() };
                return Err(PortSetError {
                    entry: got,
                    index: index + 1,
                    count: self.entries.len(),
                    problem,
                });
            }
        }
        Ok(self.resolve_known(names))
    }

    /// The ports that are meant, where a name may be another's: one that no port has says nothing.
    #[must_use]
    pub fn resolve_known(&self, names: &PortNames) -> PortSet {
        let mut ranges = Vec::with_capacity(self.entries.len());
        for entry in &self.entries {
            match entry {
                PortEntry::Ports(range) => ranges.push(range.clone()),
                PortEntry::Name(name) => ranges.extend(names.ports(name).map(|port| port..=port)),
            }
        }
        PortSet::of_ranges(ranges)
    }
}

/// As written, without spaces.
impl fmt::Display for PortSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, entry) in self.entries.iter().enumerate() {
            if at > 0 {
                out.write_str(",")?;
            }
            match entry {
                PortEntry::Ports(range) if range.start() == range.end() => write!(out, "{}", range.start())?,
                PortEntry::Ports(range) => write!(out, "{}-{}", range.start(), range.end())?,
                PortEntry::Name(name) => out.write_str(name)?,
            }
        }
        Ok(())
    }
}

/// Entries are separated by commas, spaces may surround them, and the empty string is no port. What can be
/// read as a port or a range is one; names are of lower-case letters, digits and dashes between them, with a
/// letter, 63 characters at most.
///
/// # Errors
/// The first entry that is none of the three.
impl FromStr for PortSpec {
    type Err = PortSetError;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        Ok(Self { entries: parse::entries(list, entry)? })
    }
}

/// Reads one entry.
fn entry(entry: &str) -> Result<PortEntry, PortProblem> {
    match parse::entry(entry) {
        Ok(range) => Ok(PortEntry::Ports(range)),
        Err(_) if is_name(entry) => Ok(PortEntry::Name(entry.into())),
        Err(PortProblem::Missing) => Err(PortProblem::MissingOrName),
        Err(PortProblem::NotAPort { got }) => Err(PortProblem::NotAPortOrName { got }),
        // Dashes may have been meant as a name's.
        Err(PortProblem::ManyDashes { .. } | PortProblem::NoStart | PortProblem::NoEnd)
            if entry.contains(|char: char| char.is_ascii_alphabetic()) =>
        {
            Err(PortProblem::NotAPortOrName { got: parse::shown(entry) })
        }
        Err(problem) => Err(problem),
    }
}

/// Whether the text can be the name of a Service's port (a DNS label) or of a container's (RFC 6335). All
/// digits are no name here, though Kubernetes lets a Service's port have such a one.
fn is_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= NAME_LEN
        && text.bytes().all(fits)
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is said about a list that cannot be read.
    fn refused(list: &str) -> String {
        list.parse::<PortSpec>().unwrap_err().to_string()
    }

    /// The ports of a list, with these names.
    fn resolved(list: &str, names: &[(&str, u16)]) -> Result<String, String> {
        let spec: PortSpec = list.parse().unwrap();
        let names = names.iter().copied().collect();
        spec.resolve(&names).map(|ports| ports.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn ports_ranges_and_names_stand_side_by_side() {
        let names = [("http", 8080), ("admin-2", 9990), ("http", 80)];
        assert_eq!(resolved(" admin-2 ,http, 3000 - 3010,80", &names).unwrap(), "80,3000-3010,8080,9990");
        assert_eq!(resolved("", &names).unwrap(), "");
        assert_eq!(resolved(" ", &[]).unwrap(), "");
        assert_eq!(resolved("123-456", &[("123-456", 7)]).unwrap(), "123-456");
    }

    #[test]
    fn a_name_that_no_port_has_is_answered_with_those_that_there_are() {
        assert_eq!(
            resolved("80,metrcs,443", &[("metrics", 9090), ("http", 80)]).unwrap_err(),
            r#""metrcs": expected the name of a port that is there (http, metrics), got 'metrcs' (entry 2 of 3)"#
        );
        assert_eq!(
            resolved("http", &[]).unwrap_err(),
            r#""http": expected the name of a port that is there (there is none), got 'http' (entry 1 of 1)"#
        );
        let many: Vec<String> = (0..500).map(|number| format!("port-{number}")).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), 80)).collect();
        let error = resolved("http", &many).unwrap_err();
        assert!(error.len() < 300 && error.contains('…'), "{error}");
    }

    #[test]
    fn a_list_of_a_level_above_takes_the_names_that_are_known() {
        let spec: PortSpec = "mysql,9000".parse().unwrap();
        assert_eq!(spec.resolve_known(&PortNames::default()).to_string(), "9000");
        let names = [("mysql", 3306), ("", 1), ("nothing", 0)].into_iter().collect();
        assert_eq!(spec.resolve_known(&names).to_string(), "3306,9000");
        assert_eq!(spec.entries().len(), 2);
    }

    #[test]
    fn what_is_none_of_the_three_is_answered_with_all_of_them() {
        let expected = "expected a port (1-65535), a range (8000-8100) or a port's name";
        assert_eq!(refused("80,80O0,443"), format!(r#""80O0": {expected}, got '80O0' (entry 2 of 3)"#));
        assert_eq!(refused("8000-81O0"), format!(r#""8000-81O0": {expected}, got '81O0' (entry 1 of 1)"#));
        for bad in ["HTTP", "-http", "http-", "http_alt", "sixteen-letters-"] {
            assert!(refused(bad).contains(expected), "{bad}: {}", refused(bad));
        }
        assert_eq!(
            refused("80,,90"),
            format!(r#""": {expected}, got nothing: is there a comma too many? (entry 2 of 3)"#)
        );
        // What was meant as a number is told as in any list.
        assert!(refused("0").contains("port 0 cannot be connected to"), "{}", refused("0"));
        assert!(refused("65536").contains("above 65535"), "{}", refused("65536"));
        assert!(refused("80-70").contains("is it 70-80?"), "{}", refused("80-70"));
        assert!(refused("80 90").contains("a comma between ports"), "{}", refused("80 90"));
        assert!(refused("8000-").contains("no port after the dash"), "{}", refused("8000-"));
    }

    #[test]
    fn the_longest_name_is_that_of_a_service_s_port() {
        let longest = "x".repeat(NAME_LEN);
        assert_eq!(resolved(&longest, &[(&longest, 7)]).unwrap(), "7");
        assert!(refused(&format!("{longest}x")).contains("or a port's name"));
    }

    #[test]
    fn a_list_is_shown_as_it_was_written_but_for_its_spaces() {
        let shown = |list: &str| list.parse::<PortSpec>().unwrap().to_string();
        assert_eq!(shown(" 4406 , mysql,8000 - 8100,80"), "4406,mysql,8000-8100,80");
        assert_eq!(shown("  "), "");
    }

    proptest! {
        #[test]
        fn a_list_without_names_means_what_it_means_without_them(list in "[0-9, \\-]{0,24}") {
            let spec = list.parse::<PortSpec>().map(|spec| spec.resolve(&PortNames::default()).unwrap());
            let ports = list.parse::<PortSet>();
            prop_assert_eq!(spec.is_ok(), ports.is_ok());
            if let (Ok(spec), Ok(ports)) = (spec, ports) {
                prop_assert_eq!(spec, ports);
            }
        }

        #[test]
        fn whatever_is_written_is_read_or_refused(list in "[a-z0-9A-Z, _\\-]{0,40}|.{0,40}") {
            match list.parse::<PortSpec>() {
                Ok(spec) => {
                    let ports = spec.resolve_known(&PortNames::default());
                    prop_assert!(!ports.contains(0));
                }
                Err(error) => prop_assert!(error.index >= 1 && error.index <= error.count),
            }
        }
    }
}
