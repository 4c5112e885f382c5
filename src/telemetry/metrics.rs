//! What is counted for the whole process. Each room registers its own meters beside these in the one registry.

use crate::model::request::Operation;
use crate::model::traffic::Traffic;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::time::Duration;

/// The content type of [`encode`]'s text.
pub const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From 50 microseconds, doubling, to 26 seconds.
const SECONDS: [f64; 20] = {
    let mut buckets = [0.000_05; 20];
    let mut n = 1;
    while n < buckets.len() {
        buckets[n] = buckets[n - 1] * 2.0;
        n += 1;
    }
    buckets
};

/// An empty registry; every name in it will begin with `geoseal_`.
pub fn registry() -> Registry {
    let mut registry = Registry::with_prefix("geoseal");
    registry.register("build", "What is running", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
    registry
}

/// Everything in a registry as OpenMetrics text.
pub fn encode(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).expect("a string takes any text");
    text
}

/// The process' meters. Clones share their counts.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    seconds: Family<OperationLabels, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    traffic: Traffic,
    received: Counter,
    sent: Counter,
    sweep_late: Gauge,
    sweep_last: Gauge,
    clock_pending: Gauge,
    clock_overdue: Gauge,
    clock_suspect: Gauge,
    swept: Counter,
    uploads: Gauge,
    upload_parts: Gauge,
    blob_failures: Counter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: Operation,
    status: StatusClass,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: Operation,
}

/// The first digit of a status code; `Gone` where the client left before there was one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum StatusClass {
    Success,
    Redirect,
    Caller,
    Ours,
    Gone,
}

impl Metrics {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            in_flight: Gauge::default(),
            traffic: Traffic::default(),
            received: Counter::default(),
            sent: Counter::default(),
            sweep_late: Gauge::default(),
            sweep_last: Gauge::default(),
            clock_pending: Gauge::default(),
            clock_overdue: Gauge::default(),
            clock_suspect: Gauge::default(),
            swept: Counter::default(),
            uploads: Gauge::default(),
            upload_parts: Gauge::default(),
            blob_failures: Counter::default(),
        };
        registry.register("requests", "Requests answered", metrics.requests.clone());
        registry.register_with_unit(
            "request",
            "From a request's header to its answer's last byte",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register("requests_in_flight", "Requests being served", metrics.in_flight.clone());
        registry.register_with_unit("received", "Declared request bodies", Unit::Bytes, metrics.received.clone());
        registry.register_with_unit("sent", "Response bodies", Unit::Bytes, metrics.sent.clone());
        registry.register_with_unit(
            "sweep_lateness",
            "How long ago the oldest thing still there should have gone",
            Unit::Seconds,
            metrics.sweep_late.clone(),
        );
        registry.register(
            "sweep_last_timestamp_seconds",
            "When a sweep last ended well, Unix time",
            metrics.sweep_last.clone(),
        );
        registry.register_with_unit(
            "clock_pending",
            "Off-time that does not count yet",
            Unit::Seconds,
            metrics.clock_pending.clone(),
        );
        registry.register(
            "clock_overdue",
            "Whether off-time is pending for more than an hour",
            metrics.clock_overdue.clone(),
        );
        registry.register(
            "clock_suspect",
            "Whether the machine's clock contradicts the time that has provably passed",
            metrics.clock_suspect.clone(),
        );
        registry.register("swept", "Things that sweeps destroyed", metrics.swept.clone());
        registry.register(
            "uploads_in_progress",
            "Multipart uploads in progress of all tenants, as of the last sweep",
            metrics.uploads.clone(),
        );
        registry.register(
            "upload_parts",
            "Parts of multipart uploads in progress, stored and in no listing, as of the last sweep",
            metrics.upload_parts.clone(),
        );
        registry.register("blob_failures", "Answers of a blob store that were errors", metrics.blob_failures.clone());
        metrics
    }

    /// A sweep ended well at `now` (Unix seconds), destroyed `swept` things, and the oldest thing still there is
    /// `late` past its time.
    pub fn sweep_ended(&self, now: i64, swept: u64, late: Duration) {
        self.sweep_last.set(now);
        self.swept.inc_by(swept);
        self.sweep_is_late(late);
    }

    /// So many uploads are in progress, with so many parts.
    pub fn unfinished(&self, uploads: u64, parts: u64) {
        self.uploads.set(i64::try_from(uploads).unwrap_or(i64::MAX));
        self.upload_parts.set(i64::try_from(parts).unwrap_or(i64::MAX));
    }

    /// The oldest thing that should have gone is `late` past its time; zero when nothing is.
    pub fn sweep_is_late(&self, late: Duration) {
        self.sweep_late.set(i64::try_from(late.as_secs()).unwrap_or(i64::MAX));
    }

    /// How sure the compliance clock is.
    pub fn clock_is(&self, pending_s: i64, overdue: bool, suspect: bool) {
        self.clock_pending.set(pending_s);
        self.clock_overdue.set(overdue.into());
        self.clock_suspect.set(suspect.into());
    }

    /// A blob store answered with an error.
    pub fn blob_failed(&self) {
        self.blob_failures.inc();
    }

    /// Requests of clients, for whoever makes room for them.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// A request begins.
    pub(super) fn request_began(&self) {
        self.in_flight.inc();
        self.traffic.begin();
    }

    /// A request is over. `status` is `None` where the client left before there was one.
    pub(super) fn request_ended(
        &self,
        operation: Operation,
        status: Option<u16>,
        received: u64,
        sent: u64,
        took: Duration,
    ) {
        self.in_flight.dec();
        self.traffic.end();
        self.requests.get_or_create(&RequestLabels { operation, status: StatusClass::of(status) }).inc();
        self.seconds.get_or_create(&OperationLabels { operation }).observe(took.as_secs_f64());
        self.received.inc_by(received);
        self.sent.inc_by(sent);
    }
}

