//! What a matter covers now: counted by its scope, never by reading what is not meant where that can be helped. A
//! bucket, a prefix and one object go by their names; a data subject goes by the places of its objects.

use super::HoldError;
use crate::directory::OpenedBucket;
use crate::index::VersionsQuery;
use crate::index::rows::v1::ObjectRow;
use crate::model::atlas::Region;
use crate::model::ids::{BucketId, ObjectId, TenantId, VersionId};
use crate::model::limits::LIST_MAX;
use crate::model::names::{BucketName, ObjectName, SubjectName};
use crate::model::time::Millis;
use crate::model::versioning::VersionAsked;
use crate::regions::RegionRoots;
use crate::tenancy::Tenancy;
use crate::tenant::holds::{Matter, Scope, Target};
use std::collections::HashSet;
use std::sync::Arc;

/// Places read at once.
const STEP: usize = 256;
/// Most of the covered objects that are named one by one.
const NAMED_MAX: usize = 100;

/// What a matter covers now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    /// Objects, every version of each.
    pub objects: u64,
    /// When the newest of them was written.
    pub newest: Option<Millis>,
    /// The first of them, at most 100.
    pub first: Vec<CoveredObject>,
}

/// One version of an object that a matter covers, by opaque ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoveredObject {
    /// Its bucket.
    pub bucket: BucketId,
    /// The object.
    pub object: ObjectId,
    /// Its version.
    pub version: VersionId,
    /// Its region.
    pub region: &'static Region,
}

impl Covered {
    fn add_row(&mut self, matter: &Matter, bucket: &OpenedBucket, row: &ObjectRow) {
        if row.is_object() {
            self.add(matter, bucket, row, &[]);
        }
    }

    fn add(&mut self, matter: &Matter, bucket: &OpenedBucket, row: &ObjectRow, subjects: &[&str]) {
        let (at, name, written) = (bucket.at.name.as_str(), row.name.as_str(), row.mtime);
        if !matter.keeps(&Target { bucket: at, name, subjects, written }) {
            return;
        }
        self.objects += 1;
        self.newest = self.newest.max(Some(written));
        if self.first.len() < NAMED_MAX {
            let (object, version) = (row.object_id, row.version_id);
            self.first.push(CoveredObject { bucket: bucket.at.bucket, object, version, region: bucket.at.region });
        }
    }
}

type Stock = (Arc<RegionRoots>, Arc<OpenedBucket>);

/// Counts what `matter` covers. Errors: `RegionNotServed` when something of it may lie where we cannot look.
pub async fn covered(tenancy: &Tenancy, tenant: TenantId, matter: &Matter) -> Result<Covered, HoldError> {
    let mut covered = Covered::default();
    match &matter.scope {
        Scope::Tenant => {
            for stock in stocks(tenancy, tenant).await? {
                by_rows(&stock, matter, &mut covered).await?;
            }
        }
        Scope::Bucket { bucket } => {
            if let Some(stock) = stock(tenancy, tenant, bucket).await? {
                by_rows(&stock, matter, &mut covered).await?;
            }
        }
        Scope::Prefix { bucket, prefix } => {
            if let Some(stock) = stock(tenancy, tenant, bucket).await? {
                by_prefix(&stock, prefix, matter, &mut covered).await?;
            }
        }
        Scope::Object { bucket, name } => {
            let (stock, name) = (stock(tenancy, tenant, bucket).await?, ObjectName::parse(name.clone()));
            if let (Some((roots, bucket)), Ok(name)) = (stock, name) {
                for row in roots.index.versions_of(&bucket.index, &name, None, usize::MAX).await? {
                    covered.add_row(matter, &bucket, &row);
                }
            }
        }
        Scope::Subject { subject } => {
            if let Ok(subject) = SubjectName::parse(subject) {
                by_places(tenancy, tenant, &subject, matter, &mut covered).await?;
            }
        }
    }
    Ok(covered)
}

