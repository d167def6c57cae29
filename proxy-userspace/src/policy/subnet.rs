//! Sets of addresses, as `skip-subnets` has them and as the kernel looks them up.

use std::{fmt, net::IpAddr, str::FromStr};

use proxy_common::mapped;

use super::parse;

/// How many subnets one list may have.
pub const MAX_SUBNETS: usize = 64;

/// Bits before an IPv4 address that is mapped into IPv6.
const MAPPED_BITS: u8 = 96;

/// A subnet of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet {
    /// IPv6 address, or IPv4 mapped into it (`::ffff:a.b.c.d`), in network byte order; every bit beyond the
    /// prefix is 0.
    addr_be: [u8; 16],
    /// Bits of the address that count, 0-128; 96 more than written for IPv4.
    prefix_len: u8,
}

/// Some subnets: sorted, and none inside another, so that two sets of the same addresses written as the same
/// subnets are equal whatever their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubnetSet {
    subnets: Vec<Subnet>,
}

/// Why a list of subnets was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubnetSetError {
    /// An entry cannot be read.
    #[error("{entry:?}: {problem} (entry {index} of {count})")]
    Entry {
        /// The bad entry without surrounding spaces, cut where it is long.
        entry: String,
        /// Which entry it is; the first is 1.
        index: usize,
        /// How many entries the list has.
        count: usize,
        /// What is wrong with it.
        problem: SubnetProblem,
    },
    /// The list is too long for the kernel's map.
    #[error("expected at most {MAX_SUBNETS} subnets, got {got}")]
    TooMany {
        /// How many there are, those inside others not counted.
        got: usize,
    },
}

/// What is wrong with one entry of a list of subnets: what was expected and what came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubnetProblem {
    /// Nothing stands between two commas, or beside a comma at an end of the list.
    #[error(
        "expected a subnet (10.0.0.0/8, fd00::/8) or an address, got nothing: is there a comma too many?"
    )]
    Missing,
    /// What stands before the slash, or alone, is no address.
    #[error("expected a subnet (10.0.0.0/8, fd00::/8) or an address, got '{}'", got.escape_debug())]
    NotAnAddress {
        /// What came.
        got: String,
    },
    /// What stands after the slash is no length of this family's.
    #[error("expected a prefix length from 0 to {max}, got '{}'", got.escape_debug())]
    PrefixLen {
        /// What came.
        got: String,
        /// The longest of the family.
        max: u8,
    },
    /// An IPv6 subnet with all of IPv4 in it: in the kernel's form it would mean both.
    #[error(
        "expected an IPv6 subnet without IPv4's mapped addresses (::ffff:0:0/96), such as 2000::/3, got '{}'",
        got.escape_debug()
    )]
    HoldsIpv4 {
        /// What came.
        got: String,
    },
}

impl Subnet {
    /// The address, 16 bytes in network byte order; IPv4 is mapped.
    #[must_use]
    pub const fn addr_be(&self) -> [u8; 16] {
        self.addr_be
    }

    /// How many bits of [`Self::addr_be`] count.
    #[must_use]
    pub const fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// The subnet of an address in the kernel's form; bits beyond the prefix are cleared. `None` where a
    /// prefix is longer than an address.
    #[must_use]
    pub fn of(addr_be: [u8; 16], prefix_len: u8) -> Option<Self> {
        (prefix_len <= 128).then(|| Self { addr_be: masked(addr_be, prefix_len), prefix_len })
    }

    /// Whether the address is in the subnet; an IPv4 address and its mapped form are the same.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(mapped(address), self.prefix_len) == self.addr_be
    }

    /// Reads one entry.
    ///
    /// Bits beyond the prefix are cleared, as Linkerd does: `10.1.2.3/8` is `10.0.0.0/8`.
    fn parse(entry: &str) -> Result<Self, SubnetProblem> {
        if entry.is_empty() {
            return Err(SubnetProblem::Missing);
        }
        let (address, len) =
            entry.split_once('/').map_or((entry, None), |(before, after)| (before, Some(after)));
        let address: IpAddr = address
            .trim_ascii()
            .parse()
            .map_err(|_no_facts| SubnetProblem::NotAnAddress { got: parse::shown(entry) })?;
        let (max, before) = if address.is_ipv4() { (32, MAPPED_BITS) } else { (128, 0) };
        let len = match len.map(str::trim_ascii) {
            None => max,
            // Not `parse` alone, which takes a sign.
            Some(len) => Some(len)
                .filter(|len| len.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|len| len.parse().ok())
                .filter(|len| *len <= max)
                .ok_or_else(|| SubnetProblem::PrefixLen { got: parse::shown(len), max })?,
        };
        let prefix_len = before + len;
        let addr_be = masked(mapped(address), prefix_len);
        let subnet = Self { addr_be, prefix_len };
        if address.is_ipv6() && prefix_len < MAPPED_BITS && subnet.contains(IpAddr::from([0, 0, 0, 0])) {
            return Err(SubnetProblem::HoldsIpv4 { got: parse::shown(entry) });
        }
        Ok(subnet)
    }
}

