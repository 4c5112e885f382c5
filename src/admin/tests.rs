//! The router from outside, over a small house that remembers one tenant: what HTTP promises, not what acts do.

use super::acts::{Acts, KeyRef, KeyWork, Mode, NewTenant, Order, Outcome, Sight, Streamed, TenantRef, WorkOn};
use super::admins::Admin;
use super::auth::Logins;
use super::backups::{CreateBackup, KnownBackup};
use super::clocks::Attested;
use super::epochs::{Closing, Epoch, Epochs};
use super::error::ActError;
use super::evidence::{Controls, KeyInventory, Population, ProcessorRecord, Residency, SweepHistory};
use super::features::FeatureActs;
use super::holds::{Hold, HoldAct};
use super::http::router;
use super::operations::Operations;
use super::proposals::Withdrawn;
use super::routes::routes;
use super::transparency::{LogCheckpoint, LogGrowth, LogLines, LogProof};
use super::wire;
use crate::model::atlas::{GEOS, Geo, Region};
use crate::model::ids::{OperationId, TenantId};
use crate::model::names::{AccessId, BucketName};
use crate::model::time::Millis;
use crate::report::Period;
use crate::sweep::whereabouts::After;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

const ADMIN: &str = "Bearer admin-0123456789-abcdef-0123456789";
const AUDITOR: &str = "Bearer auditor-0123456789-abcdef-0123456789";

/// A house of one tenant, which counts what was done to it.
#[derive(Default)]
struct House {
    tenant: Mutex<Option<wire::Tenant>>,
    made: Mutex<u32>,
    operations: Operations,
}

impl House {
    fn find(&self) -> Result<wire::Tenant, ActError> {
        self.tenant.lock().clone().ok_or(ActError::NoSuchTenant)
    }

    fn change(&self, order: &Order, state: wire::TenantState) -> Result<Outcome<wire::Tenant>, ActError> {
        let mut tenant = self.find()?;
        if order.expect.is_some_and(|seen| seen != tenant.revision) {
            return Err(ActError::RevisionChanged);
        }
        if order.mode == Mode::Plan {
            let steps = vec![format!("{} to {}", tenant.state.as_str(), state.as_str())];
            return Ok(Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() }));
        }
        (tenant.state, tenant.revision) = (state, tenant.revision + 1);
        *self.tenant.lock() = Some(tenant.clone());
        Ok(Outcome::Done(tenant))
    }
}

impl super::contacts::ContactActs for House {}
impl FeatureActs for House {}

impl super::dsrs::DsrActs for House {}

#[async_trait::async_trait]
impl Acts for House {
    fn features(&self) -> &dyn FeatureActs {
        self
    }

