//! Whether the same-node bypass is used, and for whom.

use std::fmt;

use crate::{
    kernel::{Cgroup, Control, Dataplane, KernelError, Verdict},
    policy::BypassMode,
};

/// What was found out about the same-node bypass: when this process started, or when a workload first wanted
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bypass {
    is_attached: bool,
    /// `None` until somebody wanted it.
    verdict: Option<Result<Verdict, String>>,
}

impl Bypass {
    /// Tries it, if a workload wants it and it has not been tried, and attaches it where it can be had.
    ///
    /// # Errors
    /// When it is to be used whatever comes, and the kernel refuses it.
    pub(super) fn want(
        &mut self,
        mode: BypassMode,
        dataplane: &mut Dataplane,
        control: &mut Control,
        own_cgroup: &Cgroup,
    ) -> Result<(), KernelError> {
        if mode == BypassMode::Disabled {
            return Ok(());
        }
        if self.verdict.is_none() {
            let verdict = Dataplane::test_bypass(own_cgroup).map_err(|error| error.with_causes());
            match &verdict {
                Ok(verdict) if verdict.passed() => {
                    tracing::info!("the same-node bypass passed its self-test")
                }
                Ok(verdict) => {
                    tracing::warn!(%verdict, "the same-node bypass failed its self-test: off, unless forced")
                }
                Err(error) => tracing::warn!(error, "the same-node bypass cannot be had"),
            }
            self.verdict = Some(verdict);
        }
        if !self.is_attached && (mode == BypassMode::Forced || self.has_passed()) {
            dataplane.attach_bypass()?;
            control.change_settings(|settings| settings.same_node_bypass = 1)?;
            self.is_attached = true;
        }
        Ok(())
    }

    /// Whether it is there for those who may use it.
    pub(crate) fn is_attached(&self) -> bool {
        self.is_attached
    }

    /// Whether a workload with this choice uses it.
    pub(super) fn allows(&self, mode: BypassMode) -> bool {
        match mode {
            BypassMode::Disabled => false,
            BypassMode::Enabled => self.is_attached && self.has_passed(),
            BypassMode::Forced => self.is_attached,
        }
    }

    fn has_passed(&self) -> bool {
        matches!(&self.verdict, Some(Ok(verdict)) if verdict.passed())
    }
}

impl fmt::Display for Bypass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is = if self.is_attached { "on" } else { "off" };
        match &self.verdict {
            None => write!(f, "{is} (no workload wants it)"),
            Some(Ok(verdict)) => write!(f, "{is} (self-test: {verdict})"),
            Some(Err(error)) => write!(f, "{is} ({error})"),
        }
    }
}
