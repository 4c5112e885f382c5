//! Features of a tenant, between the admin face and the conductor.

use super::acts::HouseActs;
use super::house::{GeoRoom, House};
use super::tenants::{FoundTenant, act_error, actor, find};
use crate::admin::acts::{Mode, Order, Outcome, TenantRef};
use crate::admin::error::ActError;
use crate::admin::features::{
    BucketChange, Captured, Compared, FeatureActs, Followed, RecordedConsent, ShownBucketRules, TenantFeature,
    Unfollowed,
};
use crate::admin::grants::{GrantAsked, Grants, NewGrant, ShownGrant};
use crate::admin::quotas::{Quota, SetQuota};
use crate::admin::wire::{Plan, Time};
use crate::audit::Hash;
use crate::directory::LoginEntry;
use crate::feature::{Features, Kept, Terms};
use crate::model::classes::{Class, Feature, Purpose};
use crate::model::ids::TenantId;
use crate::model::names::{AccessId, BucketName};
use crate::model::object::BucketRef;
use crate::tenancy::{self, Tenancy};
use std::sync::Arc;
use std::time::Duration;

/// Between two times that counts of late objects go to disk: what a crash may lose of them.
const COUNTS: Duration = Duration::from_secs(5);

/// Keeps the counts of what came too late for a disabled feature, for as long as the server runs.
pub(super) async fn keep_counts(house: Arc<House>) {
    let mut look = tokio::time::interval(COUNTS);
    loop {
        look.tick().await;
        for room in &house.geos {
            keep_count(room).await;
        }
    }
}

/// The same, once.
pub(super) async fn keep_count(room: &GeoRoom) {
    if let Err(error) = room.directory.keep_dropped().await {
        tracing::warn!(geo = room.geo.id, %error, "how much came too late is not kept yet");
    }
}

#[async_trait::async_trait]
impl FeatureActs for HouseActs {
    async fn feature(&self, tenant: &TenantRef, feature: Feature) -> Result<TenantFeature, ActError> {
        let FoundTenant { tenancy, entry } = find(self, tenant).await?;
        let id = entry.standing.id;
        let features = tenancy.directory.features(id).await.map_err(|error| act_error(error.into()))?;
        Ok(shown(&tenancy, id, &features, feature))
    }

    async fn enable(
        &self,
        order: &Order,
        tenant: &TenantRef,
        feature: Feature,
        terms: Terms,
    ) -> Result<Outcome<TenantFeature>, ActError> {
        let FoundTenant { tenancy, entry } = find(self, tenant).await?;
        let (id, by) = (entry.standing.id, actor(order));
        if order.mode == Mode::Plan {
            let features = tenancy.directory.features(id).await.map_err(|error| act_error(error.into()))?;
            let mut next = Features::clone(&features);
            let changes = next.enable(feature, &terms, by.as_str(), true, &tenancy.clock.now());
            let steps = match changes.map_err(|refusal| act_error(refusal.into()))? {
                true => vec!["log it".to_owned(), format!("record the consent; {feature} is on under these terms")],
                false => vec!["nothing changes".to_owned()],
            };
            return Ok(Outcome::Planned(Plan { steps, ..Plan::default() }));
        }
        let enabled = tenancy.enable_feature(&by, id, feature, &terms, order.expect).await.map_err(act_error)?;
        let compared = enabled.compared.map(|(kept, found)| compared(&kept, &found));
        Ok(Outcome::Done(TenantFeature { compared, ..shown(&tenancy, id, &enabled.features, feature) }))
    }

    async fn disable(
        &self,
        order: &Order,
        tenant: &TenantRef,
        feature: Feature,
        reason: &str,
    ) -> Result<Outcome<TenantFeature>, ActError> {
        let FoundTenant { tenancy, entry } = find(self, tenant).await?;
        let id = entry.standing.id;
        if order.mode == Mode::Plan {
            let features = tenancy.directory.features(id).await.map_err(|error| act_error(error.into()))?;
            let steps = match features.is_on(feature) {
                true => vec![
                    "log it".to_owned(),
                    "withdraw the consent; its classes are refused from the next request on".to_owned(),
                    "lifetimes stand still; what there is is listed".to_owned(),
                ],
                false => vec!["nothing changes".to_owned()],
            };
            return Ok(Outcome::Planned(Plan { steps, ..Plan::default() }));
        }
        let kept = tenancy.directory.keep_words(id, reason).await.map_err(|error| act_error(error.into()))?;
        let reason = Some(Hash(kept));
        let disabled = tenancy.disable_feature(&actor(order), id, feature, reason, order.expect).await;
        let features = disabled.map_err(act_error)?;
        Ok(Outcome::Done(shown(&tenancy, id, &features, feature)))
    }