impl StatusClass {
    fn of(status: Option<u16>) -> Self {
        match status {
            None => Self::Gone,
            Some(500..) => Self::Ours,
            Some(400..) => Self::Caller,
            Some(300..) => Self::Redirect,
            Some(_) => Self::Success,
        }
    }
}

impl EncodeLabelValue for StatusClass {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        let text = match self {
            Self::Success => "2xx",
            Self::Redirect => "3xx",
            Self::Caller => "4xx",
            Self::Ours => "5xx",
            Self::Gone => "gone",
        };
        EncodeLabelValue::encode(&text, encoder)
    }
}

impl EncodeLabelValue for Operation {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        EncodeLabelValue::encode(&self.name(), encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_the_names_that_the_page_and_the_alerts_use() {
        let mut registry = registry();
        let metrics = Metrics::register(&mut registry);
        metrics.request_ended(Operation::PutObject, Some(503), 10, 20, Duration::from_millis(3));
        metrics.request_ended(Operation::GetObject, None, 0, 0, Duration::from_secs(100));
        metrics.sweep_ended(1_700_000_000, 7, Duration::from_secs(5));
        metrics.clock_is(90, false, true);
        let text = encode(&registry);
        for line in [
            "geoseal_clock_pending_seconds 90",
            "geoseal_clock_overdue 0",
            "geoseal_clock_suspect 1",
            "geoseal_requests_total{operation=\"PutObject\",status=\"5xx\"} 1",
            "geoseal_requests_total{operation=\"GetObject\",status=\"gone\"} 1",
            "geoseal_request_seconds_bucket{le=\"0.0032\",operation=\"PutObject\"} 1",
            "geoseal_received_bytes_total 10",
            "geoseal_sent_bytes_total 20",
            "geoseal_sweep_lateness_seconds 5",
            "geoseal_sweep_last_timestamp_seconds 1700000000",
            "geoseal_swept_total 7",
            "geoseal_blob_failures_total 0",
        ] {
            assert!(text.contains(line), "no {line:?} in\n{text}");
        }
    }
}
