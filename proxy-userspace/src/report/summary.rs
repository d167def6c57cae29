//! What was seen, as a table for people.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use proxy_common::Decision;

use super::requests::{Methods, Statuses};
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
    grpc: Methods,
}

/// Connections that share a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Kind {
    dst: SocketAddr,
    decision: Decision,
    protocol: Option<&'static str>,
    detected_by: Option<&'static str>,
    upgraded: Option<Box<str>>,
    sni: Option<String>,
}

/// What is told of a row's connections.
#[derive(Debug)]
struct Row {
    connections: u64,
    sent_bytes: u64,
    received_bytes: u64,
    first_byte_ms: Samples,
    duration_ms: Samples,
    /// By [`CloseReason`].
    closes: [u64; CloseReason::ALL.len()],
    requests: u64,
    latency_ms: Samples,
    statuses: Statuses,
    /// Connections whose requests could not be followed to the end.
    lost: u64,
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
        Self { rows: HashMap::new(), other: None, grpc: Methods::default() }
    }

    /// Adds a finished connection.
    pub fn record(&mut self, report: &ConnectionReport) {
        let kind = Kind {
            dst: canonical(report.dst),
            decision: report.decision,
            protocol: report.protocol,
            detected_by: report.detected_by,
            upgraded: report.requests.upgraded.clone(),
            sni: report.sni.clone(),
        };
        self.grpc.merge(&report.requests.grpc);
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

    /// Prints the tables, of connections, and of requests and gRPC calls where there were any; the rows with
    /// most connections or calls first. Made for 120 columns, which only a row with several close reasons may exceed.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        match self.connections() {
            0 => return writeln!(out, "no connections"),
            1 => writeln!(out, "1 connection")?,
            count => writeln!(out, "{count} connections; first byte and duration are medians (p50)")?,
        }
        let mut rows: Vec<_> = self.rows.iter().map(|(kind, row)| (Some(kind), row)).collect();
        rows.sort_by(|(kind_a, a), (kind_b, b)| b.connections.cmp(&a.connections).then(kind_a.cmp(kind_b)));
        rows.extend(self.other.as_ref().map(|other| (None, other)));
        self.print_connections(out, &rows)?;
        self.print_requests(out, &rows)?;
        self.print_calls(out)
    }

    fn print_connections(&self, out: &mut dyn Write, rows: &[(Option<&Kind>, &Row)]) -> io::Result<()> {
        let with_sni = self.rows.keys().any(|kind| kind.sni.is_some());
        let mut columns = columns(Align::Left, &["DESTINATION", "DECISION", "PROTOCOL", "BY"]);
        if with_sni {
            columns.push(Column { title: "SNI", align: Align::Flexible });
        }
        columns.extend(self::columns(Align::Right, &["CONNS", "SENT", "RECEIVED", "FIRST BYTE", "DURATION"]));
        columns.push(Column { title: "CLOSE", align: Align::Left });
        let cells: Vec<_> = rows
            .iter()
            .map(|(kind, row)| {
                let mut cells = vec![
                    Kind::destination(*kind),
                    kind.map_or(NONE, |kind| kind.decision.label()).to_owned(),
                    Kind::protocol(*kind),
                    kind.and_then(|kind| kind.detected_by).unwrap_or(NONE).to_owned(),
                ];
                if with_sni {
                    cells.push(printable(kind.and_then(|kind| kind.sni.as_deref()).unwrap_or(NONE)));
                }
                cells.extend(row.cells());
                cells
            })
            .collect();
        table::print(out, &columns, &cells)
    }

    /// Rows without requests are left out, and so is the table without rows.
    fn print_requests(&self, out: &mut dyn Write, rows: &[(Option<&Kind>, &Row)]) -> io::Result<()> {
        let rows: Vec<_> = rows.iter().filter(|(_, row)| row.requests > 0 || row.lost > 0).collect();
        match rows.iter().fold(0_u64, |sum, (_, row)| sum.saturating_add(row.requests)) {
            _ if rows.is_empty() => return Ok(()),
            1 => writeln!(out, "\n1 request; times are from its head to the head of its response")?,
            count => writeln!(
                out,
                "\n{count} requests; times are from a request's head to the head of its response"
            )?,
        }
        let with_lost = rows.iter().any(|(_, row)| row.lost > 0);
        let mut columns = columns(Align::Left, &["DESTINATION", "PROTOCOL"]);
        columns.extend(self::columns(Align::Right, &["REQUESTS", "P50", "P95", "MAX"]));
        if with_lost {
            columns.push(Column { title: "LOST", align: Align::Right });
        }
        columns.push(Column { title: "STATUSES", align: Align::Flexible });
        let cells: Vec<_> = rows
            .iter()
            .map(|(kind, row)| {
                let mut cells = vec![
                    Kind::destination(*kind),
                    Kind::protocol(*kind),
                    row.requests.to_string(),
                    milliseconds(row.latency_ms.median()),
                    milliseconds(row.latency_ms.percentile(95)),
                    milliseconds(row.latency_ms.max()),
                ];
                if with_lost {
                    cells.push(row.lost.to_string());
                }
                cells.push(row.statuses.shown());
                cells
            })
            .collect();
        table::print(out, &columns, &cells)
    }

    fn print_calls(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut methods: Vec<_> = self.grpc.iter().collect();
        methods.sort_by(|(name_a, a), (name_b, b)| b.calls.cmp(&a.calls).then(name_a.cmp(name_b)));
        if methods.is_empty() {
            return Ok(());
        }
        let mut columns = vec![Column { title: "GRPC METHOD", align: Align::Flexible }];
        columns.extend(self::columns(Align::Right, &["CALLS", "NOT OK", "P50", "P95", "MAX"]));
        let cells: Vec<_> = methods
            .into_iter()
            .map(|(name, calls)| {
                vec![
                    printable(name),
                    calls.calls.to_string(),
                    calls.not_ok().to_string(),
                    milliseconds(calls.latency_ms.median()),
                    milliseconds(calls.latency_ms.percentile(95)),
                    milliseconds(calls.latency_ms.max()),
                ]
            })
            .collect();
        writeln!(out)?;
        table::print(out, &columns, &cells)
    }
}