impl SubnetSet {
    /// The set without any subnet.
    pub const EMPTY: Self = Self { subnets: Vec::new() };

    /// Whether no address is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subnets.is_empty()
    }

    /// The subnets, ascending; none is inside another.
    pub fn iter(&self) -> impl Iterator<Item = Subnet> + '_ {
        self.subnets.iter().copied()
    }

    /// Whether the address is in one of the subnets.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.find(address).is_some()
    }

    /// The subnet that the address is in; none is inside another.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<Subnet> {
        self.subnets.iter().copied().find(|subnet| subnet.contains(address))
    }
}

/// However many there are: of what is in force already.
impl FromIterator<Subnet> for SubnetSet {
    fn from_iter<I: IntoIterator<Item = Subnet>>(subnets: I) -> Self {
        let mut subnets: Vec<_> = subnets.into_iter().collect();
        subnets.sort_unstable();
        // Subnets are nested or apart: in this order each comes after those that contain it.
        subnets.dedup_by(|later, kept| {
            later.prefix_len >= kept.prefix_len && masked(later.addr_be, kept.prefix_len) == kept.addr_be
        });
        Self { subnets }
    }
}

/// Entries are separated by commas, spaces may surround them, and the empty string is no subnet. An entry is
/// a subnet of either family (`10.0.0.0/8`, `fd00::/8`) or a single address.
///
/// # Errors
/// The first entry that cannot be read, or that there are more than [`MAX_SUBNETS`].
impl FromStr for SubnetSet {
    type Err = SubnetSetError;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        if list.trim_ascii().is_empty() {
            return Ok(Self::EMPTY);
        }
        let read = |(index, written): (usize, &str)| {
            let written = written.trim_ascii();
            Subnet::parse(written).map_err(|problem| SubnetSetError::Entry {
                entry: parse::shown(written),
                index: index + 1,
                count: list.split(',').count(),
                problem,
            })
        };
        let set: Self = list.split(',').enumerate().map(read).collect::<Result<_, _>>()?;
        if set.subnets.len() > MAX_SUBNETS {
            return Err(SubnetSetError::TooMany { got: set.subnets.len() });
        }
        Ok(set)
    }
}

/// As people write it: IPv4 where it is, and an address alone where it is one.
impl fmt::Display for Subnet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = IpAddr::from(self.addr_be).to_canonical();
        match (address, self.prefix_len) {
            (address, 128) => write!(out, "{address}"),
            (IpAddr::V4(address), len @ MAPPED_BITS..) => write!(out, "{address}/{}", len - MAPPED_BITS),
            (_, len) => write!(out, "{}/{len}", std::net::Ipv6Addr::from(self.addr_be)),
        }
    }
}

/// The canonical form: `10.0.0.0/8,fd00::/8`.
impl fmt::Display for SubnetSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, subnet) in self.subnets.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(out, "{comma}{subnet}")?;
        }
        Ok(())
    }
}

