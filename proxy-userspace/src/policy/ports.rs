//! A set of TCP ports.

use std::fmt;
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::parse::{self, PortSetError};

/// A set of TCP ports, 1-65535.
///
/// Held as inclusive ranges that are sorted, do not overlap and do not touch, so that two sets
/// of the same ports are equal however they were written.
///
/// ```
/// let ports: sluice::policy::PortSet = "8000 - 8100, 80, 81".parse()?;
/// assert_eq!(ports.to_string(), "80-81,8000-8100");
/// # Ok::<(), sluice::policy::PortSetError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortSet {
    ranges: Vec<RangeInclusive<u16>>,
}

impl PortSet {
    /// The set without any port.
    pub const EMPTY: Self = Self { ranges: Vec::new() };

    /// Whether no port is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether the port is in the set.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        let at = self.ranges.partition_point(|range| *range.end() < port);
        self.ranges.get(at).is_some_and(|range| range.contains(&port))
    }

    /// The ranges of the set, ascending, none touching the next.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> + '_ {
        self.ranges.iter().cloned()
    }

    /// The ports that are in either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::from_ranges(self.ranges().chain(other.ranges()).collect())
    }

    /// The ports that are in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        let (mut ours, mut theirs) = (self.ranges().peekable(), other.ranges().peekable());
        while let (Some(our), Some(their)) = (ours.peek(), theirs.peek()) {
            let both = *our.start().max(their.start())..=*our.end().min(their.end());
            let ours_ends_first = our.end() < their.end();
            if !both.is_empty() {
                ranges.push(both);
            }
            if ours_ends_first {
                ours.next()
            } else {
                theirs.next()
            };
        }
        Self { ranges }
    }

    /// The ports of this set that the other has not.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.intersection(&other.complement())
    }

    /// Every port that is not in the set.
    fn complement(&self) -> Self {
        let mut ranges = Vec::with_capacity(self.ranges.len() + 1);
        // The first port that is not looked at yet: 65536 is beyond the last.
        let mut next = 1_u32;
        for range in &self.ranges {
            let gap = u16::try_from(next).ok().zip(range.start().checked_sub(1));
            ranges.extend(gap.map(|(first, last)| first..=last).filter(|gap| !gap.is_empty()));
            next = u32::from(*range.end()) + 1;
        }
        ranges.extend(u16::try_from(next).ok().map(|first| first..=u16::MAX));
        Self { ranges }
    }

    /// The set of these ranges; none of them holds port 0 or is reversed.
    pub(super) fn of_ranges(ranges: impl IntoIterator<Item = RangeInclusive<u16>>) -> Self {
        Self::from_ranges(ranges.into_iter().collect())
    }

    /// Sorts and merges; the caller sees to it that no range holds port 0 or is reversed.
    fn from_ranges(mut ranges: Vec<RangeInclusive<u16>>) -> Self {
        ranges.sort_unstable_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<u16>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => merged.push(range),
            }
        }
        Self { ranges: merged }
    }
}

/// The one parser of port lists, for flags, files and annotations alike.
///
/// Entries are separated by commas; an entry is a port (`80`) or a range (`8000-8100`), and
/// spaces may surround ports. The empty string is the empty set, which replaces a default list
/// by nothing.
///
/// # Errors
/// The first entry that is neither a port nor a range; nothing is taken from a list with a bad
/// entry.
impl FromStr for PortSet {
    type Err = PortSetError;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        parse::list(list).map(Self::from_ranges)
    }
}

impl FromIterator<NonZeroU16> for PortSet {
    fn from_iter<I: IntoIterator<Item = NonZeroU16>>(ports: I) -> Self {
        Self::from_ranges(ports.into_iter().map(|port| port.get()..=port.get()).collect())
    }
}

