//! One object into the archive: its segments as they are, each opened on the way, its plaintext hashed.

use super::archive::path_of;
use super::{Export, ExportError};
use crate::audit::Event as Record;
use crate::blob::BlobError;
use crate::directory::{DirectoryError, OpenedBucket};
use crate::index::rows::v1::{ObjectKind, ObjectRow, SegmentRef};
use crate::model::ids::SegmentId;
use crate::model::names::ObjectName;
use crate::model::versioning::VersionAsked;
use crate::regions::RegionRoots;
use crate::seal::{
    self, Dek, HEADER_BYTES, KeyError, ManifestObject, ManifestSegment, ObjectContext, OpenClass, OpenError,
    SEALED_CHUNK_BYTES, SegmentInfo, SegmentKind,
};
use crate::tenancy::TenancyError;
use bytes::{Bytes, BytesMut};
use ring::digest::{Context, SHA256};
use std::sync::Arc;

/// Sealed chunks copied at once: 1 MiB of plaintext.
const COPY_BYTES: u64 = 16 * SEALED_CHUNK_BYTES as u64;

/// How the copying of a segment went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Copied {
    Whole,
    /// It is not there, or went on the way.
    Missing,
    /// It did not verify, by this check.
    Damaged(&'static str),
}

impl Export {
    /// Adds one version of an object, as it is now, if it still is. Marks of deletion hold nothing to be taken along.
    pub(super) async fn object(
        &mut self,
        roots: &RegionRoots,
        bucket: &Arc<OpenedBucket>,
        scanned: &ObjectRow,
    ) -> Result<(), ExportError> {
        let Ok(name) = ObjectName::parse(scanned.name.clone()) else { return Ok(()) };
        let asked = VersionAsked::Id(scanned.version_id);
        let Some(found) = roots.index.find_version(&bucket.index, &name, asked).await? else { return Ok(()) };
        let (row, inline) = (found.row, found.inline);
        if row.kind != ObjectKind::Object {
            return Ok(());
        }
        let keys = self.tenancy.directory.keys(self.tenant).await?;
        let context = seal::object_context(&bucket.at, row.object_id, row.version_id);
        let dek = match self.tenancy.directory.open_dek(&keys, row.subject, &row.dek_record, &context).await {
            Ok(dek) => dek,
            Err(DirectoryError::Keys(error)) if gone(&error) => return Ok(()),
            Err(DirectoryError::Keys(KeyError::Open(error))) if !is_withdrawn(error) => {
                return self.damaged(bucket, &row, error.class().as_str(), &[]).await;
            }
            Err(error) => return Err(error.into()),
        };
        let segments = match self.tenancy.segments(roots, bucket, &dek, &row).await {
            Ok(segments) => segments,
            Err(TenancyError::Keys(error)) => return Err(error.into()),
            Err(_) => return self.damaged(bucket, &row, "list", &[]).await,
        };
        let mut digest = Context::new(&SHA256);
        for (at, segment) in segments.iter().enumerate() {
            let expected = expected(context, &row, segment);
            let copied = match &inline {
                Some(sealed) => self.copy_inline(&dek, &expected, segment, sealed, &mut digest).await?,
                None => self.copy_blob(roots, &dek, &expected, segment, &mut digest).await?,
            };
            let before: Vec<_> = segments[..=at].iter().map(|segment| segment.id).collect();
            match copied {
                Copied::Whole => {}
                Copied::Missing if !self.is_still(roots, bucket, &name, &row).await? => {
                    self.archive.discard(before);
                    return Ok(());
                }
                Copied::Missing => return self.damaged(bucket, &row, "missing", &before).await,
                Copied::Damaged(class) => return self.damaged(bucket, &row, class, &before).await,
            }
        }
        if let Some(subject) = row.subject {
            self.subjects.entry(subject).or_default().push(self.manifest.objects.len());
        }
        self.archive.report.bytes += row.size;
        self.manifest.objects.push(ManifestObject {
            name: row.name,
            bucket: bucket.at.bucket.0,
            object: row.object_id.0,
            version: row.version_id.0,
            dek_record: row.dek_record,
            sha256: digest.finish().as_ref().try_into().expect("SHA-256 is 32 bytes"),
            segments: segments.iter().map(|s| ManifestSegment { id: s.id.0, part: s.part, len: s.len }).collect(),
        });
        Ok(())
    }

    async fn copy_inline(
        &mut self,
        dek: &Dek,
        expected: &SegmentInfo,
        segment: &SegmentRef,
        sealed: &Bytes,
        digest: &mut Context,
    ) -> Result<Copied, ExportError> {
        match dek.open_whole(expected, sealed, segment.len) {
            Ok(plain) => digest.update(&plain),
            Err(error) => return unopened(error),
        }
        self.archive.file(&path_of(segment.id), sealed.clone()).await?;
        Ok(Copied::Whole)
    }

