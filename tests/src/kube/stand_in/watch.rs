//! A watch: one line of JSON for each change, for as long as both sides want.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Shared;
use super::connection::{Query, Selection, TICK, failure};
use super::faults::WatchEnd;
use super::state::State;

/// Where a watch is in what happens.
struct Position {
    version: u64,
    ends: u64,
    bookmarks: u64,
}

/// What comes next.
enum Next {
    Lines(Vec<Value>),
    End(WatchEnd),
}

pub(super) fn serve(
    mut stream: &TcpStream,
    shared: &Shared,
    selection: &Selection,
    query: &Query,
) -> io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    let (mut position, first) = shared.change(|state| {
        state.open_watches += 1;
        begin(selection, query, state)
    });
    let result = follow(stream, shared, selection, query, &mut position, first);
    shared.change(|state| state.open_watches -= 1);
    result
}

fn begin(selection: &Selection, query: &Query, state: &State) -> (Position, Next) {
    let from = query.of("resourceVersion").parse().unwrap_or(0);
    let at = |version| Position { version, ends: state.ends.0, bookmarks: state.bookmarks };
    if from == 0 {
        let all = state.all(selection.resource).filter(|object| selection.has(object));
        let lines = all.map(|object| event("ADDED", selection.shown(object))).collect();
        (at(state.version), Next::Lines(lines))
    } else if from < state.forgotten {
        (at(from), Next::End(WatchEnd::Gone))
    } else {
        (at(from), Next::Lines(Vec::new()))
    }
}

fn follow(
    stream: &TcpStream,
    shared: &Shared,
    selection: &Selection,
    query: &Query,
    position: &mut Position,
    first: Next,
) -> io::Result<()> {
    let limit = query.of("timeoutSeconds").parse().ok().map(Duration::from_secs);
    let began = Instant::now();
    let mut next = first;
    loop {
        match next {
            Next::Lines(lines) => lines.iter().try_for_each(|line| write(stream, line))?,
            Next::End(end) => return finish(stream, end),
        }
        if limit.is_some_and(|limit| began.elapsed() >= limit) {
            return finish(stream, WatchEnd::Cleanly);
        }
        if is_closed(stream)? {
            return Ok(());
        }
        let state = shared.lock();
        let (state, _) = shared.changed.wait_timeout(state, TICK).expect("not poisoned");
        next = look(&state, selection, query, position);
    }
}

/// What happened since the last look.
fn look(state: &State, selection: &Selection, query: &Query, position: &mut Position) -> Next {
    if state.ends.0 != position.ends {
        return Next::End(state.ends.1);
    }
    if position.version < state.forgotten {
        // It has all there was: nothing was forgotten that it had not been told.
        position.version = state.forgotten;
    }
    let (group, plural) = (selection.resource.group, selection.resource.plural);
    let mut lines: Vec<_> = state
        .after(position.version)
        .iter()
        .filter(|change| change.group == group && change.plural == plural && selection.has(&change.object))
        .map(|change| event(change.kind, selection.shown(&change.object)))
        .collect();
    position.version = state.version;
    if state.bookmarks != position.bookmarks {
        position.bookmarks = state.bookmarks;
        if query.is_set("allowWatchBookmarks") {
            let metadata = json!({ "resourceVersion": state.version.to_string() });
            lines.push(event("BOOKMARK", selection.shown(&json!({ "metadata": metadata }))));
        }
    }
    Next::Lines(lines)
}

fn event(kind: &str, object: Value) -> Value {
    json!({ "type": kind, "object": object })
}

fn finish(mut stream: &TcpStream, end: WatchEnd) -> io::Result<()> {
    match end {
        WatchEnd::Cleanly => stream.write_all(b"0\r\n\r\n"),
        WatchEnd::Gone => {
            write(stream, &event("ERROR", failure(410, "Expired", "too old resource version")))?;
            stream.write_all(b"0\r\n\r\n")
        }
        WatchEnd::MidLine => {
            let line = br#"{"type":"MODIFIED","object":{"kind":"Pod","metadata":{"na"#;
            // The chunk is said to be longer than what comes.
            stream.write_all(&[b"400\r\n".as_slice(), line].concat())
        }
    }
}

fn write(mut stream: &TcpStream, line: &Value) -> io::Result<()> {
    let line = format!("{line}\n");
    stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes())
}

/// Whether the client has gone; it has nothing to say while it watches.
fn is_closed(stream: &TcpStream) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    match peeked {
        Ok(count) => Ok(count == 0),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
