//! What is told of requests and their responses.

use std::{sync::Arc, time::Instant};

use super::{observation::Protocol, trace::TraceContext};

/// Bytes of an authority at most. A DNS name has 253 at most, and a port five.
pub const MAX_AUTHORITY: usize = 260;
/// Stands for an authority that is longer, or no text: its start may be part of a password, and part of a
/// name is another name. No authority is written so.
pub const UNREADABLE_AUTHORITY: &str = "?";
/// Bytes that are kept of a target: of its start.
pub const MAX_TARGET: usize = 256;

/// Learns of requests and responses as they pass.
///
/// Every [`Listener::request`] is followed by one [`Listener::exchange`], when the response has ended
/// or can end no more, unless [`Listener::untracked`] follows at once, or observation ends first: then
/// [`Listener::lost`] is the last word, and it says of how many requests nothing more will be told.
pub trait Listener {
    /// Whether what costs an allocation for each request is wanted: targets and trace contexts.
    fn wants_details(&self) -> bool {
        false
    }
    /// A request's head is complete.
    fn request(&mut self, request: &Request);
    /// A request and its response are over.
    fn exchange(&mut self, exchange: &Exchange<'_>);
    /// The connection, or on HTTP/2 a stream, is something else from here on: `websocket`, `connect`,
    /// `h2c`, or another token that the client asked for, in lower case and of at most 32 bytes.
    fn upgraded(&mut self, to: &str);
    /// Of the request that was told last nothing more will be told; the connection is followed on.
    fn untracked(&mut self, why: Lost);
    /// The bytes cannot be followed any further.
    fn lost(&mut self, why: Lost, open: usize);
}

/// A request, as far as its head tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The version it was sent in.
    pub version: Version,
    /// What it asks for.
    pub method: Method,
    /// What its content type says it is.
    pub kind: Kind,
    /// Whom it asks: `:authority`, the authority of an absolute target, or `Host`; as it was sent, of at
    /// most [`MAX_AUTHORITY`] bytes, or [`UNREADABLE_AUTHORITY`]. Requests of one connection share it while
    /// it stays the same.
    pub authority: Option<Arc<str>>,
    /// The start of its target, at most [`MAX_TARGET`] bytes; kept where details are wanted, and where
    /// it names a gRPC method, while there is room for it. Calls of one method on a connection share it.
    pub target: Option<Arc<str>>,
    /// The trace that it belongs to; kept where details are wanted, while there is room for it.
    pub trace: Option<Box<TraceContext>>,
}

impl Request {
    /// The service and the method of a gRPC call.
    pub fn rpc(&self) -> Option<(&str, &str)> {
        if self.kind == Kind::Http {
            return None;
        }
        self.path()?.strip_prefix('/')?.rsplit_once('/')
    }

    /// What the request is sent in, as a connection's protocol is named: gRPC on HTTP/2 is gRPC.
    pub const fn protocol(&self) -> Protocol {
        match (self.version, self.kind) {
            (Version::Http10 | Version::Http11, _) => Protocol::Http1,
            (Version::Http2, Kind::Grpc) => Protocol::Grpc,
            (Version::Http2, Kind::Http | Kind::GrpcWeb) => Protocol::Http2,
        }
    }

    /// The path of the target: without what follows a `?`, which may be secret, and without the authority
    /// that a proxy is sent. `None` for a target that has no path, as of CONNECT.
    pub fn path(&self) -> Option<&str> {
        let target = self.target.as_deref()?;
        let target = target.split(['?', '#']).next()?;
        if target.starts_with('/') || target == "*" {
            return Some(target);
        }
        let (_scheme, rest) = target.split_once("://")?;
        Some(rest.find('/').and_then(|start| rest.get(start..)).unwrap_or("/"))
    }

    /// The authority, if it can be read, without the user's name and password.
    pub fn host(&self) -> Option<&str> {
        let authority = self.authority.as_deref().filter(|authority| *authority != UNREADABLE_AUTHORITY)?;
        Some(authority.rsplit_once('@').map_or(authority, |(_user, host)| host))
    }
}

