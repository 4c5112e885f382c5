//! Serving: opens the house, then the two listeners, then the clockwork that ticks beside them; on SIGTERM or Ctrl-C
//! drains and closes in the other order.

use super::AppError;
use super::acts::HouseActs;
use super::house::{self, House, Time};
use super::probes::{Listener, Listeners};
use super::providers;
use crate::admin::auth::Logins;
use crate::admin::http::router;
use crate::admin::lobby::Lobby;
use crate::audit::{Actor, Event as Record};
use crate::cli::RolledBack;
use crate::cli::dev::{Login, OnReady, Prepared, Ready};
use crate::config::{Config, LimitsConfig, LogConfig, LogFormat, LogLevel};
use crate::edge::{CertificateFiles, Certificates, ClientFiles, Door, Drain, EdgeLimits, EdgeMeters, Now};
use crate::model::clock::{SAVE_EVERY_S, Source, SystemSource};
use crate::model::ids::TenantId;
use crate::s3::entrance::Entrance;
use crate::s3::entry::{Settings, service};
use crate::telemetry::{Logs, Metrics, Observed, Registry, registry};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tracing::level_filters::LevelFilter;

/// Between two ticks of the regions: indexes save their anchors and let go of what is idle, cellars of what was kept for readers.
const TICK: Duration = Duration::from_secs(1);

/// Between two entries in the log that say the same of one tenant.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// Makes the keyrings of the geos that a configuration serves; one that is there and opens is left as it is.
pub fn found(config: &Path) -> Result<(), AppError> {
    house::found(&Config::load(config)?)
}

/// Serves by a configuration until told to stop; takes `accepted` for true although its index is behind.
pub fn serve(config: &Path, accepted: Option<&RolledBack>) -> Result<(), AppError> {
    let config = Config::load(config)?;
    match accepted {
        Some(RolledBack::Index { region, .. }) if !config.regions.iter().any(|served| served.region == *region) => {
            return Err(AppError::RollbackElsewhere(region.id));
        }
        Some(RolledBack::Keys { geo, .. }) if !config.regions.iter().any(|served| served.geo == *geo) => {
            return Err(AppError::RestoreElsewhere(geo.id));
        }
        _ => {}
    }
    let logs = logs(config.log)?;
    let accepted = accepted.cloned();
    run(async { Server::prepare(config, Time::Real, accepted)?.run(None).await }, logs)
}

/// Serves a directory that `dev` prepared, at the addresses of its command line.
pub fn serve_dev(prepared: &Prepared, ready: OnReady) -> Result<(), AppError> {
    let mut config = Config::load(&prepared.config)?;
    (config.s3.listen, config.admin.listen) = (prepared.listen, prepared.admin);
    if !config.s3.domains.iter().any(|domain| domain == "localhost") {
        config.s3.domains.push("localhost".into());
    }
    let logs = logs(config.log)?;
    let time = if prepared.simulated_clock { Time::Simulated } else { Time::Real };
    let (login, accepted) = (prepared.login.clone(), prepared.accepted.clone());
    run(async move { Server::prepare(config, time, accepted)?.run(Some((ready, login))).await }, logs)
}

pub(super) fn run(work: impl Future<Output = Result<(), AppError>>, logs: Logs) -> Result<(), AppError> {
    // Before the first thread: what is set here, threads inherit.
    super::process::harden();
    crate::telemetry::watch_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("geoseal").build();
    let runtime = runtime.map_err(|error| AppError::Disk { path: "threads".into(), error })?;
    let done = runtime.block_on(work);
    drop(logs);
    done
}

pub(super) fn logs(config: LogConfig) -> Result<Logs, AppError> {
    let format = match config.format {
        LogFormat::Text => crate::telemetry::LogFormat::Text,
        LogFormat::Json => crate::telemetry::LogFormat::Json,
        LogFormat::Auto if std::io::stderr().is_terminal() => crate::telemetry::LogFormat::Text,
        LogFormat::Auto => crate::telemetry::LogFormat::Json,
    };
    let level = match config.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Ok(Logs::start(format, level)?)
}

