//! A data subject's erasure, in this order:
//!
//! 1. entry in the log; then a note that it is under way, durable: from here on nothing new is written for the subject
//! 2. the subject's key: tombstone, every handle void (reads under way end within a chunk, all others find nothing), the
//!    wrapped key overwritten on disk and looked for; entry
//! 3. wait until every commit in flight is done: those behind it are refused by the key
//! 4. rows and blobs of the subject's objects, every version, and uploads, region by region, until no place is left; marks
//!    of deletion under names that have nothing left
//! 5. entry; then its name and the note go, in one commit
//!
//! A crash after 1 leaves the note, and the next start goes on at 2: destroying what is destroyed does no harm. Only the
//! list of an object of more than 1,000 parts cannot be read again without the key: such parts are left to the collector
//! of orphans.

use super::SubjectError;
use super::places::{Premises, Visited, Window, called, drop_lone_marks, window};
use crate::audit::{Actor, Event as Record, Receipt};
use crate::directory::{DirectoryError, SubjectEntry, matters_of_row};
use crate::index::{Condition, IndexError};
use crate::model::ids::{SegmentId, SubjectId, TenantId};
use crate::model::names::{ObjectName, SubjectName};
use crate::model::time::Millis;
use crate::model::versioning::VersionAsked;
use crate::regions::RegionRoots;
use crate::seal::{KeyError, ShredEvidence};
use crate::tenancy::Tenancy;
use std::collections::{BTreeSet, HashMap, HashSet};

/// What an erasure would remove, as counted now: what a run that begins now does, unless something is written meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreseen {
    /// Objects that go, batches apart.
    pub objects: u64,
    /// Their versions that go.
    pub versions: u64,
    /// The plaintext bytes of those, and of the batches.
    pub bytes: u64,
    /// Uploads in progress.
    pub uploads: u64,
    /// Versions of batches that are written anew without it.
    pub batches: u64,
    /// Windows of figures that lose their rows.
    pub windows: BTreeSet<Window>,
    /// Objects of which a legal hold keeps something, batches too.
    pub held: u64,
    /// Versions that they keep.
    pub held_versions: u64,
    /// By which matters.
    pub matters: BTreeSet<String>,
}

impl Foreseen {
    /// Versions of objects and of batches that there are, held or not.
    pub fn stored(&self) -> u64 {
        self.versions + self.batches + self.held_versions
    }

    /// Whether holds keep all there is.
    pub fn is_all_held(&self) -> bool {
        self.held > 0 && (self.versions, self.batches, self.uploads) == (0, 0, 0)
    }
}

/// What was removed while holds keep the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InPart {
    /// Objects of which something was removed, batches apart.
    pub objects: u64,
    /// Versions of them that were.
    pub versions: u64,
    /// Windows of figures that went.
    pub windows: BTreeSet<Window>,
    /// Uploads ended.
    pub uploads: u64,
    /// Blobs deleted.
    pub blobs: u64,
}

/// What an erasure did.
#[derive(Clone, Debug)]
pub struct Erased {
    /// Whom.
    pub subject: SubjectId,
    /// Objects removed in this run, batches apart.
    pub objects: u64,
    /// Versions of them removed in this run.
    pub versions: u64,
    /// Windows of figures that went in this run.
    pub windows: BTreeSet<Window>,
    /// Uploads ended in this run.
    pub uploads: u64,
    /// Blobs deleted in this run.
    pub blobs: u64,
    /// When nothing could be read any more.
    pub inaccessible: Millis,
    /// What the key's destruction left on this disk.
    pub shredded: ShredEvidence,
    /// The closing entry of the log.
    pub receipt: Receipt,
}

