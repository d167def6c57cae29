//! The room's promises: golden files, properties, and what is refused.

mod golden;
mod properties;
mod refused;
mod written;

use super::*;

/// All that can be given.
fn all_overrides() -> Overrides {
    Overrides {
        opaque_ports: Some("4406,8000-8100".parse().unwrap()),
        skip_inbound_ports: Some("9090".parse().unwrap()),
        skip_outbound_ports: Some("25".parse().unwrap()),
        skip_ports: Some("8080".parse().unwrap()),
        skip_subnets: Some("10.0.0.0/8, fd00::/8".parse().unwrap()),
        same_node_bypass: None,
    }
}

/// What holds of every text: what is injected again stays, and says what it said but for annotations.
fn check_injected(text: &str, overrides: &Overrides) -> Transformed {
    let injected = inject(text, overrides).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let again =
        inject(&injected.text, overrides).unwrap_or_else(|error| panic!("{error}\n{}", injected.text));
    assert_eq!(again, injected, "from\n{text}");
    injected
}

/// What holds of every text without earlier annotations.
fn check_inverse(text: &str, overrides: &Overrides) {
    let injected = check_injected(text, overrides);
    let back = uninject(&injected.text).unwrap_or_else(|error| panic!("{error}\n{}", injected.text));
    assert_eq!(back.text, text, "from\n{}", injected.text);
}

/// The documents as other parsers read them, without our annotations and what is empty without them.
fn without_annotations(text: &str) -> Vec<serde_yaml_ng::Value> {
    use serde::Deserialize as _;
    // A byte order mark is for those who read bytes.
    let text = text.trim_start_matches('\u{feff}');
    let json: Result<Vec<serde_json::Value>, _> =
        serde_json::Deserializer::from_str(text).into_iter().collect();
    let mut documents: Vec<serde_yaml_ng::Value> = match json {
        Ok(values) => values.iter().map(|value| serde_yaml_ng::to_value(value).unwrap()).collect(),
        Err(_) => serde_yaml_ng::Deserializer::from_str(text)
            .map(|document| {
                serde_yaml_ng::Value::deserialize(document).unwrap_or_else(|error| panic!("{error}\n{text}"))
            })
            .collect(),
    };
    documents.iter_mut().for_each(strip);
    documents
}

fn strip(value: &mut serde_yaml_ng::Value) {
    use serde_yaml_ng::Value;
    let is_nothing =
        |value: &Value| value.is_null() || value.as_mapping().is_some_and(|mapping| mapping.is_empty());
    match value {
        Value::Mapping(mapping) => {
            mapping.retain(|key, _| !key.as_str().is_some_and(|key| KEYS.contains(&key)));
            mapping.iter_mut().for_each(|(_, value)| strip(value));
            mapping.retain(|key, value| {
                !(matches!(key.as_str(), Some("annotations" | "metadata")) && is_nothing(value))
            });
        }
        Value::Sequence(items) => items.iter_mut().for_each(strip),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Tagged(_) => {}
    }
}