/// Ready to listen; the house may be open already.
struct Server {
    config: Config,
    time: Time,
    accepted: Option<RolledBack>,
    registry: Registry,
    calls: providers::Calls,
    metrics: Metrics,
    s3: Door,
    admin: Door,
    logins: Logins,
}

/// Who is to be told when `dev` serves.
type DevReady = (OnReady, Option<Login>);

impl Server {
    fn prepare(config: Config, time: Time, accepted: Option<RolledBack>) -> Result<Self, AppError> {
        // The blob client and the admin CLI ask the process for its provider; everything else names ring itself.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut registry = registry();
        let metrics = Metrics::register(&mut registry);
        let meters = (EdgeMeters::register(&mut registry, "s3"), EdgeMeters::register(&mut registry, "admin"));
        let token = config.admin.token.read()?;
        let mut logins = Logins::new(&token).map_err(|_| AppError::WeakToken)?;
        if let Some(file) = &config.admin.auditor_token {
            logins = logins.with_auditor(&file.read()?).map_err(|_| AppError::WeakToken)?;
        }
        if let Some(file) = &config.admin.legal_token {
            logins = logins.with_legal(&file.read()?).map_err(|_| AppError::WeakToken)?;
        }
        for (name, file) in &config.admin.more_tokens {
            logins = logins.with_admin(name, &file.read()?).map_err(|_| AppError::WeakToken)?;
        }
        // Certificates are made by and for the world outside: their dates are judged by its time, never a simulated one.
        let real = SystemSource::new();
        let now: Now = Arc::new(move || real.sample().wall);
        let s3 = door(
            CertificateFiles {
                chain: config.s3.certificate.clone(),
                key: config.s3.private_key.clone(),
                clients: None,
            },
            &now,
            meters.0,
            &config.limits,
        )?;
        let clients = config
            .admin
            .client_authorities
            .clone()
            .map(|authorities| ClientFiles { authorities, revoked: config.admin.client_revocations.clone() });
        let files = CertificateFiles {
            chain: config.admin.certificate.clone(),
            key: config.admin.private_key.clone(),
            clients,
        };
        let admin = door(files, &now, meters.1, &config.limits)?;
        let calls = providers::Calls::new(&mut registry);
        Ok(Self { config, time, accepted, registry, calls, metrics, s3, admin, logins })
    }