/// The address without the bits beyond the prefix.
fn masked(addr_be: [u8; 16], prefix_len: u8) -> [u8; 16] {
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix_len)).unwrap_or(0);
    (u128::from_be_bytes(addr_be) & mask).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a list becomes in canonical form.
    fn canonical(list: &str) -> String {
        list.parse::<SubnetSet>().unwrap().to_string()
    }

    /// What is said about a list that cannot be read.
    fn refused(list: &str) -> String {
        list.parse::<SubnetSet>().unwrap_err().to_string()
    }

    #[test]
    fn subnets_of_both_families_and_addresses_are_read() {
        assert_eq!(canonical("fd00::/8, 10.0.0.0/8 ,192.0.2.7"), "10.0.0.0/8,192.0.2.7,fd00::/8");
        assert_eq!(canonical("2001:db8::1"), "2001:db8::1");
        assert_eq!(canonical(""), "");
        assert_eq!(canonical("0.0.0.0/0"), "0.0.0.0/0");
        let [subnet] = <[Subnet; 1]>::try_from("10.0.0.0/8".parse::<SubnetSet>().unwrap().subnets).unwrap();
        assert_eq!(subnet.prefix_len(), 104);
        assert_eq!(subnet.addr_be(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 0]);
    }

    #[test]
    fn bits_beyond_the_prefix_are_cleared() {
        assert_eq!(canonical("10.1.2.3/8"), "10.0.0.0/8");
        assert_eq!(canonical("2001:db8::1/32"), "2001:db8::/32");
    }

    #[test]
    fn a_mapped_subnet_is_the_one_of_ipv4() {
        assert_eq!(canonical("::ffff:10.0.0.0/104"), "10.0.0.0/8");
        assert!("::ffff:10.0.0.0/104".parse::<SubnetSet>().unwrap().contains([10, 1, 2, 3].into()));
    }

    #[test]
    fn what_is_inside_another_or_twice_is_left_out() {
        assert_eq!(canonical("10.1.0.0/16,10.0.0.0/8,10.0.0.0/8,10.255.0.1"), "10.0.0.0/8");
        assert_eq!(canonical("10.0.0.0/9,10.128.0.0/9"), "10.0.0.0/9,10.128.0.0/9");
    }

    #[test]
    fn a_bad_entry_is_named_with_what_was_expected() {
        let expected = "expected a subnet (10.0.0.0/8, fd00::/8) or an address";
        assert_eq!(refused("10.0.0.0/8,x"), format!(r#""x": {expected}, got 'x' (entry 2 of 2)"#));
        assert_eq!(refused("10.0.0/8"), format!(r#""10.0.0/8": {expected}, got '10.0.0/8' (entry 1 of 1)"#));
        assert_eq!(
            refused(","),
            format!(r#""": {expected}, got nothing: is there a comma too many? (entry 1 of 2)"#)
        );
        assert_eq!(
            refused("10.0.0.0/33"),
            r#""10.0.0.0/33": expected a prefix length from 0 to 32, got '33' (entry 1 of 1)"#
        );
        for bad in ["::1/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/255.0.0.0", "10.0.0.0/999"] {
            assert!(refused(bad).contains("expected a prefix length from 0 to "), "{}", refused(bad));
        }
    }

    #[test]
    fn an_ipv6_subnet_never_means_all_of_ipv4_as_well() {
        for bad in ["::/0", "::/8", "::ffff:0:0/95"] {
            assert!(refused(bad).contains("expected an IPv6 subnet without IPv4's"), "{}", refused(bad));
        }
        assert_eq!(canonical("8000::/1"), "8000::/1");
        assert_eq!(canonical("::/96"), "::/96");
    }

    #[test]
    fn a_list_that_is_too_long_is_refused() {
        let list = |count: usize| (0..count).map(|n| format!("10.0.{n}.0/24")).collect::<Vec<_>>().join(",");
        assert_eq!(list(MAX_SUBNETS).parse::<SubnetSet>().unwrap().iter().count(), MAX_SUBNETS);
        assert_eq!(refused(&list(MAX_SUBNETS + 1)), "expected at most 64 subnets, got 65");
    }

    proptest! {
        #[test]
        fn a_set_holds_the_addresses_of_its_entries_and_no_others(
            written in prop::collection::vec((any::<u8>(), 0..=32_u8), 0..20),
            asked in any::<[u8; 2]>(),
        ) {
            let entries: Vec<_> = written.iter().map(|(byte, len)| format!("10.{byte}.0.0/{len}")).collect();
            let set: SubnetSet = entries.join(",").parse().unwrap();
            let address = IpAddr::from([10, asked[0], 0, asked[1] % 2]);
            let single = |entry: &String| entry.parse::<SubnetSet>().unwrap().contains(address);
            prop_assert_eq!(set.contains(address), entries.iter().any(single));
            prop_assert_eq!(set.to_string().parse(), Ok(set));
        }

        #[test]
        fn whatever_is_written_is_read_or_refused(list in "[0-9a-f:./, ]{0,40}|.{0,40}") {
            if let Ok(set) = list.parse::<SubnetSet>() {
                prop_assert_eq!(set.to_string().parse(), Ok(set));
            }
        }
    }
}
