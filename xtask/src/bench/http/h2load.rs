//! h2load: HTTP/2 without TLS, by prior knowledge, requests in parallel on each connection.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::command;

/// Requests at once on each connection.
pub(in crate::bench) const STREAMS: usize = 16;
/// Requests of the run that says how many a sample takes.
const PILOT: u64 = 4_000;

/// What one run of h2load said.
#[derive(Debug, Default, PartialEq)]
struct Run {
    requests: u64,
    rate: f64,
    /// Of each request, µs, sorted; empty where it kept no log.
    latencies: Vec<u64>,
}

/// Sends requests for about so long.
///
/// Always a fixed number of them, because h2load does not say what it sent before and after the time
/// that it measures; so sluice has to count exactly as many.
pub(in crate::bench) fn run(to: SocketAddr, connections: usize, length: Duration) -> Result<Value> {
    let pilot = h2load(to, connections, PILOT, false)?;
    let each = Duration::try_from_secs_f64(1.0 / pilot.rate)?;
    let enough = u64::try_from(length.as_nanos() / each.as_nanos().max(1))?;
    let main = h2load(to, connections, PILOT.max(enough), false)?;
    // h2load logs with a system call for each request, which makes it slower: the rate is without.
    let logged = h2load(to, connections, PILOT.max(main.requests / 4), true)?;
    let at = |percent: usize| logged.latencies.get(logged.latencies.len() * percent / 100);
    Ok(json!({
        "rate": main.rate, "p50": at(50), "p99": at(99),
        "units": pilot.requests + main.requests + logged.requests, "in_flight": 0,
    }))
}

fn h2load(to: SocketAddr, connections: usize, requests: u64, log: bool) -> Result<Run> {
    let mut h2load = Command::new("h2load");
    // One thread: the server and the proxy need a processor too.
    h2load.args(["--threads=1", &format!("--clients={connections}"), &format!("--requests={requests}")]);
    h2load.arg(format!("--max-concurrent-streams={STREAMS}"));
    h2load.args(log.then_some("--log-file=/dev/stdout")).arg(format!("http://{to}/"));
    let stdout = command::output(&mut h2load)?;
    let run = read(&stdout, requests).with_context(|| format!("`{}`", command::show(&h2load)))?;
    ensure!(!log || run.latencies.len() as u64 == requests, "h2load logged only {}", run.latencies.len());
    Ok(run)
}

/// Reads what h2load printed; an error if not all went well.
fn read(stdout: &str, requests: u64) -> Result<Run> {
    let line = |begins: &str| {
        let found = stdout.lines().find_map(|line| line.strip_prefix(begins));
        found.with_context(|| format!("h2load did not say '{begins}…'"))
    };
    let all = format!("{requests} succeeded, 0 failed, 0 errored, 0 timeout");
    let ended = line("requests: ")?;
    ensure!(ended.ends_with(&all), "expected '… {all}', got '{ended}'");
    let statuses = line("status codes: ")?;
    ensure!(statuses.starts_with(&format!("{requests} 2xx,")), "not all were 2xx: {statuses}");
    let rate = line("finished in ")?.split(", ").find_map(|part| part.strip_suffix(" req/s"));
    let rate = rate.context("h2load did not say its rate")?.parse()?;
    // A line of the log: when it began, the status, how long it took.
    let mut latencies: Vec<u64> =
        stdout.lines().filter_map(|line| line.split('\t').nth(2)?.parse().ok()).collect();
    latencies.sort_unstable();
    Ok(Run { requests, rate, latencies })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "starting benchmark...
1795534221869345\t200\t347
1795534221869346\t200\t312
Application protocol: h2c

finished in 878.66ms, 227619.07 req/s, 19.97MB/s
requests: 2 total, 2 started, 2 done, 2 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 2 2xx, 0 3xx, 0 4xx, 0 5xx
";

    #[test]
    fn what_h2load_prints_is_read() {
        let expected = Run { requests: 2, rate: 227_619.07, latencies: vec![312, 347] };
        assert_eq!(read(SAID, 2).ok(), Some(expected));
    }

    #[test]
    fn a_request_that_failed_or_is_missing_makes_it_invalid() {
        assert!(read(&SAID.replace("0 failed", "1 failed"), 2).is_err());
        assert!(read(&SAID.replace("2 2xx, 0 3xx", "1 2xx, 1 3xx"), 2).is_err());
        assert!(read(SAID, 3).is_err());
    }
}
