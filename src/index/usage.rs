//! How much there is of a bucket, counted in the commit of every change: what a quota is held against.
//!
//! Counted are the buckets that somebody asked to be counted ([`RegionIndex::count`]); of others nothing is kept. One row a
//! bucket, `q | bucket | tenant`: two numbers, which name nobody. They count plaintext bytes of versions and of parts of uploads,
//! and versions; a mark of deletion counts nothing. Who forges one makes a quota larger or smaller.
//!
//! Invariants:
//! * a bucket's row is written in the commit of whatever changes its count, so no crash comes between the two;
//! * [`Counts`] holds exactly the rows that stand, and learns of a change after its commit is durable and before whoever asked
//!   for it is answered. Only the writer's thread changes it.
//!
//! A bucket is counted by walking over its rows on the writer's thread: nothing changes meanwhile, and nothing is written in
//! the region. That is once in a bucket's life; a new one is empty.

use super::acts::Act;
use super::anchor::Value;
use super::bucket::OpenBucket;
use super::engine::{Direction, Engine, EngineError, KeyRange};
use super::error::IndexError;
use super::group::Group;
use super::region::RegionIndex;
use super::row_keys::{self, RowKind};
use super::rows::v1::{ObjectRow, PartRow};
use crate::model::ids::{BucketId, TenantId};
use bytes::Bytes;
use parking_lot::RwLock;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Rows read at once when a bucket is counted.
const STEP: usize = 1000;

/// How much there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Plaintext bytes.
    pub bytes: u64,
    /// Versions of objects.
    pub objects: u64,
}

impl Usage {
    /// What a version counts.
    pub(crate) fn of(row: &ObjectRow) -> Self {
        if row.is_object() { Self { bytes: row.size, objects: 1 } } else { Self::default() }
    }

    /// What a part of an upload counts.
    pub(crate) fn of_part(len: u64) -> Self {
        Self { bytes: len, objects: 0 }
    }

    /// Both together; saturates.
    pub fn plus(self, more: Self) -> Self {
        let Self { bytes, objects } = more;
        Self { bytes: self.bytes.saturating_add(bytes), objects: self.objects.saturating_add(objects) }
    }

    /// Without what is gone; saturates.
    pub fn minus(self, gone: Self) -> Self {
        let Self { bytes, objects } = gone;
        Self { bytes: self.bytes.saturating_sub(bytes), objects: self.objects.saturating_sub(objects) }
    }

    fn value(self) -> Value {
        Value::new(Bytes::copy_from_slice(&[self.bytes.to_be_bytes(), self.objects.to_be_bytes()].concat()))
    }

    /// `None`: no such row, which is then as good as none.
    fn of_value(value: &[u8]) -> Option<Self> {
        let (bytes, objects) = value.split_first_chunk::<8>()?;
        let objects = objects.try_into().ok().map(u64::from_be_bytes)?;
        Some(Self { bytes: u64::from_be_bytes(*bytes), objects })
    }
}

/// What is counted of each bucket, and so of each tenant in this region.
#[derive(Default)]
pub(crate) struct Counts(RwLock<Known>);

#[derive(Default)]
struct Known {
    buckets: HashMap<BucketId, (TenantId, Usage)>,
    tenants: HashMap<TenantId, Usage>,
}

impl Counts {
    /// As the rows have it.
    pub(crate) async fn load(engine: &dyn Engine) -> Result<Self, EngineError> {
        let range = KeyRange::prefix(&[RowKind::Usage as u8]);
        let mut known = Known::default();
        for (row_key, value) in engine.scan(range, usize::MAX, Direction::Ascending).await? {
            if let (Some((bucket, tenant)), Some(usage)) = (row_keys::usage_of(&row_key), Usage::of_value(&value)) {
                known.set(bucket, Some((tenant, usage)));
            }
        }
        Ok(Self(RwLock::new(known)))
    }

    pub(crate) fn of(&self, bucket: BucketId) -> Option<Usage> {
        self.0.read().buckets.get(&bucket).map(|(_, usage)| *usage)
    }

    /// After the commit that wrote their rows.
    pub(crate) fn publish(&self, counted: BTreeMap<BucketId, (TenantId, Usage)>) {
        if !counted.is_empty() {
            let mut known = self.0.write();
            counted.into_iter().for_each(|(bucket, counted)| known.set(bucket, Some(counted)));
        }
    }

    pub(crate) fn forget(&self, bucket: BucketId) {
        self.0.write().set(bucket, None);
    }
}

