//! Data subjects' requests: `l | tenant | number`, sealed under the geo's directory key. Who asks is in it twice, and never
//! in the clear: as the token that stands for the name in the ledger, and as the name, sealed under the tenant's register
//! key until the request has ended well. So a rotation of the tenant's roots touches no request, and the tenant's purge
//! leaves nothing of it.

use super::rows::{self, kind};
use super::{Directory, DirectoryError, NameToken, REGISTER, SCAN};
use crate::index::engine::{Batch, Direction, KeyRange};
use crate::model::dsr::{RequestKind, RequestState};
use crate::model::ids::{BucketId, SubjectId, TenantId, UploadId, VersionId};
use crate::model::names::{ObjectName, SubjectName};
use crate::model::time::Millis;
use crate::seal::{ObjectContext, SegmentInfo, SegmentKind};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

/// A request as it is kept.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct SubjectRequest {
    /// Counts a tenant's requests from 1: `DSR-number`.
    #[n(0)]
    pub number: u64,
    /// What is asked for.
    #[n(1)]
    pub kind: RequestKind,
    /// Where it stands.
    #[n(2)]
    pub state: RequestState,
    /// On which ground, in the words of whoever entered it.
    #[n(3)]
    pub basis: String,
    /// Stands for who asks.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub token: NameToken,
    /// When it was entered.
    #[n(5)]
    pub opened: Millis,
    /// By when it has to be answered.
    #[n(6)]
    pub due: Millis,
    /// When it changed last.
    #[n(7)]
    pub changed: Millis,
    /// Who asks, sealed; gone when it is done.
    #[n(8)]
    pub name: Option<SealedName>,
    /// Of an erasure: whether the person is not to be stored again.
    #[n(9)]
    pub block: bool,
    /// Whether what it put in force (a restriction, a refusal to store again) still is.
    #[n(10)]
    pub in_force: bool,
    /// Objects dealt with so far; in requests of before versions were told apart, versions of them.
    #[n(11)]
    pub objects: u64,
    /// Uploads in progress dealt with so far.
    #[n(12)]
    pub uploads: u64,
    /// Objects that a hold keeps.
    #[n(13)]
    pub kept: u64,
    /// The holds.
    #[n(14)]
    pub matters: Vec<String>,
    /// Who was erased, by the opaque id.
    #[n(15)]
    pub subject: Option<SubjectId>,
    /// The signed certificate of an erasure.
    #[n(16)]
    pub certificate: Option<String>,
    /// Of one to rectify, while it is RUNNING or DEFERRED: which object, and where its new content waits.
    #[n(17)]
    pub correction: Option<Correction>,
    /// The entry of the log that names the certificate.
    #[n(18)]
    pub issued: Option<u64>,
    /// Batches written anew for it so far: the version that was destroyed, and the one in its place, if anything was left.
    #[n(19)]
    pub rewritten: Option<Vec<(VersionId, Option<VersionId>)>>,
    /// Versions of objects dealt with so far.
    #[n(20)]
    pub versions: Option<u64>,
    /// Windows of figures dealt with so far.
    #[n(21)]
    pub windows: Option<u64>,
    /// Of one for access: the link by which who asked may fetch the copy.
    #[n(22)]
    pub link: Option<BundleLink>,
}

/// A link that gives the copy once.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct BundleLink {
    /// The SHA-256 of its token.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub hash: [u8; 32],
    /// When it ends, by the latest plausible time.
    #[n(1)]
    pub until: Millis,
    /// Downloads that were begun.
    #[n(2)]
    pub begun: u32,
    /// When one of them was whole.
    #[n(3)]
    pub spent: Option<Millis>,
}

/// An object that is being put right.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Correction {
    /// Its bucket.
    #[n(0)]
    pub bucket: BucketId,
    /// Its name, sealed.
    #[n(1)]
    pub object: SealedName,
    /// The upload in which its new content waits, sealed like any object's.
    #[n(2)]
    pub upload: UploadId,
    /// The version that is to be destroyed.
    #[n(3)]
    pub from: VersionId,
    /// The version in its place.
    #[n(4)]
    pub to: VersionId,
}

