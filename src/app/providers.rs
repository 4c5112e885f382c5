//! The master keys of each geo, as the settings say where they are: wires time, meters and log to the keys crate's
//! providers.

use super::AppError;
use super::house::geo_dir;
use crate::config::{Keeper, Keyring, Keyrings};
use crate::model::atlas::Geo;
use crate::model::clock::{Source, SystemSource};
use crate::seal::{
    AwsKmsSettings, CallOutcome, GuardLimits, MasterKeys, Pkcs11Settings, ProviderAct, ProviderFault, ProviderSettings,
    ProviderTime, ProviderWatch, TransitSettings, Unlock, Unwatched, found_provider, open_provider,
};
use crate::telemetry::{ProviderMeters, Registry};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use zeroize::Zeroizing;

/// Counts every call of an outside provider, and logs why one failed.
#[derive(Clone)]
pub(super) struct Calls(ProviderMeters);

impl Calls {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self(ProviderMeters::register(registry))
    }
}

impl ProviderWatch for Calls {
    fn call(&self, act: ProviderAct, outcome: CallOutcome, took: Duration) {
        self.0.called(act.as_str(), outcome.as_str(), took);
    }

    fn fault(&self, fault: ProviderFault) {
        tracing::warn!(%fault, "the key provider did not do what was asked");
    }
}

/// The machine's clocks, as providers ask for them.
struct MachineTime(SystemSource);

impl ProviderTime for MachineTime {
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.sample().boottime_ms.try_into().unwrap_or(0))
    }

    fn wall_seconds(&self) -> i64 {
        self.0.sample().wall.seconds()
    }

    fn pause(&self, duration: Duration) {
        // Nobody sends: it waits for its time, on the thread of a key operation.
        let (_silent, never) = mpsc::channel::<()>();
        let _ = never.recv_timeout(duration);
    }
}

/// Opens the master keys of one geo. Blocks; asks an outside provider.
pub(super) fn open(
    data: &Path,
    keyrings: &Keyrings,
    geo: &'static Geo,
    calls: &Calls,
) -> Result<Box<dyn MasterKeys>, AppError> {
    let keyring = keyrings.of(geo);
    let settings = settings(data, geo, keyring)?;
    let opened = open_provider(settings, geo.bytes(), limits(keyring), time(), Arc::new(calls.clone()));
    opened.map_err(|error| AppError::keys(geo, error.into()))
}

/// Makes the first master key of one geo; what is there already has to open.
pub(super) fn found(data: &Path, keyrings: &Keyrings, geo: &'static Geo) -> Result<(), AppError> {
    let keyring = keyrings.of(geo);
    let settings = settings(data, geo, keyring)?;
    let found = found_provider(settings, geo.bytes(), limits(keyring), time(), Arc::new(Unwatched));
    found.map(drop).map_err(|error| AppError::keys(geo, error.into()))
}

fn time() -> Arc<dyn ProviderTime> {
    Arc::new(MachineTime(SystemSource::new()))
}

fn limits(keyring: &Keyring) -> GuardLimits {
    GuardLimits { call: keyring.timeout, ..GuardLimits::default() }
}

fn settings(data: &Path, geo: &Geo, keyring: &Keyring) -> Result<ProviderSettings, AppError> {
    let dir = geo_dir(data, geo);
    // One request may take half of the call's time, so that there is time for another.
    let timeout = keyring.timeout / 2;
    let name = || format!("geoseal-{}", geo.id);
    Ok(match &keyring.keeper {
        Keeper::KeyFile(file) => {
            ProviderSettings::Local { keyring: dir.join("keyring"), unlock: Unlock::KeyFile(file.path().to_owned()) }
        }
        Keeper::Passphrase(file) => {
            let secret = file.read()?;
            let text = std::str::from_utf8(&secret).map_err(|_| AppError::PassphraseNotText)?;
            let unlock = Unlock::Passphrase(Zeroizing::new(text.to_owned()));
            ProviderSettings::Local { keyring: dir.join("keyring"), unlock }
        }
        Keeper::Pkcs11(pkcs11) => ProviderSettings::Pkcs11 {
            ledger: ledger(keyring, geo, dir),
            settings: Pkcs11Settings {
                module: pkcs11.module.clone(),
                token: pkcs11.token.clone(),
                pin_file: pkcs11.pin.path().to_owned(),
                label: pkcs11.label.clone().unwrap_or_else(name),
            },
        },
        Keeper::Transit(transit) => ProviderSettings::Transit {
            ledger: ledger(keyring, geo, dir),
            settings: TransitSettings {
                address: transit.address.clone(),
                ca_file: transit.ca_file.clone(),
                token_file: transit.token.path().to_owned(),
                mount: transit.mount.clone(),
                key: transit.key.clone().unwrap_or_else(name),
                namespace: transit.namespace.clone(),
                timeout,
            },
        },
        Keeper::AwsKms(kms) => ProviderSettings::AwsKms {
            ledger: ledger(keyring, geo, dir),
            settings: AwsKmsSettings {
                endpoint: kms.endpoint.clone(),
                region: kms.region.clone(),
                credentials_file: kms.credentials.path().to_owned(),
                ca_file: kms.ca_file.clone(),
                deletion_days: kms.deletion_days,
                timeout,
            },
        },
    })
}

fn ledger(keyring: &Keyring, geo: &Geo, dir: PathBuf) -> PathBuf {
    match &keyring.ledger_dir {
        Some(ledgers) => ledgers.join(format!("{}.ledger", geo.id)),
        None => dir.join("ledger"),
    }
}
