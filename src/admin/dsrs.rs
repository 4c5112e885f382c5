//! Data subjects' requests: entered, looked at, carried out, taken back. Who asks stands in a body and never in a path, and
//! is in no answer but the bundle.

use super::acts::{Order, Outcome, Streamed, TenantRef};
use super::call::{Answer, Call};
use super::door;
use super::error::ActError;
use super::routes::{Effect, Route, acts, looks, ok, operation, outcome};
use super::wire::{Operation, Plan, Time};
use crate::model::names::{BucketName, ObjectName, SubjectName};
use crate::store::types::Upload;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A copy of everything.
    Access,
    /// That something is put right.
    Rectify,
    /// To be erased.
    Erase,
    /// That what is stored is not used.
    Restrict,
}

/// `POST /admin/v1/tenants/{tenant}/dsrs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenRequest {
    /// Who asks, as `x-amz-meta-geoseal-subject` names them.
    pub subject: String,
    /// What for.
    pub kind: Kind,
    /// On which ground: 1 to 200 bytes, such as `art15`. Without one the request is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<String>,
    /// Of an erasure: refuse to store them again. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_reingest: Option<bool>,
}

/// `POST …/dsrs/{dsr}/run`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Of an erasure: the tenant's name once more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<String>,
}

/// `POST …/dsrs/{dsr}/refuse`, `…/lift`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Because {
    /// Why: 1 to 200 bytes; the log keeps a salted hash.
    pub reason: String,
}

/// `POST …/dsrs/{dsr}/rectify`: the first line of the body; behind it comes what the object is to hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rectify {
    /// The object's bucket.
    pub bucket: String,
    /// The object.
    pub object: String,
}

/// What a rectification did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rectified {
    /// The request.
    pub id: String,
    /// The version that is destroyed.
    pub from: String,
    /// The version in its place.
    pub to: String,
}

/// A request. Does not say who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// `DSR-number`.
    pub id: String,
    /// What for.
    pub kind: Kind,
    /// `open`, `previewed`, `running`, `done`, `deferred` or `refused`.
    pub state: String,
    /// On which ground.
    pub basis: String,
    /// When it was entered.
    pub opened_at: Time,
    /// By when it has to be answered.
    pub due_at: Time,
    /// When it changed last.
    pub changed_at: Time,
    /// Whether what it put in force still is: a restriction, or that nothing is stored of them again.
    pub in_force: bool,
    /// Objects dealt with, batches apart.
    pub objects: u64,
    /// Versions of them.
    #[serde(default)]
    pub versions: u64,
    /// Versions of batches that were written anew.
    #[serde(default)]
    pub batches: u64,
    /// Windows of figures dealt with.
    #[serde(default)]
    pub kpi_hours: u64,
    /// Uploads in progress dealt with.
    pub uploads: u64,
    /// Objects that a hold keeps; it goes on when that is released.
    #[serde(default)]
    pub deferred: u64,
    /// The holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<String>,
    /// Of an erasure: the opaque id of who was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Of an erasure: its signed certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<serde_json::Value>,
    /// Of one for access: the link that was made last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkShown>,
}

/// What is known of a link. Its token is known to nobody but who got it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinkShown {
    /// When it ends.
    pub expires_at: Time,
    /// Downloads that were begun.
    pub downloads_begun: u32,
    /// When the copy was fetched: it gives no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent_at: Option<Time>,
}

/// Where links lead, on the admin listener; the token follows.
pub const LINKS: &str = "/bundles/";

/// `POST …/dsrs/{dsr}/link`: a link that gives the copy once. Told this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundleLink {
    /// The request.
    pub id: String,
    /// On the admin listener: `/bundles/TOKEN`. Whoever has it has the copy.
    pub path: String,
    /// When it ends.
    pub expires_at: Time,
    /// Downloads that may be begun; the first whole one is the last.
    pub downloads_max: u32,
}

