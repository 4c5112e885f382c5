//! Everything that outside providers have in common: the ledger, the states, the checks. What differs is a [`Vault`]:
//! makes a key, wraps, unwraps, enforces states, destroys.
//!
//! Promises, whatever the vault does:
//! - A version wraps only while the ledger says active, unwraps only while it says active or decrypt-only. The vault is
//!   told to hold to the same as far as it can.
//! - A rotation is in the ledger before anything is wrapped under the new version; a version that was made and not
//!   recorded, because of a crash, is found again or left unused.
//! - A destruction is the vault's first and the ledger's second, and may be repeated.

use super::ledger::{Ledger, SealedLedger};
use super::{
    MasterKeys, MasterState, MasterVersion, ProviderFault, ProviderWatch, RootSecret, StateMac, Witness, Wrapped,
};
use crate::context::{Id, NO_ID, ObjectContext};
use crate::derive;
use crate::error::ProviderError;
use crate::material::{Secret, random_array};
use crate::record::{KeyKind, KeyName, ProviderKind, ProviderRecord, RootFields};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;

/// `rec[0..48] | tenant | geo`: what a provider binds into what it wraps. Ids only.
#[derive(Clone, Copy)]
pub(super) struct Binding {
    /// `rec[0..48]`.
    pub(super) record: [u8; 48],
    pub(super) tenant: Id,
    pub(super) geo: Id,
}

impl Binding {
    pub(super) fn new(fields: &RootFields, context: &ObjectContext) -> Self {
        Self { record: fields.to_bytes(), tenant: context.tenant, geo: context.geo }
    }

    pub(super) fn to_bytes(self) -> [u8; 80] {
        let mut out = [0; 80];
        out[..48].copy_from_slice(&self.record);
        out[48..64].copy_from_slice(&self.tenant);
        out[64..].copy_from_slice(&self.geo);
        out
    }
}

/// A place outside this process that keeps AES keys and uses them for us. Master keys are told apart by version and by an
/// id that the vault gives or takes when it makes one.
pub(super) trait Vault: Send + Sync {
    fn kind(&self) -> ProviderKind;

    /// Makes the key of `version`, or finds the one that an earlier call made and nobody recorded. Returns its id.
    fn make(&self, version: u32) -> Result<Id, ProviderFault>;

    fn wrap(&self, master: KeyName, secret: &Secret, binding: &Binding) -> Result<Vec<u8>, ProviderFault>;

    fn unwrap(&self, master: KeyName, blob: &[u8], binding: &Binding) -> Result<Secret, ProviderFault>;

    /// Several at once where the vault can.
    fn unwrap_many(&self, wrapped: &[(KeyName, &[u8], Binding)]) -> Result<Vec<Secret>, ProviderFault> {
        wrapped.iter().map(|(master, blob, binding)| self.unwrap(*master, blob, binding)).collect()
    }

    /// Makes the vault itself refuse what the states forbid, as far as it can. Idempotent.
    fn enforce(&self, versions: &[MasterVersion]) -> Result<(), ProviderFault>;

    /// Whether `versions`' states allow the vault to destroy `version` alone.
    fn may_destroy(&self, version: u32, versions: &[MasterVersion]) -> Result<(), ProviderFault>;

    /// Destroys a key, for good. Idempotent. Returns a receipt.
    fn destroy(&self, master: KeyName) -> Result<String, ProviderFault>;
}

/// The master keys of one geo in a vault.
pub(super) struct External<V> {
    vault: V,
    geo: Id,
    ledger: Mutex<Ledger>,
    watch: Arc<dyn ProviderWatch>,
}

impl<V: Vault> External<V> {
    /// Makes the first master key and the ledger. Never overwrites a ledger.
    pub(super) fn found(vault: V, path: &Path, geo: Id, watch: Arc<dyn ProviderWatch>) -> Result<Self, ProviderError> {
        if path.exists() {
            return Err(ProviderFault::LedgerExists.into());
        }
        let first = KeyName { id: vault.make(1)?, version: 1 };
        let (key, record) = ledger_key(&vault, geo, first)?;
        let ledger = Ledger::create(path, geo, first, &key, record)?;
        Ok(Self { vault, geo, ledger: Mutex::new(ledger), watch })
    }

    /// Opens the ledger, which takes the vault to unwrap its key.
    pub(super) fn open(vault: V, path: &Path, geo: Id, watch: Arc<dyn ProviderWatch>) -> Result<Self, ProviderError> {
        let sealed = SealedLedger::read(path, geo, vault.kind())?;
        let record = &sealed.record;
        let context = ObjectContext::of_root(NO_ID, geo);
        let key = vault.unwrap(record.fields.master, &record.blob, &Binding::new(&record.fields, &context))?;
        if !record.vouches_for(&key, &context) {
            return Err(ProviderFault::WrongKey.into());
        }
        let ledger = sealed.open(path, geo, &key)?;
        Ok(Self { vault, geo, ledger: Mutex::new(ledger), watch })
    }

    /// The state of the version that a record names, and its name if the record names it rightly.
    fn named(&self, master: KeyName) -> Result<MasterState, ProviderError> {
        let ledger = self.ledger.lock();
        let known = ledger.versions.iter().find(|version| version.name == master);
        known.map(|version| version.state).ok_or(ProviderError::Refused)
    }

    fn told<T>(&self, answer: Result<T, ProviderFault>) -> Result<T, ProviderError> {
        answer.map_err(|fault| {
            self.watch.fault(fault);
            fault.outcome()
        })
    }

