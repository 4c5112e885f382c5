//! CONDUCTOR of a tenant's export: sealed segments as they lie, a sealed manifest that names them, and nothing that needs
//! this software to read it. Source: docs/object-format.md, "Export".
//!
//! Called by the admin acts through `app`. Every segment is opened on its way, so that what is in the manifest is known
//! to be whole; what is not whole is left out of it, counted and logged. Clients go on writing meanwhile: an object that
//! is deleted or replaced on the way is in the export as it was, as it is, or not at all. Must not know HTTP.
//!
//! What leaves is one tar archive: `blobs/<segment>.seg`, then `manifest.rec`, `manifest.seg`, and `export.json`, which
//! says how it went and which of the blobs belong to nothing. An archive without that last file was cut off. The keys
//! are not in it: they leave by [`keys`], an act of its own, and only for who holds the tenant's name against it.

mod archive;
mod copy;

pub use archive::Report;

use crate::audit::{Actor, AuditError, Event as Record, Hash};
use crate::blob::BlobError;
use crate::directory::{DirectoryError, OpenedBucket};
use crate::index::IndexError;
use crate::model::ids::{SegmentId, SubjectId, TenantId};
use crate::model::names::BucketName;
use crate::regions::RegionRoots;
use crate::seal::{ExportKey, KeyError, Manifest, ManifestSubject};
use crate::tenancy::{Tenancy, TenancyError};
use archive::Archive;
use bytes::Bytes;
use futures::channel::mpsc;
use futures::sink::SinkExt;
use futures::stream::{BoxStream, StreamExt};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Rows read at once.
const STEP: usize = 256;
/// Pieces of the archive on their way to the caller: of 1 MiB at most.
const IN_FLIGHT_MAX: usize = 8;

/// The archive as it is made. An error breaks it off.
pub type Leaving = BoxStream<'static, Result<Bytes, ExportError>>;

/// Why an export was not made, or broke off.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The key service refused or failed.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The directory failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The index failed.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A blob store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The log: nothing was done.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// What an object consists of could not be told.
    #[error(transparent)]
    Tenancy(#[from] TenancyError),
    /// The tenant has a bucket in a region that is not served here.
    #[error("a bucket of the tenant lies in {0}, which is not served here")]
    RegionNotServed(&'static str),
    /// The tenant has no such bucket.
    #[error("no such bucket")]
    NoSuchBucket,
    /// Whoever was to receive it went away.
    #[error("nobody receives the export any more")]
    HungUp,
    /// A thread that worked for us is gone.
    #[error("a worker stopped")]
    Worker,
}

/// What an export would hold, as counted now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// Objects, every version of each.
    pub objects: u64,
    /// Their plaintext bytes.
    pub bytes: u64,
}

/// Counts what [`begin`] would export.
pub async fn foresee(
    tenancy: &Tenancy,
    tenant: TenantId,
    bucket: Option<&BucketName>,
) -> Result<Foreseen, ExportError> {
    let mut foreseen = Foreseen::default();
    for (roots, bucket) in stocks(tenancy, tenant, bucket).await? {
        let mut cursor = None;
        loop {
            let page = roots.index.scan_objects(&bucket.index, cursor.as_ref(), STEP).await?;
            foreseen.objects += page.iter().filter(|scanned| scanned.row.is_object()).count() as u64;
            foreseen.bytes += page.iter().map(|scanned| scanned.row.size).sum::<u64>();
            match page.last() {
                Some(last) if page.len() == STEP => cursor = Some(last.cursor.clone()),
                _ => break,
            }
        }
    }
    Ok(foreseen)
}

/// Begins an export of a tenant, or of one bucket of it. The entry in the log is durable before anything leaves.
pub async fn begin(
    tenancy: &Tenancy,
    actor: &Actor,
    tenant: TenantId,
    bucket: Option<&BucketName>,
) -> Result<Leaving, ExportError> {
    let stocks = stocks(tenancy, tenant, bucket).await?;
    let only = bucket.and_then(|_| stocks.first()).map(|(_, bucket)| bucket.at.bucket);
    tenancy.audit.append(actor, Record::ExportBegun { tenant, bucket: only }).await?;
    let (sink, leaving) = mpsc::channel(IN_FLIGHT_MAX);
    let mut export = Export {
        tenancy: tenancy.clone(),
        actor: actor.clone(),
        tenant,
        archive: Archive::new(sink.clone()),
        manifest: Manifest::default(),
        subjects: HashMap::new(),
    };
    tokio::spawn(async move {
        let mut sink = sink;
        if let Err(error) = export.run(&stocks).await {
            tracing::error!(%error, %tenant, "an export broke off");
            // Whoever receives it must see that it broke off; if nobody does, nobody has to.
            let _ = sink.send(Err(error)).await;
        }
    });
    Ok(leaving.boxed())
}

/// The keys that open an export made just now, and the version of the tenant's key among them.
pub struct Keys {
    /// The version; the manifest's record names it too.
    pub version: u32,
    /// The tenant's key, 64 hexadecimal digits.
    pub tenant: Zeroizing<String>,
    /// The key above the subjects' keys, 64 hexadecimal digits.
    pub subject_wrap: Zeroizing<String>,
}

