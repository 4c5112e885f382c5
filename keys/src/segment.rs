//! Sealed segments: the payload of one PUT, one uploaded part, one manifest, one key store shard.
//! Source: docs/object-format.md, "Sealed segment" and "Chunks".
//!
//! Promises:
//! - A [`SegmentOpener`] exists only after its header was compared with the expected context, the length was checked
//!   and the commitment matched; nothing of a chunk is released before its tag verified.
//! - A [`SegmentSealer`] draws its own salt, so no two attempts share a key, and refuses what v1 cannot express.
//! - No length is read from a blob. No other key is tried.

use crate::context::{Id, ObjectContext};
use crate::derive;
use crate::error::{OpenClass, OpenError, SealError};
use crate::material::{BulkKey, random_array};
use crate::memory::scrubbed;
use crate::tenant_keys::{Dek, Lease};
use ring::digest;
use subtle::ConstantTimeEq;

/// Length of a segment's header.
pub const HEADER_BYTES: usize = 192;
/// Plaintext bytes of every chunk but the last.
pub const CHUNK_BYTES: usize = 65536;
/// Length of the tag behind each chunk.
pub const TAG_BYTES: usize = 16;
/// Length of a full sealed chunk.
pub const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
/// Chunks in the longest segment: 5 GiB.
pub const CHUNKS_MAX: u32 = 81_920;
/// Plaintext bytes of the longest segment: 5 GiB.
pub const SEGMENT_BYTES_MAX: u64 = CHUNKS_MAX as u64 * CHUNK_BYTES as u64;

const MAGIC: [u8; 8] = *b"\x89SEG\r\n\x1a\n";
const VERSION: u8 = 1;
/// AES-256-GCM STREAM-BE32, HKDF-Expand-SHA-256, commit-32.
const SUITE: [u8; 2] = [0, 1];
const CHUNK_LOG2: u8 = 16;
const PART_MAX: u16 = 10_000;

/// What a segment is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum SegmentKind {
    /// A whole object; part number 0.
    Whole = 1,
    /// One part of an object.
    Part = 2,
    /// The manifest of an export; part number 1.
    ExportManifest = 4,
    /// The part list of an object of very many parts; part number 1.
    PartManifest = 5,
    /// One shard of the key store; the part number is the shard's, from 1.
    KeystoreShard = 6,
}

/// Everything a segment's header says, as the authenticated index row says it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentInfo {
    /// What it is.
    pub kind: SegmentKind,
    /// 0 for a whole object, else 1..=10,000.
    pub part: u16,
    /// Whose it is.
    pub context: ObjectContext,
    /// This segment, one per sealing attempt.
    pub segment_id: Id,
    /// The data key.
    pub dek_id: Id,
}

impl SegmentInfo {
    /// `header[0..128]`: everything before the salt.
    fn encode(&self) -> [u8; 128] {
        let mut out = [0; 128];
        out[..8].copy_from_slice(&MAGIC);
        out[8] = VERSION;
        out[9] = self.kind as u8;
        out[10..12].copy_from_slice(&SUITE);
        out[12] = CHUNK_LOG2;
        out[14..16].copy_from_slice(&self.part.to_be_bytes());
        out[16..96].copy_from_slice(&self.context.to_bytes());
        out[96..112].copy_from_slice(&self.segment_id);
        out[112..128].copy_from_slice(&self.dek_id);
        out
    }

    fn part_is_possible(&self) -> bool {
        match self.kind {
            SegmentKind::Whole => self.part == 0,
            SegmentKind::Part
            | SegmentKind::ExportManifest
            | SegmentKind::PartManifest
            | SegmentKind::KeystoreShard => (1..=PART_MAX).contains(&self.part),
        }
    }
}

/// Number of chunks for `plain` bytes: `max(1, ceil(plain / 65536))`.
pub const fn chunk_count(plain: u64) -> u64 {
    if plain == 0 { 1 } else { plain.div_ceil(CHUNK_BYTES as u64) }
}

/// Length of the sealed segment of `plain` bytes: `192 + plain + 16 * N`. Saturates.
pub const fn sealed_len(plain: u64) -> u64 {
    plain.saturating_add(HEADER_BYTES as u64 + TAG_BYTES as u64 * chunk_count(plain))
}

/// Length of the plaintext in a sealed segment of `sealed` bytes; `None` where no segment has that length.
pub const fn plain_len(sealed: u64) -> Option<u64> {
    let Some(body) = sealed.checked_sub(HEADER_BYTES as u64) else { return None };
    let chunks = body.div_ceil(SEALED_CHUNK_BYTES as u64);
    let Some(plain) = body.checked_sub(TAG_BYTES as u64 * chunks) else { return None };
    if sealed == sealed_len(plain) && plain <= SEGMENT_BYTES_MAX { Some(plain) } else { None }
}

