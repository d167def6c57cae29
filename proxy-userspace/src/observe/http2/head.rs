//! What the header blocks of requests and responses say.

use super::{hpack::Name, recent::Recent};
use crate::observe::{
    Kind, MAX_AUTHORITY, MAX_TARGET, Method, Request, Version,
    exchange::readable_authority,
    trace::{TraceContext, TraceHeaders},
};

/// A request's head, gathered field by field. Of fields that come twice the first counts.
#[derive(Debug)]
pub(super) struct RequestHead {
    method: Option<Method>,
    kind: Option<Kind>,
    path: Option<Text<MAX_TARGET>>,
    /// Here too one byte more than it may have tells that it is too long.
    authority: Option<Text<{ MAX_AUTHORITY + 1 }>>,
    /// Counts where there is no `:authority`.
    host: Option<Text<{ MAX_AUTHORITY + 1 }>>,
    protocol: Option<Box<str>>,
    /// Where details are wanted.
    trace: Option<TraceHeaders>,
}

/// Bytes of targets and traces that are held for the streams that are open. A request that has no room for its
/// own is followed without: they are for witnesses, who must not make a difference to what is followed, and
/// gRPC methods are few.
pub(super) const MAX_DETAILS: usize = 4 * 1024;

/// The strings that a connection's requests share, and what else they hold.
#[derive(Debug, Default)]
pub(super) struct Shared {
    authorities: Recent,
    targets: Recent,
    /// How many have a trace.
    traces: usize,
    /// Bytes of the protocols that they ask for.
    protocols: usize,
}

/// A value, as much of it as is kept.
#[derive(Debug)]
struct Text<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl RequestHead {
    /// Before the first field.
    pub(super) fn new(with_details: bool) -> Self {
        Self {
            method: None,
            kind: None,
            path: None,
            authority: None,
            host: None,
            protocol: None,
            trace: with_details.then(TraceHeaders::default),
        }
    }

    /// Takes a field.
    pub(super) fn field(&mut self, name: Name, value: &[u8]) {
        match name {
            Name::Method => {
                self.method.get_or_insert_with(|| Method::from_bytes(value));
            }
            Name::Path => {
                self.path.get_or_insert_with(|| Text::from_bytes(value));
            }
            Name::Authority => {
                self.authority.get_or_insert_with(|| Text::from_bytes(value));
            }
            Name::Host => {
                self.host.get_or_insert_with(|| Text::from_bytes(value));
            }
            Name::ContentType => {
                self.kind.get_or_insert_with(|| Kind::from_content_type(value));
            }
            Name::Protocol => {
                self.protocol = self.protocol.take().or_else(|| token(value));
            }
            Name::TraceParent
            | Name::B3
            | Name::B3TraceId
            | Name::B3SpanId
            | Name::B3Sampled
            | Name::B3Flags => {
                if let Some(trace) = &mut self.trace {
                    trace.header(name.as_bytes(), value);
                }
            }
            Name::Status | Name::GrpcStatus | Name::Other => {}
        }
    }

    /// The request, and what it asks a stream of CONNECT to be; until [`Shared::release`].
    pub(super) fn request(self, shared: &mut Shared) -> (Request, Option<Box<str>>) {
        let kind = self.kind.unwrap_or(Kind::Http);
        let authority = self.authority.or(self.host);
        let target = self.path.filter(|_| self.trace.is_some() || kind != Kind::Http);
        let trace = self.trace.as_ref().and_then(TraceHeaders::context);
        let trace = trace.filter(|_| shared.details_left() >= size_of::<TraceContext>());
        shared.traces += usize::from(trace.is_some());
        shared.protocols += self.protocol.as_deref().map_or(0, str::len);
        let request = Request {
            version: Version::Http2,
            method: self.method.unwrap_or(Method::Other),
            kind,
            authority: authority.and_then(|authority| {
                let authority = readable_authority(authority.as_bytes(), false);
                shared.authorities.share(authority.as_bytes(), usize::MAX)
            }),
            target: target.and_then(|target| {
                let most = shared.targets.held() + shared.details_left();
                shared.targets.share(target.as_bytes(), most)
            }),
            trace: trace.map(Box::new),
        };
        (request, self.protocol)
    }
}

impl Shared {
    /// Takes a request that was read elsewhere, until [`Shared::release`].
    pub(super) fn adopt(&mut self, request: Request) -> Request {
        let Request { authority, target, trace, .. } = &request;
        self.traces += usize::from(trace.is_some());
        let authority = authority.as_ref().and_then(|own| self.authorities.share(own.as_bytes(), usize::MAX));
        let target = target.as_ref().and_then(|own| self.targets.share(own.as_bytes(), usize::MAX));
        Request { authority, target, ..request }
    }

    /// A request is over, and what it asked a stream to be as well.
    pub(super) fn release(&mut self, request: &Request, protocol: Option<&str>) {
        if let Some(authority) = &request.authority {
            self.authorities.release(authority);
        }
        if let Some(target) = &request.target {
            self.targets.release(target);
        }
        self.traces = self.traces.saturating_sub(usize::from(request.trace.is_some()));
        self.protocols = self.protocols.saturating_sub(protocol.map_or(0, str::len));
    }

    /// Bytes held on the heap.
    pub(super) const fn held(&self) -> usize {
        self.authorities.held() + self.protocols + self.details()
    }

    const fn details(&self) -> usize {
        self.targets.held() + self.traces * size_of::<TraceContext>()
    }

    const fn details_left(&self) -> usize {
        MAX_DETAILS.saturating_sub(self.details())
    }
}

impl<const N: usize> Text<N> {
    fn from_bytes(value: &[u8]) -> Self {
        let mut bytes = [0; N];
        let kept = value.get(..N).unwrap_or(value);
        if let Some(place) = bytes.get_mut(..kept.len()) {
            place.copy_from_slice(kept);
        }
        Self { bytes, length: kept.len() }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// A response's head or its trailers. Of fields that come twice the first counts.
#[derive(Debug, Default)]
pub(super) struct ResponseHead {
    /// `:status`, which trailers do not have.
    pub(super) status: Option<u16>,
    /// `grpc-status`
    pub(super) grpc_status: Option<u32>,
}

impl ResponseHead {
    /// Takes a field.
    pub(super) fn field(&mut self, name: Name, value: &[u8]) {
        if name == Name::Status && value.len() == 3 {
            self.status = self.status.or_else(|| u16::try_from(number(value)?).ok());
        }
        if name == Name::GrpcStatus {
            self.grpc_status = self.grpc_status.or_else(|| number(value));
        }
    }
}

/// A protocol's name, in lower case; `None` where it is none that can be read.
fn token(value: &[u8]) -> Option<Box<str>> {
    let is_readable = !value.is_empty() && value.iter().all(u8::is_ascii_graphic);
    let token = str::from_utf8(value).ok().filter(|_| is_readable)?;
    Some(token.to_ascii_lowercase().into_boxed_str())
}

/// A number in decimal digits.
fn number(digits: &[u8]) -> Option<u32> {
    let (first, rest) = digits.split_first()?;
    rest.iter().try_fold(char::from(*first).to_digit(10)?, |number, &digit| {
        number.checked_mul(10)?.checked_add(char::from(digit).to_digit(10)?)
    })
}
