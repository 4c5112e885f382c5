//! A job's watermark: an object of the class `kpi` whose metadata says up to which hour the job has consumed the
//! interactions of the bucket, and when it began to look.
//!
//! Object first, then the ledger's entry, then the watermark: a crash in between leaves a watermark that is not committed,
//! and lifetimes that are longer. The job repeats its last write.

use super::classes::value;
use super::types::StoreError;
use super::{Room, Store};
use crate::audit::{Actor, Event};
use crate::feature::Watermark;
use crate::gate::Need;
use crate::model::classes::{Class, Feature, Purpose, SEEN_METADATA, WATERMARK_METADATA};
use crate::model::time::Millis;

/// What an object says besides its bytes.
pub(super) struct Asked {
    until: Millis,
    seen: Millis,
}

impl Store {
    /// The watermark that the metadata of something to be written commits. Errors: `InvalidWatermark`.
    pub(super) fn watermark(&self, room: &Room, metadata: &[(String, String)]) -> Result<Option<Asked>, StoreError> {
        let Some(until) = value(metadata, WATERMARK_METADATA) else { return Ok(None) };
        let now = self.0.clock.now().wall;
        let time = |text: &str| text.parse().ok().filter(|time: &Millis| *time <= now);
        let until = time(until).filter(|until| until.seconds() % 3600 == 0 && until.0 % 1000 == 0);
        let seen = value(metadata, SEEN_METADATA).and_then(time);
        let for_it = room.grant.as_ref().is_none_or(|grant| grant.purpose == Purpose::Kpi);
        match (until, seen, Class::of(metadata)) {
            (Some(until), Some(seen), Some(Class::Kpi)) if for_it => Ok(Some(Asked { until, seen })),
            _ => Err(StoreError::InvalidWatermark),
        }
    }

    /// Commits it. Lifetimes of what it covers begin now. Errors: `FeatureDisabled`.
    pub(super) async fn commit_watermark(&self, room: &Room, asked: Asked) -> Result<(), StoreError> {
        let at = &room.bucket.at;
        let directory = self.directory(at.geo.id)?;
        let features = directory.features(at.tenant).await?;
        let setting = features.setting(Feature::EmailEngagement).filter(|setting| setting.clock.runs());
        let Some(setting) = setting else { return Err(StoreError::FeatureDisabled(Need::Write)) };
        let now = self.0.clock.now();
        let enabled_ms = setting.clock.at(&now);
        // How long ago it looked, by the one clock that both times are of.
        let seen_ms = enabled_ms.saturating_sub(now.wall.0.saturating_sub(asked.seen.0).max(0));
        if let Some(log) = self.0.alarm.log(at.geo.id) {
            let event =
                Event::WatermarkCommitted { tenant: at.tenant, bucket: at.bucket, until: asked.until.to_string() };
            log.append(&Actor::part("client"), event).await.map_err(|_| StoreError::Unavailable)?;
        }
        let mark = Watermark { until: asked.until, seen_ms, enabled_ms };
        directory.change_watermarks(at.tenant, at.bucket, |marks| marks.commit(mark)).await?;
        Ok(())
    }
}
