//! Logs and metrics. What they carry cannot hold a name: ids, closed lists and numbers only.
//!
//! Called by `app`, which starts the logs, makes one [`Registry`], and puts [`Observed`] around each listener's service.
//! Promises: at every level, no line of the S3 library (it logs signatures and bodies), no object or bucket name, no
//! secret; no global but the log subscriber, which `tracing` cannot do without. Must not know S3, stores or keys: the
//! faces say what a request was by a [`RequestNote`](crate::model::request::RequestNote) in the response's extensions.

mod logs;
mod metrics;
mod observe;
mod panics;
mod providers;

pub use logs::{LogFormat, Logs, LogsError};
pub use metrics::{METRICS_TYPE, Metrics, encode, registry};
pub use observe::{Counted, Observed, ObservedFuture};
pub use panics::watch_panics;
pub use prometheus_client::registry::Registry;
pub use providers::{KeeperCalls, KeeperMeters, ProviderMeters};
