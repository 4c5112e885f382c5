//! A house of one tenant behind the real router, for tests of the face alone.

use crate::admin::acts::{Acts, KeyRef, KeyWork, Mode, NewTenant, Order, Outcome, Sight, Streamed, TenantRef, WorkOn};
use crate::admin::admins::Admin;
use crate::admin::auth::Logins;
use crate::admin::backups::{CreateBackup, KnownBackup};
use crate::admin::clocks::Attested;
use crate::admin::compromise::{Exposure, ReportCompromise};
use crate::admin::epochs::{Closing, Epoch, Epochs};
use crate::admin::error::ActError;
use crate::admin::evidence::{
    Controls, KeyInventory, Population, ProcessorRecord, Residency, Restores, Subprocessors, SweepHistory,
};
use crate::admin::features::FeatureActs;
use crate::admin::holds::{Hold, HoldAct};
use crate::admin::http::router;
use crate::admin::operations::Operations;
use crate::admin::proposals::Withdrawn;
use crate::admin::transparency::{LogCheckpoint, LogGrowth, LogLines, LogProof};
use crate::admin::wire;
use crate::audit::Hash;
use crate::audit::tree::Tile;
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

pub(super) const ADMIN: &str = "Bearer admin-0123456789-abcdef-0123456789";
pub(super) const AUDITOR: &str = "Bearer auditor-0123456789-abcdef-0123456789";

/// A house of one tenant, which counts what was done to it.
#[derive(Default)]
pub(super) struct House {
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

impl crate::admin::contacts::ContactActs for House {}
impl FeatureActs for House {}

impl crate::admin::dsrs::DsrActs for House {}

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
            uploads: None,
            quota: None,
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

    async fn enable(
        &self,
        order: &Order,
        _: &TenantRef,
        _: Option<[u8; 32]>,
    ) -> Result<Outcome<wire::Tenant>, ActError> {
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

    async fn destroy_key(&self, _: &Order, _: &KeyRef, _: Option<i64>) -> Result<Outcome<wire::Destruction>, ActError> {
        Err(ActError::NoSuchKey)
    }

    async fn cancel_destruction(&self, _: &Order, _: &KeyRef) -> Result<Outcome<Withdrawn>, ActError> {
        Err(ActError::NoSuchKey)
    }

    async fn suspend_keys(&self, _: &Order, _: &TenantRef, _: &str) -> Result<Outcome<wire::TenantKeys>, ActError> {
        Err(ActError::NoSuchTenant)
    }

    async fn resume_keys(&self, _: &Order, _: &TenantRef) -> Result<Outcome<wire::TenantKeys>, ActError> {
        Err(ActError::NoSuchTenant)
    }

    async fn report_compromise(
        &self,
        _: &Order,
        _: &KeyRef,
        _: &ReportCompromise,
    ) -> Result<Outcome<wire::Operation>, ActError> {
        Err(ActError::NoSuchKey)
    }

    async fn exposure(&self, _: &KeyRef, _: Sight) -> Result<Exposure, ActError> {
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
        _: crate::admin::dsrs::NewRequest,
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
        Err(ActError::Unavailable("the key service"))
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

    async fn log_tile(&self, _: &'static Geo, _: Tile) -> Result<Vec<u8>, ActError> {
        Err(ActError::NoSuchRoute)
    }

    async fn certificate_proof(&self, _: &'static Geo, _: Hash) -> Result<LogProof, ActError> {
        Err(ActError::NotInLog)
    }

    async fn certificate(&self, _: &TenantRef, _: Option<u64>) -> Result<Value, ActError> {
        Err(ActError::NoCertificate)
    }

    async fn controls(&self) -> Result<Controls, ActError> {
        Err(ActError::Broken)
    }

    async fn restores(&self) -> Result<Restores, ActError> {
        Err(ActError::Broken)
    }

    async fn subprocessors(&self) -> Result<Subprocessors, ActError> {
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

pub(super) struct Server(Router);

impl Server {
    pub(super) fn new() -> Self {
        let logins = Logins::new(&ADMIN.as_bytes()[7..]).unwrap().with_auditor(&AUDITOR.as_bytes()[7..]).unwrap();
        Self(router(Arc::new(House::default()), logins))
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.0.clone().oneshot(request).await.unwrap()
    }

    /// Status, ETag and body of a request by the administrator.
    pub(super) async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: Value) -> Answered {
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

    pub(super) async fn create(&self) {
        let body = json!({ "name": "contoso", "geo": "europe", "home": "westeurope" });
        assert_eq!(self.ask("POST", "/admin/v1/tenants", &[], body).await.status, StatusCode::CREATED);
    }
}

pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) etag: Option<String>,
    pub(super) location: Option<String>,
    pub(super) replayed: bool,
    pub(super) body: Value,
}

impl Answered {
    pub(super) fn code(&self) -> (u16, &str) {
        (self.status.as_u16(), self.body["code"].as_str().unwrap_or_default())
    }
}

pub(super) fn bare(method: &str, target: &str, authorization: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(target);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    request.body(Body::empty()).unwrap()
}
