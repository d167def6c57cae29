//! What is refused, and what is said about it.

use super::*;

/// What is said about a text.
fn refused(text: &str) -> String {
    inject(text, &all_overrides()).expect_err(text).to_string()
}

const POD: &str = "apiVersion: v1\nkind: Pod\n";

#[test]
fn what_is_no_yaml_is_refused_with_its_place() {
    for (text, place) in [
        ("a: b\n---\nc:\n\td: e\n", "4:2: document 2: "),
        ("a: 'b\n", "1:4: document 1: "),
        ("a: b\n c: d\n", "2:3: document 1: "),
        ("ä: {b: [c}\n", "1:8: document 1: "),
        ("a: *nobody\n", "1:4: document 1: "),
        ("{\"a\": 1}\n{\"b\": }x\n", "2:1: document 1: "),
    ] {
        let said = refused(text);
        assert!(said.starts_with(place) && said.contains("expected YAML or JSON: "), "{said}");
        assert_eq!(uninject(text).unwrap_err().to_string(), said);
    }
}

#[test]
fn a_key_twice_is_refused_where_it_matters() {
    for (lines, key) in [
        (
            "metadata:\n  name: a\nmetadata:\n  name: b\n",
            "5:1: document 1: expected the key \"metadata\" once",
        ),
        (
            "metadata:\n  annotations: {}\n  name: a\n  annotations: {}\n",
            "6:3: document 1: expected the key \"annotations\" once",
        ),
        (
            "metadata:\n  annotations:\n    linkerd.io/inject: x\n    linkerd.io/inject: y\n",
            "6:5: document 1: expected the key \"linkerd.io/inject\" once",
        ),
    ] {
        let said = refused(&format!("{POD}{lines}"));
        assert!(said.starts_with(key), "{said}");
    }
}

#[test]
fn an_alias_where_something_would_be_written_is_refused() {
    let said = refused(&format!("x: &m {{name: a}}\n{POD}metadata: *m\n"));
    assert!(
        said.starts_with("4:11: document 1: metadata: expected a mapping of its own, got an alias"),
        "{said}"
    );
    let said = refused(&format!("x: &a {{b: c}}\n{POD}metadata:\n  annotations: *a\n"));
    assert!(said.starts_with("5:16: document 1: annotations: expected a mapping of its own"), "{said}");
    let said = refused("x: &t {}\nkind: Deployment\nspec:\n  template: *t\n");
    assert!(said.starts_with("4:13: document 1: template: expected a mapping of its own"), "{said}");
    let said = refused("x: &p {kind: Pod}\nkind: List\nitems:\n- *p\n");
    assert!(said.starts_with("4:3: document 1: items: expected"), "{said}");
}

#[test]
fn an_anchor_that_is_used_again_is_refused() {
    let said = refused(
        "kind: Deployment\nmetadata: {}\nspec:\n  template:\n    metadata: &m\n      labels: {a: b}\nx: *m\n",
    );
    assert!(said.starts_with("6:7: document 1: metadata: expected a mapping that is used once"), "{said}");
    assert!(said.contains("again in line 7"), "{said}");
    let said = refused("kind: List\nitems: &i\n- kind: Pod\n  metadata: {name: a}\nx: *i\n");
    assert!(said.contains("items: expected a mapping that is used once"), "{said}");
}

#[test]
fn what_a_merge_has_is_not_hidden() {
    let said = refused(&format!("x: &x {{metadata: {{name: a}}}}\n{POD}<<: *x\n"));
    assert!(said.contains("expected \"metadata\" in the mapping itself"), "{said}");
    let said = refused(&format!("x: &x {{annotations: {{b: c}}}}\n{POD}metadata:\n  <<: *x\n"));
    assert!(said.contains("expected \"annotations\" in the mapping itself"), "{said}");
    // Where the merge has no annotations, there is nothing to hide.
    check_inverse(&format!("x: &x {{labels: {{b: c}}}}\n{POD}metadata:\n  <<: *x\n"), &all_overrides());
}

#[test]
fn annotations_that_only_a_merge_has_cannot_be_removed() {
    let text = format!("x: &x {{linkerd.io/inject: enabled}}\n{POD}metadata:\n  annotations:\n    <<: *x\n");
    let said = uninject(&text).unwrap_err().to_string();
    assert!(said.contains("expected \"linkerd.io/inject\" in the mapping itself"), "{said}");
}

#[test]
fn something_else_than_a_mapping_is_refused() {
    for (metadata, got) in
        [("[a]", "a sequence"), ("text", "a scalar"), ("\"\"", "a scalar"), ("!!str", "a scalar")]
    {
        let said = refused(&format!("{POD}metadata: {metadata}\n"));
        assert!(said.contains(&format!("metadata: expected a mapping, got {got}")), "{said}");
    }
}

#[test]
fn writing_that_cannot_be_changed_in_place_is_refused() {
    for text in [
        "? kind\n: Deployment\n? spec\n: ? template\n  : ? metadata\n    : labels: {a: b}\n",
        "kind: Pod\nmetadata:\n  annotations: &a\nx: *a\n",
        "kind: Pod\nmetadata:\n  annotations:\n    linkerd.io/inject: {a: b}\n",
    ] {
        match inject(text, &Overrides::default()) {
            Ok(injected) => assert_eq!(without_annotations(text), without_annotations(&injected.text)),
            Err(error) => {
                let is_told = matches!(*error.problem, Problem::Uneditable { .. } | Problem::Shared { .. });
                assert!(is_told, "{error}");
            }
        }
    }
}

#[test]
fn the_name_of_a_port_must_be_one_of_the_object_s() {
    let overrides = Overrides { opaque_ports: Some("mysqk".parse().unwrap()), ..Overrides::default() };
    let service = "kind: Service\nmetadata:\n  name: db\nspec:\n  ports:\n  - {name: mysql, port: 1}\n  - {name: x, port: 2}\n";
    assert_eq!(
        inject(service, &overrides).unwrap_err().to_string(),
        "1:1: document 1: --opaque-ports: \"mysqk\": expected a port (1-65535), a range (8000-8100) or the name of a \
         port of service \"db\" (mysql, x), got 'mysqk'"
    );
    let said = inject("kind: Pod\nmetadata:\n  name: db\n", &overrides).unwrap_err().to_string();
    assert!(said.contains("pod \"db\", which names none"), "{said}");
    // A namespace's ports are not in it, and what is left alone is not looked at.
    for text in [
        "kind: Namespace\nmetadata:\n  name: db\n",
        "kind: Pod\nmetadata:\n  name: db\nspec: {hostNetwork: true}\n",
        "kind: ConfigMap\n",
    ] {
        check_injected(text, &overrides);
    }
}
