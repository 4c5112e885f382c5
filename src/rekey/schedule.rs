//! Which keys are due for their next version, by their cryptoperiods: age by the compliance clock, and how many records
//! came to hang on the current version. Looks, and keeps what it has to know of versions; begins nothing itself.
//!
//! Since when a root is the current one the key service says. A master key's and an index key's version is remembered
//! from when it was first seen here. Records are counted from then on, too: after a rotation everything that lives hangs
//! on the new version at once, so only what has come since can say that it is time for the next.

use super::RekeyError;
use super::master::blocking;
use super::rooms::Rooms;
use crate::directory::{GEO_LANE, Period};
use crate::model::cryptoperiod::{Cryptoperiod, KeyPolicy};
use crate::model::ids::{BucketId, TenantId};
use crate::model::time::Millis;
use crate::seal::{KeyClient, KeyKind, KeyState, MasterState, ServiceStatus, TenantState, TenantStatus};
use crate::tenant::State;

const DAY_S: i64 = 86_400;

/// A key that has a cryptoperiod.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheduled {
    /// The geo's master key.
    Master,
    /// A tenant's data key.
    Tenant(TenantId),
    /// The root above its data subjects' keys.
    SubjectRoot(TenantId),
    /// The root above its index keys.
    IndexRoot(TenantId),
    /// The index key of a bucket.
    IndexKey(TenantId, BucketId),
}

/// Where the current version of a key stands in its cryptoperiod.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Which key.
    pub on: Scheduled,
    /// Its current version.
    pub version: u32,
    /// Since when, by the compliance clock.
    pub since: Millis,
    /// Records that came to hang on it since they are counted; `None`: they were not counted.
    pub grown: Option<u64>,
    /// For how long it is used.
    pub period: Cryptoperiod,
}

impl Standing {
    /// When its days are over.
    pub fn due_at(&self) -> Option<Millis> {
        self.period.days.map(|days| self.since.plus_seconds(i64::from(days) * DAY_S))
    }

    /// Whether the next version is due.
    pub fn is_due(&self, now: Millis) -> bool {
        let by_records = self.period.records.zip(self.grown).is_some_and(|(most, grown)| grown >= most);
        by_records || self.due_at().is_some_and(|due| now >= due)
    }
}

/// Whether a look counts records, which reads the keys of all rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counting {
    /// It does, and keeps what it has to know for the next look.
    Yes,
    /// It does not; what was never seen is as old as this look.
    No,
}

impl Scheduled {
    /// Whose it is; none: the geo's.
    pub fn tenant(self) -> Option<TenantId> {
        Some(self.place().0).filter(|tenant| *tenant != GEO_LANE)
    }

    /// In whose row it is remembered, and by which id there.
    fn place(self) -> (TenantId, [u8; 16]) {
        let own = |number: u8| {
            let mut id = [0; 16];
            id[15] = number;
            id
        };
        match self {
            Self::Master => (GEO_LANE, own(1)),
            Self::Tenant(tenant) => (tenant, own(2)),
            Self::SubjectRoot(tenant) => (tenant, own(3)),
            Self::IndexRoot(tenant) => (tenant, own(4)),
            Self::IndexKey(tenant, bucket) => (tenant, bucket.0),
        }
    }
}

/// Every key of the geo that has a cryptoperiod, and where it stands. Tenants that are not in service are left out:
/// their keys are withheld, or about to be destroyed.
pub async fn look(
    rooms: &Rooms,
    policy: &KeyPolicy,
    now: Millis,
    counting: Counting,
) -> Result<Vec<Standing>, RekeyError> {
    let status = blocking(rooms.directory.key_service(), KeyClient::status).await?;
    let look = Look { rooms, policy, now, counting };
    let mut found = look.of_geo(&status).await?;
    for tenant in status.tenants.iter().filter(|tenant| tenant.state == TenantState::Active) {
        let id = TenantId(tenant.tenant);
        let entry = rooms.directory.tenant(id).await?;
        if entry.is_some_and(|entry| matches!(entry.standing.state, State::Active | State::Disabled)) {
            found.extend(look.of_tenant(id, tenant).await?);
        }
    }
    Ok(found)
}

struct Look<'a> {
    rooms: &'a Rooms,
    policy: &'a KeyPolicy,
    now: Millis,
    counting: Counting,
}

/// What a look found of a key, before what is remembered of it.
struct Found {
    on: Scheduled,
    version: u32,
    /// When it is known better than from the first look.
    since: Option<Millis>,
    records: Option<u64>,
    period: Cryptoperiod,
}

