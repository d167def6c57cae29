//! What people write of ports, subnets and collectors; in flags, in files, in annotations and on the command line.

use std::collections::HashMap;
use std::str::FromStr;

use proxy_common::{Direction, decide};
use sluice::policy::{
    EnrolMode, MAX_SUBNETS, OtlpEndpoint, PortEntry, PortNames, PortRules, PortSet, PortSpec, PortTable,
    SkMsgMode, SubnetSet, WhenProxyDown, compile,
};

/// The target `policy`: a line for each list, the node's and the workload's.
pub fn policy(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let lists: Vec<Option<PortSet>> = text.split('\n').take(6).map(list).collect();
    let rules = |from: usize| {
        let list = |at: usize| lists.get(from + at).cloned().flatten();
        PortRules { opaque: list(0), skip_outbound: list(1), skip_inbound: list(2) }
    };
    check_table(&compile(&rules(0), &rules(3)), &lists);
    let line = text.split('\n').next().unwrap_or_default();
    named(line);
    subnets(line);
    reads_back::<OtlpEndpoint>(line);
    reads_back::<EnrolMode>(line);
    reads_back::<SkMsgMode>(line);
    reads_back::<WhenProxyDown>(line);
}

/// Reads a list, and compares it with another reading.
fn list(text: &str) -> Option<PortSet> {
    let expected = entries(text);
    match text.parse::<PortSet>() {
        Ok(ports) => {
            let expected = expected.unwrap_or_else(|| panic!("{text:?} was read as {ports}"));
            for port in edges(&ports).chain(expected.iter().flat_map(|&(start, end)| around(start, end))) {
                let is_expected = expected.iter().any(|(start, end)| (start..=end).contains(&&port));
                assert_eq!(ports.contains(port), is_expected, "{text:?}: {port}");
            }
            let written = ports.to_string();
            assert_eq!(written.parse(), Ok(ports.clone()), "{text:?}");
            assert!(written.len() <= text.len() || ports.ranges().count() > 1 || text.contains(','));
            Some(ports)
        }
        Err(error) => {
            assert_eq!(expected, None, "{text:?}: {error}");
            assert!((1..=error.count).contains(&error.index), "{error}");
            assert!(error.entry.len() <= 4 * 44, "a long entry is cut: {error}");
            assert!(!error.to_string().chars().any(char::is_control), "{error}");
            None
        }
    }
}

/// Reads a list that may have names: what it means without them is what a list without names means.
fn named(text: &str) {
    let plain = text.parse::<PortSet>();
    match text.parse::<PortSpec>() {
        Ok(spec) => {
            let has_names = spec.entries().iter().any(|entry| matches!(entry, PortEntry::Name(_)));
            assert_eq!(plain.is_err(), has_names, "{text:?}");
            let resolved = spec.resolve(&PortNames::default());
            assert!(!resolved.as_ref().is_err_and(|error| error.to_string().chars().any(char::is_control)));
            assert_eq!(resolved.ok(), plain.ok(), "{text:?}");
        }
        Err(error) => {
            assert!(plain.is_err(), "{text:?}: {error}");
            assert!(!error.to_string().chars().any(char::is_control), "{error}");
        }
    }
}

/// Reads a list of subnets: each holds its own address, and the set reads back.
fn subnets(text: &str) {
    if let Ok(set) = text.parse::<SubnetSet>() {
        assert!(set.iter().count() <= MAX_SUBNETS);
        assert!(set.iter().all(|subnet| set.contains(subnet.addr_be().into())), "{text:?}");
    }
    reads_back::<SubnetSet>(text);
}

/// The ranges of a list, read by other means; `None` if it is none.
fn entries(text: &str) -> Option<Vec<(u16, u16)>> {
    let is_blank = |text: &str| text.bytes().all(|byte| byte.is_ascii_whitespace());
    if is_blank(text) {
        return Some(Vec::new());
    }
    let port = |text: &str| {
        let digits = text.trim_matches(|char: char| char.is_ascii_whitespace());
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        // Zeros in front do not make a number large.
        let number = digits.trim_start_matches('0').parse::<u16>().ok();
        number.filter(|_| is_number)
    };
    let range = |entry: &str| match entry.split_once('-') {
        Some((start, end)) => Some((port(start)?, port(end)?)).filter(|(start, end)| start <= end),
        None => port(entry).map(|port| (port, port)),
    };
    text.split(',').map(range).collect()
}

/// Ports at the edges of a set's ranges, where mistakes are made.
fn edges(ports: &PortSet) -> impl Iterator<Item = u16> {
    ports.ranges().flat_map(|range| around(*range.start(), *range.end()))
}

fn around(start: u16, end: u16) -> [u16; 6] {
    [start, end, start.saturating_sub(1), end.saturating_add(1), 0, u16::MAX]
}

/// A table is the same in the kernel's map, and decides there as it does here.
fn check_table(table: &PortTable, lists: &[Option<PortSet>]) {
    let keys = table.keys(7);
    let lens = table.prefix_lens();
    assert_eq!(PortTable::from_keys(keys.iter().copied()), *table);
    let map: HashMap<_, _> = keys
        .iter()
        .map(|(key, rule)| ((key.profile, key.port, key.prefix_len, key.direction), *rule))
        .collect();
    assert_eq!(map.len(), keys.len(), "no key comes twice");
    for direction in Direction::ALL {
        for port in lists.iter().flatten().flat_map(edges) {
            let in_kernel = decide(7, direction, port, lens[direction as usize], |key| {
                map.get(&(key.profile, key.port, key.prefix_len, key.direction)).copied()
            });
            assert_eq!(in_kernel, table.rule(direction, port), "{port}");
            assert!(table.range_of(direction, port).contains(&port));
        }
    }
}

/// What can be read is written as what reads the same.
fn reads_back<T: FromStr + ToString + PartialEq>(text: &str)
where
    T::Err: ToString,
{
    match text.parse::<T>() {
        Ok(value) => assert!(value.to_string().parse::<T>().is_ok_and(|read| read == value), "{text:?}"),
        Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{text:?}"),
    }
}
