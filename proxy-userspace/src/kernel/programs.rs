//! The embedded programs: loading them and attaching them to cgroups.

use aya::{
    Ebpf, EbpfLoader,
    maps::SockHash,
    programs::{
        CgroupAttachMode, CgroupSockAddr, CgroupSockopt, Program, ProgramError, SkMsg, SockOps,
        cgroup_sockopt::CgroupSockoptLink,
        links::{FdLink, LinkError, PinnedLink},
        sk_msg::SkMsgLink,
    },
};

use super::{btf, cgroup::Cgroup, error::KernelError, pins::Pins};

/// Built by build.rs from `proxy-ebpf`.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sluice-ebpf"));

/// The hooks of a workload's cgroup that take addresses.
const SOCK_ADDR_HOOKS: [&str; 4] = ["getpeername4", "getpeername6", "connect4", "connect6"];
pub(super) const SOCK_OPS: &str = "sock_ops";
const SOCK_OPS_PROXY: &str = "sock_ops_proxy";
const SOCK_OPS_KUBELET: &str = "sock_ops_kubelet";
pub(super) const SK_LOOKUP: &str = "sk_lookup_verdict";
const GETSOCKOPT: &str = "getsockopt";
const SK_MSG: &str = "sk_msg_verdict";
const SK_MSG_BYPASS: &str = "sk_msg_bypass";

/// The programs, in the order in which a reader of `check` meets them.
pub(super) const ALL: [&str; 11] = [
    "connect4",
    "connect6",
    "getpeername4",
    "getpeername6",
    SOCK_OPS,
    SOCK_OPS_PROXY,
    SOCK_OPS_KUBELET,
    SK_LOOKUP,
    GETSOCKOPT,
    SK_MSG,
    SK_MSG_BYPASS,
];

/// A cgroup link always attaches beside other programs (BPF_F_ALLOW_MULTI), and the kernel refuses
/// the flag itself with EINVAL (`cgroup_bpf_link_attach`, 6.18): so no flag.
const ATTACH_MODE: CgroupAttachMode = CgroupAttachMode::Single;

/// Whether sluice does not run without a program.
pub(super) fn is_required(name: &str) -> bool {
    ![SOCK_OPS_KUBELET, SK_LOOKUP, GETSOCKOPT, SK_MSG, SK_MSG_BYPASS].contains(&name)
}

/// Makes the maps; loads no program yet.
pub(super) fn open_object() -> Result<Ebpf, KernelError> {
    let mut loader = EbpfLoader::new();
    let offsets = btf::tcp_sock_offsets();
    if let Ok(offsets) = &offsets {
        loader
            .override_global("TCP_WRITE_SEQ", &offsets.write_seq, true)
            .override_global("TCP_ULP_OPS", &offsets.ulp_ops, true)
            .override_global("TCP_COPIED_SEQ", &offsets.copied_seq, true)
            .override_global("SOCK_RMEM_ALLOC", &offsets.rmem_alloc, true)
            .override_global("SOCK_RCVBUF", &offsets.rcvbuf, true)
            .override_global("SOCK_IPV6ONLY", &offsets.ipv6_only, true)
            .override_global("SOCK_IPV6ONLY_BIT", &offsets.ipv6_only_bit, true)
            .override_global("SOCK_ERR", &offsets.error, true);
        if let Some(is_mptcp) = &offsets.is_mptcp {
            loader.override_global("TCP_IS_MPTCP", is_mptcp, true);
        }
    }
    loader.load(OBJECT).map_err(KernelError::load)
}

/// Loads one program; its maps are made already.
pub(super) fn load(ebpf: &mut Ebpf, name: &'static str) -> Result<(), KernelError> {
    let program = ebpf.program_mut(name).ok_or(KernelError::Missing { kind: "program", name })?;
    let result = if let Program::CgroupSockAddr(program) = program {
        program.load()
    } else if let Program::SockOps(program) = program {
        program.load()
    } else if let Program::CgroupSockopt(program) = program {
        program.load()
    } else if let Program::SkLookup(program) = program {
        program.load()
    } else if let Program::SkMsg(program) = program {
        // Without them the verifier would refuse it too, and not say why.
        btf::tcp_sock_offsets().map_err(KernelError::Btf)?;
        program.load()
    } else {
        return Err(KernelError::Missing { kind: "program of the expected type", name });
    };
    result.map_err(|source| KernelError::program(name, source))
}

/// Loads what every workload needs.
pub(super) fn load_required(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    ALL.into_iter().filter(|name| is_required(name)).try_for_each(|name| load(ebpf, name))
}

/// A hook at a cgroup; dropping it detaches it, and removes its pin.
#[derive(Debug)]
#[must_use = "dropping it detaches the hook"]
pub(crate) struct Attached {
    link: Option<CgroupLink>,
}

