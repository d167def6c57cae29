//! The clients of HTTP. Each answers with what it measured, or fails if one request did.
//!
//! An answer has `rate` (requests a second), `p50` and `p99` (µs), `units` (requests that were
//! answered), and `in_flight`: the most that may have been sent beyond those.

mod h2load;
mod wrk;

pub(super) use h2load::{STREAMS, run as h2load};
pub(super) use wrk::run as wrk;
