//! What the proxy does most often, one operation at a time, for valgrind to count its instructions.
//!
//! `cargo xtask instructions` runs this program under callgrind, once for each operation, and compares with
//! `reference.json`. Only what runs within [`counted_by_valgrind`] is counted: an operation is prepared and cleared away
//! outside, and has run a few times before, so that the allocator and the pools are as they are later on.
//!
//! ```text
//! sluice-instructions                  the operations, and how often each is counted; a line each
//! sluice-instructions OPERATION        runs one
//! ```
#![expect(clippy::print_stdout, reason = "the list of operations is a product")]

mod account;
mod classify;
mod pump;

use std::hint::black_box;

use anyhow::{Context as _, Result};

/// How often an operation runs before it is counted.
const WARM_UPS: u32 = 16;
/// How often it is counted. Hash tables have a seed by chance, and this many runs level that out.
const RUNS: u32 = 64;

/// An operation's name, and what runs it [`WARM_UPS`] and [`RUNS`] times.
type Operation = (&'static str, fn() -> Result<()>);

const OPERATIONS: [Operation; 14] = [
    ("classify http/1", classify::http1),
    ("classify http/2", classify::http2),
    ("classify tls", classify::tls),
    ("classify opaque, client first", classify::opaque),
    ("classify opaque, server first", classify::banner),
    ("http/1 request and answer", classify::http1_exchange),
    ("http/2 request and answer", classify::http2_exchange),
    ("account open", account::open),
    ("account message each way", account::messages),
    ("account close", account::close),
    ("account http/1 connection", account::http1_connection),
    ("pump message", pump::message),
    ("pump message, counted", pump::counted_message),
    ("pump http/1 request and answer", pump::http1_exchange),
];

fn main() -> Result<()> {
    let Some(wanted) = std::env::args().nth(1) else {
        for (name, _) in OPERATIONS {
            println!("{RUNS} {name}");
        }
        return Ok(());
    };
    let operation = OPERATIONS.iter().find(|(name, _)| *name == wanted);
    let (_, run) = operation.with_context(|| format!("expected an operation, got '{wanted}'"))?;
    run()
}

/// One time that an operation runs.
struct Turn {
    is_counted: bool,
}

impl Turn {
    /// Runs the operation; nothing else of this turn is counted.
    fn count<T>(&self, operation: impl FnOnce() -> T) -> T {
        if self.is_counted { counted_by_valgrind(operation) } else { operation() }
    }
}

/// Takes as many turns as there are.
fn repeat(mut turn: impl FnMut(&Turn) -> Result<()>) -> Result<()> {
    (0..WARM_UPS + RUNS).try_for_each(|number| turn(&Turn { is_counted: number >= WARM_UPS }))
}

/// Valgrind counts from here on until it returns; it knows this function by its name, which no other may hold.
#[inline(never)]
fn counted_by_valgrind<T>(operation: impl FnOnce() -> T) -> T {
    black_box(operation())
}
