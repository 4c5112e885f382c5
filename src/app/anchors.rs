//! What the key service answers for its neighbours: the time it goes by, the anchors of the indexes, the head of the
//! log. Each is one question of another room's trait.

use crate::audit::{Hash, Head, HeadError, HeadStore};
use crate::index::anchor::{Anchor, AnchorStore, AnchorStoreError};
use crate::model::atlas::Region;
use crate::model::clock::Clock;
use crate::seal::KeyClient;
use std::sync::Arc;

/// The compliance clock as the keys crate asks for it.
pub(super) struct KeyClock(pub(super) Arc<dyn Clock>);

impl crate::seal::Clock for KeyClock {
    fn cc_lo(&self) -> i64 {
        self.0.now().cc_lo.seconds()
    }
}

/// The newest anchor of each region, with the key service.
pub(super) struct Anchors(pub(super) Arc<KeyClient>);

impl AnchorStore for Anchors {
    fn newest(&self, region: &'static Region) -> Result<Option<Anchor>, AnchorStoreError> {
        let head = self.0.anchor(region.id).map_err(|error| AnchorStoreError(error.into()))?;
        Ok(head.map(|head| Anchor { counter: head.counter, digest: head.digest }))
    }

    fn save(&self, region: &'static Region, anchor: Anchor) -> Result<(), AnchorStoreError> {
        let saved = self.0.save_anchor(region.id, anchor.counter, anchor.digest);
        saved.map_err(|error| AnchorStoreError(error.into()))
    }

    fn put_back(&self, region: &'static Region, anchor: Anchor) -> Result<(), AnchorStoreError> {
        let saved = self.0.danger_reset_anchor(region.id, anchor.counter, anchor.digest);
        saved.map_err(|error| AnchorStoreError(error.into()))
    }
}

/// Between two attempts to save a head while the key service is out of reach.
const RETRY: std::time::Duration = std::time::Duration::from_millis(500);

/// The newest head of the audit log, with the key service.
pub(super) struct LogHeads(pub(super) Arc<KeyClient>);

impl HeadStore for LogHeads {
    fn newest(&self) -> Result<Option<Head>, HeadError> {
        let head = self.0.audit_head().map_err(|error| HeadError(error.into()))?;
        Ok(head.map(|head| Head { entries: head.counter, hash: Hash(head.digest) }))
    }

    #[allow(clippy::disallowed_methods, reason = "a thread of its own, which has nothing else to wait for")]
    fn save(&self, head: &Head) -> Result<(), HeadError> {
        // An outage is nothing that the log is wrong about: it waits, on its own thread, and goes on where it was.
        loop {
            match self.0.save_audit_head(head.entries, head.hash.0) {
                Err(error) if error.is_outage() => std::thread::sleep(RETRY),
                saved => return saved.map_err(|error| HeadError(error.into())),
            }
        }
    }
}
