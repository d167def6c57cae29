//! The trace that a request belongs to, as its headers tell.

/// A trace context: W3C's `traceparent`, or B3 in one header (`b3`) or several (`x-b3-*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TraceContext {
    /// The trace, big-endian; B3's short ids are padded with zeros in front.
    pub trace_id: [u8; 16],
    /// The span that the request was sent from, big-endian.
    pub parent_id: [u8; 8],
    /// Whether the sender records the trace.
    pub sampled: bool,
}
