//! `sluice tap`: requests as they finish, told to whoever asks the agent over a socket.
//!
//! ```text
//! connections ──▶ Hub ──▶ a queue for each tap ──▶ server ═══ unix socket ═══ Client ──▶ text or JSON
//!                 filter   (full: lost, counted)
//! ```
//!
//! While nobody asks, an exchange costs one look at a counter. A tap that is slow loses requests, and is told
//! how many: the connections never wait for it.
//!
//! What is said over the socket is lines of JSON: the client's [`Ask`], then the agent's [`Message`]s.

mod client;
mod event;
mod filter;
mod hub;
mod message;
mod server;
mod socket;
mod text;
mod timestamp;

pub use client::{Client, TapError};
pub use event::{Event, Grpc};
pub use filter::{Filter, HttpProtocol};
pub use hub::{Hub, MAX_TAPS, QUEUE, Subscription, TooManyTaps};
pub use message::{Ask, Message, VERSION};
pub use server::{Answers, Server};
pub use socket::{DEFAULT_DIRECTORY, SocketError, default_path};
pub use text::{json, text};
pub use timestamp::rfc3339;

#[cfg(test)]
mod tests;