    async fn follow(
        &self,
        order: &Order,
        tenant: &TenantRef,
        messages: Vec<String>,
    ) -> Result<Outcome<Followed>, ActError> {
        let FoundTenant { tenancy, entry } = find(self, tenant).await?;
        if order.mode == Mode::Plan {
            let steps = vec!["log it".to_owned(), format!("register {} messages as followed", messages.len())];
            return Ok(Outcome::Planned(Plan { steps, ..Plan::default() }));
        }
        let added = tenancy.follow(&actor(order), entry.standing.id, &messages).await.map_err(act_error)?;
        Ok(Outcome::Done(Followed { followed: messages.len() as u64, added }))
    }

    async fn unfollow(
        &self,
        order: &Order,
        tenant: &TenantRef,
        messages: Vec<String>,
    ) -> Result<Outcome<Unfollowed>, ActError> {
        let FoundTenant { tenancy, entry } = find(self, tenant).await?;
        if order.mode == Mode::Plan {
            let steps = vec!["log it".to_owned(), format!("{} messages are followed no more", messages.len())];
            return Ok(Outcome::Planned(Plan { steps, ..Plan::default() }));
        }
        let removed = tenancy.unfollow(&actor(order), entry.standing.id, &messages).await.map_err(act_error)?;
        Ok(Outcome::Done(Unfollowed { removed }))
    }

    async fn capture(
        &self,
        order: &Order,
        tenant: &TenantRef,
        user: &str,
        on: bool,
    ) -> Result<Outcome<Captured>, ActError> {
        let FoundTenant { tenancy, entry } = find(self, tenant).await?;
        if order.mode == Mode::Plan {
            let steps = vec!["log it".to_owned(), "set the user's preference".to_owned()];
            return Ok(Outcome::Planned(Plan { steps, ..Plan::default() }));
        }
        tenancy.capture(&actor(order), entry.standing.id, user, on).await.map_err(act_error)?;
        Ok(Outcome::Done(Captured { on }))
    }

    async fn create_grant(
        &self,
        order: &Order,
        tenant: &TenantRef,
        asked: GrantAsked,
    ) -> Result<Outcome<NewGrant>, ActError> {
        let FoundTenant { tenancy, entry } = find(self, tenant).await?;
        if order.mode == Mode::Plan {
            let steps = vec!["make a login that ends by itself, and show its secret once".to_owned()];
            return Ok(Outcome::Planned(Plan { steps, ..Plan::default() }));
        }
        let GrantAsked { purpose, classes, buckets, seconds } = asked;
        let new = tenancy::NewGrant { purpose, classes, buckets, seconds };
        let made = tenancy.create_grant(&actor(order), entry.standing.id, new).await.map_err(act_error)?;
        let until = made.grant.as_ref().map(|grant| grant.until).ok_or(ActError::Broken)?;
        Ok(Outcome::Done(NewGrant {
            access_id: made.access_id.as_str().to_owned(),
            secret: made.secret.to_string(),
            region: entry.standing.home.clone(),
            until: Time(until),
        }))
    }

    async fn grants(&self, tenant: &TenantRef) -> Result<Grants, ActError> {
        let FoundTenant { tenancy, entry } = find(self, tenant).await?;
        let id = entry.standing.id;
        let logins = tenancy.directory.logins(id).await.map_err(|error| act_error(error.into()))?;
        let buckets = tenancy.directory.buckets(id).await.map_err(|error| act_error(error.into()))?;
        let shown = logins.iter().filter_map(|login| shown_grant(&tenancy, &buckets, login));
        Ok(Grants { grants: shown.collect() })
    }

    async fn revoke_grant(
        &self,
        order: &Order,
        tenant: &TenantRef,
        login: &AccessId,
    ) -> Result<Outcome<ShownGrant>, ActError> {
        let FoundTenant { tenancy, entry } = find(self, tenant).await?;
        let id = entry.standing.id;
        let logins = tenancy.directory.logins(id).await.map_err(|error| act_error(error.into()))?;
        if !logins.iter().any(|had| had.access_id == *login && had.grant.is_some()) {
            return Err(ActError::NoSuchCredential);
        }
        if order.mode == Mode::Plan {
            let steps = vec!["the grant is refused from the next request on".to_owned()];
            return Ok(Outcome::Planned(Plan { steps, ..Plan::default() }));
        }
        let revoked = tenancy.revoke_login(&actor(order), id, login).await.map_err(act_error)?;
        let buckets = tenancy.directory.buckets(id).await.map_err(|error| act_error(error.into()))?;
        shown_grant(&tenancy, &buckets, &revoked).map(Outcome::Done).ok_or(ActError::Broken)
    }

    async fn set_quota(&self, order: &Order, tenant: &TenantRef, quota: SetQuota) -> Result<Outcome<Quota>, ActError> {
        super::quotas::set(self, order, tenant, quota).await
    }

