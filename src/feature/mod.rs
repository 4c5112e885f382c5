//! FEATURES of a tenant, pure: which are enabled and under which consent, what each bucket is for, and so what may be
//! written and read once the tenant's state has said yes.
//!
//! Called by `tenancy`, which carries changes out, by `store`, which asks before a commit and before a read, and by
//! `sweep`. Promises that only [`Features::enable`] and [`Features::disable`] change whether a feature is on, that a
//! feature is on only under a consent that is not withdrawn, and that disabling changes nothing that enabling does not
//! give back. Must not know storage, keys or HTTP.
//!
//! Source: docs/features.md.

mod lifetime;
mod quota;
#[cfg(test)]
mod tests;

pub use lifetime::{
    EnabledClock, Gap, TTL_DAYS_MAX, TTL_DAYS_STANDARD, Ttl, WATERMARKS_MAX, Watermark, Watermarks, hour_of,
};
pub use quota::Quota;

use crate::model::classes::{Class, Feature, Purpose};
use crate::model::clock::{Reading, Stamp};
use crate::model::ids::BucketId;
use crate::model::time::Millis;

/// Consents of one feature that are kept; beyond it the oldest withdrawn ones go.
pub const CONSENTS_MAX: usize = 64;

/// That somebody agreed.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Consent {
    /// SHA-256 of the text.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub sha256: [u8; 32],
    /// Who recorded it: an administrator's opaque id.
    #[n(1)]
    pub by: String,
    /// When.
    #[n(2)]
    pub at: Stamp,
    /// The classes of data that it names.
    #[n(3)]
    pub classes: Vec<Class>,
    /// When it ended.
    #[n(4)]
    pub withdrawn: Option<Stamp>,
}

/// What there was of a feature when it was disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Kept {
    /// Objects.
    #[n(0)]
    pub objects: u64,
    /// SHA-256 over the list of them.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub manifest: [u8; 32],
}

/// One feature of one tenant.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Setting {
    /// Which.
    #[n(0)]
    pub feature: Feature,
    /// Whether it is on.
    #[n(1)]
    pub enabled: bool,
    /// Since when.
    #[n(2)]
    pub since: Stamp,
    /// The newest last. The newest one is in force while the feature is on.
    #[n(3)]
    pub consents: Vec<Consent>,
    /// How long it has been on altogether: lifetimes are counted in it.
    #[n(4)]
    pub clock: EnabledClock,
    /// Only interactions of messages that are registered as followed are taken.
    #[n(5)]
    pub follow_only: bool,
    /// How long interactions are kept behind their watermark.
    #[n(6)]
    pub ttl: Ttl,
    /// While it is off: what there was.
    #[n(7)]
    pub kept: Option<Kept>,
    /// Objects that came too late, after it was disabled, altogether.
    #[n(8)]
    pub dropped: u64,
}

impl Setting {
    /// The consent in force.
    pub fn consent(&self) -> Option<&Consent> {
        self.consents.last().filter(|consent| consent.withdrawn.is_none())
    }
}

/// What one bucket is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct BucketRules {
    /// The class of objects that name none.
    #[n(0)]
    pub default_class: Option<Class>,
    /// What its data may be used for under a grant.
    #[n(1)]
    pub purposes: Vec<Purpose>,
    /// In the place of the feature's.
    #[n(2)]
    pub ttl: Option<Ttl>,
}

/// What a tenant's row says of its features. A tenant without a row has the default: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Features {
    /// Counts the changes.
    #[n(0)]
    pub revision: u64,
    /// Those that were ever enabled.
    #[n(1)]
    pub settings: Vec<Setting>,
    /// Buckets with rules of their own.
    #[n(2)]
    pub buckets: Vec<(BucketId, BucketRules)>,
    /// How much may be stored in all.
    #[n(3)]
    pub quota: Option<Quota>,
}

