//! What sluice reported, beside what the client counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::{ALPN, NAME, SCENES};

/// A connection, as the client saw it.
pub(super) struct Connection {
    server: String,
    bytes: Bytes,
    latencies_seconds: Vec<f64>,
}

/// Sent and received, from the client's side.
type Bytes = (u64, u64);

impl Connection {
    /// Reads the lines that `demo-client` prints.
    pub(super) fn read_all(lines: &str) -> Result<Vec<Self>> {
        lines.lines().map(Self::read).collect()
    }

    fn read(line: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(line).with_context(|| format!("the client said {line:?}"))?;
        let latencies = value["latencies_seconds"].as_array().into_iter().flatten();
        Ok(Self {
            server: text(&value["server"]),
            bytes: bytes(&value),
            latencies_seconds: latencies.filter_map(Value::as_f64).collect(),
        })
    }

    /// How many requests there were, and how often which status.
    fn answered_requests(&self) -> (u64, BTreeMap<String, u64>) {
        let count = self.latencies_seconds.len() as u64;
        (count, BTreeMap::from([("200".to_owned(), count)]))
    }
}

/// A connection, as sluice reported it: a line of `sluice exec --report`.
pub(super) struct Reported(Value);

impl Reported {
    pub(super) fn read_all(lines: &str) -> Result<Vec<Self>> {
        let read = |line: &str| {
            serde_json::from_str(line).map(Self).with_context(|| format!("sluice reported {line:?}"))
        };
        lines.lines().map(read).collect()
    }

    fn text(&self, field: &str) -> String {
        text(&self.0[field])
    }

    fn requests(&self) -> u64 {
        self.0["requests"].as_u64().unwrap_or(0)
    }

    fn statuses(&self) -> BTreeMap<String, u64> {
        let statuses = self.0["statuses"].as_object().into_iter().flatten();
        statuses.map(|(status, count)| (status.clone(), count.as_u64().unwrap_or(0))).collect()
    }
}

fn bytes(value: &Value) -> Bytes {
    let number = |field: &str| value[field].as_u64().unwrap_or(0);
    (number("bytes_sent"), number("bytes_received"))
}

/// A word, a list of words, or nothing.
fn text(value: &Value) -> String {
    match value {
        Value::String(word) => word.clone(),
        Value::Array(words) => words.iter().map(text).collect::<Vec<_>>().join(","),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn to(address: SocketAddr, reported: &[Reported]) -> Vec<&Reported> {
    reported.iter().filter(|connection| connection.text("dst") == address.to_string()).collect()
}

fn with<'a>(name: &str, connections: &'a [Connection]) -> Vec<&'a Connection> {
    connections.iter().filter(|connection| connection.server == name).collect()
}

