//! What observation can say of a connection.

/// What a connection speaks, as far as its bytes show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge, in the clear.
    Http2,
    /// HTTP/2 whose first request has the content type of gRPC (gRPC-Web stays `Http2`).
    Grpc,
    /// TLS: the client sent a ClientHello.
    Tls,
    /// Anything else, and everything that is not inspected.
    Opaque,
}

impl Protocol {
    /// The name in metrics and reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Http1 => "http/1",
            Self::Http2 => "http/2",
            Self::Grpc => "grpc",
            Self::Tls => "tls",
            Self::Opaque => "opaque",
        }
    }
}

/// Why the protocol is held to be what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DetectedBy {
    /// The client's bytes show it.
    ClientBytes,
    /// The server spoke before the client did.
    ServerFirst,
    /// The configuration says so; no byte was looked at.
    Config,
    /// Neither side has said anything.
    Silent,
}

impl DetectedBy {
    /// The name in metrics and reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ClientBytes => "client-bytes",
            Self::ServerFirst => "server-first",
            Self::Config => "config",
            Self::Silent => "silent",
        }
    }
}

/// What is known of a connection so far; at its close, the final word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// What the connection speaks.
    pub protocol: Protocol,
    /// What that rests on.
    pub detected_by: DetectedBy,
    /// The server name the client asked for: ASCII, at most 255 bytes, as the client wrote it. TLS only.
    pub sni: Option<String>,
    /// The protocols that the client offered, in its order, at most 16. TLS only.
    pub alpn: Vec<String>,
}

impl Observation {
    /// An observation that carries nothing of TLS.
    pub(super) const fn plain(protocol: Protocol, detected_by: DetectedBy) -> Self {
        Self { protocol, detected_by, sni: None, alpn: Vec::new() }
    }
}
