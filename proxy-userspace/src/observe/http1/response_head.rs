//! The head of a response: how it answers, and where its body ends.

use super::{
    super::{Kind, Lost, Method, Request},
    body::Body,
    fields::{Interest, Value},
    framing::{Framing, decimal},
    grpc_web::GrpcWeb,
    status_line::StatusLine,
    upgrade::Upgrade,
};

/// What is gathered of the head that is being read.
#[derive(Debug)]
pub(super) struct ResponseHead {
    /// Its first line.
    pub(super) line: StatusLine,
    framing: Framing,
    upgrade: Upgrade,
    grpc_status: GrpcStatus,
    /// Whether the body is gRPC-Web in its binary form, not encoded any further.
    is_grpc_web: bool,
    is_encoded: bool,
}

/// `grpc-status`, in a head, in trailers or in a body.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GrpcStatus(pub(super) Option<u32>);

impl ResponseHead {
    /// Before the first byte.
    pub(super) fn new() -> Self {
        Self {
            line: StatusLine::new(),
            framing: Framing::default(),
            upgrade: Upgrade::new(),
            grpc_status: GrpcStatus::default(),
            is_grpc_web: false,
            is_encoded: false,
        }
    }

    /// Starts anew.
    pub(super) fn begin(&mut self) {
        self.line = StatusLine::new();
        self.framing = Framing::default();
        self.upgrade.clear();
        self.grpc_status = GrpcStatus::default();
        self.is_grpc_web = false;
        self.is_encoded = false;
    }

    /// What this, the final response, has for a body.
    pub(super) fn body(&self, method: Method) -> Result<Body, Lost> {
        match (method, self.line.status()) {
            (Method::Head, _) | (_, 204 | 304) => Ok(Body::Ended),
            _ => self.framing.of_response(),
        }
    }

    /// The protocol that it switches to.
    pub(super) fn upgrade(&self) -> Option<&str> {
        self.upgrade.token()
    }

    /// What its fields say of a gRPC call.
    pub(super) const fn grpc_status(&self) -> GrpcStatus {
        self.grpc_status
    }

    /// What reads on in the body.
    pub(super) fn grpc_web(&self, request: &Request) -> Option<Box<GrpcWeb>> {
        let is_readable = request.kind == Kind::GrpcWeb && self.is_grpc_web && !self.is_encoded;
        is_readable.then(Box::default)
    }
}

impl Interest for ResponseHead {
    fn keeps(&self, name: &[u8]) -> bool {
        matches!(
            name,
            b"content-length"
                | b"transfer-encoding"
                | b"upgrade"
                | b"content-type"
                | b"content-encoding"
                | b"grpc-status"
        )
    }

    fn field(&mut self, name: &[u8], value: Value<'_>) {
        match name {
            b"content-length" | b"transfer-encoding" => self.framing.field(name, value),
            b"upgrade" => self.upgrade.field(value),
            b"content-type" => self.is_grpc_web = is_binary_grpc_web(value.bytes),
            b"content-encoding" => self.is_encoded = !value.bytes.eq_ignore_ascii_case(b"identity"),
            _ => self.grpc_status.field(name, value),
        }
    }
}

impl Interest for GrpcStatus {
    fn keeps(&self, name: &[u8]) -> bool {
        name == b"grpc-status"
    }

    fn field(&mut self, _name: &[u8], value: Value<'_>) {
        // What is no number is no status: the call is then one without, and HTTP goes on.
        self.0 = decimal(value.bytes).and_then(|status| u32::try_from(status).ok());
    }
}

/// `application/grpc-web` with any suffix, but not `-text`, which is in Base64.
fn is_binary_grpc_web(content_type: &[u8]) -> bool {
    const TEXT: &[u8] = b"application/grpc-web-text";
    Kind::from_content_type(content_type) == Kind::GrpcWeb
        && !content_type.get(..TEXT.len()).is_some_and(|start| start.eq_ignore_ascii_case(TEXT))
}