/// What [`erase`] would do. `None`: the tenant has no such subject.
pub async fn foresee(
    tenancy: &Tenancy,
    tenant: TenantId,
    name: &SubjectName,
) -> Result<Option<(SubjectEntry, Foreseen)>, SubjectError> {
    let Some(entry) = tenancy.directory.subject(tenant, name).await? else { return Ok(None) };
    let premises = Premises::of(tenancy, tenant).await?;
    let (mut foreseen, tokens) = (Foreseen::default(), premises.tokens(name));
    let (mut going, mut held) = (HashSet::new(), HashSet::new());
    let holds = tenancy.directory.holds(tenant).await?;
    for roots in &premises.regions {
        for token in &tokens {
            let mut after = None;
            loop {
                let (page, next) = premises.visit(roots, *token, entry.id, after.as_ref()).await?;
                for visited in &page {
                    foreseen.uploads += u64::from(visited.row.upload.is_some() && visited.object.is_none());
                    let (Some(object), Some(bucket)) = (&visited.object, &visited.bucket) else { continue };
                    let over = holds.as_ref().map(|holds| matters_of_row(holds, bucket.at.name.as_str(), object));
                    let matters = over.unwrap_or_default();
                    if !matters.is_empty() {
                        held.insert(called(bucket, &object.name));
                        foreseen.held_versions += 1;
                        foreseen.matters.extend(matters);
                        continue;
                    }
                    foreseen.bytes += object.size;
                    foreseen.windows.extend(window(bucket, object));
                    if object.subjects.is_some() {
                        foreseen.batches += 1;
                    } else {
                        foreseen.versions += 1;
                        going.insert(called(bucket, &object.name));
                    }
                }
                after = next;
                if after.is_none() {
                    break;
                }
            }
        }
    }
    (foreseen.objects, foreseen.held) = (going.len() as u64, held.len() as u64);
    Ok(Some((entry, foreseen)))
}

/// Begins the erasure of a subject that [`foresee`] found and that is not being erased yet: when this returns it is on
/// record, and no crash undoes it.
pub async fn begin(
    tenancy: &Tenancy,
    actor: &Actor,
    tenant: TenantId,
    name: &SubjectName,
    subject: SubjectId,
) -> Result<(), SubjectError> {
    // Nothing is begun that cannot be ended.
    Premises::of(tenancy, tenant).await?;
    tenancy.audit.append(actor, Record::SubjectErasureBegun { tenant, subject }).await?;
    Ok(tenancy.directory.begin_erasure(tenant, name, subject).await?)
}

/// Carries out an erasure that was begun. `watch` is told of every place dealt with.
pub async fn erase(
    tenancy: &Tenancy,
    actor: &Actor,
    tenant: TenantId,
    subject: SubjectId,
    watch: &(dyn Fn(u64) + Send + Sync),
) -> Result<Erased, SubjectError> {
    // None: another run of it has ended meanwhile, and there is nothing left but a key that is destroyed.
    let name = tenancy.directory.name_of_erased(tenant, subject).await?;
    let erasure = Erasure { tenancy, actor, tenant, subject, watch, holds: Holds::AreOver };
    let lists = match &name {
        Some(name) => erasure.part_lists(name).await?,
        None => HashMap::new(),
    };
    let shredded = erasure.destroy_key().await?;
    drop(tenancy.directory.pause_commits().await);
    let inaccessible = tenancy.clock.now().wall;
    let mut gone = Gone::default();
    if let Some(name) = &name {
        erasure.remove(name, &lists, &mut gone).await?;
    }
    let Gone { objects, versions, windows, uploads, blobs, .. } = gone;
    let ended = Record::SubjectErased { tenant, subject, objects: versions, uploads, blobs };
    let receipt = tenancy.audit.append(actor, ended).await?;
    tenancy.directory.end_erasure(tenant, subject).await?;
    let objects = objects.len() as u64;
    Ok(Erased { subject, objects, versions, windows, uploads, blobs, inaccessible, shredded, receipt })
}

/// Removes what no hold keeps of somebody, while holds keep the rest: the subject's key has to live for those. The
/// erasure itself comes when they are released.
pub async fn erase_in_part(
    tenancy: &Tenancy,
    actor: &Actor,
    tenant: TenantId,
    (name, subject): (&SubjectName, SubjectId),
    watch: &(dyn Fn(u64) + Send + Sync),
) -> Result<InPart, SubjectError> {
    let erasure = Erasure { tenancy, actor, tenant, subject, watch, holds: Holds::Keep };
    let lists = erasure.part_lists(name).await?;
    let mut gone = Gone::default();
    erasure.remove(name, &lists, &mut gone).await?;
    let Gone { objects, versions, windows, uploads, blobs, kept, .. } = gone;
    let ended = Record::SubjectErasedInPart { tenant, subject, objects: versions, uploads, blobs, kept };
    tenancy.audit.append(actor, ended).await?;
    Ok(InPart { objects: objects.len() as u64, versions, windows, uploads, blobs })
}

