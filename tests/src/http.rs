//! The least of HTTP/1: enough to ask an admin address.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// The status code and body of a GET.
///
/// # Errors
/// When the server is not there, or does not answer.
pub fn get(addr: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    request(addr, &format!("GET {path}"), "", "")
}

/// The status code and body of any request: method and path, more header fields (each with its line end),
/// and a body.
///
/// # Errors
/// When the server is not there, or does not answer.
pub fn request(addr: SocketAddr, what: &str, fields: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{what} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{fields}{length}\r\n");
    stream.write_all(format!("{head}{body}").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::InvalidData)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let body = if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        unchunk(body)
    } else {
        body.to_owned()
    };
    Ok((status.ok_or(std::io::ErrorKind::InvalidData)?, body))
}

fn unchunk(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = chunks.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        body.push_str(&rest[..size]);
        chunks = rest[size..].trim_start_matches("\r\n");
    }
    body
}

/// A port on 127.0.0.1 that is free, and that the kernel gives to nobody who does not name it: one of its own
/// choice might be given to another test's client before it is used.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    /// Below the ephemeral ports, which begin at 32768.
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Another run of the tests may be on the machine.
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).expect("less than COUNT");
    let ports = (0..COUNT).map(|_| FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT);
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("a free port")
}

/// The samples of a Prometheus page.
#[derive(Debug)]
pub struct Samples(Vec<(String, BTreeMap<String, String>, f64)>);

impl Samples {
    /// Asks an admin address.
    ///
    /// # Panics
    /// When it does not answer with 200.
    #[must_use]
    pub fn of(admin: SocketAddr) -> Self {
        let (status, page) = get(admin, "/metrics").expect("GET /metrics");
        assert_eq!(status, 200, "{page}");
        Self::parse(&page)
    }

    /// Reads a page.
    #[must_use]
    pub fn parse(page: &str) -> Self {
        Self(page.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The sum of a metric over all series that carry the given labels.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |series: &BTreeMap<String, String>| {
            labels.iter().all(|(label, value)| series.get(*label).is_some_and(|have| have == value))
        };
        self.0
            .iter()
            .filter(|(have, series, _)| have == name && fits(series))
            .map(|(_, _, value)| value)
            .sum()
    }

    /// Whether there is any series of a metric.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(have, _, _)| have == name)
    }
}

fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let (series, value) = match line.split_once('}') {
        Some((series, value)) => (series, value),
        None => line.split_once(' ')?,
    };
    let value = value.split_whitespace().next()?.parse().ok()?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels = labels
        .split("\",")
        .filter_map(|label| label.split_once("=\""))
        .map(|(label, value)| (label.to_owned(), value.trim_end_matches('"').to_owned()))
        .collect();
    Some((name.to_owned(), labels, value))
}

#[cfg(test)]
mod tests {
    use super::Samples;

    #[test]
    fn a_sum_takes_the_series_that_carry_the_labels() {
        let samples = Samples::parse("# TYPE a counter\na{x=\"1\",y=\"p, q\"} 2\na{x=\"2\"} 3\nb 4\n");
        assert!((samples.sum("a", &[]) - 5.0).abs() < f64::EPSILON);
        assert!((samples.sum("a", &[("x", "1"), ("y", "p, q")]) - 2.0).abs() < f64::EPSILON);
        assert!((samples.sum("b", &[]) - 4.0).abs() < f64::EPSILON);
        assert!(!samples.has("c"));
    }
}
