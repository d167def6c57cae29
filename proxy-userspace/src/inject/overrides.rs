//! The values of annotations, as they are given by flags.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

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

fn joined<T: fmt::Display>(out: &mut fmt::Formatter<'_>, entries: &[T]) -> fmt::Result {
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 {
            out.write_str(",")?;
        }
        entry.fmt(out)?;
    }
    Ok(())
}

/// Networks, as given; shown without spaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubnetList {
    entries: Vec<Subnet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subnet {
    network: IpAddr,
    prefix_len: u8,
}

/// Why a list of networks was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{entry:?}: {problem} (entry {index} of {count})")]
pub struct SubnetListError {
    /// The bad entry without surrounding spaces.
    pub entry: String,
    /// Which entry it is; the first is 1.
    pub index: usize,
    /// How many entries the list has.
    pub count: usize,
    /// What is wrong with it.
    pub problem: SubnetProblem,
}

/// What is wrong with one entry of a list of networks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubnetProblem {
    /// No address and prefix length.
    #[error("expected a network (10.0.0.0/8 or fd00::/8), got '{}'", got.escape_debug())]
    NotANetwork {
        /// What came.
        got: String,
    },
    /// An address alone.
    #[error("expected a network (10.0.0.0/8 or fd00::/8), got an address: is it {address}/{bits}?")]
    NoPrefixLen {
        /// What came.
        address: IpAddr,
        /// The prefix length of a single address.
        bits: u8,
    },
    /// A prefix that is longer than an address.
    #[error("expected a prefix length of 0 to {bits}, got {got}")]
    TooLong {
        /// What came.
        got: u8,
        /// The longest there is.
        bits: u8,
    },
    /// An address inside a network, instead of the network's.
    #[error("expected a network's own address, got one inside it: is it {network}/{prefix_len}?")]
    NotTheNetwork {
        /// The network's address.
        network: IpAddr,
        /// Its prefix length.
        prefix_len: u8,
    },
}

/// # Errors
/// The first entry that is no network. The empty string is the empty list.
impl FromStr for SubnetList {
    type Err = SubnetListError;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        if list.trim_ascii().is_empty() {
            return Ok(Self { entries: Vec::new() });
        }
        let count = list.split(',').count();
        let entry = |(at, entry): (usize, &str)| {
            let entry = entry.trim_ascii();
            subnet(entry).map_err(|problem| SubnetListError {
                entry: entry.to_owned(),
                index: at + 1,
                count,
                problem,
            })
        };
        Ok(Self { entries: list.split(',').enumerate().map(entry).collect::<Result<_, _>>()? })
    }
}

fn subnet(text: &str) -> Result<Subnet, SubnetProblem> {
    let no_network = || SubnetProblem::NotANetwork { got: text.to_owned() };
    let (address, prefix_len) = match text.split_once('/') {
        Some((address, prefix_len)) => (address, Some(prefix_len)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else { return Err(no_network()) };
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let Some(prefix_len) = prefix_len else { return Err(SubnetProblem::NoPrefixLen { address, bits }) };
    if !prefix_len.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(no_network());
    }
    let Ok(prefix_len) = prefix_len.parse::<u8>() else { return Err(no_network()) };
    if prefix_len > bits {
        return Err(SubnetProblem::TooLong { got: prefix_len, bits });
    }
    let network = match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(u32::from(32 - prefix_len)).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(u32::from(128 - prefix_len)).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    };
    if network != address {
        return Err(SubnetProblem::NotTheNetwork { network, prefix_len });
    }
    Ok(Subnet { network, prefix_len })
}

impl fmt::Display for SubnetList {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        joined(out, &self.entries)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.network, self.prefix_len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(list: &str) -> Result<String, String> {
        list.parse::<PortList>().map(|list| list.to_string()).map_err(|error| error.to_string())
    }

    fn subnets(list: &str) -> Result<String, String> {
        list.parse::<SubnetList>().map(|list| list.to_string()).map_err(|error| error.to_string())
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

    #[test]
    fn a_list_of_networks_is_of_both_families() {
        assert_eq!(
            subnets("10.0.0.0/8, fd00::/8,0.0.0.0/0,::/0").unwrap(),
            "10.0.0.0/8,fd00::/8,0.0.0.0/0,::/0"
        );
        assert_eq!(subnets("10.1.2.3/32").unwrap(), "10.1.2.3/32");
        assert_eq!(subnets("").unwrap(), "");
    }

    #[test]
    fn a_bad_network_is_answered_with_a_right_one() {
        assert!(subnets("10.0.0.5/8").unwrap_err().contains("is it 10.0.0.0/8?"));
        assert!(subnets("10.0.0.5").unwrap_err().contains("is it 10.0.0.5/32?"));
        assert!(subnets("fd00::1").unwrap_err().contains("is it fd00::1/128?"));
        assert!(subnets("10.0.0.0/33").unwrap_err().contains("0 to 32, got 33"));
        for bad in ["10.0.0.0/8,", "10.0.0.0/", "10.0.0.0/+8", "10.0.0/8", "x", "10.0.0.0/256"] {
            assert!(subnets(bad).unwrap_err().contains("expected a network"), "{bad}");
        }
    }
}