    fn served(&self) -> Vec<&'static Region> {
        GEOS[0].regions.iter().collect()
    }

    async fn waiting_for(&self) -> Vec<String> {
        if self.tenant.lock().is_some() { vec![] } else { vec!["a first tenant".into()] }
    }

    fn metrics(&self) -> String {
        "# EOF\n".into()
    }

    async fn create_tenant(&self, order: &Order, new: NewTenant) -> Result<Outcome<wire::Tenant>, ActError> {
        if order.mode == Mode::Plan {
            return Ok(Outcome::Planned(wire::Plan { steps: vec!["create".into()], ..wire::Plan::default() }));
        }
        if self.tenant.lock().is_some() {
            return Err(ActError::NameTaken);
        }
        let tenant = wire::Tenant {
            id: TenantId([7; 16]),
            name: Some(new.name.as_str().into()),
            geo: new.geo.id.into(),
            home: new.home.id.into(),
            replication: wire::Replication::None,
            state: wire::TenantState::Active,
            revision: 1,
            created_at: wire::Time(Millis(0)),
            terminated_at: None,
            purge_due_at: None,
            early_purge: None,
            days_left: None,
            consent_sha256: new.consent.map(hex::encode),
            contact: new.contact,
            key: None,
            holds: vec![],
            warnings: vec![],
            notices: vec![],
        };
        *self.tenant.lock() = Some(tenant.clone());
        Ok(Outcome::Done(tenant))
    }

    async fn tenant(&self, _: &TenantRef) -> Result<wire::Tenant, ActError> {
        self.find()
    }

    async fn tenants(&self, after: Option<TenantId>, _: usize) -> Result<Vec<wire::Tenant>, ActError> {
        Ok(self.tenant.lock().iter().filter(|t| after.is_none_or(|a| t.id > a)).cloned().collect())
    }

    async fn disable(&self, order: &Order, _: &TenantRef, _: &str) -> Result<Outcome<wire::Tenant>, ActError> {
        self.change(order, wire::TenantState::Disabled)
    }

    async fn enable(&self, order: &Order, _: &TenantRef) -> Result<Outcome<wire::Tenant>, ActError> {
        self.change(order, wire::TenantState::Active)
    }

    async fn terminate(
        &self,
        order: &Order,
        _: &TenantRef,
        _: &str,
        confirm: &str,
    ) -> Result<Outcome<wire::Tenant>, ActError> {
        if self.find()?.name.as_deref() != Some(confirm) {
            return Err(ActError::ConfirmMismatch);
        }
        self.change(order, wire::TenantState::Terminated)
    }

    async fn purge_early(
        &self,
        order: &Order,
        t: &TenantRef,
        _: &str,
        confirm: Option<&str>,
    ) -> Result<Outcome<wire::EarlyPurging>, ActError> {
        if confirm.is_some_and(|confirm| confirm != "contoso") {
            return Err(ActError::ConfirmMismatch);
        }
        let Outcome::Done(tenant) = self.reinstate(order, t, [0; 32]).await? else { return Err(ActError::Broken) };
        Ok(Outcome::Done(wire::EarlyPurging::Approved(Box::new(tenant))))
    }

    async fn cancel_early(&self, order: &Order, t: &TenantRef) -> Result<Outcome<wire::Tenant>, ActError> {
        self.reinstate(order, t, [0; 32]).await
    }

    async fn reinstate(&self, order: &Order, _: &TenantRef, _: [u8; 32]) -> Result<Outcome<wire::Tenant>, ActError> {
        self.change(order, wire::TenantState::Disabled)
    }

    async fn create_credential(
        &self,
        _: &Order,
        _: &TenantRef,
        role: wire::CredentialRole,
    ) -> Result<Outcome<wire::NewCredential>, ActError> {
        let home = self.find()?.home;
        tokio::task::yield_now().await;
        *self.made.lock() += 1;
        let (access_id, secret) = (AccessId::random().as_str().to_owned(), format!("secret-{}", self.made.lock()));
        Ok(Outcome::Done(wire::NewCredential { access_id, secret, role, region: home }))
    }

    async fn credentials(&self, _: &TenantRef) -> Result<Vec<wire::Credential>, ActError> {
        Ok(vec![])
    }

    async fn revoke_credential(
        &self,
        _: &Order,
        _: &TenantRef,
        _: &AccessId,
    ) -> Result<Outcome<wire::Credential>, ActError> {
        Err(ActError::NoSuchCredential)
    }

    async fn key_status(
        &self,
        _: Option<&'static Geo>,
        _: Option<&TenantRef>,
        _: bool,
        _: Sight,
    ) -> Result<wire::KeyStatus, ActError> {
        Ok(wire::KeyStatus { geos: vec![] })
    }

    async fn destroy_key(&self, _: &Order, _: &KeyRef) -> Result<Outcome<wire::Destruction>, ActError> {
        Err(ActError::NoSuchKey)
    }

    async fn withdraw_destruction(&self, _: &Order, _: &KeyRef) -> Result<Outcome<Withdrawn>, ActError> {
        Err(ActError::NoSuchKey)
    }

    async fn suspend_keys(&self, _: &Order, _: &TenantRef, _: &str) -> Result<Outcome<wire::TenantKeys>, ActError> {
        Err(ActError::NoSuchTenant)
    }

    async fn resume_keys(&self, _: &Order, _: &TenantRef) -> Result<Outcome<wire::TenantKeys>, ActError> {
        Err(ActError::NoSuchTenant)
    }

    async fn report_compromise(&self, _: &Order, _: &KeyRef) -> Result<Outcome<wire::KeyVersion>, ActError> {
        Err(ActError::NoSuchKey)
    }

    async fn key_work(&self, _: &Order, work: KeyWork) -> Result<Outcome<wire::Operation>, ActError> {
        let WorkOn::Master(geo) = work.on else { panic!("an act that panics") };
        Ok(Outcome::Done(self.operations.start("rotate-master", geo.id, Millis(0), |_| std::future::pending())))
    }

    async fn export(&self, _: &Order, _: &TenantRef, _: Option<BucketName>) -> Result<Outcome<Streamed>, ActError> {
        Err(ActError::NoSuchTenant)
    }

    async fn export_keys(&self, _: &Order, _: &TenantRef, _: &str) -> Result<Outcome<wire::ExportKeys>, ActError> {
        Err(ActError::NoSuchTenant)
    }

    async fn erase_subject(
        &self,
        _: &Order,
        _: &TenantRef,
        _: super::dsrs::NewRequest,
        _: Option<&str>,
    ) -> Result<Outcome<wire::Operation>, ActError> {
        Err(ActError::NoSuchTenant)
    }

    async fn operation(&self, id: &OperationId) -> Result<wire::Operation, ActError> {
        self.operations.find(id)
    }

    async fn hold_act(&self, _: &Order, _: HoldAct) -> Result<Outcome<Hold>, ActError> {
        Err(ActError::NoSuchHold)
    }

    async fn holds(&self, _: Option<&TenantRef>) -> Result<Vec<Hold>, ActError> {
        Ok(Vec::new())
    }

    async fn hold(&self, _: &str) -> Result<Hold, ActError> {
        Err(ActError::NoSuchHold)
    }

    async fn close_epoch(&self, _: &Order, _: &'static Geo, no_soak: bool) -> Result<Outcome<Closing>, ActError> {
        Err(if no_soak { ActError::SoakRequired } else { ActError::Busy })
    }

    async fn abort_epoch(&self, _: &Order, _: &'static Geo) -> Result<Outcome<Epoch>, ActError> {
        Err(ActError::NoSuchEpoch)
    }

    async fn epochs(&self, _: &'static Geo) -> Result<Epochs, ActError> {
        Ok(Epochs::default())
    }

    async fn epoch_certificate(&self, _: &'static Geo, _: u64) -> Result<Value, ActError> {
        Err(ActError::NoCertificate)
    }

    async fn create_backup(&self, _: &Order, _: &CreateBackup) -> Result<Outcome<wire::Operation>, ActError> {
        Err(ActError::BadPlace("it is not empty"))
    }

    async fn backups(&self) -> Result<Vec<KnownBackup>, ActError> {
        Ok(Vec::new())
    }

    async fn sweep_run(&self, _: &Order) -> Result<Outcome<wire::Operation>, ActError> {
        Err(ActError::Held(vec!["M-9".into()]))
    }

    async fn sweep_status(&self) -> Result<wire::SweepStatus, ActError> {
        Err(ActError::Unavailable("key service"))
    }

    async fn audit_tail(
        &self,
        _: Option<&'static Geo>,
        _: Option<u64>,
        _: usize,
    ) -> Result<Vec<wire::AuditEntry>, ActError> {
        Ok(vec![])
    }

    async fn audit_show(&self, _: &'static Geo, _: u64) -> Result<wire::AuditShown, ActError> {
        Err(ActError::GeoNotServed)
    }

    async fn audit_verify(&self, _: Option<&'static Geo>) -> Result<Vec<wire::AuditVerdict>, ActError> {
        Ok(vec![])
    }

    async fn log_key(&self, geo: &'static Geo) -> Result<wire::LogKey, ActError> {
        Ok(wire::LogKey { geo: geo.id.into(), algorithm: "ed25519".into(), public: "00".repeat(32) })
    }

    async fn log_checkpoint(&self, geo: &'static Geo) -> Result<LogCheckpoint, ActError> {
        let (root, note) = ("00".repeat(32), String::new());
        Ok(LogCheckpoint { geo: geo.id.into(), size: 0, root, note, verifier_key: String::new() })
    }

    async fn log_lines(&self, _: &'static Geo, _: u64, _: usize) -> Result<LogLines, ActError> {
        Ok(LogLines { lines: Vec::new() })
    }

    async fn log_proof(&self, geo: &'static Geo, index: u64) -> Result<LogProof, ActError> {
        Ok(LogProof { geo: geo.id.into(), index, proof: String::new() })
    }

    async fn log_growth(&self, _: &'static Geo, _: u64) -> Result<LogGrowth, ActError> {
        Err(ActError::GeoNotServed)
    }

    async fn certificate(&self, _: &TenantRef, _: Option<u64>) -> Result<Value, ActError> {
        Err(ActError::NoCertificate)
    }

    async fn controls(&self) -> Result<Controls, ActError> {
        Err(ActError::Broken)
    }

    async fn processor_record(&self, _: Sight) -> Result<ProcessorRecord, ActError> {
        Err(ActError::Broken)
    }

    async fn population(&self, _: &str, _: Period) -> Result<Population, ActError> {
        Err(ActError::Broken)
    }

    async fn residency(&self, _: &TenantRef, _: Option<&After>, _: usize) -> Result<Residency, ActError> {
        Err(ActError::NoSuchTenant)
    }

    async fn key_inventory(&self) -> Result<KeyInventory, ActError> {
        Ok(KeyInventory { keys: vec![] })
    }

    async fn sweep_history(&self, _: usize) -> Result<SweepHistory, ActError> {
        Ok(SweepHistory { runs: vec![] })
    }

    async fn admins(&self) -> Result<Vec<Admin>, ActError> {
        Ok(vec![])
    }

    async fn revoke_admin(&self, _: &Order, _: &str) -> Result<Outcome<Admin>, ActError> {
        Err(ActError::LastAdmin)
    }

    async fn clock(&self) -> Result<wire::Clock, ActError> {
        Err(ActError::Broken)
    }

    async fn attest_clock(&self, _: &Order, _: Millis, _: &str) -> Result<Outcome<Attested>, ActError> {
        Ok(Outcome::Done(Attested::Done { credited_s: 0 }))
    }

    async fn clock_advance(&self, _: &Order, _: u64) -> Result<Outcome<wire::Clock>, ActError> {
        Err(ActError::ClockIsReal)
    }
}

