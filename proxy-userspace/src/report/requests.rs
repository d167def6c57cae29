//! What is told of a connection's requests, gathered in bounded memory.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::samples::Samples;
use crate::observe::{Exchange, Kind, Lost, Request};

/// Statuses that are told apart.
const MAX_STATUSES: usize = 32;
/// gRPC methods that are told apart; each may hold 512 bytes of latencies.
pub const MAX_METHODS: usize = 32;
/// What counts for all that are not told apart.
const OTHER: &str = "(other)";

/// The requests of one connection.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// Requests whose head was seen.
    pub(super) count: u64,
    pub(super) statuses: Statuses,
    /// From a request's head to the head of its response, milliseconds.
    pub(super) latency_ms: Samples,
    /// What the connection, or one of its streams, first became.
    pub(super) upgraded: Option<Box<str>>,
    pub(super) grpc: Methods,
    /// Why they could not be followed to the end.
    pub(super) lost: Option<Lost>,
}

/// How often there was which HTTP status.
#[derive(Clone, Debug, Default)]
pub(super) struct Statuses {
    counts: BTreeMap<u16, u64>,
    other: u64,
}

/// gRPC calls by `service/method`.
#[derive(Clone, Debug, Default)]
pub(super) struct Methods(BTreeMap<Box<str>, Calls>);

/// The finished calls of one gRPC method.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Calls {
    pub(super) calls: u64,
    /// By the number of the status; `none` where there was none, `other` where gRPC has no such number.
    pub(super) statuses: BTreeMap<GrpcStatus, u64>,
    /// Of gRPC-Web, whose status was not seen: it is in a body that is not read.
    #[serde(skip)]
    unseen: u64,
    #[serde(skip)]
    pub(super) latency_ms: Samples,
}

/// A gRPC status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum GrpcStatus {
    Known(u8),
    Other,
    None,
}

impl Requests {
    /// A request's head is complete.
    pub fn request(&mut self, _request: &Request) {
        self.count += 1;
    }

    /// An exchange is over.
    pub fn exchange(&mut self, exchange: &Exchange<'_>) {
        if let Some(status) = exchange.status {
            self.statuses.add(status, 1);
        }
        let latency = exchange
            .response_began
            .map(|began| began.saturating_duration_since(exchange.began).as_secs_f32() * 1_000.0);
        if let Some(latency_ms) = latency {
            self.latency_ms.record(latency_ms);
        }
        if let Some((service, method)) = exchange.request.rpc() {
            let calls = self.grpc.of(service, method);
            calls.calls += 1;
            *calls.statuses.entry(GrpcStatus::of(exchange.grpc_status)).or_default() += 1;
            calls.unseen +=
                u64::from(exchange.request.kind == Kind::GrpcWeb && exchange.grpc_status.is_none());
            if let Some(latency_ms) = latency {
                calls.latency_ms.record(latency_ms);
            }
        }
    }

    /// The connection, or a stream of it, became something else.
    pub fn upgraded(&mut self, to: &str) {
        self.upgraded.get_or_insert_with(|| to.into());
    }

    /// The connection cannot be followed any further.
    pub fn lost(&mut self, why: Lost) {
        self.lost.get_or_insert(why);
    }
}

impl Statuses {
    fn add(&mut self, status: u16, count: u64) {
        if self.counts.len() < MAX_STATUSES || self.counts.contains_key(&status) {
            *self.counts.entry(status).or_default() += count;
        } else {
            self.other += count;
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        other.counts.iter().for_each(|(status, count)| self.add(*status, *count));
        self.other += other.other;
    }

    /// `200:12 404:1`, in the order of the statuses.
    pub(super) fn shown(&self) -> String {
        let counts = self.counts.iter().map(|(status, count)| format!("{status}:{count}"));
        let other = (self.other > 0).then(|| format!("{OTHER}:{}", self.other));
        counts.chain(other).collect::<Vec<_>>().join(" ")
    }
}

impl Methods {
    /// The calls of a method, or of all that are not told apart.
    fn of(&mut self, service: &str, method: &str) -> &mut Calls {
        self.named(format!("{service}/{method}").into())
    }