/// Hands out the keys of an export. Whoever has them reads everything that the tenant stored and stores.
pub async fn keys(tenancy: &Tenancy, actor: &Actor, tenant: TenantId) -> Result<Keys, ExportError> {
    let version = tenancy.directory.keys(tenant).await?.active_trk().version;
    tenancy.audit.append(actor, Record::TenantKeyRevealed { tenant, version }).await?;
    let service = tenancy.directory.key_service().clone();
    let revealed = tokio::task::spawn_blocking(move || {
        let root = service.danger_reveal(tenant.0, ExportKey::Tenant)?;
        Ok::<_, KeyError>((root, service.danger_reveal(tenant.0, ExportKey::SubjectWrap)?))
    });
    let (tenant_key, subject_wrap) = revealed.await.map_err(|_| ExportError::Worker)??;
    Ok(Keys { version, tenant: tenant_key, subject_wrap })
}

type Stock = (Arc<RegionRoots>, Arc<OpenedBucket>);

async fn stocks(tenancy: &Tenancy, tenant: TenantId, only: Option<&BucketName>) -> Result<Vec<Stock>, ExportError> {
    let buckets = match only {
        None => tenancy.directory.buckets(tenant).await?,
        Some(name) => vec![tenancy.directory.bucket(tenant, name).await?.ok_or(ExportError::NoSuchBucket)?],
    };
    let mut stocks = Vec::new();
    for at in buckets {
        let roots = tenancy.regions.get(at.region.id).ok_or(ExportError::RegionNotServed(at.region.id))?;
        if let Some(bucket) = tenancy.directory.open_bucket(&at).await? {
            stocks.push((roots.clone(), bucket));
        }
    }
    Ok(stocks)
}

/// An export under way.
struct Export {
    tenancy: Tenancy,
    actor: Actor,
    tenant: TenantId,
    archive: Archive,
    manifest: Manifest,
    /// Which objects of the manifest hang under which subject's key.
    subjects: HashMap<SubjectId, Vec<usize>>,
}

impl Export {
    async fn run(&mut self, stocks: &[Stock]) -> Result<(), ExportError> {
        for (roots, bucket) in stocks {
            let unfinished = roots.index.count_unfinished(Some(bucket.at.bucket)).await?;
            self.archive.report.uploads += unfinished.uploads;
            self.archive.report.parts += unfinished.parts;
            let mut cursor = None;
            loop {
                let page = roots.index.scan_objects(&bucket.index, cursor.as_ref(), STEP).await?;
                for scanned in &page {
                    self.object(roots, bucket, &scanned.row).await?;
                }
                match page.last() {
                    Some(last) if page.len() == STEP => cursor = Some(last.cursor.clone()),
                    _ => break,
                }
            }
        }
        self.subject_keys().await?;
        let keys = self.tenancy.directory.keys(self.tenant).await?;
        let manifest = std::mem::take(&mut self.manifest);
        let objects = manifest.objects.len() as u64;
        let sealed = tokio::task::spawn_blocking(move || keys.seal_manifest(&manifest)).await;
        let sealed = sealed.map_err(|_| ExportError::Worker)??;
        let hash = Hash::of(&[&sealed.segment]);
        self.archive.file("manifest.rec", Bytes::copy_from_slice(&sealed.record)).await?;
        self.archive.file("manifest.seg", sealed.segment.into()).await?;
        let report = self.archive.report(objects).await?;
        let (bytes, damaged) = (report.bytes, report.damaged);
        let ended = Record::ExportEnded { tenant: self.tenant, objects, bytes, damaged, manifest: hash };
        self.tenancy.audit.append(&self.actor, ended).await?;
        self.archive.end().await
    }

    /// Adds the wrapped keys of the subjects, and takes out what belongs to one that was erased meanwhile.
    async fn subject_keys(&mut self) -> Result<(), ExportError> {
        let (service, tenant) = (self.tenancy.directory.key_service().clone(), self.tenant);
        let wanted: Vec<_> = self.subjects.keys().copied().collect();
        let read = tokio::task::spawn_blocking(move || {
            let record = |subject: SubjectId| match service.subject_record(tenant.0, subject.0) {
                Ok(record) => Ok((subject, Some(record))),
                Err(KeyError::Destroyed) => Ok((subject, None)),
                Err(error) => Err(error),
            };
            wanted.into_iter().map(record).collect::<Result<Vec<_>, KeyError>>()
        });
        let mut erased = HashSet::new();
        for (subject, record) in read.await.map_err(|_| ExportError::Worker)?? {
            match record {
                Some(record) => self.manifest.subject_keys.push(ManifestSubject { subject: subject.0, record }),
                None => erased.extend(self.subjects.remove(&subject).unwrap_or_default()),
            }
        }
        let objects = std::mem::take(&mut self.manifest.objects);
        for (at, object) in objects.into_iter().enumerate() {
            if erased.contains(&at) {
                self.archive.discard(object.segments.iter().map(|segment| SegmentId(segment.id)));
            } else {
                self.manifest.objects.push(object);
            }
        }
        Ok(())
    }
}
