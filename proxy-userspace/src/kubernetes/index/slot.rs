//! What an object's annotations mean, and what holds on while one of them cannot be read.

use std::{sync::Arc, time::SystemTime};

use crate::{
    kubernetes::annotation::{Annotation, Annotations},
    policy::{BypassMode, SubnetSet},
};

/// Whether a pod is to be enrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inject {
    Enabled,
    Disabled,
}

impl Inject {
    fn parse(word: &str) -> Result<Self, String> {
        match word {
            "enabled" => Ok(Self::Enabled),
            "disabled" => Ok(Self::Disabled),
            // As long as a sensible value could be, and no longer.
            _ => {
                let got: String = word.chars().take(40).collect();
                Err(format!("expected enabled or disabled, got '{}'", got.escape_debug()))
            }
        }
    }
}

/// One annotation of one object: the last value that could be read, and what is wrong with today's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot<T> {
    value: Option<T>,
    wrong: Option<Box<Wrong>>,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The annotation, what was expected, what came.
    pub(super) message: Arc<str>,
    /// Since when it has been wrong in this way.
    pub(super) since: SystemTime,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { value: None, wrong: None }
    }
}

impl<T> Slot<T> {
    /// The value that holds at this level; `None` leaves it to the next.
    pub(super) fn value(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Takes what is written now. A value that cannot be read leaves the one before.
    fn update(
        &mut self,
        annotation: Annotation,
        written: Option<&str>,
        read: impl FnOnce(&str) -> Result<T, String>,
        now: SystemTime,
    ) {
        let Some(written) = written else {
            *self = Self::default();
            return;
        };
        match read(written) {
            Ok(value) => *self = Self { value: Some(value), wrong: None },
            Err(error) => {
                let message = format!("{annotation}: {error}");
                let is_old = self.wrong.as_ref().is_some_and(|wrong| *wrong.message == *message);
                if !is_old {
                    self.wrong = Some(Box::new(Wrong { message: message.into(), since: now }));
                }
            }
        }
    }
}

/// The annotations of an object. `P` is what a list of ports becomes: ports, or, on a namespace, names as
/// well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slots<P> {
    pub(super) inject: Slot<Inject>,
    pub(super) opaque: Slot<P>,
    pub(super) skip_inbound: Slot<P>,
    pub(super) skip_outbound: Slot<P>,
    pub(super) skip_both: Slot<P>,
    pub(super) skip_subnets: Slot<SubnetSet>,
    pub(super) same_node_bypass: Slot<BypassMode>,
}

impl<P> Default for Slots<P> {
    fn default() -> Self {
        Self {
            inject: Slot::default(),
            opaque: Slot::default(),
            skip_inbound: Slot::default(),
            skip_outbound: Slot::default(),
            skip_both: Slot::default(),
            skip_subnets: Slot::default(),
            same_node_bypass: Slot::default(),
        }
    }
}

impl<P> Slots<P> {
    /// Takes what the object says now; `ports` reads a list.
    pub(super) fn update(
        &mut self,
        annotations: &Annotations,
        ports: impl Fn(&str) -> Result<P, String>,
        now: SystemTime,
    ) {
        let Self { inject, opaque, skip_inbound, skip_outbound, skip_both, skip_subnets, same_node_bypass } =
            self;
        let written = |annotation| annotations.written(annotation);
        inject.update(Annotation::Inject, written(Annotation::Inject), Inject::parse, now);
        for (slot, annotation) in [
            (opaque, Annotation::OpaquePorts),
            (skip_inbound, Annotation::SkipInboundPorts),
            (skip_outbound, Annotation::SkipOutboundPorts),
            (skip_both, Annotation::SkipPorts),
        ] {
            slot.update(annotation, written(annotation), &ports, now);
        }
        let subnets = |list: &str| list.parse::<SubnetSet>().map_err(|error| error.to_string());
        skip_subnets.update(Annotation::SkipSubnets, written(Annotation::SkipSubnets), subnets, now);
        let mode = |word: &str| word.parse::<BypassMode>().map_err(|error| error.to_string());
        let annotation = Annotation::SameNodeBypass;
        same_node_bypass.update(annotation, written(annotation), mode, now);
    }

    /// What is wrong, and whether an earlier value holds on, by annotation.
    pub(super) fn wrongs(&self) -> impl Iterator<Item = (Annotation, Option<(&Wrong, bool)>)> {
        Annotation::ALL.into_iter().map(move |annotation| {
            let (wrong, is_kept) = match annotation {
                Annotation::Inject => (&self.inject.wrong, self.inject.value.is_some()),
                Annotation::OpaquePorts => (&self.opaque.wrong, self.opaque.value.is_some()),
                Annotation::SkipInboundPorts => (&self.skip_inbound.wrong, self.skip_inbound.value.is_some()),
                Annotation::SkipOutboundPorts => {
                    (&self.skip_outbound.wrong, self.skip_outbound.value.is_some())
                }
                Annotation::SkipPorts => (&self.skip_both.wrong, self.skip_both.value.is_some()),
                Annotation::SkipSubnets => (&self.skip_subnets.wrong, self.skip_subnets.value.is_some()),
                Annotation::SameNodeBypass => {
                    (&self.same_node_bypass.wrong, self.same_node_bypass.value.is_some())
                }
            };
            (annotation, wrong.as_deref().map(|wrong| (wrong, is_kept)))
        })
    }
}
