//! Requests that are traced, as spans for an OpenTelemetry collector.
//!
//! A request whose headers say that its trace is recorded becomes one span: a child of the span that the
//! headers name. The headers go on as they are, so that what the server records is a child of the same span,
//! beside ours and not below it.
//!
//! ```text
//! connections ──▶ Spans ──▶ queue ──▶ batches ──▶ OTLP over HTTP ──▶ collector
//!                           (full: lost, counted)
//! ```

mod client;
mod export;
mod span;

pub use export::{Exporting, SpansError};

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use opentelemetry_sdk::trace::SpanData;
use tokio::sync::mpsc;

use crate::{
    observe::{Exchange, Parties},
    policy::OtlpEndpoint,
};

/// Spans that may wait for the collector; those that find no place are lost and counted.
pub const QUEUE: usize = 2_048;

/// Takes exchanges, and makes spans of those that are traced. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Spans {
    queue: mpsc::Sender<SpanData>,
    /// Spans that found no place in the queue.
    lost: Arc<AtomicU64>,
}

impl Spans {
    /// Starts to send spans to a collector, whether or not it is there. Call it within a tokio runtime.
    ///
    /// # Errors
    /// When the environment asks the exporter (`OTEL_EXPORTER_OTLP_*`) for what it cannot do.
    pub fn start(endpoint: &OtlpEndpoint) -> Result<(Self, Exporting), SpansError> {
        let (queue, spans) = mpsc::channel(QUEUE);
        let lost = Arc::default();
        let exporting = Exporting::start(endpoint, spans, Arc::clone(&lost))?;
        Ok((Self { queue, lost }, exporting))
    }

    /// Makes a span of an exchange if its headers say that its trace is recorded. Never waits.
    pub fn record(&self, parties: &Parties, exchange: &Exchange<'_>) {
        let Some(trace) = exchange.request.trace.as_deref().filter(|trace| trace.sampled) else { return };
        match self.queue.try_reserve() {
            Ok(place) => place.send(span::of(parties, exchange, trace)),
            Err(_full_or_ended) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests;
