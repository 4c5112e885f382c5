//! An object's sealed segments, sealed again under another data key: chunk by chunk, so that an object of any size takes
//! the memory of a few chunks; then read back from where they were written, opened, and compared by hash.

use super::RekeyError;
use super::rooms::Rooms;
use crate::blob::BlobStore;
use crate::directory::Held;
use crate::index::rows::v1::{ObjectRow, Place, SegmentRef};
use crate::model::ids::SegmentId;
use crate::pace::Courtesy;
use crate::seal::{
    self, Dek, HEADER_BYTES, Last, ObjectContext, OpenClass, OpenError, SEALED_CHUNK_BYTES, SealError, SegmentInfo,
    SegmentKind, SegmentOpener,
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream;
use ring::digest::{Context, Digest, SHA256};
use tokio::time::Instant;

/// Sealed chunks fetched at once: 1 MiB of plaintext.
const FETCH_CHUNKS: u64 = 16;

/// Between two fetches of a large object: clients have their turn, and the job is known to be at work.
pub(super) struct Breath<'a> {
    pub(super) courtesy: Courtesy,
    pub(super) rooms: &'a Rooms,
    pub(super) held: &'a Held,
}

impl Breath<'_> {
    async fn take(&self, since: Instant) {
        self.held.is_at_work(self.rooms.now());
        self.courtesy.after(since.elapsed()).await;
    }
}

/// Seals one object's segments again.
pub(super) struct Copier<'a> {
    pub(super) breath: Breath<'a>,
    pub(super) blobs: &'a dyn BlobStore,
    pub(super) context: ObjectContext,
    pub(super) old: &'a Dek,
    pub(super) new: &'a Dek,
}

/// The new segments of an object.
pub(super) struct Copied {
    /// As its row names them.
    pub(super) segments: Vec<SegmentRef>,
    /// The one that rides in the index.
    pub(super) inline: Option<Bytes>,
    /// What its row named in the blob store.
    pub(super) old_blobs: Vec<SegmentId>,
    /// What was written there.
    pub(super) new_blobs: Vec<SegmentId>,
}

impl Copier<'_> {
    /// Everything of one object. On an error, blobs that were written already are deleted, or left to the sweeper.
    pub(super) async fn copy(&self, row: &ObjectRow, inline: Option<Bytes>) -> Result<Copied, RekeyError> {
        let first = row.segments.first();
        if let (Place::Trailing | Place::Row, Some(sealed), Some(segment)) = (row.place, &inline, first) {
            let (segment, sealed) = self.whole(*segment, sealed, SegmentKind::Whole, 0)?;
            let (old_blobs, new_blobs) = (Vec::new(), Vec::new());
            return Ok(Copied { segments: vec![segment], inline: Some(sealed), old_blobs, new_blobs });
        }
        let mut made = Vec::new();
        let copied = self.blobs_of(row, &mut made).await;
        if copied.is_err() && !made.is_empty() {
            // What cannot be deleted now is an orphan.
            drop(self.blobs.delete(&made).await);
        }
        let (segments, old_blobs) = copied?;
        Ok(Copied { segments, inline: None, old_blobs, new_blobs: made })
    }

    async fn blobs_of(
        &self,
        row: &ObjectRow,
        made: &mut Vec<SegmentId>,
    ) -> Result<(Vec<SegmentRef>, Vec<SegmentId>), RekeyError> {
        let list = match row.place {
            Place::Blob => None,
            Place::PartList => Some(*row.segments.first().ok_or(RekeyError::Integrity)?),
            Place::Trailing | Place::Row | Place::Nowhere => return Err(RekeyError::Integrity),
        };
        let parts = match list {
            None => row.segments.clone(),
            Some(list) => self.list(list).await?,
        };
        let mut copies = Vec::with_capacity(parts.len());
        for part in &parts {
            let copy = SegmentRef { id: SegmentId::random(), ..*part };
            made.push(copy.id);
            self.blob(*part, copy).await?;
            copies.push(copy);
        }
        let mut doomed: Vec<_> = parts.iter().map(|part| part.id).collect();
        let Some(list) = list else { return Ok((copies, doomed)) };
        doomed.push(list.id);
        let plain = minicbor::to_vec(&copies).expect("a Vec takes every byte");
        let copy = SegmentRef { id: SegmentId::random(), part: list.part, len: plain.len() as u64 };
        made.push(copy.id);
        let info = seal::part_list_info(self.context, copy.id, dek_id(self.new));
        let sealed = Bytes::from(self.new.seal_whole(&info, &plain));
        self.blobs.put(copy.id, stream::iter([Ok(sealed)]).boxed()).await?;
        let back = self.blobs.get(copy.id, 0..seal::sealed_len(copy.len)).await?;
        if self.new.open_whole(&info, &back, copy.len)? != plain {
            return Err(RekeyError::Integrity);
        }
        Ok((vec![copy], doomed))
    }

    async fn list(&self, list: SegmentRef) -> Result<Vec<SegmentRef>, RekeyError> {
        let info = seal::part_list_info(self.context, list.id, dek_id(self.old));
        let sealed = self.blobs.get(list.id, 0..seal::sealed_len(list.len)).await?;
        let plain = self.old.open_whole(&info, &sealed, list.len)?;
        minicbor::decode(&plain).map_err(|_| RekeyError::Integrity)
    }

    /// A segment in memory, sealed again and opened once more.
    fn whole(
        &self,
        segment: SegmentRef,
        sealed: &[u8],
        kind: SegmentKind,
        part: u16,
    ) -> Result<(SegmentRef, Bytes), RekeyError> {
        let info = |id, dek: &Dek| seal::segment_info(kind, part, self.context, id, dek_id(dek));
        let plain = self.old.open_whole(&info(segment.id, self.old), sealed, segment.len)?;
        let copy = SegmentRef { id: SegmentId::random(), ..segment };
        let again = self.new.seal_whole(&info(copy.id, self.new), &plain);
        if self.new.open_whole(&info(copy.id, self.new), &again, copy.len)? != plain {
            return Err(RekeyError::Integrity);
        }
        Ok((copy, again.into()))
    }

    /// A segment in the blob store, sealed again beside it and read back.
    async fn blob(&self, from: SegmentRef, to: SegmentRef) -> Result<(), RekeyError> {
        let kind = if from.part == 0 { SegmentKind::Whole } else { SegmentKind::Part };
        let info = |id, dek: &Dek| seal::segment_info(kind, from.part, self.context, id, dek_id(dek));
        let mut source = Source::open(self, self.old, &info(from.id, self.old), from).await?;
        let mut sealer = self.new.sealer(&info(to.id, self.new));
        let header = Bytes::copy_from_slice(sealer.header());
        let mut failed = None;
        let body = stream::unfold(
            (&mut source, &mut sealer, &mut failed, false),
            |(source, sealer, failed, ended)| async move {
                if ended {
                    return None;
                }
                let next = async {
                    let Some((mut chunk, last)) = source.next().await? else { return Ok(None) };
                    sealer.seal_chunk(&mut chunk, last).map_err(|error| match error {
                        // The tenant's keys went, or are out of reach: nothing is wrong with the bytes.
                        SealError::Revoked => RekeyError::from(OpenError::from(OpenClass::Revoked)),
                        SealError::Expired => RekeyError::from(OpenError::from(OpenClass::Expired)),
                        SealError::Complete | SealError::ChunkLength | SealError::TooLong => RekeyError::Integrity,
                    })?;
                    Ok::<_, RekeyError>(Some(Bytes::from(chunk)))
                };
                match next.await {
                    Ok(None) => None,
                    Ok(Some(chunk)) => Some((Ok(chunk), (source, sealer, failed, false))),
                    Err(error) => {
                        *failed = Some(error);
                        Some((Err("the old segment ended badly".into()), (source, sealer, failed, true)))
                    }
                }
            },
        );
        let written = self.blobs.put(to.id, stream::iter([Ok(header)]).chain(body).boxed()).await;
        if let Some(error) = failed {
            return Err(error);
        }
        written?;
        let hash = source.hash();
        let mut back = Source::open(self, self.new, &info(to.id, self.new), to).await?;
        while back.next().await?.is_some() {}
        if back.hash().as_ref() == hash.as_ref() { Ok(()) } else { Err(RekeyError::Integrity) }
    }
}

