//! The compliance clock, between the admin face and the clock: attestations, alarms, and whom it may believe.

use super::AppError;
use super::acts::{HouseActs, log_error};
use super::house::House;
use super::tenants::{act_error, actor};
use crate::admin::acts::{Mode, Order, Outcome};
use crate::admin::clocks::Attested;
use crate::admin::error::ActError;
use crate::admin::wire;
use crate::audit::{Actor, Event as Record, Hash};
use crate::config::{BlobsConfig, Config};
use crate::directory::Approval;
use crate::model::clock::{ClockError, Suspect};
use crate::model::time::Millis;
use crate::telemetry::Metrics;
use std::io::ErrorKind;
use std::time::Duration;

/// Attests the time. Entry first, in every geo's log: all of them live by this clock.
pub(super) async fn attest(
    acts: &HouseActs,
    order: &Order,
    utc: Millis,
    reason: &str,
) -> Result<Outcome<Attested>, ActError> {
    let now = acts.house.clock.now();
    if utc > now.wall || utc < now.cc_lo {
        return Err(unfit());
    }
    if order.mode == Mode::Plan {
        let steps = vec![
            "log it".to_owned(),
            "count the time that the machine was off, as far as it is attested, once another administrator says the same"
                .to_owned(),
        ];
        return Ok(Outcome::Planned(wire::Plan { steps, ..wire::Plan::default() }));
    }
    let (by, reason, text) = (actor(order), Hash::of(&[reason.as_bytes()]), utc.to_string());
    let mut first = order.by.0.clone();
    if acts.two_person {
        let room = acts.house.geos.first().ok_or(ActError::GeoNotServed)?;
        let act = format!("attest clock {text}");
        let waiting = room.directory.proposals(now.wall).await.map_err(|error| act_error(error.into()))?;
        let proposer = waiting.into_iter().find(|proposal| proposal.act == act).map(|proposal| proposal.by);
        match room.directory.propose(&act, &order.by.0, now.wall).await.map_err(|error| act_error(error.into()))? {
            Approval::Waits => return Err(ActError::SamePrincipal),
            Approval::Proposed => {
                record(acts, &by, &Record::ClockAttestationProposed { utc: text.clone(), reason }).await?;
                return Ok(Outcome::Done(Attested::Proposed { proposed: text }));
            }
            Approval::Given => first = proposer.unwrap_or_default(),
        }
    }
    record(acts, &by, &Record::ClockAttestationAgreed { utc: text, reason }).await?;
    let clock = acts.house.clock.clone();
    let attested = tokio::task::spawn_blocking(move || clock.attest(utc)).await.map_err(|_| ActError::Broken)?;
    let credited_s = match attested {
        Ok(credit) => credit / 1000,
        Err(ClockError::BeyondWall | ClockError::BehindProven) => return Err(unfit()),
        Err(error) => {
            tracing::error!(%error, "the attested time was not kept");
            return Err(ActError::Broken);
        }
    };
    let second = order.by.0.clone();
    record(acts, &by, &Record::ClockAttested { by: first, second, credited_s }).await?;
    Ok(Outcome::Done(Attested::Done { credited_s }))
}

fn unfit() -> ActError {
    ActError::BadField { field: "utc", rule: "not ahead of this machine's clock, and not behind the compliance clock" }
}

async fn record(acts: &HouseActs, by: &Actor, event: &Record) -> Result<(), ActError> {
    for room in &acts.house.geos {
        room.audit.append(by, event.clone()).await.map_err(log_error)?;
    }
    Ok(())
}

/// Somebody whose time comes authenticated over TLS: every answer of an HTTP server bears its `Date`.
struct Peer {
    address: String,
    http: reqwest::Client,
}

/// The peers that the settings name: those of `[clock]`, and the stores that blobs are kept in, which are asked for
/// nothing but the time.
pub(super) struct Peers(Vec<Peer>);

