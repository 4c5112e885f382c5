//! What a lease gives: the unwrapped roots of one tenant as handles that wrap, unwrap, seal and open, but never show a
//! byte of a key. The service makes them; the `seal` room uses them on every request.
//!
//! Promises:
//! - Every call that unwraps or opens first does one atomic check of the lease, so a revocation bites at once, also in
//!   the middle of a stream.
//! - New data keys use the active version; records under older, decrypt-only versions still open.
//! - A context of another tenant or geo is refused before any derivation.
//!
//! Who may hold them: handles are shared as `Arc<TenantKeys>` for as long as a request runs. They are not `Clone`, so
//! there is one copy of a root in the process and it is cleared when the last request lets go.

use crate::context::{BucketContext, Id, NO_ID, ObjectContext};
use crate::derive;
use crate::error::{KeyError, OpenClass, OpenError};
use crate::grant::SubjectGrant;
use crate::material::{Secret, random_array};
use crate::purposes::{Purposes, SrkPurposes, TikPurposes, TrkPurposes};
use crate::record::{self, DekRecord, KeyKind, KeyName, Parent, Record, Unverified};
use crate::row::RowKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use zeroize::Zeroizing;

/// The oldest revocation sequence that is still good for one tenant. The service raises it.
pub(crate) struct Gate(AtomicU64);

impl Gate {
    /// The time of its leases is over.
    const EXPIRED: u64 = u64::MAX - 1;

    pub(crate) fn new(min: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(min)))
    }

    /// From here on every lease below `seq` is void.
    pub(crate) fn raise(&self, seq: u64) {
        self.0.fetch_max(seq, Ordering::AcqRel);
    }

    /// From here on every lease is void: somebody who may say so said no.
    pub(crate) fn revoke(&self) {
        self.raise(u64::MAX);
    }

    /// From here on every lease is void, because its time is over; nobody said no.
    pub(crate) fn expire(&self) {
        self.raise(Self::EXPIRED);
    }

    /// Whether every lease is void, for one reason or the other.
    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire) >= Self::EXPIRED
    }

    fn check(&self, seq: u64) -> Result<(), OpenError> {
        match self.0.load(Ordering::Acquire) {
            min if seq >= min => Ok(()),
            Self::EXPIRED => Err(OpenClass::Expired.into()),
            _ => Err(OpenClass::Revoked.into()),
        }
    }
}

/// Whether a data subject was erased: shared by all handles of that subject.
#[derive(Default)]
pub(crate) struct Erasure(AtomicBool);

