use proptest::prelude::*;
use proxy_common::{Direction, map_v4};

use super::*;

const START: Duration = Duration::from_secs(1_000);

fn key_of(workload: u64, number: u16) -> LearnedKey {
    LearnedKey::new(workload, Direction::Outbound, map_v4([10, 0, 0, 1]), number.to_be())
}

fn key(number: u16) -> LearnedKey {
    key_of(1, number)
}

/// Learns a destination; until when.
fn learn(lessons: &mut Lessons, key: LearnedKey, now: Duration) -> Duration {
    let outcomes: Vec<_> = (0..OBSERVATIONS).map(|_| lessons.opaque(key, now)).collect();
    match outcomes.last() {
        Some(Outcome::Learned { until, .. }) => *until,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_destination_is_learned_when_it_was_opaque_often_enough_in_a_row() {
    let mut lessons = Lessons::default();
    for _ in 1..OBSERVATIONS {
        assert_eq!(lessons.opaque(key(1), START), Outcome::Nothing);
    }
    let learned = Outcome::Learned { until: START + FIRST_TERM, instead_of: None };
    assert_eq!(lessons.opaque(key(1), START), learned);
    assert_eq!(lessons.learned(), 1);
}

#[test]
fn anything_else_begins_the_row_anew() {
    let mut lessons = Lessons::default();
    for _ in 1..OBSERVATIONS {
        lessons.opaque(key(1), START);
    }
    assert_eq!(lessons.other(&key(1)), Outcome::Nothing);
    for _ in 1..OBSERVATIONS {
        assert_eq!(lessons.opaque(key(1), START), Outcome::Nothing);
    }
}

#[test]
fn a_sample_that_is_still_opaque_doubles_the_term_up_to_a_bound() {
    let mut lessons = Lessons::default();
    let mut end = learn(&mut lessons, key(1), START);
    let mut len = FIRST_TERM;
    for _ in 0..12 {
        len = (2 * len).min(LONGEST_TERM);
        assert_eq!(lessons.opaque(key(1), end), Outcome::Learned { until: end + len, instead_of: None });
        // Connections that were on their way change nothing.
        assert_eq!(lessons.opaque(key(1), end), Outcome::Known);
        end += len;
    }
    assert_eq!(len, LONGEST_TERM);
}

#[test]
fn a_sample_that_is_anything_else_forgets_the_destination() {
    let mut lessons = Lessons::default();
    let end = learn(&mut lessons, key(1), START);
    assert_eq!(lessons.other(&key(1)), Outcome::Forgotten);
    assert_eq!(lessons.learned(), 0);
    assert_eq!(lessons.opaque(key(1), end), Outcome::Nothing);
}

#[test]
fn a_destination_that_nobody_has_sampled_for_long_is_unknown() {
    let mut lessons = Lessons::default();
    let end = learn(&mut lessons, key(1), START);
    assert_eq!(lessons.opaque(key(1), end + LONGEST_TERM), Outcome::Forgotten);
    // That one counts.
    for _ in 2..OBSERVATIONS {
        assert_eq!(lessons.opaque(key(1), end + LONGEST_TERM), Outcome::Nothing);
    }
    assert!(matches!(lessons.opaque(key(1), end + LONGEST_TERM), Outcome::Learned { .. }));
}

#[test]
fn a_scan_of_ports_displaces_nothing_that_was_seen_twice() {
    let mut lessons = Lessons::default();
    learn(&mut lessons, key(1), START);
    lessons.opaque(key(2), START);
    lessons.opaque(key(2), START);
    for port in 1_000..60_000 {
        lessons.opaque(key(port), START + Duration::from_millis(port.into()));
    }
    assert_eq!(lessons.opaque(key(1), START), Outcome::Known);
    for _ in 3..OBSERVATIONS {
        assert_eq!(lessons.opaque(key(2), START), Outcome::Nothing);
    }
    assert!(matches!(lessons.opaque(key(2), START), Outcome::Learned { .. }));
}

#[test]
fn without_room_only_what_is_to_be_sampled_is_displaced() {
    let mut lessons = Lessons::default();
    let full = u16::try_from(MAX_LEARNED).unwrap();
    for port in 1..=full {
        learn(&mut lessons, key(port), START + Duration::from_millis(port.into()));
    }
    let mut now = START + FIRST_TERM;
    for _ in 0..2 * OBSERVATIONS {
        assert_eq!(lessons.opaque(key(9_999), now), Outcome::Nothing);
    }
    now = START + FIRST_TERM + Duration::from_millis(2);
    let learned = Outcome::Learned { until: now + FIRST_TERM, instead_of: Some(key(1)) };
    assert_eq!(lessons.opaque(key(9_999), now), learned);
    assert_eq!(lessons.learned(), MAX_LEARNED);
}

#[test]
fn what_a_workload_has_learned_goes_with_it() {
    let mut lessons = Lessons::default();
    learn(&mut lessons, key_of(1, 80), START);
    learn(&mut lessons, key_of(2, 80), START);
    assert_eq!(lessons.retain(|workload| workload == 2), [key_of(1, 80)]);
    assert_eq!(lessons.opaque(key_of(2, 80), START), Outcome::Known);
    assert_eq!(lessons.opaque(key_of(1, 80), START), Outcome::Nothing);
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Opaque(LearnedKey),
    Other(LearnedKey),
    Wait(Duration),
}

fn events(ports: u16) -> impl Strategy<Value = Vec<Event>> {
    let keys = (1..3_u64, 0..ports).prop_map(|(workload, port)| key_of(workload, port));
    let event = prop_oneof![
        12 => keys.clone().prop_map(Event::Opaque),
        1 => keys.prop_map(Event::Other),
        1 => (0..8_000_u64).prop_map(|seconds| Event::Wait(Duration::from_secs(seconds))),
    ];
    proptest::collection::vec(event, 0..400)
}

/// What should become of one destination where there is room for all.
#[derive(Default)]
struct Model {
    row: u32,
    /// Length and end.
    term: Option<(Duration, Duration)>,
}

impl Model {
    fn opaque(&mut self, now: Duration) -> Outcome {
        let begin =
            |len: Duration| (Some((len, now + len)), Outcome::Learned { until: now + len, instead_of: None });
        let (term, outcome) = match self.term {
            Some((_, end)) if now < end => (self.term, Outcome::Known),
            Some((len, end)) if now - end < LONGEST_TERM => begin(LONGEST_TERM.min(len + len)),
            Some(_) => {
                self.row = 1;
                (None, Outcome::Forgotten)
            }
            None => {
                self.row += 1;
                if self.row == OBSERVATIONS { begin(FIRST_TERM) } else { (None, Outcome::Nothing) }
            }
        };
        self.term = term;
        outcome
    }

    fn other(&mut self) -> Outcome {
        let outcome = if self.term.is_some() { Outcome::Forgotten } else { Outcome::Nothing };
        *self = Self::default();
        outcome
    }
}

proptest! {
    /// Few destinations, each of which has room: they do as if they were alone.
    #[test]
    fn destinations_do_not_disturb_each_other(events in events(6)) {
        let (mut lessons, mut models) = (Lessons::default(), HashMap::<LearnedKey, Model>::new());
        let mut now = START;
        for event in events {
            match event {
                Event::Opaque(key) => {
                    prop_assert_eq!(lessons.opaque(key, now), models.entry(key).or_default().opaque(now));
                }
                Event::Other(key) => {
                    prop_assert_eq!(lessons.other(&key), models.entry(key).or_default().other());
                }
                Event::Wait(time) => now += time,
            }
            let learned = models.values().filter(|model| model.term.is_some()).count();
            prop_assert_eq!(lessons.learned(), learned);
        }
    }

    /// Many: what is held is bounded, and another workload does not notice.
    #[test]
    fn what_is_held_is_bounded_and_workloads_do_not_notice_each_other(events in events(500)) {
        let (mut together, mut alone) = (Lessons::default(), Lessons::default());
        let mut now = START;
        // More often than learning takes, so that both rooms fill.
        for event in events.into_iter().flat_map(|event| std::iter::repeat_n(event, 6)) {
            let (outcome, key) = match event {
                Event::Opaque(key) => (together.opaque(key, now), key),
                Event::Other(key) => (together.other(&key), key),
                Event::Wait(time) => {
                    now += time;
                    continue;
                }
            };
            if key.workload == 1 {
                let expected = match event {
                    Event::Opaque(key) => alone.opaque(key, now),
                    Event::Other(_) | Event::Wait(_) => alone.other(&key),
                };
                prop_assert_eq!(outcome, expected);
            }
            for workload in together.workloads.values() {
                prop_assert!(workload.candidates.len() <= MAX_CANDIDATES);
                prop_assert!(workload.learned.len() <= MAX_LEARNED);
                prop_assert!(workload.learned.values().all(|term| term.len <= LONGEST_TERM));
            }
        }
    }
}
