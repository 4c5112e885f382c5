//! Serving: opens the house, then the two listeners, then the clockwork that ticks beside them; on SIGTERM or Ctrl-C
//! drains and closes in the other order.

use super::AppError;
use super::acts::HouseActs;
use super::house::{self, House, Time};
use crate::admin::auth::Logins;
use crate::admin::http::router;
use crate::audit::{Actor, Event as Record};
use crate::cli::RolledBack;
use crate::cli::dev::{OnReady, Prepared, Ready};
use crate::config::{Config, LimitsConfig, LogFormat, LogLevel};
use crate::edge::{CertificateFiles, Certificates, ClientFiles, Door, Drain, EdgeLimits, EdgeMeters, Now};
use crate::model::clock::{SAVE_EVERY_S, Source, SystemSource};
use crate::s3::entry::{Settings, service};
use crate::sweep::certificate::{self, CertificateError, PublicKey};
use crate::sweep::closing::EpochCertificate;
use crate::telemetry::{Logs, Metrics, Observed, Registry, registry};
use hyper_util::service::TowerToHyperService;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::LevelFilter;

/// Between two ticks of the indexes: they save their anchors and let go of what is idle.
const TICK: Duration = Duration::from_secs(1);

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
    let logs = logs(&config)?;
    run(async { Server::open(&config, Time::Real, accepted).await?.run(None).await }, logs)
}

/// Serves a directory that `dev` prepared, at the addresses of its command line.
pub fn serve_dev(prepared: &Prepared, ready: OnReady) -> Result<(), AppError> {
    let mut config = Config::load(&prepared.config)?;
    (config.s3.listen, config.admin.listen) = (prepared.listen, prepared.admin);
    if !config.s3.domains.iter().any(|domain| domain == "localhost") {
        config.s3.domains.push("localhost".into());
    }
    let logs = logs(&config)?;
    let time = if prepared.simulated_clock { Time::Simulated } else { Time::Real };
    let accepted = prepared.accepted.as_ref();
    let work = async move {
        let server = Server::open(&config, time, accepted).await?;
        let login = super::demo::demo(&server.house, prepared.login.as_ref()).await?;
        server.run(Some((ready, login))).await
    };
    run(work, logs)
}

/// Verifies a certificate by the log's public key, without a server.
pub fn verify_certificate(certificate: &[u8], log_key: &[u8; 32]) -> Result<(), String> {
    let text = std::str::from_utf8(certificate).map_err(|_| CertificateError::Malformed.to_string())?;
    let key = PublicKey(*log_key);
    let tenants = certificate::verify(text, &key).map(drop);
    // Of a tenant, or of an epoch's close.
    let verdict = tenants.or_else(|error| EpochCertificate::verify(text, &key).map(drop).map_err(|_| error));
    verdict.map_err(|error| error.to_string())
}

fn run(work: impl Future<Output = Result<(), AppError>>, logs: Logs) -> Result<(), AppError> {
    // Before the first thread: what is set here, threads inherit.
    super::process::harden();
    crate::telemetry::watch_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("geoseal").build();
    let runtime = runtime.map_err(|error| AppError::Disk { path: "threads".into(), error })?;
    let done = runtime.block_on(work);
    drop(logs);
    done
}

fn logs(config: &Config) -> Result<Logs, AppError> {
    let format = match config.log.format {
        LogFormat::Text => crate::telemetry::LogFormat::Text,
        LogFormat::Json => crate::telemetry::LogFormat::Json,
        LogFormat::Auto if std::io::stderr().is_terminal() => crate::telemetry::LogFormat::Text,
        LogFormat::Auto => crate::telemetry::LogFormat::Json,
    };
    let level = match config.log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Ok(Logs::start(format, level)?)
}

/// Everything open, nothing listening yet.
struct Server {
    house: Arc<House>,
    acts: Arc<HouseActs>,
    metrics: Metrics,
    s3: Door,
    admin: Door,
    settings: Settings,
    logins: Logins,
    listen: (SocketAddr, SocketAddr),
    certificate_poll: Duration,
}