struct Server(Router);

impl Server {
    fn new() -> Self {
        let logins = Logins::new(&ADMIN.as_bytes()[7..]).unwrap().with_auditor(&AUDITOR.as_bytes()[7..]).unwrap();
        Self(router(Arc::new(House::default()), logins))
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.0.clone().oneshot(request).await.unwrap()
    }

    /// Status, ETag and body of a request by the administrator.
    async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: Value) -> Answered {
        let mut request = Request::builder().method(method).uri(target).header("authorization", ADMIN);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
        };
        let response = self.send(request.body(body).unwrap()).await;
        let header = |name| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        let (etag, location, replayed) = (header("etag"), header("location"), header("idempotency-replayed"));
        assert_eq!(header("cache-control").as_deref(), Some("no-store"));
        let status = response.status();
        let problem = header("content-type").as_deref() == Some("application/problem+json");
        assert_eq!(problem, status.is_client_error() || (status.is_server_error() && target != "/readyz"), "{target}");
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        Answered {
            status,
            etag,
            location,
            replayed: replayed.is_some(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }

    async fn create(&self) {
        let body = json!({ "name": "contoso", "geo": "europe", "home": "westeurope" });
        assert_eq!(self.ask("POST", "/admin/v1/tenants", &[], body).await.status, StatusCode::CREATED);
    }
}

