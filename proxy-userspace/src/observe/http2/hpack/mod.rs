//! HPACK (RFC 7541): header blocks, read for the fields of interest.
//!
//! The follower knows neither side's settings and needs none: an encoder says in its blocks how large its
//! table is. What is skipped is not checked: the value of a field of no interest that goes into no table.

mod name;
mod table;

pub(in crate::observe) use name::Name;

use self::{
    name::{MAX_NAME, MAX_VALUE, STATIC_ENTRIES, static_name, static_value},
    table::{MAX_SIZE, Scratch, Table},
};
use super::{super::Lost, huffman};

/// Bytes that an integer may take after its prefix; five hold 35 bits.
const MAX_INTEGER: u32 = 5;
/// The block breaks the rules.
const MALFORMED: Lost = Lost::MalformedHpack;

/// Reads one direction's header blocks, in their order.
#[derive(Debug, Default)]
pub(in crate::observe) struct Decoder {
    table: Table,
}

impl Decoder {
    /// Reads a block, and gives each field of interest to `field`: its name, and the start of its value,
    /// as much as [`Name`] keeps.
    ///
    /// # Errors
    /// The block breaks the rules, or its table is to be larger than is kept. No block can be read after
    /// that.
    pub(in crate::observe) fn read(
        &mut self,
        block: &[u8],
        mut field: impl FnMut(Name, &[u8]),
    ) -> Result<(), Lost> {
        let mut input = Input(block);
        let mut scratch = [0; MAX_VALUE];
        let mut may_resize = true;
        while let Some(first) = input.next() {
            // What comes first in a field tells its kind by the zeros that it begins with (section 6).
            let kind = first.leading_zeros();
            match kind {
                0 => {
                    let index = input.integer(first, 7)?;
                    let (name, value) = self.field(index, &mut scratch).ok_or(MALFORMED)?;
                    if name != Name::Other {
                        field(name, value);
                    }
                }
                1 => self.literal(&mut input, first, 6, &mut scratch, &mut field)?,
                // A change of the table's size comes before all fields.
                2 if may_resize => {
                    let size = input.integer(first, 5)?;
                    if size > MAX_SIZE {
                        return Err(Lost::TableTooLarge);
                    }
                    self.table.resize(size);
                }
                2 => return Err(MALFORMED),
                _ => self.literal(&mut input, first, 4, &mut scratch, &mut field)?,
            }
            may_resize &= kind == 2;
        }
        Ok(())
    }

    /// Reads a field with a value of its own, and a name of its own or from a table (section 6.2). Its
    /// first byte, read already, holds the name's index in its lowest `prefix` bits: six if it goes into
    /// the table.
    fn literal(
        &mut self,
        input: &mut Input<'_>,
        first: u8,
        prefix: u32,
        scratch: &mut Scratch,
        field: &mut impl FnMut(Name, &[u8]),
    ) -> Result<(), Lost> {
        let goes_into_the_table = prefix == 6;
        let (name, name_length) = match input.integer(first, prefix)? {
            0 => input.name()?,
            index => self.name(index).ok_or(MALFORMED)?,
        };
        let text = input.text()?;
        if name == Name::Other && !goes_into_the_table {
            return Ok(());
        }
        let (value, length) = text.start(scratch.get_mut(..name.kept()).unwrap_or_default())?;
        if name != Name::Other {
            field(name, value);
        }
        if goes_into_the_table {
            self.table.insert((name, name_length), length, value);
        }
        Ok(())
    }

    /// The name at an index, which starts at 1, and its length.
    fn name(&self, index: usize) -> Option<(Name, u16)> {
        match index.checked_sub(STATIC_ENTRIES + 1) {
            Some(index) => self.table.name(index),
            None => static_name(index),
        }
    }

    /// The field at an index, which starts at 1.
    fn field<'a>(&'a self, index: usize, scratch: &'a mut Scratch) -> Option<(Name, &'a [u8])> {
        match index.checked_sub(STATIC_ENTRIES + 1) {
            Some(index) => self.table.field(index, scratch),
            None => Some((static_name(index)?.0, static_value(index))),
        }
    }

    /// Bytes held on the heap.
    pub(super) fn held(&self) -> usize {
        self.table.held()
    }

    /// Gives back the room that is not used.
    pub(super) fn shrink(&mut self) {
        self.table.shrink();
    }
}

/// The part of a block still to be read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// The next byte.
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// An integer whose first byte, read already, holds it in its lowest `prefix` bits (section 5.1).
    fn integer(&mut self, first: u8, prefix: u32) -> Result<usize, Lost> {
        let mask = (1_u8 << prefix) - 1;
        let mut value = u64::from(first & mask);
        let mut goes_on = first & mask == mask;
        let mut places = 0..MAX_INTEGER;
        while goes_on {
            let (place, byte) = places.next().zip(self.next()).ok_or(MALFORMED)?;
            value += u64::from(byte & 0x7f) << (7 * place);
            goes_on = byte & 0x80 != 0;
        }
        usize::try_from(value).ok().ok_or(MALFORMED)
    }

    /// A string (section 5.2).
    fn text(&mut self) -> Result<Text<'a>, Lost> {
        let first = self.next().ok_or(MALFORMED)?;
        let length = self.integer(first, 7)?;
        let (raw, rest) = self.0.split_at_checked(length).ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(Text { raw, is_huffman: first & 0x80 != 0 })
    }

    /// A string that is a name, and its length.
    fn name(&mut self) -> Result<(Name, u16), Lost> {
        // One byte more than any of interest has, so that none is taken for the start of a longer one.
        let mut start = [0; MAX_NAME + 1];
        let (start, length) = self.text()?.start(&mut start)?;
        // A block that is read is too short for more.
        let length = u16::try_from(length).ok().ok_or(MALFORMED)?;
        Ok((Name::from_bytes(start), length))
    }
}

/// A string as it is sent.
#[derive(Clone, Copy)]
struct Text<'a> {
    raw: &'a [u8],
    is_huffman: bool,
}

impl<'a> Text<'a> {
    /// Its start, as much as `scratch` can take, and the length of the whole.
    fn start(self, scratch: &'a mut [u8]) -> Result<(&'a [u8], usize), Lost> {
        if !self.is_huffman {
            let start = self.raw.get(..scratch.len()).unwrap_or(self.raw);
            return Ok((start, self.raw.len()));
        }
        let mut length = 0;
        let decoded = huffman::decode(self.raw, |byte| {
            if let Some(place) = scratch.get_mut(length) {
                *place = byte;
            }
            length += 1;
        });
        decoded.ok().ok_or(MALFORMED)?;
        let kept = length.min(scratch.len());
        Ok((scratch.get(..kept).unwrap_or_default(), length))
    }
}

#[cfg(test)]
mod tests;
