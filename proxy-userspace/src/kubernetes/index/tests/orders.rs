//! Any order of what is told gives the same result.
//!
//! A world of a few objects lives through random changes, each with the API server's next version. Its kinds
//! are told in turns, as the watches of an API server do: in order within a kind, in any order between kinds,
//! with old events told again and whole lists in between. In the end the index says what a fresh one says of
//! what there is.

use std::collections::BTreeMap;

use proptest::{prelude::*, sample::Index as Pick};

use super::*;

/// What may be written in an annotation that holds ports; the last ones are mistakes.
const LISTS: [Option<&str>; 8] = [
    None,
    Some(""),
    Some("8080"),
    Some("http"),
    Some("3306, 4406-4408"),
    Some("mysql,80"),
    Some("80O0"),
    Some("nobodys"),
];

/// How many of them are none.
const GOOD: usize = 6;

/// An object of any kind.
#[derive(Clone, Debug)]
enum Any {
    Namespace(Namespace),
    Service(Service),
    Endpoints(Endpoints),
    Pod(Pod),
}

/// A change of the world.
#[derive(Clone, Debug)]
struct Step {
    /// Which kind: the order is that of [`Any`].
    kind: usize,
    /// Which object of the kind.
    which: usize,
    /// Whether it goes.
    is_end: bool,
    /// What it is made of.
    dice: [Pick; 6],
}

fn any_step() -> impl Strategy<Value = Step> {
    let end = prop::bool::weighted(0.2);
    let kind = prop_oneof![1 => Just(0_usize), 3 => Just(1), 2 => Just(2), 4 => Just(3)];
    (kind, 0..4_usize, end, any::<[Pick; 6]>()).prop_map(|(kind, which, is_end, dice)| Step {
        kind,
        which,
        is_end,
        dice,
    })
}

/// The object of a step.
fn made(step: &Step, version: u64, lists: usize) -> Any {
    let list = |at: usize| LISTS[step.dice[at].index(lists)];
    let written = |keys: &[&'static str]| -> Vec<(&'static str, &'static str)> {
        keys.iter().enumerate().filter_map(|(at, key)| Some((*key, list(at)?))).collect()
    };
    let inject = [None, Some("enabled"), Some("disabled")][step.dice[5].index(3)];
    let inject: Vec<_> = inject.map(|word| (INJECT, word)).into_iter().collect();
    let name = format!("object-{}", step.which);
    let address = |net: &str| format!("{net}.{}", step.dice[4].index(3));
    let app = ["object-0", "object-1"][step.dice[3].index(2)];
    let mut object = match step.kind {
        0 => {
            let name = ["shop", "shop", "other", "other"][step.which];
            Any::Namespace(namespace(name, &[inject, written(&[OPAQUE, SKIP_IN])].concat()))
        }
        1 => {
            let ports =
                [&["http=80:http", "mysql=4406:mysql"], &["mysql=80:3306", "http=8080@linkerd.io/opaque"]];
            let made = service(&name, &address("10.96.0"), ports[step.dice[2].index(2)], &written(&[OPAQUE]));
            Any::Service(Service { selector: labels(&[("app", app)]), ..made })
        }
        2 => {
            let service = ["object-0", "object-1"][step.dice[0].index(2)];
            let ports = [("http", 8080), ("mysql", 3306)];
            let first = address("10.0.0");
            Any::Endpoints(endpoints(&name, service, &[&first, "10.0.9.9"], &ports[..step.dice[1].index(3)]))
        }
        _ => {
            let made = pod(&name, &address("10.0.0"), &[inject, written(&[OPAQUE, SKIP, SKIP_IN])].concat());
            let is_finished = step.dice[4].index(7) == 6;
            Any::Pod(Pod { labels: labels(&[("app", app)]), is_finished, ..made })
        }
    };
    object.meta_mut().version = Some(version);
    object
}

