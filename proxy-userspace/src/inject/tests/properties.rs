//! Manifests written at random: in every style, and such that somebody broke.

use proptest::prelude::*;

use super::{
    written::{json, yaml},
    *,
};

fn check_all(text: &str) {
    for overrides in [Overrides::default(), all_overrides()] {
        check_inverse(text, &overrides);
        let injected = check_injected(text, &overrides).text;
        assert_eq!(without_annotations(text), without_annotations(&injected), "{text}");
        // Other values later, and then none.
        let again = inject(&injected, &all_overrides()).unwrap().text;
        assert_eq!(uninject(&again).unwrap().text, text, "from\n{again}");
    }
}

/// A text in which some lines are gone, there twice, or changed.
fn broken(text: &str, changes: &[(u16, u8)]) -> String {
    let mut lines: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
    for (at, how) in changes {
        let at = usize::from(*at) % lines.len().max(1);
        let Some(line) = lines.get_mut(at) else { break };
        let chars: Vec<_> = line.char_indices().map(|(at, _)| at).collect();
        let place = chars.get(usize::from(*how >> 4) * chars.len() / 16).copied().unwrap_or(0);
        match how & 15 {
            0 => line.clear(),
            1 => line.push_str(&line.clone()),
            2 => line.insert(0, ' '),
            3 => line.truncate(place),
            sign => line.insert_str(
                place,
                ["{", "}", "# ", "\"", "'", ": ", "- ", "&a ", "*a", "\t", ", ", "|\n"]
                    [usize::from(sign) - 4],
            ),
        }
    }
    lines.concat()
}

/// Each case is read a dozen times; `PROPTEST_CASES` asks for more of them.
fn fewer_cases() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases / 2, failure_persistence: None, ..usual }
}

proptest! {
    #![proptest_config(fewer_cases())]

    #[test]
    fn yaml_in_any_style_is_annotated_and_restored(choices in prop::collection::vec(any::<u8>(), 0..160)) {
        check_all(&yaml(&choices));
    }

    #[test]
    fn json_in_any_layout_is_annotated_and_restored(choices in prop::collection::vec(any::<u8>(), 0..80)) {
        let text = json(&choices);
        check_all(&text);
        let injected = inject(&text, &all_overrides()).unwrap().text;
        for value in serde_json::Deserializer::from_str(&injected).into_iter::<serde_json::Value>() {
            prop_assert!(value.is_ok(), "{}", injected);
        }
    }

    #[test]
    fn what_somebody_broke_is_refused_or_changed_as_it_says(
        choices in prop::collection::vec(any::<u8>(), 0..160),
        changes in prop::collection::vec(any::<(u16, u8)>(), 1..4),
    ) {
        let text = broken(&yaml(&choices), &changes);
        if let Ok(injected) = inject(&text, &all_overrides()) {
            prop_assert_eq!(inject(&injected.text, &all_overrides()), Ok(injected.clone()));
            let removed = uninject(&injected.text).unwrap_or_else(|error| panic!("{error}\n{}", injected.text));
            prop_assert_eq!(inject(&removed.text, &all_overrides()).map(|again| again.text), Ok(injected.text));
        }
        let _refused_or_not = uninject(&text);
    }
}
