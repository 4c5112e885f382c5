//! The one table of routes. The router is built from it, the OpenAPI document is made of it, and a test walks it
//! without credentials; so a route that is not here does not exist, and one that is here names its role.

use super::acts::{KeyWork, Outcome, Sight, TenantRef, WorkOn};
use super::auth::Role;
use super::call::{Answer, Call};
use super::door;
use super::error::ActError;
use super::wire;
use crate::model::names::{AccessId, BucketName};
use axum::http::{Method, StatusCode};
use futures::future::BoxFuture;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

/// One route.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// Who may call it.
    pub(super) role: Role,
    /// Its name in the OpenAPI document and in logs.
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) effect: Effect,
    /// The query parameters it takes, besides `dryRun`.
    pub(super) query: &'static [&'static str],
    pub(super) takes: Option<MakeSchema>,
    pub(super) gives: MakeSchema,
    pub(super) run: fn(Call) -> BoxFuture<'static, Result<Answer, ActError>>,
}

/// Writes a type's schema down and answers with a reference to it.
pub(super) type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// What a route may change, and so which headers it honours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// Nothing.
    Looks,
    /// Something: takes `Idempotency-Key` and `dryRun`.
    Acts,
    /// A record with a revision: takes `If-Match` too.
    ActsOnRecord,
    /// Something, with a body that is read as it comes: a line of JSON, and bytes. Takes `dryRun`.
    ActsOnStream,
    /// What may be asked for so often only: takes none of them, and no HEAD.
    Spends,
}

impl Effect {
    /// Whether it is an act, which can be rehearsed.
    pub(super) fn acts(self) -> bool {
        matches!(self, Self::Acts | Self::ActsOnRecord | Self::ActsOnStream)
    }
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

pub(super) type Run = fn(Call) -> BoxFuture<'static, Result<Answer, ActError>>;

pub(super) fn looks<Gives: JsonSchema>(
    path: &'static str,
    role: Role,
    name: &'static str,
    summary: &'static str,
    query: &'static [&'static str],
    run: Run,
) -> Route {
    let (method, effect) = (Method::GET, Effect::Looks);
    Route { method, path, role, name, summary, effect, query, takes: None, gives: schema::<Gives>, run }
}

pub(super) fn acts<Takes: JsonSchema, Gives: JsonSchema>(
    path: &'static str,
    effect: Effect,
    name: &'static str,
    summary: &'static str,
    run: Run,
) -> Route {
    let (method, role, query) = (Method::POST, Role::Admin, &[][..]);
    let (takes, gives): (Option<MakeSchema>, MakeSchema) = (Some(schema::<Takes>), schema::<Gives>);
    Route { method, path, role, name, summary, effect, query, takes, gives, run }
}

/// An act that this role reaches, too.
pub(super) fn acts_as<Takes: JsonSchema, Gives: JsonSchema>(
    role: Role,
    path: &'static str,
    effect: Effect,
    name: &'static str,
    summary: &'static str,
    run: Run,
) -> Route {
    Route { role, ..acts::<Takes, Gives>(path, effect, name, summary, run) }
}

