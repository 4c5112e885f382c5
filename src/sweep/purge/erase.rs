//! Everything is deleted, by its rows; then looked for again, by what the stores themselves say.

use super::Purge;
use crate::audit::Event as Record;
use crate::index::IndexError;
use crate::pace::Pace;
use crate::regions::RegionRoots;
use crate::sweep::SweepError;
use crate::sweep::certificate::Listing;
use crate::sweep::inventory::{MissingList, Stock, blobs_of_tenant, delete_blobs};
use crate::sweep::note::Note;
use crate::tenant::Refusal;
use std::collections::BTreeSet;

/// How often what a listing still found is deleted before the purge is put off.
pub(super) const LISTINGS_MAX: usize = 3;

impl Purge<'_> {
    pub(super) async fn delete(&self, note: &mut Note) -> Result<(), SweepError> {
        let (directory, mut pace) = (&self.rooms.tenancy.directory, self.rooms.pace());
        self.count_late_regions(note).await?;
        // Without blobs in the list a second walk over every row would find none; the next look finds what the list missed.
        let stocks = if note.blobs == 0 { Vec::new() } else { self.stocks().await? };
        for stock in stocks {
            match self.delete_blobs(&stock, &mut pace).await {
                // The next look goes by the blobs' own headers and finds what a damaged row hides.
                Err(SweepError::Integrity | SweepError::Index(IndexError::Damaged(_))) => {}
                other => other?,
            }
        }
        for bucket in &note.buckets {
            if let Some(roots) = self.roots(&bucket.region) {
                roots.index.drop_bucket_rows_at(bucket.id, &mut pace).await?;
            }
        }
        for roots in self.rooms.regions() {
            let due = roots.index.due_of_tenant_at(self.id, &mut pace).await?;
            roots.index.remove_due_at(&due, &mut pace).await?;
            roots.index.drop_subject_places(self.id, &mut pace).await?;
        }
        directory.bury_tenant_at(self.id, &mut pace).await?;
        Ok(())
    }

    async fn delete_blobs(&self, stock: &Stock, pace: &mut Pace) -> Result<(), SweepError> {
        let mut cursor = None;
        loop {
            let (objects, next) = stock.objects(cursor.as_ref(), MissingList::MeansDeleted, pace).await?;
            // Parts before the list that names them: cut off in between, the list is still there.
            let (mut first, mut last) = (Vec::new(), Vec::new());
            for object in &objects {
                let (list, parts) = match object.blobs.split_last() {
                    Some((list, parts)) => (Some(list), parts),
                    None => (None, &[][..]),
                };
                first.extend(parts.iter().map(|segment| segment.id));
                last.extend(list.map(|segment| segment.id));
            }
            delete_blobs(&stock.roots.blobs, &first, pace).await?;
            delete_blobs(&stock.roots.blobs, &last, pace).await?;
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        for (_, parts) in stock.uploads(pace).await? {
            let parts: Vec<_> = parts.iter().map(|part| part.segment.id).collect();
            delete_blobs(&stock.roots.blobs, &parts, pace).await?;
        }
        Ok(())
    }

    /// Deletes blobs of the tenant that no row named: of a put that a crash cut off, or hidden by a damaged row.
    async fn delete_strays(&self) -> Result<(), SweepError> {
        let mut pace = self.rooms.pace();
        for roots in self.rooms.regions() {
            let strays = blobs_of_tenant(&roots.blobs, self.id, &mut pace).await?;
            let strays: Vec<_> = strays.into_iter().map(|(id, _)| id).collect();
            delete_blobs(&roots.blobs, &strays, &mut pace).await?;
        }
        Ok(())
    }

    /// Looks at every served region of the geo, by ids and headers alone.
    pub(super) async fn list_again(&self, note: &Note, missing: &BTreeSet<String>) -> Result<Vec<Listing>, SweepError> {
        let mut left = 0;
        for _ in 0..LISTINGS_MAX {
            let mut listings = Vec::new();
            left = self.rooms.tenancy.directory.rows_of_tenant(self.id).await?;
            for roots in self.rooms.regions() {
                let listing = self.list_region(note, &roots).await?;
                left += listing.rows_left + listing.blobs_left;
                listings.push(listing);
            }
            if left == 0 {
                self.log_once(note, Record::PurgeListed { tenant: self.id, left: 0 }).await?;
                let unreached = missing.iter().map(|region| Listing {
                    region: region.clone(),
                    rows_left: 0,
                    blobs_left: 0,
                    reached: false,
                });
                listings.extend(unreached);
                return Ok(listings);
            }
            self.delete_strays().await?;
        }
        self.log(Record::PurgeListed { tenant: self.id, left }).await?;
        Err(Refusal::SomethingLeft(left).into())
    }

    async fn list_region(&self, note: &Note, roots: &RegionRoots) -> Result<Listing, SweepError> {
        let mut pace = self.rooms.pace();
        let mut rows_left = roots.index.due_of_tenant_at(self.id, &mut pace).await?.len() as u64;
        rows_left += roots.index.raw_subject_places(self.id, &mut pace).await?;
        for bucket in note.buckets.iter().filter(|bucket| bucket.region == roots.region.id) {
            rows_left += roots.index.raw_rows_at(bucket.id, &mut pace).await?.rows;
        }
        let blobs_left = blobs_of_tenant(&roots.blobs, self.id, &mut pace).await?.len() as u64;
        Ok(Listing { region: roots.region.id.to_owned(), rows_left, blobs_left, reached: true })
    }
}
