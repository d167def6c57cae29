//! What a running process has loaded into the kernel.

use std::path::Path;

use aya::{Ebpf, programs::sk_msg::SkMsgLink};

use super::{
    cgroup::Cgroup,
    control::Control,
    error::KernelError,
    inbound::{self, InboundHook},
    kernel_log::KernelLog,
    kernel_path::{ClosedEvents, OpenConnections},
    netns::Netns,
    pins::Pins,
    programs::{self, Attached},
    records::Records,
    self_test::{self, Verdict},
    sys,
};

/// Redirected and not yet consumed bytes of one connection above which it turns native. TCP holds
/// about as much in its own buffers.
const SK_MSG_FUSE_BYTES: u64 = 1 << 20;
/// A proxy that has not shown a heartbeat for so long is taken for dead or hung.
const HEARTBEAT_MAX_AGE_NS: u64 = 800_000_000;

/// The loaded programs and maps. Dropping it takes them out of the kernel, and connections go direct.
pub(crate) struct Dataplane {
    ebpf: Ebpf,
    inbound: inbound::Template,
    sk_msg: Option<SkMsgLink>,
    bypass: Option<SkMsgLink>,
    listeners: Option<Attached>,
    kubelet: Option<Attached>,
    /// Last, so that the pins go after the programs.
    pins: Option<Pins>,
}

impl Dataplane {
    /// Loads the programs; attaches nothing. The maps are pinned to `pin_dir`, if there is one.
    pub(crate) fn load(pin_dir: Option<&Path>) -> Result<Self, KernelError> {
        let pins = pin_dir.map(Pins::claim).transpose()?;
        if let Err(error) = sys::lift_memlock_limit() {
            tracing::debug!(%error, "the locked-memory limit stays");
        }
        let mut ebpf = programs::open_object()?;
        let inbound = inbound::Template::of(&ebpf)?;
        programs::load_required(&mut ebpf)?;
        let mut control = Control::new(&ebpf)?;
        control.change_settings(|settings| {
            settings.sk_msg_fuse_bytes = SK_MSG_FUSE_BYTES;
            settings.heartbeat_max_age_ns = HEARTBEAT_MAX_AGE_NS;
        })?;
        control.beat()?;
        // The maps show to others when they are complete.
        if let Some(pins) = &pins {
            pins.pin(&ebpf)?;
        }
        Ok(Self { ebpf, inbound, sk_msg: None, bypass: None, listeners: None, kubelet: None, pins })
    }

    /// The maps shared with the command line.
    pub(crate) fn control(&self) -> Result<Control, KernelError> {
        Control::new(&self.ebpf)
    }

    /// Waits for whoever else is changing the pinned maps; dropping the result lets the next one in.
    pub(crate) fn lock_for_writing(&self) -> Result<Option<std::fs::File>, KernelError> {
        self.pins.as_ref().map(Pins::lock_for_writing).transpose()
    }

    /// What the hooks hand over.
    pub(crate) fn records(&self) -> Result<Records, KernelError> {
        Records::new(&self.ebpf)
    }

    /// The open connections on the kernel path.
    pub(crate) fn open_connections(&self) -> Result<OpenConnections, KernelError> {
        OpenConnections::new(&self.ebpf)
    }

    /// The ring of connections that went by themselves and have ended. One reader.
    pub(crate) fn closed_events(&self) -> Result<ClosedEvents, KernelError> {
        ClosedEvents::new(&self.ebpf)
    }

    /// The programs' log messages. One reader.
    pub(crate) fn kernel_log(&mut self) -> Result<KernelLog, KernelError> {
        KernelLog::new(&mut self.ebpf)
    }

    /// Attaches a workload's hooks to its cgroup.
    ///
    /// Where the maps are pinned, so are the hooks: they outlive a killed agent, and tell then that
    /// there is no proxy.
    pub(crate) fn attach_workload(&mut self, cgroup: &Cgroup) -> Result<Vec<Attached>, KernelError> {
        programs::attach_workload(&mut self.ebpf, cgroup, self.pins.as_ref())
    }

