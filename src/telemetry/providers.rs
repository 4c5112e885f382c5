//! What is counted of key providers. The words come from closed lists of the keys crate.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Meters of the calls to outside key providers. Clones share their counts.
#[derive(Debug, Clone, Default)]
pub struct ProviderMeters {
    calls: Family<CallLabels, Counter>,
    seconds: Counter<f64, AtomicU64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    act: Word,
    outcome: Word,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Word(&'static str);

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }
}

impl ProviderMeters {
    /// Registers all of them.
    pub fn register(registry: &mut Registry) -> Self {
        let meters = Self::default();
        registry.register("key_provider_calls", "Calls of an outside key provider", meters.calls.clone());
        registry.register("key_provider_seconds", "Time spent waiting for them", meters.seconds.clone());
        meters
    }

    /// One call ended.
    pub fn called(&self, act: &'static str, outcome: &'static str, took: Duration) {
        self.calls.get_or_create(&CallLabels { act: Word(act), outcome: Word(outcome) }).inc();
        self.seconds.inc_by(took.as_secs_f64());
    }
}

/// What the key service of one geo has counted since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeeperCalls {
    /// Calls that wrapped a root.
    pub wraps: u64,
    /// Calls that unwrapped one or several.
    pub unwraps: u64,
    /// Other calls.
    pub others: u64,
    /// How many of them failed.
    pub failures: u64,
    /// Requests for a tenant's keys beyond its limit, for which no call was made.
    pub limited: u64,
}

/// Where the counts of one geo are read.
type Read = Box<dyn Fn() -> KeeperCalls + Send + Sync>;

/// Calls of whatever keeps the master keys, a local keyring too, as the key services count them; read when asked for.
pub struct KeeperMeters(Vec<(&'static str, Read)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GeoLabel {
    geo: Word,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GeoActLabels {
    geo: Word,
    act: Word,
}

impl KeeperMeters {
    /// Registers them for geos, by id.
    pub fn register(registry: &mut Registry, geos: Vec<(&'static str, Read)>) {
        registry.register_collector(Box::new(Self(geos)));
    }
}

impl std::fmt::Debug for KeeperMeters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeeperMeters({})", self.0.len())
    }
}

impl Collector for KeeperMeters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let told: Vec<_> = self.0.iter().map(|(geo, read)| (Word(geo), read())).collect();
        let help = "Calls of what keeps the master keys, counted by the key service";
        let mut calls = encoder.encode_descriptor("master_key_calls", help, None, MetricType::Counter)?;
        for (geo, told) in &told {
            for (act, count) in [("wrap", told.wraps), ("unwrap", told.unwraps), ("other", told.others)] {
                let labels = GeoActLabels { geo: *geo, act: Word(act) };
                ConstCounter::new(count).encode(calls.encode_family(&labels)?)?;
            }
        }
        let help = "How many of these calls failed";
        let mut failures = encoder.encode_descriptor("master_key_failures", help, None, MetricType::Counter)?;
        for (geo, told) in &told {
            ConstCounter::new(told.failures).encode(failures.encode_family(&GeoLabel { geo: *geo })?)?;
        }
        let help = "Requests for a tenant's keys that were refused, because there were too many of them";
        let mut limited = encoder.encode_descriptor("key_requests_limited", help, None, MetricType::Counter)?;
        for (geo, told) in &told {
            ConstCounter::new(told.limited).encode(limited.encode_family(&GeoLabel { geo: *geo })?)?;
        }
        Ok(())
    }
}
