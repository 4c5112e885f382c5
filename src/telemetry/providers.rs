//! What is counted of outside key providers. The words come from closed lists of the keys crate.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
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
