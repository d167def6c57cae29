//! The tap's protocol: what a client asks, and what an agent answers.

use sluice::tap::{Ask, Message, json, text};

/// The target `tap`: a line of JSON, read as either side reads it.
pub fn tap(input: &[u8]) {
    if let Ok(ask) = serde_json::from_slice::<Ask>(input) {
        let written = serde_json::to_vec(&ask).unwrap_or_default();
        assert!(serde_json::from_slice::<Ask>(&written).is_ok_and(|read| read == ask));
    }
    if let Ok(Message::Exchange(event)) = serde_json::from_slice(input) {
        let line = text(&event);
        let is_shown = |char: char| char.is_ascii_graphic() || matches!(char, ' ' | 'µ');
        assert!(line.chars().all(is_shown), "{line:?}");
        let line = json(&event);
        assert!(!line.chars().any(char::is_control), "{line:?}");
        let read = serde_json::from_str(&line);
        // JSON has no infinity: such a number becomes nothing, and cannot be one again.
        let is_finite = event.duration_ms.is_finite() && event.latency_ms.is_none_or(f64::is_finite);
        assert!(!is_finite || read.is_ok_and(|read| same(&read, &event)), "{line}");
    }
}

/// Whether two events are one, but for the last digit of their times.
fn same(read: &sluice::tap::Event<'_>, event: &sluice::tap::Event<'_>) -> bool {
    let times =
        sluice::tap::Event { latency_ms: event.latency_ms, duration_ms: event.duration_ms, ..read.clone() };
    times == *event && read.latency_ms.is_some() == event.latency_ms.is_some()
}