    fn named(&mut self, name: Box<str>) -> &mut Calls {
        let is_told_apart = self.0.len() < MAX_METHODS || self.0.contains_key(&name);
        self.0.entry(if is_told_apart { name } else { OTHER.into() }).or_default()
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (name, theirs) in &other.0 {
            let ours = self.named(name.clone());
            ours.calls += theirs.calls;
            ours.unseen += theirs.unseen;
            for (status, count) in &theirs.statuses {
                *ours.statuses.entry(*status).or_default() += count;
            }
            ours.latency_ms.merge(&theirs.latency_ms);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Calls)> {
        self.0.iter().map(|(name, calls)| (&**name, calls))
    }
}

impl Calls {
    /// Calls that are known not to have ended with the status OK.
    pub(super) fn not_ok(&self) -> u64 {
        self.calls - self.unseen - self.statuses.get(&GrpcStatus::Known(0)).copied().unwrap_or(0)
    }
}

impl GrpcStatus {
    fn of(status: Option<u32>) -> Self {
        match status.map(u8::try_from) {
            Some(Ok(known @ 0..=16)) => Self::Known(known),
            Some(_) => Self::Other,
            None => Self::None,
        }
    }
}

impl Serialize for Requests {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// In milliseconds.
        #[derive(Serialize)]
        struct Latency {
            p50: f64,
            p95: f64,
            max: f64,
        }
        // Three decimals at most: whole microseconds.
        let rounded = |ms: f32| (f64::from(ms) * 1_000.0).round() / 1_000.0;
        let percentile = |percent| self.latency_ms.percentile(percent).map(rounded);
        let latency = percentile(50).zip(percentile(95)).zip(self.latency_ms.max().map(rounded));
        let latency = latency.map(|((p50, p95), max)| Latency { p50, p95, max });
        let mut map = serializer.serialize_map(Some(6))?;
        map.serialize_entry("requests", &self.count)?;
        map.serialize_entry("statuses", &self.statuses)?;
        map.serialize_entry("latency_ms", &latency)?;
        map.serialize_entry("upgraded", &self.upgraded)?;
        map.serialize_entry("grpc", &self.grpc.0)?;
        map.serialize_entry("lost", &self.lost.map(Lost::label))?;
        map.end()
    }
}

impl Serialize for Statuses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (status, count) in &self.counts {
            map.serialize_entry(status, count)?;
        }
        if self.other > 0 {
            map.serialize_entry(OTHER, &self.other)?;
        }
        map.end()
    }
}