/// Every route of the admin listener.
pub(super) fn routes() -> Vec<Route> {
    use Effect::{Acts, ActsOnRecord};
    use Role::{Admin, Auditor, Legal, Open};
    let mut all = vec![
        looks::<wire::Alive>("/healthz", Open, "health", "The process answers", &[], |_| {
            Box::pin(async { Ok(Answer::json(StatusCode::OK, &wire::Alive { alive: true })) })
        }),
        looks::<wire::Readiness>("/readyz", Open, "readiness", "Traffic may come", &[], |c| {
            Box::pin(async move {
                let waiting_for = c.acts.waiting_for().await;
                let ready = waiting_for.is_empty();
                let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                Ok(Answer::json(status, &wire::Readiness { ready, waiting_for }))
            })
        }),
        looks::<String>("/metrics", Auditor, "metrics", "Figures, in the OpenMetrics text format", &[], |c| {
            Box::pin(async move { Ok(Answer::open_metrics(c.acts.metrics())) })
        }),
        looks::<serde_json::Value>("/admin/v1/openapi.json", Auditor, "openapi", "This document", &[], |_| {
            Box::pin(async { Ok(Answer::json(StatusCode::OK, super::openapi::document())) })
        }),
        looks::<wire::Regions>("/admin/v1/regions", Auditor, "regions", "Every geo and region", &[], |c| {
            Box::pin(async move { ok(&door::regions(&c.acts.served())) })
        }),
        looks::<wire::Tenants>(
            "/admin/v1/tenants",
            Admin,
            "listTenants",
            "The tenants of the geos served here",
            &["after", "limit"],
            |c| {
                Box::pin(async move {
                    let (after, limit) = (c.query("after")?, c.limit(100, 500)?);
                    let tenants = c.acts.tenants(after, limit).await?;
                    let next = if tenants.len() == limit { tenants.last().map(|t| t.id) } else { None };
                    ok(&wire::Tenants { tenants, next })
                })
            },
        ),
        acts::<wire::CreateTenant, wire::Tenant>(
            "/admin/v1/tenants",
            Acts,
            "createTenant",
            "Create a tenant: its keys are wrapped and probed before it is ACTIVE",
            |c| {
                Box::pin(async move {
                    let new = door::new_tenant(c.body()?)?;
                    tenant(&c, StatusCode::CREATED, c.acts.create_tenant(&c.order, new).await?)
                })
            },
        ),
        looks::<wire::Tenant>("/admin/v1/tenants/{tenant}", Admin, "tenant", "One tenant", &[], |c| {
            Box::pin(async move { tenant(&c, StatusCode::OK, Outcome::Done(c.acts.tenant(&c.tenant()?).await?)) })
        }),
        acts::<wire::Disable, wire::Tenant>(
            "/admin/v1/tenants/{tenant}/disable",
            ActsOnRecord,
            "disableTenant",
            "ACTIVE to DISABLED: its consent and its jobs' grants end, nothing is served, nothing is lost",
            |c| {
                Box::pin(async move {
                    let body: wire::Disable = c.body()?;
                    let reason = door::reason(&body.reason)?;
                    tenant(&c, StatusCode::OK, c.acts.disable(&c.order, &c.tenant()?, reason).await?)
                })
            },
        ),
        acts::<wire::Enable, wire::Tenant>(
            "/admin/v1/tenants/{tenant}/enable",
            ActsOnRecord,
            "enableTenant",
            "DISABLED to ACTIVE, under a consent",
            |c| {
                Box::pin(async move {
                    let body: wire::Enable = c.body()?;
                    let consent = door::consent(body.consent.as_ref())?;
                    tenant(&c, StatusCode::OK, c.acts.enable(&c.order, &c.tenant()?, consent).await?)
                })
            },
        ),
        acts::<wire::Terminate, wire::Tenant>(
            "/admin/v1/tenants/{tenant}/terminate",
            ActsOnRecord,
            "terminateTenant",
            "To TERMINATED: kept for 90 days, then destroyed",
            |c| {
                Box::pin(async move {
                    let body: wire::Terminate = c.body()?;
                    let (reason, t) = (door::reason(&body.reason)?, c.tenant()?);
                    tenant(&c, StatusCode::OK, c.acts.terminate(&c.order, &t, reason, &body.confirm).await?)
                })
            },
        ),
        acts::<wire::Reinstate, wire::Tenant>(
            "/admin/v1/tenants/{tenant}/reinstate",
            ActsOnRecord,
            "reinstateTenant",
            "TERMINATED to DISABLED, while destruction has not begun",
            |c| {
                Box::pin(async move {
                    let body: wire::Reinstate = c.body()?;
                    let consent = door::consent(body.consent.as_ref())?.ok_or(ActError::ConsentRequired)?;
                    tenant(&c, StatusCode::OK, c.acts.reinstate(&c.order, &c.tenant()?, consent).await?)
                })
            },
        ),
        acts::<wire::PurgeEarly, wire::EarlyPurging>(
            "/admin/v1/tenants/{tenant}/purge-early",
            Acts,
            "purgeTenantEarly",
            "Enter, or approve, a terminated tenant's instruction to be destroyed before its 90 days are over",
            |c| {
                Box::pin(async move {
                    let body: wire::PurgeEarly = c.body()?;
                    let (reason, t) = (door::reason(&body.reason)?, c.tenant()?);
                    let done = c.acts.purge_early(&c.order, &t, reason, body.confirm.as_deref()).await?;
                    let status = match done {
                        Outcome::Done(wire::EarlyPurging::Proposed { .. }) => StatusCode::ACCEPTED,
                        _ => StatusCode::OK,
                    };
                    outcome(&c, status, done)
                })
            },
        ),
        acts::<wire::CancelEarly, wire::Tenant>(
            "/admin/v1/tenants/{tenant}/cancel-early",
            ActsOnRecord,
            "cancelEarlyPurge",
            "Take an early destruction back: the 90 days hold",
            |c| {
                Box::pin(async move {
                    let wire::CancelEarly {} = c.body()?;
                    tenant(&c, StatusCode::OK, c.acts.cancel_early(&c.order, &c.tenant()?).await?)
                })
            },
        ),
        acts_as::<wire::Export, String>(
            Legal,
            "/admin/v1/tenants/{tenant}/export",
            Acts,
            "exportTenant",
            "The tenant's sealed data as a tar archive that can be read without this software",
            |c| {
                Box::pin(async move {
                    let body: wire::Export = c.body()?;
                    let bucket = door::bucket(body.bucket.as_deref())?;
                    match c.acts.export(&c.order, &c.tenant()?, bucket).await? {
                        Outcome::Planned(plan) => ok(&c.with_plan_id(plan)),
                        Outcome::Done(archive) => Ok(Answer::tar(archive)),
                    }
                })
            },
        ),
        acts_as::<wire::RevealExportKeys, wire::ExportKeys>(
            Legal,
            "/admin/v1/tenants/{tenant}/export/keys",
            Acts,
            "revealExportKeys",
            "The keys that open an export, and everything else that the tenant stores",
            |c| {
                Box::pin(async move {
                    let body: wire::RevealExportKeys = c.body()?;
                    let keys = c.acts.export_keys(&c.order, &c.tenant()?, &body.confirm).await?;
                    outcome(&c, StatusCode::OK, keys).map(Answer::once)
                })
            },
        ),
        acts::<wire::EraseSubject, wire::Operation>(
            "/admin/v1/tenants/{tenant}/dsrs/erase",
            Acts,
            "eraseSubject",
            "Erase a data subject: its key is destroyed, its objects are removed",
            |c| {
                Box::pin(async move {
                    let body: wire::EraseSubject = c.body()?;
                    let new = super::dsrs::NewRequest {
                        subject: door::subject(&body.subject)?,
                        kind: super::dsrs::Kind::Erase,
                        basis: super::dsrs::basis(body.basis.as_deref())?,
                        block: body.block_reingest.unwrap_or(true),
                    };
                    let started = c.acts.erase_subject(&c.order, &c.tenant()?, new, body.confirm.as_deref()).await?;
                    operation(&c, started)
                })
            },
        ),
        looks::<serde_json::Value>(
            "/admin/v1/tenants/{tenant}/certificate",
            Auditor,
            "certificate",
            "The certificate of a purged tenant, with what shows that the audit log has it",
            &["since"],
            |c| Box::pin(async move { ok(&c.acts.certificate(&c.tenant()?, c.query("since")?).await?) }),
        ),
        looks::<wire::Credentials>(
            "/admin/v1/tenants/{tenant}/credentials",
            Admin,
            "listCredentials",
            "A tenant's logins, without secrets",
            &[],
            |c| {
                Box::pin(async move { ok(&wire::Credentials { credentials: c.acts.credentials(&c.tenant()?).await? }) })
            },
        ),
        acts::<wire::CreateCredential, wire::NewCredential>(
            "/admin/v1/tenants/{tenant}/credentials",
            Acts,
            "createCredential",
            "Make a login; the answer shows its secret once",
            |c| {
                Box::pin(async move {
                    let wire::CreateCredential { role } = c.body()?;
                    let made = c.acts.create_credential(&c.order, &c.tenant()?, role).await?;
                    outcome(&c, StatusCode::CREATED, made)
                })
            },
        ),
        acts::<wire::Nothing, wire::Credential>(
            "/admin/v1/tenants/{tenant}/credentials/{login}/revoke",
            Acts,
            "revokeCredential",
            "Revoke a login at once",
            |c| {
                Box::pin(async move {
                    let wire::Nothing {} = c.body()?;
                    let login = AccessId::parse(c.param("login")).map_err(|_| ActError::NoSuchCredential)?;
                    outcome(&c, StatusCode::OK, c.acts.revoke_credential(&c.order, &c.tenant()?, &login).await?)
                })
            },
        ),
        looks::<wire::KeyStatus>(
            "/admin/v1/keys",
            Auditor,
            "keyStatus",
            "Versions and states of keys; with `count`, how many records are under each",
            &["count", "geo", "tenant"],
            |c| {
                Box::pin(async move {
                    let tenant: Option<TenantRef> = c.query("tenant")?;
                    let count = c.query("count")?.unwrap_or(false);
                    ok(&c.acts.key_status(door::geo_asked(&c)?, tenant.as_ref(), count, c.sight()).await?)
                })
            },
        ),
        acts::<wire::KeyWork, wire::Operation>(
            "/admin/v1/keys/master/{geo}/rotate",
            Acts,
            "rotateMaster",
            "Rotate a geo's master key: every tenant's roots are wrapped anew, no data is rewritten",
            |c| Box::pin(async move { key_work(&c, WorkOn::Master(door::geo(c.param("geo"))?)).await }),
        ),
        acts::<wire::KeyWork, wire::Operation>(
            "/admin/v1/keys/directory/{geo}/rotate",
            Acts,
            "rotateDirectoryKey",
            "Rotate a geo's directory key: what is found before the tenant is known is sealed anew; older versions are destroyed at the end",
            |c| Box::pin(async move { key_work(&c, WorkOn::Directory(door::geo(c.param("geo"))?)).await }),
        ),
        acts::<wire::KeyWork, wire::Operation>(
            "/admin/v1/keys/tenant/{tenant}/rotate",
            Acts,
            "rotateTenant",
            "Rotate a tenant's data key: every object's key is wrapped anew, no data is rewritten",
            |c| Box::pin(async move { key_work(&c, WorkOn::Tenant(c.tenant()?)).await }),
        ),
        acts::<wire::KeyWork, wire::Operation>(
            "/admin/v1/keys/tenant/{tenant}/buckets/{bucket}/rotate",
            Acts,
            "rotateIndexKey",
            "Rotate a bucket's index key: every row is sealed anew, no object is rewritten",
            |c| {
                Box::pin(async move {
                    let bucket = BucketName::parse(c.param("bucket")).map_err(|_| ActError::NoSuchBucket)?;
                    key_work(&c, WorkOn::IndexKey(c.tenant()?, bucket)).await
                })
            },
        ),
        acts::<wire::KeyWork, wire::Operation>(
            "/admin/v1/keys/tenant/{tenant}/subject-root/rotate",
            Acts,
            "rotateSubjectRoot",
            "Rotate the root above a tenant's data subjects' keys; older versions are destroyed at the end",
            |c| Box::pin(async move { key_work(&c, WorkOn::SubjectRoot(c.tenant()?)).await }),
        ),
        acts::<wire::KeyWork, wire::Operation>(
            "/admin/v1/keys/tenant/{tenant}/index-root/rotate",
            Acts,
            "rotateIndexRoot",
            "Rotate the root above a tenant's index keys, logins and directory rows; older versions are destroyed at the end",
            |c| Box::pin(async move { key_work(&c, WorkOn::IndexRoot(c.tenant()?)).await }),
        ),
        acts::<wire::Reencrypt, wire::Operation>(
            "/admin/v1/tenants/{tenant}/reencrypt",
            Acts,
            "reencryptTenant",
            "Give everything of a tenant, or of a bucket, or what a version of its data key opens or once opened, new data keys \
             and new segments; ETags, versions and times stay",
            |c| {
                Box::pin(async move {
                    let wire::Reencrypt { from, bucket, records_per_s } = c.body()?;
                    let bucket = bucket.map(|name| BucketName::parse(&name).map_err(|_| ActError::NoSuchBucket));
                    let on = WorkOn::Reencrypt(c.tenant()?, bucket.transpose()?, from);
                    operation(&c, c.acts.key_work(&c.order, KeyWork { on, records_per_s }).await?)
                })
            },
        ),
        acts::<wire::SuspendKeys, wire::TenantKeys>(
            "/admin/v1/keys/tenant/{tenant}/suspend",
            Acts,
            "suspendKeys",
            "Make a tenant's keys unusable at once; what is being read or written ends within seconds",
            |c| {
                Box::pin(async move {
                    let body: wire::SuspendKeys = c.body()?;
                    let reason = door::reason(&body.reason)?;
                    outcome(&c, StatusCode::OK, c.acts.suspend_keys(&c.order, &c.tenant()?, reason).await?)
                })
            },
        ),
        acts::<wire::Nothing, wire::TenantKeys>(
            "/admin/v1/keys/tenant/{tenant}/resume",
            Acts,
            "resumeKeys",
            "Make a tenant's suspended keys usable again",
            |c| {
                Box::pin(async move {
                    let wire::Nothing {} = c.body()?;
                    outcome(&c, StatusCode::OK, c.acts.resume_keys(&c.order, &c.tenant()?).await?)
                })
            },
        ),
        looks::<wire::Operation>("/admin/v1/operations/{id}", Auditor, "operation", "A long piece of work", &[], |c| {
            Box::pin(async move {
                let id = c.param("id").parse().map_err(|_| ActError::NoSuchOperation)?;
                let operation = c.acts.operation(&id).await?;
                ok(&if c.sight() == Sight::Everything { operation } else { operation.without_names() })
            })
        }),
        looks::<wire::SweepStatus>(
            "/admin/v1/sweep",
            Auditor,
            "sweepStatus",
            "The sweeper's last and next",
            &[],
            |c| Box::pin(async move { ok(&c.acts.sweep_status().await?) }),
        ),
        acts::<wire::Nothing, wire::Operation>("/admin/v1/sweep/run", Acts, "runSweep", "Sweep now", |c| {
            Box::pin(async move {
                let wire::Nothing {} = c.body()?;
                operation(&c, c.acts.sweep_run(&c.order).await?)
            })
        }),
        looks::<wire::AuditPage>(
            "/admin/v1/audit",
            Auditor,
            "auditTail",
            "The newest entries of the audit log, or those after an index",
            &["geo", "after", "limit"],
            |c| {
                Box::pin(async move {
                    let (geo, after, limit) = (door::geo_asked(&c)?, c.query("after")?, c.limit(100, 1000)?);
                    if after.is_some() && geo.is_none() {
                        return Err(ActError::BadQuery("`after` needs `geo`: each geo counts its own entries".into()));
                    }
                    ok(&wire::AuditPage { entries: c.acts.audit_tail(geo, after, limit).await? })
                })
            },
        ),
        looks::<wire::AuditVerdicts>(
            "/admin/v1/audit/verify",
            Auditor,
            "auditVerify",
            "Walk the chain of the audit log",
            &["geo"],
            |c| {
                Box::pin(
                    async move { ok(&wire::AuditVerdicts { logs: c.acts.audit_verify(door::geo_asked(&c)?).await? }) },
                )
            },
        ),
        looks::<wire::LogKey>(
            "/admin/v1/audit/log-key/{geo}",
            Auditor,
            "logKey",
            "The key that signs a geo's certificates",
            &[],
            |c| Box::pin(async move { ok(&c.acts.log_key(door::geo(c.param("geo"))?).await?) }),
        ),
        looks::<wire::Clock>("/admin/v1/clock", Auditor, "clock", "The compliance clock", &[], |c| {
            Box::pin(async move { ok(&c.acts.clock().await?) })
        }),
        acts::<wire::Advance, wire::Clock>(
            "/admin/v1/clock/advance",
            Acts,
            "advanceClock",
            "Move a simulated clock",
            |c| {
                Box::pin(async move {
                    let seconds = door::advance(&c.body()?)?;
                    outcome(&c, StatusCode::OK, c.acts.clock_advance(&c.order, seconds).await?)
                })
            },
        ),
    ];
    all.extend(super::admins::routes());
    all.extend(super::clocks::routes());
    all.extend(super::epochs::routes());
    all.extend(super::backups::routes());
    all.extend(super::holds::routes());
    all.extend(super::features::routes());
    all.extend(super::quotas::routes());
    all.extend(super::grants::routes());
    all.extend(super::proposals::routes());
    all.extend(super::compromise::routes());
    all.extend(super::transparency::routes());
    all.extend(super::contacts::routes());
    all.extend(super::evidence::routes());
    all.extend(super::dsrs::routes());
    all
}

