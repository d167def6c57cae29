//! How a set of ports stands in files and on the wire: its string, or a number for a single port.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::parse::PortSetError;
use super::ports::PortSet;

/// A list of ports as a file holds it, bad ones included.
///
/// For a reader that names the key and the workload of a bad list, which a
/// [`Deserialize`] implementation cannot know.
pub(crate) struct WrittenPorts(pub(crate) Result<PortSet, PortSetError>);

/// Reads both notations by the one parser.
struct PortsVisitor;

impl Visitor<'_> for PortsVisitor {
    type Value = Result<PortSet, PortSetError>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ports, as a string (\"80,8000-8100\") or a single number")
    }

    fn visit_str<E: Error>(self, list: &str) -> Result<Self::Value, E> {
        Ok(list.parse())
    }

    fn visit_i64<E: Error>(self, port: i64) -> Result<Self::Value, E> {
        Ok(port.to_string().parse())
    }

    fn visit_u64<E: Error>(self, port: u64) -> Result<Self::Value, E> {
        Ok(port.to_string().parse())
    }
}

impl<'de> Deserialize<'de> for WrittenPorts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortsVisitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for PortSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        WrittenPorts::deserialize(deserializer)?.0.map_err(D::Error::custom)
    }
}

impl Serialize for PortSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for PortSet {
    fn schema_name() -> Cow<'static, str> {
        "Ports".into()
    }

    fn schema_id() -> Cow<'static, str> {
        concat!(module_path!(), "::PortSet").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        const ENTRY: &str = r"\s*[0-9]+\s*(-\s*[0-9]+\s*)?";
        json_schema!({
            "description": "TCP ports: a string of ports and ranges with commas between them \
                            (the empty string is no port), or a number for a single port.",
            "examples": ["80,8000-8100", 80, ""],
            "anyOf": [
                { "type": "string", "pattern": format!(r"^(\s*|{ENTRY}(,{ENTRY})*)$") },
                { "type": "integer", "minimum": 1, "maximum": 65535 },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_from_a_string_or_a_single_number() {
        let read = |json: &str| serde_json::from_str::<PortSet>(json).unwrap().to_string();
        assert_eq!(read(r#""80, 8000-8100""#), "80,8000-8100");
        assert_eq!(read(r#""""#), "");
        assert_eq!(read("80"), "80");
    }

    #[test]
    fn ports_are_written_as_the_canonical_string() {
        let ports: PortSet = "90, 80-89".parse().unwrap();
        assert_eq!(serde_json::to_string(&ports).unwrap(), r#""80-90""#);
    }

    #[test]
    fn a_number_is_held_to_the_same_rules_as_a_string() {
        let refused = |json: &str| serde_json::from_str::<PortSet>(json).unwrap_err().to_string();
        assert!(refused("0").contains("port 0 cannot be connected to"), "{}", refused("0"));
        assert!(refused("65536").contains("above 65535"), "{}", refused("65536"));
        assert!(refused("-80").contains("expected a range with both its ends"), "{}", refused("-80"));
        assert!(refused("true").contains("expected ports, as a string"), "{}", refused("true"));
        assert!(refused("[80]").contains("expected ports, as a string"), "{}", refused("[80]"));
    }
}
