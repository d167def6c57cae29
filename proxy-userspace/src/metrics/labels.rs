//! The label sets of the metric families.

use std::net::SocketAddr;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use proxy_common::Direction;

/// The value of a label whose own value is not kept, to bound cardinality.
pub const OVERFLOW: &str = "overflow";

/// Which of a connection's two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// The socket to the side that connected.
    Src,
    /// The socket to the upstream.
    Dst,
}

impl Peer {
    /// The value of the label `peer`.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Src => "src",
            Self::Dst => "dst",
        }
    }
}

/// The target labels: an address, or [`OVERFLOW`] three times.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// `ip:port`, IPv6 in brackets.
    pub(super) addr: Arc<str>,
    /// The address alone, without brackets.
    pub(super) ip: Arc<str>,
    /// The port alone.
    pub(super) port: Arc<str>,
}

impl Target {
    /// The labels of an address; IPv4 mapped into IPv6 is shown as IPv4.
    pub(super) fn new(addr: SocketAddr) -> Self {
        let (ip, port) = (addr.ip().to_canonical(), addr.port());
        Self {
            addr: SocketAddr::new(ip, port).to_string().into(),
            ip: ip.to_string().into(),
            port: port.to_string().into(),
        }
    }

    /// The labels of every target beyond the bound.
    pub(super) fn overflow() -> Self {
        let label: Arc<str> = OVERFLOW.into();
        Self { addr: Arc::clone(&label), ip: Arc::clone(&label), port: label }
    }
}

/// The labels of one socket's series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SocketLabels {
    direction: &'static str,
    peer: &'static str,
    workload: Arc<str>,
    target_addr: Arc<str>,
    target_ip: Arc<str>,
    target_port: Arc<str>,
}

impl SocketLabels {
    /// The labels of a socket.
    pub(super) fn new(direction: Direction, peer: Peer, workload: &Arc<str>, target: &Target) -> Self {
        Self {
            direction: direction.label(),
            peer: peer.label(),
            workload: Arc::clone(workload),
            target_addr: Arc::clone(&target.addr),
            target_ip: Arc::clone(&target.ip),
            target_port: Arc::clone(&target.port),
        }
    }
}

/// The labels of a closed socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct SocketCloseLabels {
    /// The socket.
    #[prometheus(flatten)]
    pub(super) socket: SocketLabels,
    /// See [`super::CloseReason::errno`].
    pub(super) errno: &'static str,
}

/// The labels of a connection's duration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DurationLabels {
    /// See [`Direction::label`].
    pub(super) direction: &'static str,
    /// See [`Peer::label`].
    pub(super) peer: &'static str,
    /// The workload's name, or [`OVERFLOW`].
    pub(super) workload: Arc<str>,
}

/// The labels of what is counted of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct WorkloadLabels {
    /// See [`Direction::label`].
    pub(super) direction: &'static str,
    /// The workload's name, or [`OVERFLOW`].
    pub(super) workload: Arc<str>,
}

/// The labels of a connection's end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabels {
    /// See [`Direction::label`].
    pub(super) direction: &'static str,
    /// The workload's name, or [`OVERFLOW`].
    pub(super) workload: Arc<str>,
    /// See [`super::CloseReason::label`].
    pub(super) reason: &'static str,
}

/// The label of a detection result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResultLabels {
    /// `http/1`, `http/2`, `not_http` or `silent`.
    pub(super) result: &'static str,
}

/// The labels of a connection's protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ProtocolLabels {
    /// Linkerd's word for the protocol.
    pub(super) protocol: &'static str,
    /// Why it is that.
    pub(super) detected_by: &'static str,
}

/// The labels of a hook's outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HookLabels {
    /// The hook, by the kernel's name.
    pub(super) hook: &'static str,
    /// What happened.
    pub(super) outcome: &'static str,
}

/// The label of a number of pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StateLabels {
    /// What becomes of them.
    pub(super) state: &'static str,
}

/// The label of a watch of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResourceLabels {
    /// What is watched.
    pub(super) resource: &'static str,
}

/// The label of the build.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BuildLabels {
    /// The version of the package.
    pub(super) version: &'static str,
}
