//! What is due now, read from the due indexes of every served geo and region: the plan's input. Changes nothing.

use super::orphans;
use super::plan::{Candidate, Due, Item, Plan, Why, plan};
use super::run::GeoRooms;
use super::{SweepError, blocking};
use crate::index::DueKey;
use crate::model::atlas::Region;
use crate::model::clock::Reading;
use crate::model::ids::{BucketId, TenantId, UploadId};
use crate::model::time::Millis;
use crate::regions::RegionRoots;
use crate::tenant::{Evidence, State};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Rows of a region's due index read at once.
const STEP: usize = 1000;
/// Rows of one due index read in one sweep; what lies behind them waits for the next.
const DUE_MAX: usize = 1 << 20;

/// What is due now, and what is needed to do it.
#[derive(Default)]
pub(super) struct Found {
    due: Vec<Due>,
    tenants: BTreeMap<TenantId, Candidate>,
    /// Which geo a tenant is of, by its place among the sweeper's.
    pub(super) geo_of: HashMap<TenantId, usize>,
    /// The due row of a tenant.
    pub(super) tenant_rows: HashMap<TenantId, DueKey>,
    /// The due row of an upload, and its region.
    pub(super) upload_rows: HashMap<(TenantId, BucketId, UploadId), (&'static Region, crate::index::Due)>,
    /// Due rows whose upload was completed or aborted.
    pub(super) spent: Vec<(Arc<RegionRoots>, DueKey)>,
    /// When it was looked, by the compliance clock.
    pub(super) now: Millis,
    /// What could not be looked at.
    pub(super) troubles: Vec<String>,
}

impl Found {
    /// Looks everywhere. A geo that cannot be read is reported and hides no other.
    pub(super) async fn look(geos: &[GeoRooms], now: &Reading) -> Self {
        let mut found = Self { now: now.cc_lo, ..Self::default() };
        for (place, rooms) in geos.iter().enumerate() {
            if let Err(error) = found.look_at(place, rooms, now).await {
                let geo = rooms.tenancy.directory.geo().id;
                tracing::warn!(geo, %error, "what is due could not be read");
                found.troubles.push(format!("geo {geo}: what is due could not be read: {error}"));
            }
        }
        found
    }

    /// What a sweep would do.
    pub(super) fn plan(&self, now: &Reading) -> Plan {
        plan(&self.due, &self.tenants, now)
    }

    /// Why each thing that waits does, in words and opaque ids. What goes with its tenant does not wait.
    pub(super) fn waiting(plan: &Plan) -> impl Iterator<Item = String> {
        let waiting = plan.skipped.iter().filter(|skipped| skipped.why != Why::WithItsTenant);
        waiting.map(|skipped| format!("{}: {}", name(&skipped.item), why(skipped.why)))
    }

    async fn look_at(&mut self, place: usize, rooms: &GeoRooms, now: &Reading) -> Result<(), SweepError> {
        let seconds = u64::try_from(now.cc_lo.seconds()).unwrap_or(0);
        for row in rooms.tenancy.directory.due_by(seconds, DUE_MAX).await? {
            if self.enter(place, rooms, row.tenant).await? {
                self.due.push(Due { at: at(row.seconds), item: Item::Tenant(row.tenant) });
            }
            self.tenant_rows.insert(row.tenant, row);
            self.geo_of.insert(row.tenant, place);
        }
        for roots in rooms.regions() {
            self.look_in(place, rooms, &roots, now).await?;
        }
        Ok(())
    }