    /// Opens, listens, serves, and on a signal drains and closes. While the keys are out of reach it listens all the
    /// same, answers 503, says why, and tries again.
    async fn run(self, dev: Option<DevReady>) -> Result<(), AppError> {
        let Self { config, time, accepted, registry, calls, metrics, s3, admin, logins } = self;
        let listen = (config.s3.listen, config.admin.listen);
        let faces = Faces { entrance: Entrance::default(), lobby: Lobby::closed(logins.clone(), NOTICE) };
        let listeners = Listeners::default();
        let opening = Opening {
            config: &config,
            accepted: accepted.as_ref(),
            metrics: &metrics,
            logins,
            faces: &faces,
            listeners: listeners.clone(),
        };
        let known = dev.as_ref().and_then(|(_, login)| login.as_ref());
        let is_dev = dev.is_some();
        let mut registry = Some(registry);
        let mut open = None;
        match reach(&config, time, accepted.as_ref(), &calls).await {
            Ok(keys) => open = Some(opening.open(keys, registry.take(), is_dev, known).await?),
            Err(error) if error.is_outage() => tracing::warn!(%error, "{NOTICE}"),
            Err(error) => return Err(error),
        }
        let mut stop = StopSignals::listen()?;
        let s3_socket = bind(listen.0)?;
        let admin_socket = bind(listen.1)?;
        let addresses = (local(&s3_socket, listen.0)?, local(&admin_socket, listen.1)?);
        listeners.are(vec![
            Listener { address: addresses.0, certificates: s3.certificates.clone() },
            Listener { address: addresses.1, certificates: admin.certificates.clone() },
        ]);
        let drain = Drain::new();
        for door in [&s3, &admin] {
            let poll = Duration::from_secs(config.limits.certificate_poll_s);
            tokio::spawn(door.certificates.clone().watch(poll, drain.token()));
        }
        let serving = {
            let (s3_drain, admin_drain) = (drain.token(), drain.token());
            let (face, lobby) = (Observed::new(faces.entrance.clone(), metrics.clone()), faces.lobby.clone());
            async move { tokio::join!(s3.serve(s3_socket, face, s3_drain), admin.serve(admin_socket, lobby, admin_drain)) }
        };
        let mut serving = tokio::spawn(serving);
        if open.is_none() {
            tracing::warn!(s3 = %addresses.0, admin = %addresses.1, "listening, serving nothing yet");
            tokio::select! {
                keys = reach_again(&config, time, accepted.as_ref(), &calls) => {
                    open = Some(opening.open(keys?, registry.take(), is_dev, known).await?);
                }
                () = stop.asked() => {}
            }
        }
        if let Some(open) = &open {
            tracing::info!(s3 = %addresses.0, admin = %addresses.1, "serving");
            if let (Some((tell, _)), Some(login)) = (dev, open.login.clone()) {
                tell(Ready { listen: addresses.0, admin: addresses.1, login }).await.map_err(AppError::Demo)?;
            }
            stop.asked().await;
        }
        tracing::info!("draining");
        drain.start();
        tokio::select! {
            drained = &mut serving => if let Ok((s3, admin)) = drained {
                tracing::info!(cut = s3.cut + admin.cut, "drained");
            },
            () = stop.asked() => {
                tracing::warn!("told to stop again: what is in flight is cut");
                serving.abort();
                // Ended by the abort; connections go with it.
                _ = (&mut serving).await;
            }
        }
        match open {
            Some(open) => open.close().await,
            None => Ok(()),
        }
    }
}

/// What is said while nothing can be served.
const NOTICE: &str = "waiting for the keys: their provider or the key service does not answer";

/// The two faces, closed until there is a house.
struct Faces {
    entrance: Entrance,
    lobby: Lobby,
}

/// All that it takes to open the house, once the keys are there.
struct Opening<'a> {
    config: &'a Config,
    accepted: Option<&'a RolledBack>,
    metrics: &'a Metrics,
    logins: Logins,
    faces: &'a Faces,
    listeners: Listeners,
}

/// The house, open.
struct Open {
    house: Arc<House>,
    beside: Vec<JoinHandle<()>>,
    /// What `dev` shows.
    login: Option<Login>,
}

