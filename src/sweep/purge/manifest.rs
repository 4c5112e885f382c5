//! What there was, before anything is deleted: listed, hashed, counted, noted.

use super::Purge;
use crate::audit::{Event as Record, Hash};
use crate::index::IndexError;
use crate::model::ids::BucketId;
use crate::pace::Pace;
use crate::seal;
use crate::sweep::SweepError;
use crate::sweep::inventory::{MissingList, Stock, blobs_of_tenant};
use crate::sweep::note::{Bucket, Note};
use std::collections::BTreeMap;

impl Purge<'_> {
    pub(super) async fn manifest(&self) -> Result<Note, SweepError> {
        let directory = &self.rooms.tenancy.directory;
        let note = match Note::read(directory, self.id).await? {
            Some(note) => note,
            None => {
                let note = self.take_manifest().await?;
                note.keep(directory, self.id).await?;
                note
            }
        };
        let taken = Record::ManifestTaken {
            tenant: self.id,
            objects: note.objects,
            blobs: note.blobs,
            bytes: note.bytes,
            manifest: Hash(note.manifest),
        };
        // What a region that was out of reach adds later is counted, but was not listed.
        if note.ended.is_none() && note.shredded.is_none() {
            self.log_once(&note, taken).await?;
        }
        Ok(note)
    }

    /// The list is hashed, not kept: `b` bucket; `o` object, version, size, segments; `u` upload; `p` number, segment.
    /// Source: docs/retention.md, "The manifest".
    async fn take_manifest(&self) -> Result<Note, SweepError> {
        let directory = &self.rooms.tenancy.directory;
        let mut note = Note {
            log_from: self.rooms.tenancy.audit.head().entries,
            buckets: Vec::new(),
            manifest: [0; 32],
            objects: 0,
            versions: 0,
            parts: 0,
            blobs: 0,
            bytes: 0,
            shredded: None,
            ended: None,
        };
        for at in directory.buckets(self.id).await? {
            let counted = self.rooms.tenancy.regions.contains_key(at.region.id);
            note.buckets.push(Bucket { id: at.bucket, region: at.region.id.to_owned(), counted });
        }
        note.buckets.sort_by_key(|bucket| bucket.id);
        let mut list = ring::digest::Context::new(&ring::digest::SHA256);
        let mut pace = self.rooms.pace();
        for stock in self.stocks().await? {
            list.update(b"b");
            list.update(&stock.bucket.at.bucket.0);
            match self.list_bucket(&stock, &mut note, &mut list, &mut pace).await {
                Err(SweepError::Integrity | SweepError::Index(IndexError::Damaged(_))) => {
                    // A damaged row must not keep its tenant for ever: it is counted as it lies, and goes all the same.
                    tracing::error!(bucket = %stock.bucket.at.bucket, "a damaged row is destroyed unread");
                    list.update(b"!");
                }
                other => other?,
            }
            let raw = stock.roots.index.raw_rows_at(stock.bucket.at.bucket, &mut pace).await?;
            (note.objects, note.versions) = (note.objects + raw.names, note.versions + raw.objects);
            (note.parts, note.bytes) = (note.parts + raw.parts, note.bytes + raw.bytes);
        }
        note.manifest = list.finish().as_ref().try_into().expect("SHA-256 is 32 bytes");
        Ok(note)
    }

    /// Adds one bucket to the list, and its blobs to the counts; rows are counted as the engine has them.
    async fn list_bucket(
        &self,
        stock: &Stock,
        note: &mut Note,
        list: &mut ring::digest::Context,
        pace: &mut Pace,
    ) -> Result<(), SweepError> {
        let mut blobs = |len: u64| {
            note.blobs += 1;
            note.bytes += seal::sealed_len(len);
        };
        let mut cursor = None;
        loop {
            let (objects, next) = stock.objects(cursor.as_ref(), MissingList::Fails, pace).await?;
            for object in &objects {
                list.update(b"o");
                list.update(&object.row.object_id.0);
                list.update(&object.row.version_id.0);
                list.update(&object.row.size.to_be_bytes());
                object.row.segments.iter().for_each(|segment| list.update(&segment.id.0));
                object.blobs.iter().for_each(|segment| blobs(segment.len));
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        for (upload, parts) in stock.uploads(pace).await? {
            list.update(b"u");
            list.update(&upload.upload_id.0);
            for part in parts {
                list.update(b"p");
                list.update(&part.number.to_be_bytes());
                list.update(&part.segment.id.0);
                blobs(part.segment.len);
            }
        }
        Ok(())
    }

    /// A region that was out of reach when the manifest was taken is counted when it is back, before it is emptied.
    pub(super) async fn count_late_regions(&self, note: &mut Note) -> Result<(), SweepError> {
        let mut back: BTreeMap<String, Vec<BucketId>> = BTreeMap::new();
        for bucket in &mut note.buckets {
            if !bucket.counted && self.rooms.tenancy.regions.contains_key(bucket.region.as_str()) {
                bucket.counted = true;
                back.entry(bucket.region.clone()).or_default().push(bucket.id);
            }
        }
        if back.is_empty() {
            return Ok(());
        }
        let mut pace = self.rooms.pace();
        for (region, buckets) in back {
            let Some(roots) = self.roots(&region) else { continue };
            for bucket in buckets {
                let raw = roots.index.raw_rows_at(bucket, &mut pace).await?;
                (note.objects, note.versions) = (note.objects + raw.names, note.versions + raw.objects);
                (note.parts, note.bytes) = (note.parts + raw.parts, note.bytes + raw.bytes);
            }
            for (_, len) in blobs_of_tenant(&roots.blobs, self.id, &mut pace).await? {
                (note.blobs, note.bytes) = (note.blobs + 1, note.bytes + len);
            }
        }
        note.keep(&self.rooms.tenancy.directory, self.id).await
    }
}
