//! The maps of the agent that a subcommand asks, and whether it is still there.

use std::{path::Path, time::Duration};

use super::say;
use crate::kernel::{Control, Pins};

/// What an agent has pinned. A killed one leaves it.
pub(super) struct Asked {
    pub(super) pins: Pins,
    pub(super) control: Control,
}

impl Asked {
    /// Whoever has pinned there, dead or alive.
    pub(super) fn open(pin_dir: &Path) -> anyhow::Result<Self> {
        let pins = Pins::open(pin_dir)?;
        let control = Control::of_agent(&pins)?;
        Ok(Self { pins, control })
    }

    /// To change something: a running agent alone, for the next one begins with its config.
    pub(super) fn to_change(pin_dir: &Path) -> anyhow::Result<Self> {
        let asked = Self::open(pin_dir)?;
        anyhow::ensure!(
            asked.is_there(),
            "the agent that pinned in {} is not running, and the next one would not take the change over; \
             nothing was changed",
            pin_dir.display()
        );
        Ok(asked)
    }

    /// To look at something: what a dead agent left is shown too, with a warning.
    pub(super) fn to_look(pin_dir: &Path) -> anyhow::Result<Self> {
        const SO: &str = "open workloads go direct, strict ones are refused";
        let asked = Self::open(pin_dir)?;
        if !asked.is_there() {
            say(format_args!(
                "warning: the agent that pinned in {} is not running, and this is what it left: {SO}",
                pin_dir.display()
            ));
        } else if !asked.shows_heartbeat()? {
            say(format_args!("warning: the agent shows no heartbeat, so that the rules do not hold: {SO}"));
        }
        Ok(asked)
    }

    /// Whether the agent's process is there.
    pub(super) fn is_there(&self) -> bool {
        self.pins.is_claimed()
    }

    /// Whether the hooks take the agent for alive.
    pub(super) fn shows_heartbeat(&self) -> anyhow::Result<bool> {
        let max_age = Duration::from_nanos(self.control.settings()?.heartbeat_max_age_ns);
        Ok(self.control.heartbeat_age()? < max_age)
    }
}