impl Server {
    async fn open(config: &Config, time: Time, accepted: Option<&RolledBack>) -> Result<Self, AppError> {
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
        let house = Arc::new(House::open(config, time, accepted, &mut registry).await?);
        super::process::say_key_memory();
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
        let registry: Arc<Registry> = Arc::new(registry);
        let acts = HouseActs::new(house.clone(), registry, metrics.clone(), config.sweep_interval, config.epoch);
        let settings = Settings {
            regions: config.regions.iter().map(|region| region.region).collect(),
            domains: config.s3.domains.clone(),
        };
        Ok(Self {
            house,
            acts: Arc::new(acts),
            metrics,
            s3,
            admin,
            settings,
            logins,
            listen: (config.s3.listen, config.admin.listen),
            certificate_poll: Duration::from_secs(config.limits.certificate_poll_s),
        })
    }

    /// Listens, serves, and on a signal drains and closes.
    async fn run(self, ready: Option<(OnReady, crate::cli::dev::Login)>) -> Result<(), AppError> {
        let Self { house, acts, metrics, s3, admin, settings, logins, listen, certificate_poll } = self;
        for tenancy in house.tenancies() {
            tenancy.resume().await.map_err(|error| AppError::Resume(error.to_string()))?;
            super::subjects::resume(&tenancy).await;
        }
        let again = acts.sweeper.redelete(&Actor::part("geoseal")).await;
        let again = again.map_err(|error| AppError::Redelete(error.to_string()))?;
        if again > 0 {
            tracing::warn!(tenants = again, "the restored backup held destroyed tenants: deleted again");
        }
        let mut stop = StopSignals::listen()?;
        let s3_socket = bind(listen.0)?;
        let admin_socket = bind(listen.1)?;
        let addresses = (local(&s3_socket, listen.0)?, local(&admin_socket, listen.1)?);
        for room in &house.geos {
            let release = env!("CARGO_PKG_VERSION").to_owned();
            room.audit.append(&Actor::part("geoseal"), Record::ServerStarted { release }).await?;
        }
        let drain = Drain::new();
        let face = service(house.gate.clone(), house.store.clone(), settings);
        let face = Observed::new(face, metrics.clone());
        let admin_face = TowerToHyperService::new(router(acts.clone(), logins));
        for door in [&s3, &admin] {
            tokio::spawn(door.certificates.clone().watch(certificate_poll, drain.token()));
        }
        let beside = [
            tokio::spawn(tick(house.clone())),
            tokio::spawn(keep_leases(house.clone())),
            tokio::spawn(save_clock(house.clone())),
            tokio::spawn(super::sweeps::on_schedule(acts.clone())),
        ];
        let serving = {
            let (s3_drain, admin_drain) = (drain.token(), drain.token());
            async move {
                tokio::join!(s3.serve(s3_socket, face, s3_drain), admin.serve(admin_socket, admin_face, admin_drain))
            }
        };
        let mut serving = tokio::spawn(serving);
        tracing::info!(s3 = %addresses.0, admin = %addresses.1, "serving");
        if let Some((tell, login)) = ready {
            let ready = Ready { listen: addresses.0, admin: addresses.1, login };
            tell(ready).await.map_err(AppError::Demo)?;
        }
        stop.asked().await;
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
        beside.iter().for_each(tokio::task::JoinHandle::abort);
        for room in &house.geos {
            room.audit.append(&Actor::part("geoseal"), Record::ServerStopped {}).await?;
        }
        house.close().await;
        Ok(())
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
        }
    }
}

/// Renews the leases that are used, and ends the others in time.
async fn keep_leases(house: Arc<House>) {
    let mut every = tokio::time::interval(TICK);
    loop {
        every.tick().await;
        house.geos.iter().for_each(|room| room.directory.leases().tick());
    }
}

async fn save_clock(house: Arc<House>) {
    let mut every = tokio::time::interval(Duration::from_secs(SAVE_EVERY_S));
    loop {
        every.tick().await;
        let clock = house.clock.clone();
        let saved = tokio::task::spawn_blocking(move || clock.save()).await;
        if !matches!(saved, Ok(Ok(()))) {
            tracing::error!("the clock's state was not saved; time since then may not count after a reboot");
        }
    }
}

/// What tells the process to stop.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> Result<Self, AppError> {
        let failed = |error| AppError::Disk { path: "signals".into(), error };
        let listen = |kind| signal(kind).map_err(failed);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Once for each time it was told.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
