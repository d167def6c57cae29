//! What was seen, as a table for people.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use proxy_common::Decision;

use super::samples::Samples;
use super::table::{self, Align, Column};
use super::units::{Bytes, Milliseconds};
use super::{ConnectionReport, canonical};
use crate::metrics::CloseReason;

/// Rows that are told apart; what comes after them is one row, `(other)`.
pub const MAX_ROWS: usize = 10_000;
/// What stands for a value that does not apply.
const NONE: &str = "-";
/// Close reasons that a row names, the most frequent first.
const REASONS_SHOWN: usize = 2;

/// Gathers reports, in bounded memory, and prints one row for each kind of connection.
#[derive(Debug)]
pub struct Summary {
    rows: HashMap<Kind, Row>,
    other: Option<Row>,
}

/// Connections that share a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Kind {
    dst: SocketAddr,
    decision: Decision,
    protocol: Option<&'static str>,
    detected_by: Option<&'static str>,
    sni: Option<String>,
}

/// What is told of a row's connections.
#[derive(Debug)]
struct Row {
    connections: u64,
    sent_bytes: u64,
    received_bytes: u64,
    requests: u64,
    latency_ms: Samples,
    duration_ms: Samples,
    /// By [`CloseReason`].
    closes: [u64; CloseReason::ALL.len()],
}

impl Default for Summary {
    fn default() -> Self {
        Self::new()
    }
}

impl Summary {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self { rows: HashMap::new(), other: None }
    }

    /// Adds a finished connection.
    pub fn record(&mut self, report: &ConnectionReport) {
        let kind = Kind {
            dst: canonical(report.dst),
            decision: report.decision,
            protocol: report.protocol,
            detected_by: report.detected_by,
            sni: report.sni.clone(),
        };
        let row = if self.rows.len() < MAX_ROWS || self.rows.contains_key(&kind) {
            self.rows.entry(kind).or_insert_with(Row::new)
        } else {
            self.other.get_or_insert_with(Row::new)
        };
        row.record(report);
    }

    /// Connections that were recorded.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.rows.values().chain(&self.other).map(|row| row.connections).sum()
    }

    /// Prints the table, the rows with most connections first; made for 120 columns, which
    /// only a row with several close reasons may exceed.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        match self.connections() {
            0 => return writeln!(out, "no connections"),
            1 => writeln!(out, "1 connection")?,
            count => writeln!(out, "{count} connections; latency and duration are medians (p50)")?,
        }
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by(|(kind_a, a), (kind_b, b)| b.connections.cmp(&a.connections).then(kind_a.cmp(kind_b)));
        let with_sni = rows.iter().any(|(kind, _)| kind.sni.is_some());
        let mut cells: Vec<_> = rows.into_iter().map(|(kind, row)| row.cells(kind.cells(with_sni))).collect();
        if let Some(other) = &self.other {
            let mut kind = vec!["(other)".to_owned()];
            kind.resize(if with_sni { 5 } else { 4 }, NONE.to_owned());
            cells.push(other.cells(kind));
        }
        table::print(out, &columns(with_sni), &cells)
    }
}

/// The columns, in the order of the cells.
fn columns(with_sni: bool) -> Vec<Column> {
    let column = |title, align| Column { title, align };
    let mut columns = vec![
        column("DESTINATION", Align::Left),
        column("DECISION", Align::Left),
        column("PROTOCOL", Align::Left),
        column("BY", Align::Left),
    ];
    if with_sni {
        columns.push(column("SNI", Align::Flexible));
    }
    for title in ["CONNS", "SENT", "RECEIVED", "REQUESTS", "LATENCY", "DURATION"] {
        columns.push(column(title, Align::Right));
    }
    columns.push(column("CLOSE", Align::Left));
    columns
}

impl Kind {
    /// The cells that say which connections the row is about.
    fn cells(&self, with_sni: bool) -> Vec<String> {
        let mut cells = vec![
            self.dst.to_string(),
            self.decision.label().to_owned(),
            self.protocol.unwrap_or(NONE).to_owned(),
            self.detected_by.unwrap_or(NONE).to_owned(),
        ];
        if with_sni {
            // It comes from the network and goes to a terminal.
            let sni = self.sni.as_deref().unwrap_or(NONE).chars();
            cells.push(sni.map(|c| if c.is_control() { '?' } else { c }).collect());
        }
        cells
    }
}

impl Row {
    const fn new() -> Self {
        Self {
            connections: 0,
            sent_bytes: 0,
            received_bytes: 0,
            requests: 0,
            latency_ms: Samples::new(),
            duration_ms: Samples::new(),
            closes: [0; CloseReason::ALL.len()],
        }
    }

