//! `geoseal keys serve`: a process that holds master keys and key stores, and nothing else. It answers daemons over a
//! Unix socket or TLS, counts time by a compliance clock of its own, and never sees an object, a name or a request.

use super::house::{Time, clock, geo_dir};
use super::serve::{StopSignals, logs, run};
use super::{AppError, anchors::KeyClock, providers};
use crate::audit::Hash;
use crate::cli::RolledBack;
use crate::config::{KeyListener, KeyServiceConfig};
use crate::edge::{CertificateFiles, Certificates, ClientFiles, Drain, EdgeMeters, Now};
use crate::keylink::{self, Admitted, Answerer};
use crate::model::atlas::Geo;
use crate::model::clock::{Clock, SAVE_EVERY_S, Source, SystemSource};
use crate::seal::{GeoKeyService, Id, KeyAuthority};
use crate::telemetry::registry;
use std::collections::HashMap;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long acts that are under way may take when it is told to stop.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts to reach a provider that does not answer at the start.
const RETRY: Duration = Duration::from_secs(1);
/// Between two looks at the certificate files.
const CERTIFICATE_POLL: Duration = Duration::from_secs(10);

/// Makes the master keys that the settings of a key service name; what is there already has to open.
pub fn found_keys(config: &Path) -> Result<(), AppError> {
    let config = KeyServiceConfig::load(config)?;
    for geo in &config.geos {
        super::house::make_dir(&geo_dir(&config.data_dir, geo))?;
        providers::found(&config.data_dir, &config.keyring, geo)?;
    }
    Ok(())
}

/// Serves keys by a configuration until told to stop.
pub fn serve_keys(config: &Path, accepted: Option<&RolledBack>) -> Result<(), AppError> {
    let config = KeyServiceConfig::load(config)?;
    if let Some(RolledBack::Keys { geo, .. }) = accepted
        && !config.geos.contains(geo)
    {
        return Err(AppError::RestoreElsewhere(geo.id));
    }
    let logs = logs(config.log)?;
    run(serve(config, accepted.cloned()), logs)
}

async fn serve(config: KeyServiceConfig, accepted: Option<RolledBack>) -> Result<(), AppError> {
    let mut stop = StopSignals::listen()?;
    let opened = tokio::select! {
        opened = open(&config, accepted.as_ref()) => opened?,
        () = stop.asked() => return Ok(()),
    };
    let Opened { clock, services } = opened;
    let authorities = services.into_iter().map(|(geo, service)| (geo, service as Arc<dyn KeyAuthority>));
    let answerer = Answerer::new(authorities.collect::<HashMap<_, _>>());
    let drain = Drain::new();
    if let Some(socket) = &config.socket {
        let admitted = Admitted::new(&socket.peer_uids);
        let listener = keylink::listen(&socket.path, &admitted)?;
        keylink::serve_unix(listener, admitted, answerer.clone()).map_err(threads)?;
    }
    let mut address = None;
    if let Some(tls) = &config.tls {
        let certificates = certificates(tls)?;
        let listener =
            TcpListener::bind(tls.listen).map_err(|error| AppError::Listen { address: tls.listen, error })?;
        address = listener.local_addr().ok();
        tokio::spawn(certificates.clone().watch(CERTIFICATE_POLL, drain.token()));
        keylink::serve_tls(listener, move || certificates.config(), answerer.clone()).map_err(threads)?;
    }
    let saving = tokio::spawn(save_clock(clock.clone()));
    let socket = config.socket.as_ref().map(|socket| socket.path.display().to_string()).unwrap_or_default();
    let tls = address.map(|address| address.to_string()).unwrap_or_default();
    tracing::info!(socket, tls, "serving keys");
    stop.asked().await;
    drain.start();
    saving.abort();
    let ended = tokio::task::spawn_blocking(move || answerer.close(PATIENCE)).await;
    tracing::info!(cut = ended.map_or(0, |ended| ended.cut), "no longer serving keys");
    Ok(clock.save()?)
}

