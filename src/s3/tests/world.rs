//! Two tenants of one geo, two served regions, and a caller for each.

use super::panics::{Faults, PanickyEngine};
use crate::blob::{ObjectStoreBlobs, Readers};
use crate::directory::{Detail, Directory, DirectoryError};
use crate::feature::{Features, Terms};
use crate::gate::{Asleep, Gate, Grant, Need, Refusal, Register};
use crate::index::rows::v1::{PartRow, SegmentRef};
use crate::index::{Anchor, AnchorStore, AnchorStoreError, IndexOptions, RegionIndex};
use crate::model::atlas::{Geo, Region};
use crate::model::classes::Feature;
use crate::model::clock::{Clock, SimulatedClock};
use crate::model::ids::{SegmentId, TenantId};
use crate::model::login::{Login, Role};
use crate::model::names::{AccessId, BucketName};
use crate::model::object::BucketRef;
use crate::model::time::Millis;
use crate::regions::{RegionRoots, Regions};
use crate::s3::entry::{self, Settings};
use crate::s3::guard::Guard;
use crate::seal::{GeoKeyService, KeyClient, LeaseOptions, LocalKeyring, Unlock};
use crate::store::{Alarm, Store, StoreMeters};
use crate::tenant::{NewTenant, Replication, Standing, State, create};
use bytes::Bytes;
use geoseal_support::signer::{Body, Credentials, Request};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use s3s::HttpRequest;
use std::collections::HashMap;
use std::sync::Arc;

/// Where the simulated clock starts.
const START: Millis = Millis(1_795_219_200_000);

/// Everything that one test needs.
pub(super) struct World {
    guard: Guard,
    /// The first tenant's login, `westeurope`.
    pub(super) alice: Credentials,
    /// The second tenant's.
    pub(super) bob: Credentials,
    /// The first tenant's, reading only.
    pub(super) reader: Credentials,
    /// The first tenant.
    pub(super) tenant: TenantId,
    pub(super) clock: Arc<SimulatedClock>,
    regions: Regions,
    register: Arc<TestRegister>,
    /// While armed, the engines under the directory and the regions panic when they are read.
    pub(super) faults: Arc<Faults>,
    _dir: tempfile::TempDir,
}

struct Ticks(Arc<SimulatedClock>);

impl crate::seal::Clock for Ticks {
    fn cc_lo(&self) -> i64 {
        self.0.now().wall.seconds()
    }
}

#[derive(Default)]
struct Anchors(Mutex<HashMap<&'static str, Anchor>>);

impl AnchorStore for Anchors {
    fn newest(&self, region: &'static Region) -> Result<Option<Anchor>, AnchorStoreError> {
        Ok(self.0.lock().get(region.id).cloned())
    }

    fn save(&self, region: &'static Region, anchor: Anchor) -> Result<(), AnchorStoreError> {
        self.0.lock().insert(region.id, anchor);
        Ok(())
    }
}

/// Answers the gate over the real directory; the tenant's state is the test's to set.
struct TestRegister {
    directory: Arc<Directory>,
    asleep: Mutex<Option<Asleep>>,
}

#[async_trait::async_trait]
impl Register for TestRegister {
    async fn login(&self, id: &AccessId) -> Result<Option<Arc<Login>>, Refusal> {
        self.directory.login(id).await.map_err(|_| Refusal::Unavailable)
    }

    async fn awake(&self, _: TenantId, _: Need) -> Result<(), Refusal> {
        self.asleep.lock().map_or(Ok(()), |asleep| Err(Refusal::Asleep(asleep)))
    }

    async fn purge_due(&self, _: TenantId) -> Result<Option<crate::model::time::Millis>, Refusal> {
        Ok(None)
    }

    async fn bucket(&self, tenant: TenantId, name: &BucketName) -> Result<Option<Arc<BucketRef>>, Refusal> {
        self.directory.bucket(tenant, name).await.map_err(|_| Refusal::Unavailable)
    }

    async fn reaches(&self, _: &Grant, _: &BucketRef) -> Result<(), Refusal> {
        Err(Refusal::PurposeMismatch)
    }

    fn serves(&self, region: &'static Region) -> bool {
        region.id == "westeurope" || region.id == "northeurope"
    }
}

fn region(id: &str) -> &'static Region {
    Region::find(id).expect("the atlas has it").1
}

