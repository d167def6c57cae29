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

/// The strings that a connection's requests share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    authorities: Recent,
    targets: Recent,
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

    /// The request, and what it asks a stream of CONNECT to be.
    pub(super) fn request(self, shared: &mut Shared) -> (Request, Option<Box<str>>) {
        let kind = self.kind.unwrap_or(Kind::Http);
        let authority = self.authority.or(self.host);
        let target = self.path.filter(|_| self.trace.is_some() || kind != Kind::Http);
        let request = Request {
            version: Version::Http2,
            method: self.method.unwrap_or(Method::Other),
            kind,
            authority: authority.and_then(|authority| {
                shared.authorities.share(readable_authority(authority.as_bytes(), false).as_bytes())
            }),
            target: target.and_then(|target| shared.targets.share(target.as_bytes())),
            trace: self.trace.as_ref().and_then(TraceHeaders::context).map(Box::<TraceContext>::new),
        };
        (request, self.protocol)
    }
}

impl Shared {
    /// Bytes held on the heap.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.authorities.held() + self.targets.held()
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
