//! Success or failure, as Linkerd classifies (linkerd2-proxy, linkerd/app/core/src/classify.rs).

use crate::observe::{End, Exchange, Kind};

/// What `response_total` and the statuses tell exchanges apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Outcome {
    kind: Kind,
    status: Option<u16>,
    grpc_status: Option<u32>,
    end: End,
}

/// The value of the label `classification`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Success,
    Failure,
}

impl Class {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
        }
    }
}

impl Outcome {
    pub(super) const fn of(exchange: &Exchange<'_>) -> Self {
        Self {
            kind: exchange.request.kind,
            status: exchange.status,
            grpc_status: match exchange.grpc_status {
                Some(UNKNOWN_GRPC_STATUS..) => Some(UNKNOWN_GRPC_STATUS),
                status => status,
            },
            end: exchange.end,
        }
    }

    /// Success or failure; `None` for a request that the client gave up before there was a response,
    /// which is neither, and which Linkerd does not count as a response.
    pub(super) fn class(&self) -> Option<Class> {
        match self.end {
            End::ServerReset | End::Cut => return Some(Class::Failure),
            End::ClientReset | End::ClientLeft if self.status.is_none() => return None,
            End::ClientReset | End::ClientLeft | End::Complete => {}
        }
        let is_failure = match (self.status, self.grpc_status, self.kind) {
            (None | Some(500..=599), _, _) => true,
            (Some(_), Some(grpc), _) => is_grpc_failure(grpc),
            // Linkerd calls this a success. Without it nobody knows, the client least of all: unless it was
            // the client that did not wait for it.
            (Some(_), None, Kind::Grpc) => self.end == End::Complete,
            // gRPC-Web has its trailers in the body, which is read of HTTP/1 and of binary messages only.
            (Some(_), None, Kind::Http | Kind::GrpcWeb) => false,
        };
        Some(if is_failure { Class::Failure } else { Class::Success })
    }

    /// Whether there was a response.
    pub(super) const fn has_status(&self) -> bool {
        self.status.is_some()
    }

    /// Whether it is counted as gRPC.
    pub(super) const fn is_grpc(&self) -> bool {
        matches!(self.kind, Kind::Grpc | Kind::GrpcWeb)
    }

    /// The status as three digits; empty where there was none.
    pub(super) fn status(&self) -> String {
        self.status.map_or_else(String::new, |status| status.to_string())
    }

    /// The number that gRPC calls the status; empty where there was none, `other` where it is unknown.
    pub(super) fn grpc_status(&self) -> String {
        match self.grpc_status {
            None => String::new(),
            Some(UNKNOWN_GRPC_STATUS..) => "other".to_owned(),
            Some(known) => known.to_string(),
        }
    }

    /// How it failed to complete, in the words of Linkerd's `statuses_total`; empty where it did not fail to.
    pub(super) const fn error(&self) -> &'static str {
        match self.end {
            End::Complete => "",
            End::ClientReset | End::ClientLeft => "CANCEL",
            End::ServerReset => "RESET",
            End::Cut => "IO",
        }
    }
}

/// The first number that is no status of gRPC; it stands for all of them.
const UNKNOWN_GRPC_STATUS: u32 = 17;

/// Whether a gRPC status blames the server: UNKNOWN, DEADLINE_EXCEEDED, PERMISSION_DENIED, INTERNAL, UNAVAILABLE,
/// DATA_LOSS; and what gRPC does not know, which it reads as UNKNOWN.
pub const fn is_grpc_failure(status: u32) -> bool {
    matches!(status, 2 | 4 | 7 | 13..=15 | UNKNOWN_GRPC_STATUS..)
}

#[cfg(test)]
mod tests {
    use super::{
        Class::{Failure, Success},
        *,
    };

    fn class(kind: Kind, status: Option<u16>, grpc_status: Option<u32>, end: End) -> Option<Class> {
        Outcome { kind, status, grpc_status, end }.class()
    }

    #[test]
    fn http_fails_with_a_status_from_500_to_599() {
        for status in 100..=999 {
            let expected = if (500..=599).contains(&status) { Failure } else { Success };
            assert_eq!(class(Kind::Http, Some(status), None, End::Complete), Some(expected), "{status}");
        }
    }

    #[test]
    fn grpc_fails_with_the_statuses_that_linkerd_lists() {
        for status in 0..=20 {
            let is_failure = [2, 4, 7, 13, 14, 15].contains(&status) || status > 16;
            let expected = if is_failure { Failure } else { Success };
            assert_eq!(class(Kind::Grpc, Some(200), Some(status), End::Complete), Some(expected), "{status}");
        }
        assert_eq!(class(Kind::Grpc, Some(200), Some(u32::MAX), End::Complete), Some(Failure));
    }

    #[test]
    fn a_grpc_response_without_a_status_is_a_failure() {
        assert_eq!(class(Kind::Grpc, Some(200), None, End::Complete), Some(Failure));
        assert_eq!(class(Kind::Grpc, Some(404), None, End::Complete), Some(Failure));
        assert_eq!(class(Kind::Grpc, Some(503), Some(0), End::Complete), Some(Failure));
    }

    #[test]
    fn grpc_web_without_a_status_is_judged_by_http() {
        assert_eq!(class(Kind::GrpcWeb, Some(200), None, End::Complete), Some(Success));
        assert_eq!(class(Kind::GrpcWeb, Some(502), None, End::Complete), Some(Failure));
        assert_eq!(class(Kind::GrpcWeb, Some(200), Some(14), End::Complete), Some(Failure));
    }

    #[test]
    fn a_response_that_tells_a_grpc_status_is_judged_by_it_whatever_was_asked() {
        assert_eq!(class(Kind::Http, Some(200), Some(13), End::Complete), Some(Failure));
        assert_eq!(class(Kind::Http, Some(200), Some(0), End::Complete), Some(Success));
    }

    #[test]
    fn what_the_server_did_not_complete_is_a_failure() {
        for end in [End::ServerReset, End::Cut] {
            for status in [None, Some(200)] {
                assert_eq!(class(Kind::Http, status, None, end), Some(Failure));
                assert_eq!(class(Kind::Grpc, status, Some(0), end), Some(Failure));
            }
        }
    }

    #[test]
    fn a_client_that_gives_up_is_no_failure_of_the_server() {
        for end in [End::ClientReset, End::ClientLeft] {
            assert_eq!(class(Kind::Http, None, None, end), None);
            assert_eq!(class(Kind::Http, Some(200), None, end), Some(Success));
            assert_eq!(class(Kind::Http, Some(500), None, end), Some(Failure));
            assert_eq!(class(Kind::Grpc, Some(200), None, end), Some(Success));
        }
    }
}
