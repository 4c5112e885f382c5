//! Features of a tenant: enabled with a consent, disabled, and what their buckets are for.
//!
//! Enable: what there is of a frozen feature is listed → log → row. Disable: log → row, which waits for the commits under
//! way and lets no further one in → what there is is listed → row. A crash in between leaves the act logged and not done,
//! or a disabled feature whose list is missing: disabling again makes it.

use super::{Tenancy, TenancyError};
use crate::audit::{Actor, Event as Record, Hash};
use crate::directory::{RevokedBy, TenantEntry};
use crate::feature::{BucketRules, Features, Kept, Terms};
use crate::model::classes::{Class, Feature};
use crate::model::ids::{BucketId, TenantId};
use crate::model::names::BucketName;
use crate::tenant::{Refusal, State};
use bytes::Bytes;
use ring::digest::{Context, SHA256};
use std::sync::Arc;

/// Rows read at once.
const STEP: usize = 1000;

/// A feature after it was enabled.
#[derive(Debug)]
pub struct Enabled {
    /// As it is now.
    pub features: Arc<Features>,
    /// What there was when it was disabled, and what there was now, if it was disabled before.
    pub compared: Option<(Kept, Kept)>,
}

impl Tenancy {
    /// Enables a feature, or changes its terms. `expect` is the revision that the caller has seen. Changes nothing, and
    /// logs nothing, when it is on under these terms. Errors: `Refused`, `Feature`, `Changed`.
    pub async fn enable_feature(
        &self,
        actor: &Actor,
        id: TenantId,
        feature: Feature,
        terms: &Terms,
        expect: Option<u64>,
    ) -> Result<Enabled, TenancyError> {
        let _acts = self.directory.acts().lock().await;
        let entry = self.living(id).await?;
        let runs = entry.standing.state == State::Active;
        let now = self.clock.now();
        let before = self.directory.features(id).await?;
        if expect.is_some_and(|seen| seen != before.revision) {
            return Err(TenancyError::Changed);
        }
        let mut foreseen = Features::clone(&before);
        if !foreseen.enable(feature, terms, actor.as_str(), runs, &now)? {
            return Ok(Enabled { features: before, compared: None });
        }
        let compared = match before.setting(feature).and_then(|setting| setting.kept.filter(|_| !setting.enabled)) {
            Some(kept) => Some((kept, self.list_feature(id, feature).await?)),
            None => None,
        };
        let consent = foreseen.setting(feature).and_then(|setting| setting.consent()).map(|consent| consent.sha256);
        let enabled = Record::FeatureEnabled {
            tenant: id,
            feature: feature.as_str().to_owned(),
            consent: Hash(consent.unwrap_or_default()),
            objects: compared.map_or(0, |(_, found)| found.objects),
            same: compared.is_none_or(|(kept, found)| kept == found),
            follow_only: foreseen.setting(feature).map(|setting| setting.follow_only),
        };
        self.log(actor, enabled).await?;
        let dropped = self.directory.take_dropped(id);
        let features = self
            .directory
            .change_features::<TenancyError>(id, None, |features| {
                features.enable(feature, terms, actor.as_str(), runs, &now)?;
                if let Some(setting) = features.setting_mut(feature) {
                    setting.dropped = setting.dropped.saturating_add(dropped);
                }
                Ok(true)
            })
            .await?;
        self.look_at_all(id, None).await?;
        Ok(Enabled { features, compared })
    }

    /// Disables a feature: from the answer on nothing of it is taken, given, replaced or deleted. On one that is off, or
    /// never was on, changes nothing.
    pub async fn disable_feature(
        &self,
        actor: &Actor,
        id: TenantId,
        feature: Feature,
        reason: Option<Hash>,
        expect: Option<u64>,
    ) -> Result<Arc<Features>, TenancyError> {
        let _acts = self.directory.acts().lock().await;
        self.living(id).await?;
        let before = self.directory.features(id).await?;
        if expect.is_some_and(|seen| seen != before.revision) {
            return Err(TenancyError::Changed);
        }
        let Some(setting) = before.setting(feature) else { return Ok(before) };
        if !setting.enabled && setting.kept.is_some() {
            return Ok(before);
        }
        let now = self.clock.now();
        if setting.enabled {
            self.log(actor, Record::FeatureDisabled { tenant: id, feature: feature.as_str().to_owned(), reason })
                .await?;
            self.directory
                .change_features::<TenancyError>(id, None, |features| Ok(features.disable(feature, &now)))
                .await?;
        }
        self.revoke_grants(actor, id, RevokedBy::Act).await?;
        let kept = self.list_feature(id, feature).await?;
        self.directory
            .change_features::<TenancyError>(id, None, |features| {
                let setting = features.setting_mut(feature).filter(|setting| !setting.enabled);
                Ok(setting.map(|setting| setting.kept = Some(kept)).is_some())
            })
            .await
    }

