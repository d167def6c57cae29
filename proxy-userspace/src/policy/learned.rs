//! Which destinations are learned to be opaque: by what was seen on connections to them.
//!
//! ```text
//!             opaque, OBSERVATIONS times in a row           the term ends
//!   unknown ─────────────────────────────────────▶ learned ───────────────▶ to be sampled
//!      ▲                                              ▲                          │
//!      │                                              └──── opaque: twice ───────┤
//!      │                                                    the term             │
//!      └──────────── anything else, at any time; or no sample for long ──────────┘
//! ```
//!
//! While a destination is learned its connections are not looked at. Each workload learns for itself, and has
//! a bounded room: what one connects to, be it every port there is, never displaces what another has learned.
//! Within its room, what was seen least displaces nothing that was seen more often.

use std::{collections::HashMap, time::Duration};

use proxy_common::LearnedKey;

/// How many connections in a row have to be opaque.
const OBSERVATIONS: u32 = 5;
/// How long a destination is learned at first. Short, so that a wrong guess is short as well; a sample costs one
/// connection the way through the proxy.
const FIRST_TERM: Duration = Duration::from_secs(10);
/// The longest that it is learned without a sample; and how long it may wait for one, before it is as unknown as
/// any.
const LONGEST_TERM: Duration = Duration::from_secs(3600);
/// How many destinations of a workload are counted that are not learned yet.
const MAX_CANDIDATES: usize = 128;
/// How many destinations of a workload may be learned.
const MAX_LEARNED: usize = 128;

/// What is known of the destinations of all workloads. Times are since any one moment.
#[derive(Debug, Default)]
pub struct Lessons {
    workloads: HashMap<u64, OfWorkload>,
}

#[derive(Debug, Default)]
struct OfWorkload {
    candidates: HashMap<LearnedKey, Candidate>,
    learned: HashMap<LearnedKey, Term>,
}

/// Opaque so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    seen: u32,
    last: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Term {
    len: Duration,
    end: Duration,
}

/// What an observation has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Nothing,
    /// The destination is learned already, so that nobody should have looked: the connection is older than
    /// that, or somebody else made it forgotten.
    Known,
    /// The destination is learned until then, in the place of another one where there was no room.
    Learned {
        /// When the term ends.
        until: Duration,
        /// What was forgotten for it.
        instead_of: Option<LearnedKey>,
    },
    /// The destination is not learned any more.
    Forgotten,
}

impl Lessons {
    /// A connection was found to be opaque.
    pub fn opaque(&mut self, key: LearnedKey, now: Duration) -> Outcome {
        self.workloads.entry(key.workload).or_default().opaque(key, now)
    }

    /// A connection was found to be anything else.
    pub fn other(&mut self, key: &LearnedKey) -> Outcome {
        let Some(workload) = self.workloads.get_mut(&key.workload) else { return Outcome::Nothing };
        workload.candidates.remove(key);
        let was_learned = workload.learned.remove(key).is_some();
        if workload.is_empty() {
            self.workloads.remove(&key.workload);
        }
        if was_learned { Outcome::Forgotten } else { Outcome::Nothing }
    }

    /// Only these workloads learn from now on. Returned is what was learned of others.
    pub fn retain(&mut self, learns: impl Fn(u64) -> bool) -> Vec<LearnedKey> {
        let leaving = self.workloads.extract_if(|id, _| !learns(*id));
        leaving.flat_map(|(_, workload)| workload.learned.into_keys()).collect()
    }

    /// How many destinations are learned, those included that are to be sampled.
    #[must_use]
    pub fn learned(&self) -> usize {
        self.workloads.values().map(|workload| workload.learned.len()).sum()
    }
}

impl OfWorkload {
    fn opaque(&mut self, key: LearnedKey, now: Duration) -> Outcome {
        if let Some(term) = self.learned.get_mut(&key) {
            if now < term.end {
                return Outcome::Known;
            }
            if now < term.end + LONGEST_TERM {
                *term = Term::beginning(now, (2 * term.len).min(LONGEST_TERM));
                return Outcome::Learned { until: term.end, instead_of: None };
            }
            self.learned.remove(&key);
            self.count(key, now);
            return Outcome::Forgotten;
        }
        if self.count(key, now) < OBSERVATIONS {
            return Outcome::Nothing;
        }
        let instead_of = match self.learned.len() {
            len if len < MAX_LEARNED => None,
            _ => match self.longest_ended(now) {
                // All are in use: this one goes on as it does, through the proxy.
                None => return Outcome::Nothing,
                ended => ended,
            },
        };
        if let Some(ended) = &instead_of {
            self.learned.remove(ended);
        }
        self.candidates.remove(&key);
        let term = Term::beginning(now, FIRST_TERM);
        self.learned.insert(key, term);
        Outcome::Learned { until: term.end, instead_of }
    }

    /// Counts an observation; how many there have been in a row.
    fn count(&mut self, key: LearnedKey, now: Duration) -> u32 {
        if !self.candidates.contains_key(&key) && self.candidates.len() >= MAX_CANDIDATES {
            // The least seen goes, of those the one that was longest ago.
            let least = self.candidates.iter().min_by_key(|(key, candidate)| (**candidate, **key));
            if let Some(least) = least.map(|(key, _)| *key) {
                self.candidates.remove(&least);
            }
        }
        let candidate = self.candidates.entry(key).or_insert(Candidate { seen: 0, last: now });
        *candidate = Candidate { seen: candidate.seen.saturating_add(1), last: now };
        candidate.seen
    }

    fn longest_ended(&self, now: Duration) -> Option<LearnedKey> {
        let ended = self.learned.iter().filter(|(_, term)| term.end <= now);
        ended.min_by_key(|(key, term)| (term.end, **key)).map(|(key, _)| *key)
    }

    fn is_empty(&self) -> bool {
        self.candidates.is_empty() && self.learned.is_empty()
    }
}

impl Term {
    fn beginning(now: Duration, len: Duration) -> Self {
        Self { len, end: now + len }
    }
}

#[cfg(test)]
mod tests;