fn dek_id(dek: &Dek) -> crate::model::ids::DekId {
    crate::model::ids::DekId(dek.id())
}

/// A segment's plaintext, chunk by chunk, hashed as it goes.
struct Source<'a> {
    blobs: &'a dyn BlobStore,
    breath: &'a Breath<'a>,
    /// When it fetched last.
    since: Instant,
    id: SegmentId,
    sealed_len: u64,
    opener: SegmentOpener,
    fetched: BytesMut,
    next: u32,
    chunks: u32,
    hash: Context,
}

impl<'a> Source<'a> {
    async fn open(
        copier: &'a Copier<'_>,
        dek: &Dek,
        info: &SegmentInfo,
        segment: SegmentRef,
    ) -> Result<Self, RekeyError> {
        let (blobs, breath, since) = (copier.blobs, &copier.breath, Instant::now());
        let header = blobs.get(segment.id, 0..HEADER_BYTES as u64).await?;
        let opener = dek.opener(info, &header, segment.len, blobs.len(segment.id).await?)?;
        let (sealed_len, chunks) = (seal::sealed_len(segment.len), opener.chunks());
        let (fetched, hash) = (BytesMut::new(), Context::new(&SHA256));
        Ok(Self { blobs, breath, since, id: segment.id, sealed_len, opener, fetched, next: 0, chunks, hash })
    }

    /// The next chunk, and whether it is the last.
    async fn next(&mut self) -> Result<Option<(Vec<u8>, Last)>, RekeyError> {
        if self.next == self.chunks {
            return Ok(None);
        }
        if self.fetched.is_empty() {
            if self.next > 0 {
                self.breath.take(self.since).await;
                self.since = Instant::now();
            }
            let from = HEADER_BYTES as u64 + u64::from(self.next) * SEALED_CHUNK_BYTES as u64;
            let to = (from + FETCH_CHUNKS * SEALED_CHUNK_BYTES as u64).min(self.sealed_len);
            self.fetched = BytesMut::from(&self.blobs.get(self.id, from..to).await?[..]);
        }
        let mut sealed = self.fetched.split_to(self.fetched.len().min(SEALED_CHUNK_BYTES));
        let plain = self.opener.open_chunk(self.next, &mut sealed)?;
        self.hash.update(plain);
        let mut chunk = Vec::with_capacity(SEALED_CHUNK_BYTES);
        chunk.extend_from_slice(plain);
        self.next += 1;
        let last = if self.next == self.chunks { Last::Yes } else { Last::No };
        Ok(Some((chunk, last)))
    }

    fn hash(self) -> Digest {
        self.hash.finish()
    }
}