    /// Attaches to the cgroup in which the proxy's listeners are opened, so that accepted sockets
    /// take their clients' records over.
    pub(crate) fn attach_listeners(&mut self, cgroup: &Cgroup) -> Result<(), KernelError> {
        self.listeners = Some(programs::attach_listeners(&mut self.ebpf, cgroup)?);
        Ok(())
    }

    /// Attaches to the kubelet's cgroup what lets its probes pass inbound, and leaves the one before, if
    /// there was one. Not pinned: without this process everything passes.
    pub(crate) fn attach_kubelet(&mut self, cgroup: Option<&Cgroup>) -> Result<(), KernelError> {
        self.kubelet = None;
        self.kubelet = cgroup.map(|cgroup| programs::attach_kubelet(&mut self.ebpf, cgroup)).transpose()?;
        Ok(())
    }

    /// Attaches the hooks of a workload whose proxy is a foreign one, and to that proxy's cgroup the
    /// hook that answers SO_ORIGINAL_DST.
    ///
    /// Not pinned: without this process nobody would answer, so the connections go direct then.
    pub(crate) fn attach_foreign(
        &mut self,
        cgroup: &Cgroup,
        proxy: &Cgroup,
    ) -> Result<Vec<Attached>, KernelError> {
        let mut attached = vec![
            programs::attach_getsockopt(&mut self.ebpf, proxy)?,
            programs::attach_workload_sock_ops(&mut self.ebpf, proxy)?,
        ];
        attached.extend(programs::attach_workload(&mut self.ebpf, cgroup, None)?);
        Ok(attached)
    }

    /// Attaches to a network namespace what brings inbound connections to the proxy.
    ///
    /// Where the maps are pinned, so is the hook, as those of [`Self::attach_workload`] are.
    pub(crate) fn attach_inbound(
        &self,
        netns: &Netns,
        netns_cookie: u64,
    ) -> Result<InboundHook, KernelError> {
        InboundHook::attach(&self.ebpf, &self.inbound, netns, netns_cookie, self.pins.as_ref())
    }

    /// Looks what `sk_msg` does to a socket on this kernel, once it is attached, and `sock_ops` to the
    /// cgroup of this process. What it did is not counted.
    pub(crate) fn test_sk_msg(&mut self) -> Result<Verdict, KernelError> {
        let verdict = self_test::of_sk_msg(&mut self.ebpf);
        self.control()?.reset_counters()?;
        Ok(verdict)
    }

    /// Looks what the same-node bypass does to the sockets of this process, which must be in this cgroup.
    /// By programs and maps of the test's own: nothing of it shows here.
    pub(crate) fn test_bypass(own_cgroup: &Cgroup) -> Result<Verdict, KernelError> {
        self_test::of_bypass(own_cgroup)
    }

    /// Removes what a killed agent left attached. Call it when this one is ready, so that there is no
    /// moment without hooks.
    pub(crate) fn remove_stale_pins(&self) {
        if let Some(pins) = &self.pins {
            pins.remove_stale();
        }
    }

    /// Takes `sk_msg` out again.
    pub(crate) fn detach_sk_msg(&mut self) {
        self.sk_msg = None;
    }

    /// Attaches `sk_msg`. New connections use it once the settings say so.
    pub(crate) fn attach_sk_msg(&mut self) -> Result<(), KernelError> {
        self.sk_msg = Some(programs::attach_sk_msg(&mut self.ebpf)?);
        Ok(())
    }

    /// Attaches the same-node bypass. New connections use it once the settings say so; those that do go on
    /// by it when this process has ended, until they are closed.
    pub(crate) fn attach_bypass(&mut self) -> Result<(), KernelError> {
        self.bypass = Some(programs::attach_bypass(&mut self.ebpf)?);
        Ok(())
    }
}
