//! Probes: once a day each control that can be tried is tried, and what was found is an entry of every geo's log, which
//! `compliance controls` points at.
//!
//! A probe that cannot run leaves no entry, so that its control grows stale. One that finds something is an entry, too, and
//! its control has failed until a later one finds nothing.

use super::acts::HouseActs;
use super::house::GeoRoom;
use super::sweeps::LOOK;
use crate::audit::{Actor, AuditError, Event as Record};
use crate::directory::DirectoryError;
use crate::edge::{self, Certificates};
use crate::model::ids::TenantId;
use crate::model::time::Millis;
use crate::seal::Cached;
use crate::store;
use crate::sweep::{self, SweepError};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// Seconds between two probes of a kind.
const EVERY_S: i64 = 86_400;
/// Looks that are left out after a probe that could not run.
const PAUSE: u32 = 60;
/// Tenants whose rows and blobs are looked at.
const TENANTS: usize = 8;
/// Tenants that are chosen from.
const TENANTS_MAX: usize = 100_000;
/// Tenants' ids read at once.
const STEP: usize = 1000;
/// A certificate that ends sooner, in days, fails.
const CERTIFICATE_DAYS_MIN: i64 = 7;

/// A listener of this process.
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) certificates: Arc<Certificates>,
}

/// The listeners of this process, once there are any.
#[derive(Clone, Default)]
pub(super) struct Listeners(Arc<(OnceLock<Vec<Listener>>, Notify)>);

impl Listeners {
    /// Says where they are; once.
    pub(super) fn are(&self, listeners: Vec<Listener>) {
        _ = self.0.0.set(listeners);
        self.0.1.notify_waiters();
    }

    /// Where they are; waits until that was said.
    async fn known(&self) -> &[Listener] {
        loop {
            // Before the look, so that what is said right after it is heard.
            let told = self.0.1.notified();
            if let Some(all) = self.0.0.get() {
                return all;
            }
            told.await;
        }
    }
}

/// What is tried.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Probe {
    Listeners,
    Digests,
    Sealing,
}

impl Probe {
    const ALL: [Self; 3] = [Self::Listeners, Self::Digests, Self::Sealing];

    fn event(self) -> &'static str {
        match self {
            Self::Listeners => "listeners-probed",
            Self::Digests => "digests-probed",
            Self::Sealing => "sealing-probed",
        }
    }
}

/// Why a probe could not run.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Sweep(#[from] SweepError),
}

/// Probes what is due, for as long as the server runs.
pub(super) async fn on_schedule(acts: Arc<HouseActs>) {
    acts.listeners.known().await;
    let (mut look, mut pause) = (tokio::time::interval(LOOK), 0);
    // When each is due again, in each geo.
    let mut next: HashMap<(&'static str, Probe), Millis> = HashMap::new();
    loop {
        look.tick().await;
        if pause > 0 {
            pause -= 1;
            continue;
        }
        let now = acts.house.clock.now().cc_lo;
        for room in &acts.house.geos {
            for probe in Probe::ALL {
                let due = next.entry((room.geo.id, probe)).or_insert(Millis(i64::MIN));
                if now < *due {
                    continue;
                }
                match due_again(&acts, room, probe, now).await {
                    Ok(again) => *due = again,
                    Err(error) => {
                        tracing::error!(geo = room.geo.id, probe = probe.event(), %error, "a probe could not run");
                        pause = PAUSE;
                    }
                }
            }
        }
    }
}

/// Probes, unless the log says that it was done less than a day ago. Answers when it is due next.
async fn due_again(acts: &HouseActs, room: &GeoRoom, probe: Probe, now: Millis) -> Result<Millis, ProbeError> {
    let last = |digest: &crate::report::Digest| digest.last(probe.event()).map(|seen| seen.at);
    let last = tokio::task::block_in_place(|| acts.digests.ask(room, last))?;
    if let Some(again) = last.map(|last| last.plus_seconds(EVERY_S)).filter(|again| now < *again) {
        return Ok(again);
    }
    let found = match probe {
        Probe::Listeners => listeners(acts).await,
        Probe::Digests => {
            let store::probe::DigestsProbed { claims, failed } = store::probe::probe().await;
            Record::DigestsProbed { claims, failed }
        }
        Probe::Sealing => sealing(acts, room).await?,
    };
    room.audit.append(&Actor::part("prober"), found).await?;
    Ok(now.plus_seconds(EVERY_S))
}

async fn listeners(acts: &HouseActs) -> Record {
    let all = acts.listeners.known().await;
    let (mut failed, mut certificate_days) = (0, i64::MAX);
    for listener in all {
        let days = listener.certificates.days_left();
        certificate_days = certificate_days.min(days);
        let probed = edge::probe(listener.address).await;
        if let Err(error) = &probed {
            tracing::error!(address = %listener.address, %error, "our own listener does not answer");
        }
        failed += u32::from(days < CERTIFICATE_DAYS_MIN || !probed.is_ok_and(|probed| probed.passed()));
    }
    Record::ListenersProbed { listeners: u32::try_from(all.len()).unwrap_or(u32::MAX), failed, certificate_days }
}

/// A sample of tenants whose keys are at hand; where none are, of one whose keys have to be asked for.
async fn sealing(acts: &HouseActs, room: &GeoRoom) -> Result<Record, ProbeError> {
    let mut tenants: Vec<TenantId> = Vec::new();
    loop {
        let page = room.directory.tenant_ids(tenants.last().copied(), STEP).await?;
        tenants.extend(&page);
        if page.len() < STEP || tenants.len() >= TENANTS_MAX {
            break;
        }
    }
    let turn = room.audit.head().entries;
    if !tenants.is_empty() {
        let from = usize::try_from(turn).unwrap_or(0) % tenants.len();
        tenants.rotate_left(from);
    }
    let keys = room.directory.leases().client();
    let at_hand = |tenant: &&TenantId| matches!(keys.cached(tenant.0), Cached::Keys(_));
    let mut sample: Vec<_> = tenants.iter().filter(at_hand).take(TENANTS).copied().collect();
    if sample.is_empty() {
        sample.extend(tenants.first());
    }
    let probed = sweep::probe::probe(&acts.house.tenancy_of(room), &sample, turn).await?;
    let sweep::probe::SealingProbed { tenants, rows, blobs, failed } = probed;
    Ok(Record::SealingProbed { tenants, rows, blobs, failed })
}