impl Erasure {
    pub(crate) fn mark(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Permission to use a key, void once its gate was raised above it, or its data subject erased.
#[derive(Clone)]
pub(crate) struct Lease {
    gate: Arc<Gate>,
    seq: u64,
    erasure: Option<Arc<Erasure>>,
}

impl Lease {
    pub(crate) fn new(gate: Arc<Gate>, seq: u64) -> Self {
        Self { gate, seq, erasure: None }
    }

    /// The same for a key of one data subject.
    fn of_subject(&self, erasure: Arc<Erasure>) -> Self {
        Self { erasure: Some(erasure), ..self.clone() }
    }

    /// A lease nobody revokes: for the service's own keys.
    pub(crate) fn permanent() -> Self {
        Self { gate: Gate::new(0), seq: u64::MAX, erasure: None }
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        self.gate.check(self.seq)?;
        match &self.erasure {
            Some(erasure) if erasure.0.load(Ordering::Acquire) => Err(OpenClass::Erased.into()),
            _ => Ok(()),
        }
    }
}

/// The data key of one object version.
pub struct Dek {
    name: KeyName,
    secret: Secret,
    lease: Lease,
}

impl Dek {
    pub(crate) fn new(name: KeyName, secret: Secret, lease: Lease) -> Self {
        Self { name, secret, lease }
    }

    /// Its id, which the segment headers and the index row carry.
    pub fn id(&self) -> Id {
        self.name.id
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }
}

/// The index key of one bucket: seals its rows, makes its name tokens.
pub struct BucketKey {
    name: KeyName,
    rows: RowKey,
}

impl BucketKey {
    fn new(name: KeyName, secret: Secret, context: BucketContext, lease: Lease) -> Self {
        Self { name, rows: RowKey::new(secret, name.version, context, lease) }
    }

    /// The key's id and version.
    pub fn name(&self) -> KeyName {
        self.name
    }

    /// Whether the lease behind it is still good; every opening checks this itself.
    pub fn check(&self) -> Result<(), OpenError> {
        self.rows.check()
    }

    /// Seals and opens the bucket's rows.
    pub fn row_key(&self) -> &RowKey {
        &self.rows
    }

    /// The token that stands for an object's name in row keys.
    pub fn token(&self, name: &[u8]) -> [u8; 16] {
        self.rows.token(name)
    }
}

/// The key of one data subject: wraps the data keys of that subject's objects. Destroying its record erases them.
pub struct SubjectKey {
    name: KeyName,
    secret: Secret,
    tenant: Id,
    geo: Id,
    lease: Lease,
}

impl SubjectKey {
    /// The key's id and version.
    pub fn name(&self) -> KeyName {
        self.name
    }

    /// Whether the lease is still good and the subject not erased; every other call checks this itself.
    pub fn check(&self) -> Result<(), KeyError> {
        Ok(self.lease.check()?)
    }

    /// The key alone, for whoever leases it.
    pub(crate) fn grant(&self) -> SubjectGrant {
        SubjectGrant { name: self.name, secret: Secret::filled(|out| *out = *self.secret.bytes()) }
    }

    fn parent(&self) -> Parent<'_> {
        Parent { name: self.name, secret: &self.secret }
    }

    /// A fresh data key for an object of this subject, and its record.
    pub fn new_dek(&self, context: &ObjectContext) -> Result<(Dek, DekRecord), KeyError> {
        self.lease.check()?;
        own(context, &self.tenant, &self.geo)?;
        Ok(fresh_dek(&self.parent(), context, &self.lease))
    }

    /// The data key in a record that this subject key wrapped.
    pub fn open_dek(&self, record: &[u8], context: &ObjectContext) -> Result<Dek, KeyError> {
        self.lease.check()?;
        own(context, &self.tenant, &self.geo)?;
        let (name, secret) = record::unwrap(&self.parent(), KeyKind::Dek, record, context)?;
        Ok(Dek::new(name, secret, self.lease.clone()))
    }

    /// `HMAC-SHA-256(Expand(SK, "purpose-v1\0" | "token", 32), name)[0..16]`: what stands for a name wherever it must be
    /// recognised and not known. The same under every version of the tenant's roots; noise once this key is destroyed.
    pub fn token(&self, name: &[u8]) -> Result<[u8; 16], KeyError> {
        self.lease.check()?;
        Ok(derive::token(&derive::token_key(&self.secret), name))
    }
}

/// A login's secret: 32 random bytes, shown once as 43 characters of base64url.
pub struct CredentialSecret(Secret);

impl CredentialSecret {
    /// A fresh one.
    pub fn random() -> Self {
        Self(Secret::random())
    }

    /// The 43 characters that the client is given, and that sign its requests. Cleared when the caller drops it.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(base64url(self.0.bytes()))
    }
}

impl PartialEq for CredentialSecret {
    /// In constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.same(&other.0)
    }
}

/// Base64 without padding, RFC 4648 section 5.
fn base64url(bytes: &[u8; 32]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::with_capacity(43);
    for group in bytes.chunks(3) {
        let word = u32::from_be_bytes([0, group[0], *group.get(1).unwrap_or(&0), *group.get(2).unwrap_or(&0)]);
        for place in 0..=group.len() {
            out.push(char::from(ALPHABET[(word >> (18 - 6 * place)) as usize & 63]));
        }
    }
    out
}

/// One version of the index root, as a lease gives it.
struct LiveTik {
    keys: TikPurposes,
    directory: RowKey,
    subject_map: RowKey,
}

/// The keys of one tenant in one geo, under one lease. Purpose keys only: a root never leaves the key service.
pub struct TenantKeys {
    tenant: Id,
    geo: Id,
    lease: Lease,
    /// The active version first, then older ones that still open.
    trk: Vec<TrkPurposes>,
    /// Empty outside the key service.
    srk: Vec<SrkPurposes>,
    tik: Vec<LiveTik>,
    /// Versions that are there and may not be opened: compromised.
    withheld: Vec<KeyName>,
}