    async fn bucket_rules(&self, tenant: &TenantRef, name: &BucketName) -> Result<ShownBucketRules, ActError> {
        let FoundTenant { tenancy, entry } = find(self, tenant).await?;
        shown_bucket(&tenancy, entry.standing.id, name).await
    }

    async fn set_bucket_rules(
        &self,
        order: &Order,
        tenant: &TenantRef,
        name: &BucketName,
        change: BucketChange,
    ) -> Result<Outcome<ShownBucketRules>, ActError> {
        let FoundTenant { tenancy, entry } = find(self, tenant).await?;
        let id = entry.standing.id;
        if order.mode == Mode::Plan {
            shown_bucket(&tenancy, id, name).await?;
            let steps = vec!["log it".to_owned(), "write the bucket's rules".to_owned()];
            return Ok(Outcome::Planned(Plan { steps, ..Plan::default() }));
        }
        let by = actor(order);
        let set = tenancy.set_bucket_rules(&by, id, name, |rules| {
            rules.default_class = change.default_class.unwrap_or(rules.default_class);
            if let Some(mut purposes) = change.purposes {
                purposes.sort_unstable();
                purposes.dedup();
                rules.purposes = purposes;
            }
            rules.ttl = change.ttl.or(rules.ttl);
        });
        set.await.map_err(act_error)?;
        Ok(Outcome::Done(shown_bucket(&tenancy, id, name).await?))
    }
}

fn shown_grant(tenancy: &Tenancy, buckets: &[Arc<BucketRef>], login: &LoginEntry) -> Option<ShownGrant> {
    let grant = login.grant.as_ref()?;
    let reached = buckets.iter().filter(|at| grant.buckets.contains(&at.bucket));
    Some(ShownGrant {
        access_id: login.access_id.as_str().to_owned(),
        purpose: grant.purpose.to_string(),
        classes: grant.classes.iter().map(Class::to_string).collect(),
        buckets: reached.map(|at| at.name.as_str().to_owned()).collect(),
        created_at: Time(login.created),
        until: Time(grant.until),
        revoked_at: login.revoked.map(Time),
        good: login.revoked.is_none() && !tenancy.clock.now().ended(grant.until),
    })
}

async fn shown_bucket(tenancy: &Tenancy, id: TenantId, name: &BucketName) -> Result<ShownBucketRules, ActError> {
    let look = async {
        let Some(at) = tenancy.directory.bucket(id, name).await? else { return Ok(None) };
        let features = tenancy.directory.features(id).await?;
        Ok(Some((at.bucket, features, tenancy.directory.watermarks(id, at.bucket).await?)))
    };
    let found = look.await.map_err(|error: crate::directory::DirectoryError| act_error(error.into()))?;
    let (bucket, features, watermarks) = found.ok_or(ActError::NoSuchBucket)?;
    let rules = features.bucket(bucket).cloned().unwrap_or_default();
    Ok(ShownBucketRules {
        bucket: name.as_str().to_owned(),
        default_class: rules.default_class.map(|class| class.to_string()),
        purposes: rules.purposes.iter().map(Purpose::to_string).collect(),
        ttl_days: features.ttl(Feature::EmailEngagement, bucket).days(),
        watermark: watermarks.stands().map(Time),
    })
}

fn compared(kept: &Kept, found: &Kept) -> Compared {
    Compared {
        objects: kept.objects,
        missing: kept.objects.saturating_sub(found.objects),
        manifest_sha256: hex::encode(kept.manifest),
        same: kept == found,
    }
}

fn shown(tenancy: &Tenancy, id: TenantId, features: &Features, feature: Feature) -> TenantFeature {
    let setting = features.setting(feature);
    let kept = setting.and_then(|setting| setting.kept.filter(|_| !setting.enabled));
    let consents = setting.map(|setting| &setting.consents[..]).unwrap_or_default().iter();
    TenantFeature {
        feature: feature.to_string(),
        enabled: features.is_on(feature),
        revision: features.revision,
        since: setting.map(|setting| Time(setting.since.wall)),
        objects: kept.map(|kept| kept.objects),
        manifest_sha256: kept.map(|kept| hex::encode(kept.manifest)),
        ttl_frozen: setting.is_some_and(|setting| !setting.clock.runs()),
        follow_only: setting.is_some_and(|setting| setting.follow_only),
        ttl_days: setting.map(|setting| setting.ttl).unwrap_or_default().days(),
        consents: consents
            .map(|consent| RecordedConsent {
                sha256: hex::encode(consent.sha256),
                by: consent.by.clone(),
                at: Time(consent.at.wall),
                classes: consent.classes.iter().map(Class::to_string).collect(),
                withdrawn_at: consent.withdrawn.map(|at| Time(at.wall)),
            })
            .collect(),
        dropped: setting.map_or(0, |setting| setting.dropped).saturating_add(tenancy.directory.dropped(id)),
        compared: None,
    }
}