/// A copy that is fetched by a link.
pub struct Fetched {
    /// The request.
    pub id: String,
    /// The archive.
    pub archive: Streamed,
}

/// The requests of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requests {
    /// Oldest first.
    pub requests: Vec<Request>,
    /// Give this as `after` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A request to be entered, as the door read it.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// Who asks.
    pub subject: SubjectName,
    /// What for.
    pub kind: Kind,
    /// On which ground.
    pub basis: String,
    /// Whether they are not to be stored again.
    pub block: bool,
}

/// A rectification, as the door read it.
pub struct Correction {
    /// The object's bucket.
    pub bucket: BucketName,
    /// The object.
    pub object: ObjectName,
    /// Its content, and the length of that.
    pub content: (Upload, u64),
}

/// How long a token is looked for at least.
const LOOK_FOR: Duration = Duration::from_millis(50);

/// The basis of a request. Errors: `BadField` without one.
pub(super) fn basis(given: Option<&str>) -> Result<String, ActError> {
    let given = given.unwrap_or_default().trim();
    let fits = (1..=200).contains(&given.len()) && !given.chars().any(char::is_control);
    let rule = "say on which ground it is asked for, in 1 to 200 bytes, such as art15";
    if fits { Ok(given.to_owned()) } else { Err(ActError::BadField { field: "basis", rule }) }
}

async fn correction(c: &Call) -> Result<Correction, ActError> {
    let (Rectify { bucket, object }, content, length) = c.line_and_rest().await?;
    let rule = "the name of an object";
    Ok(Correction {
        bucket: BucketName::parse(&bucket).map_err(|_| ActError::NoSuchBucket)?,
        object: ObjectName::parse(object).map_err(|_| ActError::BadField { field: "object", rule })?,
        content: (content, length),
    })
}

