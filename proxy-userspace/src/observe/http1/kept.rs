//! Bytes kept in place, as many as are of use.

/// The start of some bytes, at most `N` of them.
#[derive(Debug)]
pub(super) struct Kept<const N: usize> {
    bytes: [u8; N],
    len: usize,
    is_cut: bool,
}

impl<const N: usize> Kept<N> {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self { bytes: [0; N], len: 0, is_cut: false }
    }

    /// Forgets all.
    pub(super) const fn clear(&mut self) {
        self.len = 0;
        self.is_cut = false;
    }

    /// Appends what there is room for.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.append(bytes);
    }

    /// Puts one space in the place of the line's end and the whitespace before it, or appends it.
    pub(super) fn fold(&mut self) {
        if !self.is_cut {
            let line = self.bytes();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
            self.len = line.len() - line.iter().rev().take_while(is_blank).count();
        }
        self.extend(b" ");
    }

    /// Appends what there is room for, in lower case.
    pub(super) fn extend_lower(&mut self, bytes: &[u8]) {
        self.append(bytes).make_ascii_lowercase();
    }

    fn append(&mut self, bytes: &[u8]) -> &mut [u8] {
        let length = bytes.len().min(N - self.len);
        self.is_cut |= length < bytes.len();
        let room = self.bytes.get_mut(self.len..self.len + length).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.len += length;
        room
    }

    /// What is kept.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Whether there was more.
    pub(super) const fn is_cut(&self) -> bool {
        self.is_cut
    }
}

/// The longest start that is text.
pub(super) fn text(bytes: &[u8]) -> &str {
    bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

/// The two parts before and from an index on that is within the bytes.
pub(super) fn split(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}