    async fn look_in(
        &mut self,
        place: usize,
        rooms: &GeoRooms,
        roots: &Arc<RegionRoots>,
        now: &Reading,
    ) -> Result<(), SweepError> {
        let (mut after, mut objects) = (None, None);
        loop {
            let page = roots.index.due(now.cc_lo, after.as_ref(), STEP).await?;
            after = page.last().filter(|_| page.len() == STEP).map(|last| last.key);
            for row in page {
                if row.object().is_some() {
                    if objects.is_none() && self.serves(place, rooms, row.key.tenant).await? {
                        objects = Some(at(row.key.seconds));
                    }
                } else if orphans::is_of_orphans(&row.key) {
                    // Where it stands has changed since.
                    self.spent.extend((row.key.seconds > 0).then_some((roots.clone(), row.key)));
                } else {
                    self.look_at_upload(place, rooms, roots, row).await?;
                }
            }
            if after.is_none() {
                break;
            }
        }
        self.due.extend(objects.map(|at| Due { at, item: Item::Objects(roots.region) }));
        // Never collected: due from now on, so not late.
        let when = orphans::next(roots).await?.unwrap_or(now.cc_lo);
        self.due.push(Due { at: when, item: Item::Orphans(roots.region) });
        Ok(())
    }

    /// Whether a tenant is in service: the lifetimes of all others' objects stand still.
    async fn serves(&mut self, place: usize, rooms: &GeoRooms, id: TenantId) -> Result<bool, SweepError> {
        let known = self.enter(place, rooms, id).await?;
        Ok(known && self.tenants.get(&id).is_some_and(|of| of.standing.state == State::Active))
    }

    async fn look_at_upload(
        &mut self,
        place: usize,
        rooms: &GeoRooms,
        roots: &Arc<RegionRoots>,
        row: crate::index::Due,
    ) -> Result<(), SweepError> {
        let (tenant, seconds) = (row.key.tenant, row.key.seconds);
        let Some((upload, bucket)) = row.upload() else { return Ok(()) };
        let there = roots.index.has_upload(bucket, upload).await?;
        if !there || !self.enter(place, rooms, tenant).await? {
            self.spent.push((roots.clone(), row.key));
            return Ok(());
        }
        self.due.push(Due { at: at(seconds), item: Item::Upload { tenant, bucket, upload } });
        self.upload_rows.insert((tenant, bucket, upload), (roots.region, row));
        Ok(())
    }

    /// Makes a tenant a candidate; whether there is one of this id.
    async fn enter(&mut self, place: usize, rooms: &GeoRooms, id: TenantId) -> Result<bool, SweepError> {
        if self.tenants.contains_key(&id) {
            return Ok(true);
        }
        let Some(entry) = rooms.tenancy.directory.tenant(id).await? else { return Ok(false) };
        let candidate = Candidate { standing: entry.standing.clone(), evidence: evidence(rooms, id).await? };
        self.tenants.insert(id, candidate);
        self.geo_of.insert(id, place);
        Ok(true)
    }
}

/// What the key service says of a tenant that is due.
pub(super) async fn evidence(rooms: &GeoRooms, id: TenantId) -> Result<Evidence, SweepError> {
    let keys = rooms.tenancy.directory.key_service().clone();
    blocking(move || {
        let key_service_agrees = match keys.is_due(id.0) {
            Ok(due) => due,
            Err(crate::seal::KeyError::Unknown) => false,
            Err(error) => return Err(error),
        };
        Ok(Evidence { key_service_agrees, rotation_running: keys.rotation()?.is_some() })
    })
    .await
}

fn at(seconds: u64) -> Millis {
    Millis::from_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// An item in opaque ids.
pub(super) fn name(item: &Item) -> String {
    match item {
        Item::Tenant(id) => format!("tenant {id}"),
        Item::Upload { tenant, upload, .. } => format!("upload {upload} of tenant {tenant}"),
        Item::Objects(region) => format!("objects of {}", region.id),
        Item::Orphans(region) => format!("orphans of {}", region.id),
    }
}

fn why(why: Why) -> &'static str {
    match why {
        Why::Held => "a hold keeps it",
        Why::Frozen => "the tenant is disabled, so lifetimes stand still",
        Why::KeyServiceDisagrees => "the key service's own clock has not reached its due time",
        Why::RotationRunning => "the master key is being rotated",
        Why::WithItsTenant => "it goes with its tenant",
    }
}
