//! Counts what a thread has on the heap.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

#[global_allocator]
static COUNTING: Counting = Counting;

/// The system's allocator, which counts.
struct Counting;

thread_local! {
    /// Bytes that this thread has allocated, less those that it has freed.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// The highest [`LIVE`] since it was last reset.
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Watches this thread's heap from its making on. One at a time.
#[derive(Debug)]
pub struct Watch {
    start: isize,
}

impl Watch {
    /// Starts here.
    #[must_use]
    pub fn start() -> Self {
        let start = LIVE.get();
        PEAK.set(start);
        Self { start }
    }

    /// The most bytes that were allocated at once since the start. A reallocation counts for its result.
    #[must_use]
    pub fn peak(&self) -> usize {
        usize::try_from(PEAK.get() - self.start).unwrap_or_default()
    }

    /// The bytes that were allocated since the start and are still.
    #[must_use]
    pub fn live(&self) -> usize {
        usize::try_from(LIVE.get() - self.start).unwrap_or_default()
    }
}

fn count(bytes: isize) {
    // A thread that ends has none any more.
    let live = LIVE.try_with(|live| live.replace(live.get() + bytes) + bytes).unwrap_or_default();
    let _too_late = PEAK.try_with(|peak| peak.set(peak.get().max(live)));
}

/// A size that an allocation can have, which is at most `isize::MAX`.
const fn signed(size: usize) -> isize {
    size.cast_signed()
}

#[expect(unsafe_code, reason = "an allocator is asked by unsafe functions")]
// SAFETY: every call is passed on as it is to the system's allocator, which keeps the contract; counting
// allocates nothing, as the counters are constants without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: the caller's promise is the one that is asked for here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-signed(layout.size()));
        // SAFETY: the caller's promise is the one that is asked for here, and `System` gave the place.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: the caller's promise is the one that is asked for here.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(signed(new_size) - signed(layout.size()));
        // SAFETY: the caller's promise is the one that is asked for here, and `System` gave the place.
        unsafe { System.realloc(place, layout, new_size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_allocated_and_freed_is_the_peak_and_not_live() {
        let watch = Watch::start();
        drop(std::hint::black_box(vec![0_u8; 1000]));
        let kept = std::hint::black_box(vec![0_u8; 10]);
        assert_eq!((watch.peak(), watch.live()), (1000, 10));
        drop(kept);
        assert_eq!(watch.live(), 0);
    }
}
