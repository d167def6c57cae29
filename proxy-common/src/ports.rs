//! The port config: what to do with a connection, by workload profile, direction and port.
//!
//! A range is held as port prefixes, as a routing table holds a network: `8000-8063` is one entry
//! of prefix length 10, `1-65535` is sixteen. A workload says which lengths its profile uses, so a
//! profile of single ports costs exactly one hash lookup.

/// What is done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Decision {
    /// Brought to the proxy and inspected.
    Detect = 0,
    /// Brought to the proxy, not inspected.
    Opaque = 1,
    /// Never touched.
    Skip = 2,
}

impl Decision {
    /// The decision of a code read from a map; an unknown code is the careful one, [`Decision::Detect`].
    #[inline(always)]
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Opaque,
            2 => Self::Skip,
            _ => Self::Detect,
        }
    }

    /// The word used in flags, reports and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Detect => "detect",
            Self::Opaque => "opaque",
            Self::Skip => "skip",
        }
    }
}

/// Which side of the workload a connection is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Direction {
    /// The workload opens the connection.
    Outbound = 0,
    /// The workload accepts the connection.
    Inbound = 1,
}

impl Direction {
    /// Both directions, in the order of their codes.
    pub const ALL: [Self; 2] = [Self::Outbound, Self::Inbound];

    /// The word used in flags, reports and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        }
    }
}

/// Where a port's rule was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum RuleSource {
    /// No rule names the port.
    None = 0,
    /// The built-in list of opaque ports.
    Default = 1,
    /// The node-wide part of the config, or a flag of `exec`.
    Node = 2,
    /// The workload's own part of the config.
    Workload = 3,
    /// `sluice ports`, on the running agent.
    Live = 4,
    /// The destination: a Service's or a pod's annotation, for those that connect to it.
    Destination = 5,
    /// No rule names the port, and connections to it were opaque each time that they were looked at.
    Learned = 6,
}

impl RuleSource {
    /// The source of a code read from a map.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Default,
            2 => Self::Node,
            3 => Self::Workload,
            4 => Self::Live,
            5 => Self::Destination,
            6 => Self::Learned,
            _ => Self::None,
        }
    }

    /// The word used in listings.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "no rule",
            Self::Default => "default",
            Self::Node => "node",
            Self::Workload => "workload",
            Self::Live => "live",
            Self::Destination => "destination",
            Self::Learned => "learned",
        }
    }
}

/// How many blocks the `PORTS` map takes, of all profiles together.
pub const PORT_MAP_CAPACITY: u32 = 65_536;

/// Key of the `PORTS` map: a block of ports that share their first `prefix_len` bits.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct PortKey {
    /// The profile, as in [`crate::Workload::profile`].
    pub profile: u32,
    /// First port of the block, host byte order; the bits beyond `prefix_len` are zero.
    pub port: u16,
    /// How many leading bits of the port count: 16 is a single port, 0 is every port.
    pub prefix_len: u8,
    /// A [`Direction`].
    pub direction: u8,
}

/// Value of the `PORTS` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "user", derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable))]
pub struct PortRule {
    /// A [`Decision`].
    pub decision: u8,
    /// A [`RuleSource`].
    pub source: u8,
}

impl PortRule {
    /// What holds for a port that no rule names.
    pub const DETECT: Self = Self::new(Decision::Detect, RuleSource::None);

    /// A rule.
    #[must_use]
    pub const fn new(decision: Decision, source: RuleSource) -> Self {
        Self { decision: decision as u8, source: source as u8 }
    }

    /// What is done with a connection to the port.
    #[inline(always)]
    #[must_use]
    pub const fn decision(self) -> Decision {
        Decision::from_code(self.decision)
    }

    /// Where the rule was written.
    #[must_use]
    pub const fn source(self) -> RuleSource {
        RuleSource::from_code(self.source)
    }
}

/// The prefix lengths that a profile uses in one direction: bit *n* stands for length *n*.
pub type PrefixLens = u32;

/// The rule for a port. `lookup` reads the `PORTS` map.
///
/// The blocks of a profile never overlap (the writer sees to it), so the order of the lookups
/// does not matter.
#[inline(always)]
pub fn decide(
    profile: u32,
    direction: Direction,
    port: u16,
    prefix_lens: PrefixLens,
    mut lookup: impl FnMut(&PortKey) -> Option<PortRule>,
) -> PortRule {
    // Single ports first: they are the usual rule.
    for prefix_len in (0..=16_u8).rev() {
        if prefix_lens & (1 << prefix_len) == 0 {
            continue;
        }
        // In 32 bits, because shifting a u16 by 16 is not defined.
        let mask = (0xffff_0000_u32 >> prefix_len) & 0xffff;
        let port = port & mask as u16;
        let key = PortKey { profile, port, prefix_len, direction: direction as u8 };
        if let Some(rule) = lookup(&key) {
            return rule;
        }
    }
    PortRule::DETECT
}