impl Serialize for GrpcStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Known(status) => serializer.collect_str(status),
            Self::Other => serializer.serialize_str("other"),
            Self::None => serializer.serialize_str("none"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::observe::{End, Method, Version};

    /// Requests as they are seen: one for each target, of which one that names a gRPC method is a call;
    /// with their status and the milliseconds to the response's head.
    pub(crate) fn seen(exchanges: &[(&str, u16, Option<u32>, u64)]) -> Requests {
        let mut requests = Requests::default();
        for (target, status, grpc_status, latency_ms) in exchanges {
            let is_call = *target != "/";
            let request = Request {
                version: Version::Http2,
                method: Method::Post,
                kind: if is_call { Kind::Grpc } else { Kind::Http },
                authority: None,
                target: is_call.then(|| (*target).into()),
                trace: None,
            };
            let began = Instant::now();
            requests.request(&request);
            requests.exchange(&Exchange {
                request: &request,
                began,
                request_ended: Some(began),
                response_began: Some(began + Duration::from_millis(*latency_ms)),
                ended: began + Duration::from_secs(9),
                status: Some(*status),
                grpc_status: *grpc_status,
                response_bytes: 0,
                end: End::Complete,
            });
        }
        requests
    }

    #[test]
    fn the_report_tells_of_requests_in_six_fields() {
        let mut requests = seen(&[("/", 200, None, 1), ("/", 200, None, 3), ("/", 404, None, 2)]);
        requests.upgraded("websocket");
        requests.upgraded("h2c");
        requests.lost(Lost::HeadTooLarge);
        assert_eq!(
            serde_json::to_string(&requests).unwrap(),
            concat!(
                r#"{"requests":3,"statuses":{"200":2,"404":1},"latency_ms":{"p50":2.0,"p95":3.0,"max":3.0},"#,
                r#""upgraded":"websocket","grpc":{},"lost":"head-too-large"}"#
            )
        );
    }

    #[test]
    fn without_requests_what_does_not_apply_is_null_and_what_is_counted_is_empty() {
        assert_eq!(
            serde_json::to_string(&Requests::default()).unwrap(),
            r#"{"requests":0,"statuses":{},"latency_ms":null,"upgraded":null,"grpc":{},"lost":null}"#
        );
    }

    #[test]
    fn grpc_calls_are_told_by_method_and_status() {
        let requests = seen(&[
            ("/shop.Cart/Add", 200, Some(0), 1),
            ("/shop.Cart/Add", 200, Some(14), 1),
            ("/shop.Cart/Watch", 200, None, 1),
            ("/shop.Cart/Watch", 200, Some(4_000_000_000), 1),
        ]);
        let json = serde_json::to_value(&requests).unwrap();
        assert_eq!(
            json["grpc"].to_string(),
            concat!(
                r#"{"shop.Cart/Add":{"calls":2,"statuses":{"0":1,"14":1}},"#,
                r#""shop.Cart/Watch":{"calls":2,"statuses":{"none":1,"other":1}}}"#
            )
        );
        assert_eq!(requests.grpc.0["shop.Cart/Add"].not_ok(), 1);
        assert_eq!(requests.grpc.0["shop.Cart/Watch"].not_ok(), 2);
    }

    #[test]
    fn a_grpc_web_call_whose_status_was_not_seen_is_not_said_to_have_failed() {
        let web = |grpc_status| {
            let mut requests = Requests::default();
            let request = Request {
                version: Version::Http2,
                method: Method::Post,
                kind: Kind::GrpcWeb,
                authority: None,
                target: Some("/shop.Cart/Add".into()),
                trace: None,
            };
            requests.exchange(&Exchange {
                request: &request,
                began: Instant::now(),
                request_ended: None,
                response_began: None,
                ended: Instant::now(),
                status: Some(200),
                grpc_status,
                response_bytes: 0,
                end: End::Complete,
            });
            requests.grpc.0["shop.Cart/Add"].not_ok()
        };
        assert_eq!((web(None), web(Some(0)), web(Some(14))), (0, 0, 1));
    }

    #[test]
    fn statuses_and_methods_beyond_their_bounds_are_counted_together() {
        let names: Vec<_> = (0..100).map(|index| format!("/s/m{index}")).collect();
        let calls: Vec<_> =
            names.iter().zip(100..).map(|(name, status)| (&**name, status, Some(0), 1)).collect();
        let requests = seen(&calls);
        assert_eq!(requests.statuses.counts.len(), MAX_STATUSES);
        assert_eq!(requests.statuses.other, (100 - MAX_STATUSES) as u64);
        assert!(requests.statuses.shown().ends_with(" (other):68"));
        assert_eq!(requests.grpc.0.len(), MAX_METHODS + 1);
        assert_eq!(requests.grpc.0[OTHER].calls, (100 - MAX_METHODS) as u64);
        let (mut methods, mut statuses) = (requests.grpc.clone(), requests.statuses.clone());
        methods.merge(&requests.grpc);
        statuses.merge(&requests.statuses);
        assert_eq!(methods.0.len(), MAX_METHODS + 1);
        assert_eq!(methods.0[OTHER].calls, 2 * (100 - MAX_METHODS) as u64);
        assert_eq!(statuses.other, 2 * (100 - MAX_STATUSES) as u64);
    }
}
