//! What the key service hands out: a tenant's purpose keys for the time of a lease, a subject's key, and, for an export
//! that the tenant asked for, the keys that open it. Never a root of a lease's own accord.
//!
//! A slow provider must not hold up a suspension: the key store is not locked while the provider is asked, and what was
//! read before is compared with what stands there afterwards.

use crate::context::{Id, ObjectContext};
use crate::entries::{KeyState, RootEntry, TenantState};
use crate::error::{KeyError, KeystoreError, ProviderError, Refusal};
use crate::keystore::{Keystore, unwrap_roots};
use crate::material::Secret;
use crate::provider::RootSecret;
use crate::purposes::{Purposes, Roots};
use crate::record::{KeyKind, KeyName};
use crate::revocations::RevocationKind;
use crate::service::{GeoKeyService, root_entries, tenant_entry};
use zeroize::Zeroizing;

/// How often a grant begins anew when the roots change under it.
const TRIES_MAX: u32 = 8;

/// A tenant's purpose keys on their way to whoever leases them. How long they serve is the holder's to count, from the
/// moment it asked.
pub struct Grant {
    pub(crate) tenant: Id,
    pub(crate) geo: Id,
    pub(crate) purposes: Purposes,
}

/// A subject's key on its way to whoever leased its tenant's.
pub struct SubjectGrant {
    pub(crate) name: KeyName,
    pub(crate) secret: Secret,
}

/// Which key of an export's key file is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum ExportKey {
    /// The active tenant root: its first line.
    #[n(0)]
    Tenant,
    /// The purpose key above the subject keys: its second.
    #[n(1)]
    SubjectWrap,
}

impl GeoKeyService {
    /// Asks the provider for the tenant's roots and gives what is derived from them. A refusal by the provider voids
    /// every lease of the tenant.
    pub fn grant(&self, tenant: Id) -> Result<Grant, KeyError> {
        let roots = self.live_roots(&tenant, opens, |kind| matches!(kind, KeyKind::Trk | KeyKind::Tik))?;
        Ok(Grant { tenant, geo: self.geo, purposes: Purposes::of(roots, &tenant, &self.geo) })
    }

    /// The same with compromised versions among them: for a re-encryption and nothing else.
    pub fn grant_for_reencryption(&self, tenant: Id) -> Result<Grant, KeyError> {
        let opens = |state| opens(state) || state == KeyState::Compromised;
        let roots = self.live_roots(&tenant, opens, |kind| matches!(kind, KeyKind::Trk | KeyKind::Tik))?;
        Ok(Grant { tenant, geo: self.geo, purposes: Purposes::of(roots, &tenant, &self.geo) })
    }

    /// The active tenant root as 64 hexadecimal digits: hands the tenant's data to whoever reads it. Only for an export
    /// that the tenant asked for. Cleared when the caller drops it.
    pub fn danger_reveal_tenant_key(&self, tenant: Id) -> Result<Zeroizing<String>, KeyError> {
        let roots = self.live_roots(&tenant, opens, |kind| kind == KeyKind::Trk)?;
        let (_, root) = roots.trk.first().ok_or(KeystoreError::Damaged)?;
        Ok(Zeroizing::new(hex::encode(root.bytes())))
    }

    /// The purpose key above the subject keys as 64 hexadecimal digits: the second line of an export's key file.
    pub fn danger_reveal_subject_wrap_key(&self, tenant: Id) -> Result<Zeroizing<String>, KeyError> {
        let roots = self.live_roots(&tenant, opens, |kind| kind == KeyKind::Srk)?;
        let purposes = Purposes::of(roots, &tenant, &self.geo);
        let srk = purposes.srk.first().ok_or(KeystoreError::Damaged)?;
        Ok(Zeroizing::new(hex::encode(srk.wrap_sk.bytes())))
    }

    /// The tenant's live roots of the kinds that `wanted` names, newest version first.
    fn live_roots(
        &self,
        tenant: &Id,
        opens: impl Fn(KeyState) -> bool,
        wanted: impl Fn(KeyKind) -> bool,
    ) -> Result<Roots, KeyError> {
        for attempt in 0..TRIES_MAX {
            let before = live(&self.store.lock(), tenant)?;
            if attempt == 0 && !self.limit.admits(tenant, self.clock.cc_lo()) {
                self.calls.limited();
                return Err(KeyError::TooOften);
            }
            let asked = before.iter().filter(|entry| wanted(entry.kind));
            let (asked, withheld): (Vec<&RootEntry>, Vec<&RootEntry>) = asked.partition(|entry| opens(entry.state));
            let withheld = withheld.into_iter().map(|entry| entry.name).collect();
            let mut roots = Roots { trk: Vec::new(), srk: Vec::new(), tik: Vec::new(), withheld };
            // Newest version first, so that the active one leads.
            for (entry, RootSecret(secret)) in asked.iter().zip(self.unwrap_live(tenant, &asked)?).rev() {
                match entry.kind {
                    KeyKind::Trk => roots.trk.push((entry.name, secret)),
                    KeyKind::Srk => roots.srk.push((entry.name, secret)),
                    KeyKind::Tik => roots.tik.push((entry.name, secret)),
                    _ => return Err(KeystoreError::Damaged.into()),
                }
            }
            let after = live(&self.store.lock(), tenant)?;
            let same = |(a, b): (&RootEntry, &RootEntry)| (a.kind, a.name, a.state) == (b.kind, b.name, b.state);
            if before.len() == after.len() && before.iter().zip(&after).all(same) {
                return Ok(roots);
            }
        }
        Err(Refusal::Rotating.into())
    }

    /// One call to the provider for all of them, where it can. A refusal voids every lease of the tenant.
    fn unwrap_live(&self, tenant: &Id, entries: &[&RootEntry]) -> Result<Vec<RootSecret>, KeyError> {
        let records: Option<Vec<_>> = entries.iter().map(|entry| entry.record.as_ref()).collect();
        let context = ObjectContext::of_root(*tenant, self.geo);
        let unwrapped = unwrap_roots(&*self.provider, &records.ok_or(KeystoreError::Damaged)?, &context);
        if unwrapped.as_ref().err() == Some(&KeyError::Provider(ProviderError::Refused)) {
            self.feed.tell(*tenant, RevocationKind::Void);
        }
        unwrapped
    }
}

/// The roots of a tenant that may be used now, by kind, oldest version first, and the compromised ones; the tenant's state
/// when none may.
fn live(store: &Keystore, tenant: &Id) -> Result<Vec<RootEntry>, KeyError> {
    match tenant_entry(store, tenant)?.ok_or(KeyError::Unknown)?.state {
        TenantState::Active => {}
        TenantState::Suspended => return Err(KeyError::Suspended),
        TenantState::Destroyed => return Err(KeyError::Destroyed),
        TenantState::Provisioning => return Err(KeyError::Unknown),
    }
    let mut entries = root_entries(store, tenant)?;
    entries.retain(|entry| opens(entry.state) || entry.state == KeyState::Compromised);
    Ok(entries)
}

/// In which states of its roots a request may use them.
pub(crate) fn opens(state: KeyState) -> bool {
    matches!(state, KeyState::Active | KeyState::DecryptOnly)
}