pub(super) fn ok(body: &impl Serialize) -> Result<Answer, ActError> {
    Ok(Answer::json(StatusCode::OK, body))
}

pub(super) fn outcome<T: Serialize>(call: &Call, status: StatusCode, outcome: Outcome<T>) -> Result<Answer, ActError> {
    match outcome {
        Outcome::Planned(plan) => ok(&call.with_plan_id(plan)),
        Outcome::Done(body) => Ok(Answer::json(status, &body)),
    }
}

fn tenant(call: &Call, status: StatusCode, of: Outcome<wire::Tenant>) -> Result<Answer, ActError> {
    let revision = if let Outcome::Done(tenant) = &of { Some(tenant.revision) } else { None };
    let ending =
        |tenant: &wire::Tenant| matches!(tenant.state, wire::TenantState::Terminated | wire::TenantState::PurgeHeld);
    let due = if let Outcome::Done(tenant) = &of { tenant.purge_due_at.filter(|_| ending(tenant)) } else { None };
    let mut answer = outcome(call, status, of)?;
    if let Some(due) = due {
        answer = answer.with_purge_due(due.0);
    }
    Ok(match revision {
        Some(revision) => answer.with_revision(revision),
        None => answer,
    })
}

async fn key_work(call: &Call, on: WorkOn) -> Result<Answer, ActError> {
    let wire::KeyWork { records_per_s } = call.body()?;
    operation(call, call.acts.key_work(&call.order, KeyWork { on, records_per_s }).await?)
}

pub(super) fn operation(call: &Call, of: Outcome<wire::Operation>) -> Result<Answer, ActError> {
    let id = if let Outcome::Done(operation) = &of { Some(operation.id.clone()) } else { None };
    let answer = outcome(call, StatusCode::ACCEPTED, of)?;
    Ok(match id {
        Some(id) => answer.with_location(&format!("/admin/v1/operations/{id}")),
        None => answer,
    })
}
