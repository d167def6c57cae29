//! Lists of networks.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::overrides::joined;

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

    fn subnets(list: &str) -> Result<String, String> {
        list.parse::<SubnetList>().map(|list| list.to_string()).map_err(|error| error.to_string())
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
