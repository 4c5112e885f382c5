//! Legal holds: `h | tenant | hash of the number` says all about a matter; `d | tenant | hash of the request` is an act
//! that waits for a release. Both sealed under the tenant's directory key: they name people and cases, and end with the
//! tenant. Whether a matter is in force is the standing's to say.
//!
//! Called by the conductor of holds, and by whoever is about to remove or replace something: [`Directory::unkept`] for one
//! object's commit, [`Directory::matters_over`] for the question as such, [`Directory::defer`] for what is put off.

use super::closes::note_removal;
use super::reroot::open;
use super::rows::{self, kind};
use super::{Directory, DirectoryError, SCAN};
use crate::index::engine::{Batch, Direction, KeyRange};
use crate::index::rows::v1::ObjectRow;
use crate::index::{Condition, Keeper};
use crate::model::ids::TenantId;
use crate::model::names::SUBJECT_METADATA;
use crate::model::object::BucketRef;
use crate::tenant::holds::{Deferred, Holds, Matter, Target};
use bytes::Bytes;
use ring::digest::{SHA256, digest};
use std::sync::Arc;

impl Directory {
    /// The matters in force for a tenant; none: nothing is held.
    pub async fn holds(&self, tenant: TenantId) -> Result<Option<Arc<Holds>>, DirectoryError> {
        let Some(entry) = self.tenant(tenant).await? else { return Ok(None) };
        if entry.standing.holds.is_empty() {
            return Ok(None);
        }
        if let Some((revision, holds)) = self.cache.read().holds.get(&tenant)
            && *revision == entry.revision
        {
            return Ok(Some(holds.clone()));
        }
        let holds = Arc::new(Holds::in_force(&entry.standing, self.matters(tenant).await?));
        self.cache.write().holds.insert(tenant, (entry.revision, holds.clone()));
        Ok(Some(holds))
    }

    /// The numbers of the matters that keep an object; none: nothing stands in the way.
    pub async fn matters_over(&self, tenant: TenantId, object: &Target<'_>) -> Result<Vec<String>, DirectoryError> {
        Ok(self.holds(tenant).await?.map_or_else(Vec::new, |holds| holds.over(object)))
    }

    /// A keeper of the objects of one bucket that a hold keeps; none: nothing of the tenant is held.
    ///
    /// What it says is true while commits are held ([`Directory::commits`]): a hold comes into force between two commits.
    pub async fn keeper(&self, at: &BucketRef) -> Result<Option<Keeper>, DirectoryError> {
        let Some(holds) = self.holds(at.tenant).await? else { return Ok(None) };
        let bucket = at.name.as_str().to_owned();
        Ok(Some(Keeper::new(move |row| !over(&holds, &bucket, row).is_empty())))
    }

    /// The condition of a write or removal, and that it touches nothing that a hold keeps.
    pub async fn unkept(&self, at: &BucketRef, asked: Condition) -> Result<Condition, DirectoryError> {
        Ok(match self.keeper(at).await? {
            Some(keeper) => Condition::Unkept(Box::new(asked), keeper),
            None => asked,
        })
    }

    /// All that is said of a tenant's matters, pending ones too, in no order.
    pub async fn matters(&self, tenant: TenantId) -> Result<Vec<Matter>, DirectoryError> {
        Ok(self.rows_of_kind(kind::HOLD, tenant).await?.into_iter().map(|(_, matter)| matter).collect())
    }

