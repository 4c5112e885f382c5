//! Blobs over any `object_store` backend.

use super::disk::Disk;
use super::{BlobError, BlobStore, GET_BYTES_MAX, Leftovers, ListedBlob, RemoteStore, SealedStream};
use crate::model::ids::SegmentId;
use crate::model::time::Millis;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart};
use parking_lot::Mutex;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of one part of a local write: one hop to the blocking pool each.
const DISK_PART_BYTES: usize = 1 << 20;
/// Bytes of one part of an upload to a remote store: 10,000 parts of it hold any segment, and S3 wants at least 5 MiB.
const REMOTE_PART_BYTES: usize = 8 << 20;
/// Parts of one blob on their way at the same time.
const PARTS_IN_FLIGHT_MAX: usize = 2;

const _: () = assert!(REMOTE_PART_BYTES as u64 * 10_000 > crate::model::limits::SEGMENT_BYTES_MAX * 2);

/// The one implementation of [`BlobStore`]: a local directory, an S3-compatible store, or memory.
#[derive(Debug)]
pub struct ObjectStoreBlobs {
    store: Arc<dyn ObjectStore>,
    disk: Option<Arc<Disk>>,
    part_bytes: usize,
    /// Deletes that a backup holds back.
    held: Mutex<Option<Vec<SegmentId>>>,
}

impl ObjectStoreBlobs {
    /// Blobs as files under `root`, which is created where needed. One process at a time.
    pub fn local(root: &Path) -> Result<Self, BlobError> {
        let disk = Disk::open(root)?;
        let store = LocalFileSystem::new_with_prefix(disk.root()).map_err(BlobError::Store)?.with_fsync(true);
        Ok(Self {
            store: Arc::new(store),
            disk: Some(Arc::new(disk)),
            part_bytes: DISK_PART_BYTES,
            held: Mutex::default(),
        })
    }

    /// Blobs in a bucket of an S3-compatible store. Does not speak to it yet: see [`ObjectStoreBlobs::probe`].
    pub fn remote(settings: &RemoteStore) -> Result<Self, BlobError> {
        Ok(Self { store: settings.connect()?, disk: None, part_bytes: REMOTE_PART_BYTES, held: Mutex::default() })
    }

    /// Blobs in memory, for tests and simulations: nothing survives the process.
    pub fn in_memory() -> Self {
        Self { store: Arc::new(InMemory::new()), disk: None, part_bytes: DISK_PART_BYTES, held: Mutex::default() }
    }

    /// Asks a backend whether it keeps a conditional create apart from an overwrite, and whether what was written can
    /// be read and deleted. Several S3-alikes answer 200 to the second create; they are refused.
    pub async fn probe(&self) -> Result<(), BlobError> {
        super::remote::probe(self.store.as_ref()).await
    }

    async fn put_parts(&self, path: &ObjectPath, mut sealed: SealedStream<'_>) -> Result<u64, BlobError> {
        // The first part is gathered before choosing: what fits into it needs no multipart upload.
        let mut first = Vec::new();
        let mut len = 0;
        while len <= self.part_bytes {
            match sealed.try_next().await.map_err(BlobError::Source)? {
                None => {
                    self.store.put(path, PutPayload::from_iter(first)).await.map_err(BlobError::Store)?;
                    return Ok(len as u64);
                }
                Some(piece) => {
                    len += piece.len();
                    first.push(piece);
                }
            }
        }
        let upload = self.store.put_multipart(path).await.map_err(BlobError::Store)?;
        let mut upload = Upload(Some(WriteMultipart::new_with_chunk_size(upload, self.part_bytes)));
        let mut total = 0;
        let mut pieces = futures::stream::iter(first.into_iter().map(Ok)).chain(sealed);
        while let Some(piece) = pieces.try_next().await.map_err(BlobError::Source)? {
            total += piece.len() as u64;
            upload.push(piece).await?;
        }
        upload.finish().await?;
        Ok(total)
    }
}

/// A multipart upload that aborts itself when dropped half way, so that a remote store keeps no parts.
struct Upload(Option<WriteMultipart>);

impl Upload {
    async fn push(&mut self, piece: Bytes) -> Result<(), BlobError> {
        let parts = self.0.as_mut().expect("taken only by finish, which consumes");
        parts.wait_for_capacity(PARTS_IN_FLIGHT_MAX).await.map_err(BlobError::Store)?;
        parts.put(piece);
        Ok(())
    }