impl SubjectRequest {
    /// Counts what a run of it did.
    pub fn deal_with(&mut self, objects: u64, versions: u64, windows: usize) {
        self.objects += objects;
        self.versions = Some(self.versions.unwrap_or_default() + versions);
        self.windows = Some(self.windows.unwrap_or_default() + windows as u64);
    }
}

/// A subject's name under the tenant's register key.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct SealedName {
    #[n(0)]
    record: ByteVec,
    #[n(1)]
    sealed: ByteVec,
    #[n(2)]
    len: u64,
}

impl Directory {
    /// Held by whoever reads a request, decides on it, logs that and writes it.
    pub fn requests_lock(&self) -> &tokio::sync::Mutex<()> {
        &self.requests
    }

    /// The number of the next request of a tenant.
    pub async fn next_request(&self, tenant: TenantId) -> Result<u64, DirectoryError> {
        let range = KeyRange::prefix(&rows::row_key(kind::REQUEST, &[&tenant.0]));
        let last = self.engine.scan(range, 1, Direction::Descending).await?;
        let Some((row_key, sealed)) = last.first() else { return Ok(1) };
        Ok(self.open_request(row_key, sealed)?.number + 1)
    }

    /// One request.
    pub async fn request(&self, tenant: TenantId, number: u64) -> Result<Option<SubjectRequest>, DirectoryError> {
        let row_key = request_row_key(tenant, number);
        let Some(sealed) = self.engine.get(&row_key).await? else { return Ok(None) };
        Ok(Some(self.open_request(&row_key, &sealed)?))
    }

