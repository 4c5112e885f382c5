//! Notices before a tenant's end, by webhook to the operator: signed as Standard Webhooks says (webhook-id,
//! webhook-timestamp, webhook-signature: HMAC-SHA256 over the three), in opaque ids.
//!
//! Order: delivered → entry in the log → row. A crash between the first and the last sends the same notice again, under the same
//! `webhook-id`, by which its receiver knows it; a row that was not written loses none. What does not arrive is tried again,
//! later and later, for ever.

use super::acts::HouseActs;
use super::house::GeoRoom;
use crate::audit::{Actor, Event as Record, Hash};
use crate::config::{ConfigError, NoticesConfig};
use crate::directory::{DirectoryError, Notices, Sent, TenantEntry};
use crate::model::clock::Reading;
use crate::model::time::Millis;
use crate::report::controls::NoticesDue;
use crate::tenant::notice::{self, Stage};
use crate::tenant::{Standing, State, Termination};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::sync::Arc;
use std::time::Duration;

/// Between two looks at what is due.
const LOOK: Duration = Duration::from_secs(2);
/// The end of one delivery.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Tenants looked at once.
const TENANTS_MAX: usize = 10_000;
/// Longest pause between two attempts, in seconds.
const PAUSE_S_MAX: i64 = 3600;
/// More than a termination's days in seconds: every tenant that waits for its end is due by then.
const AHEAD_S: i64 = 91 * 86_400;

/// Where notices go.
pub(super) struct Courier {
    http: reqwest::Client,
    url: reqwest::Url,
    key: ring::hmac::Key,
}

impl Courier {
    /// What the settings say; reads the secret.
    pub(super) fn new(config: &NoticesConfig) -> Result<Self, ConfigError> {
        let refused = |why: String| ConfigError::Refused(vec![why]);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(10))
            .timeout(TIMEOUT);
        if let Some(ca) = &config.ca_file {
            let pem = std::fs::read(ca).map_err(|source| ConfigError::Read { file: ca.clone(), source })?;
            let authorities = reqwest::Certificate::from_pem_bundle(&pem);
            http = http.tls_certs_only(authorities.map_err(|_| refused(format!("{}: not PEM", ca.display())))?);
        }
        let http = http.build().map_err(|error| refused(format!("[notices]: TLS cannot be set up: {error}")))?;
        let url = reqwest::Url::parse(&config.url).map_err(|_| refused("notices.url is no URL".into()))?;
        let secret = config.secret.read()?;
        Ok(Self { http, url, key: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret) })
    }

    /// Whether it arrived: whoever receives it answers with 2xx.
    async fn deliver(&self, id: &str, at: Millis, body: String) -> Result<(), String> {
        let timestamp = at.seconds().to_string();
        let tag = ring::hmac::sign(&self.key, format!("{id}.{timestamp}.{body}").as_bytes());
        let request = self.http.post(self.url.clone());
        let request = request.header("content-type", "application/json").header("webhook-id", id);
        let signature = format!("v1,{}", BASE64.encode(tag));
        let request = request.header("webhook-timestamp", timestamp).header("webhook-signature", signature);
        let answer = request.body(body).send().await.map_err(|error| error.without_url().to_string())?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("it answered {}", status.as_u16())) }
    }
}

/// Sends what is due, for as long as the server runs.
pub(super) async fn on_schedule(acts: Arc<HouseActs>) {
    let Some(courier) = acts.courier.clone() else { return };
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        for room in &acts.house.geos {
            if let Err(error) = send_due(&acts, room, &courier).await {
                tracing::error!(geo = room.geo.id, error, "notices could not be sent");
            }
        }
    }
}

async fn send_due(acts: &HouseActs, room: &GeoRoom, courier: &Courier) -> Result<(), String> {
    let now = acts.house.clock.now();
    let by = u64::try_from(now.cc_hi.plus_seconds(AHEAD_S).seconds()).unwrap_or(0);
    let waiting = room.directory.due_by(by, TENANTS_MAX).await.map_err(|error| error.to_string())?;
    for row in waiting {
        let entry = room.directory.tenant(row.tenant).await.map_err(|error| error.to_string())?;
        if let Some(entry) = entry.filter(|entry| entry.standing.state == State::Terminated) {
            send_next(room, courier, &entry, &now).await?;
        }
    }
    Ok(())
}

