//! A connection's life: accept → original destination → dial → pump, watched on the way.
//!
//! ```text
//! accept ─► original destination ─► dial ─► pump ─► close
//!                │                    │       │       │
//!                └────────────────────┴───────┴───────┴──► account: metrics, observation, report
//! ```
//!
//! The upstream is dialled before a byte is read, and bytes flow both ways from the first one, so
//! that nothing ever waits for detection. Nothing here knows of BPF or of the command line: what a
//! connection needs of them is [`Surroundings`].

mod account;
mod buffer;
#[doc(hidden)]
pub mod counting;
mod downstream;
mod live;
mod pipe;
mod pump;
mod requests;
mod serve;
mod socket;
mod witnesses;

pub(crate) use downstream::{Downstream, ReportSink, Surroundings};
pub(crate) use live::Live;
pub(crate) use serve::serve;
pub(crate) use socket::listen;