    /// Once its head has left, a file has to have its length: what is missing of it is zeros then, and it is discarded.
    async fn copy_blob(
        &mut self,
        roots: &RegionRoots,
        dek: &Dek,
        expected: &SegmentInfo,
        segment: &SegmentRef,
        digest: &mut Context,
    ) -> Result<Copied, ExportError> {
        let sealed_len = seal::sealed_len(segment.len);
        let header = match head(roots, segment.id).await? {
            None => return Ok(Copied::Missing),
            Some((_, total)) if total != sealed_len => return Ok(Copied::Damaged(OpenClass::Length.as_str())),
            Some((header, _)) => header,
        };
        let opener = match dek.opener(expected, &header, segment.len, sealed_len) {
            Ok(opener) => opener,
            Err(error) => return unopened(error),
        };
        self.archive.begin(&path_of(segment.id), sealed_len).await?;
        self.archive.piece(header).await?;
        let (mut copied, mut from, mut index) = (Copied::Whole, HEADER_BYTES as u64, 0);
        while from < sealed_len {
            let to = (from + COPY_BYTES).min(sealed_len);
            let piece = match roots.blobs.get(segment.id, from..to).await {
                Ok(piece) if piece.len() as u64 == to - from => piece,
                Ok(_) | Err(BlobError::Missing(_) | BlobError::Range(_)) => {
                    copied = Copied::Missing;
                    vec![0; (to - from) as usize].into()
                }
                Err(error) => return Err(error.into()),
            };
            self.archive.piece(piece.clone()).await?;
            let mut sealed = BytesMut::from(&piece[..]);
            while copied == Copied::Whole && !sealed.is_empty() {
                let mut chunk = sealed.split_to(sealed.len().min(SEALED_CHUNK_BYTES));
                match opener.open_chunk(index, &mut chunk) {
                    Ok(plain) => digest.update(plain),
                    Err(error) => copied = unopened(error)?,
                }
                index += 1;
            }
            from = to;
        }
        self.archive.pad(sealed_len).await?;
        Ok(copied)
    }

    /// Leaves an object out that does not verify, and says so in the log.
    async fn damaged(
        &mut self,
        bucket: &OpenedBucket,
        row: &ObjectRow,
        class: &str,
        copied: &[SegmentId],
    ) -> Result<(), ExportError> {
        self.archive.report.damaged += 1;
        self.archive.discard(copied.iter().copied());
        let event = Record::IntegrityFailed {
            tenant: self.tenant,
            bucket: bucket.at.bucket,
            object: row.object_id,
            version: row.version_id,
            class: class.to_owned(),
        };
        self.tenancy.audit.append(&self.actor, event).await?;
        Ok(())
    }

    async fn is_still(
        &self,
        roots: &RegionRoots,
        bucket: &Arc<OpenedBucket>,
        name: &ObjectName,
        row: &ObjectRow,
    ) -> Result<bool, ExportError> {
        let asked = VersionAsked::Id(row.version_id);
        Ok(roots.index.find_version(&bucket.index, name, asked).await?.is_some())
    }
}

/// A blob's header and its whole length; `None`: it is not there.
async fn head(roots: &RegionRoots, id: SegmentId) -> Result<Option<(Bytes, u64)>, ExportError> {
    let total = match roots.blobs.len(id).await {
        Err(BlobError::Missing(_)) => return Ok(None),
        total => total?,
    };
    let front = (HEADER_BYTES as u64).min(total);
    match roots.blobs.get(id, 0..front).await {
        Err(BlobError::Missing(_)) => Ok(None),
        header => Ok(Some((header?, total))),
    }
}

fn expected(context: ObjectContext, row: &ObjectRow, segment: &SegmentRef) -> SegmentInfo {
    let kind = if segment.part == 0 { SegmentKind::Whole } else { SegmentKind::Part };
    seal::segment_info(kind, segment.part, context, segment.id, row.dek_id)
}

/// Whether the tenant's keys may not be used now: the export breaks off, and nothing is wrong with the object.
fn is_withdrawn(error: OpenError) -> bool {
    matches!(error.class(), OpenClass::Revoked | OpenClass::Expired)
}

fn unopened(error: OpenError) -> Result<Copied, ExportError> {
    if is_withdrawn(error) { Err(KeyError::from(error).into()) } else { Ok(Copied::Damaged(error.class().as_str())) }
}

/// Whether a key is not there because its subject was erased since the row was read.
fn gone(error: &KeyError) -> bool {
    match error {
        KeyError::Destroyed => true,
        KeyError::Open(error) => error.class() == OpenClass::Erased,
        _ => false,
    }
}
