//! The report of `sluice exec`: one JSON object per finished connection.

use std::collections::BTreeMap;

use serde_json::Value;

/// One finished connection.
#[derive(Clone, Debug)]
pub struct Connection(pub Value);

impl Connection {
    /// Reads a report, one object per line.
    ///
    /// # Panics
    /// When a line is not a JSON object.
    #[must_use]
    pub fn parse_all(report: &str) -> Vec<Self> {
        let parse = |line: &str| {
            let value: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("report line '{line}': {error}"));
            assert!(value.is_object(), "report line '{line}': expected an object");
            Self(value)
        };
        report.lines().filter(|line| !line.trim().is_empty()).map(parse).collect()
    }

    /// A field that holds a string; `None` for null.
    ///
    /// # Panics
    /// When the field is missing, or something else.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        match self.field(field) {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => panic!("report field '{field}': expected a string or null, got {other} in {}", self.0),
        }
    }

    /// A field that holds a whole number.
    ///
    /// # Panics
    /// When the field is missing, or something else.
    #[must_use]
    pub fn number(&self, field: &str) -> u64 {
        let value = self.field(field);
        value.as_u64().unwrap_or_else(|| {
            panic!("report field '{field}': expected a whole number, got {value} in {}", self.0)
        })
    }

    /// A field that holds numbers by name, such as the responses by status; empty for null.
    ///
    /// # Panics
    /// When the field is missing, or something else.
    #[must_use]
    pub fn counts(&self, field: &str) -> BTreeMap<String, u64> {
        match self.field(field) {
            Value::Null => BTreeMap::new(),
            Value::Object(counts) => counts
                .iter()
                .map(|(name, count)| {
                    let count = count.as_u64().unwrap_or_else(|| {
                        panic!("report field '{field}': expected numbers, got {count} in {}", self.0)
                    });
                    (name.clone(), count)
                })
                .collect(),
            other => panic!("report field '{field}': expected an object, got {other} in {}", self.0),
        }
    }

    /// A field that holds a time in milliseconds, which may have a fraction.
    ///
    /// # Panics
    /// When the field is missing, or something else.
    #[must_use]
    pub fn milliseconds(&self, field: &str) -> f64 {
        let value = self.field(field);
        value
            .as_f64()
            .unwrap_or_else(|| panic!("report field '{field}': expected a number, got {value} in {}", self.0))
    }

    /// Decision, protocol and what told it, as `detect http/1 client-bytes`; `-` for null.
    #[must_use]
    pub fn verdict(&self) -> String {
        ["decision", "protocol", "detected_by"].map(|field| self.text(field).unwrap_or("-")).join(" ")
    }

    /// Bytes sent and received, as the workload sees them.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.number("bytes_sent"), self.number("bytes_received"))
    }

    /// A field.
    ///
    /// # Panics
    /// When it is missing.
    #[must_use]
    pub fn field(&self, field: &str) -> &Value {
        self.0.get(field).unwrap_or_else(|| panic!("no field '{field}' in {}", self.0))
    }
}
