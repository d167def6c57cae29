//! Manifests that are annotated.

use sluice::inject::{InjectError, Overrides, inject as annotate, join, uninject};

/// The target `inject`. Memory has no bound here but the file's size: whoever calls it wrote the file.
pub fn inject(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let ports = |list: &str| list.parse().ok();
    let overrides = Overrides {
        opaque_ports: ports("4406"),
        skip_inbound_ports: ports(""),
        skip_subnets: "fd00::/8".parse().ok(),
        ..Overrides::default()
    };
    match annotate(text, &overrides) {
        Ok(injected) => {
            assert_eq!(annotate(&injected.text, &overrides).as_ref(), Ok(&injected), "{text}");
            if !text.contains("linkerd.io/") {
                let removed = uninject(&injected.text).map(|removed| removed.text);
                let again = removed.and_then(|removed| annotate(&removed, &overrides));
                assert_eq!(again, Ok(injected), "{text}");
            }
            assert_eq!(join(&[text.to_owned()]), text);
        }
        Err(error) => check_place(&error, text),
    }
    if let Err(error) = uninject(text) {
        check_place(&error, text);
    }
}

/// An error points at a place in the text, or behind its last character.
fn check_place(error: &InjectError, text: &str) {
    let lines: Vec<_> = text.split('\n').collect();
    let line = error.line.checked_sub(1).and_then(|line| lines.get(line));
    let length = line.map(|line| line.chars().count());
    assert!(length.is_some_and(|length| (1..=length + 1).contains(&error.column)), "{error}\n{text}");
    assert!(error.document >= 1, "{error}");
}
