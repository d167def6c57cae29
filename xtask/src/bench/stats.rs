//! Medians, and ratios to what was measured before and after.

/// Below this, differences between direct samples are not called noise.
const MIN_NOISE: f64 = 0.05;

/// A number that was measured between two direct samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Between {
    pub(super) value: f64,
    /// How many direct samples there were before it.
    pub(super) directs_before: usize,
}

/// What some rounds gave.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// In the order of the rounds.
    pub(super) rounds: Vec<f64>,
}

impl Spread {
    /// `None` where there is no round.
    pub(super) fn of(rounds: Vec<f64>) -> Option<Self> {
        let bound = |choose: fn(f64, f64) -> f64| rounds.iter().copied().reduce(choose);
        Some(Self { median: median(rounds.clone())?, low: bound(f64::min)?, high: bound(f64::max)?, rounds })
    }
}

/// Each value to the mean of the direct ones just before and just after it.
pub(super) fn ratios(values: &[Between], direct: &[f64]) -> Vec<f64> {
    let ratio = |between: &Between| {
        let before = direct.get(between.directs_before.checked_sub(1)?)?;
        let after = direct.get(between.directs_before)?;
        Some(2.0 * between.value / (before + after))
    };
    values.iter().filter_map(ratio).collect()
}

/// How far a direct sample is from its neighbours' mean, as a rule: what a difference must exceed.
pub(super) fn noise(direct: &[f64]) -> f64 {
    let off = |three: &[f64]| match three {
        [before, this, after] => (2.0 * this / (before + after) - 1.0).abs(),
        _ => 0.0,
    };
    median(direct.windows(3).map(off).collect()).unwrap_or(MIN_NOISE).max(MIN_NOISE)
}

pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values.get(middle).copied(),
        _ => Some((values.get(middle.checked_sub(1)?)? + values.get(middle)?) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_to_the_mean_of_the_direct_samples_around_it() {
        let values = [(3.0, 1), (6.0, 1), (5.0, 2)];
        let values = values.map(|(value, directs_before)| Between { value, directs_before });
        assert_eq!(ratios(&values, &[1.0, 2.0, 3.0]), [2.0, 4.0, 2.0]);
    }

    #[test]
    fn without_a_direct_sample_on_both_sides_there_is_no_ratio() {
        let values = [0, 2].map(|directs_before| Between { value: 1.0, directs_before });
        assert!(ratios(&values, &[1.0, 2.0]).is_empty());
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0, 9.0]), Some(4.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn a_spread_has_the_worst_and_the_best_round() {
        let rounds = vec![2.0, 5.0, 1.0];
        let expected = Spread { median: 2.0, low: 1.0, high: 5.0, rounds: rounds.clone() };
        assert_eq!(Spread::of(rounds), Some(expected));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn noise_is_how_far_direct_is_from_its_neighbours() {
        assert_eq!(noise(&[1.0, 1.0, 1.0]), MIN_NOISE);
        assert_eq!(noise(&[1.0, 1.25, 1.0]), 0.25);
        assert_eq!(noise(&[1.0, 1.25]), MIN_NOISE);
    }
}
