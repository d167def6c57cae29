//! The annotations that are read, and the values that an object has for them.

use std::fmt;

/// An annotation that is read, on Pods, Namespaces or Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Annotation {
    /// Whether a pod is enrolled.
    Inject,
    /// Ports that are proxied and not inspected.
    OpaquePorts,
    /// Ports that are left alone where the pod accepts.
    SkipInboundPorts,
    /// Ports that are left alone where the pod connects.
    SkipOutboundPorts,
    /// Ports that are left alone in both directions.
    SkipPorts,
    /// Addresses that are left alone.
    SkipSubnets,
    /// Whether connections within the node go past TCP.
    SameNodeBypass,
}

impl Annotation {
    /// Every one, in the order in which they are listed.
    pub const ALL: [Self; 7] = [
        Self::Inject,
        Self::OpaquePorts,
        Self::SkipInboundPorts,
        Self::SkipOutboundPorts,
        Self::SkipPorts,
        Self::SkipSubnets,
        Self::SameNodeBypass,
    ];

    /// The key in an object's metadata.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Inject => "linkerd.io/inject",
            Self::OpaquePorts => "config.linkerd.io/opaque-ports",
            Self::SkipInboundPorts => "config.linkerd.io/skip-inbound-ports",
            Self::SkipOutboundPorts => "config.linkerd.io/skip-outbound-ports",
            Self::SkipPorts => "linkerd.io/skip-ports",
            Self::SkipSubnets => "config.linkerd.io/skip-subnets",
            Self::SameNodeBypass => "sluice/same-node-bypass",
        }
    }
}

impl fmt::Display for Annotation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.label())
    }
}

/// What an object says, as it was written; the annotations of others are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    written: Vec<(Annotation, Box<str>)>,
}

impl Annotations {
    /// What was written for one of them; `None` where it is not there, which is not the same as empty.
    #[must_use]
    pub fn written(&self, annotation: Annotation) -> Option<&str> {
        self.written.iter().find(|(key, _)| *key == annotation).map(|(_, written)| &**written)
    }

    /// Without all but one.
    #[must_use]
    pub(super) fn only(mut self, annotation: Annotation) -> Self {
        self.written.retain(|(key, _)| *key == annotation);
        self
    }
}

/// Takes those that are read out of all that an object has.
impl<'a> FromIterator<(&'a str, &'a str)> for Annotations {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(all: I) -> Self {
        let known = |key: &str| Annotation::ALL.into_iter().find(|annotation| annotation.label() == key);
        let mut written: Vec<(_, Box<str>)> =
            all.into_iter().filter_map(|(key, value)| Some((known(key)?, value.into()))).collect();
        written.sort_unstable_by_key(|(key, _)| *key);
        Self { written }
    }
}
