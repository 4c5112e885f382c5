//! Every bound of the house in one place, with assertions between them.

/// Plaintext bytes of one chunk of a sealed segment.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Largest object whose sealed segment rides in the index commit instead of the blob store, in plaintext bytes.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Largest object whose sealed segment trails its own object row, so that one engine read serves the GET.
pub const TRAILING_BYTES_MAX: usize = 4 * 1024;
/// Largest single PUT or part, in bytes. Source: S3 quotas.
pub const SEGMENT_BYTES_MAX: u64 = 5 << 30;
/// Smallest part but the last, in bytes. Source: S3 quotas.
pub const PART_BYTES_MIN: u64 = 5 << 20;
/// Most parts of one upload. Source: S3 quotas.
pub const PARTS_MAX: u16 = 10_000;
/// Largest object, in bytes. Source: S3 quotas.
pub const OBJECT_BYTES_MAX: u64 = 5 << 40;
/// User metadata, names and values together, in bytes. Source: S3 quotas.
pub const METADATA_BYTES_MAX: usize = 2048;
/// Entries of one listing page. Source: S3 API.
pub const LIST_MAX: usize = 1000;
/// Objects of one DeleteObjects. Source: S3 API.
pub const DELETE_MAX: usize = 1000;
/// Largest XML body, in bytes.
pub const XML_BYTES_MAX: usize = 1 << 20;
/// Events of one batch.
pub const INGEST_EVENTS_MAX: usize = 1000;
/// One event of a batch, in bytes. Source: CloudEvents 1.0, "Size limits", asks for 64 KiB at least.
pub const INGEST_EVENT_BYTES_MAX: usize = 256 * 1024;
/// A batch of events, in bytes.
pub const INGEST_BYTES_MAX: usize = 4 << 20;
/// Entries of one listing leaf before it splits.
pub const LEAF_ENTRIES_MAX: usize = 1000;
/// Deltas of one listing leaf before it is rewritten.
pub const LEAF_DELTAS_MAX: usize = 128;
/// Most commits that share one fsync.
pub const GROUP_COMMITS_MAX: usize = 512;
/// Seconds between termination and destruction: 90 days.
pub const TERMINATION_KEEP_S: i64 = 7_776_000;
/// Seconds between the approval of an early destruction and its beginning: 72 hours.
pub const EARLY_WAIT_S: i64 = 259_200;
/// Seconds after which an upload that was never completed is aborted.
pub const UPLOAD_KEEP_S: i64 = 86_400;
/// The same of what an object is to hold when it is put right: it waits for the release of a hold, so a hundred years.
pub const CORRECTION_KEEP_S: i64 = UPLOAD_KEEP_S * 36_525;
/// Longest interval between two sweeps, in seconds.
pub const SWEEP_INTERVAL_S_MAX: u64 = 86_400;
/// Latest that a sweep may be while the server calls itself ready, in seconds.
pub const SWEEP_LATE_S_MAX: u64 = 2 * SWEEP_INTERVAL_S_MAX;
/// Seconds for which the blobs of a replaced or deleted object are kept for those who are reading it.
pub const READER_GRACE_S: u64 = 3600;
/// Most blobs that are kept for readers at once; beyond it the oldest go.
pub const KEPT_BLOBS_MAX: usize = 100_000;

const _: () = assert!(TRAILING_BYTES_MAX <= INLINE_BYTES_MAX && INLINE_BYTES_MAX <= CHUNK_BYTES);
const _: () = assert!(SEGMENT_BYTES_MAX / CHUNK_BYTES as u64 <= 1 << 32);
const _: () = assert!(INGEST_EVENT_BYTES_MAX >= 64 * 1024 && INGEST_EVENT_BYTES_MAX <= INGEST_BYTES_MAX);
