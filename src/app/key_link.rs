//! The key service as this process reaches it: in the process, over a Unix socket, or over TLS.

use super::AppError;
use crate::config::{KeysConfig, KeysPlace};
use crate::keylink::{TlsConnector, TlsPlace, UnixConnector};
use crate::model::atlas::Geo;
use crate::model::clock::Clock;
use crate::seal::{Connector, KeyClient, LeaseOptions, RemoteAuthority};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// How long a poll for revocations waits for the first, in milliseconds.
const POLL_MS: u32 = 20_000;
/// Between two polls that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// The process's clock, for those who need it before it is there: its state is authenticated by a key that comes from
/// the key service.
#[derive(Default)]
pub(super) struct LateClock(OnceLock<Arc<dyn Clock>>);

impl LateClock {
    pub(super) fn set(&self, clock: &Arc<dyn Clock>) {
        // There is one clock in a process; who comes second brings the same.
        let _ = self.0.set(clock.clone());
    }
}

impl crate::seal::Clock for LateClock {
    fn cc_lo(&self) -> i64 {
        self.0.get().map_or(0, |clock| clock.now().cc_lo.seconds())
    }
}

/// How leases are kept.
pub(super) fn lease_options(config: &KeysConfig) -> LeaseOptions {
    LeaseOptions { lease_s: config.lease_s, ..LeaseOptions::default() }
}

/// A client of the key service that the settings name, which is not this process. Blocks.
pub(super) fn connect(
    config: &KeysConfig,
    geo: &'static Geo,
    clock: &Arc<LateClock>,
) -> Result<Arc<KeyClient>, AppError> {
    let connector: Box<dyn Connector> = match &config.place {
        KeysPlace::Here => return Err(AppError::Worker),
        KeysPlace::Socket(path) => Box::new(UnixConnector::new(path.clone())),
        KeysPlace::Tls(tls) => Box::new(TlsConnector::new(TlsPlace {
            host: tls.host.clone(),
            port: tls.port,
            authorities: tls.ca_file.clone(),
            certificate: tls.cert_file.clone(),
            private_key: tls.key_file.clone(),
        })),
    };
    let authority = Arc::new(RemoteAuthority::new(geo.bytes(), connector));
    let client = KeyClient::connect(authority, geo.bytes(), clock.clone(), lease_options(config));
    let client = Arc::new(client.map_err(|error| AppError::keys(geo, error))?);
    follow(&client, geo).map_err(|error| AppError::Disk { path: "threads".into(), error })?;
    Ok(client)
}

/// Hears of revocations as long as somebody has the client.
fn follow(client: &Arc<KeyClient>, geo: &'static Geo) -> std::io::Result<()> {
    let client: Weak<KeyClient> = Arc::downgrade(client);
    #[allow(clippy::disallowed_methods, reason = "a thread of its own, which has nothing else to wait for")]
    let listen = move || {
        let mut heard = true;
        while let Some(client) = client.upgrade() {
            match client.follow(POLL_MS) {
                Ok(_) if heard => {}
                Ok(_) => {
                    heard = true;
                    tracing::info!(geo = geo.id, "the key service answers again");
                }
                Err(error) => {
                    if std::mem::take(&mut heard) {
                        tracing::warn!(geo = geo.id, %error, "no word from the key service: leases run to their end");
                    }
                    drop(client);
                    std::thread::sleep(PAUSE);
                }
            }
        }
    };
    std::thread::Builder::new().name("revocations".into()).spawn(listen).map(drop)
}