    fn change(
        &self,
        version: u32,
        state: impl FnOnce(MasterState) -> Option<MasterState>,
    ) -> Result<(), ProviderError> {
        let mut ledger = self.ledger.lock();
        let mut versions = ledger.versions.clone();
        let entry = versions.iter_mut().find(|entry| entry.name.version == version).ok_or(ProviderError::Refused)?;
        entry.state = state(entry.state).ok_or(ProviderError::Refused)?;
        if versions != ledger.versions {
            self.told(ledger.save(&versions))?;
            ledger.versions = versions;
        }
        Ok(())
    }
}

impl<V: Vault> MasterKeys for External<V> {
    fn kind(&self) -> ProviderKind {
        self.vault.kind()
    }

    fn versions(&self) -> Result<Vec<MasterVersion>, ProviderError> {
        Ok(self.ledger.lock().versions.clone())
    }

    fn wrap(&self, fields: &RootFields, root: &RootSecret, context: &ObjectContext) -> Result<Vec<u8>, ProviderError> {
        if self.named(fields.master)? != MasterState::Active {
            return Err(ProviderError::Refused);
        }
        self.told(self.vault.wrap(fields.master, &root.0, &Binding::new(fields, context)))
    }

    fn unwrap(&self, fields: &RootFields, blob: &[u8], context: &ObjectContext) -> Result<RootSecret, ProviderError> {
        if !matches!(self.named(fields.master)?, MasterState::Active | MasterState::DecryptOnly) {
            return Err(ProviderError::Refused);
        }
        self.told(self.vault.unwrap(fields.master, blob, &Binding::new(fields, context))).map(RootSecret)
    }

    fn unwrap_many(&self, wrapped: &[Wrapped<'_>]) -> Result<Vec<RootSecret>, ProviderError> {
        let mut asked = Vec::with_capacity(wrapped.len());
        for (fields, blob, context) in wrapped {
            if !matches!(self.named(fields.master)?, MasterState::Active | MasterState::DecryptOnly) {
                return Err(ProviderError::Refused);
            }
            asked.push((fields.master, *blob, Binding::new(fields, context)));
        }
        Ok(self.told(self.vault.unwrap_many(&asked))?.into_iter().map(RootSecret).collect())
    }

    fn rotate_to(&self, version: u32) -> Result<KeyName, ProviderError> {
        let mut ledger = self.ledger.lock();
        let active = ledger.versions.iter().find(|entry| entry.state == MasterState::Active);
        let active = active.ok_or(ProviderError::Refused)?.name;
        if active.version == version {
            self.told(self.vault.enforce(&ledger.versions))?;
            return Ok(active);
        }
        if active.version.checked_add(1) != Some(version) {
            return Err(ProviderError::Refused);
        }
        let name = KeyName { id: self.told(self.vault.make(version))?, version };
        let (key, record) = self.told(ledger_key(&self.vault, self.geo, name))?;
        let mut versions = ledger.versions.clone();
        for entry in versions.iter_mut().filter(|entry| entry.state == MasterState::Active) {
            entry.state = MasterState::DecryptOnly;
        }
        versions.push(MasterVersion { name, state: MasterState::Active });
        self.told(ledger.reseal(versions, &key, record))?;
        self.told(self.vault.enforce(&ledger.versions))?;
        Ok(name)
    }

    fn set_enabled(&self, version: u32, enabled: bool) -> Result<(), ProviderError> {
        self.change(version, |state| match (state, enabled) {
            (MasterState::DecryptOnly | MasterState::Disabled, true) => Some(MasterState::DecryptOnly),
            (MasterState::DecryptOnly | MasterState::Disabled, false) => Some(MasterState::Disabled),
            (MasterState::Active | MasterState::Destroyed, _) => None,
        })?;
        self.told(self.vault.enforce(&self.ledger.lock().versions))
    }

    fn destroy(&self, version: u32) -> Result<String, ProviderError> {
        let versions = self.versions()?;
        let entry = versions.iter().find(|entry| entry.name.version == version).ok_or(ProviderError::Refused)?;
        if entry.state == MasterState::Active {
            return Err(ProviderError::Refused);
        }
        if entry.state != MasterState::Destroyed {
            self.told(self.vault.may_destroy(version, &versions))?;
        }
        let receipt = self.told(self.vault.destroy(entry.name))?;
        self.change(version, |_| Some(MasterState::Destroyed))?;
        Ok(receipt)
    }

    fn state_mac(&self) -> StateMac {
        let key = derive::state_key(self.ledger.lock().state_seed());
        Box::new(move |state| derive::mac(&key, state))
    }

    fn witness(&self) -> Result<Option<Witness>, ProviderError> {
        Ok(self.ledger.lock().witness.seen())
    }

    fn advance(&self, witness: &Witness) -> Result<(), ProviderError> {
        self.told(self.ledger.lock().witness.advance(witness).map_err(ProviderFault::from))
    }
}

/// A fresh key for the ledger, wrapped under `master` and unwrapped again: the vault proves that it can before anything
/// depends on it.
fn ledger_key(vault: &impl Vault, geo: Id, master: KeyName) -> Result<(Secret, ProviderRecord), ProviderFault> {
    let key = Secret::random();
    let context = ObjectContext::of_root(NO_ID, geo);
    let root = KeyName { id: random_array(), version: 1 };
    let fields = RootFields { provider: vault.kind(), kind: KeyKind::File, root, master };
    let binding = Binding::new(&fields, &context);
    let blob = vault.wrap(master, &key, &binding)?;
    if !vault.unwrap(master, &blob, &binding)?.same(&key) {
        return Err(ProviderFault::WrongKey);
    }
    let kcv = derive::kcv(&key, &fields.to_bytes(), &context);
    Ok((key, ProviderRecord { fields, kcv, blob }))
}
