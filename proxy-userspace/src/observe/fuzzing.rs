//! Doors for the fuzz targets into parts that have none of their own. Nothing else uses them.

use super::{
    Lost, TraceContext,
    http2::hpack::{Decoder, Name},
    trace::TraceHeaders,
};

/// HPACK, one direction.
#[derive(Debug, Default)]
pub struct Hpack(Decoder);

impl Hpack {
    /// Reads a block, and gives each field of interest to `field`: its name, and the start of its value.
    ///
    /// # Errors
    /// The block breaks the rules, or its table is to be larger than is kept. No block can be read after that.
    pub fn read(&mut self, block: &[u8], mut field: impl FnMut(&[u8], &[u8])) -> Result<(), Lost> {
        self.0.read(block, |name, value| field(name.as_bytes(), value))
    }

    /// Bytes that are kept of the values of fields of this name; `None` if it is of no interest.
    pub fn kept(name: &[u8]) -> Option<usize> {
        let name = Name::from_bytes(name);
        (name != Name::Other).then(|| name.kept())
    }
}

/// Bytes of a trace header's value that are enough.
pub const MAX_TRACE_VALUE: usize = TraceHeaders::MAX_VALUE;

/// The trace that these headers tell of: names in lower case, and values.
pub fn trace_context<'a>(headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Option<TraceContext> {
    let mut gathered = TraceHeaders::default();
    for (name, value) in headers {
        gathered.header(name, value);
    }
    gathered.context()
}
