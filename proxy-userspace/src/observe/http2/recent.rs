//! Strings that come again and again on a connection, and are shared.

use std::sync::Arc;

/// How many strings are remembered that nobody uses: a gRPC client calls few methods on a connection, and they
/// alternate.
const KEPT: usize = 8;
/// Bytes that a shared string takes besides its own.
const COUNTS: usize = 2 * size_of::<usize>();

/// The strings of the requests that are open, and eight others at most that were new most recently.
#[derive(Debug, Default)]
pub(super) struct Recent {
    known: Vec<Known>,
    /// Which one the next new string replaces, if nobody uses it.
    oldest: usize,
    /// Bytes of all of them.
    texts: usize,
}

#[derive(Debug)]
struct Known {
    text: Arc<str>,
    /// How many requests that are open have it.
    users: u32,
}

impl Recent {
    /// A string, shared with the last time it was asked for if it is remembered, until [`Recent::release`]; of
    /// bytes that are no UTF-8, or a character that is cut, what is before. `None` if that is nothing, or if no
    /// more than `most` bytes are to be held and it does not fit.
    pub(super) fn share(&mut self, bytes: &[u8], most: usize) -> Option<Arc<str>> {
        let valid = bytes.utf8_chunks().next()?.valid();
        if valid.is_empty() {
            return None;
        }
        if let Some(known) = self.known.iter_mut().find(|known| *known.text == *valid) {
            known.users += 1;
            return Some(Arc::clone(&known.text));
        }
        let place = self.unused().filter(|_| self.known.len() >= KEPT);
        let replaced = place.and_then(|at| self.known.get(at)).map_or(0, |known| COUNTS + known.text.len());
        let more = COUNTS + valid.len() + if place.is_none() { size_of::<Known>() } else { 0 };
        if self.held() + more - replaced > most {
            return None;
        }
        let text: Arc<str> = Arc::from(valid);
        let new = Known { text: Arc::clone(&text), users: 1 };
        self.texts += COUNTS + valid.len();
        match place.and_then(|at| self.known.get_mut(at).map(|known| (at, known))) {
            Some((at, known)) => {
                *known = new;
                self.texts -= replaced;
                self.oldest = at + 1;
            }
            None => {
                self.known.reserve_exact(1);
                self.known.push(new);
            }
        }
        Some(text)
    }

    /// A request that had this string is over.
    pub(super) fn release(&mut self, text: &Arc<str>) {
        let Some(at) = self.known.iter().position(|known| Arc::ptr_eq(&known.text, text)) else {
            return;
        };
        if let Some(known) = self.known.get_mut(at) {
            known.users = known.users.saturating_sub(1);
            if known.users == 0 && self.known.len() > KEPT {
                self.texts -= COUNTS + text.len();
                self.known.swap_remove(at);
                self.known.shrink_to(KEPT);
            }
        }
    }

    /// Bytes held on the heap.
    pub(super) const fn held(&self) -> usize {
        self.known.capacity() * size_of::<Known>() + self.texts
    }

    /// A string that nobody uses, the oldest as far as that is known.
    fn unused(&self) -> Option<usize> {
        let is_unused = |at: &usize| self.known.get(*at).is_some_and(|known| known.users == 0);
        (self.oldest..self.known.len()).find(is_unused).or_else(|| (0..self.oldest).find(is_unused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that these strings hold.
    fn held(recent: &Recent) -> usize {
        let texts: usize = recent.known.iter().map(|known| COUNTS + known.text.len()).sum();
        recent.known.capacity() * size_of::<Known>() + texts
    }

    #[test]
    fn strings_are_shared_while_they_are_used_and_some_beyond() {
        let mut recent = Recent::default();
        let texts: Vec<_> = (0..20).map(|at| format!("/{at}")).collect();
        let shared: Vec<_> =
            texts.iter().map(|text| recent.share(text.as_bytes(), usize::MAX).unwrap()).collect();
        for (text, first) in texts.iter().zip(&shared) {
            let again = recent.share(text.as_bytes(), usize::MAX).unwrap();
            assert!(Arc::ptr_eq(&again, first));
            recent.release(&again);
        }
        assert_eq!((recent.known.len(), recent.held()), (20, held(&recent)));
        shared.iter().for_each(|text| recent.release(text));
        assert_eq!((recent.known.len(), recent.held()), (KEPT, held(&recent)));
        let kept = Arc::clone(&recent.known[3].text);
        assert!(Arc::ptr_eq(&recent.share(kept.as_bytes(), usize::MAX).unwrap(), &kept));
        for at in 0..100 {
            let text = recent.share(format!("/new/{at}").as_bytes(), usize::MAX).unwrap();
            recent.release(&text);
            assert_eq!((recent.known.len(), recent.held()), (KEPT, held(&recent)));
        }
        assert!(Arc::ptr_eq(&recent.share(kept.as_bytes(), usize::MAX).unwrap(), &kept), "it is used");
    }

    #[test]
    fn a_string_that_does_not_fit_is_none() {
        let mut recent = Recent::default();
        let most = 2 * (size_of::<Known>() + COUNTS + 4);
        assert!(recent.share(b"/one", most).is_some() && recent.share(b"/two", most).is_some());
        assert_eq!((recent.share(b"/3", most), recent.held()), (None, most));
        assert!(recent.share(b"/one", most).is_some());
    }
}
