//! What goes wrong on command.

use std::time::Duration;

/// Which requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Every request.
    Any,
    /// Lists, every page of them.
    List,
    /// The beginning of a watch.
    Watch,
    /// Create, patch and delete.
    Write,
}

/// What is answered in place of what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 410: what the client knows is too old.
    Gone,
    /// 429, with Retry-After in seconds and a `Status` that tells them too.
    TooManyRequests {
        /// How long to wait.
        retry_after: u32,
    },
    /// 429 with Retry-After and a line of text, as a server with too many requests in flight has it.
    Overloaded {
        /// How long to wait.
        retry_after: u32,
    },
    /// 500.
    ServerError,
    /// 403, as without RBAC.
    Forbidden,
    /// Half of the right answer, and then the end of the connection.
    Half,
    /// The right answer, spread over this time.
    Slow(Duration),
    /// The end of the connection in place of an answer.
    Disconnect,
    /// No answer, for this time; then the end of the connection.
    Silence(Duration),
}

/// How open watches end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchEnd {
    /// As after a time-out of the server's: whole, and without a word.
    Cleanly,
    /// By an ERROR event with 410 in it.
    Gone,
    /// In the middle of a line, by the end of the connection.
    MidLine,
}

/// What is planned.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(On, Fault, Option<u32>)>);

impl Faults {
    pub(super) fn add(&mut self, on: On, fault: Fault, times: Option<u32>) {
        self.0.push((on, fault, times));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What happens to a request; the oldest plan counts.
    pub(super) fn take(&mut self, request: On) -> Option<Fault> {
        let fits = |planned: &On| *planned == On::Any || *planned == request;
        let index = self.0.iter().position(|(on, _, times)| fits(on) && *times != Some(0))?;
        let (_, fault, times) = &mut self.0[index];
        let fault = *fault;
        if let Some(times) = times {
            *times -= 1;
            if *times == 0 {
                self.0.remove(index);
            }
        }
        Some(fault)
    }
}