impl Known {
    fn set(&mut self, bucket: BucketId, counted: Option<(TenantId, Usage)>) {
        let before = match counted {
            Some(counted) => self.buckets.insert(bucket, counted),
            None => self.buckets.remove(&bucket),
        };
        if let Some((tenant, usage)) = before {
            let left = self.tenants.entry(tenant).or_default().minus(usage);
            self.tenants.insert(tenant, left);
        }
        if let Some((tenant, usage)) = counted {
            let all = self.tenants.entry(tenant).or_default().plus(usage);
            self.tenants.insert(tenant, all);
        }
    }
}

impl Group<'_> {
    /// Adds what was put to the count of its bucket, and takes off it what is gone; nothing where a bucket is not counted.
    pub(super) fn tally(&mut self, bucket: &OpenBucket, put: Usage, gone: Usage) {
        let drafted = self.counted.get(&bucket.bucket).map(|(_, usage)| *usage);
        if let Some(there) = drafted.or_else(|| self.shared.counts.of(bucket.bucket)) {
            self.counted.insert(bucket.bucket, (bucket.tenant, there.plus(put).minus(gone)));
        }
    }

    /// Whether a bucket's changes are to be told to [`tally`](Self::tally): it is counted.
    pub(super) fn tallies(&self, bucket: BucketId) -> bool {
        self.counted.contains_key(&bucket) || self.shared.counts.of(bucket).is_some()
    }

    /// What parts of uploads count, given their sealed rows.
    pub(super) fn parts_count<'a>(
        &self,
        bucket: &OpenBucket,
        parts: impl IntoIterator<Item = (&'a Bytes, &'a Bytes)>,
    ) -> Result<Usage, IndexError> {
        let mut count = Usage::default();
        for (row_key, value) in parts {
            let part: PartRow = bucket.open(RowKind::Part, row_key, value)?;
            count = count.plus(Usage::of_part(part.segment.len));
        }
        Ok(count)
    }

    /// Begins to count a bucket, unless it is counted. Stands alone in its commit: the engine has all rows.
    pub(super) async fn count(&mut self, bucket: &OpenBucket) -> Result<(), IndexError> {
        if self.tallies(bucket.bucket) {
            return Ok(());
        }
        let (engine, mut count) = (&self.shared.engine, Usage::default());
        for kind in [RowKind::Object, RowKind::Part] {
            let mut range = KeyRange::prefix(&row_keys::of_bucket(kind, bucket.bucket));
            loop {
                let page = engine.scan(range.clone(), STEP, Direction::Ascending).await?;
                if kind == RowKind::Part {
                    count = count.plus(self.parts_count(bucket, page.iter().map(|(at, value)| (at, value)))?);
                } else {
                    for (row_key, value) in &page {
                        count = count.plus(Usage::of(&bucket.open(RowKind::Object, row_key, value)?));
                    }
                }
                match page.last() {
                    Some((last, _)) if page.len() == STEP => range = range.behind(last),
                    _ => break,
                }
            }
        }
        self.counted.insert(bucket.bucket, (bucket.tenant, count));
        Ok(())
    }

    /// Writes the rows of what this group counted.
    pub(crate) fn write_counts(&mut self) {
        let rows =
            self.counted.iter().map(|(bucket, (tenant, usage))| (row_keys::usage(*bucket, *tenant), usage.value()));
        for (row_key, value) in rows.collect::<Vec<_>>() {
            self.write(row_key, Some(value));
        }
    }
}

impl RegionIndex {
    /// Sees to it that a bucket is counted, from here on for good. The first time all of it is read, and nothing is written in
    /// the region meanwhile.
    pub async fn count(&self, bucket: &Arc<OpenBucket>) -> Result<(), IndexError> {
        loop {
            if self.shared.counts.of(bucket.bucket).is_some() {
                return Ok(());
            }
            let keyed = self.shared.keyed.newest(bucket);
            match self.submit(|reply| Act::Count { bucket: keyed, reply }).await {
                Err(IndexError::Rekeyed) => {}
                done => return done,
            }
        }
    }

    /// What there is of a bucket, if it is counted.
    pub fn usage(&self, bucket: BucketId) -> Option<Usage> {
        self.shared.counts.of(bucket)
    }

    /// What there is of a tenant in this region, in those of its buckets that are counted.
    pub fn usage_of_tenant(&self, tenant: TenantId) -> Usage {
        self.shared.counts.0.read().tenants.get(&tenant).copied().unwrap_or_default()
    }
}