/// What somebody asks for with a feature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// SHA-256 of the consent's text.
    pub consent: Option<[u8; 32]>,
    /// The classes that the consent names besides the feature's own.
    pub classes: Vec<Class>,
    /// As in [`Setting::follow_only`]; `None` leaves it, and is `true` at the first time.
    pub follow_only: Option<bool>,
    /// As in [`Setting::ttl`]; `None` leaves it.
    pub ttl: Option<Ttl>,
}

/// Why it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A feature is enabled only with a consent, and disabling it ended the one before.
    #[error("this feature needs a consent that is in force")]
    ConsentRequired,
    /// An object of this class cannot be consented to: it is never stored.
    #[error("the class transient is never stored")]
    NotStorable,
}

/// Why an object is not taken or not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// The class is not on the list.
    UnknownClass,
    /// Never stored.
    NotStorable,
    /// The feature that owns the class is off.
    Disabled(Feature),
    /// A tracked message without its acting user.
    NoActor,
}

impl Features {
    /// One feature, if it was ever enabled.
    pub fn setting(&self, feature: Feature) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.feature == feature)
    }

    /// The same, to be changed.
    pub fn setting_mut(&mut self, feature: Feature) -> Option<&mut Setting> {
        self.settings.iter_mut().find(|setting| setting.feature == feature)
    }

    /// Whether a feature is on.
    pub fn is_on(&self, feature: Feature) -> bool {
        self.setting(feature).is_some_and(|setting| setting.enabled)
    }

    /// Whether anything of this tenant's stands still: a feature was on, and is off.
    pub fn has_frozen(&self) -> bool {
        self.settings.iter().any(|setting| !setting.enabled)
    }

    /// What a bucket is for.
    pub fn bucket(&self, bucket: BucketId) -> Option<&BucketRules> {
        self.buckets.iter().find(|(id, _)| *id == bucket).map(|(_, rules)| rules)
    }

    /// Enables a feature, or changes its terms; `true` when anything changed. `runs`: whether the tenant is in service, so
    /// that lifetimes go on. Errors: `ConsentRequired`.
    pub fn enable(
        &mut self,
        feature: Feature,
        terms: &Terms,
        by: &str,
        runs: bool,
        now: &Reading,
    ) -> Result<bool, Refusal> {
        if terms.classes.contains(&Class::Transient) {
            return Err(Refusal::NotStorable);
        }
        // Its figures may be used wherever its records may.
        let own = Class::ALL.iter().copied().filter(|class| class.feature() == Some(feature) || *class == Class::Kpi);
        let mut classes: Vec<_> = own.chain(terms.classes.iter().copied()).collect();
        classes.sort_unstable();
        classes.dedup();
        let before = self.setting(feature).cloned();
        let mut next = before.clone().unwrap_or_else(|| Setting {
            feature,
            enabled: false,
            since: now.stamp(),
            consents: Vec::new(),
            clock: EnabledClock::default(),
            // Whoever wants everything collected says so, on record.
            follow_only: true,
            ttl: Ttl::default(),
            kept: None,
            dropped: 0,
        });
        match (next.consent(), terms.consent) {
            (None, None) => return Err(Refusal::ConsentRequired),
            (Some(_), None) => {}
            (Some(had), Some(sha256)) if had.sha256 == sha256 && had.classes == classes => {}
            (_, Some(sha256)) => {
                if let Some(last) = next.consents.last_mut() {
                    last.withdrawn.get_or_insert(now.stamp());
                }
                next.consents.push(Consent { sha256, by: by.to_owned(), at: now.stamp(), classes, withdrawn: None });
                let many = next.consents.len().saturating_sub(CONSENTS_MAX);
                next.consents.drain(..many);
            }
        }
        if !next.enabled {
            (next.enabled, next.since, next.kept) = (true, now.stamp(), None);
            if runs {
                next.clock.start(now);
            }
        }
        next.follow_only = terms.follow_only.unwrap_or(next.follow_only);
        next.ttl = terms.ttl.unwrap_or(next.ttl);
        if before.as_ref() == Some(&next) {
            return Ok(false);
        }
        self.settings.retain(|setting| setting.feature != feature);
        self.settings.push(next);
        Ok(true)
    }

    /// Disables a feature: nothing of it is taken or given, its consent ends, its lifetimes stand still. `false` when it
    /// is off already.
    pub fn disable(&mut self, feature: Feature, now: &Reading) -> bool {
        let Some(setting) = self.setting_mut(feature).filter(|setting| setting.enabled) else { return false };
        (setting.enabled, setting.since) = (false, now.stamp());
        setting.clock.stop(now);
        if let Some(consent) = setting.consents.last_mut() {
            consent.withdrawn.get_or_insert(now.stamp());
        }
        true
    }

    /// The tenant went out of service, or is back in it: lifetimes stand still, or go on where their feature is on.
    /// `false` when nothing changed.
    pub fn serve(&mut self, runs: bool, now: &Reading) -> bool {
        let before = self.settings.clone();
        for setting in &mut self.settings {
            match runs && setting.enabled {
                true => setting.clock.start(now),
                false => setting.clock.stop(now),
            }
        }
        self.settings != before
    }

    /// The class of an object to be written into `bucket`: `named` by it, or the bucket's. What it lacks is refused.
    pub fn may_write(&self, bucket: BucketId, named: Option<&str>, has_actor: bool) -> Result<Option<Class>, No> {
        let class = match named {
            Some(word) => Some(Class::parse(word).ok_or(No::UnknownClass)?),
            None => self.bucket(bucket).and_then(|rules| rules.default_class),
        };
        match class {
            Some(Class::Transient) => return Err(No::NotStorable),
            Some(Class::TrackedActivity) if !has_actor => return Err(No::NoActor),
            _ => {}
        }
        self.may_use(class)?;
        Ok(class)
    }

    /// Whether objects of this class are taken and given now.
    pub fn may_use(&self, class: Option<Class>) -> Result<(), No> {
        match class.and_then(Class::feature) {
            Some(feature) if !self.is_on(feature) => Err(No::Disabled(feature)),
            _ => Ok(()),
        }
    }

    /// In how many seconds a stored object of a class with a lifetime has to be looked at again; not positive: its lifetime
    /// is over. `written_ms`: what the clock of its feature showed when it was written. While that clock stands still, a
    /// whole lifetime: whoever lets it go on looks at all of them.
    pub fn look_again_s(
        &self,
        class: Class,
        bucket: BucketId,
        marks: &Watermarks,
        hour: Millis,
        written_ms: i64,
        now: &Reading,
    ) -> Option<i64> {
        let feature = class.feature().filter(|_| class.is_temporary())?;
        let ttl = self.ttl(feature, bucket);
        let clock = self.setting(feature).filter(|setting| setting.enabled).map(|setting| setting.clock);
        let left = match clock.filter(EnabledClock::runs) {
            Some(clock) => marks.left_ms(hour, written_ms, ttl, clock.at(now)),
            None => ttl.millis(),
        };
        // Rounded up: not a moment too early.
        Some(left.saturating_add(999).div_euclid(1000))
    }

    /// Whether a consent in force names the class.
    pub fn is_consented(&self, class: Class) -> bool {
        let consents = self.settings.iter().filter(|setting| setting.enabled).filter_map(Setting::consent);
        consents.into_iter().any(|consent| consent.classes.contains(&class))
    }

    /// How long objects of a temporary class are kept in a bucket, behind their watermark.
    pub fn ttl(&self, feature: Feature, bucket: BucketId) -> Ttl {
        let own = self.bucket(bucket).and_then(|rules| rules.ttl);
        own.or_else(|| self.setting(feature).map(|setting| setting.ttl)).unwrap_or_default()
    }
}