fn columns(align: Align, titles: &[&'static str]) -> Vec<Column> {
    titles.iter().map(|title| Column { title, align }).collect()
}

fn milliseconds(value: Option<f32>) -> String {
    value.map_or_else(|| NONE.to_owned(), |ms| Milliseconds(ms).to_string())
}

/// What came from the network, as it may go to a terminal: ASCII that shows.
fn printable(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).collect()
}

impl Kind {
    fn destination(kind: Option<&Self>) -> String {
        kind.map_or_else(|| "(other)".to_owned(), |kind| kind.dst.to_string())
    }

    /// The protocol, and what it became.
    fn protocol(kind: Option<&Self>) -> String {
        let protocol = kind.and_then(|kind| kind.protocol).unwrap_or(NONE);
        match kind.and_then(|kind| kind.upgraded.as_deref()) {
            Some(upgraded) => format!("{protocol}→{}", printable(upgraded)),
            None => protocol.to_owned(),
        }
    }
}

impl Row {
    fn new() -> Self {
        Self {
            connections: 0,
            sent_bytes: 0,
            received_bytes: 0,
            first_byte_ms: Samples::new(),
            duration_ms: Samples::new(),
            closes: [0; CloseReason::ALL.len()],
            requests: 0,
            latency_ms: Samples::new(),
            statuses: Statuses::default(),
            lost: 0,
        }
    }

    fn record(&mut self, report: &ConnectionReport) {
        let milliseconds = |duration: Duration| duration.as_secs_f32() * 1_000.0;
        self.connections += 1;
        self.sent_bytes = self.sent_bytes.saturating_add(report.bytes_sent);
        self.received_bytes = self.received_bytes.saturating_add(report.bytes_received);
        if let Some(first_byte) = report.first_byte {
            self.first_byte_ms.record(milliseconds(first_byte));
        }
        self.duration_ms.record(milliseconds(report.duration));
        if let Some(count) = self.closes.get_mut(report.close as usize) {
            *count += 1;
        }
        self.requests = self.requests.saturating_add(report.requests.count);
        self.latency_ms.merge(&report.requests.latency_ms);
        self.statuses.merge(&report.requests.statuses);
        self.lost += u64::from(report.requests.lost.is_some());
    }

