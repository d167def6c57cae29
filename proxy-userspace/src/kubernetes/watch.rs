//! One watch: lists, follows, and begins anew where it must.
//!
//! What is known stays known while nothing can be had: only a list, or the word that an object is gone, takes
//! something away. The API server counts changes; a watch that ends is taken up where it ended, by that
//! count. Where the count is too old (410 Gone, in the stream or as a status), or an event cannot be read,
//! everything is listed again.

use std::{pin::pin, time::Duration};

use futures_util::TryStreamExt as _;
use kube::{
    Client,
    api::{ListParams, WatchEvent, WatchParams},
    core::{ObjectList, Request},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tracing::{info, instrument::WithSubscriber as _, subscriber::NoSubscriber, warn};

use super::{
    backoff::{Backoff, spread},
    health::{Resource, SharedHealth},
    index::{Change, Event},
    objects::Object as _,
    wire::Wire,
};

/// Objects of a page of a list.
const PAGE: u32 = 500;
/// How long a page, or the beginning of a watch, may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the API server is asked to let a watch last, at most.
const WATCH_LASTS: Duration = Duration::from_secs(290);
/// How long nothing may come: the server should have ended the watch before.
const IDLE_TIMEOUT: Duration = Duration::from_secs(310);
/// A watch that lasts so long has worked.
const LASTED: Duration = Duration::from_secs(1);
/// After so many failures in a row everything is listed again, in case the count is what is wrong.
const FAILURES_BEFORE_LIST: u32 = 5;

/// What is told to whoever keeps the index.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) event: Event,
    /// Where the event is a whole list: of what.
    pub(super) listed: Option<Resource>,
}

/// What to watch.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) resource: Resource,
    /// The collection's path at the API server.
    pub(super) path: &'static str,
    /// Which of its objects.
    pub(super) field_selector: Option<String>,
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum WatchFailure {
    /// The API server answers with a status.
    #[error("the API server answers {code}: {message}")]
    Status { code: u16, message: String, retry_after: Option<Duration> },
    /// It could not be reached, or what it says could not be read.
    #[error("{}", chain(.0))]
    Client(#[source] Box<kube::Error>),
    /// Nothing came in time.
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// What came is no event. (kube takes any JSON object that is none for a status, one without a code.)
    #[error("an event that cannot be read")]
    Unreadable,
    /// An object or a list without the server's count of changes.
    #[error("an answer without a resourceVersion")]
    NoVersion,
    /// Nobody keeps the index any more.
    #[error("the index is gone")]
    NoIndex,
}

/// An error with its causes, which kube's own text leaves out where they matter most.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

impl From<kube::Error> for WatchFailure {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else { return Self::Client(Box::new(error)) };
        Self::of_status(*status)
    }
}

impl WatchFailure {
    fn of_status(status: kube::core::Status) -> Self {
        if status.code == 0 {
            return Self::Unreadable;
        }
        let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        let retry_after = Some(u64::from(seconds)).filter(|seconds| *seconds > 0).map(Duration::from_secs);
        Self::Status { code: status.code, message: status.message, retry_after }
    }

    /// The server does not have what is asked for.
    pub(super) const fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { code: 404, .. })
    }

    /// The server no longer knows what has happened since: it forgets, and says so.
    const fn is_gone(&self) -> bool {
        matches!(self, Self::Status { code: 410, .. })
    }

    /// How long the server asks to be left alone.
    const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Client(_) | Self::Silent(_) | Self::Unreadable | Self::NoVersion | Self::NoIndex => None,
        }
    }

    /// The watch cannot be taken up where it ended.
    fn needs_list(&self) -> bool {
        match self {
            Self::Status { .. } => self.is_gone(),
            Self::Client(error) => matches!(**error, kube::Error::SerdeError(_)),
            Self::Unreadable | Self::NoVersion => true,
            Self::Silent(_) | Self::NoIndex => false,
        }
    }
}

/// Asks the API server, with an end to the patience. What the client logs by itself is left out: an outage
/// would be a line for every attempt.
pub(super) async fn ask<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, WatchFailure> {
    let answer = answer.with_subscriber(NoSubscriber::default());
    let answer = timeout(ANSWER_TIMEOUT, answer).await;
    Ok(answer.map_err(|_elapsed| WatchFailure::Silent(ANSWER_TIMEOUT))??)
}

/// One watch.
pub(super) struct Watch {
    pub(super) client: Client,
    pub(super) source: Source,
    pub(super) index: mpsc::Sender<Told>,
    pub(super) health: SharedHealth,
}

