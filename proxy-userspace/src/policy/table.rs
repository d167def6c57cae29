//! The rule for every port of a workload, and its form in the kernel's map.

use std::iter;
use std::ops::RangeInclusive;

use proxy_common::{Direction, PortKey, PortRule, PrefixLens};

use super::ports::PortSet;

/// The rule for every port, by direction.
///
/// Equal tables can share a profile: the form is canonical, whatever the order in which the rules
/// were set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortTable {
    /// By the code of the [`Direction`]. The spans are sorted and do not overlap, neighbours that
    /// touch differ in their rule, and none is plain [`PortRule::DETECT`].
    spans: [Vec<Span>; 2],
}

/// Ports in a row that have the same rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Span {
    /// The first port.
    first: u16,
    /// The last port.
    last: u16,
    /// The rule of each.
    rule: PortRule,
}

impl PortTable {
    /// The table that inspects every port.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the ports a rule, in place of the ones that they had.
    ///
    /// A rule that inspects is kept, with its source, where it has one; [`PortRule::DETECT`]
    /// itself takes rules away.
    pub fn set(&mut self, direction: Direction, ports: &PortSet, rule: PortRule) {
        for range in ports.ranges() {
            self.assign(direction, Span { first: *range.start(), last: *range.end(), rule });
        }
    }

    /// The rule of a port; [`PortRule::DETECT`] where none names it.
    #[must_use]
    pub fn rule(&self, direction: Direction, port: u16) -> PortRule {
        let spans = self.spans(direction);
        let at = spans.partition_point(|span| span.last < port);
        spans.get(at).filter(|span| span.first <= port).map_or(PortRule::DETECT, |span| span.rule)
    }

    /// The ports that a rule names, ascending; neighbouring ports with the same rule are one range.
    pub fn ranges(&self, direction: Direction) -> impl Iterator<Item = (RangeInclusive<u16>, PortRule)> + '_ {
        self.spans(direction).iter().map(|span| (span.first..=span.last, span.rule))
    }

    /// The widest range around a port in which every port has its rule; below the first rule it
    /// starts at 1.
    #[must_use]
    pub fn range_of(&self, direction: Direction, port: u16) -> RangeInclusive<u16> {
        let spans = self.spans(direction);
        let at = spans.partition_point(|span| span.last < port);
        match spans.get(at) {
            Some(span) if span.first <= port => span.first..=span.last,
            next => {
                // A span ends before `port` and another starts after it, so neither sum wraps.
                let previous = at.checked_sub(1).and_then(|before| spans.get(before));
                let first = previous.map_or(port.min(1), |span| span.last + 1);
                first..=next.map_or(u16::MAX, |span| span.first - 1)
            }
        }
    }

    /// The entries of the `PORTS` map that say the same: the fewest blocks that do not overlap.
    ///
    /// A range takes at most 30 of them; 1-65535 takes 16.
    #[must_use]
    pub fn keys(&self, profile: u32) -> Vec<(PortKey, PortRule)> {
        let of_direction = |direction: Direction| {
            self.spans(direction).iter().flat_map(move |span| {
                blocks(span.first, span.last).map(move |(port, prefix_len)| {
                    (PortKey { profile, port, prefix_len, direction: direction as u8 }, span.rule)
                })
            })
        };
        Direction::ALL.into_iter().flat_map(of_direction).collect()
    }

    /// The prefix lengths of [`Self::keys`], by the code of the [`Direction`].
    #[must_use]
    pub fn prefix_lens(&self) -> [PrefixLens; 2] {
        Direction::ALL.map(|direction| {
            self.spans(direction)
                .iter()
                .flat_map(|span| blocks(span.first, span.last))
                .fold(0, |lens, (_, prefix_len)| lens | 1 << prefix_len)
        })
    }

    /// The table that entries of the `PORTS` map amount to; the inverse of [`Self::keys`].
    ///
    /// The entries are those of one profile, in any order. Where blocks overlap the smaller one
    /// holds, as it does in [`proxy_common::decide`], and an entry that no lookup can reach (an
    /// unknown direction, a prefix beyond 16, a port with bits beyond its prefix) says nothing.
    #[must_use]
    pub fn from_keys(entries: impl IntoIterator<Item = (PortKey, PortRule)>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        // Blocks are nested or apart: in this order each comes after those that contain it.
        entries.sort_unstable_by_key(|(key, _)| (key.port, key.prefix_len));

        let mut table = Self::new();
        for (key, rule) in entries {
            let direction = Direction::ALL.into_iter().find(|direction| *direction as u8 == key.direction);
            let Some(direction) = direction else { continue };
            // The bits beyond the prefix; a prefix of 16 leaves none.
            let beyond = u16::MAX.checked_shr(key.prefix_len.into()).unwrap_or(0);
            if key.prefix_len > 16 || key.port & beyond != 0 {
                continue;
            }
            table.assign(direction, Span { first: key.port, last: key.port | beyond, rule });
        }
        table
    }

    /// The spans of a direction.
    fn spans(&self, direction: Direction) -> &[Span] {
        match direction {
            Direction::Outbound => &self.spans[0],
            Direction::Inbound => &self.spans[1],
        }
    }

    /// Puts a span in the place of what its ports had, and keeps the form canonical.
    fn assign(&mut self, direction: Direction, mut span: Span) {
        // Codes from a map: what the kernel reads as the same is the same here.
        span.rule = PortRule::new(span.rule.decision(), span.rule.source());
        let spans = match direction {
            Direction::Outbound => &mut self.spans[0],
            Direction::Inbound => &mut self.spans[1],
        };
        // Those that touch count too: with the same rule they become one.
        let from = spans.partition_point(|old| old.last < span.first.saturating_sub(1));
        let to = spans.partition_point(|old| old.first <= span.last.saturating_add(1));

        let mut left = spans[from..to].first().copied().filter(|old| old.first < span.first);
        let mut right = spans[from..to].last().copied().filter(|old| old.last > span.last);
        if let Some(old) = left.take_if(|old| old.rule == span.rule) {
            span.first = old.first;
        } else if let Some(old) = &mut left {
            old.last = old.last.min(span.first - 1);
        }
        if let Some(old) = right.take_if(|old| old.rule == span.rule) {
            span.last = old.last;
        } else if let Some(old) = &mut right {
            old.first = old.first.max(span.last + 1);
        }
        let middle = Some(span).filter(|span| span.rule != PortRule::DETECT);
        spans.splice(from..to, [left, middle, right].into_iter().flatten());
    }
}

/// The fewest blocks that make up a range, ascending: first port and prefix length.
fn blocks(first: u16, last: u16) -> impl Iterator<Item = (u16, u8)> {
    // In 32 bits, because the end of 0-65535 is beyond 16.
    let end = u32::from(last) + 1;
    let mut next = u32::from(first);
    iter::from_fn(move || {
        let left = end.checked_sub(next).filter(|left| *left > 0)?;
        // The largest block that may start here and still fits: 16 bits at most, as `left` is.
        let size_bits = next.trailing_zeros().min(left.ilog2());
        let port = u16::try_from(next).ok()?;
        next += 1 << size_bits;
        Some((port, u8::try_from(16 - size_bits).ok()?))
    })
}

#[cfg(test)]
mod tests;
