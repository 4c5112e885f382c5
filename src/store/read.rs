//! Sealed segments out of the blob store, opened chunk by chunk: a range touches only its own chunks.
//!
//! Called by `get` and `copy`. Promises that no byte leaves before its chunk's tag verified, that a blob's length is
//! compared with the row's before anything is opened, and that the tenant's lease is checked once a fetch (1 MiB).

use super::meters::StoreMeters;
use super::types::{Fault, StoreError};
use crate::blob::BlobStore;
use crate::index::rows::v1::SegmentRef;
use crate::model::ids::DekId;
use crate::seal::{
    self, ChunkSpan, Dek, HEADER_BYTES, ObjectContext, SEALED_CHUNK_BYTES, SegmentKind, SegmentOpener, TenantKeys,
};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::sync::Arc;

/// Chunks fetched at once: 1 MiB of plaintext.
const FETCH_CHUNKS: u32 = 16;
const SEALED_CHUNK: u64 = SEALED_CHUNK_BYTES as u64;

/// A stretch of one segment's plaintext.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    segment: SegmentRef,
    from: u64,
    length: u64,
}

/// The stretches that a range of a joined object comes to, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pieces(VecDeque<Piece>);

impl Pieces {
    /// Cuts `length` bytes from `from` (plaintext of the joined object) along the segments' borders.
    pub(super) fn cut(segments: &[SegmentRef], from: u64, length: u64) -> Self {
        let mut pieces = VecDeque::new();
        let (mut start, to) = (0, from + length);
        for segment in segments {
            let end = start + segment.len;
            let (first, last) = (from.max(start), to.min(end));
            if first < last {
                pieces.push_back(Piece { segment: *segment, from: first - start, length: last - first });
            }
            start = end;
        }
        Self(pieces)
    }
}

/// Reads pieces one after the other.
pub(super) struct Reader {
    blobs: Arc<dyn BlobStore>,
    keys: Arc<TenantKeys>,
    dek: Dek,
    context: ObjectContext,
    dek_id: DekId,
    pieces: Pieces,
    open: Option<OpenPiece>,
    meters: StoreMeters,
}

/// A piece whose header verified.
struct OpenPiece {
    piece: Piece,
    opener: SegmentOpener,
    /// Sealed chunks that were fetched and not yet opened, from chunk `next` on.
    fetched: BytesMut,
    next: u32,
    span: ChunkSpan,
    /// Plaintext bytes still to give.
    left: u64,
}

impl Reader {
    pub(super) fn new(
        blobs: Arc<dyn BlobStore>,
        keys: Arc<TenantKeys>,
        dek: Dek,
        context: ObjectContext,
        dek_id: DekId,
        pieces: Pieces,
        meters: StoreMeters,
    ) -> Self {
        Self { blobs, keys, dek, context, dek_id, pieces, open: None, meters }
    }

    /// The next verified plaintext, at most one chunk; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        loop {
            if let Some(open) = self.open.as_mut().filter(|open| open.left > 0) {
                if open.fetched.is_empty() {
                    self.keys.check()?;
                    open.fetch(self.blobs.as_ref()).await?;
                }
                self.meters.chunks_opened(1);
                return open.take().map(Some);
            }
            let Some(piece) = self.pieces.0.pop_front() else { return Ok(None) };
            self.keys.check()?;
            self.open = Some(self.begin(piece).await?);
        }
    }

    async fn begin(&self, piece: Piece) -> Result<OpenPiece, StoreError> {
        let segment = &piece.segment;
        let kind = if segment.part == 0 { SegmentKind::Whole } else { SegmentKind::Part };
        let expected = seal::segment_info(kind, segment.part, self.context, segment.id, self.dek_id);
        let span = ChunkSpan::of(piece.from, piece.from + piece.length, segment.len)
            .ok_or(StoreError::Integrity(Fault::SHAPE))?;
        // The header and, when the range begins at the front, the first chunks with it in one fetch.
        let head = HEADER_BYTES as u64;
        let sealed_len = seal::sealed_len(segment.len);
        let front = if span.first == 0 { chunks_end(&span, 0).min(sealed_len) } else { head };
        let (fetched, total) = futures::try_join!(self.blobs.get(segment.id, 0..front), self.blobs.len(segment.id))?;
        let mut fetched = unshare(fetched);
        if fetched.len() < HEADER_BYTES {
            return Err(StoreError::Integrity(Fault::SHAPE));
        }
        let header = fetched.split_to(HEADER_BYTES);
        let opener = self.dek.opener(&expected, &header, segment.len, total)?;
        let left = piece.length;
        Ok(OpenPiece { next: span.first, piece, opener, fetched, span, left })
    }
}

impl OpenPiece {
    async fn fetch(&mut self, blobs: &dyn BlobStore) -> Result<(), StoreError> {
        let from = HEADER_BYTES as u64 + u64::from(self.next) * SEALED_CHUNK;
        let to = chunks_end(&self.span, self.next).min(seal::sealed_len(self.piece.segment.len));
        let fetched = blobs.get(self.piece.segment.id, from..to).await?;
        self.fetched = unshare(fetched);
        if self.fetched.is_empty() { Err(StoreError::Integrity(Fault::SHAPE)) } else { Ok(()) }
    }

    /// Opens one fetched chunk and trims it to the range.
    fn take(&mut self) -> Result<Bytes, StoreError> {
        let mut chunk = self.fetched.split_to(self.fetched.len().min(SEALED_CHUNK as usize));
        let plain_len = self.opener.open_chunk(self.next, &mut chunk)?.len();
        chunk.truncate(plain_len);
        let mut plain = chunk.freeze();
        if self.next == self.span.first {
            plain = plain.split_off(self.span.skip.min(plain.len()));
        }
        plain.truncate(plain.len().min(usize::try_from(self.left).unwrap_or(usize::MAX)));
        self.left -= plain.len() as u64;
        self.next += 1;
        Ok(plain)
    }
}

/// Where, in sealed bytes, a fetch that begins at chunk `from` ends.
fn chunks_end(span: &ChunkSpan, from: u32) -> u64 {
    let until = span.last.min(from + FETCH_CHUNKS - 1);
    HEADER_BYTES as u64 + (u64::from(until) + 1) * SEALED_CHUNK
}

/// The fetched bytes for opening in place: without a copy when nobody else holds them.
fn unshare(bytes: Bytes) -> BytesMut {
    bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::SegmentId;

    fn segments(lens: &[u64]) -> Vec<SegmentRef> {
        lens.iter().zip(1..).map(|(&len, part)| SegmentRef { id: SegmentId([part as u8; 16]), part, len }).collect()
    }

    #[test]
    fn every_range_of_a_joined_object_is_cut_like_a_slice() {
        let lens = [3, 0, 5, 1, 7];
        let segments = segments(&lens);
        let bytes: Vec<(u16, u64)> = segments.iter().flat_map(|s| (0..s.len).map(move |at| (s.part, at))).collect();
        for from in 0..bytes.len() {
            for to in from..=bytes.len() {
                let cut = Pieces::cut(&segments, from as u64, (to - from) as u64);
                let got: Vec<_> =
                    cut.0.iter().flat_map(|p| (p.from..p.from + p.length).map(|at| (p.segment.part, at))).collect();
                assert_eq!(got, bytes[from..to]);
            }
        }
    }
}
