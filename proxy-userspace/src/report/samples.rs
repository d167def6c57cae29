//! Quantiles in bounded memory.

/// Samples that are kept at most.
const CAPACITY: usize = 128;

/// Every *n*th of the values it is shown, *n* growing so that at most [`CAPACITY`] are kept; and the largest
/// of all.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    kept: Vec<f32>,
    /// Values shown so far.
    seen: u64,
    /// One value in this many is kept; a power of two.
    stride: u64,
    /// The largest value that was shown.
    max: Option<f32>,
}

impl Default for Samples {
    fn default() -> Self {
        Self::new()
    }
}

impl Samples {
    /// No value yet.
    pub(super) const fn new() -> Self {
        Self { kept: Vec::new(), seen: 0, stride: 1, max: None }
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
        self.max = largest(self.max, Some(value));
    }

    /// Shows the values that another was shown, as far as it has kept them: each for those it stands for.
    pub(super) fn merge(&mut self, other: &Self) {
        for (value, at) in other.kept.iter().zip(0..) {
            let stands_for = other.stride.min(other.seen - at * other.stride);
            self.record_repeatedly(*value, stands_for);
        }
        self.max = largest(self.max, other.max);
    }

    /// Shows a value so many times, at the cost of those that are kept.
    fn record_repeatedly(&mut self, value: f32, times: u64) {
        let end = self.seen + times;
        loop {
            self.seen = self.seen.next_multiple_of(self.stride);
            if self.seen >= end {
                break;
            }
            self.record(value);
        }
        self.seen = end;
    }

    /// The value that a share of `percent` in what is kept does not exceed: of two, the lower one.
    pub(super) fn percentile(&self, percent: usize) -> Option<f32> {
        let mut kept = self.kept.clone();
        let rank = (kept.len() * percent).div_ceil(100).checked_sub(1)?;
        let (_, value, _) = kept.select_nth_unstable_by(rank, f32::total_cmp);
        Some(*value)
    }

    /// The median of what is kept.
    pub(super) fn median(&self) -> Option<f32> {
        self.percentile(50)
    }

    /// The largest value; exact.
    pub(super) const fn max(&self) -> Option<f32> {
        self.max
    }
}

fn largest(a: Option<f32>, b: Option<f32>) -> Option<f32> {
    a.into_iter().chain(b).max_by(f32::total_cmp)
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

    #[test]
    fn percentiles_are_by_rank_and_the_maximum_is_exact() {
        let mut samples = Samples::new();
        assert_eq!((samples.percentile(95), samples.max()), (None, None));
        for value in 1..=100_u8 {
            samples.record(f32::from(value));
        }
        assert_eq!(samples.percentile(50), Some(50.0));
        assert_eq!(samples.percentile(95), Some(95.0));
        assert_eq!(samples.percentile(100), Some(100.0));
        for value in 0..100_000_u32 {
            samples.record(if value == 77_777 { 1_000_000.0 } else { 1.0 });
        }
        assert_eq!(samples.max(), Some(1_000_000.0));
    }

    #[test]
    fn merged_samples_weigh_as_much_as_what_they_stand_for() {
        let filled = |value, times| {
            let mut samples = Samples::new();
            (0..times).for_each(|_| samples.record(value));
            samples
        };
        let mut all = filled(1.0, 3_000);
        all.merge(&filled(5.0, 6_001));
        all.merge(&filled(9.0, 999));
        assert_eq!(all.seen, 10_000);
        assert!(all.kept.len() <= CAPACITY && all.kept.len() >= CAPACITY / 2);
        assert_eq!((all.percentile(25), all.percentile(50)), (Some(1.0), Some(5.0)));
        assert_eq!((all.percentile(85), all.percentile(95)), (Some(5.0), Some(9.0)));
        let mut few = filled(1.0, 1);
        few.merge(&filled(2.0, 2));
        assert_eq!((few.seen, few.kept.len(), few.max()), (3, 3, Some(2.0)));
    }
}
