//! Batches that hold records of somebody who is to be erased: written anew without them, before the key is destroyed. The
//! order, for each: entry with both versions → what is left is committed in the place of what was → the bytes of before
//! go → the place goes. At the end the indexes are rewritten, so that the data keys of before are in none of their files.
//! A crash leaves batches that are still to be done, and the next run finds them by their places.

use super::SubjectError;
use super::places::{Premises, Visited, Window, drop_lone_marks, window};
use super::requests::Desk;
use crate::audit::{Actor, Event as Record};
use crate::index::IndexError;
use crate::model::ids::{SubjectId, TenantId, VersionId};
use crate::model::names::{ObjectName, SubjectName};
use crate::store::Store;
use crate::store::types::StoreError;
use crate::tenancy::Tenancy;
use std::collections::BTreeSet;

/// What was written anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// The version that was destroyed, and the one in its place, if anything was left.
    pub versions: Vec<(VersionId, Option<VersionId>)>,
    /// The windows of figures among them.
    pub windows: BTreeSet<Window>,
}

/// Takes somebody's records out of every batch, every version of it. What a hold keeps stays as it is. For a `request`, by its
/// number, that is noted in it before it is done: its certificate names both versions, whatever comes in between.
pub async fn rewrite(
    tenancy: &Tenancy,
    store: &Store,
    actor: &Actor,
    tenant: TenantId,
    (name, subject): (&SubjectName, SubjectId),
    request: Option<u64>,
) -> Result<Rewritten, SubjectError> {
    // Who was let in before the erasure began is done; who comes behind is refused.
    drop(tenancy.directory.pause_commits().await);
    let premises = Premises::of(tenancy, tenant).await?;
    let desk = Desk { tenancy, actor, tenant, because: None };
    let mut done = Rewritten::default();
    for roots in &premises.regions {
        let before = done.versions.len();
        for token in premises.tokens(name) {
            let mut after = None;
            loop {
                let (page, next) = premises.visit(roots, token, subject, after.as_ref()).await?;
                let of_several = |visited: &&Visited| visited.object.as_ref().is_some_and(|row| row.subjects.is_some());
                let found: Vec<_> = page.iter().filter(of_several).map(|at| (at, VersionId::random())).collect();
                let foreseen = found.iter().filter_map(|(at, to)| Some((at.object.as_ref()?.version_id, Some(*to))));
                note(&desk, request, foreseen.collect(), &[]).await?;
                let (mut written, mut refused) = (Vec::new(), Vec::new());
                for (visited, to) in found {
                    let (Some(row), Some(bucket)) = (&visited.object, &visited.bucket) else { continue };
                    let object = ObjectName::parse(row.name.clone()).map_err(|_| SubjectError::Integrity)?;
                    let from = row.version_id;
                    let record = Record::BatchRewritten { tenant, subject, bucket: bucket.at.bucket, from, to };
                    tenancy.audit.append(actor, record).await?;
                    match store.drop_from_batch(&bucket.at, &object, (from, to), name).await {
                        Ok(is_left) => {
                            written.push((from, is_left.then_some(to)));
                            done.windows.extend(window(bucket, row));
                            if !is_left {
                                drop_lone_marks(roots, bucket, &object).await?;
                            }
                            roots.index.remove_subject_places(&[visited.at]).await?;
                        }
                        // Kept by a hold, or replaced by a client since it was looked at, without this subject.
                        Err(
                            StoreError::Held
                            | StoreError::NoSuchObject
                            | StoreError::NoSuchVersion
                            | StoreError::PreconditionFailed,
                        ) => refused.push(from),
                        Err(error) => return Err(error.into()),
                    }
                }
                note(&desk, request, written.clone(), &refused).await?;
                done.versions.extend(written);
                after = next;
                if after.is_none() {
                    break;
                }
            }
        }
        if done.versions.len() > before {
            roots.index.compact().await.map_err(|error: IndexError| SubjectError::from(error))?;
        }
    }
    Ok(done)
}

async fn note(
    desk: &Desk<'_>,
    request: Option<u64>,
    written: Vec<(VersionId, Option<VersionId>)>,
    refused: &[VersionId],
) -> Result<(), SubjectError> {
    match request {
        Some(number) if !(written.is_empty() && refused.is_empty()) => {
            desk.note_rewritten(number, written, refused).await
        }
        _ => Ok(()),
    }
}