/// The sealed chunks that hold a plaintext range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkSpan {
    /// First chunk.
    pub first: u32,
    /// Last chunk, inclusive.
    pub last: u32,
    /// Plaintext bytes to skip in the first chunk.
    pub skip: usize,
    /// Where the span starts in the sealed segment, in bytes.
    pub sealed_start: u64,
    /// Where it ends, exclusive.
    pub sealed_end: u64,
}

impl ChunkSpan {
    /// Maps a plaintext byte range to the sealed chunks that hold it.
    ///
    /// `start..end` is half-open, in plaintext bytes of a segment of `plain` bytes, and not empty, but for `0..0` of an
    /// empty segment, which is its one empty chunk. `None` where the range is not inside the segment.
    /// Source: docs/object-format.md, "Chunks".
    ///
    /// ```
    /// use geoseal_keys::ChunkSpan;
    /// let span = ChunkSpan::of(65_530, 65_540, 200_000).unwrap();
    /// assert_eq!((span.first, span.last, span.skip), (0, 1, 65_530));
    /// assert_eq!((span.sealed_start, span.sealed_end), (192, 192 + 2 * 65_552));
    /// assert!(ChunkSpan::of(10, 10, 200_000).is_none());
    /// ```
    pub fn of(start: u64, end: u64, plain: u64) -> Option<Self> {
        let whole_of_nothing = start == 0 && end == 0 && plain == 0;
        if plain > SEGMENT_BYTES_MAX || end > plain || (start >= end && !whole_of_nothing) {
            return None;
        }
        let chunk = CHUNK_BYTES as u64;
        let (first, last) = (start / chunk, end.saturating_sub(1) / chunk);
        Some(Self {
            first: u32::try_from(first).ok()?,
            last: u32::try_from(last).ok()?,
            skip: usize::try_from(start % chunk).ok()?,
            sealed_start: HEADER_BYTES as u64 + first * SEALED_CHUNK_BYTES as u64,
            sealed_end: (HEADER_BYTES as u64 + (last + 1) * SEALED_CHUNK_BYTES as u64).min(sealed_len(plain)),
        })
    }
}

/// Whether a chunk ends its segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Last {
    /// More chunks follow; this one is full.
    No,
    /// The segment ends here.
    Yes,
}

/// Header, chunk key and nonce prefix of one segment, once its commitment is known to be right.
struct Opened {
    key: BulkKey,
    prefix: [u8; 7],
    aad: [u8; 32],
}

impl Opened {
    fn new(schedule: &derive::SegmentSchedule, header: &[u8; HEADER_BYTES]) -> Self {
        let mut aad = [0; 32];
        aad.copy_from_slice(digest::digest(&digest::SHA256, header).as_ref());
        Self { key: BulkKey::new(&schedule.key), prefix: schedule.prefix, aad }
    }

    /// `nonce_i = prefix(7) | u32 i | 0x01 if i = N-1 else 0x00`.
    fn nonce(&self, index: u32, last: Last) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..7].copy_from_slice(&self.prefix);
        nonce[7..11].copy_from_slice(&index.to_be_bytes());
        nonce[11] = u8::from(last == Last::Yes);
        nonce
    }
}

/// Seals one segment, chunk by chunk, in order.
pub struct SegmentSealer {
    header: [u8; HEADER_BYTES],
    opened: Opened,
    next: u32,
    complete: bool,
    lease: Lease,
}

impl SegmentSealer {
    /// The header: the first 192 bytes of the sealed segment.
    pub fn header(&self) -> &[u8; HEADER_BYTES] {
        &self.header
    }

    /// Seals the next chunk in place and appends its tag.
    ///
    /// `chunk` holds 65,536 plaintext bytes, or, as the last one, 1..=65,536 (0 only as the only chunk). Reserve 16
    /// bytes more than that and nothing is allocated. Refuses a chunk behind the last, a wrong length, and more than
    /// 5 GiB; the chunk is then unchanged.
    pub fn seal_chunk(&mut self, chunk: &mut Vec<u8>, last: Last) -> Result<(), SealError> {
        if self.complete {
            return Err(SealError::Complete);
        }
        self.lease.check().map_err(|error| match error.class() {
            OpenClass::Expired => SealError::Expired,
            _ => SealError::Revoked,
        })?;
        let length_fits = match last {
            Last::No => chunk.len() == CHUNK_BYTES,
            Last::Yes => chunk.len() <= CHUNK_BYTES && (!chunk.is_empty() || self.next == 0),
        };
        if !length_fits {
            return Err(SealError::ChunkLength);
        }
        if self.next >= CHUNKS_MAX {
            return Err(SealError::TooLong);
        }
        let nonce = self.opened.nonce(self.next, last);
        let tag = self.opened.key.seal(nonce, &self.opened.aad, chunk);
        chunk.extend_from_slice(tag.as_ref());
        self.next += 1;
        self.complete = last == Last::Yes;
        Ok(())
    }