/// Takes up the erasures that a crash cut off. Answers how many.
pub async fn resume(tenancy: &Tenancy, actor: &Actor) -> Result<u64, SubjectError> {
    let mut resumed = 0;
    for (tenant, subject) in tenancy.directory.erasures().await? {
        erase(tenancy, actor, tenant, subject, &|_| {}).await?;
        resumed += 1;
    }
    Ok(resumed)
}

struct Erasure<'a> {
    tenancy: &'a Tenancy,
    actor: &'a Actor,
    tenant: TenantId,
    subject: SubjectId,
    watch: &'a (dyn Fn(u64) + Send + Sync),
    holds: Holds,
}

/// What legal holds mean to a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// None is in the way: that was settled before the erasure began, and from then on nothing of it can be read.
    AreOver,
    /// What they keep stays.
    Keep,
}

/// What became of one place.
#[derive(Default)]
struct Dealt {
    /// The object of which a version was removed.
    removed: Option<[u8; 32]>,
    window: Option<Window>,
    ended: bool,
    kept: bool,
    doomed: Vec<SegmentId>,
}

/// What a run has removed.
#[derive(Default)]
struct Gone {
    objects: HashSet<[u8; 32]>,
    versions: u64,
    windows: BTreeSet<Window>,
    uploads: u64,
    blobs: u64,
    places: u64,
    kept: u64,
}

/// The parts of objects whose list only the subject's key opens, by the list's segment.
type PartLists = HashMap<SegmentId, Vec<SegmentId>>;