/// The number in `DSR-number`. Errors: `NoSuchRequest`.
fn number(id: &str) -> Result<u64, ActError> {
    let digits = id.strip_prefix("DSR-").or_else(|| id.strip_prefix("dsr-"));
    digits.and_then(|digits| digits.parse().ok()).ok_or(ActError::NoSuchRequest)
}

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    use super::auth::Role::Admin;
    use Effect::{Acts, ActsOnStream};
    vec![
        acts::<OpenRequest, Request>(
            "/admin/v1/tenants/{tenant}/dsrs",
            Acts,
            "openRequest",
            "Enter a data subject's request; changes nothing that is stored",
            |c| {
                Box::pin(async move {
                    let body: OpenRequest = c.body()?;
                    let new = NewRequest {
                        subject: door::subject(&body.subject)?,
                        kind: body.kind,
                        basis: basis(body.basis.as_deref())?,
                        block: body.block_reingest.unwrap_or(true),
                    };
                    outcome(&c, StatusCode::CREATED, c.acts.open_request(&c.order, &c.tenant()?, new).await?)
                })
            },
        ),
        looks::<Requests>(
            "/admin/v1/tenants/{tenant}/dsrs",
            Admin,
            "listRequests",
            "A tenant's data subjects' requests",
            &["after", "limit"],
            |c| {
                Box::pin(async move {
                    let (after, limit) = (c.query("after")?.unwrap_or(0), c.limit(100, 500)?);
                    let requests = c.acts.requests(&c.tenant()?, after, limit).await?;
                    let last = requests.last().filter(|_| requests.len() == limit);
                    let next = last.and_then(|last| number(&last.id).ok());
                    ok(&Requests { requests, next })
                })
            },
        ),
        looks::<Request>("/admin/v1/tenants/{tenant}/dsrs/{dsr}", Admin, "request", "One request", &[], |c| {
            Box::pin(async move { ok(&c.acts.request(&c.tenant()?, number(c.param("dsr"))?).await?) })
        }),
        looks::<serde_json::Value>(
            "/admin/v1/tenants/{tenant}/dsrs/{dsr}/certificate",
            super::auth::Role::Auditor,
            "requestCertificate",
            "The certificate of an erasure, as it was signed, with its proofs of the log",
            &["since"],
            |c| {
                Box::pin(async move {
                    let (tenant, number) = (c.tenant()?, number(c.param("dsr"))?);
                    ok(&c.acts.request_certificate(&tenant, number, c.query("since")?).await?)
                })
            },
        ),
        acts::<super::wire::Nothing, Plan>(
            "/admin/v1/tenants/{tenant}/dsrs/{dsr}/preview",
            Acts,
            "previewRequest",
            "What carrying a request out would do; the request is previewed from then on",
            |c| {
                Box::pin(async move {
                    let super::wire::Nothing {} = c.body()?;
                    let plan = c.acts.preview_request(&c.order, &c.tenant()?, number(c.param("dsr"))?).await?;
                    ok(&c.with_plan_id(plan))
                })
            },
        ),
        acts::<Run, Operation>(
            "/admin/v1/tenants/{tenant}/dsrs/{dsr}/run",
            Acts,
            "runRequest",
            "Carry out an erasure or a restriction",
            |c| {
                Box::pin(async move {
                    let Run { confirm } = c.body()?;
                    let number = number(c.param("dsr"))?;
                    let started = c.acts.run_request(&c.order, &c.tenant()?, number, confirm.as_deref()).await?;
                    operation(&c, started)
                })
            },
        ),
        acts::<super::wire::Nothing, String>(
            "/admin/v1/tenants/{tenant}/dsrs/{dsr}/bundle",
            Acts,
            "bundleRequest",
            "A copy of everything that is stored of who asks, as a zip archive",
            |c| {
                Box::pin(async move {
                    let super::wire::Nothing {} = c.body()?;
                    match c.acts.bundle(&c.order, &c.tenant()?, number(c.param("dsr"))?).await? {
                        Outcome::Planned(plan) => ok(&c.with_plan_id(plan)),
                        Outcome::Done(archive) => Ok(Answer::zip(archive)),
                    }
                })
            },
        ),
        acts::<super::wire::Nothing, BundleLink>(
            "/admin/v1/tenants/{tenant}/dsrs/{dsr}/link",
            Acts,
            "linkBundle",
            "A link by which who asked may fetch the copy once, within 7 days; one of before is void",
            |c| {
                Box::pin(async move {
                    let super::wire::Nothing {} = c.body()?;
                    let made = c.acts.link_bundle(&c.order, &c.tenant()?, number(c.param("dsr"))?).await?;
                    Ok(outcome(&c, StatusCode::CREATED, made)?.once())
                })
            },
        ),
        Route {
            effect: Effect::Spends,
            ..looks::<String>(
                "/bundles/{token}",
                super::auth::Role::Open,
                "fetchBundle",
                "The copy that a link gives once, as a zip archive",
                &[],
                |c| {
                    Box::pin(async move {
                        // Whatever is wrong with a token, the answer takes as long.
                        let fetched = c.acts.fetch_bundle(c.param("token"));
                        let (fetched, ()) = tokio::join!(fetched, tokio::time::sleep(LOOK_FOR));
                        let Fetched { id, archive } = fetched?;
                        Ok(Answer::zip(archive).with_file_name(&format!("{id}.zip")))
                    })
                },
            )
        },
        acts::<Rectify, Rectified>(
            "/admin/v1/tenants/{tenant}/dsrs/{dsr}/rectify",
            ActsOnStream,
            "rectifyObject",
            "Put the content of an object right; the versions of before are destroyed",
            |c| {
                Box::pin(async move {
                    let correction = correction(&c).await?;
                    let number = number(c.param("dsr"))?;
                    let done = c.acts.rectify(&c.order, &c.tenant()?, number, correction).await?;
                    outcome(&c, StatusCode::OK, done)
                })
            },
        ),
        acts::<Because, Request>(
            "/admin/v1/tenants/{tenant}/dsrs/{dsr}/lift",
            Acts,
            "liftRequest",
            "Take back what a request put in force: a restriction, or that nothing is stored again",
            |c| Box::pin(stop(c, Stop::Lift)),
        ),
        acts::<Because, Request>(
            "/admin/v1/tenants/{tenant}/dsrs/{dsr}/refuse",
            Acts,
            "refuseRequest",
            "Record that a request is not carried out",
            |c| Box::pin(stop(c, Stop::Refuse)),
        ),
    ]
}

