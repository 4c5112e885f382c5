//! Batches that hold records of somebody who is to be erased: written anew without them, before the key is destroyed. The
//! order, for each: entry with both versions → what is left is committed in the place of what was → the bytes of before
//! go → the place goes. At the end the indexes are rewritten, so that the data keys of before are in none of their files.
//! A crash leaves batches that are still to be done, and the next run finds them by their places.

use super::SubjectError;
use super::places::Premises;
use crate::audit::{Actor, Event as Record};
use crate::index::IndexError;
use crate::model::ids::{SubjectId, TenantId, VersionId};
use crate::model::names::{ObjectName, SubjectName};
use crate::store::Store;
use crate::store::types::StoreError;
use crate::tenancy::Tenancy;

/// What was written anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// The version that was destroyed, and the one in its place, if anything was left.
    pub versions: Vec<(VersionId, Option<VersionId>)>,
}

/// Takes somebody's records out of every batch. What a hold keeps stays as it is.
pub async fn rewrite(
    tenancy: &Tenancy,
    store: &Store,
    actor: &Actor,
    tenant: TenantId,
    (name, subject): (&SubjectName, SubjectId),
) -> Result<Rewritten, SubjectError> {
    // Who was let in before the erasure began is done; who comes behind is refused.
    drop(tenancy.directory.pause_commits().await);
    let premises = Premises::of(tenancy, tenant).await?;
    let mut done = Rewritten::default();
    for roots in &premises.regions {
        let before = done.versions.len();
        for token in premises.tokens(name) {
            let mut after = None;
            loop {
                let (page, next) = premises.visit(roots, token, subject, after.as_ref()).await?;
                for visited in &page {
                    let (Some(row), Some(bucket)) = (&visited.object, &visited.bucket) else { continue };
                    if row.subjects.is_none() {
                        continue;
                    }
                    let object = ObjectName::parse(row.name.clone()).map_err(|_| SubjectError::Integrity)?;
                    let (from, to) = (row.version_id, VersionId::random());
                    let record = Record::BatchRewritten { tenant, subject, bucket: bucket.at.bucket, from, to };
                    tenancy.audit.append(actor, record).await?;
                    match store.drop_from_batch(&bucket.at, &object, (from, to), name).await {
                        Ok(is_left) => {
                            done.versions.push((from, is_left.then_some(to)));
                            roots.index.remove_subject_places(&[visited.at]).await?;
                        }
                        // Kept by a hold, or replaced by a client since it was looked at, without this subject.
                        Err(
                            StoreError::Held
                            | StoreError::NoSuchObject
                            | StoreError::NoSuchVersion
                            | StoreError::PreconditionFailed,
                        ) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
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