/// Prints the table: a line for each server.
pub(super) fn print(
    addresses: &[SocketAddr],
    direct: &[Connection],
    through: &[Connection],
    reported: &[Reported],
) {
    let heads = [
        "server",
        "decision",
        "protocol",
        "detected by",
        "sni",
        "alpn",
        "conns",
        "requests",
        "statuses",
        "sent",
        "received",
        "latency",
        "direct",
        "close",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    for (scene, address) in SCENES.iter().zip(addresses) {
        let seen = to(*address, reported);
        let counted = with(scene.name, through);
        let requests: u64 = seen.iter().map(|connection| connection.requests()).sum();
        let (sent, received) = total(seen.iter().map(|connection| bytes(&connection.0)));
        let fields = ["decision", "protocol", "detected_by", "sni", "alpn"];
        let mut row = vec![scene.name.to_owned()];
        row.extend(fields.map(|field| each(&seen, field)));
        row.extend([seen.len().to_string(), requests.to_string(), statuses(&seen)]);
        row.extend([sent.to_string(), received.to_string()]);
        row.extend([median(&counted), median(&with(scene.name, direct)), each(&seen, "close")]);
        rows.push(row);
    }
    let widths: Vec<_> = (0..heads.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    println!();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    println!("  (latency: the median of the client's requests, through sluice and without it)\n");
}

fn total(bytes: impl Iterator<Item = Bytes>) -> Bytes {
    bytes.fold((0, 0), |(sent, received), (s, r)| (sent + s, received + r))
}

/// The values of a field, each once.
fn each(connections: &[&Reported], field: &str) -> String {
    let mut values: Vec<_> = connections.iter().map(|connection| connection.text(field)).collect();
    values.sort();
    values.dedup();
    let all = values.join(" ");
    if all.is_empty() { "-".into() } else { all }
}

/// `200:12 404:1` of all the connections together.
fn statuses(connections: &[&Reported]) -> String {
    let mut all = BTreeMap::<String, u64>::new();
    for (status, count) in connections.iter().flat_map(|connection| connection.statuses()) {
        *all.entry(status).or_default() += count;
    }
    let shown: Vec<_> = all.iter().map(|(status, count)| format!("{status}:{count}")).collect();
    if shown.is_empty() { "-".into() } else { shown.join(" ") }
}

fn median(connections: &[&Connection]) -> String {
    let mut all: Vec<f64> =
        connections.iter().flat_map(|connection| connection.latencies_seconds.iter().copied()).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).map_or_else(|| "-".into(), |seconds| format!("{:.0} µs", seconds * 1e6))
}

/// Everything that sluice reported otherwise than it was.
pub(super) fn wrong(addresses: &[SocketAddr], through: &[Connection], reported: &[Reported]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (scene, address) in SCENES.iter().zip(addresses) {
        let name = scene.name;
        let seen = to(*address, reported);
        let counted = with(name, through);
        let skipped = scene.protocol.is_none();
        // The kernel need not tell of a connection that it left alone.
        if seen.len() != counted.len() && !(skipped && seen.is_empty()) {
            wrong.push(format!("{name}: {} connections reported, {} made", seen.len(), counted.len()));
        }
        let mut expected = vec![
            ("decision", scene.decision),
            ("protocol", scene.protocol.unwrap_or("")),
            ("detected_by", scene.detected_by.unwrap_or("")),
        ];
        if name == "tls" {
            expected.extend([("sni", NAME), ("alpn", ALPN)]);
        }
        for (field, expected) in expected {
            for got in seen.iter().map(|connection| connection.text(field)).filter(|got| got != expected) {
                wrong.push(format!("{name}: expected {field} {expected:?}, got {got:?}"));
            }
        }
        let mut reported_bytes: Vec<_> = seen.iter().map(|connection| bytes(&connection.0)).collect();
        let mut counted_bytes: Vec<_> = counted.iter().map(|connection| connection.bytes).collect();
        reported_bytes.sort_unstable();
        counted_bytes.sort_unstable();
        if !skipped && reported_bytes != counted_bytes {
            wrong.push(format!(
                "{name}: (sent, received) reported {reported_bytes:?}, counted by the client {counted_bytes:?}"
            ));
        }
        // Every request of the client is answered with 200; what is not inspected has none to tell of.
        let mut reported_requests: Vec<_> =
            seen.iter().map(|connection| (connection.requests(), connection.statuses())).collect();
        let mut expected_requests: Vec<_> = match scene.protocol {
            Some("http/1") => counted.iter().map(|connection| connection.answered_requests()).collect(),
            _ => seen.iter().map(|_| (0, BTreeMap::new())).collect(),
        };
        reported_requests.sort_unstable();
        expected_requests.sort_unstable();
        if reported_requests != expected_requests {
            wrong.push(format!(
                "{name}: (requests, statuses) reported {reported_requests:?}, expected {expected_requests:?}"
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    const ADDRESSES: [u16; 5] = [1, 2, 3, 4, 5];
    const COUNTED: &str =
        r#"{"server":"tls","bytes_sent":10,"bytes_received":20,"latencies_seconds":[0.001]}"#;

    fn judge(report: &str) -> Vec<String> {
        let addresses = ADDRESSES.map(address);
        let reported = Reported::read_all(report).unwrap();
        wrong(&addresses, &Connection::read_all(COUNTED).unwrap(), &reported)
    }

    #[test]
    fn a_report_that_agrees_has_nothing_wrong() {
        let report = r#"{"dst":"127.0.0.1:3","decision":"detect","protocol":"tls","detected_by":"client-bytes",
            "sni":"demo.test","alpn":["http/1.1"],"bytes_sent":10,"bytes_received":20}"#;
        assert!(judge(&report.replace('\n', "")).is_empty());
    }

    #[test]
    fn requests_and_statuses_are_those_that_the_client_counted() {
        let counted = COUNTED.replace("tls", "http");
        let report = |requests| {
            format!(
                r#"{{"dst":"127.0.0.1:1","decision":"detect","protocol":"http/1","detected_by":"client-bytes",{requests},"bytes_sent":10,"bytes_received":20}}"#
            )
        };
        let judge = |requests| {
            let addresses = ADDRESSES.map(address);
            let reported = Reported::read_all(&report(requests)).unwrap();
            wrong(&addresses, &Connection::read_all(&counted).unwrap(), &reported)
        };
        assert_eq!(judge(r#""requests":1,"statuses":{"200":1}"#), [""; 0]);
        assert!(judge(r#""requests":1,"statuses":{"404":1}"#)[0].contains("(requests, statuses)"));
        assert!(judge(r#""requests":2,"statuses":{"200":1}"#)[0].contains("(requests, statuses)"));
    }

    #[test]
    fn a_missing_connection_a_wrong_protocol_and_wrong_bytes_are_named() {
        assert!(judge("")[0].contains("0 connections reported, 1 made"));
        let report = r#"{"dst":"127.0.0.1:3","decision":"detect","protocol":"opaque","detected_by":"client-bytes",
            "sni":"demo.test","alpn":"http/1.1","bytes_sent":10,"bytes_received":21}"#;
        let wrong = judge(&report.replace('\n', ""));
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].contains("expected protocol \"tls\", got \"opaque\""));
    }
}
