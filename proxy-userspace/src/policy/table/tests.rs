//! What a table promises, on chosen and on random tables.

use std::collections::HashMap;

use proptest::prelude::*;
use proxy_common::{Decision, RuleSource, decide};

use super::*;

const OPAQUE: PortRule = PortRule::new(Decision::Opaque, RuleSource::Default);
const SKIP: PortRule = PortRule::new(Decision::Skip, RuleSource::Node);
const LIVE_DETECT: PortRule = PortRule::new(Decision::Detect, RuleSource::Live);
const OUT: Direction = Direction::Outbound;

/// A set of ports from its list.
fn ports(list: &str) -> PortSet {
    list.parse().unwrap()
}

/// An outbound table of lists and rules, set in turn.
fn table(rules: &[(&str, PortRule)]) -> PortTable {
    let mut table = PortTable::new();
    for (list, rule) in rules {
        table.set(OUT, &ports(list), *rule);
    }
    table
}

/// The outbound ranges.
fn ranges(table: &PortTable) -> Vec<(RangeInclusive<u16>, PortRule)> {
    table.ranges(OUT).collect()
}

/// An outbound key of profile 0.
fn key(port: u16, prefix_len: u8) -> PortKey {
    PortKey { profile: 0, port, prefix_len, direction: OUT as u8 }
}

#[test]
fn a_new_table_inspects_every_port() {
    let table = PortTable::new();
    for direction in Direction::ALL {
        assert_eq!(table.rule(direction, 80), PortRule::DETECT);
        assert_eq!(table.range_of(direction, 80), 1..=u16::MAX);
        assert_eq!(table.ranges(direction).count(), 0);
    }
    assert_eq!(table.keys(7), []);
    assert_eq!(table.prefix_lens(), [0, 0]);
}

#[test]
fn the_later_rule_wins_for_its_ports_and_leaves_the_rest() {
    let table = table(&[("10-30", OPAQUE), ("20", SKIP)]);
    assert_eq!(ranges(&table), [(10..=19, OPAQUE), (20..=20, SKIP), (21..=30, OPAQUE)]);
    assert_eq!(table.rule(OUT, 20), SKIP);
    assert_eq!(table.rule(OUT, 30), OPAQUE);
    assert_eq!(table.rule(OUT, 31), PortRule::DETECT);
    assert_eq!(table.rule(Direction::Inbound, 20), PortRule::DETECT);
}

#[test]
fn a_live_rule_to_inspect_is_shown_and_the_plain_one_takes_rules_away() {
    let live = table(&[("10-30", SKIP), ("15", LIVE_DETECT)]);
    assert_eq!(ranges(&live), [(10..=14, SKIP), (15..=15, LIVE_DETECT), (16..=30, SKIP)]);

    let plain = table(&[("10-30", SKIP), ("15", PortRule::DETECT)]);
    assert_eq!(ranges(&plain), [(10..=14, SKIP), (16..=30, SKIP)]);

    assert_eq!(table(&[("10-30", SKIP), ("1-65535", PortRule::DETECT)]), PortTable::new());
}

#[test]
fn tables_that_say_the_same_are_equal_however_they_were_made() {
    let one = table(&[("10-30", SKIP)]);
    assert_eq!(one, table(&[("21-30", SKIP), ("10-20", SKIP)]));
    assert_eq!(one, table(&[("10-30", OPAQUE), ("15", LIVE_DETECT), ("10-30", SKIP)]));
    assert_ne!(one, table(&[("10-30", OPAQUE)]));
    assert_ne!(one, table(&[("10-29", SKIP)]));
}

#[test]
fn the_first_and_the_last_port_take_rules_like_any_other() {
    let table = table(&[("1-65535", OPAQUE), ("1", SKIP), ("65535", SKIP)]);
    assert_eq!(ranges(&table), [(1..=1, SKIP), (2..=65534, OPAQUE), (65535..=65535, SKIP)]);
    assert_eq!(table.rule(OUT, 0), PortRule::DETECT);
}