struct Answered {
    status: StatusCode,
    etag: Option<String>,
    location: Option<String>,
    replayed: bool,
    body: Value,
}

impl Answered {
    fn code(&self) -> (u16, &str) {
        (self.status.as_u16(), self.body["code"].as_str().unwrap_or_default())
    }
}

fn bare(method: &str, target: &str, authorization: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(target);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    request.body(Body::empty()).unwrap()
}

/// docs/threat-cases.md A-18: the table is the router, so this is every route there is.
#[tokio::test]
async fn every_route_but_two_refuses_a_caller_without_credentials() {
    let server = Server::new();
    let mut open = vec![];
    for route in routes() {
        let target = route.path.replace("{tenant}", "contoso").replace("{geo}", "europe").replace("{login}", "x");
        let target = target.replace("{id}", "00");
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            for wrong in [None, Some("Bearer wrong"), Some("Basic YWRtaW46YWRtaW4="), Some("Bearer ")] {
                let status = server.send(bare(method, &target, wrong)).await.status();
                if status != StatusCode::UNAUTHORIZED && !open.contains(&route.path) {
                    open.push(route.path);
                }
            }
        }
    }
    assert_eq!(open, ["/healthz", "/readyz"]);
    for unknown in ["/", "/admin", "/admin/v1", "/admin/v2/tenants", "/debug/pprof", "/metrics/"] {
        assert_eq!(server.send(bare("GET", unknown, None)).await.status(), StatusCode::UNAUTHORIZED, "{unknown}");
        assert_eq!(server.send(bare("GET", unknown, Some(ADMIN))).await.status(), StatusCode::NOT_FOUND, "{unknown}");
    }
}