async fn by_rows((roots, bucket): &Stock, matter: &Matter, covered: &mut Covered) -> Result<(), HoldError> {
    let (mut cursor, mut seen) = (None, HashSet::new());
    loop {
        let page = roots.index.scan_objects(&bucket.index, cursor.as_ref(), STEP).await?;
        for scanned in &page {
            // One that is superseded meanwhile may be met twice.
            if scanned.row.is_current() || seen.insert(scanned.row.version_id) {
                covered.add_row(matter, bucket, &scanned.row);
            }
        }
        match page.last() {
            Some(last) if page.len() == STEP => cursor = Some(last.cursor.clone()),
            _ => return Ok(()),
        }
    }
}

async fn by_prefix(stock: &Stock, prefix: &str, matter: &Matter, covered: &mut Covered) -> Result<(), HoldError> {
    let (roots, bucket) = stock;
    // All versions, those too that a hold alone keeps.
    let prefix = prefix.to_owned();
    let mut query = VersionsQuery { prefix, delimiter: None, after: None, limit: LIST_MAX, hidden: true };
    loop {
        let page = roots.index.list_versions(&bucket.index, &query).await?;
        page.versions.iter().for_each(|row| covered.add_row(matter, bucket, row));
        match page.last {
            Some(last) if page.truncated => query.after = Some(last),
            _ => return Ok(()),
        }
    }
}

async fn by_places(
    tenancy: &Tenancy,
    tenant: TenantId,
    subject: &SubjectName,
    matter: &Matter,
    covered: &mut Covered,
) -> Result<(), HoldError> {
    let directory = &tenancy.directory;
    if directory.subject(tenant, subject).await?.is_none() {
        return Ok(());
    }
    let stocks = stocks(tenancy, tenant).await?;
    let keys = directory.keys(tenant).await.map_err(crate::directory::DirectoryError::from)?;
    // From the oldest live version of the index root to the active one: places move only in this direction, and one may
    // be met twice.
    let mut tokens: Vec<_> = keys.subject_tokens(subject.as_str().as_bytes()).collect();
    tokens.reverse();
    let (mut seen, names) = (HashSet::new(), [subject.as_str()]);
    let of_geo = directory.geo().regions.iter();
    for roots in of_geo.filter_map(|region| tenancy.regions.get(region.id)) {
        for token in &tokens {
            let mut after = None;
            loop {
                let places = roots.index.subject_places(&keys, *token, after.as_ref(), STEP).await?;
                for (at, row) in &places {
                    let Some((_, bucket)) = stocks.iter().find(|(_, bucket)| bucket.at.bucket == at.bucket) else {
                        continue;
                    };
                    let Ok(name) = ObjectName::parse(row.name.clone()) else { continue };
                    let version = VersionAsked::Id(at.version);
                    let found = roots.index.find_version(&bucket.index, &name, version).await?;
                    if let Some(found) = found.map(|found| found.row).filter(|_| seen.insert((at.bucket, at.version))) {
                        covered.add(matter, bucket, &found, &names);
                    }
                }
                match places.last() {
                    Some((last, _)) if places.len() == STEP => after = Some(*last),
                    _ => break,
                }
            }
        }
    }
    Ok(())
}

async fn stocks(tenancy: &Tenancy, tenant: TenantId) -> Result<Vec<Stock>, HoldError> {
    let mut stocks = Vec::new();
    for at in tenancy.directory.buckets(tenant).await? {
        let roots = tenancy.regions.get(at.region.id).ok_or(HoldError::RegionNotServed(at.region.id))?;
        if let Some(bucket) = tenancy.directory.open_bucket(&at).await? {
            stocks.push((roots.clone(), bucket));
        }
    }
    Ok(stocks)
}

async fn stock(tenancy: &Tenancy, tenant: TenantId, bucket: &str) -> Result<Option<Stock>, HoldError> {
    let Ok(name) = BucketName::parse(bucket) else { return Ok(None) };
    let Some(at) = tenancy.directory.bucket(tenant, &name).await? else { return Ok(None) };
    let roots = tenancy.regions.get(at.region.id).ok_or(HoldError::RegionNotServed(at.region.id))?;
    Ok(tenancy.directory.open_bucket(&at).await?.map(|bucket| (roots.clone(), bucket)))
}
