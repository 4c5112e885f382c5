//! A job's watermark: an object of the class `kpi` whose metadata says of which hours the job has consumed the
//! interactions of the bucket, and when it began to look.
//!
//! Only a job commits one: a login of a grant whose purpose is figures. Windows meet, so no hour between them is left out. The
//! same window again changes nothing; one of older hours says that they were consumed again, and moves the watermark
//! nowhere.
//!
//! Object first, then the ledger's entry, then the watermark: a crash in between leaves a watermark that is not committed,
//! and lifetimes that are longer. The job repeats its last write.

use super::classes::value;
use super::types::StoreError;
use super::{Room, Store};
use crate::audit::{Actor, Event};
use crate::feature::{Watermark, Watermarks};
use crate::gate::Need;
use crate::model::classes::{Class, Feature, Purpose, SEEN_METADATA, WATERMARK_FROM_METADATA, WATERMARK_METADATA};
use crate::model::time::Millis;

/// What an object says besides its bytes.
pub(super) struct Asked {
    from: Millis,
    until: Millis,
    seen: Millis,
}

impl Store {
    /// The watermark that the metadata of something to be written commits. Errors: `WatermarkNotGranted`,
    /// `InvalidWatermark`, `WatermarkGap`.
    pub(super) async fn watermark(
        &self,
        room: &Room,
        metadata: &[(String, String)],
    ) -> Result<Option<Asked>, StoreError> {
        let Some(until) = value(metadata, WATERMARK_METADATA) else { return Ok(None) };
        // The gate has seen that the grant has not ended.
        if room.grant.as_ref().is_none_or(|grant| grant.purpose != Purpose::Kpi) {
            return Err(StoreError::WatermarkNotGranted);
        }
        let now = self.0.clock.now().wall;
        let time = |text: &str| text.parse().ok().filter(|time: &Millis| *time <= now);
        let hour = |text: &str| time(text).filter(|hour| hour.seconds() % 3600 == 0 && hour.0 % 1000 == 0);
        let from = value(metadata, WATERMARK_FROM_METADATA).and_then(hour);
        let seen = value(metadata, SEEN_METADATA).and_then(time);
        let (Some(from), Some(until), Some(seen), Some(Class::Kpi)) = (from, hour(until), seen, Class::of(metadata))
        else {
            return Err(StoreError::InvalidWatermark);
        };
        if from >= until {
            return Err(StoreError::InvalidWatermark);
        }
        let at = &room.bucket.at;
        let marks = self.directory(at.geo.id)?.watermarks(at.tenant, at.bucket).await?;
        marks.meets(Some(from), until).map_err(StoreError::WatermarkGap)?;
        Ok(Some(Asked { from, until, seen }))
    }

    /// Commits it. Lifetimes of what it covers begin now. Errors: `FeatureDisabled`, `WatermarkGap`.
    pub(super) async fn commit_watermark(&self, room: &Room, asked: Asked) -> Result<(), StoreError> {
        let at = &room.bucket.at;
        let directory = self.directory(at.geo.id)?;
        let features = directory.features(at.tenant).await?;
        let setting = features.setting(Feature::EmailEngagement).filter(|setting| setting.clock.runs());
        let Some(setting) = setting else { return Err(StoreError::FeatureDisabled(Need::Write)) };
        let now = self.0.clock.now();
        let enabled_ms = setting.clock.at(&now);
        // How long ago it looked, by the one clock that both times are of; a thousandth more, for a wall that is being slewed.
        let ago_ms = now.wall.0.saturating_sub(asked.seen.0).max(0);
        let seen_ms = enabled_ms.saturating_sub(ago_ms.saturating_add(ago_ms / 1000));
        let mark =
            Watermark { until: asked.until, seen_ms, enabled_ms, from: Some(asked.from), looked: Some(asked.seen) };
        let mut foreseen = directory.watermarks(at.tenant, at.bucket).await?;
        if !foreseen.commit(mark).map_err(StoreError::WatermarkGap)? {
            return Ok(());
        }
        if let Some(log) = self.0.alarm.log(at.geo.id) {
            let event = Event::WatermarkCommitted {
                tenant: at.tenant,
                bucket: at.bucket,
                from: Some(asked.from.to_string()),
                until: asked.until.to_string(),
            };
            log.append(&Actor::part("client"), event).await.map_err(|_| StoreError::Unavailable)?;
        }
        // Another first one may have come in between.
        let mut met = Ok(());
        let commit = |marks: &mut Watermarks| {
            marks.commit(mark).unwrap_or_else(|gap| {
                met = Err(StoreError::WatermarkGap(gap));
                false
            })
        };
        directory.change_watermarks(at.tenant, at.bucket, commit).await?;
        met
    }
}
