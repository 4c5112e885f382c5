//! Which provider, and how to come by it: the one place that knows them all.

use super::aws_kms::{AwsKmsSettings, Kms};
use super::external::{External, Vault};
use super::guard::{GuardLimits, Guarded, ProviderTime, ProviderWatch};
use super::local::{LocalKeyring, Unlock};
use super::pkcs11::{Pkcs11Settings, Token};
use super::transit::{Transit, TransitSettings};
use super::{MasterKeys, ProviderFault};
use crate::context::Id;
use crate::error::{KeyringError, ProviderError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the master keys of a geo are.
pub enum ProviderSettings {
    /// In a sealed file.
    Local {
        /// The file.
        keyring: PathBuf,
        /// What opens it.
        unlock: Unlock,
    },
    /// In a PKCS#11 token.
    Pkcs11 {
        /// The ledger of its versions.
        ledger: PathBuf,
        /// The token.
        settings: Pkcs11Settings,
    },
    /// In Vault's or OpenBao's Transit engine.
    Transit {
        /// The ledger of its versions.
        ledger: PathBuf,
        /// The engine and the key.
        settings: TransitSettings,
    },
    /// In AWS KMS.
    AwsKms {
        /// The ledger of its versions.
        ledger: PathBuf,
        /// The KMS.
        settings: AwsKmsSettings,
    },
}

/// Opens the master keys of `geo`, with a guard around those that are outside. Blocks; asks an outside provider once.
pub fn open_provider(
    settings: ProviderSettings,
    geo: Id,
    limits: GuardLimits,
    time: Arc<dyn ProviderTime>,
    watch: Arc<dyn ProviderWatch>,
) -> Result<Box<dyn MasterKeys>, ProviderError> {
    bring(settings, geo, limits, time, watch, Act::Open)
}

/// Makes the first master key of `geo`; one that is there already has to open. Blocks.
pub fn found_provider(
    settings: ProviderSettings,
    geo: Id,
    limits: GuardLimits,
    time: Arc<dyn ProviderTime>,
    watch: Arc<dyn ProviderWatch>,
) -> Result<Box<dyn MasterKeys>, ProviderError> {
    bring(settings, geo, limits, time, watch, Act::Found)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Open,
    Found,
}

fn bring(
    settings: ProviderSettings,
    geo: Id,
    limits: GuardLimits,
    time: Arc<dyn ProviderTime>,
    watch: Arc<dyn ProviderWatch>,
    act: Act,
) -> Result<Box<dyn MasterKeys>, ProviderError> {
    let inner: Arc<dyn MasterKeys> = match settings {
        ProviderSettings::Local { keyring, unlock } => return local(&keyring, geo, &unlock, act),
        ProviderSettings::Pkcs11 { ledger, settings } => {
            aside(&watch, |watch| external(Token::open(settings)?, &ledger, geo, watch, act))?
        }
        ProviderSettings::Transit { ledger, settings } => {
            let time = Arc::clone(&time);
            aside(&watch, |watch| external(Transit::open(settings, time)?, &ledger, geo, watch, act))?
        }
        ProviderSettings::AwsKms { ledger, settings } => {
            let time = Arc::clone(&time);
            aside(&watch, |watch| external(Kms::open(settings, geo, time)?, &ledger, geo, watch, act))?
        }
    };
    Ok(Box::new(Guarded::new(inner, limits, time, watch)))
}

fn local(path: &Path, geo: Id, unlock: &Unlock, act: Act) -> Result<Box<dyn MasterKeys>, ProviderError> {
    if act == Act::Found {
        match LocalKeyring::create(path, geo, unlock) {
            Err(ProviderError::Keyring(KeyringError::Exists)) => {}
            made => return Ok(Box::new(made?)),
        }
    }
    Ok(Box::new(LocalKeyring::open(path, geo, unlock)?))
}

fn external(
    vault: impl Vault + 'static,
    ledger: &Path,
    geo: Id,
    watch: Arc<dyn ProviderWatch>,
    act: Act,
) -> Result<Arc<dyn MasterKeys>, ProviderError> {
    if act == Act::Found && !ledger.exists() {
        return Ok(Arc::new(External::found(vault, ledger, geo, watch)?));
    }
    Ok(Arc::new(External::open(vault, ledger, geo, watch)?))
}

/// On a thread of its own: the HTTP client must not be made or asked where an asynchronous runtime runs.
fn aside<T: Send>(
    watch: &Arc<dyn ProviderWatch>,
    act: impl FnOnce(Arc<dyn ProviderWatch>) -> Result<T, ProviderError> + Send,
) -> Result<T, ProviderError> {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| act(Arc::clone(watch))).join();
        done.unwrap_or(Err(ProviderFault::Garbage.into()))
    })
}
