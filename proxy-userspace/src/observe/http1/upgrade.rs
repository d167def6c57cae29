//! What an `Upgrade` field names.

use super::{fields::Value, kept::Kept};

/// Bytes kept of a protocol's name.
const MAX_PROTOCOL: usize = 32;

/// The first protocol of an `Upgrade` field, in lower case.
#[derive(Debug)]
pub(super) struct Upgrade(Kept<MAX_PROTOCOL>);

impl Upgrade {
    /// None.
    pub(super) const fn new() -> Self {
        Self(Kept::new())
    }

    /// None again.
    pub(super) const fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes a field's value; what came first counts.
    pub(super) fn field(&mut self, value: Value<'_>) {
        if let (true, Some(first)) = (self.0.bytes().is_empty(), value.elements().next()) {
            self.0.extend_lower(first);
        }
    }

    /// The protocol's name, if there is one that can be read.
    pub(super) fn token(&self) -> Option<&str> {
        let is_readable =
            |token: &&str| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        str::from_utf8(self.0.bytes()).ok().filter(is_readable)
    }
}