#[test]
fn the_range_around_a_port_is_the_widest_with_its_rule() {
    let table = table(&[("10-20", OPAQUE), ("21-30", SKIP), ("50", SKIP)]);
    assert_eq!(table.range_of(OUT, 15), 10..=20);
    assert_eq!(table.range_of(OUT, 21), 21..=30);
    assert_eq!(table.range_of(OUT, 5), 1..=9);
    assert_eq!(table.range_of(OUT, 40), 31..=49);
    assert_eq!(table.range_of(OUT, 60000), 51..=u16::MAX);
}

#[test]
fn a_range_takes_the_fewest_blocks() {
    let count = |list: &str| table(&[(list, SKIP)]).keys(0).len();
    assert_eq!(count("80"), 1);
    assert_eq!(count("8000-8063"), 1);
    assert_eq!(count("8000-8100"), 4);
    assert_eq!(count("1-65535"), 16);
    // The worst range there is.
    assert_eq!(count("1-65534"), 30);

    let every_port = PortTable::from_keys([(key(0, 0), SKIP)]);
    assert_eq!(ranges(&every_port), [(0..=u16::MAX, SKIP)]);
    assert_eq!(every_port.keys(0), [(key(0, 0), SKIP)]);
}

#[test]
fn single_ports_use_one_prefix_length_and_so_one_lookup() {
    assert_eq!(table(&[("80,443,3306", SKIP)]).prefix_lens(), [1 << 16, 0]);
    assert_eq!(table(&[("80,8000-8063", SKIP)]).prefix_lens(), [1 << 16 | 1 << 10, 0]);
}

#[test]
fn a_smaller_block_holds_over_the_one_around_it_in_any_order() {
    let entries = [(key(80, 16), OPAQUE), (key(64, 10), SKIP), (key(0, 0), LIVE_DETECT)];
    let expected = [
        (0..=63, LIVE_DETECT),
        (64..=79, SKIP),
        (80..=80, OPAQUE),
        (81..=127, SKIP),
        (128..=u16::MAX, LIVE_DETECT),
    ];
    assert_eq!(ranges(&PortTable::from_keys(entries)), expected);
    assert_eq!(ranges(&PortTable::from_keys(entries.into_iter().rev())), expected);
}

#[test]
fn entries_that_no_lookup_reaches_say_nothing() {
    let unreachable = [
        PortKey { direction: 2, ..key(80, 16) },
        PortKey { prefix_len: 17, ..key(80, 16) },
        PortKey { prefix_len: u8::MAX, ..key(80, 16) },
        PortKey { prefix_len: 8, ..key(80, 16) },
    ];
    assert_eq!(PortTable::from_keys(unreachable.map(|key| (key, SKIP))), PortTable::new());
}

#[test]
fn unknown_codes_are_read_as_the_kernel_reads_them() {
    let unknown = PortRule { decision: 9, source: 9 };
    assert_eq!(PortTable::from_keys([(key(80, 16), unknown)]), PortTable::new());
}

/// Any rule that people or the agent can write, plain [`PortRule::DETECT`] included.
fn any_rule() -> impl Strategy<Value = PortRule> {
    (0..=2_u8, 0..=4_u8).prop_map(|(decision, source)| PortRule { decision, source })
}

/// A range of ports, wide or narrow, often at the ends.
fn any_range() -> impl Strategy<Value = RangeInclusive<u16>> {
    let port = prop_oneof![1..=u16::MAX, 1..=40_u16, 65_500..=u16::MAX];
    let len = prop_oneof![Just(0), 0..=40_u16, 0..=u16::MAX];
    (port, len).prop_map(|(first, len)| first..=first.saturating_add(len))
}

/// A key in the kernel's map, often around another, now and then one that no lookup reaches.
fn any_key() -> impl Strategy<Value = PortKey> {
    let port = prop_oneof![Just(0), Just(0x8000), Just(0x8080), any::<u16>()];
    (port, 0..=17_u8, 0..=9_u8).prop_map(|(port, prefix_len, direction)| {
        let beyond = u16::MAX.checked_shr(prefix_len.into()).unwrap_or(0);
        PortKey { direction: direction / 8, ..key(port & !beyond, prefix_len) }
    })
}