impl Any {
    fn meta(&self) -> &Meta {
        match self {
            Self::Namespace(object) => object.meta(),
            Self::Service(object) => object.meta(),
            Self::Endpoints(object) => object.meta(),
            Self::Pod(object) => object.meta(),
        }
    }

    fn meta_mut(&mut self) -> &mut Meta {
        match self {
            Self::Namespace(object) => &mut object.meta,
            Self::Service(object) => &mut object.meta,
            Self::Endpoints(object) => &mut object.meta,
            Self::Pod(object) => &mut object.meta,
        }
    }

    fn upsert(self) -> Event {
        match self {
            Self::Namespace(object) => Event::Namespaces(Change::Upsert(object)),
            Self::Service(object) => Event::Services(Change::Upsert(object)),
            Self::Endpoints(object) => Event::Endpoints(Change::Upsert(object)),
            Self::Pod(object) => Event::Pods(Change::Upsert(object)),
        }
    }
}

/// A whole list of a kind.
fn relist(kind: usize, objects: impl IntoIterator<Item = Any>) -> Event {
    let objects = objects.into_iter();
    match kind {
        0 => Event::Namespaces(Change::Relist(
            objects
                .filter_map(|object| if let Any::Namespace(object) = object { Some(object) } else { None })
                .collect(),
        )),
        1 => Event::Services(Change::Relist(
            objects
                .filter_map(|object| if let Any::Service(object) = object { Some(object) } else { None })
                .collect(),
        )),
        2 => Event::Endpoints(Change::Relist(
            objects
                .filter_map(|object| if let Any::Endpoints(object) = object { Some(object) } else { None })
                .collect(),
        )),
        _ => Event::Pods(Change::Relist(
            objects
                .filter_map(|object| if let Any::Pod(object) = object { Some(object) } else { None })
                .collect(),
        )),
    }
}

/// What the API server tells of one kind, from the first event to the last.
#[derive(Debug, Default)]
struct Log {
    events: Vec<Told>,
}

/// One event of a kind.
#[derive(Clone, Debug)]
struct Told {
    object: Any,
    is_end: bool,
}

impl Told {
    fn event(&self) -> Event {
        if !self.is_end {
            return self.object.clone().upsert();
        }
        let Meta { key, uid, .. } = self.object.meta().clone();
        match &self.object {
            Any::Namespace(_) => Event::Namespaces(Change::Delete { key, uid }),
            Any::Service(_) => Event::Services(Change::Delete { key, uid }),
            Any::Endpoints(_) => Event::Endpoints(Change::Delete { key, uid }),
            Any::Pod(_) => Event::Pods(Change::Delete { key, uid }),
        }
    }
}

impl Log {
    /// What there is after so many events.
    fn there(&self, told: usize) -> BTreeMap<Key, Any> {
        let mut there = BTreeMap::new();
        for told in &self.events[..told] {
            let key = told.object.meta().key.clone();
            if told.is_end {
                there.remove(&key)
            } else {
                there.insert(key, told.object.clone())
            };
        }
        there
    }
}

/// The logs of the kinds; an object that comes after its end is another one.
fn logs(steps: &[Step], lists: usize) -> [Log; 4] {
    let mut logs: [Log; 4] = Default::default();
    let mut lives: BTreeMap<(usize, Key), usize> = BTreeMap::new();
    for (step, version) in steps.iter().zip(1..) {
        let mut object = made(step, version, lists);
        let log = &mut logs[step.kind];
        let key = object.meta().key.clone();
        let life = lives.entry((step.kind, key.clone())).or_default();
        object.meta_mut().uid = format!("uid-{life}").into();
        let is_there = log.there(log.events.len()).contains_key(&key);
        if step.is_end && !is_there {
            continue;
        }
        if step.is_end {
            *life += 1;
        }
        log.events.push(Told { object, is_end: step.is_end });
    }
    logs
}