fn active(id: TenantId, clock: &SimulatedClock) -> Standing {
    let (geo, home) = (Geo::find("europe").unwrap(), region("westeurope"));
    let new = NewTenant { id, geo, home, replication: Replication::None, consent: Some([7; 32]) };
    let (standing, _) = create(new, &clock.now()).unwrap();
    Standing { state: State::Active, ..standing }
}

impl World {
    /// Builds it, with the bucket `records` of alice's in `westeurope`.
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let geo = Geo::find("europe").unwrap();
        let clock = Arc::new(SimulatedClock::frozen(START));
        let key_file = dir.path().join("key");
        LocalKeyring::create_key_file(&key_file).unwrap();
        let keyring = LocalKeyring::create(&dir.path().join("keyring"), geo.bytes(), &Unlock::KeyFile(key_file));
        let service = GeoKeyService::open(
            &dir.path().join("keystore"),
            geo.bytes(),
            Box::new(keyring.unwrap()),
            Arc::new(Ticks(clock.clone())),
        );
        let service = Arc::new(service.unwrap());
        let client = Arc::new(KeyClient::embedded(service.clone(), LeaseOptions::default()).unwrap());
        let faults = Arc::new(Faults::default());
        let engine = || Arc::new(PanickyEngine::new(faults.clone()));
        let directory = Arc::new(Directory::new(geo, engine(), client));
        let (tenant, other) = (TenantId::random(), TenantId::random());
        let mut logins = vec![];
        for (tenant, role) in [(tenant, Role::Service), (other, Role::Service), (tenant, Role::ReadOnly)] {
            if service.tenant(tenant.0).is_err() {
                service.create_tenant(tenant.0).unwrap();
                let detail = Detail { name: format!("t-{tenant}"), contact: None };
                directory.enter_tenant(active(tenant, &clock), detail).await.unwrap();
            }
            logins.push(directory.create_login(tenant, role, START).await.unwrap());
        }
        let terms = Terms { consent: Some([7; 32]), follow_only: Some(false), ..Terms::default() };
        let email = |features: &mut Features| {
            Ok(features.enable(Feature::EmailEngagement, &terms, "test", true, &clock.now()).unwrap())
        };
        directory.change_features::<DirectoryError>(tenant, None, email).await.unwrap();
        let mut regions = HashMap::new();
        for region in ["westeurope", "northeurope"].map(region) {
            let (anchors, keys) = (Arc::new(Anchors::default()), service.geo_keys());
            let index = RegionIndex::open(engine(), region, anchors, keys, START, IndexOptions::default()).await;
            let blobs = Arc::new(ObjectStoreBlobs::in_memory());
            let readers = Readers::new(blobs.clone());
            let roots = RegionRoots { region, index: index.unwrap(), blobs, readers, inline_bytes_max: 64 * 1024 };
            regions.insert(region.id, Arc::new(roots));
        }
        let regions: Regions = Arc::new(regions);
        let store = Store::new(
            HashMap::from([(geo.id, directory.clone())]),
            regions.clone(),
            clock.clone(),
            Alarm::default(),
            StoreMeters::default(),
        );
        let register = Arc::new(TestRegister { directory, asleep: Mutex::new(None) });
        let settings = Settings {
            regions: ["westeurope", "northeurope"].map(region).to_vec(),
            domains: vec!["s3.test".to_owned()],
        };
        let guard = entry::service(Gate::new(register.clone()), store, settings);
        let credentials = |login: &Login| Credentials {
            access_id: login.access_id.as_str().to_owned(),
            secret: login.secret.to_string(),
            region: "westeurope".to_owned(),
        };
        let [alice, bob, reader] = [&logins[0], &logins[1], &logins[2]].map(credentials);
        let world = Self { guard, alice, bob, reader, tenant, clock, regions, register, faults, _dir: dir };
        assert_eq!(world.put("/records", b"").await.status, 200);
        world
    }

    /// The only upload of alice's `records` gets parts of these lengths, of which no byte was ever sent; answers their
    /// ETag.
    pub(super) async fn sparse_parts(&self, lengths: &[u64]) -> String {
        let name = BucketName::parse("records").unwrap();
        let at = self.register.directory.bucket(self.tenant, &name).await.unwrap().unwrap();
        let bucket = self.register.directory.open_bucket(&at).await.unwrap().unwrap();
        let index = &self.regions["westeurope"].index;
        let [upload] = &index.list_uploads(&bucket.index).await.unwrap()[..] else { panic!("one upload") };
        let etag = "0".repeat(32);
        for (number, len) in (1..).zip(lengths) {
            let segment = SegmentRef { id: SegmentId::random(), part: number, len: *len };
            let row = PartRow { number, segment, etag: etag.clone(), checksums: vec![], mtime: START };
            index.put_part(&bucket.index, upload.upload_id, row).await.unwrap();
        }
        format!("\"{etag}\"")
    }

    /// Puts the tenants' state.
    pub(super) fn set_asleep(&self, asleep: Option<Asleep>) {
        *self.register.asleep.lock() = asleep;
    }

    /// Signs as alice and sends.
    pub(super) async fn call(&self, request: Request) -> Answer {
        self.call_as(&self.alice, request).await
    }

    /// Signs as somebody and sends.
    pub(super) async fn call_as(&self, who: &Credentials, request: Request) -> Answer {
        self.send(request.signed(who, HOST, Body::Hashed)).await
    }

    /// Sends a request as it stands.
    pub(super) async fn send(&self, request: Request) -> Answer {
        let length = request.body.len();
        let announced = request.headers.iter().any(|(name, _)| name == "content-length" || name == "transfer-encoding");
        let mut built = http::Request::builder().method(request.method.as_str()).uri(request.target());
        for (name, value) in &request.headers {
            built = built.header(name, value);
        }
        if !announced && (length > 0 || matches!(request.method.as_str(), "PUT" | "POST")) {
            built = built.header("content-length", length);
        }
        let pieces: Vec<_> = request.body.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let frames =
            futures::stream::iter(pieces.into_iter().map(|p: Result<_, std::io::Error>| p.map(http_body::Frame::data)));
        let body = s3s::Body::http_body(http_body_util::StreamBody::new(frames));
        self.receive(built.body(body).unwrap()).await
    }

    async fn receive(&self, request: HttpRequest) -> Answer {
        let (head, body) = self.guard.handle(request).await.into_parts();
        let status = head.status.as_u16();
        assert!(head.headers.contains_key("x-amz-request-id"));
        let body = BodyExt::collect(body).await.map(|all| all.to_bytes().to_vec());
        Answer { status, headers: head.headers, body: body.expect("no answer here breaks off") }
    }

    /// GET as alice.
    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call(split("GET", path)).await
    }

    /// HEAD as alice.
    pub(super) async fn head(&self, path: &str) -> Answer {
        self.call(split("HEAD", path)).await
    }

    /// DELETE as alice.
    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.call(split("DELETE", path)).await
    }

    /// PUT as alice.
    pub(super) async fn put(&self, path: &str, body: &[u8]) -> Answer {
        self.call(split("PUT", path).body(body)).await
    }

    /// POST as alice.
    pub(super) async fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.call(split("POST", path).body(body)).await
    }
}

/// The time to sign with.
#[allow(clippy::disallowed_methods, reason = "s3s asks the system's clock, so a signature has to as well")]
pub(super) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// What every request names.
pub(super) const HOST: &str = "localhost:9000";

/// A request from a path that may have a query with plain values.
pub(super) fn split(method: &str, path: &str) -> Request {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.fold(Request::new(method, path), |request, pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        request.query(name, value)
    })
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: u16,
    headers: http::HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// A header's value, or nothing.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// The first element of this name in the XML.
    pub(super) fn element(&self, name: &str) -> String {
        self.elements(name).into_iter().next().unwrap_or_default()
    }

    /// All elements of this name in the XML.
    pub(super) fn elements(&self, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let text = self.text();
        let rest = text.split(&open).skip(1);
        rest.map(|rest| rest.split(&close).next().unwrap_or_default().to_owned()).collect()
    }

    /// Status and error code.
    pub(super) fn code(&self) -> (u16, String) {
        assert!(
            self.status < 300 || self.body.is_empty() || self.element("RequestId") == self.header("x-amz-request-id")
        );
        (self.status, self.element("Code"))
    }
}

/// `(status, code)` to compare with.
pub(super) fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}
