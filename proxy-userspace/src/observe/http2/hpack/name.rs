//! The names of header fields, as far as they are of interest.

use crate::observe::{MAX_AUTHORITY, MAX_TARGET, trace::TraceHeaders};

/// The name of a header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::observe) enum Name {
    /// Any but the following: its value is never looked at.
    Other,
    /// `:method`
    Method,
    /// `:path`
    Path,
    /// `:authority`
    Authority,
    /// `:status`
    Status,
    /// `:protocol`, of extended CONNECT
    Protocol,
    /// `host`
    Host,
    /// `content-type`
    ContentType,
    /// `grpc-status`
    GrpcStatus,
    /// `traceparent`
    TraceParent,
    /// `b3`
    B3,
    /// `x-b3-traceid`
    B3TraceId,
    /// `x-b3-spanid`
    B3SpanId,
    /// `x-b3-sampled`
    B3Sampled,
    /// `x-b3-flags`
    B3Flags,
}

/// Bytes of the longest name of interest.
pub(super) const MAX_NAME: usize = 12;
/// Bytes that are kept of any value: of an authority one more than it may have.
pub(super) const MAX_VALUE: usize = MAX_AUTHORITY + 1;

impl Name {
    /// All that are of interest.
    pub(super) const ALL: [Self; 14] = [
        Self::Method,
        Self::Path,
        Self::Authority,
        Self::Status,
        Self::Protocol,
        Self::Host,
        Self::ContentType,
        Self::GrpcStatus,
        Self::TraceParent,
        Self::B3,
        Self::B3TraceId,
        Self::B3SpanId,
        Self::B3Sampled,
        Self::B3Flags,
    ];

    /// The name that is written so; on HTTP/2 all are in lower case.
    pub(in crate::observe) fn from_bytes(bytes: &[u8]) -> Self {
        Self::ALL.into_iter().find(|name| name.as_bytes() == bytes).unwrap_or(Self::Other)
    }

    /// As it is written; empty for what is of no interest.
    pub(in crate::observe) const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Other => b"",
            Self::Method => b":method",
            Self::Path => b":path",
            Self::Authority => b":authority",
            Self::Status => b":status",
            Self::Protocol => b":protocol",
            Self::Host => b"host",
            Self::ContentType => b"content-type",
            Self::GrpcStatus => b"grpc-status",
            Self::TraceParent => b"traceparent",
            Self::B3 => b"b3",
            Self::B3TraceId => b"x-b3-traceid",
            Self::B3SpanId => b"x-b3-spanid",
            Self::B3Sampled => b"x-b3-sampled",
            Self::B3Flags => b"x-b3-flags",
        }
    }

    /// Bytes that are kept of its values, [`MAX_VALUE`] at most: enough to see that one is longer than
    /// any that means something.
    pub(in crate::observe) const fn kept(self) -> usize {
        match self {
            Self::Other => 0,
            Self::Method => 8,
            Self::Path => MAX_TARGET,
            Self::Authority | Self::Host => MAX_VALUE,
            Self::Status => 4,
            Self::Protocol => 32,
            Self::ContentType => 24,
            Self::GrpcStatus => 11,
            Self::TraceParent
            | Self::B3
            | Self::B3TraceId
            | Self::B3SpanId
            | Self::B3Sampled
            | Self::B3Flags => TraceHeaders::MAX_VALUE,
        }
    }
}

/// Entries in the static table (RFC 7541, appendix A).
pub(super) const STATIC_ENTRIES: usize = 61;

/// Bytes in the names of the static table.
const STATIC_NAME_LENGTHS: [u16; STATIC_ENTRIES] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14, 16, 13,
    12, 6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10, 25, 17, 10, 4, 3,
    16,
];

/// The name of a static entry, which starts at 1, and its length; `None` if there is no such entry.
pub(super) fn static_name(index: usize) -> Option<(Name, u16)> {
    let length = *STATIC_NAME_LENGTHS.get(index.checked_sub(1)?)?;
    let name = match index {
        1 => Name::Authority,
        2 | 3 => Name::Method,
        4 | 5 => Name::Path,
        8..=14 => Name::Status,
        31 => Name::ContentType,
        38 => Name::Host,
        _ => Name::Other,
    };
    Some((name, length))
}

/// The value of a static entry, as far as it has one and that is of interest.
pub(super) const fn static_value(index: usize) -> &'static [u8] {
    match index {
        2 => b"GET",
        3 => b"POST",
        4 => b"/",
        5 => b"/index.html",
        8 => b"200",
        9 => b"204",
        10 => b"206",
        11 => b"304",
        12 => b"400",
        13 => b"404",
        14 => b"500",
        _ => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_by_their_bytes() {
        for name in Name::ALL {
            assert_eq!(Name::from_bytes(name.as_bytes()), name);
            assert!(name.as_bytes().len() <= MAX_NAME && (1..=MAX_VALUE).contains(&name.kept()));
        }
        for other in [&b""[..], b":scheme", b"Host", b"content-typ", b"b33", b"x-b3-parentspanid"] {
            assert_eq!(Name::from_bytes(other), Name::Other);
        }
    }

    #[test]
    fn static_names_have_their_lengths() {
        for index in 1..=STATIC_ENTRIES {
            let (name, length) = static_name(index).unwrap();
            assert!(name == Name::Other || name.as_bytes().len() == usize::from(length), "{index}");
        }
        assert_eq!((static_name(0), static_name(STATIC_ENTRIES + 1)), (None, None));
    }
}
