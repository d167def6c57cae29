//! What the hooks count.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = ($hook:literal, $outcome:literal)),+ $(,)?) => {
        /// One outcome of one hook; its code is the index into the `COUNTERS` map.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Counter {
            $($(#[$doc])* $name),+
        }

        impl Counter {
            /// Every counter, in the order of its code.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The hook, by the kernel's name.
            #[must_use]
            pub const fn hook(self) -> &'static str {
                match self { $(Self::$name => $hook),+ }
            }

            /// What happened, as a metric label.
            #[must_use]
            pub const fn outcome(self) -> &'static str {
                match self { $(Self::$name => $outcome),+ }
            }
        }
    };
}

counters! {
    /// Sent to the proxy.
    ConnectRedirected = ("connect", "redirected"),
    /// Left alone by the port config.
    ConnectSkipped = ("connect", "skipped"),
    /// Opaque, and left to the kernel, which counts its bytes.
    ConnectKernelPath = ("connect", "kernel_path"),
    /// The task's cgroup is not enrolled.
    ConnectUnknownWorkload = ("connect", "unknown_workload"),
    /// A loopback destination, and the workload does not include those.
    ConnectLoopback = ("connect", "loopback"),
    /// A link-local IPv6 destination: its interface is not known to the hook.
    ConnectLinkLocal = ("connect", "link_local"),
    /// The socket is bound to a device, so it could not reach the listener.
    ConnectBoundDevice = ("connect", "bound_device"),
    /// The destination is a listener of the proxy itself.
    ConnectOwnListener = ("connect", "own_listener"),
    /// The destination is a listener of another sluice, which has redirected this connection.
    ConnectOtherListener = ("connect", "other_listener"),
    /// The workload has no listener of the destination's family.
    ConnectNoListener = ("connect", "no_listener"),
    /// The proxy's listener is gone: went direct.
    ConnectListenerGone = ("connect", "listener_gone"),
    /// The proxy's heartbeat is stale: went direct.
    ConnectHeartbeatStale = ("connect", "heartbeat_stale"),
    /// The proxy is not there and the workload is strict: refused.
    ConnectRefused = ("connect", "refused_strict"),
    /// The socket's storage could not be had: went direct (or was refused, where strict).
    ConnectStorageFailed = ("connect", "storage_failed"),
    /// The destination is in a subnet that the workload skips.
    ConnectSkippedSubnet = ("connect", "skipped_subnet"),
    /// An inbound connection was brought to the proxy. Per packet that looks for a listener, as all
    /// outcomes of `sk_lookup` are.
    SkLookupRedirected = ("sk_lookup", "redirected"),
    /// Left alone by the port config.
    SkLookupSkipped = ("sk_lookup", "skipped"),
    /// Opaque, and left to the kernel, which counts its bytes.
    SkLookupKernelPath = ("sk_lookup", "kernel_path"),
    /// The client is in a subnet that the workload skips.
    SkLookupSkippedSubnet = ("sk_lookup", "skipped_subnet"),
    /// Nobody in the workload listens there.
    SkLookupNotListening = ("sk_lookup", "not_listening"),
    /// The kubelet's own connection.
    SkLookupProbe = ("sk_lookup", "probe"),
    /// The proxy has no listener of this family in the namespace: went to the application.
    SkLookupListenerGone = ("sk_lookup", "listener_gone"),
    /// The proxy's heartbeat is stale: went to the application.
    SkLookupHeartbeatStale = ("sk_lookup", "heartbeat_stale"),
    /// The proxy is not there and the workload is strict: refused.
    SkLookupRefused = ("sk_lookup", "refused_strict"),
    /// An original address was told.
    GetpeernameRestored = ("getpeername", "restored"),
    /// An original destination was told.
    GetsockoptAnswered = ("getsockopt", "answered"),
    /// SO_ORIGINAL_DST was asked for a connection that is not recorded.
    GetsockoptMissing = ("getsockopt", "missing"),
    /// The caller's buffer is too short for the answer.
    GetsockoptShortBuffer = ("getsockopt", "short_buffer"),
    /// An original destination was handed over.
    SockOpsHandedOver = ("sock_ops", "handed_over"),
    /// The hand-over map is full, or the insert failed: the proxy will reset the connection.
    SockOpsHandoffFailed = ("sock_ops", "handoff_failed"),
    /// The accepted end took the original destination over.
    SockOpsAccepted = ("sock_ops", "accepted"),
    /// The accepted end has no room for the original destination: the proxy will reset the connection.
    SockOpsAcceptFailed = ("sock_ops", "accept_failed"),
    /// An inbound connection's destination and rule were noted.
    SockOpsInbound = ("sock_ops", "inbound"),
    /// An application has accepted a connection on the kernel path, which is watched from now on.
    SockOpsKernelPath = ("sock_ops", "kernel_path"),
    /// An accepted connection on the kernel path has no room for what is to be known of it: its bytes
    /// go uncounted.
    SockOpsKernelPathFailed = ("sock_ops", "kernel_path_failed"),
    /// A connection on the kernel path could not be noted as open: its bytes show at its end only.
    SockOpsOpenFailed = ("sock_ops", "open_failed"),
    /// A place where an application listens could not be noted: connections to it go direct.
    SockOpsListenFailed = ("sock_ops", "listen_failed"),
    /// One of the kubelet's connections could not be noted: it goes through the proxy.
    SockOpsProbeFailed = ("sock_ops", "probe_failed"),
    /// The record of a connect that failed was collected.
    SockOpsCollected = ("sock_ops", "collected"),
    /// Callbacks could not be asked for.
    SockOpsCallbackFailed = ("sock_ops", "callback_failed"),
    /// The client's socket is in `CLIENT_SOCKETS`.
    SockOpsClientEnrolled = ("sock_ops", "client_enrolled"),
    /// The client's socket could not be put in `CLIENT_SOCKETS`.
    SockOpsClientEnrolFailed = ("sock_ops", "client_enrol_failed"),
    /// The proxy's socket is in `PROXY_SOCKETS`.
    SockOpsProxyEnrolled = ("sock_ops", "proxy_enrolled"),
    /// The proxy's socket could not be put in `PROXY_SOCKETS`.
    SockOpsProxyEnrolFailed = ("sock_ops", "proxy_enrol_failed"),
    /// The close of a connection that was skipped, or on the kernel path, was reported.
    SockOpsCloseReported = ("sock_ops", "close_reported"),
    /// The event ring is full: the close of such a connection is not reported.
    SockOpsEventLost = ("sock_ops", "event_lost"),
    /// A server of this node has seen the SYN of a client that may be bypassed.
    SockOpsBypassAnswered = ("sock_ops", "bypass_answered"),
    /// Both ends of a connection have found each other.
    SockOpsBypassPaired = ("sock_ops", "bypass_paired"),
    /// They have not, although the server had answered: the connection stays native.
    SockOpsBypassFailed = ("sock_ops", "bypass_failed"),
    /// A send was redirected.
    SkMsgRedirected = ("sk_msg", "redirected"),
    /// The first send of a connection found no lane: the connection stays native.
    SkMsgNoLane = ("sk_msg", "no_lane"),
    /// The byte fuse blew: the connection turned native.
    SkMsgFuse = ("sk_msg", "fuse"),
    /// Native bytes went before (TCP Fast Open, say): the connection stays native.
    SkMsgNativeBefore = ("sk_msg", "native_before"),
    /// The application has put a protocol on top of TCP (kernel TLS): the connection stays native.
    SkMsgUpperProtocol = ("sk_msg", "upper_protocol"),
    /// The redirect helper failed: the bytes are lost and the application is told (EACCES).
    SkMsgRedirectFailed = ("sk_msg", "redirect_failed"),
    /// A send went to the receiver's queue.
    BypassRedirected = ("sk_msg_bypass", "redirected"),
    /// The other end is not known yet, or is closed: the send went through TCP, as all below.
    BypassNoPeer = ("sk_msg_bypass", "no_peer"),
    /// Earlier bytes in TCP have not been read yet.
    BypassNativeBefore = ("sk_msg_bypass", "native_before"),
    /// The receiver's queue is at its limit.
    BypassFull = ("sk_msg_bypass", "full"),
    /// One end has a protocol on top of TCP (kernel TLS).
    BypassUpperProtocol = ("sk_msg_bypass", "upper_protocol"),
    /// The sender has finished, or the connection has ended.
    BypassNotOpen = ("sk_msg_bypass", "not_open"),
}

#[cfg(test)]
mod tests {
    use super::Counter;

    #[test]
    fn a_counter_s_code_is_its_place_in_the_list() {
        for (index, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, index);
        }
    }
}