/// What is set in a table, in turn.
fn any_rules() -> impl Strategy<Value = Vec<(Direction, RangeInclusive<u16>, PortRule)>> {
    let direction = prop_oneof![Just(Direction::Outbound), Just(Direction::Inbound)];
    prop::collection::vec((direction, any_range(), any_rule()), 0..24)
}

/// The table of rules set in turn.
fn table_of(rules: &[(Direction, RangeInclusive<u16>, PortRule)]) -> PortTable {
    let mut table = PortTable::new();
    for (direction, range, rule) in rules {
        table.set(*direction, &ports(&format!("{}-{}", range.start(), range.end())), *rule);
    }
    table
}

proptest! {
    // Few, because each looks at every port there is.
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_port_has_the_rule_that_was_set_last(rules in any_rules()) {
        let table = table_of(&rules);
        for direction in Direction::ALL {
            let mut expected = vec![PortRule::DETECT; 1 << 16];
            for (_, range, rule) in rules.iter().filter(|(of, ..)| *of == direction) {
                expected[usize::from(*range.start())..=usize::from(*range.end())].fill(*rule);
            }
            for port in 0..=u16::MAX {
                prop_assert_eq!(table.rule(direction, port), expected[usize::from(port)]);
            }
        }
    }

    #[test]
    fn the_kernel_decides_on_the_entries_as_the_table_does(rules in any_rules(), profile in any::<u32>()) {
        let table = table_of(&rules);
        let entries: HashMap<_, _> = table.keys(profile).into_iter().collect();
        for direction in Direction::ALL {
            let lens = table.prefix_lens()[direction as usize];
            for port in 0..=u16::MAX {
                let decided = decide(profile, direction, port, lens, |key| entries.get(key).copied());
                prop_assert_eq!(decided, table.rule(direction, port));
            }
        }
    }

    #[test]
    fn any_entries_are_read_as_the_kernel_reads_them(
        entries in prop::collection::hash_map(any_key(), any_rule(), 0..12),
    ) {
        let table = PortTable::from_keys(entries.clone());
        for port in 0..=u16::MAX {
            let decided = decide(0, OUT, port, u32::MAX, |key| entries.get(key).copied());
            prop_assert_eq!(table.rule(OUT, port), decided);
        }
    }
}

proptest! {
    #[test]
    fn a_table_reads_back_from_its_entries_in_any_order(rules in any_rules(), seed in any::<u64>()) {
        let table = table_of(&rules);
        let mut entries = table.keys(3);
        entries.sort_by_key(|(key, _)| u64::from(key.port).wrapping_add(1).wrapping_mul(seed | 1) >> 7);
        prop_assert_eq!(PortTable::from_keys(entries), table);
    }

    #[test]
    fn the_entries_are_few_and_none_could_be_merged(rules in any_rules()) {
        let table = table_of(&rules);
        let keys = table.keys(0);
        let ranges: usize = Direction::ALL.into_iter().map(|direction| table.ranges(direction).count()).sum();
        prop_assert!(ranges <= 2 * rules.len());
        prop_assert!(keys.len() <= 30 * ranges);

        let entries: HashMap<_, _> = keys.iter().copied().collect();
        prop_assert_eq!(entries.len(), keys.len());
        for (key, rule) in keys {
            let size = 1_u16.checked_shl(u32::from(16 - key.prefix_len)).unwrap();
            let sibling = PortKey { port: key.port ^ size, ..key };
            prop_assert!(entries.get(&sibling) != Some(&rule), "{key:?} and its sibling are one block");
        }
    }

    #[test]
    fn the_range_around_a_port_ends_where_the_rule_does(rules in any_rules(), port in 1..=u16::MAX) {
        let table = table_of(&rules);
        let rule = table.rule(Direction::Inbound, port);
        let range = table.range_of(Direction::Inbound, port);
        prop_assert!(range.contains(&port) && *range.start() >= 1);
        for port in range.clone() {
            prop_assert_eq!(table.rule(Direction::Inbound, port), rule);
        }
        if *range.start() > 1 {
            prop_assert_ne!(table.rule(Direction::Inbound, range.start() - 1), rule);
        }
        if *range.end() < u16::MAX {
            prop_assert_ne!(table.rule(Direction::Inbound, range.end() + 1), rule);
        }
    }
}
