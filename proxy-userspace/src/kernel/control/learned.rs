//! Destinations that are learned to be opaque, as the kernel has them.

use std::{
    net::{Ipv6Addr, SocketAddr},
    time::Duration,
};

use proxy_common::{Direction, LearnedKey};

use super::{Control, entry, put};
use crate::kernel::{
    error::KernelError,
    maps::{LEARNED, error},
    sys,
};

/// A destination that is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Learned {
    pub(crate) key: LearnedKey,
    /// How long it still holds; zero where the next connection is to be looked at.
    pub(crate) left: Duration,
}

impl Learned {
    /// The destination; a mapped IPv4 address is IPv4.
    pub(crate) fn destination(&self) -> SocketAddr {
        let ip = Ipv6Addr::from(self.key.addr_be).to_canonical();
        SocketAddr::new(ip, u16::from_be(self.key.port_be))
    }

    /// Which side of the workload its connections are on.
    pub(crate) fn direction(&self) -> Direction {
        if self.key.direction == Direction::Inbound as u8 { Direction::Inbound } else { Direction::Outbound }
    }
}

impl Control {
    /// Lets new connections to a destination be opaque until then: CLOCK_MONOTONIC.
    pub(crate) fn learn(&mut self, key: LearnedKey, until: Duration) -> Result<(), KernelError> {
        let until_ns = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
        put(&mut self.learned, key, Some(until_ns)).map_err(error("write", LEARNED))
    }

    /// Looks at connections to a destination again.
    pub(crate) fn forget_learned(&mut self, key: LearnedKey) -> Result<(), KernelError> {
        put(&mut self.learned, key, None).map_err(error("write", LEARNED))
    }

    /// Whether a destination is learned, or waits to be looked at again.
    pub(crate) fn is_learned(&self, key: LearnedKey) -> Result<bool, KernelError> {
        Ok(entry(&self.learned, key).map_err(error("read", LEARNED))?.is_some())
    }

    /// Every destination that is learned, those included that wait to be looked at again.
    pub(crate) fn learned(&self) -> Result<Vec<Learned>, KernelError> {
        let now_ns = sys::monotonic_ns();
        let mut learned = Vec::new();
        for entry in self.learned.iter() {
            let (key, until_ns) = entry.map_err(error("read", LEARNED))?;
            learned.push(Learned { key, left: Duration::from_nanos(until_ns.saturating_sub(now_ns)) });
        }
        learned.sort_by_key(|one| one.key);
        Ok(learned)
    }

    /// Now, on the clock of [`Self::learn`].
    pub(crate) fn now() -> Duration {
        Duration::from_nanos(sys::monotonic_ns())
    }
}