impl Opening<'_> {
    /// Opens the house, finishes what a crash cut off, starts the clockwork, and then opens the faces.
    async fn open(
        &self,
        keys: house::Keys,
        registry: Option<Registry>,
        is_dev: bool,
        known: Option<&Login>,
    ) -> Result<Open, AppError> {
        let mut registry = registry.ok_or(AppError::Worker)?;
        let house = Arc::new(
            House::open(self.config, keys, self.accepted, self.metrics.traffic().clone(), &mut registry).await?,
        );
        super::process::say_key_memory();
        let login = if is_dev { Some(super::demo::demo(&house, known).await?) } else { None };
        for tenancy in house.tenancies() {
            tenancy.resume().await.map_err(|error| AppError::Resume(error.to_string()))?;
            super::subjects::resume(&tenancy, &house.store).await;
            super::dsrwork::resume(super::dsrwork::Hands { tenancy: &tenancy, store: &house.store }).await;
        }
        let resumed = super::admins::resume(&house, &self.logins).await;
        resumed.map_err(|error| AppError::Resume(error.to_string()))?;
        let registry = Arc::new(registry);
        let (metrics, logins, listeners) = (self.metrics.clone(), self.logins.clone(), self.listeners.clone());
        let acts = HouseActs::new(house.clone(), registry, metrics, logins, self.config, listeners)?;
        let acts = Arc::new(acts);
        for room in house.geos.iter().filter(|room| !room.subjects_again.is_empty()) {
            let again = super::subjects::redelete(&house.tenancy_of(room), &house.store, &room.subjects_again).await;
            let again = again.map_err(|error| AppError::Redelete(error.to_string()))?;
            tracing::warn!(subjects = again, "the restored backup held erased data subjects: erased again");
        }
        let again = acts.sweeper.redelete(&Actor::part("geoseal")).await;
        let again = again.map_err(|error| AppError::Redelete(error.to_string()))?;
        if again > 0 {
            tracing::warn!(tenants = again, "the restored backup held destroyed tenants: deleted again");
        }
        for room in house.geos.iter().filter(|room| room.is_restored) {
            let dropped = room.directory.drop_links().await;
            dropped.map_err(|error| AppError::Resume(error.to_string()))?;
            let keys = room.keys.clone();
            let cleared = tokio::task::spawn_blocking(move || keys.clear_restore_note()).await;
            cleared.map_err(|_| AppError::Worker)?.map_err(|error| AppError::keys(room.geo, error))?;
        }
        for room in &house.geos {
            let release = env!("CARGO_PKG_VERSION").to_owned();
            room.audit.append(&Actor::part("geoseal"), Record::ServerStarted { release }).await?;
        }
        let peers = super::clocks::Peers::of(self.config)?;
        let beside = vec![
            tokio::spawn(tick(house.clone())),
            tokio::spawn(keep_leases(house.clone())),
            tokio::spawn(save_clock(house.clone(), peers, self.metrics.clone())),
            tokio::spawn(super::witness::keep(house.clone())),
            tokio::spawn(super::sweeps::on_schedule(acts.clone())),
            tokio::spawn(super::probes::on_schedule(acts.clone())),
            tokio::spawn(super::schedule::on_schedule(acts.clone())),
            tokio::spawn(super::notices::on_schedule(acts.clone())),
            tokio::spawn(super::features::keep_counts(house.clone())),
        ];
        let settings = Settings {
            regions: self.config.regions.iter().map(|region| region.region).collect(),
            domains: self.config.s3.domains.clone(),
        };
        self.faces.entrance.open(service(house.gate.clone(), house.store.clone(), settings));
        self.faces.lobby.open(router(acts, self.logins.clone()));
        Ok(Open { house, beside, login })
    }
}

impl Open {
    async fn close(self) -> Result<(), AppError> {
        self.beside.iter().for_each(JoinHandle::abort);
        for room in &self.house.geos {
            // Where the log cannot take it, the next start will say that this one ended without a word.
            if let Err(error) = room.audit.append(&Actor::part("geoseal"), Record::ServerStopped {}).await {
                tracing::error!(%error, geo = room.geo.id, "the end is not in the audit log");
            }
            super::witness::tell(room).await;
            super::features::keep_count(room).await;
        }
        self.house.close().await;
        Ok(())
    }
}

/// The keys of the served geos, beside the runtime: opening them blocks.
async fn reach(
    config: &Config,
    time: Time,
    accepted: Option<&RolledBack>,
    calls: &providers::Calls,
) -> Result<house::Keys, AppError> {
    let (config, accepted, calls) = (config.clone(), accepted.cloned(), calls.clone());
    let open = move || house::Keys::open(&config, time, accepted.as_ref(), &calls);
    let keys = tokio::task::spawn_blocking(open).await;
    keys.unwrap_or(Err(AppError::Worker))
}

/// As [`reach`], until they are there or something other than an outage is wrong.
async fn reach_again(
    config: &Config,
    time: Time,
    accepted: Option<&RolledBack>,
    calls: &providers::Calls,
) -> Result<house::Keys, AppError> {
    loop {
        tokio::time::sleep(TICK).await;
        match reach(config, time, accepted, calls).await {
            Err(error) if error.is_outage() => {}
            ended => return ended,
        }
    }
}

