//! Which segments an object consists of, and how they go away.

use super::types::{Fault, StoreError};
use super::{Room, Store};
use crate::index::rows::v1::{ObjectRow, Place, SegmentRef};
use crate::model::ids::SegmentId;
use crate::seal::{self, Dek};

impl Store {
    /// The object's segments in order; opens the sealed part list of an upload of more than 1,000 parts.
    pub(super) async fn segments(
        &self,
        room: &Room,
        row: &ObjectRow,
        dek: &Dek,
    ) -> Result<Vec<SegmentRef>, StoreError> {
        if row.place != Place::PartList {
            return Ok(row.segments.clone());
        }
        let list = row.segments.first().ok_or(StoreError::Integrity(Fault::SHAPE))?;
        let context = seal::object_context(&room.bucket.at, row.object_id, row.version_id);
        let expected = seal::part_list_info(context, list.id, row.dek_id);
        let sealed = room.roots.blobs.get(list.id, 0..seal::sealed_len(list.len)).await?;
        let plain = dek.open_whole(&expected, &sealed, list.len)?;
        minicbor::decode(&plain).map_err(|_| StoreError::Integrity(Fault::SHAPE))
    }

    /// Deletes what a replaced or deleted row pointed to, and what pointed to it, in the background: the row is gone already, so whatever is
    /// not deleted now is an orphan that the sweeper finds.
    pub(super) fn discard(&self, room: &Room, row: &ObjectRow) {
        self.leave_place(room, row.subject, &row.metadata, row.version_id);
        self.leave_places(room, row.subjects.as_deref().unwrap_or_default(), row.version_id);
        match row.place {
            Place::Trailing | Place::Row | Place::Nowhere => {}
            Place::Blob => self.retire(room, row, row.segments.iter().map(|segment| segment.id).collect()),
            Place::PartList => {
                let (store, row, room) = (self.clone(), row.clone(), room.clone());
                tokio::spawn(async move {
                    let mut doomed: Vec<_> = row.segments.iter().map(|segment| segment.id).collect();
                    let context = seal::object_context(&room.bucket.at, row.object_id, row.version_id);
                    if let Ok(dek) = store.open_dek(&room, row.subject, &row.dek_record, &context).await {
                        let parts = store.segments(&room, &row, &dek).await.unwrap_or_default();
                        doomed.extend(parts.into_iter().map(|segment| segment.id));
                    }
                    store.retire(&room, &row, doomed);
                });
            }
        }
    }

    /// Blobs of an object that is gone: those who are reading it have them to the end.
    fn retire(&self, room: &Room, row: &ObjectRow, doomed: Vec<SegmentId>) {
        let Some(front) = row.segments.first().map(|segment| segment.id) else { return };
        let readers = room.roots.readers.clone();
        tokio::spawn(async move {
            if readers.retire(front, doomed).await.is_err() {
                tracing::warn!("blobs were not deleted now; the sweeper will find them");
            }
        });
    }

    /// Blobs that no row ever named.
    pub(super) fn discard_blobs(&self, room: &Room, doomed: Vec<SegmentId>) {
        if doomed.is_empty() {
            return;
        }
        let blobs = room.roots.blobs.clone();
        tokio::spawn(async move {
            if blobs.delete(&doomed).await.is_err() {
                tracing::warn!(blobs = doomed.len(), "blobs were not deleted now; the sweeper will find them");
            }
        });
    }
}

/// The plaintext of a part list.
pub(super) fn encode_list(segments: &[SegmentRef]) -> Vec<u8> {
    minicbor::to_vec(segments).expect("a Vec takes every byte")
}