impl Look<'_> {
    async fn of_geo(&self, status: &ServiceStatus) -> Result<Vec<Standing>, RekeyError> {
        let period = self.policy.master;
        let active = status.masters.iter().find(|(master, _)| master.state == MasterState::Active);
        let found = active.filter(|_| period.is_set()).map(|(master, records)| Found {
            on: Scheduled::Master,
            version: master.name.version,
            since: None,
            records: Some(*records),
            period,
        });
        self.remembered(GEO_LANE, found.into_iter().collect()).await
    }

    async fn of_tenant(&self, id: TenantId, status: &TenantStatus) -> Result<Vec<Standing>, RekeyError> {
        let roots = [
            (KeyKind::Trk, Scheduled::Tenant(id), self.policy.tenant),
            (KeyKind::Srk, Scheduled::SubjectRoot(id), self.policy.subject_root),
            (KeyKind::Tik, Scheduled::IndexRoot(id), self.policy.index_root),
        ];
        let mut found = Vec::new();
        for (kind, on, period) in roots.into_iter().filter(|(_, _, period)| period.is_set()) {
            let active = status.roots.iter().find(|root| root.kind == kind && root.state == KeyState::Active);
            let Some(active) = active else { continue };
            let records = match on {
                Scheduled::Tenant(_) if self.counts(&period) => Some(self.objects(id).await?),
                Scheduled::SubjectRoot(_) => Some(status.subjects),
                _ => None,
            };
            let since = Some(Millis::from_seconds(active.since));
            found.push(Found { on, version: active.name.version, since, records, period });
        }
        if self.policy.index_key.is_set() {
            self.index_keys(id, &mut found).await?;
        }
        self.remembered(id, found).await
    }

    fn counts(&self, period: &Cryptoperiod) -> bool {
        self.counting == Counting::Yes && period.records.is_some()
    }

    async fn objects(&self, tenant: TenantId) -> Result<u64, RekeyError> {
        let mut objects = 0;
        for at in self.rooms.directory.buckets(tenant).await? {
            if let Some(roots) = self.rooms.regions.get(at.region.id) {
                objects += roots.index.count_rows(at.bucket).await?.objects;
            }
        }
        Ok(objects)
    }

    async fn index_keys(&self, tenant: TenantId, found: &mut Vec<Found>) -> Result<(), RekeyError> {
        let period = self.policy.index_key;
        for at in self.rooms.directory.buckets(tenant).await? {
            let Some(roots) = self.rooms.regions.get(at.region.id) else { continue };
            let Some(opened) = self.rooms.directory.open_bucket(&at).await? else { continue };
            let version = opened.index.key.name().version;
            let records = match self.counts(&period) {
                true => Some(roots.index.count_rows(at.bucket).await?.rows),
                false => None,
            };
            found.push(Found { on: Scheduled::IndexKey(tenant, at.bucket), version, since: None, records, period });
        }
        Ok(())
    }

    /// Joins what was found with what is remembered, and remembers what is new. What is not there any more is forgotten.
    async fn remembered(&self, tenant: TenantId, found: Vec<Found>) -> Result<Vec<Standing>, RekeyError> {
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.rooms.directory.periods(tenant).await?;
        let (mut standings, mut periods) = (Vec::new(), Vec::new());
        for Found { on, version, since, records, period } in found {
            let (_, key) = on.place();
            let before = known.iter().find(|before| before.key == key && before.version == version);
            let since = since.or(before.map(|before| before.since)).unwrap_or(self.now);
            let first = before.and_then(|before| before.records).or(records);
            let grown = records.zip(first).map(|(records, first)| records.saturating_sub(first));
            periods.push(Period { key, version, since, records: first });
            standings.push(Standing { on, version, since, grown, period });
        }
        if self.counting == Counting::Yes && periods != known {
            self.rooms.directory.keep_periods(tenant, &periods).await?;
        }
        Ok(standings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(days: Option<u32>, records: Option<u64>, grown: Option<u64>) -> Standing {
        let (on, since) = (Scheduled::Master, Millis::from_seconds(1_000_000));
        Standing { on, version: 1, since, grown, period: Cryptoperiod { days, records } }
    }

    #[test]
    fn a_version_is_due_by_age_or_by_records_whichever_is_first() {
        let at = |days: i64| Millis::from_seconds(1_000_000 + days * DAY_S);
        let by_age = standing(Some(30), None, Some(u64::MAX));
        assert_eq!(by_age.due_at(), Some(at(30)));
        assert!(!by_age.is_due(Millis(at(30).0 - 1)) && by_age.is_due(at(30)));
        let by_records = |grown| standing(None, Some(100), grown);
        assert!(!by_records(Some(99)).is_due(at(9999)) && by_records(Some(100)).is_due(at(0)));
        assert!(!by_records(None).is_due(at(9999)), "what was not counted is not due");
        assert!(standing(Some(30), Some(100), Some(100)).is_due(at(0)));
        assert!(!standing(None, None, Some(1)).is_due(at(9999)));
    }
}