#[tokio::test]
async fn an_auditor_reaches_exactly_the_routes_that_look_at_no_tenant() {
    let server = Server::new();
    let mut reached = vec![];
    for route in routes() {
        let target = route.path.replace("{tenant}", "contoso").replace("{geo}", "europe").replace("{login}", "x");
        let status = server.send(bare(route.method.as_str(), &target, Some(AUDITOR))).await.status();
        if status != StatusCode::FORBIDDEN {
            reached.push(route.name);
        }
    }
    let looks = ["health", "readiness", "metrics", "openapi", "regions", "certificate", "keyStatus", "operation"];
    let more = ["sweepStatus", "auditTail", "auditVerify", "logKey", "logCheckpoint", "logLines", "logProof", "clock"];
    let evidence = ["epochs", "epochCertificate", "listBackups", "logGrowth"];
    let reports = [
        "requestCertificate",
        "controls",
        "processorRecord",
        "population",
        "residency",
        "keyInventory",
        "sweepHistory",
    ];
    let mut expected = [&looks[..], &more[..], &evidence[..], &reports[..]].concat();
    expected.sort_unstable();
    reached.sort_unstable();
    assert_eq!(reached, expected);
}

#[tokio::test]
async fn the_document_tells_of_every_route_and_resolves_its_references() {
    let document = Server::new().ask("GET", "/admin/v1/openapi.json", &[], Value::Null).await.body;
    for route in routes() {
        let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
        assert_eq!(operation["operationId"], route.name);
        assert_eq!(operation["x-geoseal-role"], route.role.as_str());
    }
    let text = document.to_string();
    let references: Vec<_> = text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(references.len() > 20);
    for reference in references {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
    assert_eq!(document["components"]["schemas"]["Terminate"]["additionalProperties"], false);
}

#[tokio::test]
async fn a_state_change_honours_if_match_and_answers_with_the_new_tag() {
    let server = Server::new();
    server.create().await;
    let shown = server.ask("GET", "/admin/v1/tenants/contoso", &[], Value::Null).await;
    assert_eq!(shown.etag.as_deref(), Some("\"1\""));
    let path = "/admin/v1/tenants/contoso/disable";
    let stale = server.ask("POST", path, &[("if-match", "\"9\"")], json!({ "reason": "r" })).await;
    assert_eq!(stale.code(), (412, "RevisionChanged"));
    let done = server.ask("POST", path, &[("if-match", "\"1\"")], json!({ "reason": "r" })).await;
    assert_eq!(
        (done.status.as_u16(), done.etag.as_deref(), &done.body["state"]),
        (200, Some("\"2\""), &json!("DISABLED"))
    );
    let odd = server.ask("POST", path, &[("if-match", "two")], json!({ "reason": "r" })).await;
    assert_eq!(odd.code(), (400, "BadHeader"));
    let elsewhere = server.ask("POST", "/admin/v1/sweep/run", &[("if-match", "\"1\"")], Value::Null).await;
    assert_eq!(elsewhere.code(), (400, "BadHeader"), "a condition is never ignored");
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_its_plan_has_a_stable_id() {
    let server = Server::new();
    server.create().await;
    let path = "/admin/v1/tenants/contoso/terminate?dryRun=true";
    let body = || json!({ "reason": "r", "confirm": "contoso" });
    let (one, two) = (server.ask("POST", path, &[], body()).await, server.ask("POST", path, &[], body()).await);
    assert_eq!((one.status, &one.body["plan_id"]), (StatusCode::OK, &two.body["plan_id"]));
    assert_eq!(one.body["plan_id"].as_str().unwrap().len(), 16);
    let other = server.ask("POST", path, &[], json!({ "reason": "other", "confirm": "contoso" })).await;
    assert_ne!(one.body["plan_id"], other.body["plan_id"]);
    let shown = server.ask("GET", "/admin/v1/tenants/contoso", &[], Value::Null).await;
    assert_eq!(shown.body["state"], "ACTIVE");
    for typo in ["?dryrun=true", "?dryRun=yes", "?dryRun=true&dryRun=false", "?force=1"] {
        let path = format!("/admin/v1/tenants/contoso/terminate{typo}");
        assert_eq!(server.ask("POST", &path, &[], body()).await.code(), (400, "BadQuery"), "{typo}");
    }
}

#[tokio::test]
async fn a_repeated_post_under_one_idempotency_key_acts_once() {
    let server = Server::new();
    server.create().await;
    let path = "/admin/v1/tenants/contoso/credentials";
    let once = [("idempotency-key", "k-1")];
    let first = server.ask("POST", path, &once, json!({ "role": "service" })).await;
    let second = server.ask("POST", path, &once, json!({ "role": "service" })).await;
    assert_eq!((first.status, first.replayed, second.replayed), (StatusCode::CREATED, false, true));
    assert_eq!((first.body, second.status), (second.body, StatusCode::CREATED));
    let other = server.ask("POST", path, &once, json!({ "role": "read-only" })).await;
    assert_eq!(other.code(), (422, "IdempotencyReused"));
    let fresh = server.ask("POST", path, &[("idempotency-key", "k-2")], json!({ "role": "service" })).await;
    assert_eq!(fresh.body["secret"], "secret-2", "the repeat made no credential");
    let endless = "k".repeat(129);
    let long = server.ask("POST", path, &[("idempotency-key", &endless)], json!({ "role": "service" })).await;
    assert_eq!(long.code(), (400, "BadHeader"));
}

#[tokio::test]
async fn a_caller_who_hangs_up_and_asks_again_does_not_act_twice() {
    let server = Server::new();
    server.create().await;
    let path = "/admin/v1/tenants/contoso/credentials";
    let once = [("idempotency-key", "k-1")];
    let mut hung_up = Box::pin(server.ask("POST", path, &once, json!({ "role": "service" })));
    assert!(futures::poll!(&mut hung_up).is_pending());
    drop(hung_up);
    let busy = server.ask("POST", path, &once, json!({ "role": "service" })).await;
    assert_eq!(busy.code(), (409, "IdempotencyInFlight"));
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    let again = server.ask("POST", path, &once, json!({ "role": "service" })).await;
    assert_eq!((again.replayed, &again.body["secret"]), (true, &json!("secret-1")));
}

#[tokio::test]
async fn a_refusal_frees_its_idempotency_key() {
    let server = Server::new();
    let once = [("idempotency-key", "k-1")];
    let path = "/admin/v1/tenants/contoso/disable";
    assert_eq!(server.ask("POST", path, &once, json!({ "reason": "r" })).await.code(), (404, "NoSuchTenant"));
    server.create().await;
    assert_eq!(server.ask("POST", path, &once, json!({ "reason": "r" })).await.status, StatusCode::OK);
}

#[tokio::test]
async fn bodies_are_refused_without_repeating_what_they_hold() {
    let server = Server::new();
    let path = "/admin/v1/tenants";
    for (body, detail) in [
        (json!({ "name": "a", "geo": "brazil", "canary": 1 }), "unknown field"),
        (json!({ "name": "a" }), "missing field `geo`"),
        (json!({ "name": "a", "geo": "brazil", "replication": "canary" }), "unknown variant"),
        (json!({ "name": ["canary"], "geo": "brazil" }), "invalid type"),
        (json!("canary"), "invalid type"),
    ] {
        let refused = server.ask("POST", path, &[], body).await;
        assert_eq!(refused.code(), (400, "BadBody"));
        assert!(refused.body["detail"].as_str().unwrap().contains(detail), "{}", refused.body);
        assert!(!refused.body.to_string().contains("canary"));
    }
    let long = json!({ "name": "a".repeat(65 * 1024), "geo": "brazil" });
    assert_eq!(server.ask("POST", path, &[], long).await.code(), (413, "TooLarge"));
    let form = Request::post(path).header("authorization", ADMIN).header("content-type", "text/plain");
    let response = server.send(form.body(Body::from("{}")).unwrap()).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn long_work_is_accepted_and_followed() {
    let server = Server::new();
    let started = server.ask("POST", "/admin/v1/keys/master/europe/rotate", &[], Value::Null).await;
    let location = started.location.clone().unwrap();
    assert_eq!(started.status, StatusCode::ACCEPTED);
    let followed = server.ask("GET", &location, &[], Value::Null).await;
    assert_eq!((&followed.body["kind"], &followed.body["state"]), (&json!("rotate-master"), &json!("running")));
    let unknown = server.ask("GET", &format!("/admin/v1/operations/{}", "0".repeat(32)), &[], Value::Null).await;
    assert_eq!(unknown.code(), (404, "NoSuchOperation"));
}

#[tokio::test]
async fn refusals_have_their_status_and_code() {
    let server = Server::new();
    assert_eq!(server.ask("GET", "/readyz", &[], Value::Null).await.status, StatusCode::SERVICE_UNAVAILABLE);
    server.create().await;
    assert_eq!(server.ask("GET", "/readyz", &[], Value::Null).await.status, StatusCode::OK);
    let t = "/admin/v1/tenants/contoso";
    for (method, target, body, code) in [
        ("POST", "/admin/v1/tenants".to_owned(), json!({ "name": "b", "geo": "brazil" }), (409, "NameTaken")),
        ("POST", format!("{t}/terminate"), json!({ "reason": "r", "confirm": "other" }), (422, "ConfirmMismatch")),
        ("POST", format!("{t}/reinstate"), json!({}), (403, "ConsentRequired")),
        ("POST", format!("{t}/reinstate"), json!({ "consent": { "sha256": "00" } }), (422, "BadField")),
        ("POST", format!("{t}/credentials/GSX/revoke"), Value::Null, (404, "NoSuchCredential")),
        ("GET", format!("{t}/certificate"), Value::Null, (404, "NoCertificate")),
        ("POST", "/admin/v1/keys/tenant/contoso/rotate".into(), Value::Null, (500, "InternalError")),
        ("POST", "/admin/v1/keys/master/atlantis/rotate".into(), Value::Null, (422, "UnknownGeo")),
        ("POST", "/admin/v1/sweep/run".into(), Value::Null, (409, "PurgeHeld")),
        ("GET", "/admin/v1/sweep".into(), Value::Null, (503, "Unavailable")),
        ("POST", "/admin/v1/clock/advance".into(), json!({ "seconds": 1 }), (409, "ClockIsReal")),
        ("GET", "/admin/v1/audit?after=3".into(), Value::Null, (400, "BadQuery")),
        ("GET", "/admin/v1/audit?limit=0".into(), Value::Null, (400, "BadQuery")),
        ("GET", "/admin/v1/tenants/no%2Fname".into(), Value::Null, (404, "NoSuchTenant")),
        ("PUT", t.to_owned(), Value::Null, (405, "MethodNotAllowed")),
    ] {
        let refused = server.ask(method, &target, &[], body).await;
        assert_eq!(refused.code(), code, "{method} {target}");
        assert_eq!(refused.body["status"], code.0);
    }
    let held = server.ask("POST", "/admin/v1/sweep/run", &[], Value::Null).await;
    assert_eq!(held.body["holds"], json!(["M-9"]));
}