impl TenantKeys {
    /// The handles over `purposes`; `None` without a version of the tenant root and of the index root.
    pub(crate) fn new(tenant: Id, geo: Id, purposes: Purposes, lease: Lease) -> Option<Self> {
        let Purposes { trk, srk, tik, withheld } = purposes;
        if trk.is_empty() || tik.is_empty() {
            return None;
        }
        let context = BucketContext { tenant, geo, bucket: NO_ID };
        let row_key = |of: &Secret, version| {
            RowKey::new(Secret::filled(|out| *out = *of.bytes()), version, context, lease.clone())
        };
        let tik = tik.into_iter().map(|keys| LiveTik {
            directory: row_key(&keys.directory, keys.name.version),
            subject_map: row_key(&keys.subject_map, keys.name.version),
            keys,
        });
        let tik = tik.collect();
        Some(Self { tenant, geo, lease, trk, srk, tik, withheld })
    }

    /// The tenant.
    pub fn tenant(&self) -> Id {
        self.tenant
    }

    /// The geo whose master key stands above these.
    pub fn geo(&self) -> Id {
        self.geo
    }

    /// The active version of the tenant root, for status pages and SSE headers.
    pub fn active_trk(&self) -> KeyName {
        self.trk[0].name
    }

    /// Whether the lease is still good; every other call checks this itself.
    pub fn check(&self) -> Result<(), KeyError> {
        Ok(self.lease.check()?)
    }

    /// A fresh data key for the object version of `context`, and its record under the active tenant root.
    pub fn new_dek(&self, context: &ObjectContext) -> Result<(Dek, DekRecord), KeyError> {
        self.lease.check()?;
        own(context, &self.tenant, &self.geo)?;
        Ok(fresh_dek(&self.dek_parent(&self.trk[0]), context, &self.lease))
    }

    /// The data key in `record`, under whichever live version of the tenant root it names.
    pub fn open_dek(&self, record: &[u8], context: &ObjectContext) -> Result<Dek, KeyError> {
        self.lease.check()?;
        own(context, &self.tenant, &self.geo)?;
        let trk = self.trk_of(record)?;
        let (name, secret) = record::unwrap(&self.dek_parent(trk), KeyKind::Dek, record, context)?;
        Ok(Dek::new(name, secret, self.lease.clone()))
    }

    /// The same data key under the active tenant root; `None` when it is already there.
    pub fn rewrap_dek(&self, record: &[u8], context: &ObjectContext) -> Result<Option<DekRecord>, KeyError> {
        let dek = self.open_dek(record, context)?;
        if self.trk_of(record)?.name == self.trk[0].name {
            return Ok(None);
        }
        Ok(Some(record::wrap(&self.dek_parent(&self.trk[0]), KeyKind::Dek, dek.name, &dek.secret, context)))
    }

    /// The first index key of a new bucket, and its record.
    pub fn new_bucket_key(&self, bucket: Id) -> Result<(BucketKey, Record), KeyError> {
        self.bucket_key_of_version(bucket, 1)
    }

    /// The index key that replaces `old` in the re-key of a bucket, and its record.
    pub fn next_bucket_key(&self, bucket: Id, old: &BucketKey) -> Result<(BucketKey, Record), KeyError> {
        self.bucket_key_of_version(bucket, old.name.version.checked_add(1).ok_or(KeyError::Exhausted)?)
    }

    fn bucket_key_of_version(&self, bucket: Id, version: u32) -> Result<(BucketKey, Record), KeyError> {
        self.lease.check()?;
        let (name, secret) = (KeyName { id: random_array(), version }, Secret::random());
        let context = ObjectContext::of_child(self.tenant, self.geo, bucket);
        let record = record::wrap(&self.ik_parent(&self.tik[0].keys), KeyKind::Ik, name, &secret, &context);
        Ok((BucketKey::new(name, secret, context.bucket_context(), self.lease.clone()), record))
    }

    /// The index key in `record`.
    pub fn open_bucket_key(&self, record: &[u8], bucket: Id) -> Result<BucketKey, KeyError> {
        self.lease.check()?;
        let context = ObjectContext::of_child(self.tenant, self.geo, bucket);
        let (name, secret) = record::unwrap(&self.ik_parent(self.tik_of(record)?), KeyKind::Ik, record, &context)?;
        Ok(BucketKey::new(name, secret, context.bucket_context(), self.lease.clone()))
    }

    /// The same index key under the active index root; `None` when it is already there.
    pub fn rewrap_bucket_key(&self, record: &[u8], bucket: Id) -> Result<Option<Record>, KeyError> {
        self.lease.check()?;
        let context = ObjectContext::of_child(self.tenant, self.geo, bucket);
        let tik = self.tik_of(record)?;
        let (name, secret) = record::unwrap(&self.ik_parent(tik), KeyKind::Ik, record, &context)?;
        if tik.name == self.tik[0].keys.name {
            return Ok(None);
        }
        Ok(Some(record::wrap(&self.ik_parent(&self.tik[0].keys), KeyKind::Ik, name, &secret, &context)))
    }