#[derive(Debug)]
enum CgroupLink {
    /// Goes with this process.
    Held(#[expect(dead_code, reason = "held for its Drop")] FdLink),
    /// Likewise.
    Sockopt(#[expect(dead_code, reason = "held for its Drop")] CgroupSockoptLink),
    /// Stays when this process is killed, so that the hook can still tell that the proxy is gone.
    Pinned(PinnedLink),
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Some(CgroupLink::Pinned(link)) = self.link.take()
            && let Err(error) = link.unpin()
        {
            tracing::warn!(%error, "a hook stays attached");
        }
    }
}

/// Attaches the hooks of a workload to its cgroup, beside whatever is attached there.
pub(super) fn attach_workload(
    ebpf: &mut Ebpf,
    cgroup: &Cgroup,
    pins: Option<&Pins>,
) -> Result<Vec<Attached>, KernelError> {
    let mut attached = vec![attach_sock_ops(ebpf, SOCK_OPS, cgroup, pins)?];
    // The hooks that redirect come last: what they lead to is in place by then.
    for name in SOCK_ADDR_HOOKS {
        let program: &mut CgroupSockAddr = program(ebpf, name)?;
        let link = program
            .attach(cgroup.dir(), ATTACH_MODE)
            .and_then(|id| program.take_link(id))
            .map_err(|source| KernelError::program(name, source))?;
        attached.push(hold(link, name, cgroup, pins)?);
    }
    Ok(attached)
}

/// Attaches `sock_ops` alone: to the cgroup in which a foreign proxy's listeners are opened, and for the
/// bypass's self-test.
pub(super) fn attach_workload_sock_ops(ebpf: &mut Ebpf, cgroup: &Cgroup) -> Result<Attached, KernelError> {
    attach_sock_ops(ebpf, SOCK_OPS, cgroup, None)
}

/// Attaches `sock_ops` to the cgroup in which this proxy's own listeners are opened.
pub(super) fn attach_listeners(ebpf: &mut Ebpf, cgroup: &Cgroup) -> Result<Attached, KernelError> {
    attach_sock_ops(ebpf, SOCK_OPS_PROXY, cgroup, None)
}

/// Attaches to the kubelet's cgroup what notes its connections.
pub(super) fn attach_kubelet(ebpf: &mut Ebpf, cgroup: &Cgroup) -> Result<Attached, KernelError> {
    let loaded: &mut SockOps = program(ebpf, SOCK_OPS_KUBELET)?;
    if loaded.fd().is_err() {
        load(ebpf, SOCK_OPS_KUBELET)?;
    }
    attach_sock_ops(ebpf, SOCK_OPS_KUBELET, cgroup, None)
}

fn attach_sock_ops(
    ebpf: &mut Ebpf,
    name: &'static str,
    cgroup: &Cgroup,
    pins: Option<&Pins>,
) -> Result<Attached, KernelError> {
    let program: &mut SockOps = program(ebpf, name)?;
    let link = program
        .attach(cgroup.dir(), ATTACH_MODE)
        .and_then(|id| program.take_link(id))
        .map_err(|source| KernelError::program(name, source))?;
    hold(link, name, cgroup, pins)
}

/// Attaches the hook that answers SO_ORIGINAL_DST to a foreign proxy's cgroup. Never pinned: aya 0.14
/// does not hand out the link's descriptor.
pub(super) fn attach_getsockopt(ebpf: &mut Ebpf, cgroup: &Cgroup) -> Result<Attached, KernelError> {
    let program: &mut CgroupSockopt = program(ebpf, GETSOCKOPT)?;
    if program.fd().is_err() {
        program.load().map_err(|source| KernelError::program(GETSOCKOPT, source))?;
    }
    let link = program
        .attach(cgroup.dir(), ATTACH_MODE)
        .and_then(|id| program.take_link(id))
        .map_err(|source| KernelError::program(GETSOCKOPT, source))?;
    Ok(Attached { link: Some(CgroupLink::Sockopt(link)) })
}

/// Takes a link over, and pins it if there is where.
fn hold<L>(link: L, hook: &'static str, cgroup: &Cgroup, pins: Option<&Pins>) -> Result<Attached, KernelError>
where
    FdLink: TryFrom<L, Error = LinkError>,
{
    let link =
        FdLink::try_from(link).map_err(|source| KernelError::Link { hook, source: Box::new(source) })?;
    let link = match pins {
        None => CgroupLink::Held(link),
        Some(pins) => {
            let path = pins.path_of_link(cgroup.id(), hook);
            let pinned =
                link.pin(&path).map_err(|source| KernelError::Pin { path, source: Box::new(source) })?;
            CgroupLink::Pinned(pinned)
        }
    };
    Ok(Attached { link: Some(link) })
}

/// Loads `sk_msg` and attaches it to the clients' sockets.
pub(super) fn attach_sk_msg(ebpf: &mut Ebpf) -> Result<SkMsgLink, KernelError> {
    attach_to_sockets(ebpf, SK_MSG, "CLIENT_SOCKETS")
}

/// Loads the same-node bypass and attaches it to the sockets at both ends.
pub(super) fn attach_bypass(ebpf: &mut Ebpf) -> Result<SkMsgLink, KernelError> {
    attach_to_sockets(ebpf, SK_MSG_BYPASS, "BYPASS_SOCKETS")
}

/// Loads an `sk_msg` program and attaches it to a map of sockets.
fn attach_to_sockets(
    ebpf: &mut Ebpf,
    name: &'static str,
    map_name: &'static str,
) -> Result<SkMsgLink, KernelError> {
    let missing = KernelError::Missing { kind: "map", name: map_name };
    let map = SockHash::<_, u64>::try_from(ebpf.map(map_name).ok_or(missing)?)
        .map_err(|source| KernelError::Map { action: "open", map: map_name, source: Box::new(source) })?;
    let map_fd = map.fd().try_clone().map_err(|source| KernelError::Map {
        action: "open",
        map: map_name,
        source: Box::new(source.into()),
    })?;
    load(ebpf, name)?;
    let program: &mut SkMsg = program(ebpf, name)?;
    let id = program.attach(&map_fd).map_err(|source| KernelError::program(name, source))?;
    program.take_link(id).map_err(|source| KernelError::program(name, source))
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, KernelError>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or(KernelError::Missing { kind: "program", name })?
        .try_into()
        .map_err(|source| KernelError::program(name, source))
}
