//! One body in: hashed, sealed chunk by chunk, and either kept (small) or streamed to the blob store (large) in
//! constant memory. Back-pressure reaches the client: a chunk is taken from the body only when the one before it was
//! handed on.

use super::digest::Hashing;
use super::types::{BodyFault, Incoming, StoreError, Upload};
use super::{Room, Store};
use crate::blob::SourceError;
use crate::model::ids::{DekId, SegmentId};
use crate::model::limits::CHUNK_BYTES;
use crate::model::object::Checksum;
use crate::seal::{self, Dek, Last, ObjectContext, SegmentKind};
use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use futures::sink::SinkExt;

/// Sealed chunks on their way to the blob store: 16 x 64 KiB.
const IN_FLIGHT_MAX: usize = 16;

/// What the segment's header says beside its id.
pub(super) struct Segment {
    pub(super) kind: SegmentKind,
    pub(super) part: u16,
    pub(super) context: ObjectContext,
    pub(super) dek_id: DekId,
}

/// A body that was received whole and whose digests were right.
pub(super) struct Received {
    pub(super) id: SegmentId,
    /// Plaintext bytes.
    pub(super) len: u64,
    /// Its MD5 in hex.
    pub(super) etag: String,
    /// Checksums to keep.
    pub(super) checksums: Vec<Checksum>,
    /// The sealed segment, when it is small enough to ride in the index.
    pub(super) inline: Option<Vec<u8>>,
}

impl Store {
    /// Receives a body into a fresh segment. On any error nothing is left but, at worst, an orphan blob.
    pub(super) async fn receive(
        &self,
        room: &Room,
        dek: &Dek,
        segment: Segment,
        incoming: Incoming,
    ) -> Result<Received, StoreError> {
        let small = segment.kind == SegmentKind::Whole && incoming.length <= room.roots.inline_bytes_max as u64;
        let id = SegmentId::random();
        let info = seal::segment_info(segment.kind, segment.part, segment.context, id, segment.dek_id);
        let Incoming { body, length, expected } = incoming;
        let mut plain = Plain { body, left: length, rest: Bytes::new(), hashing: Hashing::of(&expected) };
        if small {
            let mut buffer = Vec::with_capacity(length as usize);
            plain.fill(&mut buffer, length as usize).await?;
            plain.end().await?;
            let digests = plain.hashing.finish().await;
            let (etag, checksums) = (digests.etag(), digests.check(expected)?);
            let inline = Some(dek.seal_whole(&info, &buffer));
            return Ok(Received { id, len: length, etag, checksums, inline });
        }
        let (mut send, sealed) = mpsc::channel(IN_FLIGHT_MAX);
        let mut sealer = dek.sealer(&info);
        let pump = async move {
            let pumped = async {
                hand_on(&mut send, Bytes::copy_from_slice(sealer.header())).await?;
                loop {
                    let take = CHUNK_BYTES.min(plain.left.try_into().unwrap_or(usize::MAX));
                    let mut chunk = Vec::with_capacity(take + seal::TAG_BYTES);
                    plain.fill(&mut chunk, take).await?;
                    let last = if plain.left == 0 { Last::Yes } else { Last::No };
                    sealer.seal_chunk(&mut chunk, last)?;
                    hand_on(&mut send, chunk.into()).await?;
                    if last == Last::Yes {
                        break;
                    }
                }
                plain.end().await?;
                let digests = plain.hashing.finish().await;
                Ok((digests.etag(), digests.check(expected)?))
            };
            let pumped: Result<_, StoreError> = pumped.await;
            if pumped.is_err() {
                // The writer must see that the stream broke, or it would finish a short blob.
                let _ = send.send(Err("the body ended badly".into())).await;
            }
            pumped
        };
        let (pumped, written) = futures::join!(pump, room.roots.blobs.put(id, sealed.boxed()));
        match (pumped, written) {
            (Ok((etag, checksums)), Ok(_)) => Ok(Received { id, len: length, etag, checksums, inline: None }),
            (Err(error), Ok(_)) => {
                self.discard_blobs(room, vec![id]);
                Err(error)
            }
            // A pump whose receiver went away reports `Unavailable`: the writer's own error is the cause.
            (Err(StoreError::Unavailable) | Ok(_), Err(error)) => Err(error.into()),
            (Err(error), Err(_)) => Err(error),
        }
    }
}

async fn hand_on(send: &mut mpsc::Sender<Result<Bytes, SourceError>>, bytes: Bytes) -> Result<(), StoreError> {
    send.send(Ok(bytes)).await.map_err(|_| StoreError::Unavailable)
}

/// The plaintext of one body, hashed as it is taken.
struct Plain {
    body: Upload,
    /// Bytes that are still to come.
    left: u64,
    rest: Bytes,
    hashing: Hashing,
}

impl Plain {
    /// Appends exactly `take` bytes, or fails: `Incomplete` when the body ends first.
    async fn fill(&mut self, buffer: &mut Vec<u8>, take: usize) -> Result<(), StoreError> {
        let mut missing = take;
        while missing > 0 {
            if self.rest.is_empty() {
                self.rest = self.body.next().await.ok_or(BodyFault::Incomplete)??;
                continue;
            }
            let piece = self.rest.split_to(missing.min(self.rest.len()));
            missing -= piece.len();
            self.left -= piece.len() as u64;
            buffer.extend_from_slice(&piece);
            self.hashing.update(&piece).await;
        }
        Ok(())
    }

    /// The body must end here, cleanly: signature and framing faults arrive as its last item.
    async fn end(&mut self) -> Result<(), StoreError> {
        if !self.rest.is_empty() {
            return Err(BodyFault::Incomplete.into());
        }
        while let Some(item) = self.body.next().await {
            if !item?.is_empty() {
                return Err(BodyFault::Incomplete.into());
            }
        }
        Ok(())
    }
}