    /// Seals and opens the tenant's rows above its buckets, under the active index root.
    pub fn directory(&self) -> &RowKey {
        &self.tik[0].directory
    }

    /// As [`TenantKeys::directory`], for rows sealed under an older index root ([`crate::row_version`] tells).
    pub fn directory_of_version(&self, version: u32) -> Option<&RowKey> {
        self.tik.iter().find(|tik| tik.keys.name.version == version).map(|tik| &tik.directory)
    }

    /// Seals the table from subject names to subject ids.
    pub fn subject_map(&self) -> &RowKey {
        &self.tik[0].subject_map
    }

    /// As [`TenantKeys::subject_map`], for rows sealed under an older index root ([`crate::row_version`] tells).
    pub fn subject_map_of_version(&self, version: u32) -> Option<&RowKey> {
        self.tik.iter().find(|tik| tik.keys.name.version == version).map(|tik| &tik.subject_map)
    }

    /// The token that stands for a bucket's name.
    pub fn bucket_token(&self, name: &[u8]) -> [u8; 16] {
        derive::token(&self.tik[0].keys.token, name)
    }

    /// The same under every live version of the index root, the active one first: while a re-root runs, a bucket's row
    /// may still stand at an older token.
    pub fn bucket_tokens(&self, name: &[u8]) -> impl Iterator<Item = [u8; 16]> {
        self.tik.iter().map(|tik| derive::token(&tik.keys.token, name))
    }

    /// The active version of the index root.
    pub fn active_tik(&self) -> KeyName {
        self.tik[0].keys.name
    }

    /// The token that stands for a data subject's name.
    pub fn subject_token(&self, name: &[u8]) -> [u8; 16] {
        self.tik[0].subject_map.token(name)
    }

    /// The same under every live version of the index root, the active one first: while a re-root runs, what is said of
    /// a data subject may still stand at an older token.
    pub fn subject_tokens(&self, name: &[u8]) -> impl Iterator<Item = [u8; 16]> {
        self.tik.iter().map(|tik| tik.subject_map.token(name))
    }

    /// What stands for a name in logs: stable for this tenant, meaningless without its key, gone with it.
    pub fn log_pseudonym(&self, name: &[u8]) -> [u8; 16] {
        derive::token(&self.tik[0].keys.log_pseudonym, name)
    }

    /// The record of a login's secret; `credential` is an opaque id it is bound to.
    pub fn wrap_credential(&self, secret: &CredentialSecret, credential: Id) -> Result<Record, KeyError> {
        self.lease.check()?;
        let name = KeyName { id: credential, version: 1 };
        let context = ObjectContext::of_child(self.tenant, self.geo, credential);
        let tik = &self.tik[0].keys;
        let parent = Parent { name: tik.name, secret: &tik.wrap_credential };
        Ok(record::wrap(&parent, KeyKind::Credential, name, &secret.0, &context))
    }

    /// The record of a login's secret under the active index root; `None` when it is already there.
    pub fn rewrap_credential(&self, record: &[u8], credential: Id) -> Result<Option<Record>, KeyError> {
        if self.tik_of(record)?.name == self.tik[0].keys.name {
            return Ok(None);
        }
        Ok(Some(self.wrap_credential(&self.open_credential(record, credential)?, credential)?))
    }

    /// A login's secret from its record.
    pub fn open_credential(&self, record: &[u8], credential: Id) -> Result<CredentialSecret, KeyError> {
        self.lease.check()?;
        let context = ObjectContext::of_child(self.tenant, self.geo, credential);
        let tik = self.tik_of(record)?;
        let parent = Parent { name: tik.name, secret: &tik.wrap_credential };
        let (name, secret) = record::unwrap(&parent, KeyKind::Credential, record, &context)?;
        if name.id != credential {
            return Err(OpenError::new(OpenClass::Context).into());
        }
        Ok(CredentialSecret(secret))
    }

    pub(crate) fn new_subject_key(&self, subject: Id, erasure: Arc<Erasure>) -> Result<(SubjectKey, Record), KeyError> {
        self.lease.check()?;
        let (name, secret) = (KeyName { id: random_array(), version: 1 }, Secret::random());
        let context = ObjectContext::of_child(self.tenant, self.geo, subject);
        let srk = self.srk.first().ok_or(OpenError::new(OpenClass::Parent))?;
        let record = record::wrap(&self.sk_parent(srk), KeyKind::Sk, name, &secret, &context);
        Ok((self.subject_key(name, secret, erasure), record))
    }