    /// For tests only: seals a chunk at any place with any mark, as an attacker with the key would.
    #[cfg(test)]
    pub(crate) fn seal_chunk_at(&self, index: u32, last: Last, chunk: &[u8]) -> Vec<u8> {
        let mut sealed = chunk.to_vec();
        let tag = self.opened.key.seal(self.opened.nonce(index, last), &self.opened.aad, &mut sealed);
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// For tests only: as if `next` chunks had been sealed.
    #[cfg(test)]
    pub(crate) fn skip_to(&mut self, next: u32) {
        self.next = next;
    }

    /// Whether the last chunk was sealed. A segment that is not complete must be thrown away.
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}

/// Opens the chunks of one segment, in any order.
pub struct SegmentOpener {
    opened: Opened,
    plain_len: u64,
    last_chunk: u32,
    lease: Lease,
}

impl SegmentOpener {
    /// Plaintext bytes of the whole segment.
    pub fn plain_len(&self) -> u64 {
        self.plain_len
    }

    /// Number of chunks, at least 1.
    pub fn chunks(&self) -> u32 {
        self.last_chunk + 1
    }

    /// Length of the sealed chunk `index`, tag included; `None` behind the last.
    pub fn sealed_chunk_len(&self, index: u32) -> Option<usize> {
        if index > self.last_chunk {
            return None;
        }
        let before = u64::from(index) * CHUNK_BYTES as u64;
        let plain = (self.plain_len - before).min(CHUNK_BYTES as u64);
        Some(usize::try_from(plain).expect("at most one chunk") + TAG_BYTES)
    }

    /// Opens the sealed chunk `index` (ciphertext and tag, nothing else) in place; returns its plaintext.
    ///
    /// Checks the lease first, so a stream ends within one chunk of a revocation. On failure `sealed` holds nothing of
    /// the plaintext.
    pub fn open_chunk<'a>(&self, index: u32, sealed: &'a mut [u8]) -> Result<&'a mut [u8], OpenError> {
        self.lease.check()?;
        let expected = self.sealed_chunk_len(index).ok_or(OpenClass::Chunk)?;
        if sealed.len() != expected {
            return Err(OpenClass::Length.into());
        }
        let last = if index == self.last_chunk { Last::Yes } else { Last::No };
        let nonce = self.opened.nonce(index, last);
        self.opened.key.open(nonce, &self.opened.aad, sealed).ok_or_else(|| OpenClass::Tag.into())
    }
}

impl Dek {
    /// A sealer for one attempt to seal one segment; its salt, and so its key, is fresh.
    ///
    /// # Panics
    /// If `info` names a part number that its kind cannot have: a bug of the caller, never of outsiders.
    pub fn sealer(&self, info: &SegmentInfo) -> SegmentSealer {
        self.sealer_with_salt(info, random_array())
    }

    pub(crate) fn sealer_with_salt(&self, info: &SegmentInfo, salt: [u8; 32]) -> SegmentSealer {
        assert!(info.part_is_possible(), "part {} of a segment of kind {:?}", info.part, info.kind);
        let mut header = [0; HEADER_BYTES];
        header[..128].copy_from_slice(&info.encode());
        header[128..160].copy_from_slice(&salt);
        let opened = scrubbed(|| {
            let schedule = derive::segment(self.secret(), header[..160].try_into().expect("160 bytes"));
            header[160..].copy_from_slice(&schedule.commitment);
            Opened::new(&schedule, &header)
        });
        SegmentSealer { header, opened, next: 0, complete: false, lease: self.lease().clone() }
    }

    /// Seals a whole plaintext at once: header, then chunks.
    ///
    /// # Panics
    /// As [`Dek::sealer`], and if `plain` is longer than a segment may be.
    pub fn seal_whole(&self, info: &SegmentInfo, plain: &[u8]) -> Vec<u8> {
        seal_all(self.sealer(info), plain)
    }