async fn stop(c: Call, how: Stop) -> Result<Answer, ActError> {
    let Because { reason } = c.body()?;
    let (reason, number) = (door::reason(&reason)?, number(c.param("dsr"))?);
    outcome(&c, StatusCode::OK, c.acts.stop_request(&c.order, &c.tenant()?, number, how, reason).await?)
}

/// How a request is stopped by somebody's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// What it put in force ends.
    Lift,
    /// It is not carried out.
    Refuse,
}

/// What the routes ask of the house. A house that keeps no requests says so.
#[async_trait::async_trait]
#[allow(unused_variables, reason = "a default that does nothing needs none of them")]
pub trait DsrActs: Send + Sync {
    /// Enters a request.
    async fn open_request(&self, order: &Order, t: &TenantRef, new: NewRequest) -> Result<Outcome<Request>, ActError> {
        Err(ActError::NotBuilt)
    }

    /// At most `limit` requests behind number `after`.
    async fn requests(&self, t: &TenantRef, after: u64, limit: usize) -> Result<Vec<Request>, ActError> {
        Err(ActError::NotBuilt)
    }

    /// One request. NoSuchRequest.
    async fn request(&self, t: &TenantRef, number: u64) -> Result<Request, ActError> {
        Err(ActError::NotBuilt)
    }

    /// The certificate of an erasure with its proofs of the log; also from the log's first `since` entries on.
    /// NoSuchRequest, NotErased.
    async fn request_certificate(
        &self,
        t: &TenantRef,
        number: u64,
        since: Option<u64>,
    ) -> Result<serde_json::Value, ActError> {
        Err(ActError::NotBuilt)
    }

    /// What it would do. NoSuchRequest, WrongRequestState.
    async fn preview_request(&self, order: &Order, t: &TenantRef, number: u64) -> Result<Plan, ActError> {
        Err(ActError::NotBuilt)
    }

    /// Carries it out. Held, ConfirmMismatch, WrongRequestState.
    async fn run_request(
        &self,
        order: &Order,
        t: &TenantRef,
        number: u64,
        confirm: Option<&str>,
    ) -> Result<Outcome<Operation>, ActError> {
        Err(ActError::NotBuilt)
    }

    /// Hands out a copy. WrongRequestState.
    async fn bundle(&self, order: &Order, t: &TenantRef, number: u64) -> Result<Outcome<Streamed>, ActError> {
        Err(ActError::NotBuilt)
    }

    /// Makes a link by which the copy is fetched once. WrongRequestState.
    async fn link_bundle(&self, order: &Order, t: &TenantRef, number: u64) -> Result<Outcome<BundleLink>, ActError> {
        Err(ActError::NotBuilt)
    }

    /// What a link gives. NoSuchLink, LinkOver.
    async fn fetch_bundle(&self, token: &str) -> Result<Fetched, ActError> {
        Err(ActError::NoSuchLink)
    }

    /// Puts an object right. PutOff, NoSuchObject, WrongRequestState.
    async fn rectify(
        &self,
        order: &Order,
        t: &TenantRef,
        number: u64,
        correction: Correction,
    ) -> Result<Outcome<Rectified>, ActError> {
        Err(ActError::NotBuilt)
    }

    /// Takes back what it put in force, or records that it is not carried out. WrongRequestState.
    async fn stop_request(
        &self,
        order: &Order,
        t: &TenantRef,
        number: u64,
        how: Stop,
        reason: &str,
    ) -> Result<Outcome<Request>, ActError> {
        Err(ActError::NotBuilt)
    }
}
