//! A median in bounded memory.

/// Samples that are kept at most.
const CAPACITY: usize = 128;

/// Every *n*th of the values it is shown, *n* growing so that at most [`CAPACITY`] are kept.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    kept: Vec<f32>,
    /// Values shown so far.
    seen: u64,
    /// One value in this many is kept; a power of two.
    stride: u64,
}

impl Samples {
    /// No value yet.
    pub(super) const fn new() -> Self {
        Self { kept: Vec::new(), seen: 0, stride: 1 }
    }

    /// Shows a value.
    pub(super) fn record(&mut self, value: f32) {
        if self.seen.is_multiple_of(self.stride) {
            if self.kept.len() == CAPACITY {
                let mut keep = false;
                self.kept.retain(|_| {
                    keep = !keep;
                    keep
                });
                self.stride *= 2;
            }
            // The stride may just have grown past this value.
            if self.seen.is_multiple_of(self.stride) {
                self.kept.push(value);
            }
        }
        self.seen += 1;
    }

    /// The median of what is kept: the lower one of two.
    pub(super) fn median(&self) -> Option<f32> {
        let mut kept = self.kept.clone();
        let middle = kept.len().checked_sub(1)? / 2;
        let (_, median, _) = kept.select_nth_unstable_by(middle, f32::total_cmp);
        Some(*median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_few_values_is_exact() {
        let mut samples = Samples::new();
        assert_eq!(samples.median(), None);
        for value in [9.0, 1.0, 5.0] {
            samples.record(value);
        }
        assert_eq!(samples.median(), Some(5.0));
        samples.record(2.0);
        assert_eq!(samples.median(), Some(2.0));
    }

    #[test]
    fn many_values_are_thinned_evenly() {
        let mut samples = Samples::new();
        for value in 0..100_000_u32 {
            samples.record(value as f32);
        }
        assert!(samples.kept.len() <= CAPACITY && samples.kept.len() >= CAPACITY / 2);
        let median = samples.median().unwrap();
        assert!((49_000.0..51_000.0).contains(&median), "{median}");
    }
}