    /// At most `limit` requests of a tenant behind number `after`, oldest first.
    pub async fn requests(
        &self,
        tenant: TenantId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<SubjectRequest>, DirectoryError> {
        let range = KeyRange::prefix(&rows::row_key(kind::REQUEST, &[&tenant.0]));
        let range = range.behind(&request_row_key(tenant, after));
        let rows = self.engine.scan(range, limit, Direction::Ascending).await?;
        rows.iter().map(|(row_key, sealed)| self.open_request(row_key, sealed)).collect()
    }

    /// Requests of every tenant that are in one of these states, by tenant and number.
    pub async fn requests_in(&self, states: &[RequestState]) -> Result<Vec<(TenantId, u64)>, DirectoryError> {
        let mut range = KeyRange::prefix(&[kind::REQUEST]);
        let mut found = Vec::new();
        loop {
            let page = self.engine.scan(range.clone(), SCAN, Direction::Ascending).await?;
            for (row_key, sealed) in &page {
                let tenant = row_key.get(1..17).and_then(|id| id.try_into().ok()).ok_or(DirectoryError::Integrity)?;
                let request = self.open_request(row_key, sealed)?;
                found.extend(states.contains(&request.state).then_some((TenantId(tenant), request.number)));
            }
            match page.last() {
                Some((last, _)) if page.len() == SCAN => range = range.behind(last),
                _ => return Ok(found),
            }
        }
    }

    /// Forgets the links of all requests: after the restore of a backup, which may know of a link that was used since.
    pub async fn drop_links(&self) -> Result<(), DirectoryError> {
        let _one_at_a_time = self.requests.lock().await;
        let mut range = KeyRange::prefix(&[kind::REQUEST]);
        loop {
            let page = self.engine.scan(range.clone(), SCAN, Direction::Ascending).await?;
            for (row_key, sealed) in &page {
                let tenant = row_key.get(1..17).and_then(|id| id.try_into().ok()).ok_or(DirectoryError::Integrity)?;
                let request = self.open_request(row_key, sealed)?;
                if request.link.is_some() {
                    self.keep_request(TenantId(tenant), &SubjectRequest { link: None, ..request }).await?;
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == SCAN => range = range.behind(last),
                _ => return Ok(()),
            }
        }
    }

    /// Keeps a request in the place of what was known of it; durable on return.
    pub async fn keep_request(&self, tenant: TenantId, request: &SubjectRequest) -> Result<(), DirectoryError> {
        let _change = self.change.lock().await;
        let _sealing = self.sealing.read().await;
        let row_key = request_row_key(tenant, request.number);
        let geo_keys = self.keys.geo_keys();
        let sealed = geo_keys.directory().seal(kind::REQUEST, &row_key, &rows::encode(request), &[]);
        let mut batch = Batch::new();
        batch.put(row_key, sealed);
        Ok(self.engine.commit(batch).await?)
    }

    /// Seals who asks for a request.
    pub async fn seal_name(
        &self,
        tenant: TenantId,
        number: u64,
        name: &SubjectName,
    ) -> Result<SealedName, DirectoryError> {
        self.seal_text(tenant, number, name.as_str()).await
    }

    /// Seals which object a request is about.
    pub async fn seal_object_name(
        &self,
        tenant: TenantId,
        number: u64,
        name: &ObjectName,
    ) -> Result<SealedName, DirectoryError> {
        self.seal_text(tenant, number, name.as_str()).await
    }

    /// Which object a request is about.
    pub async fn open_object_name(
        &self,
        tenant: TenantId,
        number: u64,
        sealed: &SealedName,
    ) -> Result<ObjectName, DirectoryError> {
        let name = self.open_text(tenant, number, sealed).await?;
        ObjectName::parse(name).map_err(|_| DirectoryError::Integrity)
    }

    async fn seal_text(&self, tenant: TenantId, number: u64, text: &str) -> Result<SealedName, DirectoryError> {
        let key = self.subject_key(tenant, REGISTER).await?;
        let context = self.name_context(tenant, number);
        let (dek, record) = key.new_dek(&context)?;
        let (info, plain) = (name_info(context, dek.id()), text.as_bytes());
        let sealed = dek.seal_whole(&info, plain);
        Ok(SealedName { record: record.to_vec().into(), sealed: sealed.into(), len: plain.len() as u64 })
    }

    async fn open_text(&self, tenant: TenantId, number: u64, sealed: &SealedName) -> Result<String, DirectoryError> {
        let SealedName { record, sealed, len } = sealed;
        let key = self.subject_key(tenant, REGISTER).await?;
        let context = self.name_context(tenant, number);
        let dek = key.open_dek(record, &context)?;
        let plain = dek.open_whole(&name_info(context, dek.id()), sealed, *len)?;
        String::from_utf8(plain.to_vec()).map_err(|_| DirectoryError::Integrity)
    }

    /// Who asks. `None`: the request has ended, and that is known no more.
    pub async fn open_name(
        &self,
        tenant: TenantId,
        request: &SubjectRequest,
    ) -> Result<Option<SubjectName>, DirectoryError> {
        let Some(sealed) = &request.name else { return Ok(None) };
        let name = self.open_text(tenant, request.number, sealed).await?;
        SubjectName::parse(&name).map(Some).map_err(|_| DirectoryError::Integrity)
    }

    fn open_request(&self, row_key: &[u8], sealed: &[u8]) -> Result<SubjectRequest, DirectoryError> {
        let opened = self.keys.geo_keys().open(kind::REQUEST, row_key, sealed)?;
        rows::decode(&opened.plain).ok_or(DirectoryError::Integrity)
    }

    /// Where no object is: the request's number in the place of one.
    fn name_context(&self, tenant: TenantId, number: u64) -> ObjectContext {
        let geo = self.geo.bytes();
        ObjectContext { tenant: tenant.0, geo, bucket: REGISTER.0, object: number_id(number), version: REGISTER.0 }
    }
}

fn name_info(context: ObjectContext, dek_id: [u8; 16]) -> SegmentInfo {
    SegmentInfo { kind: SegmentKind::Whole, part: 0, context, segment_id: context.object, dek_id }
}

fn number_id(number: u64) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}

fn request_row_key(tenant: TenantId, number: u64) -> Vec<u8> {
    rows::row_key(kind::REQUEST, &[&tenant.0, &number_id(number)])
}