/// The first notice that is due and did not arrive yet: one at a time, in order.
async fn send_next(room: &GeoRoom, courier: &Courier, entry: &TenantEntry, now: &Reading) -> Result<(), String> {
    let Some(termination) = &entry.standing.termination else { return Ok(()) };
    let tenant = entry.standing.id;
    let known = room.directory.notices(tenant, termination.at.at).await;
    let mut known: Notices = known.map_err(|error| error.to_string())?;
    let standing = &entry.standing;
    let next = notice::due(standing, now).into_iter().find(|stage| arrived(&known, *stage, standing).is_none());
    let Some(stage) = next.filter(|_| now.wall >= known.not_before) else { return Ok(()) };
    let id = id(standing, termination, stage);
    known.attempts += 1;
    match courier.deliver(&id, now.wall, body(room, standing, termination, stage, now)).await {
        Ok(()) => {
            let attempts = known.attempts;
            let sent = Record::NoticeSent { tenant, stage: stage.as_str().to_owned(), attempts };
            room.audit.append(&Actor::part("notices"), sent).await.map_err(|error| error.to_string())?;
            known.sent.push(Sent { stage, at: now.wall, attempts });
            (known.attempts, known.not_before) = (0, Millis(i64::MIN));
        }
        Err(error) => {
            let pause = 1i64.checked_shl(known.attempts.min(12)).unwrap_or(PAUSE_S_MAX).min(PAUSE_S_MAX);
            known.not_before = now.wall.plus_seconds(pause);
            tracing::warn!(%tenant, stage = stage.as_str(), attempts = known.attempts, pause, error, "a notice did not arrive");
        }
    }
    room.directory.keep_notices(tenant, &known).await.map_err(|error| error.to_string())
}

/// What is due in a geo and did not arrive; none, where nothing is sent.
pub(super) async fn owed(acts: &HouseActs, room: &GeoRoom) -> Result<Option<NoticesDue>, DirectoryError> {
    if acts.courier.is_none() {
        return Ok(None);
    }
    let (now, mut owed) = (acts.house.clock.now(), NoticesDue::default());
    let by = u64::try_from(now.cc_hi.plus_seconds(AHEAD_S).seconds()).unwrap_or(0);
    for row in room.directory.due_by(by, TENANTS_MAX).await? {
        let Some(entry) = room.directory.tenant(row.tenant).await? else { continue };
        let (standing, State::Terminated) = (&entry.standing, entry.standing.state) else { continue };
        let Some(termination) = &standing.termination else { continue };
        let known = room.directory.notices(standing.id, termination.at.at).await?;
        let due = notice::due(standing, &now);
        let due = due.into_iter().filter(|stage| arrived(&known, *stage, standing).is_none()).count() as u64;
        owed.due += due;
        // One at a time is tried; those behind it wait.
        owed.failing += u64::from(due > 0 && known.attempts > 0);
    }
    Ok(Some(owed))
}

/// When it arrived; one about an early destruction that was taken back does not stand for that of a later one.
fn arrived<'a>(known: &'a Notices, stage: Stage, standing: &Standing) -> Option<&'a Sent> {
    let since = standing.early.as_ref().filter(|_| stage.is_early()).map(|early| early.at.wall);
    known.sent.iter().find(|sent| sent.stage == stage && since.is_none_or(|since| sent.at >= since))
}

/// The same at every attempt, and another for every notice.
fn id(standing: &Standing, termination: &Termination, stage: Stage) -> String {
    let early = standing.early.as_ref().filter(|_| stage.is_early());
    let at = early.map_or(termination.at.at, |early| early.at.at).0.to_be_bytes();
    let of = [&b"geoseal/notice/v1\0"[..], &standing.id.0, &at, stage.as_str().as_bytes()];
    format!("msg_{}", &Hash::of(&of).to_string()[..32])
}

fn body(room: &GeoRoom, standing: &Standing, termination: &Termination, stage: Stage, now: &Reading) -> String {
    let left = standing.deadlines().map(|(at, due)| due.seconds() - now.lo_for(&at).seconds()).min().unwrap_or(0);
    let due_wall = standing.destruction_wall().unwrap_or_else(|| termination.due_wall());
    serde_json::json!({
        "type": "tenant.purge-notice",
        "timestamp": now.wall.to_string(),
        "data": {
            "tenant": standing.id.to_string(),
            "geo": room.geo.id,
            "stage": stage.as_str(),
            "terminated_at": termination.at.wall.to_string(),
            "purge_due_at": due_wall.to_string(),
            "days_left": left.max(0).unsigned_abs().div_ceil(86_400),
        },
    })
    .to_string()
}

/// Every notice of a terminated tenant, for whoever asks.
pub(super) async fn shown(room: &crate::directory::Directory, entry: &TenantEntry) -> Vec<crate::admin::wire::Notice> {
    let (Some(termination), State::Terminated) = (&entry.standing.termination, entry.standing.state) else {
        return Vec::new();
    };
    let known = room.notices(entry.standing.id, termination.at.at).await;
    let known = known.unwrap_or_else(|_| Notices::of(termination.at.at));
    let standing = &entry.standing;
    let shown = |stage: Stage| {
        Some(crate::admin::wire::Notice {
            stage: stage.as_str().to_owned(),
            at: crate::admin::wire::Time(stage.at_wall(standing)?),
            delivered_at: arrived(&known, stage, standing).map(|sent| crate::admin::wire::Time(sent.at)),
        })
    };
    Stage::of(standing).into_iter().filter_map(shown).collect()
}
