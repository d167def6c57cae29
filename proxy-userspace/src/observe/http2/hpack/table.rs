//! The dynamic table: exact about sizes and evictions, and sparing with what it keeps.
//!
//! Of an entry whose name is of no interest only the sizes are kept. The values of the others, cut to what
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
/// Holds three bytes on the heap at most for every two of the largest size that the encoder has used,
/// [`MAX_SIZE`] being the limit.
#[derive(Debug)]
pub(super) struct Table {
    /// The oldest first.
    entries: VecDeque<Entry>,
    /// The values of all entries, the oldest first.
    values: VecDeque<u8>,
    /// Bytes that have left `values` since the start; wraps around.
    gone: u32,
    /// The size of all entries, as HPACK counts it.
    size: usize,
    /// What it may be at most.
    max_size: usize,
}

/// An entry.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// What it counts for, as HPACK counts it.
    size: u32,
    /// Where its value begins, in bytes since the start; wraps around.
    at: u32,
    name_length: u16,
    /// Bytes that are kept of its value.
    kept: u16,
    name: Name,
}

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
        self.entry(index).map(|entry| (entry.name, entry.name_length))
    }

    /// The field at an index; the newest entry is 0.
    pub(super) fn field<'a>(&'a self, index: usize, scratch: &'a mut Scratch) -> Option<(Name, &'a [u8])> {
        let entry = self.entry(index)?;
        let start = entry.at.wrapping_sub(self.gone) as usize;
        let end = start + usize::from(entry.kept);
        let (front, back) = self.values.as_slices();
        let in_one_piece = match start.checked_sub(front.len()) {
            Some(start) => back.get(start..end - front.len()),
            None => front.get(start..end),
        };
        let value = match in_one_piece {
            Some(value) => value,
            None => {
                let copy = scratch.get_mut(..usize::from(entry.kept))?;
                copy.iter_mut().zip(self.values.range(start..end)).for_each(|(to, from)| *to = *from);
                copy
            }
        };
        Some((entry.name, value))
    }

    /// Adds an entry, for which others leave; the value is `length` bytes, of which `kept` are of use.
    pub(super) fn insert(&mut self, (name, name_length): (Name, u16), length: usize, kept: &[u8]) {
        let size = usize::from(name_length) + length + OVERHEAD;
        self.evict(self.max_size.saturating_sub(size));
        // What is larger than the table empties it, and is not in it.
        let (Ok(kept_length), Ok(counted)) = (u16::try_from(kept.len()), u32::try_from(size)) else {
            return;
        };
        if size > self.max_size {
            return;
        }
        let at = self.gone.wrapping_add(u32::try_from(self.values.len()).unwrap_or_default());
        make_room(&mut self.entries, 1, self.max_size / OVERHEAD);
        make_room(&mut self.values, kept.len(), self.max_size);
        self.entries.push_back(Entry { size: counted, at, name_length, kept: kept_length, name });
        self.values.extend(kept);
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
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.values.capacity()
    }

    /// Lets the oldest go until all that stay have this size at most.
    fn evict(&mut self, size: usize) {
        let mut kept = 0_u32;
        while self.size > size
            && let Some(entry) = self.entries.pop_front()
        {
            self.size -= entry.size as usize;
            kept += u32::from(entry.kept);
        }
        self.values.drain(..kept as usize);
        self.gone = self.gone.wrapping_add(kept);
    }

    fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries.get(self.entries.len().checked_sub(index + 1)?)
    }
}

/// Makes room for `more` in a queue that never holds more than `limit`. Its room doubles as it is used.
fn make_room<T>(queue: &mut VecDeque<T>, more: usize, limit: usize) {
    let needed = queue.len() + more;
    if needed > queue.capacity() {
        let room = (2 * queue.capacity()).max(8).min(limit).max(needed);
        queue.reserve_exact(room - queue.len());
    }
}
