//! Acts that holds put off: carried out by the first sweep after the last of their holds is released.
//!
//! The sweeper knows when; what an act is, the conductor of such acts knows. It asks through [`Deferrals`], answered by
//! `app`. Entry first, then the act, then its row goes: a crash in between runs it again, which does no harm to what is
//! done already.

use super::SweepError;
use super::run::{GeoRooms, Report};
use crate::audit::{Actor, Event as Record};
use crate::model::ids::TenantId;
use crate::tenancy::Tenancy;
use crate::tenant::State;
use crate::tenant::holds::Deferred;

/// Who can carry out what was put off.
#[async_trait::async_trait]
pub trait Deferrals: Send + Sync + 'static {
    /// Carries it out; an act that is moot by now is done, too. The error says why not, without names: the next sweep
    /// tries again. When other holds stand in the way by now the act has been put off anew: `Ok(false)`.
    async fn resume(&self, tenancy: &Tenancy, tenant: TenantId, act: &Deferred) -> Result<bool, String>;
}

/// Carries out what waits for nothing any more in one geo.
pub(super) async fn run(
    rooms: &GeoRooms,
    actor: &Actor,
    deferrals: &dyn Deferrals,
    report: &mut Report,
) -> Result<(), SweepError> {
    let directory = &rooms.tenancy.directory;
    for tenant in directory.tenants_with_deferred().await? {
        let Some(entry) = directory.tenant(tenant).await? else { continue };
        // What is being destroyed as a whole takes its acts with it.
        if matches!(entry.standing.state, State::Purging | State::Purged) {
            continue;
        }
        for act in directory.deferred(tenant).await? {
            if act.waits(&entry.standing) {
                continue;
            }
            let (kind, label) = (act.kind.as_str().to_owned(), act.label.clone());
            rooms.tenancy.audit.append(actor, Record::ActResumed { tenant, act: kind, label }).await?;
            match deferrals.resume(&rooms.tenancy, tenant, &act).await {
                Ok(true) => {
                    directory.drop_deferred(tenant, &act.label).await?;
                    report.acts_resumed += 1;
                }
                Ok(false) => {}
                Err(error) => report.skipped.push(format!("deferred act {} of tenant {tenant}: {error}", act.label)),
            }
        }
    }
    Ok(())
}
