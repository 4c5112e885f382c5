//! What legal holds keep of a data subject: found by the same places as its erasure goes by.

use super::SubjectError;
use super::places::Premises;
use crate::directory::matters_of_row;
use crate::model::ids::TenantId;
use crate::model::names::SubjectName;
use crate::tenancy::Tenancy;
use std::collections::BTreeSet;

/// Objects of a data subject that are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBy {
    /// The numbers of the matters that keep them.
    pub matters: Vec<String>,
    /// How many objects.
    pub objects: u64,
}

/// What is held of a subject now; `None`: nothing is.
pub async fn held(tenancy: &Tenancy, tenant: TenantId, name: &SubjectName) -> Result<Option<HeldBy>, SubjectError> {
    let Some(holds) = tenancy.directory.holds(tenant).await? else { return Ok(None) };
    let Some(entry) = tenancy.directory.subject(tenant, name).await? else { return Ok(None) };
    let premises = Premises::of(tenancy, tenant).await?;
    let (mut matters, mut objects) = (BTreeSet::new(), 0);
    for roots in &premises.regions {
        for token in premises.tokens(name) {
            let mut after = None;
            loop {
                let (page, next) = premises.visit(roots, token, entry.id, after.as_ref()).await?;
                for visited in &page {
                    let (Some(object), Some(bucket)) = (&visited.object, &visited.bucket) else { continue };
                    let over = matters_of_row(&holds, bucket.at.name.as_str(), object);
                    objects += u64::from(!over.is_empty());
                    matters.extend(over);
                }
                after = next;
                if after.is_none() {
                    break;
                }
            }
        }
    }
    Ok((objects > 0).then(|| HeldBy { matters: matters.into_iter().collect(), objects }))
}
