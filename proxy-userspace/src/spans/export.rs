//! From the queue to the collector, in batches.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkError,
    trace::{SpanData, SpanExporter as _},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::client::Client;
use crate::policy::OtlpEndpoint;

/// Spans that are sent together.
pub(super) const BATCH: usize = 512;
/// How long a span waits for others.
const GATHERING: Duration = Duration::from_secs(1);
/// How long the collector may take for a batch, attempts after a failure included.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last spans may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(3);
/// How often it is said that spans are lost.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Why no spans can be sent.
#[derive(Debug, thiserror::Error)]
pub enum SpansError {
    /// The exporter does not know what it is asked for.
    #[error("cannot send spans to {endpoint}")]
    Exporter {
        /// The collector.
        endpoint: OtlpEndpoint,
        /// What it is that the exporter does not know.
        source: ExporterBuildError,
    },
}

/// The sending of spans, in the background.
#[derive(Debug)]
pub struct Exporting {
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Exporting {
    pub(super) fn start(
        endpoint: &OtlpEndpoint,
        queue: mpsc::Receiver<SpanData>,
        lost: Arc<AtomicU64>,
    ) -> Result<Self, SpansError> {
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(endpoint.clone()))
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint.traces_url())
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|source| SpansError::Exporter { endpoint: endpoint.clone(), source })?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder_empty().with_service_name("sluice").with_attribute(version).build();
        exporter.set_resource(&resource);
        let losses =
            Losses { endpoint: endpoint.clone(), queue: lost, collector: 0, error: None, warned: None };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(export(exporter, queue, losses, stopped));
        Ok(Self { task, stop })
    }

    /// Sends what waits, and ends: in 3 seconds at most, whatever the collector does.
    pub async fn finish(mut self) {
        let _ended_by_itself = self.stop.send(());
        if timeout(FAREWELL, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!("the collector of traces did not take the last spans in time");
        }
    }
}

/// Sends batches until it is told to stop, and then what is left.
async fn export(
    exporter: SpanExporter,
    mut queue: mpsc::Receiver<SpanData>,
    mut losses: Losses,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut is_stopped = false;
    while !is_stopped {
        let mut batch = Vec::new();
        tokio::select! {
            _ = &mut stopped => is_stopped = true,
            _ = queue.recv_many(&mut batch, BATCH) => {}
        }
        let mut gathered = std::pin::pin!(sleep(GATHERING));
        while !is_stopped && batch.len() < BATCH {
            let room = BATCH - batch.len();
            tokio::select! {
                _ = &mut stopped => is_stopped = true,
                () = &mut gathered => break,
                received = queue.recv_many(&mut batch, room) => if received == 0 { break },
            }
        }
        send(&exporter, batch, &mut losses).await;
    }
    // What comes from now on finds no place.
    queue.close();
    loop {
        let mut batch = Vec::new();
        if queue.recv_many(&mut batch, BATCH).await == 0 {
            break;
        }
        send(&exporter, batch, &mut losses).await;
    }
    losses.warned = None;
    losses.warn();
}

async fn send(exporter: &SpanExporter, batch: Vec<SpanData>, losses: &mut Losses) {
    let spans = batch.len();
    if spans > 0 {
        // The client has no bound of its own, and the exporter looks at its own between attempts only.
        match timeout(EXPORT_TIMEOUT, exporter.export(batch)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => losses.collector(spans, error),
            Err(_elapsed) => losses.collector(spans, OTelSdkError::Timeout(EXPORT_TIMEOUT)),
        }
    }
    losses.warn();
}

/// Spans that did not get there.
struct Losses {
    endpoint: OtlpEndpoint,
    /// Those that found no place in the queue.
    queue: Arc<AtomicU64>,
    /// Those that the collector did not take.
    collector: u64,
    /// The last thing that it said.
    error: Option<OTelSdkError>,
    /// When this was last said.
    warned: Option<Instant>,
}

impl Losses {
    fn collector(&mut self, spans: usize, error: OTelSdkError) {
        self.collector += spans as u64;
        self.error = Some(error);
    }

    /// Says so now and then.
    fn warn(&mut self) {
        if self.warned.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return;
        }
        let queue = self.queue.swap(0, Ordering::Relaxed);
        if queue > 0 || self.collector > 0 {
            let error = self.error.take();
            let error = error.as_ref().map_or(&"the queue is full" as &dyn fmt::Display, |error| error);
            let (endpoint, collector) = (&self.endpoint, self.collector);
            tracing::warn!(%endpoint, queue, collector, %error, "spans were lost");
            self.collector = 0;
            self.warned = Some(Instant::now());
        }
    }
}
