//! The head of a request: what it asks, of whom, and where its body ends.

use std::sync::Arc;

use super::{
    super::{Kind, Lost, MAX_TARGET, Method, Request, exchange::readable_authority, trace::TraceHeaders},
    body::Body,
    fields::{Interest, Value},
    framing::Framing,
    kept::{split, text},
    request_line::RequestLine,
    upgrade::Upgrade,
};

/// What is gathered of the head that is being read.
#[derive(Debug)]
pub(super) struct RequestHead {
    /// Its first line.
    pub(super) line: RequestLine,
    /// Whether it is complete.
    has_line: bool,
    wants_details: bool,
    authority: Authority,
    kind: Kind,
    framing: Framing,
    upgrade: Upgrade,
    /// Whether the client asks before it sends the body.
    expects: bool,
    trace: TraceHeaders,
}

/// Whom a request asks.
#[derive(Debug)]
struct Authority {
    /// The last one that was told: to tell it again costs no allocation.
    last: Option<Arc<str>>,
    /// Whether that is this request's.
    is_told: bool,
}

impl RequestHead {
    /// Before the first one.
    pub(super) fn new() -> Self {
        Self {
            line: RequestLine::new(),
            has_line: false,
            wants_details: false,
            authority: Authority { last: None, is_told: false },
            kind: Kind::Http,
            framing: Framing::default(),
            upgrade: Upgrade::new(),
            expects: false,
            trace: TraceHeaders::default(),
        }
    }

    /// Starts anew, after a head that was complete.
    pub(super) fn begin(&mut self) {
        self.line.begin();
        self.has_line = false;
    }

    /// The line is complete, the fields follow.
    pub(super) fn begin_fields(&mut self, wants_details: bool) {
        self.clear_fields(wants_details);
        self.has_line = true;
        let (target, is_cut) = (self.line.target(), self.line.is_target_cut());
        if self.line.method() == Method::Connect && !target.contains(&b'/') {
            self.authority.tell(target, is_cut);
        } else if let Some((authority, is_last)) = absolute_authority(target) {
            self.authority.tell(authority, is_cut && is_last);
        }
    }

    fn clear_fields(&mut self, wants_details: bool) {
        self.wants_details = wants_details;
        self.authority.is_told = false;
        self.kind = Kind::Http;
        self.framing = Framing::default();
        self.upgrade.clear();
        self.expects = false;
        self.trace = TraceHeaders::default();
    }

    /// The head is complete: the request, its body, and what it asks to be upgraded to.
    pub(super) fn finish(&mut self) -> Result<(Request, Body, Option<Box<str>>), Lost> {
        let body = self.framing.of_request()?;
        Ok((self.request(), body, self.upgrade.token().map(Into::into)))
    }

    /// The request, as far as its head has come: what is not complete of it is not told.
    pub(super) fn begun(&mut self, wants_details: bool) -> Request {
        if !self.has_line {
            self.clear_fields(wants_details);
        }
        self.request()
    }

    fn request(&self) -> Request {
        let target = self.line.target();
        let (target, _) = split(target, target.len().min(MAX_TARGET));
        let wants_target = self.has_line && (self.wants_details || self.kind != Kind::Http);
        Request {
            version: self.line.version(),
            method: self.line.method(),
            kind: self.kind,
            authority: self.authority.told(),
            target: wants_target.then(|| text(target).into()),
            trace: self.trace.context().map(Box::new),
        }
    }

    /// Whether the client asks before it sends the body, and waits for the answer. Once the head is complete.
    pub(super) const fn expects(&self) -> bool {
        self.expects
    }

    /// The authority that is kept between requests.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.authority.last.as_ref().map_or(0, |last| last.len())
    }
}

impl Interest for RequestHead {
    fn keeps(&self, name: &[u8]) -> bool {
        match name {
            b"host" => !self.authority.is_told,
            b"content-length" | b"transfer-encoding" | b"content-type" | b"upgrade" | b"expect" => true,
            b"traceparent" | b"b3" | b"x-b3-traceid" | b"x-b3-spanid" | b"x-b3-sampled" | b"x-b3-flags" => {
                self.wants_details
            }
            _ => false,
        }
    }

    fn field(&mut self, name: &[u8], value: Value<'_>) {
        match name {
            b"host" => self.authority.tell(value.bytes, value.is_cut),
            b"content-length" | b"transfer-encoding" => self.framing.field(name, value),
            b"content-type" => self.kind = Kind::from_content_type(value.bytes),
            b"upgrade" => self.upgrade.field(value),
            b"expect" => {
                self.expects |= value.elements().any(|it| it.eq_ignore_ascii_case(b"100-continue"));
            }
            _ => self.trace.header(name, value.bytes),
        }
    }
}

impl Authority {
    /// Takes what a target or a field says; what came first counts.
    fn tell(&mut self, authority: &[u8], is_cut: bool) {
        if self.is_told || authority.is_empty() {
            return;
        }
        let authority = readable_authority(authority, is_cut);
        if self.last.as_deref().is_none_or(|last| last != authority) {
            self.last = Some(authority.into());
        }
        self.is_told = true;
    }

    /// This request's.
    fn told(&self) -> Option<Arc<str>> {
        self.last.clone().filter(|_| self.is_told)
    }
}

/// The authority of a target in absolute form, `scheme://authority/…`, without the user's name and password;
/// and whether nothing comes behind it.
fn absolute_authority(target: &[u8]) -> Option<(&[u8], bool)> {
    if target.first().is_none_or(|first| !first.is_ascii_alphabetic()) {
        return None;
    }
    let end = target.iter().position(|&byte| !is_scheme(byte))?;
    let (_, rest) = target.split_at_checked(end)?;
    let rest = rest.strip_prefix(b"://")?;
    let authority = rest.split(|byte| matches!(byte, b'/' | b'?' | b'#')).next()?;
    Some((authority.rsplit(|&byte| byte == b'@').next()?, authority.len() == rest.len()))
}

/// A byte of a URI's scheme (RFC 3986, section 3.1).
const fn is_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}