/// An authority as it is told: as it was sent, if that can be read. `is_cut` says that there was more.
pub(super) fn readable_authority(sent: &[u8], is_cut: bool) -> &str {
    let is_whole = !is_cut && sent.len() <= MAX_AUTHORITY;
    str::from_utf8(sent).ok().filter(|_| is_whole).unwrap_or(UNREADABLE_AUTHORITY)
}

/// A request and its response, at their end.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// The request.
    pub request: &'a Request,
    /// When the request's head was complete.
    pub began: Instant,
    /// When the request's last byte had passed; `None` if it never did. It may be later than `ended`.
    pub request_ended: Option<Instant>,
    /// When the head of the final response was complete, or when there were gRPC trailers alone.
    pub response_began: Option<Instant>,
    /// When the response's last byte had passed, or when it was clear that it would not.
    pub ended: Instant,
    /// The status of the final response; 101 for an upgrade.
    pub status: Option<u16>,
    /// `grpc-status`, from the trailers or from a head without a body.
    pub grpc_status: Option<u32>,
    /// Bytes of the response's body, framing included.
    pub response_bytes: u64,
    /// How it ended.
    pub end: End,
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// The response is complete.
    Complete,
    /// The client reset the stream or the connection.
    ClientReset,
    /// The client closed the connection, and the server sent nothing more.
    ClientLeft,
    /// The server reset the stream or the connection, or went away.
    ServerReset,
    /// The connection ended before the response did.
    Cut,
}

impl End {
    /// The word used by taps and spans.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientReset => "client-reset",
            Self::ClientLeft => "client-left",
            Self::ServerReset => "server-reset",
            Self::Cut => "cut",
        }
    }
}

/// The version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1, and any other HTTP/1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Version {
    /// The version as it is written.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// What a request's content type says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Any but the following.
    Http,
    /// `application/grpc`, with any suffix.
    Grpc,
    /// `application/grpc-web` and `application/grpc-web-text`, with any suffix.
    GrpcWeb,
}

/// A request's method: those of RFC 9110 and RFC 5789, and all others together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `CONNECT`
    Connect,
    /// `OPTIONS`
    Options,
    /// `TRACE`
    Trace,
    /// `PATCH`
    Patch,
    /// Any other.
    Other,
}

impl Method {
    /// The method that is written so; methods are case-sensitive.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match bytes {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// The method as it is written, or `other`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            Self::Other => "other",
        }
    }
}

impl Kind {
    /// The kind that a content type tells.
    pub fn from_content_type(value: &[u8]) -> Self {
        const GRPC: &[u8] = b"application/grpc";
        let Some((start, rest)) = value.split_at_checked(GRPC.len()) else {
            return Self::Http;
        };
        if !start.eq_ignore_ascii_case(GRPC) {
            return Self::Http;
        }
        match rest {
            [] | [b'+' | b';' | b' ' | b'\t', ..] => Self::Grpc,
            rest if rest.get(..4).is_some_and(|web| web.eq_ignore_ascii_case(b"-web")) => Self::GrpcWeb,
            _ => Self::Http,
        }
    }
}

/// Why the bytes of a connection, or a request on it, cannot be followed any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lost {
    /// They break the rules of HTTP/1.
    MalformedHttp1,
    /// They break the rules of HTTP/2.
    MalformedHttp2,
    /// They break the rules of HPACK.
    MalformedHpack,
    /// A head, a header block or one of its parts is larger than is read.
    HeadTooLarge,
    /// More requests are open than are kept.
    TooManyRequests,
    /// More would have to be held than one connection may take.
    MemoryBound,
    /// The table of HPACK is larger than is kept.
    TableTooLarge,
    /// A response came without a request.
    UnaskedResponse,
    /// The client went on as if an upgrade had been granted that was refused.
    Ambiguous,
}

