//! Nodes, and what is outside of them.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::layout::Layout;
use super::network::{self, OUTSIDE_V4, OUTSIDE_V6};
use super::node::Node;
use crate::netns::Netns;

/// A network of nodes.
#[derive(Clone, Debug)]
pub struct Cluster {
    outside: Arc<Netns>,
}

impl Cluster {
    /// A network without nodes.
    ///
    /// # Panics
    /// When it cannot be made, above all when not root.
    #[must_use]
    pub fn new() -> Self {
        Self { outside: Arc::new(network::outside()) }
    }

    /// Adds a node.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn node(&self, layout: Layout) -> Node {
        /// No two nodes of a run have pods with the same addresses, whichever cluster they are in.
        static NEXT: AtomicU8 = AtomicU8::new(1);
        Node::new(&self.outside, NEXT.fetch_add(1, Ordering::Relaxed), layout)
    }

    /// What is neither node nor pod; servers there see the pods' own addresses.
    #[must_use]
    pub fn outside(&self) -> &Netns {
        &self.outside
    }

    /// An address outside.
    #[must_use]
    pub fn outside_v4(&self) -> Ipv4Addr {
        OUTSIDE_V4
    }

    /// An address outside.
    #[must_use]
    pub fn outside_v6(&self) -> Ipv6Addr {
        OUTSIDE_V6
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self::new()
    }
}