    async fn finish(mut self) -> Result<(), BlobError> {
        let parts = self.0.take().expect("finish runs once");
        parts.finish().await.map(drop).map_err(BlobError::Store)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let (Some(parts), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { _ = parts.abort().await });
        }
    }
}

#[async_trait::async_trait]
impl BlobStore for ObjectStoreBlobs {
    async fn put(&self, id: SegmentId, sealed: SealedStream<'_>) -> Result<u64, BlobError> {
        if let Some(disk) = self.disk.as_ref().filter(|disk| !disk.has_dir(id)) {
            let disk = disk.clone();
            blocking(move || disk.make_dir(id)).await?;
        }
        self.put_parts(&path(id), sealed).await
    }

    async fn get(&self, id: SegmentId, range: Range<u64>) -> Result<Bytes, BlobError> {
        let wanted = range.end.saturating_sub(range.start);
        if wanted == 0 || wanted > GET_BYTES_MAX {
            return Err(BlobError::Range(id));
        }
        match self.store.get_range(&path(id), range.clone()).await {
            Ok(bytes) if bytes.len() as u64 == wanted => Ok(bytes),
            // A store may answer a range that reaches past the end with what there is.
            Ok(_) => Err(BlobError::Range(id)),
            Err(object_store::Error::NotFound { .. }) => Err(BlobError::Missing(id)),
            Err(e) => match self.len(id).await {
                Ok(len) if len < range.end => Err(BlobError::Range(id)),
                _ => Err(BlobError::Store(e)),
            },
        }
    }

    async fn len(&self, id: SegmentId) -> Result<u64, BlobError> {
        match self.store.head(&path(id)).await {
            Ok(meta) => Ok(meta.size),
            Err(object_store::Error::NotFound { .. }) => Err(BlobError::Missing(id)),
            Err(e) => Err(BlobError::Store(e)),
        }
    }

    async fn delete(&self, ids: &[SegmentId]) -> Result<(), BlobError> {
        if let Some(held) = self.held.lock().as_mut() {
            held.extend_from_slice(ids);
            return Ok(());
        }
        if let Some(disk) = self.disk.clone() {
            let ids = ids.to_vec();
            return blocking(move || disk.delete(&ids)).await;
        }
        let paths: Vec<_> = ids.iter().map(|id| Ok(path(*id))).collect();
        let mut gone = self.store.delete_stream(futures::stream::iter(paths).boxed());
        while let Some(answer) = gone.next().await {
            match answer {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(BlobError::Store(e)),
            }
        }
        Ok(())
    }

    fn list(&self) -> BoxStream<'static, Result<ListedBlob, BlobError>> {
        self.store
            .list(None)
            .filter_map(async |listed| match listed {
                Ok(meta) => {
                    let modified = Millis(meta.last_modified.timestamp_millis());
                    id_of(&meta.location).map(|id| Ok(ListedBlob { id, len: meta.size, modified }))
                }
                // Deleted while listing.
                Err(object_store::Error::NotFound { .. }) => None,
                Err(e) => Some(Err(BlobError::Store(e))),
            })
            .boxed()
    }

    fn hold_deletes(&self) {
        self.held.lock().get_or_insert_default();
    }

    async fn release_deletes(&self) -> Result<(), BlobError> {
        let held = self.held.lock().take();
        match held {
            Some(held) => self.delete(&held).await,
            None => Ok(()),
        }
    }

    fn file_of(&self, id: SegmentId) -> Option<PathBuf> {
        self.disk.as_ref().map(|disk| disk.root().join(name(id)))
    }

    async fn remove_leftovers(&self, before: Millis) -> Result<Leftovers, BlobError> {
        match self.disk.clone() {
            Some(disk) => blocking(move || disk.remove_leftovers(before)).await,
            // A remote store hides unfinished uploads from us: its lifecycle rule removes them (docs/operations.md).
            None => Ok(Leftovers::default()),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.expect("disk work does not panic")
}

/// `ab/cd/<32 hex digits>`: the fan-out keeps directories small; the ids are random, so it fills evenly.
pub(super) fn name(id: SegmentId) -> String {
    let digits = hex::encode(id.0);
    format!("{}/{}/{digits}", &digits[0..2], &digits[2..4])
}

fn path(id: SegmentId) -> ObjectPath {
    ObjectPath::from(name(id))
}

fn id_of(path: &ObjectPath) -> Option<SegmentId> {
    let id = path.filename()?.parse().ok()?;
    (path.as_ref() == name(id)).then_some(id)
}
