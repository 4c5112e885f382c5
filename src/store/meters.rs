//! What reading costs, counted. No labels: a count that was split by object would tell who reads what.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// The meters of this room. Clones share their counts.
#[derive(Debug, Clone, Default)]
pub struct StoreMeters {
    chunks_opened: Counter,
    dropped: Counter,
}

impl StoreMeters {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let meters = Self::default();
        let help = "Sealed chunks of objects opened for a reader or a copy";
        registry.register("chunks_opened", help, meters.chunks_opened.clone());
        let help = "Objects that came too late for a feature: it is disabled";
        registry.register("feature_objects_dropped", help, meters.dropped.clone());
        meters
    }

    /// An object of a feature that is off was not taken.
    pub(super) fn dropped(&self) {
        self.dropped.inc();
    }

    /// So many chunks are about to be opened, whether they verify or not.
    pub(super) fn chunks_opened(&self, count: u64) {
        self.chunks_opened.inc_by(count);
    }
}