    /// What is said of one matter.
    pub async fn matter(&self, tenant: TenantId, id: &str) -> Result<Option<Matter>, DirectoryError> {
        let row_key = row_key(kind::HOLD, tenant, id);
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(None) };
        let keys = self.keys(tenant).await?;
        open(&keys, kind::HOLD, &row_key, &sealed).map(Some)
    }

    /// The tenant of this geo that has a matter of this number: a number is used once in a geo.
    pub async fn tenant_of_matter(&self, id: &str) -> Result<Option<TenantId>, DirectoryError> {
        let wanted = hash(id);
        let mut range = KeyRange::prefix(&[kind::HOLD]);
        loop {
            let page = self.engine.scan_keys(range.clone(), SCAN).await?;
            for row_key in &page {
                let (tenant, hash) = parts(row_key)?;
                if hash == wanted {
                    return Ok(Some(tenant));
                }
            }
            match page.last() {
                Some(last) if page.len() == SCAN => range = range.behind(last),
                _ => return Ok(None),
            }
        }
    }

    /// Writes what is said of a matter; durable on return. Errors: `Changed` unless `old` is what was said until now.
    pub async fn change_matter(
        &self,
        tenant: TenantId,
        old: Option<&Matter>,
        new: &Matter,
    ) -> Result<(), DirectoryError> {
        let _change = self.change.lock().await;
        if self.matter(tenant, &new.id).await?.as_ref() != old {
            return Err(DirectoryError::Changed);
        }
        self.keep_row(kind::HOLD, tenant, &new.id, new).await?;
        self.cache.write().holds.remove(&tenant);
        Ok(())
    }

    /// Removes what is said of a matter.
    pub async fn drop_matter(&self, tenant: TenantId, id: &str) -> Result<(), DirectoryError> {
        self.drop_row(kind::HOLD, tenant, id).await
    }

    /// Records an act that holds put off, in place of what was recorded for the same request; durable on return. The
    /// first sweep after the last of its matters is released carries it out.
    pub async fn defer(&self, tenant: TenantId, act: &Deferred) -> Result<(), DirectoryError> {
        let _change = self.change.lock().await;
        self.keep_row(kind::DEFERRED, tenant, &act.label, act).await
    }

    /// The acts of a tenant that wait for a release, or for the sweep after it.
    pub async fn deferred(&self, tenant: TenantId) -> Result<Vec<Deferred>, DirectoryError> {
        Ok(self.rows_of_kind(kind::DEFERRED, tenant).await?.into_iter().map(|(_, act)| act).collect())
    }

    /// Takes an act that was carried out, or is moot, off the list.
    pub async fn drop_deferred(&self, tenant: TenantId, label: &str) -> Result<(), DirectoryError> {
        self.drop_row(kind::DEFERRED, tenant, label).await
    }

    /// The tenants that have acts waiting, each once.
    pub async fn tenants_with_deferred(&self) -> Result<Vec<TenantId>, DirectoryError> {
        self.tenants_with(kind::DEFERRED).await
    }

    /// The tenants that have matters, pending ones too, each once.
    pub async fn tenants_with_matters(&self) -> Result<Vec<TenantId>, DirectoryError> {
        self.tenants_with(kind::HOLD).await
    }

    async fn tenants_with(&self, kind: u8) -> Result<Vec<TenantId>, DirectoryError> {
        let mut range = KeyRange::prefix(&[kind]);
        let mut found = Vec::new();
        loop {
            let page = self.engine.scan_keys(range.clone(), SCAN).await?;
            for row_key in &page {
                let (tenant, _) = parts(row_key)?;
                if found.last() != Some(&tenant) {
                    found.push(tenant);
                }
            }
            match page.last() {
                Some(last) if page.len() == SCAN => range = range.behind(last),
                _ => return Ok(found),
            }
        }
    }

    async fn rows_of_kind<T>(&self, kind: u8, tenant: TenantId) -> Result<Vec<(Bytes, T)>, DirectoryError>
    where
        T: for<'b> minicbor::Decode<'b, ()>,
    {
        let mut range = KeyRange::prefix(&rows::row_key(kind, &[&tenant.0]));
        let mut found = Vec::new();
        loop {
            let page = self.engine.scan(range.clone(), SCAN, Direction::Ascending).await?;
            if !page.is_empty() {
                let keys = self.keys(tenant).await?;
                for (row_key, sealed) in &page {
                    found.push((row_key.clone(), open(&keys, kind, row_key, sealed)?));
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == SCAN => range = range.behind(last),
                _ => return Ok(found),
            }
        }
    }

    async fn keep_row<T: minicbor::Encode<()>>(
        &self,
        kind: u8,
        tenant: TenantId,
        name: &str,
        row: &T,
    ) -> Result<(), DirectoryError> {
        let keys = self.keys(tenant).await?;
        let row_key = row_key(kind, tenant, name);
        let sealed = keys.directory().seal(kind, &row_key, &rows::encode(row), &[]);
        let mut batch = Batch::new();
        batch.put(row_key, sealed);
        Ok(self.engine.commit(batch).await?)
    }

    async fn drop_row(&self, kind: u8, tenant: TenantId, name: &str) -> Result<(), DirectoryError> {
        let _change = self.change.lock().await;
        let mut batch = Batch::new();
        batch.delete(row_key(kind, tenant, name));
        note_removal(&mut batch, tenant);
        Ok(self.engine.commit(batch).await?)
    }
}

/// The matters that keep the object of this row.
pub fn over(holds: &Holds, bucket: &str, row: &ObjectRow) -> Vec<String> {
    let named = row.metadata.iter().filter(|(name, _)| name == SUBJECT_METADATA);
    let of_batch = row.subjects.iter().flatten().map(String::as_str);
    let subjects: Vec<_> = named.map(|(_, value)| value.as_str()).chain(of_batch).collect();
    holds.over(&Target { bucket, name: &row.name, subjects: &subjects, written: row.mtime })
}

fn hash(name: &str) -> [u8; 16] {
    digest(&SHA256, name.as_bytes()).as_ref()[..16].try_into().expect("16 of 32 bytes")
}

fn row_key(kind: u8, tenant: TenantId, name: &str) -> Vec<u8> {
    rows::row_key(kind, &[&tenant.0, &hash(name)])
}

fn parts(row_key: &[u8]) -> Result<(TenantId, [u8; 16]), DirectoryError> {
    let ids: &[u8; 33] = row_key.try_into().map_err(|_| DirectoryError::Integrity)?;
    let tenant = TenantId(ids[1..17].try_into().expect("16 bytes"));
    Ok((tenant, ids[17..].try_into().expect("16 bytes")))
}
