//! Why connections end.

use super::labels::Peer;

/// Why a connection ended; the closed set that metrics and reports draw from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CloseReason {
    /// Both sides finished.
    Eof,
    /// The client reset the established connection.
    ClientReset,
    /// The server reset the established connection.
    ServerReset,
    /// The server refused the connection.
    Refused,
    /// No route to the server, or its network said so.
    Unreachable,
    /// The server did not answer the connect in time.
    TimedOut,
    /// The client's end of the established connection stopped answering.
    ClientTimedOut,
    /// The server's end of the established connection stopped answering.
    ServerTimedOut,
    /// The accepted connection has no usable original destination.
    NoOriginalDst,
    /// The original destination is the proxy itself.
    Loop,
    /// The agent ended while the connection lived.
    Shutdown,
    /// A connection that was skipped or on the kernel path never came to be.
    NotEstablished,
    /// The kernel had no room to tell how a connection on the kernel path has ended.
    Unreported,
    /// Out of descriptors, memory or local ports.
    Limit,
    /// Whatever else failed.
    Error,
}

impl CloseReason {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 15] = [
        Self::Eof,
        Self::ClientReset,
        Self::ServerReset,
        Self::Refused,
        Self::Unreachable,
        Self::TimedOut,
        Self::ClientTimedOut,
        Self::ServerTimedOut,
        Self::NoOriginalDst,
        Self::Loop,
        Self::Shutdown,
        Self::NotEstablished,
        Self::Unreported,
        Self::Limit,
        Self::Error,
    ];

    /// The word used in metrics and reports.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Eof => "eof",
            Self::ClientReset => "client-reset",
            Self::ServerReset => "server-reset",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed-out",
            Self::ClientTimedOut => "client-timed-out",
            Self::ServerTimedOut => "server-timed-out",
            Self::NoOriginalDst => "no-original-dst",
            Self::Loop => "loop",
            Self::Shutdown => "shutdown",
            Self::NotEstablished => "not-established",
            Self::Unreported => "unreported",
            Self::Limit => "limit",
            Self::Error => "error",
        }
    }

    /// The `errno` label of `tcp_close_total`: empty where no system call failed, and Linkerd's
    /// `UNKNOWN_ERRNO` where one did that has no reason of its own.
    #[must_use]
    pub const fn errno(self) -> &'static str {
        match self {
            Self::ClientReset | Self::ServerReset => "ECONNRESET",
            Self::Refused => "ECONNREFUSED",
            Self::Unreachable => "EHOSTUNREACH",
            Self::TimedOut | Self::ClientTimedOut | Self::ServerTimedOut => "ETIMEDOUT",
            Self::Limit => "EMFILE",
            Self::Error => "UNKNOWN_ERRNO",
            Self::Eof
            | Self::NoOriginalDst
            | Self::Loop
            | Self::Shutdown
            | Self::NotEstablished
            | Self::Unreported => "",
        }
    }

    /// The `errno` label of one of the two sockets: an error after establishment is told of the
    /// socket that had it, any other of `src`, because a `dst` that never opened has no close.
    pub(super) const fn errno_of(self, peer: Peer) -> &'static str {
        let of_server = matches!(self, Self::ServerReset | Self::ServerTimedOut);
        match peer {
            Peer::Src if of_server => "",
            Peer::Dst if !of_server => "",
            Peer::Src | Peer::Dst => self.errno(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_label_of_its_own() {
        let labels: BTreeSet<_> = CloseReason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), CloseReason::ALL.len());
    }

    #[test]
    fn all_lists_the_reasons_in_the_order_of_declaration() {
        for (index, reason) in CloseReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }

    #[test]
    fn a_reset_is_told_of_the_socket_that_was_reset() {
        assert_eq!(CloseReason::ClientReset.errno_of(Peer::Src), "ECONNRESET");
        assert_eq!(CloseReason::ClientReset.errno_of(Peer::Dst), "");
        assert_eq!(CloseReason::ServerReset.errno_of(Peer::Src), "");
        assert_eq!(CloseReason::ServerReset.errno_of(Peer::Dst), "ECONNRESET");
    }

    #[test]
    fn a_failed_connect_is_told_of_the_client_s_socket() {
        assert_eq!(CloseReason::Refused.errno_of(Peer::Src), "ECONNREFUSED");
    }
}