    pub(crate) fn open_subject_key(
        &self,
        record: &[u8],
        subject: Id,
        erasure: Arc<Erasure>,
    ) -> Result<SubjectKey, KeyError> {
        self.lease.check()?;
        let context = ObjectContext::of_child(self.tenant, self.geo, subject);
        let (name, secret) = record::unwrap(&self.sk_parent(self.srk_of(record)?), KeyKind::Sk, record, &context)?;
        Ok(self.subject_key(name, secret, erasure))
    }

    /// The same subject key under the active subject root; `None` when it is already there.
    pub(crate) fn rewrap_subject_key(&self, record: &[u8], subject: Id) -> Result<Option<Record>, KeyError> {
        self.lease.check()?;
        let context = ObjectContext::of_child(self.tenant, self.geo, subject);
        let srk = self.srk_of(record)?;
        let (name, secret) = record::unwrap(&self.sk_parent(srk), KeyKind::Sk, record, &context)?;
        if srk.name == self.srk[0].name {
            return Ok(None);
        }
        Ok(Some(record::wrap(&self.sk_parent(&self.srk[0]), KeyKind::Sk, name, &secret, &context)))
    }

    /// A subject's key that the key service opened, under this lease.
    pub(crate) fn subject_of(&self, grant: SubjectGrant, erasure: Arc<Erasure>) -> SubjectKey {
        self.subject_key(grant.name, grant.secret, erasure)
    }

    fn subject_key(&self, name: KeyName, secret: Secret, erasure: Arc<Erasure>) -> SubjectKey {
        SubjectKey { name, secret, tenant: self.tenant, geo: self.geo, lease: self.lease.of_subject(erasure) }
    }

    fn srk_of(&self, record: &[u8]) -> Result<&SrkPurposes, OpenError> {
        let parent = Unverified::parse(record)?.parent;
        self.srk.iter().find(|srk| srk.name == parent).ok_or(OpenClass::Parent.into())
    }

    /// Whether a live tenant root, and not a subject key, is the parent.
    pub(crate) fn wrapped_by_a_root(&self, record: &Unverified) -> bool {
        self.trk.iter().any(|trk| trk.name == record.parent)
    }

    fn trk_of(&self, record: &[u8]) -> Result<&TrkPurposes, OpenError> {
        let parent = Unverified::parse(record)?.parent;
        let withheld = if self.withheld.contains(&parent) { OpenClass::Withheld } else { OpenClass::Parent };
        self.trk.iter().find(|trk| trk.name == parent).ok_or(withheld.into())
    }

    fn tik_of(&self, record: &[u8]) -> Result<&TikPurposes, OpenError> {
        let parent = Unverified::parse(record)?.parent;
        let mut live = self.tik.iter().map(|tik| &tik.keys);
        live.find(|tik| tik.name == parent).ok_or(OpenClass::Parent.into())
    }

    fn dek_parent<'a>(&self, trk: &'a TrkPurposes) -> Parent<'a> {
        Parent { name: trk.name, secret: &trk.wrap_dek }
    }

    fn ik_parent<'a>(&self, tik: &'a TikPurposes) -> Parent<'a> {
        Parent { name: tik.name, secret: &tik.wrap_ik }
    }

    fn sk_parent<'a>(&self, srk: &'a SrkPurposes) -> Parent<'a> {
        Parent { name: srk.name, secret: &srk.wrap_sk }
    }
}

fn fresh_dek(parent: &Parent<'_>, context: &ObjectContext, lease: &Lease) -> (Dek, DekRecord) {
    let (name, secret) = (KeyName { id: random_array(), version: 1 }, Secret::random());
    let record = record::wrap(parent, KeyKind::Dek, name, &secret, context);
    (Dek::new(name, secret, lease.clone()), record)
}

/// A context of another tenant or geo is a caller's mistake that must never reach a derivation.
fn own(context: &ObjectContext, tenant: &Id, geo: &Id) -> Result<(), KeyError> {
    if context.geo != *geo {
        return Err(OpenError::new(OpenClass::Geo).into());
    }
    if context.tenant != *tenant {
        return Err(OpenError::new(OpenClass::Context).into());
    }
    Ok(())
}