    /// Says what a bucket is for; `change` gets the rules that it has.
    pub async fn set_bucket_rules(
        &self,
        actor: &Actor,
        id: TenantId,
        name: &BucketName,
        change: impl FnOnce(&mut BucketRules) + Send,
    ) -> Result<BucketRules, TenancyError> {
        let _acts = self.directory.acts().lock().await;
        self.living(id).await?;
        let bucket = self.directory.bucket(id, name).await?.ok_or(TenancyError::NoSuchBucket)?.bucket;
        let before = self.directory.features(id).await?.bucket(bucket).cloned().unwrap_or_default();
        let mut rules = before.clone();
        change(&mut rules);
        if rules == before {
            return Ok(rules);
        }
        let purposes = rules.purposes.iter().map(|purpose| purpose.as_str().to_owned()).collect();
        let class = rules.default_class.map(|class| class.as_str().to_owned());
        let ttl_days = rules.ttl.map(crate::feature::Ttl::days);
        self.log(actor, Record::BucketRulesSet { tenant: id, bucket, purposes, class, ttl_days }).await?;
        let next = rules.clone();
        let ttl_changed = rules.ttl != before.ttl;
        self.directory
            .change_features::<TenancyError>(id, None, |features| {
                features.buckets.retain(|(had, _)| *had != bucket);
                features.buckets.push((bucket, next));
                Ok(true)
            })
            .await?;
        if ttl_changed {
            self.look_at_all(id, Some(bucket)).await?;
        }
        Ok(rules)
    }

    /// The tenant went out of service, or is back in it: lifetimes stand still, or go on.
    pub(super) async fn serve_lifetimes(&self, id: TenantId, runs: bool) -> Result<(), TenancyError> {
        let now = self.clock.now();
        let before = self.directory.features(id).await?.revision;
        let features =
            self.directory.change_features::<TenancyError>(id, None, |features| Ok(features.serve(runs, &now))).await?;
        if runs && features.revision != before {
            self.look_at_all(id, None).await?;
        }
        Ok(())
    }

    /// Has the next sweep look at every object of the tenant, or of one bucket, for when it goes: lifetimes go on, or are
    /// other ones.
    async fn look_at_all(&self, id: TenantId, only: Option<BucketId>) -> Result<(), TenancyError> {
        let _walks = self.directory.walks().lock().await;
        let geo_keys = self.directory.key_service().geo_keys();
        for at in self.directory.buckets(id).await? {
            let Some(roots) = self.regions.get(at.region.id) else { continue };
            if only.is_none_or(|only| only == at.bucket)
                && let Some(bucket) = self.directory.open_bucket(&at).await?
            {
                roots.index.put_walk(&geo_keys.directory(), &bucket.index).await?;
            }
        }
        Ok(())
    }

    /// A tenant whose features can be changed.
    pub(super) async fn living(&self, id: TenantId) -> Result<Arc<TenantEntry>, TenancyError> {
        let entry = self.directory.tenant(id).await?.ok_or(TenancyError::NoSuchTenant)?;
        match entry.standing.state {
            State::Active | State::Disabled => Ok(entry),
            other => Err(Refusal::WrongState(other).into()),
        }
    }

    /// What there is of a feature: how many objects, and a hash over what each of them is, which no rotation changes.
    async fn list_feature(&self, id: TenantId, feature: Feature) -> Result<Kept, TenancyError> {
        let mut found: Vec<[u8; 32]> = Vec::new();
        for at in self.directory.buckets(id).await? {
            let Some(roots) = self.regions.get(at.region.id) else { continue };
            let Some(bucket) = self.directory.open_bucket(&at).await? else { continue };
            let mut cursor: Option<Bytes> = None;
            loop {
                let page = roots.index.scan_objects(&bucket.index, cursor.as_ref(), STEP).await?;
                for scanned in &page {
                    let row = &scanned.row;
                    if Class::of(&row.metadata).and_then(Class::feature) == Some(feature) {
                        let mut context = Context::new(&SHA256);
                        [&at.bucket.0, &row.object_id.0, &row.version_id.0]
                            .iter()
                            .for_each(|part| context.update(*part));
                        context.update(&row.size.to_be_bytes());
                        context.update(&row.mtime.0.to_be_bytes());
                        context.update(row.etag.as_bytes());
                        found.push(context.finish().as_ref().try_into().expect("SHA-256 is 32 bytes"));
                    }
                }
                match page.last() {
                    Some(last) if page.len() == STEP => cursor = Some(last.cursor.clone()),
                    _ => break,
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        let mut manifest = Context::new(&SHA256);
        found.iter().for_each(|object| manifest.update(object));
        let manifest = manifest.finish().as_ref().try_into().expect("SHA-256 is 32 bytes");
        Ok(Kept { objects: found.len() as u64, manifest })
    }
}
