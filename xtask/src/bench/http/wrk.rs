//! wrk: HTTP/1.1 on connections that are kept alive, one request at a time on each.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::{command, workspace};

/// Sends requests for so long.
pub(in crate::bench) fn run(to: SocketAddr, connections: usize, length: Duration) -> Result<Value> {
    let script = workspace::root().join("xtask/src/bench/http/wrk.lua");
    let mut wrk = Command::new("wrk");
    // One thread: the server and the proxy need a processor too.
    wrk.args(["--threads=1", &format!("--connections={connections}")]);
    // More than it gets, and an end if this process is killed.
    wrk.arg(format!("--duration={}", length.as_secs() + 10));
    wrk.arg("--script").arg(script).arg(format!("http://{to}/"));
    let shown = command::show(&wrk);
    let running = wrk.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let running = running.with_context(|| format!("cannot run `{shown}`"))?;
    // wrk knows whole seconds only. Interrupted, it says what it has; it takes up to 0.1 s for
    // that, and measures how long it has run.
    thread::sleep(length);
    kill(Pid::from_raw(i32::try_from(running.id())?), Signal::SIGINT)?;
    let output = running.wait_with_output()?;
    ensure!(output.status.success(), "`{shown}` failed ({})", output.status);
    let stdout = String::from_utf8_lossy(&output.stdout);
    answer(&stdout, connections).with_context(|| format!("`{shown}` said: {}", stdout.trim()))
}

fn answer(stdout: &str, connections: usize) -> Result<Value> {
    let line = stdout.lines().next_back().context("nothing")?;
    let said: Value = serde_json::from_str(line).context("no result")?;
    let number = |key: &str| said[key].as_f64().with_context(|| format!("no {key}"));
    let (requests, failed) = (number("requests")?, number("failed")?);
    ensure!(failed == 0.0, "{failed} errors, in {requests} requests");
    Ok(json!({
        "rate": requests / (number("microseconds")? / 1e6), "p50": number("p50")?, "p99": number("p99")?,
        // When it stops, each connection waits for an answer, or has one that is not counted.
        "units": requests, "in_flight": connections,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_result() {
        let line = r#"{"requests":500,"microseconds":250000,"p50":331,"p99":3040,"failed":0}"#;
        let answer = answer(&format!("Running 60m test\n{line}\n"), 32).unwrap_or_default();
        assert_eq!(
            answer,
            json!({ "rate": 2000.0, "p50": 331.0, "p99": 3040.0, "units": 500.0, "in_flight": 32 })
        );
    }

    #[test]
    fn an_error_makes_it_invalid() {
        let line = r#"{"requests":500,"microseconds":250000,"p50":331,"p99":3040,"failed":1}"#;
        assert!(answer(line, 32).is_err());
        assert!(answer("Running 60m test\n", 32).is_err());
    }
}
