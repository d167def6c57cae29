//! Whether `sk_msg` is used, and for whom.

use std::fmt;

use crate::{
    kernel::{Control, Dataplane, KernelError},
    policy::SkMsgMode,
};

/// What was found out about `sk_msg` when this process started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SkMsg {
    attached: bool,
    passed: bool,
    why: String,
}

impl SkMsg {
    /// Attaches `sk_msg` where somebody wants it and it can be had.
    ///
    /// # Errors
    /// When it was asked for by name and the kernel refuses it.
    pub(super) fn start(
        dataplane: &mut Dataplane,
        control: &mut Control,
        wanted: SkMsgMode,
    ) -> Result<Self, KernelError> {
        let off = |why: String| Ok(Self { attached: false, passed: false, why });
        if wanted == SkMsgMode::Off {
            return off("switched off".to_owned());
        }
        let mut try_it = || {
            dataplane.attach_sk_msg()?;
            dataplane.test_sk_msg()
        };
        let verdict = match try_it() {
            Ok(verdict) => verdict,
            Err(error) if wanted == SkMsgMode::Auto => {
                dataplane.detach_sk_msg();
                return off(error.to_string());
            }
            Err(error) => return Err(error),
        };
        if !verdict.passed() && wanted == SkMsgMode::Auto {
            dataplane.detach_sk_msg();
            return off(format!("the self-test failed: {verdict}"));
        }
        if !verdict.passed() {
            tracing::warn!(%verdict, "sk_msg is switched on although its self-test failed");
        }
        control.change_settings(|settings| settings.sk_msg = 1)?;
        Ok(Self { attached: true, passed: verdict.passed(), why: format!("self-test: {verdict}") })
    }

    /// Whether it is there for those who may use it.
    pub(crate) fn is_attached(&self) -> bool {
        self.attached
    }

    /// Whether a workload with this choice uses it.
    pub(super) fn allows(&self, mode: SkMsgMode) -> bool {
        match mode {
            SkMsgMode::Off => false,
            SkMsgMode::Auto => self.attached && self.passed,
            SkMsgMode::On => self.attached,
        }
    }
}

impl fmt::Display for SkMsg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", if self.attached { "on" } else { "off" }, self.why)
    }
}