impl Lost {
    /// Every reason, in the order of declaration.
    pub const ALL: [Self; 9] = [
        Self::MalformedHttp1,
        Self::MalformedHttp2,
        Self::MalformedHpack,
        Self::HeadTooLarge,
        Self::TooManyRequests,
        Self::MemoryBound,
        Self::TableTooLarge,
        Self::UnaskedResponse,
        Self::Ambiguous,
    ];

    /// The word used in metrics and reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::MalformedHttp1 => "malformed-http1",
            Self::MalformedHttp2 => "malformed-http2",
            Self::MalformedHpack => "malformed-hpack",
            Self::HeadTooLarge => "head-too-large",
            Self::TooManyRequests => "too-many-requests",
            Self::MemoryBound => "memory-bound",
            Self::TableTooLarge => "table-too-large",
            Self::UnaskedResponse => "unasked-response",
            Self::Ambiguous => "ambiguous",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str) -> Request {
        Request {
            version: Version::Http11,
            method: Method::Get,
            kind: Kind::Http,
            authority: None,
            target: Some(target.into()),
            trace: None,
        }
    }

    #[test]
    fn a_path_is_shown_without_its_query_and_without_an_authority() {
        for (target, path) in [
            ("/", Some("/")),
            ("/a/b?token=secret", Some("/a/b")),
            ("/a#part", Some("/a")),
            ("*", Some("*")),
            ("http://user:secret@example.com/a?b", Some("/a")),
            ("http://example.com", Some("/")),
            ("http://example.com?a=/b", Some("/")),
            ("example.com:443", None),
            ("", None),
        ] {
            assert_eq!(request(target).path(), path, "{target}");
        }
    }

    #[test]
    fn a_host_is_shown_without_a_password() {
        let with = |authority: &str| Request { authority: Some(authority.into()), ..request("/") };
        assert_eq!(with("example.com:80").host(), Some("example.com:80"));
        assert_eq!(with("user:p@ss@example.com").host(), Some("example.com"));
        assert_eq!(with(UNREADABLE_AUTHORITY).host(), None);
        assert_eq!(request("/").host(), None);
    }

    #[test]
    fn a_method_is_named_without_a_query_and_without_an_authority() {
        for (target, rpc) in [
            ("/a.B/C", Some(("a.B", "C"))),
            ("/a.B/C?token=sec/ret", Some(("a.B", "C"))),
            ("/a.B/C#part", Some(("a.B", "C"))),
            ("http://user:secret@example.com/a.B/C?q", Some(("a.B", "C"))),
            ("/prefix/a.B/C", Some(("prefix/a.B", "C"))),
            ("/a.B?/C", None),
            ("a.B/C", None),
            ("*", None),
        ] {
            let grpc = Request { kind: Kind::Grpc, ..request(target) };
            assert_eq!(grpc.rpc(), rpc, "{target}");
            assert_eq!(request(target).rpc(), None);
        }
    }

    #[test]
    fn an_authority_is_told_whole_or_not_at_all() {
        let longest = "a".repeat(MAX_AUTHORITY);
        assert_eq!(readable_authority(longest.as_bytes(), false), longest);
        assert_eq!(readable_authority(&[b'a'; MAX_AUTHORITY + 1], false), UNREADABLE_AUTHORITY);
        assert_eq!(readable_authority(b"user:pass", true), UNREADABLE_AUTHORITY);
        assert_eq!(readable_authority(b"good.test\xff.evil", false), UNREADABLE_AUTHORITY);
    }

    #[test]
    fn grpc_is_a_protocol_on_http_2_only() {
        let of = |version, kind| Request { version, kind, ..request("/") }.protocol();
        assert_eq!(of(Version::Http2, Kind::Grpc), Protocol::Grpc);
        assert_eq!(of(Version::Http2, Kind::GrpcWeb), Protocol::Http2);
        assert_eq!(of(Version::Http11, Kind::Grpc), Protocol::Http1);
    }
}