impl Peers {
    /// Errors: a file of authorities that is not PEM.
    pub(super) fn of(config: &Config) -> Result<Self, AppError> {
        let named = config.clock.peers.iter().map(|peer| (peer, &config.clock.peers_ca_file));
        let stores = config.regions.iter().filter_map(|region| match &region.blobs {
            BlobsConfig::S3(blobs) if blobs.endpoint.starts_with("https://") => Some((&blobs.endpoint, &blobs.ca_file)),
            BlobsConfig::S3(_) | BlobsConfig::Local => None,
        });
        let peers = named.chain(stores).map(|(address, ca)| {
            let mut http = reqwest::Client::builder()
                .https_only(true)
                .redirect(reqwest::redirect::Policy::none())
                .timeout(ASK_TIMEOUT);
            if let Some(file) = ca {
                let failed = |error| AppError::Disk { path: file.clone(), error };
                let pem = std::fs::read(file).map_err(failed)?;
                let pem =
                    reqwest::Certificate::from_pem_bundle(&pem).map_err(|_| failed(ErrorKind::InvalidData.into()))?;
                http = http.tls_certs_only(pem);
            }
            let http = http
                .build()
                .map_err(|_| AppError::Disk { path: "clock.peers".into(), error: ErrorKind::InvalidData.into() })?;
            Ok(Peer { address: address.clone(), http })
        });
        peers.collect::<Result<_, AppError>>().map(Self)
    }

    /// Asks one after the other until one agrees with the machine's clock. One that does not answer, or disagrees, changes
    /// nothing: it can make destruction late, never early.
    pub(super) async fn corroborate(&self, house: &House) {
        for peer in &self.0 {
            match peer.time().await {
                Some(time) if house.clock.corroborate(time) => return,
                Some(_) => tracing::warn!("a peer's time does not agree with this machine's clock"),
                None => tracing::debug!("a peer did not tell its time"),
            }
        }
    }
}

impl Peer {
    /// What its `Date` says; seconds, as HTTP has it.
    async fn time(&self) -> Option<Millis> {
        let answer = self.http.head(&self.address).send().await.ok()?;
        date(answer.headers().get(reqwest::header::DATE)?.to_str().ok()?)
    }
}

/// The time of an HTTP date.
fn date(text: &str) -> Option<Millis> {
    let time = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Millis(time.timestamp().as_millisecond()))
}

/// Longest time that a peer has to answer: its time is as old as its answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);
/// How many looks lie between two questions to the peers while nothing is pending: an hour.
const LOOKS: u32 = 60;

/// Which contradiction was reported last, so that each is reported once.
#[derive(Default)]
pub(super) struct Watch {
    suspect: bool,
    looks: u32,
}

impl Watch {
    /// Shows how sure the clock is in the metrics, and records when the wall begins to contradict the proven time.
    pub(super) async fn look(&mut self, house: &House, peers: &Peers, metrics: &Metrics) {
        // At the start, every hour, and at every look while time waits to be vouched for.
        if self.looks.is_multiple_of(LOOKS) || house.clock.status().pending_ms.is_some() {
            peers.corroborate(house).await;
        }
        self.looks = self.looks.wrapping_add(1);
        let status = house.clock.status();
        metrics.clock_is(status.pending_ms.unwrap_or(0) / 1000, status.overdue, status.suspect.is_some());
        if status.overdue {
            tracing::warn!("off-time is pending for more than an hour: somebody has to say what time it is");
        }
        let Some(suspect) = status.suspect else {
            self.suspect = false;
            return;
        };
        if std::mem::replace(&mut self.suspect, true) {
            return;
        }
        let ahead_s = match suspect {
            Suspect::Ahead(ms) => ms / 1000,
            Suspect::Behind(ms) => -(ms / 1000),
        };
        tracing::error!(
            ahead_s,
            "the machine's clock contradicts the time that has provably passed: no deadline moves"
        );
        for room in &house.geos {
            if let Err(error) = room.audit.append(&Actor::part("geoseal"), Record::ClockSuspect { ahead_s }).await {
                tracing::error!(%error, "a contradiction of the clock was not recorded");
                self.suspect = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_of_an_answer_is_read() {
        assert_eq!(date("Sat, 21 Nov 2026 13:38:49 GMT"), Some("2026-11-21T13:38:49Z".parse().unwrap()));
        for bad in ["", "yesterday", "2026-11-21T13:38:49Z"] {
            assert_eq!(date(bad), None, "{bad:?}");
        }
    }
}