    fn record(&mut self, report: &ConnectionReport) {
        let milliseconds = |duration: Duration| duration.as_secs_f32() * 1_000.0;
        self.connections += 1;
        self.sent_bytes = self.sent_bytes.saturating_add(report.bytes_sent);
        self.received_bytes = self.received_bytes.saturating_add(report.bytes_received);
        self.requests = self.requests.saturating_add(report.requests);
        if let Some(latency) = report.latency {
            self.latency_ms.record(milliseconds(latency));
        }
        self.duration_ms.record(milliseconds(report.duration));
        if let Some(count) = self.closes.get_mut(report.close as usize) {
            *count += 1;
        }
    }

    /// The row's cells, after those of its kind.
    fn cells(&self, mut cells: Vec<String>) -> Vec<String> {
        let median = |samples: &Samples| {
            samples.median().map_or_else(|| NONE.to_owned(), |ms| Milliseconds(ms).to_string())
        };
        cells.extend([
            self.connections.to_string(),
            Bytes(self.sent_bytes).to_string(),
            Bytes(self.received_bytes).to_string(),
            self.requests.to_string(),
            median(&self.latency_ms),
            median(&self.duration_ms),
            self.closes(),
        ]);
        cells
    }

    /// `eof`, or with several reasons `eof 7, refused 2, …`.
    fn closes(&self) -> String {
        let mut reasons: Vec<_> = CloseReason::ALL
            .iter()
            .zip(self.closes)
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| (reason.label(), count))
            .collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        if let [(only, _)] = reasons.as_slice() {
            return (*only).to_owned();
        }
        let mut shown: Vec<_> =
            reasons.iter().take(REASONS_SHOWN).map(|(label, count)| format!("{label} {count}")).collect();
        if reasons.len() > REASONS_SHOWN {
            shown.push("…".to_owned());
        }
        shown.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    fn printed(summary: &Summary) -> String {
        let mut out = Vec::new();
        summary.print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn connections_of_a_kind_share_a_row_and_the_busiest_comes_first() {
        let mut summary = Summary::new();
        let skipped = ConnectionReport {
            dst: "127.0.0.1:3306".parse().unwrap(),
            decision: Decision::Skip,
            protocol: None,
            detected_by: None,
            latency: None,
            ..sample()
        };
        summary.record(&skipped);
        for close in [CloseReason::Eof, CloseReason::Eof, CloseReason::Refused] {
            summary.record(&ConnectionReport { close, ..sample() });
        }
        assert_eq!(
            printed(&summary),
            "\
4 connections; latency and duration are medians (p50)
DESTINATION     DECISION  PROTOCOL  BY            CONNS   SENT  RECEIVED  REQUESTS  LATENCY  DURATION  CLOSE
127.0.0.1:8080  detect    http/1    client-bytes      3  234 B  4.50 KiB         0  1.23 ms   12.0 ms  eof 2, refused 1
127.0.0.1:3306  skip      -         -                 1   78 B  1.50 KiB         0        -   12.0 ms  eof
"
        );
    }

    #[test]
    fn the_sni_column_is_there_when_a_connection_has_one_and_the_table_keeps_its_width() {
        let mut summary = Summary::new();
        assert_eq!(printed(&summary), "no connections\n");
        summary.record(&sample());
        assert!(!printed(&summary).contains("SNI"));
        summary.record(&ConnectionReport {
            dst: "192.168.100.100:15443".parse().unwrap(),
            protocol: Some("tls"),
            detected_by: Some("server-first"),
            bytes_received: 1_100_000,
            duration: Duration::from_secs(100),
            sni: Some("a.very.long.name.that.goes.on.\u{1b}[31m.example.com".into()),
            ..sample()
        });
        let text = printed(&summary);
        assert!(text.contains(" SNI ") && text.contains("a.very.long"), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    }

    #[test]
    fn rows_beyond_the_bound_are_one_row() {
        let mut summary = Summary::new();
        for index in 0..MAX_ROWS + 7 {
            let sni = Some(format!("host-{index}"));
            summary.record(&ConnectionReport { sni, ..sample() });
        }
        summary.record(&ConnectionReport { sni: Some("host-0".into()), ..sample() });
        let text = printed(&summary);
        assert_eq!(text.lines().count(), 2 + MAX_ROWS + 1);
        assert!(text.lines().nth(2).unwrap().contains("host-0"), "the busiest is not first");
        let last = text.lines().last().unwrap();
        let cells: Vec<_> = last.split_whitespace().collect();
        assert_eq!(cells[..6], ["(other)", "-", "-", "-", "-", "7"]);
        assert_eq!(summary.connections(), MAX_ROWS as u64 + 8);
    }
}