impl Watch {
    /// Follows until the server has no such collection, or the index is gone; says which.
    pub(super) async fn follow<W: Wire>(
        &self,
        event: fn(Change<W::Object>) -> Event,
        backoff: &mut Backoff,
    ) -> WatchFailure {
        // The server's count up to which everything is known.
        let mut version: Option<String> = None;
        let mut failures = 0;
        loop {
            let (started, is_list) = (Instant::now(), version.is_none());
            let attempt = match &mut version {
                None => self.list::<W>(event).await.map(|listed| version = Some(listed)),
                Some(version) => self.watch::<W>(event, version).await,
            };
            let has_lasted = !is_list && started.elapsed() >= LASTED;
            if has_lasted {
                failures = 0;
                backoff.reset();
            }
            let asked = match attempt {
                Ok(()) if is_list || has_lasted => continue,
                // No mistake of anybody's, but no reason to hurry.
                Ok(()) => None,
                Err(failure @ WatchFailure::NoIndex) => return failure,
                Err(failure) => {
                    failures += 1;
                    self.tell_failure(&failure);
                    if failure.is_not_found() {
                        return failure;
                    }
                    if failure.needs_list() || failures % FAILURES_BEFORE_LIST == 0 {
                        version = None;
                    }
                    failure.retry_after()
                }
            };
            sleep(backoff.next(asked)).await;
        }
    }

    /// Says once that the watch does not run, and keeps the last reason.
    fn tell_failure(&self, failure: &WatchFailure) {
        let resource = self.source.resource;
        let is_first = self.health.failed(resource, failure.to_string());
        if failure.is_gone() {
            info!("kubernetes: {}: listed again: {failure}", resource.label());
        } else if is_first {
            warn!("kubernetes: {}: {failure}; what is known stays", resource.label());
        }
    }

    /// Reads everything there is, page by page; returns the server's count.
    async fn list<W: Wire>(&self, event: fn(Change<W::Object>) -> Event) -> Result<String, WatchFailure> {
        let mut objects = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        params.field_selector.clone_from(&self.source.field_selector);
        loop {
            let request = Request::new(self.source.path).list(&params).map_err(kube::Error::BuildRequest)?;
            let page: ObjectList<W> = ask(self.client.request(request)).await?;
            objects.extend(page.items.into_iter().map(W::into_object));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => {
                    let version = page.metadata.resource_version.filter(|version| !version.is_empty());
                    let version = version.ok_or(WatchFailure::NoVersion)?;
                    self.tell(event(Change::Relist(objects)), Some(self.source.resource)).await?;
                    return Ok(version);
                }
            }
        }
    }

    /// Follows from the count on, and keeps it; returns when the server has ended the watch.
    async fn watch<W: Wire>(
        &self,
        event: fn(Change<W::Object>) -> Event,
        version: &mut String,
    ) -> Result<(), WatchFailure> {
        let lasts = u32::try_from(spread(WATCH_LASTS).as_secs()).unwrap_or(u32::MAX);
        let mut params = WatchParams::default().timeout(lasts);
        params.field_selector.clone_from(&self.source.field_selector);
        let request =
            Request::new(self.source.path).watch(&params, version).map_err(kube::Error::BuildRequest)?;
        let stream = ask(self.client.request_events::<W>(request)).await?;
        if self.health.runs(self.source.resource) {
            info!("kubernetes: {}: the watch runs again", self.source.resource.label());
        }
        let mut stream = pin!(stream);
        loop {
            let next =
                timeout(IDLE_TIMEOUT, stream.try_next().with_subscriber(NoSubscriber::default())).await;
            let told = match next.map_err(|_elapsed| WatchFailure::Silent(IDLE_TIMEOUT))?? {
                None => return Ok(()),
                Some(told) => told,
            };
            let seen = match told {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let seen = object.metadata().resource_version.clone();
                    self.tell(event(Change::Upsert(object.into_object())), None).await?;
                    seen
                }
                WatchEvent::Deleted(object) => {
                    let seen = object.metadata().resource_version.clone();
                    let meta = object.into_object().meta().clone();
                    self.tell(event(Change::Delete { key: meta.key, uid: meta.uid }), None).await?;
                    seen
                }
                WatchEvent::Bookmark(bookmark) => bookmark.metadata.resource_version,
                WatchEvent::Error(status) => return Err(WatchFailure::of_status(*status)),
            };
            if seen.is_empty() {
                return Err(WatchFailure::NoVersion);
            }
            *version = seen;
        }
    }

    async fn tell(&self, event: Event, listed: Option<Resource>) -> Result<(), WatchFailure> {
        self.index.send(Told { event, listed }).await.map_err(|_told| WatchFailure::NoIndex)
    }
}
