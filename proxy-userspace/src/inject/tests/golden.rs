//! Manifests of every kind and style (`testdata/before`), what they become (`after`), and what is told (`told`).
//!
//! The first line of `told` is the command. With `SLUICE_WRITE_GOLDEN=1` the other files are written anew: read
//! what has changed in them.

use std::{fs, path::Path};

use super::*;

const TESTDATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/inject/testdata");
/// Files with annotations of ours, which `uninject` removes although `inject` did not write them.
const EARLIER: [&str; 1] = ["earlier_values.yml"];

struct Case {
    name: String,
    before: String,
    after: String,
    told: String,
    overrides: Overrides,
}

fn cases() -> Vec<Case> {
    let read = |directory: &str, name: &str| {
        fs::read_to_string(Path::new(TESTDATA).join(directory).join(name)).unwrap_or_default()
    };
    let mut names: Vec<_> = fs::read_dir(Path::new(TESTDATA).join("before"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let case = |name: String| {
        let told = read("told", &format!("{name}.txt"));
        let overrides = overrides(told.lines().next().unwrap_or_default());
        Case { before: read("before", &name), after: read("after", &name), told, overrides, name }
    };
    names.into_iter().map(case).collect()
}

/// What a command line gives.
fn overrides(command: &str) -> Overrides {
    let mut overrides = Overrides::default();
    for word in command.split(' ') {
        match word.split_once('=') {
            Some(("--opaque-ports", list)) => overrides.opaque_ports = Some(list.parse().unwrap()),
            Some(("--skip-inbound-ports", list)) => {
                overrides.skip_inbound_ports = Some(list.parse().unwrap())
            }
            Some(("--skip-outbound-ports", list)) => {
                overrides.skip_outbound_ports = Some(list.parse().unwrap())
            }
            Some(("--skip-ports", list)) => overrides.skip_ports = Some(list.parse().unwrap()),
            Some(("--skip-subnets", list)) => overrides.skip_subnets = Some(list.parse().unwrap()),
            Some(other) => panic!("{other:?} is no flag"),
            None => {}
        }
    }
    overrides
}

#[test]
fn every_manifest_becomes_what_is_expected() {
    let is_written = std::env::var_os("SLUICE_WRITE_GOLDEN").is_some();
    let cases = cases();
    assert!(cases.len() >= 25, "{}", cases.len());
    for case in cases {
        let injected = check_injected(&case.before, &case.overrides);
        let command = case.told.lines().next().unwrap_or_default();
        let report: Vec<_> = injected.report.iter().map(ToString::to_string).collect();
        let told = format!("{command}\n\n{}\n", report.join("\n"));
        if is_written {
            fs::write(Path::new(TESTDATA).join("after").join(&case.name), &injected.text).unwrap();
            fs::write(Path::new(TESTDATA).join("told").join(format!("{}.txt", case.name)), told).unwrap();
            continue;
        }
        assert!(command.ends_with(&case.name), "{command}");
        assert_eq!(injected.text, case.after, "{}", case.name);
        assert_eq!(told, case.told, "{}", case.name);
    }
}

/// A text in the ways in which files differ without a difference.
fn variants(text: &str) -> [String; 4] {
    let trimmed = text.trim_end_matches('\n');
    [text.to_owned(), text.replace('\n', "\r\n"), trimmed.to_owned(), format!("\u{feff}{text}")]
}

#[test]
fn uninject_is_the_inverse_byte_by_byte() {
    for case in cases().iter().filter(|case| !EARLIER.contains(&&*case.name)) {
        for text in variants(&case.before) {
            for overrides in [&case.overrides, &Overrides::default(), &all_overrides()] {
                check_inverse(&text, overrides);
            }
        }
    }
}

#[test]
fn another_parser_sees_no_difference_but_the_annotations() {
    for case in cases() {
        for text in variants(&case.before) {
            let injected = check_injected(&text, &all_overrides_of(&case));
            assert_eq!(without_annotations(&text), without_annotations(&injected.text), "{}", case.name);
            let removed = uninject(&injected.text).unwrap();
            assert_eq!(without_annotations(&text), without_annotations(&removed.text), "{}", case.name);
        }
    }
}

#[test]
fn what_somebody_put_beside_ours_stays_without_the_mark() {
    for null in ["", " ~", "  null # nobody's"] {
        let before = format!("kind: Pod\nmetadata:\n  annotations:{null}\n  name: x\n");
        let injected = inject(&before, &all_overrides()).unwrap().text;
        let added = injected.replace("  name: x", "    a: b\n  name: x");
        let comment = if null.contains('#') { " # nobody's" } else { "" };
        let expected = format!("kind: Pod\nmetadata:\n  annotations:{comment}\n    a: b\n  name: x\n");
        assert_eq!(uninject(&added).unwrap().text, expected);
    }
}

#[test]
fn merges_of_merges_come_to_an_end() {
    let mut text = String::from("x0: &x0 {a: b}\n");
    for at in 1..40 {
        let merged = vec![format!("*x{}", at - 1); 10].join(", ");
        text.push_str(&format!("x{at}: &x{at} {{<<: [{merged}]}}\n"));
    }
    text.push_str("kind: Pod\nmetadata:\n  annotations:\n    <<: *x39\n");
    check_inverse(&text, &all_overrides());
}

#[test]
fn a_null_in_braces_comes_back_as_null() {
    for null in [": ~", ": NULL", ": ", ":", ""] {
        for (head, tail) in [("{kind: Pod, metadata: {annotations", "}}\n"), ("{kind: Pod, metadata", "}\n")]
        {
            let injected = check_injected(&format!("{head}{null}{tail}"), &all_overrides());
            let back = uninject(&injected.text).unwrap();
            assert_eq!(back.text.replace("null }", "null}"), format!("{head}: null{tail}"));
        }
    }
}

/// Names of ports are of one file.
fn all_overrides_of(case: &Case) -> Overrides {
    Overrides { opaque_ports: case.overrides.opaque_ports.clone(), ..all_overrides() }
}

#[test]
fn values_that_were_there_are_replaced_and_removed() {
    let case = cases().into_iter().find(|case| case.name == "earlier_values.yml").unwrap();
    let removed = uninject(&case.after).unwrap();
    assert!(KEYS.iter().all(|key| !removed.text.contains(key)), "{}", removed.text);
    assert_eq!(removed.text, uninject(&case.before).unwrap().text);
}
