//! A listener that holds the observers to what a [`Listener`] is promised.

use std::{
    fmt::{self, Write as _},
    hash::{DefaultHasher, Hasher as _},
    time::{Duration, Instant},
};

use sluice::observe::{
    Exchange, Kind, Listener, Lost, MAX_AUTHORITY, MAX_TARGET, Request, TraceContext, Version,
};

/// Bytes of what a connection is upgraded to.
const MAX_PROTOCOL: usize = 32;

/// Takes in what it is told. It allocates nothing unless it is to keep the lines, so that what the observer
/// allocates can be measured.
pub(crate) struct Record {
    wants_details: bool,
    /// When the first turn is; the next is a second later.
    start: Instant,
    told: DefaultHasher,
    lines: Option<Vec<String>>,
    requests: usize,
    ended: usize,
    is_lost: bool,
    /// Whether HTTP/1 became HTTP/2.
    pub(crate) is_h2c: bool,
}

impl Record {
    /// One that keeps no lines.
    pub(crate) fn new(wants_details: bool, start: Instant) -> Self {
        let told = DefaultHasher::new();
        Self { wants_details, start, told, lines: None, requests: 0, ended: 0, is_lost: false, is_h2c: false }
    }

    /// One that keeps the lines, for people.
    pub(crate) fn with_lines(wants_details: bool, start: Instant) -> Self {
        Self { lines: Some(Vec::new()), ..Self::new(wants_details, start) }
    }

    /// The time of a turn.
    pub(crate) fn time(&self, turn: usize) -> Instant {
        self.start + Duration::from_secs(turn as u64)
    }

    /// The connection has closed: all is told.
    pub(crate) fn close(&self) {
        assert_eq!(self.requests, self.ended, "every request ends once, or is lost");
    }

    /// Whether the lines are kept.
    pub(crate) const fn lines_are_kept(&self) -> bool {
        self.lines.is_some()
    }

    /// All that was told, in short.
    pub(crate) fn digest(&self) -> u64 {
        self.told.finish()
    }

    /// All that was told, for people.
    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }

    /// The turn of a time.
    fn turn(&self, at: Instant) -> u64 {
        at.duration_since(self.start).as_secs()
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        assert!(!self.is_lost, "told after the last word: {line}");
        // Hashing does not fail.
        let _infallible = Digest(&mut self.told).write_fmt(line);
        self.told.write_u8(b'\n');
        if let Some(lines) = &mut self.lines {
            lines.push(line.to_string());
        }
    }

    fn check(&self, request: &Request) {
        let Request { version, method: _, kind, authority, target, trace } = request;
        assert!(authority.as_ref().is_none_or(|text| (1..=MAX_AUTHORITY).contains(&text.len())));
        assert!(target.as_ref().is_none_or(|text| text.len() <= MAX_TARGET));
        if !self.wants_details {
            assert!(
                trace.is_none() && (target.is_none() || *kind != Kind::Http),
                "nobody asked: {request:?}"
            );
        }
        if let Some(TraceContext { trace_id, parent_id, .. }) = trace.as_deref() {
            assert!(*trace_id != [0; 16] && *parent_id != [0; 8]);
        }
        // What is made of it for people must not panic.
        let _ = (request.rpc(), request.path(), request.host(), request.protocol());
        assert!(!matches!(version, Version::Http2) || request.protocol().label() != "http/1");
    }
}

impl Listener for Record {
    fn wants_details(&self) -> bool {
        self.wants_details
    }

    fn request(&mut self, request: &Request) {
        self.requests += 1;
        self.check(request);
        self.line(format_args!("> {request:?}"));
    }

    fn exchange(&mut self, exchange: &Exchange<'_>) {
        self.ended += 1;
        assert!(self.ended <= self.requests, "an exchange without a request");
        let &Exchange {
            request,
            began,
            request_ended,
            response_began,
            ended,
            status,
            grpc_status,
            response_bytes,
            end,
        } = exchange;
        self.check(request);
        assert!(began <= ended && request_ended.is_none_or(|at| began <= at));
        assert!(response_began.is_none_or(|at| began <= at && at <= ended));
        assert!(status.is_none() || response_began.is_some());
        assert!(status.is_none_or(|status| status < 1000));
        let began = self.turn(began);
        let request_ended = request_ended.map(|at| self.turn(at));
        let response_began = response_began.map(|at| self.turn(at));
        let ended = self.turn(ended);
        self.line(format_args!(
            "< {request:?} {status:?} grpc {grpc_status:?} {response_bytes} bytes {end:?} \
             at {began} {request_ended:?} {response_began:?} {ended}"
        ));
    }

    fn upgraded(&mut self, to: &str) {
        assert!(!to.is_empty() && to.len() <= MAX_PROTOCOL, "{to:?}");
        assert!(to.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()), "{to:?}");
        self.is_h2c |= to == "h2c";
        self.line(format_args!("= {to}"));
    }

    fn untracked(&mut self, why: Lost) {
        self.ended += 1;
        assert!(self.ended <= self.requests, "untracked without a request");
        self.line(format_args!("? {why:?}"));
    }

    fn lost(&mut self, why: Lost, open: usize) {
        self.ended += open;
        self.line(format_args!("! {why:?} {open}"));
        self.is_lost = true;
    }
}

/// Text that is hashed as it is written.
struct Digest<'a>(&'a mut DefaultHasher);

impl fmt::Write for Digest<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