    /// Verifies a segment's header against what the index row says; the opener then opens its chunks.
    ///
    /// `header` is the first 192 bytes of the segment, `sealed_len` its whole length as the store reports it: it must be
    /// exactly what `plain_len` of the row demands, also when only a range is wanted.
    pub fn opener(
        &self,
        expected: &SegmentInfo,
        header: &[u8],
        plain_len: u64,
        sealed_len: u64,
    ) -> Result<SegmentOpener, OpenError> {
        self.lease().check()?;
        let header: &[u8; HEADER_BYTES] = header.try_into().map_err(|_| OpenClass::Length)?;
        compare(header, expected)?;
        if plain_len > SEGMENT_BYTES_MAX || sealed_len != self::sealed_len(plain_len) {
            return Err(OpenClass::Length.into());
        }
        let opened = scrubbed(|| {
            let schedule = derive::segment(self.secret(), header[..160].try_into().expect("160 bytes"));
            let committed = bool::from(schedule.commitment.ct_eq(&header[160..]));
            committed.then(|| Opened::new(&schedule, header)).ok_or(OpenClass::Commitment)
        })?;
        let last_chunk = u32::try_from(chunk_count(plain_len) - 1).expect("bounded by SEGMENT_BYTES_MAX");
        Ok(SegmentOpener { opened, plain_len, last_chunk, lease: self.lease().clone() })
    }

    /// Opens a whole segment of `plain_len` bytes that lies in memory.
    pub fn open_whole(&self, expected: &SegmentInfo, sealed: &[u8], plain_len: u64) -> Result<Vec<u8>, OpenError> {
        let mut body = sealed.to_vec();
        self.open_whole_in_place(expected, &mut body, plain_len)?;
        Ok(body)
    }

    /// As [`Dek::open_whole`], within the buffer: afterwards `sealed` holds the plaintext, or nothing on failure.
    pub fn open_whole_in_place(
        &self,
        expected: &SegmentInfo,
        sealed: &mut Vec<u8>,
        plain_len: u64,
    ) -> Result<(), OpenError> {
        let opened = self.open_into_front(expected, sealed, plain_len);
        sealed.truncate(*opened.as_ref().unwrap_or(&0));
        opened.map(drop)
    }

    /// Moves the plaintext of each chunk down to where it belongs; returns its length.
    fn open_into_front(&self, expected: &SegmentInfo, sealed: &mut [u8], plain_len: u64) -> Result<usize, OpenError> {
        let header = sealed.get(..HEADER_BYTES).ok_or(OpenClass::Length)?;
        let opener = self.opener(expected, header, plain_len, sealed.len() as u64)?;
        let (mut from, mut to) = (HEADER_BYTES, 0);
        for index in 0..opener.chunks() {
            let len = opener.sealed_chunk_len(index).expect("index is below the count");
            let plain = opener.open_chunk(index, &mut sealed[from..from + len])?.len();
            sealed.copy_within(from..from + plain, to);
            from += len;
            to += plain;
        }
        Ok(to)
    }
}

pub(crate) fn seal_all(mut sealer: SegmentSealer, plain: &[u8]) -> Vec<u8> {
    let len = usize::try_from(sealed_len(plain.len() as u64)).expect("a sealed segment fits in memory");
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(sealer.header());
    if plain.len() <= CHUNK_BYTES {
        // The common small object: sealed where it will lie.
        out.extend_from_slice(plain);
        let nonce = sealer.opened.nonce(0, Last::Yes);
        let tag = sealer.opened.key.seal(nonce, &sealer.opened.aad, &mut out[HEADER_BYTES..]);
        out.extend_from_slice(tag.as_ref());
        return out;
    }
    let mut chunk = Vec::with_capacity(SEALED_CHUNK_BYTES);
    let mut chunks = plain.chunks(CHUNK_BYTES).peekable();
    while let Some(next) = chunks.next() {
        chunk.clear();
        chunk.extend_from_slice(next);
        let last = if chunks.peek().is_none() { Last::Yes } else { Last::No };
        sealer.seal_chunk(&mut chunk, last).expect("chunks of a slice have the lengths v1 wants");
        out.extend_from_slice(&chunk);
    }
    out
}

/// Where the geo stands in a header.
const GEO: std::ops::Range<usize> = 32..48;

/// Compares every clear field with the expected one, in order, so that the class is telling.
fn compare(header: &[u8; HEADER_BYTES], expected: &SegmentInfo) -> Result<(), OpenError> {
    let expected = expected.encode();
    let checks = [
        (0..8, OpenClass::Magic),
        (8..9, OpenClass::Version),
        (9..10, OpenClass::Kind),
        (10..12, OpenClass::Suite),
        (12..13, OpenClass::ChunkSize),
        (13..14, OpenClass::Flags),
        (GEO, OpenClass::Geo),
        (14..128, OpenClass::Context),
    ];
    for (place, class) in checks {
        if header[place.clone()] != expected[place] {
            return Err(class.into());
        }
    }
    Ok(())
}