impl Erasure<'_> {
    /// What lists of parts the subject's objects have. Those that its key does not open any more are left out.
    async fn part_lists(&self, name: &SubjectName) -> Result<PartLists, SubjectError> {
        let premises = Premises::of(self.tenancy, self.tenant).await?;
        let mut lists = HashMap::new();
        for roots in &premises.regions {
            for token in premises.tokens(name) {
                self.part_lists_at(&premises, roots, token, &mut lists).await?;
            }
        }
        Ok(lists)
    }

    async fn part_lists_at(
        &self,
        premises: &Premises,
        roots: &RegionRoots,
        token: [u8; 16],
        lists: &mut PartLists,
    ) -> Result<(), SubjectError> {
        let mut after = None;
        loop {
            let (page, next) = premises.visit(roots, token, self.subject, after.as_ref()).await?;
            for Visited { object, bucket, .. } in &page {
                let (Some(object), Some(bucket)) = (object, bucket) else { continue };
                if let (crate::index::rows::v1::Place::PartList, Some(list)) = (object.place, object.segments.first()) {
                    match premises.blobs(self.tenancy, roots, bucket, object).await {
                        Ok(blobs) => drop(lists.insert(list.id, blobs)),
                        Err(SubjectError::Directory(DirectoryError::Keys(KeyError::Destroyed))) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn destroy_key(&self) -> Result<ShredEvidence, SubjectError> {
        let (keys, tenant, subject) = (self.tenancy.directory.key_service().clone(), self.tenant, self.subject);
        let destroyed = tokio::task::spawn_blocking(move || keys.destroy_subject(tenant.0, subject.0)).await;
        let evidence: Result<_, KeyError> = destroyed.map_err(|_| SubjectError::Worker)?;
        let evidence = evidence?;
        let record = Record::SubjectKeyDestroyed {
            tenant,
            subject,
            files_scanned: evidence.files_scanned,
            salts_found: evidence.salts_found,
            in_place: evidence.overwritten_in_place,
        };
        self.tenancy.audit.append(self.actor, record).await?;
        Ok(evidence)
    }

    /// Removes what the places lead to, and the places, until none is left under any token. A rotation of the index root
    /// that begins meanwhile brings a token that was not looked at: then once more.
    async fn remove(&self, name: &SubjectName, lists: &PartLists, gone: &mut Gone) -> Result<(), SubjectError> {
        loop {
            let premises = Premises::of(self.tenancy, self.tenant).await?;
            let tokens = premises.tokens(name);
            for roots in &premises.regions {
                for token in &tokens {
                    self.remove_at(&premises, roots, *token, lists, gone).await?;
                }
            }
            let keys = self.tenancy.directory.keys(self.tenant).await?;
            if keys.active_tik() == premises.keys.active_tik() {
                return Ok(());
            }
        }
    }

    async fn remove_at(
        &self,
        premises: &Premises,
        roots: &RegionRoots,
        token: [u8; 16],
        lists: &PartLists,
        gone: &mut Gone,
    ) -> Result<(), SubjectError> {
        let mut after = None;
        loop {
            let (page, next) = premises.visit(roots, token, self.subject, after.as_ref()).await?;
            let removals = page.iter().map(|visited| self.remove_one(premises, roots, visited, lists));
            let mut dealt_with = Vec::with_capacity(page.len());
            for (dealt, visited) in futures::future::try_join_all(removals).await?.into_iter().zip(&page) {
                gone.versions += u64::from(dealt.removed.is_some());
                gone.objects.extend(dealt.removed);
                gone.windows.extend(dealt.window);
                gone.uploads += u64::from(dealt.ended);
                gone.blobs += dealt.doomed.len() as u64;
                if !dealt.doomed.is_empty() {
                    roots.blobs.delete(&dealt.doomed).await?;
                }
                if dealt.kept {
                    gone.kept += 1;
                } else {
                    dealt_with.push(visited.at);
                }
            }
            roots.index.remove_subject_places(&dealt_with).await?;
            gone.places += dealt_with.len() as u64;
            (self.watch)(gone.places);
            after = next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn remove_one(
        &self,
        premises: &Premises,
        roots: &RegionRoots,
        visited: &Visited,
        lists: &PartLists,
    ) -> Result<Dealt, SubjectError> {
        let Some(bucket) = &visited.bucket else { return Ok(Dealt::default()) };
        let mut dealt = Dealt::default();
        if visited.object.as_ref().is_some_and(|object| object.subjects.is_some()) {
            // Of others, too: `batches` writes it anew, but for what a hold keeps.
            dealt.kept = self.holds == Holds::Keep;
            return if dealt.kept { Ok(dealt) } else { Err(SubjectError::BatchLeft) };
        }
        if let Some(object) = &visited.object {
            let name = ObjectName::parse(object.name.clone()).map_err(|_| SubjectError::Integrity)?;
            // A hold comes into force between two commits.
            let directory = &self.tenancy.directory;
            let held = if self.holds == Holds::Keep { Some(directory.commits_for_subjects().await) } else { None };
            let condition = match self.holds {
                Holds::AreOver => Condition::None,
                Holds::Keep => directory.unkept(&bucket.at, Condition::None).await?,
            };
            let asked = VersionAsked::Id(object.version_id);
            let deleted = roots.index.delete_version(&bucket.index, &name, asked, condition, None).await;
            drop(held);
            match deleted {
                Err(IndexError::Kept) => {
                    dealt.kept = true;
                    return Ok(dealt);
                }
                Ok(Some(row)) => {
                    (dealt.removed, dealt.window) = (Some(called(bucket, &row.name)), window(bucket, &row));
                    dealt.doomed = match (row.place, row.segments.first()) {
                        (crate::index::rows::v1::Place::PartList, Some(list)) => {
                            lists.get(&list.id).cloned().unwrap_or_else(|| vec![list.id])
                        }
                        _ => premises.blobs(self.tenancy, roots, bucket, &row).await?,
                    };
                }
                // Deleted or replaced by a client since it was looked at.
                Ok(None) | Err(IndexError::Condition | IndexError::NoSuchObject) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if visited.row.upload.is_none() {
            // Also of an object that is gone already: a crash may have come between.
            let name = ObjectName::parse(visited.row.name.clone()).map_err(|_| SubjectError::Integrity)?;
            drop_lone_marks(roots, bucket, &name).await?;
        }
        if let Some(upload) = visited.row.upload {
            match roots.index.abort(&bucket.index, upload).await {
                Ok(parts) => {
                    dealt.ended = true;
                    dealt.doomed.extend(parts.into_iter().map(|part| part.segment.id));
                }
                Err(IndexError::NoSuchUpload) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(dealt)
    }
}