    /// The connections' cells, after those of their kind.
    fn cells(&self) -> [String; 6] {
        [
            self.connections.to_string(),
            Bytes(self.sent_bytes).to_string(),
            Bytes(self.received_bytes).to_string(),
            milliseconds(self.first_byte_ms.median()),
            milliseconds(self.duration_ms.median()),
            self.closes(),
        ]
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
    use super::super::{requests::tests::seen, tests::sample};
    use super::*;
    use crate::observe::Lost;

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
            first_byte: None,
            ..sample()
        };
        summary.record(&skipped);
        for close in [CloseReason::Eof, CloseReason::Eof, CloseReason::Refused] {
            summary.record(&ConnectionReport { close, ..sample() });
        }
        assert_eq!(
            printed(&summary),
            "\
4 connections; first byte and duration are medians (p50)
DESTINATION     DECISION  PROTOCOL  BY            CONNS   SENT  RECEIVED  FIRST BYTE  DURATION  CLOSE
127.0.0.1:8080  detect    http/1    client-bytes      3  234 B  4.50 KiB     1.23 ms   12.0 ms  eof 2, refused 1
127.0.0.1:3306  skip      -         -                 1   78 B  1.50 KiB           -   12.0 ms  eof
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
    fn requests_have_a_table_of_their_own_and_so_have_grpc_calls() {
        let mut summary = Summary::new();
        let many = [("/", 200, None, 2); 12];
        let grpc = [("/shop.Cart/Add", 200, Some(0), 5), ("/shop.\u{1b}[31m/Watch", 200, None, 7)];
        summary.record(&ConnectionReport { requests: seen(&many), ..sample() });
        let mut upgraded = seen(&[("/", 404, None, 1), ("/", 101, None, 4)]);
        upgraded.upgraded("websocket");
        upgraded.lost(Lost::Ambiguous);
        summary.record(&ConnectionReport { requests: upgraded, ..sample() });
        let dst = "10.0.0.1:50051".parse().unwrap();
        for _ in 0..2 {
            let requests = seen(&grpc);
            summary.record(&ConnectionReport { dst, protocol: Some("grpc"), requests, ..sample() });
        }
        assert_eq!(
            printed(&summary),
            "\
4 connections; first byte and duration are medians (p50)
DESTINATION     DECISION  PROTOCOL          BY            CONNS   SENT  RECEIVED  FIRST BYTE  DURATION  CLOSE
10.0.0.1:50051  detect    grpc              client-bytes      2  156 B  3.00 KiB     1.23 ms   12.0 ms  eof
127.0.0.1:8080  detect    http/1            client-bytes      1   78 B  1.50 KiB     1.23 ms   12.0 ms  eof
127.0.0.1:8080  detect    http/1→websocket  client-bytes      1   78 B  1.50 KiB     1.23 ms   12.0 ms  eof

18 requests; times are from a request's head to the head of its response
DESTINATION     PROTOCOL          REQUESTS      P50      P95      MAX  LOST  STATUSES
10.0.0.1:50051  grpc                     4  5.00 ms  7.00 ms  7.00 ms     0  200:4
127.0.0.1:8080  http/1                  12  2.00 ms  2.00 ms  2.00 ms     0  200:12
127.0.0.1:8080  http/1→websocket         2  1.00 ms  4.00 ms  4.00 ms     1  101:1 404:1

GRPC METHOD       CALLS  NOT OK      P50      P95      MAX
shop.?[31m/Watch      2       2  7.00 ms  7.00 ms  7.00 ms
shop.Cart/Add         2       0  5.00 ms  5.00 ms  5.00 ms
"
        );
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
