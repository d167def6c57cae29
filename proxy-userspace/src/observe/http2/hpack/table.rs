//! The dynamic table: exact about sizes and evictions, and sparing with what it keeps.
//!
//! Of an entry whose name is of no interest only the sizes are kept, in 8 bytes. The values of the others, cut to what
//! is of use, lie in one queue of bytes: entries leave in the order in which they came, and so do their
//! values. Nothing is allocated for an entry once the two queues have grown.

use std::collections::VecDeque;

use super::name::{MAX_VALUE, Name};

/// What an entry counts for besides its name and its value (RFC 7541, section 4.1).
const OVERHEAD: usize = 32;
/// The size of a table before its encoder says otherwise, whatever the settings are.
const INITIAL_SIZE: usize = 4096;
/// The largest table that is followed: as large as the one that Chromium and Firefox allow servers.
pub(super) const MAX_SIZE: usize = 64 * 1024;

/// One direction's dynamic table.
///
/// Holds no more on the heap than the encoder has room in its table, and a quarter: of two tables of the usual
/// 4 KiB less than 10 KiB. What it may hold is bounded by who asks [`Table::held`].
#[derive(Debug)]
pub(super) struct Table {
    /// The oldest first.
    entries: VecDeque<Entry>,
    /// The values of all entries, the oldest first.
    values: VecDeque<u8>,
    /// Bytes that have left `values` since the start; wraps around.
    gone: u16,
    /// The size of all entries, as HPACK counts it.
    size: usize,
    /// What it may be at most.
    max_size: usize,
}

/// An entry.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Bytes of its name and its value: less than [`MAX_SIZE`], as the overhead counts too.
    length: u16,
    field: Field,
}

/// What is kept of an entry.
#[derive(Debug, Clone, Copy)]
enum Field {
    OfNoInterest {
        name_length: u16,
    },
    Kept {
        name: Name,
        /// Where its value begins, in bytes since the start; wraps around, which is no matter: there are never
        /// as many as [`MAX_SIZE`].
        at: u16,
        /// Bytes that are kept of its value.
        length: u16,
    },
}

const _: () = assert!(size_of::<Entry>() == 8, "of most fields nothing else is kept");

/// A value that is read from the table: where it lies in one piece, or a copy.
pub(super) type Scratch = [u8; MAX_VALUE];

impl Default for Table {
    fn default() -> Self {
        Self { entries: VecDeque::new(), values: VecDeque::new(), gone: 0, size: 0, max_size: INITIAL_SIZE }
    }
}

impl Table {
    /// The name at an index, and its length; the newest entry is 0.
    pub(super) fn name(&self, index: usize) -> Option<(Name, u16)> {
        Some(match self.entry(index)?.field {
            Field::OfNoInterest { name_length } => (Name::Other, name_length),
            Field::Kept { name, .. } => (name, u16::try_from(name.as_bytes().len()).ok()?),
        })
    }

    /// The field at an index; the newest entry is 0.
    pub(super) fn field<'a>(&'a self, index: usize, scratch: &'a mut Scratch) -> Option<(Name, &'a [u8])> {
        let (name, at, length) = match self.entry(index)?.field {
            Field::OfNoInterest { .. } => return Some((Name::Other, &[])),
            Field::Kept { name, at, length } => (name, at, length),
        };
        let start = usize::from(at.wrapping_sub(self.gone));
        let end = start + usize::from(length);
        let (front, back) = self.values.as_slices();
        let in_one_piece = match start.checked_sub(front.len()) {
            Some(start) => back.get(start..end - front.len()),
            None => front.get(start..end),
        };
        let value = match in_one_piece {
            Some(value) => value,
            None => {
                let copy = scratch.get_mut(..usize::from(length))?;
                copy.iter_mut().zip(self.values.range(start..end)).for_each(|(to, from)| *to = *from);
                copy
            }
        };
        Some((name, value))
    }

    /// Adds an entry, for which others leave; the value is `length` bytes, of which `kept` are of use.
    pub(super) fn insert(&mut self, (name, name_length): (Name, u16), length: usize, kept: &[u8]) {
        let length = usize::from(name_length) + length;
        let size = length + OVERHEAD;
        self.evict(self.max_size.saturating_sub(size));
        // What is larger than the table empties it, and is not in it.
        let (Ok(length), Ok(values), Ok(kept_length)) =
            (u16::try_from(length), u16::try_from(self.values.len()), u16::try_from(kept.len()))
        else {
            return;
        };
        if size > self.max_size {
            return;
        }
        make_room(&mut self.entries, 1, self.max_size / OVERHEAD);
        let field = if name == Name::Other {
            Field::OfNoInterest { name_length }
        } else {
            make_room(&mut self.values, kept.len(), self.max_size);
            self.values.extend(kept);
            Field::Kept { name, at: self.gone.wrapping_add(values), length: kept_length }
        };
        self.entries.push_back(Entry { length, field });
        self.size += size;
    }

    /// Sets how large it may be, [`MAX_SIZE`] at most.
    pub(super) fn resize(&mut self, max_size: usize) {
        self.max_size = max_size.min(MAX_SIZE);
        self.evict(self.max_size);
    }

    /// The size of all entries, as HPACK counts it.
    #[cfg(test)]
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// Bytes held on the heap.
    pub(super) fn held(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.values.capacity()
    }

    /// Gives back the room that is not used.
    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        self.values.shrink_to_fit();
    }

    /// Lets the oldest go until all that stay have this size at most.
    fn evict(&mut self, size: usize) {
        let mut kept = 0_u16;
        while self.size > size
            && let Some(Entry { length, field }) = self.entries.pop_front()
        {
            self.size -= usize::from(length) + OVERHEAD;
            if let Field::Kept { length, .. } = field {
                kept += length;
            }
        }
        self.values.drain(..usize::from(kept));
        self.gone = self.gone.wrapping_add(kept);
    }

    fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries.get(self.entries.len().checked_sub(index + 1)?)
    }
}

/// Makes room for `more` in a queue that never holds more than `limit`. Its room grows by quarters as it is
/// used: a table keeps its size, once it is full.
fn make_room<T>(queue: &mut VecDeque<T>, more: usize, limit: usize) {
    let needed = queue.len() + more;
    if needed > queue.capacity() {
        let room = (queue.capacity() + queue.capacity() / 4).max(8).min(limit).max(needed);
        queue.reserve_exact(room - queue.len());
    }
}
