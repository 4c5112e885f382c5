//! Reports for auditors: the routes. What they give is made by `report`, and holds no name unless an administrator asks.

use super::auth::Role;
use super::error::ActError;
use super::routes::{Route, looks, ok};
use super::wire::SweepReport;
use crate::report::Period;
use crate::sweep::whereabouts::After;

pub use crate::report::controls::{Control, Controls, Freshness};
pub use crate::report::inventory::{KeyInventory, KeyLine};
pub use crate::report::population::{Outcome, Population, Terminated};
pub use crate::report::record::{ProcessorRecord, Subprocessor, Subprocessors};
pub use crate::report::residency::{InRegion, ObjectAt, Residency};
pub use crate::report::restores::{Restore, Restores};
pub use crate::report::sweeps::{SweepHistory, SweepRun};

/// Objects on a page of a proof of residency, when nothing else is said.
const OBJECTS: usize = 1000;
/// Objects on a page at most.
const OBJECTS_MAX: usize = 10_000;
/// Runs of the sweeper that one answer has at most.
const RUNS_MAX: usize = 1000;

impl SweepReport {
    /// How many acts it carried out.
    pub fn acts(&self) -> u64 {
        self.tenants_purged + self.objects_expired + self.uploads_aborted + self.orphans_removed + self.keys_destroyed
    }
}

/// The routes of this page.
pub(super) fn routes() -> Vec<Route> {
    vec![
        looks::<Controls>(
            "/admin/v1/compliance/controls",
            Role::Auditor,
            "controls",
            "Every control with its newest evidence; what is stale is flagged",
            &[],
            |c| Box::pin(async move { ok(&c.acts.controls().await?) }),
        ),
        looks::<ProcessorRecord>(
            "/admin/v1/compliance/record",
            Role::Auditor,
            "processorRecord",
            "The record of processing activities (Art. 30(2)); names and contacts for administrators only",
            &[],
            |c| Box::pin(async move { ok(&c.acts.processor_record(c.sight()).await?) }),
        ),
        looks::<Restores>(
            "/admin/v1/compliance/restores",
            Role::Auditor,
            "restores",
            "Every restore of a key store, with what was destroyed again, newest first",
            &[],
            |c| Box::pin(async move { ok(&c.acts.restores().await?) }),
        ),
        looks::<Subprocessors>(
            "/admin/v1/compliance/subprocessors",
            Role::Auditor,
            "subprocessors",
            "Whom the processor has work for it, as the record has them",
            &[],
            |c| Box::pin(async move { ok(&c.acts.subprocessors().await?) }),
        ),
        looks::<Population>(
            "/admin/v1/compliance/population",
            Role::Auditor,
            "population",
            "Every tenant terminated in a period, with what became of it",
            &["period"],
            |c| {
                Box::pin(async move {
                    let missing =
                        || ActError::BadQuery("`period` is missing: 2026, 2026Q4, 2026-11 or 2026-11-20".into());
                    let text = c.text("period").ok_or_else(missing)?;
                    let period: Period = text.parse().map_err(|_| {
                        ActError::BadQuery(
                            "`period` is a year, a quarter, a month or a day: 2026, 2026Q4, 2026-11, 2026-11-20".into(),
                        )
                    })?;
                    ok(&c.acts.population(text, period).await?)
                })
            },
        ),
        looks::<Residency>(
            "/admin/v1/compliance/residency/{tenant}",
            Role::Auditor,
            "residency",
            "Where a tenant's bytes are, by opaque id, and which exceptions are used",
            &["after", "limit"],
            |c| {
                Box::pin(async move {
                    let after: Option<After> = c.query("after")?;
                    let limit = c.limit(OBJECTS, OBJECTS_MAX)?;
                    ok(&c.acts.residency(&c.tenant()?, after.as_ref(), limit).await?)
                })
            },
        ),
        looks::<KeyInventory>(
            "/admin/v1/compliance/keys",
            Role::Auditor,
            "keyInventory",
            "Every version of every key: kind, state, made, last rotated",
            &[],
            |c| Box::pin(async move { ok(&c.acts.key_inventory().await?) }),
        ),
        looks::<SweepHistory>(
            "/admin/v1/compliance/sweeps",
            Role::Auditor,
            "sweepHistory",
            "The sweeper's runs, newest first",
            &["limit"],
            |c| Box::pin(async move { ok(&c.acts.sweep_history(c.limit(100, RUNS_MAX)?).await?) }),
        ),
    ]
}