/// Tells everything, in turns: each is a kind, what to do with it, and which of its events.
fn told_in_turns(logs: &[Log; 4], turns: &[(usize, u8, Pick)], may_leave_out: bool) -> Index {
    let mut index = index();
    let mut told = [0; 4];
    for (kind, what, pick) in turns {
        let (log, told) = (&logs[*kind], &mut told[*kind]);
        let left = log.events.len() - *told;
        match what {
            // Something old once more: what is no longer there is not told of, but that it went.
            0 if *told > 0 => {
                let old = &log.events[pick.index(*told)];
                if old.is_end || log.there(*told).contains_key(&old.object.meta().key) {
                    index.apply(old.event(), at(0));
                }
            }
            1 => {
                // A watch that was lost: what happened in between is only seen in the list.
                *told += if may_leave_out { pick.index(left + 1) } else { 0 };
                index.apply(relist(*kind, log.there(*told).into_values()), at(0));
            }
            _ if left > 0 => {
                index.apply(log.events[*told].event(), at(0));
                *told += 1;
            }
            _ => {}
        }
    }
    for (kind, log) in logs.iter().enumerate() {
        for event in &log.events[told[kind]..] {
            index.apply(event.event(), at(0));
        }
    }
    index
}

/// What follows from what there is in the end, told once.
fn of_what_there_is(logs: &[Log; 4]) -> Index {
    let mut index = index();
    for log in logs {
        for object in log.there(log.events.len()).into_values() {
            index.apply(object.upsert(), at(0));
        }
    }
    index
}

/// What follows from each object's life, one object after the other.
fn of_each_life(logs: &[Log; 4]) -> Index {
    let mut index = index();
    for log in logs.iter().rev() {
        let mut keys: Vec<_> = log.events.iter().map(|told| told.object.meta().key.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            for told in log.events.iter().filter(|told| told.object.meta().key == key) {
                index.apply(told.event(), at(0));
            }
        }
    }
    index
}

fn any_turns() -> impl Strategy<Value = Vec<(usize, u8, Pick)>> {
    prop::collection::vec((0..4_usize, 0..6_u8, any::<Pick>()), 0..60)
}

/// Nothing stays where everything goes.
fn assert_leaves_nothing(mut index: Index) -> Result<(), TestCaseError> {
    for kind in [2, 0, 3, 1] {
        index.apply(relist(kind, []), at(0));
    }
    prop_assert_eq!(index.leftovers(), 0);
    Ok(())
}

proptest! {
    #[test]
    fn any_order_gives_what_the_objects_that_there_are_give(
        steps in prop::collection::vec(any_step(), 0..40),
        turns in any_turns(),
    ) {
        let logs = logs(&steps, GOOD);
        let index = told_in_turns(&logs, &turns, true);
        let fresh = of_what_there_is(&logs);
        prop_assert_eq!(index.desired(), fresh.desired());
        prop_assert!(index.desired().problems.is_empty());
        assert_leaves_nothing(index)?;
    }

    // The last good value is of the same object's past: so that much of the order counts, and no more.
    #[test]
    fn with_mistakes_any_order_gives_what_each_objects_own_life_gives(
        steps in prop::collection::vec(any_step(), 0..40),
        turns in any_turns(),
    ) {
        let logs = logs(&steps, LISTS.len());
        let index = told_in_turns(&logs, &turns, false);
        let fresh = of_each_life(&logs);
        prop_assert_eq!(index.desired(), fresh.desired());
        assert_leaves_nothing(index)?;
    }

    #[test]
    fn other_settings_of_the_node_give_what_a_fresh_index_with_them_gives(
        steps in prop::collection::vec(any_step(), 0..40),
    ) {
        let logs = logs(&steps, GOOD);
        let mut index = of_what_there_is(&logs);
        index.configure(node_lists("80,3306", "8080", ""), EnrolMode::All);
        let mut fresh = Index::new(NODE, node_lists("80,3306", "8080", ""), EnrolMode::All);
        for log in &logs {
            for object in log.there(log.events.len()).into_values() {
                fresh.apply(object.upsert(), at(0));
            }
        }
        prop_assert_eq!(index.desired(), fresh.desired());
    }
}
