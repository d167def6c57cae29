//! From the levels at which ports are written to the one table that holds for a workload.

use std::num::NonZeroU16;

use proxy_common::{Decision, Direction, PortRule, RuleSource};

use super::ports::PortSet;
use super::table::PortTable;

/// Ports whose protocols are known to be no HTTP, or to have the server speak first, opaque
/// unless a list says otherwise: SMTP, HTTPS, SMTP submission, MySQL, Galera, PostgreSQL, Redis,
/// Elasticsearch and memcached.
pub const DEFAULT_OPAQUE_PORTS: [NonZeroU16; 9] =
    [port(25), port(443), port(587), port(3306), port(4444), port(5432), port(6379), port(9300), port(11211)];

/// The port lists of one level: the node's, or a workload's.
///
/// `None` leaves the choice to the level below; an empty set is a choice, of no port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortRules {
    /// Proxied and not inspected, in both directions.
    pub opaque: Option<PortSet>,
    /// Never touched when the workload connects to them.
    pub skip_outbound: Option<PortSet>,
    /// Never touched when the workload accepts on them.
    pub skip_inbound: Option<PortSet>,
}

/// The table of a workload.
///
/// Each of the three lists comes whole from one level: the workload's where it has one, else the
/// node's, else the built-in ([`DEFAULT_OPAQUE_PORTS`], and nothing skipped). Lists of different
/// levels are never merged, so that a list can also take a port away. A port that is both skipped
/// and opaque is skipped, whichever levels the two lists come from.
#[must_use]
pub fn compile(node: &PortRules, workload: &PortRules) -> PortTable {
    let built_in = DEFAULT_OPAQUE_PORTS.into_iter().collect();
    let (opaque, opaque_source) =
        nearest(&workload.opaque, &node.opaque).unwrap_or((&built_in, RuleSource::Default));

    let mut table = PortTable::new();
    for direction in Direction::ALL {
        table.set(direction, opaque, PortRule::new(Decision::Opaque, opaque_source));
        // After the opaque ports: the later rule wins.
        let skip = match direction {
            Direction::Outbound => nearest(&workload.skip_outbound, &node.skip_outbound),
            Direction::Inbound => nearest(&workload.skip_inbound, &node.skip_inbound),
        };
        if let Some((ports, source)) = skip {
            table.set(direction, ports, PortRule::new(Decision::Skip, source));
        }
    }
    table
}

/// The list that holds, and where it was written.
fn nearest<'a>(
    workload: &'a Option<PortSet>,
    node: &'a Option<PortSet>,
) -> Option<(&'a PortSet, RuleSource)> {
    let workload = workload.as_ref().map(|ports| (ports, RuleSource::Workload));
    workload.or_else(|| node.as_ref().map(|ports| (ports, RuleSource::Node)))
}

/// A port that is known when this is compiled.
const fn port(number: u16) -> NonZeroU16 {
    match NonZeroU16::new(number) {
        Some(port) => port,
        None => panic!("there is no port 0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Direction; 2] = Direction::ALL;

    /// A list that a level has.
    fn ports(list: &str) -> Option<PortSet> {
        Some(list.parse().unwrap())
    }

    #[test]
    fn without_any_list_the_default_ports_are_opaque_and_nothing_is_skipped() {
        let table = compile(&PortRules::default(), &PortRules::default());
        for direction in BOTH {
            let ruled: Vec<_> = table.ranges(direction).flat_map(|(range, _)| range).collect();
            assert_eq!(ruled, [25, 443, 587, 3306, 4444, 5432, 6379, 9300, 11211]);
            for port in ruled {
                assert_eq!(table.rule(direction, port), PortRule::new(Decision::Opaque, RuleSource::Default));
            }
        }
    }

    #[test]
    fn a_nearer_list_replaces_the_farther_one_and_never_merges_with_it() {
        let node = PortRules { opaque: ports("1000"), ..PortRules::default() };
        let workload = PortRules { opaque: ports("2000"), ..PortRules::default() };

        let table = compile(&node, &PortRules::default());
        for direction in BOTH {
            assert_eq!(table.rule(direction, 1000), PortRule::new(Decision::Opaque, RuleSource::Node));
            assert_eq!(table.rule(direction, 443), PortRule::DETECT);
        }
        let table = compile(&node, &workload);
        for direction in BOTH {
            assert_eq!(table.rule(direction, 2000), PortRule::new(Decision::Opaque, RuleSource::Workload));
            assert_eq!(table.rule(direction, 1000), PortRule::DETECT);
            assert_eq!(table.rule(direction, 443), PortRule::DETECT);
        }
    }

    #[test]
    fn the_levels_are_chosen_for_each_list_on_its_own() {
        let node =
            PortRules { opaque: ports("1000"), skip_outbound: ports("3000"), skip_inbound: ports("4000") };
        let workload = PortRules { skip_outbound: ports("5000"), ..PortRules::default() };
        let table = compile(&node, &workload);

        let skip = |source| PortRule::new(Decision::Skip, source);
        assert_eq!(table.rule(Direction::Outbound, 5000), skip(RuleSource::Workload));
        assert_eq!(table.rule(Direction::Outbound, 3000), PortRule::DETECT);
        assert_eq!(table.rule(Direction::Inbound, 4000), skip(RuleSource::Node));
        assert_eq!(table.rule(Direction::Outbound, 1000), PortRule::new(Decision::Opaque, RuleSource::Node));
    }

    #[test]
    fn an_empty_list_is_a_list_of_no_port() {
        let none = PortRules { opaque: ports(""), ..PortRules::default() };
        assert_eq!(compile(&PortRules::default(), &none), PortTable::new());
        assert_eq!(compile(&none, &PortRules::default()), PortTable::new());

        let node =
            PortRules { opaque: ports("80"), skip_outbound: ports("1-65535"), skip_inbound: ports("9") };
        let workload = PortRules { opaque: ports(""), skip_outbound: ports(""), skip_inbound: ports("") };
        assert_eq!(compile(&node, &workload), PortTable::new());
    }

    #[test]
    fn a_port_that_is_both_skipped_and_opaque_is_skipped() {
        let node = PortRules { skip_outbound: ports("1-65535"), ..PortRules::default() };
        let workload = PortRules { opaque: ports("80"), ..PortRules::default() };
        let table = compile(&node, &workload);
        assert_eq!(table.rule(Direction::Outbound, 80), PortRule::new(Decision::Skip, RuleSource::Node));
        assert_eq!(table.rule(Direction::Inbound, 80), PortRule::new(Decision::Opaque, RuleSource::Workload));
    }

    #[test]
    fn a_skip_list_holds_for_its_own_direction_only() {
        let workload = PortRules { opaque: ports(""), skip_inbound: ports("9090"), ..PortRules::default() };
        let table = compile(&PortRules::default(), &workload);
        assert_eq!(table.rule(Direction::Outbound, 9090), PortRule::DETECT);
        assert_eq!(table.rule(Direction::Inbound, 9090), PortRule::new(Decision::Skip, RuleSource::Workload));
    }
}