struct Opened {
    clock: Arc<dyn Clock>,
    services: Vec<(Id, Arc<GeoKeyService>)>,
}

/// Opens everything; waits for a provider that does not answer.
async fn open(config: &KeyServiceConfig, accepted: Option<&RolledBack>) -> Result<Opened, AppError> {
    let mut registry = registry();
    let calls = providers::Calls::new(&mut registry);
    let mut said = false;
    loop {
        let (config, calls, accepted) = (config.clone(), calls.clone(), accepted.cloned());
        let opened = tokio::task::spawn_blocking(move || open_once(&config, &calls, accepted.as_ref())).await;
        match opened.unwrap_or_else(|_| Err(AppError::Worker)) {
            Err(error) if error.is_outage() => {
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(%error, "waiting for the key provider");
                }
                tokio::time::sleep(RETRY).await;
            }
            opened => return opened,
        }
    }
}

fn open_once(
    config: &KeyServiceConfig,
    calls: &providers::Calls,
    accepted: Option<&RolledBack>,
) -> Result<Opened, AppError> {
    let open = |geo: &&'static Geo| providers::open(&config.data_dir, &config.keyring, geo, calls);
    let keyrings = config.geos.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let first = keyrings.first().ok_or(AppError::NoRegion)?;
    let (clock, _) = clock(&config.data_dir, Time::Real, || first.state_mac())?;
    let mut services = Vec::new();
    for (geo, keyring) in config.geos.iter().zip(keyrings) {
        let key_clock = Arc::new(KeyClock(clock.clone()));
        let dir = geo_dir(&config.data_dir, geo).join("keystore");
        let reason = match accepted {
            Some(RolledBack::Keys { geo: of, reason }) if of == geo => Some(reason),
            _ => None,
        };
        let open = if reason.is_some() { GeoKeyService::danger_open_restored } else { GeoKeyService::open };
        let service = open(&dir, geo.bytes(), keyring, key_clock).map_err(|error| AppError::keys(geo, error))?;
        service.limit_unwraps(config.unwraps_per_minute_max);
        service.allow_early(config.early_purge);
        service.cap_backup_age(i64::from(config.backup_age_max_days) * 86_400);
        if let Some(reason) = reason {
            if !service.restored() {
                return Err(AppError::NothingRestored(geo.id));
            }
            let noted = service.note_restore(Hash::of(&[reason.as_bytes()]).0);
            noted.map_err(|error| AppError::keys(geo, error))?;
            tracing::warn!(
                geo = geo.id,
                "accepted: the key store is older than its witness; now restart the geo's server"
            );
        }
        services.push((geo.bytes(), Arc::new(service)));
    }
    Ok(Opened { clock, services })
}

/// The settings of a listener that demands client certificates: TLS 1.3 only, nothing resumed.
fn certificates(tls: &KeyListener) -> Result<Arc<Certificates>, AppError> {
    let clients = ClientFiles { authorities: tls.client_authorities.clone(), revoked: tls.client_revocations.clone() };
    let files =
        CertificateFiles { chain: tls.certificate.clone(), key: tls.private_key.clone(), clients: Some(clients) };
    let real = SystemSource::new();
    let now: Now = Arc::new(move || real.sample().wall);
    Ok(Certificates::load(files, now, EdgeMeters::register(&mut registry(), "keys"))?)
}

async fn save_clock(clock: Arc<dyn Clock>) {
    let mut every = tokio::time::interval(Duration::from_secs(SAVE_EVERY_S));
    loop {
        every.tick().await;
        let clock = clock.clone();
        let saved = tokio::task::spawn_blocking(move || clock.save()).await;
        if !matches!(saved, Ok(Ok(()))) {
            tracing::error!("the clock's state was not saved; time since then may not count after a reboot");
        }
    }
}

fn threads(error: std::io::Error) -> AppError {
    AppError::Disk { path: "threads".into(), error }
}