fn door(files: CertificateFiles, now: &Now, meters: EdgeMeters, limits: &LimitsConfig) -> Result<Door, AppError> {
    let certificates = Certificates::load(files, now.clone(), meters.clone())?;
    let seconds = Duration::from_secs;
    let limits = EdgeLimits {
        handshake: seconds(limits.handshake_s),
        first_byte: seconds(limits.first_byte_s),
        header: seconds(limits.header_s),
        idle: seconds(limits.idle_s),
        body_window: seconds(limits.body_window_s),
        body_window_bytes_min: limits.body_window_bytes_min,
        connections_max: limits.connections_max,
        connections_per_address_max: limits.connections_per_address_max,
        drain: seconds(limits.drain_s),
        ..EdgeLimits::default()
    };
    Ok(Door { certificates, limits, meters })
}

/// Connections that the kernel holds for us until they are accepted. More arriving at once wait for their next try, a
/// second later; the kernel's own bound (`net.core.somaxconn`) may be lower.
const ARRIVALS_MAX: u32 = 4096;

fn bind(address: SocketAddr) -> Result<TcpListener, AppError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A start right after a stop takes the port over from connections that are still winding down.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(ARRIVALS_MAX)
    };
    listen().map_err(|error| AppError::Listen { address, error })
}

fn local(socket: &TcpListener, address: SocketAddr) -> Result<SocketAddr, AppError> {
    socket.local_addr().map_err(|error| AppError::Listen { address, error })
}

async fn tick(house: Arc<House>) {
    let mut every = tokio::time::interval(TICK);
    loop {
        every.tick().await;
        let now = house.clock.now().wall;
        for roots in house.regions.values() {
            roots.index.tick(now).await;
            if let Err(error) = roots.readers.tick().await {
                tracing::warn!(%error, "blobs were not deleted now; the sweeper will find them");
            }
        }
    }
}

/// Renews the leases that are used, and ends the others in time. Who was refused a lease for asking too often is in the
/// log, once a minute at most.
async fn keep_leases(house: Arc<House>) {
    let mut every = tokio::time::interval(TICK);
    let mut said: HashMap<TenantId, tokio::time::Instant> = HashMap::new();
    loop {
        let now = every.tick().await;
        said.retain(|_, at| now.duration_since(*at) < SAY_AGAIN);
        for room in &house.geos {
            room.directory.leases().tick();
            for tenant in room.keys.take_limited().into_iter().map(TenantId) {
                if said.contains_key(&tenant) {
                    continue;
                }
                said.insert(tenant, now);
                tracing::warn!(%tenant, "its keys were asked for more often than the key service allows");
                let audit = room.audit.clone();
                // Beside the leases: the log may wait for the key service, too.
                tokio::spawn(async move {
                    let event = Record::TenantKeysAskedTooOften { tenant };
                    if let Err(error) = audit.append(&Actor::part("geoseal"), event).await {
                        tracing::error!(%error, "it is not in the audit log that keys were asked for too often");
                    }
                });
            }
        }
    }
}

async fn save_clock(house: Arc<House>, peers: super::clocks::Peers, metrics: Metrics) {
    let mut watch = super::clocks::Watch::default();
    let mut every = tokio::time::interval(Duration::from_secs(SAVE_EVERY_S));
    loop {
        every.tick().await;
        let clock = house.clock.clone();
        let saved = tokio::task::spawn_blocking(move || clock.save()).await;
        if !matches!(saved, Ok(Ok(()))) {
            tracing::error!("the clock's state was not saved; time since then may not count after a reboot");
        }
        watch.look(&house, &peers, &metrics).await;
    }
}

/// What tells the process to stop.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(super) fn listen() -> Result<Self, AppError> {
        let failed = |error| AppError::Disk { path: "signals".into(), error };
        let listen = |kind| signal(kind).map_err(failed);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Once for each time it was told.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