/// The canonical form: `80,8000-8100`.
impl fmt::Display for PortSet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            if index > 0 {
                out.write_str(",")?;
            }
            if range.start() == range.end() {
                write!(out, "{}", range.start())?;
            } else {
                write!(out, "{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a list becomes in canonical form.
    fn canonical(list: &str) -> String {
        list.parse::<PortSet>().unwrap().to_string()
    }

    #[test]
    fn a_list_is_sorted_and_merged_into_its_canonical_form() {
        assert_eq!(canonical("80,8000-8100"), "80,8000-8100");
        assert_eq!(canonical("8000-8100,80"), "80,8000-8100");
        assert_eq!(canonical("80,80,80"), "80");
        assert_eq!(canonical("80,81,82"), "80-82");
        assert_eq!(canonical("10-20,15-30"), "10-30");
        assert_eq!(canonical("10-30,15-20"), "10-30");
        assert_eq!(canonical("10-20,21-30"), "10-30");
        assert_eq!(canonical("10-20,22-30"), "10-20,22-30");
        assert_eq!(canonical("1-65535"), "1-65535");
        assert_eq!(canonical("65535,65534"), "65534-65535");
        assert_eq!(canonical("80-80"), "80");
    }

    #[test]
    fn spaces_around_entries_and_dashes_are_allowed() {
        assert_eq!(canonical(" 80 , 8000 - 8100 "), "80,8000-8100");
        assert_eq!(canonical("\t80,\n8080"), "80,8080");
    }

    #[test]
    fn the_empty_string_is_the_empty_set() {
        assert_eq!("".parse(), Ok(PortSet::EMPTY));
        assert_eq!("  ".parse(), Ok(PortSet::EMPTY));
        assert!(PortSet::EMPTY.is_empty());
        assert_eq!(PortSet::EMPTY.to_string(), "");
    }

    #[test]
    fn a_range_contains_its_ends_and_nothing_beyond() {
        let ports: PortSet = "80,8000-8100".parse().unwrap();
        for port in [80, 8000, 8050, 8100] {
            assert!(ports.contains(port), "{port}");
        }
        for port in [0, 79, 81, 7999, 8101, 65535] {
            assert!(!ports.contains(port), "{port}");
        }
    }

    #[test]
    fn what_is_taken_from_every_port_leaves_the_rest() {
        let every: PortSet = "1-65535".parse().unwrap();
        let left = |list: &str| every.difference(&list.parse().unwrap()).to_string();
        assert_eq!(left(""), "1-65535");
        assert_eq!(left("1-65535"), "");
        assert_eq!(left("1,65535"), "2-65534");
        assert_eq!(left("80"), "1-79,81-65535");
    }

    proptest! {
        #[test]
        fn a_set_holds_exactly_the_ports_that_were_written(
            written in prop::collection::vec((1..=300_u16, 0..=20_u16), 0..20),
        ) {
            let list: Vec<_> = written.iter().map(|(port, more)| format!("{port}-{}", port + more)).collect();
            let ports: PortSet = list.join(",").parse().unwrap();
            for port in 0..=330 {
                let named = written.iter().any(|(first, more)| (*first..=first + more).contains(&port));
                prop_assert_eq!(ports.contains(port), named);
            }
        }

        #[test]
        fn sets_are_weighed_port_by_port(
            one in prop::collection::vec((1..=300_u16, 0..=20_u16), 0..12),
            other in prop::collection::vec((1..=300_u16, 0..=20_u16), 0..12),
        ) {
            let set = |written: &[(u16, u16)]| {
                PortSet::of_ranges(written.iter().map(|(port, more)| *port..=port + more))
            };
            let (one, other) = (set(&one), set(&other));
            let (union, both, rest) = (one.union(&other), one.intersection(&other), one.difference(&other));
            for port in (0..=330).chain([u16::MAX]) {
                let (is_in_one, is_in_other) = (one.contains(port), other.contains(port));
                prop_assert_eq!(union.contains(port), is_in_one || is_in_other);
                prop_assert_eq!(both.contains(port), is_in_one && is_in_other);
                prop_assert_eq!(rest.contains(port), is_in_one && !is_in_other);
            }
            for set in [union, both, rest] {
                prop_assert_eq!(set.to_string().parse(), Ok(set));
            }
        }

        #[test]
        fn the_canonical_form_reads_back_as_the_same_set(
            written in prop::collection::vec(1..=u16::MAX, 0..50),
        ) {
            let ports: PortSet = written.into_iter().filter_map(NonZeroU16::new).collect();
            prop_assert_eq!(ports.to_string().parse(), Ok(ports));
        }
    }
}
