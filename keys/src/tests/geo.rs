//! FX-15: the story is a disk that was mounted in the wrong country. A key service of one geo is given everything of
//! another: its key store, its segments, its wrapped keys, its rows. It opens nothing, says that a border was crossed
//! wherever the bytes say so in clear, and asks its provider for nothing at all.

use super::fill;
use super::world::{TENANT, TestClock};
use crate::{
    BucketContext, Clock, GeoKeyService, Id, KeyError, KeyName, KeystoreError, LocalKeyring, MasterKeys, MasterVersion,
    ObjectContext, OpenClass, ProviderError, ProviderKind, RootFields, RootSecret, SegmentInfo, SegmentKind, Unlock,
    Witness,
};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Counts what would be asked of an HSM or a cloud.
struct Counting {
    inner: LocalKeyring,
    asked: Arc<AtomicU64>,
}

impl MasterKeys for Counting {
    fn kind(&self) -> ProviderKind {
        self.inner.kind()
    }
    fn versions(&self) -> Result<Vec<MasterVersion>, ProviderError> {
        self.inner.versions()
    }
    fn wrap(&self, fields: &RootFields, root: &RootSecret, context: &ObjectContext) -> Result<Vec<u8>, ProviderError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.inner.wrap(fields, root, context)
    }
    fn unwrap(&self, fields: &RootFields, blob: &[u8], context: &ObjectContext) -> Result<RootSecret, ProviderError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.inner.unwrap(fields, blob, context)
    }
    fn rotate_to(&self, version: u32) -> Result<KeyName, ProviderError> {
        self.inner.rotate_to(version)
    }
    fn set_enabled(&self, version: u32, enabled: bool) -> Result<(), ProviderError> {
        self.inner.set_enabled(version, enabled)
    }
    fn destroy(&self, version: u32) -> Result<String, ProviderError> {
        self.inner.destroy(version)
    }
    fn state_mac(&self) -> crate::StateMac {
        self.inner.state_mac()
    }
    fn witness(&self) -> Result<Option<Witness>, ProviderError> {
        self.inner.witness()
    }
    fn advance(&self, witness: &Witness) -> Result<(), ProviderError> {
        self.inner.advance(witness)
    }
}

fn geo(name: &str) -> Id {
    crate::geo_id(name).unwrap()
}

fn keyring(dir: &Path, name: &str) -> LocalKeyring {
    std::fs::create_dir_all(dir).unwrap();
    let (key, path) = (dir.join("key"), dir.join("keyring"));
    if !path.exists() {
        LocalKeyring::create_key_file(&key).unwrap();
        LocalKeyring::create(&path, geo(name), &Unlock::KeyFile(key.clone())).unwrap();
    }
    LocalKeyring::open(&path, geo(name), &Unlock::KeyFile(key)).unwrap()
}

fn open(keyring: LocalKeyring, store: &Path, name: &str) -> (Result<GeoKeyService, KeyError>, Arc<AtomicU64>) {
    let (asked, clock) = (Arc::<AtomicU64>::default(), Arc::new(TestClock(AtomicI64::new(1_800_000_000))));
    let provider = Counting { inner: keyring, asked: Arc::clone(&asked) };
    (GeoKeyService::open(store, geo(name), Box::new(provider), clock as Arc<dyn Clock>), asked)
}

/// The same ids on both sides of the border, as a copied configuration would have it: only the geo differs.
fn context(name: &str) -> ObjectContext {
    ObjectContext { tenant: TENANT, geo: geo(name), bucket: fill(0x30), object: fill(0x40), version: fill(0x50) }
}

#[test]
fn fx15_nothing_of_another_geo_opens_and_no_provider_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (us, eu) = (dir.path().join("us"), dir.path().join("eu"));
    let (service, _) = open(keyring(&us, "unitedstates"), &us.join("keystore"), "unitedstates");
    let service = service.unwrap();
    service.create_tenant(TENANT).unwrap();
    let theirs = service.tenant(TENANT).unwrap();
    let there = context("unitedstates");
    let (dek, dek_record) = theirs.new_dek(&there).unwrap();
    let info = SegmentInfo { kind: SegmentKind::Whole, part: 0, context: there, segment_id: fill(1), dek_id: dek.id() };
    let segments: Vec<_> = [0, 1, 65_537].map(|len| (len, dek.seal_whole(&info, &vec![7; len]))).into();
    let (bucket, bucket_record) = theirs.new_bucket_key(there.bucket).unwrap();
    let row = bucket.row_key().seal(b'o', b"place", b"row", b"");
    let credential = theirs.wrap_credential(&crate::CredentialSecret::random(), fill(9)).unwrap();
    let directory = theirs.directory().seal(b'b', b"place", b"row", b"");
    let of_geo = service.geo_keys().directory().seal(b'n', b"place", b"row", b"");
    drop((dek, bucket, theirs, service));

    // The whole volume, under the keyring of here.
    std::fs::create_dir_all(&eu).unwrap();
    let _ours = keyring(&eu, "europe");
    let (refused, asked) = open(keyring(&eu, "europe"), &us.join("keystore"), "europe");
    let refused = refused.err().unwrap();
    assert!(
        matches!(refused, KeyError::Store(KeystoreError::OtherMaster | KeystoreError::NoWitness)),
        "their key store: {refused}"
    );
    assert_eq!(asked.load(Ordering::SeqCst), 0, "asked for a key that was never here");
    // Their keyring, if that came along: bound to its geo.
    let theirs = LocalKeyring::open(&us.join("keyring"), geo("europe"), &Unlock::KeyFile(us.join("key")));
    assert!(theirs.is_err(), "their keyring opened here");

    // Single files of it, under the keys of here.
    let (service, asked) = open(keyring(&eu, "europe"), &eu.join("keystore"), "europe");
    let service = service.unwrap();
    service.create_tenant(TENANT).unwrap();
    let ours = service.tenant(TENANT).unwrap();
    let here = context("europe");
    let (dek, own_record) = ours.new_dek(&here).unwrap();
    let (bucket, _) = ours.new_bucket_key(here.bucket).unwrap();
    asked.store(0, Ordering::SeqCst);
    let class = |error: KeyError| match error {
        KeyError::Open(error) => error.class(),
        other => panic!("{other}"),
    };
    for (len, sealed) in &segments {
        let expected = SegmentInfo { context: here, dek_id: dek.id(), ..info };
        let refused = dek.opener(&expected, &sealed[..192], *len as u64, sealed.len() as u64).err().unwrap();
        assert_eq!(refused.class(), OpenClass::Geo, "a blob of {len} bytes");
        assert_eq!(dek.open_whole(&expected, sealed, *len as u64).err().unwrap().class(), OpenClass::Geo);
    }
    // A row that names their geo, and one that was edited to name ours.
    assert_eq!(class(ours.open_dek(&own_record, &there).err().unwrap()), OpenClass::Geo);
    assert_eq!(class(ours.new_dek(&there).err().unwrap()), OpenClass::Geo);
    assert_eq!(class(ours.open_dek(&dek_record, &here).err().unwrap()), OpenClass::Parent);
    assert_eq!(class(ours.open_bucket_key(&bucket_record, here.bucket).err().unwrap()), OpenClass::Parent);
    assert_eq!(class(ours.open_credential(&credential, fill(9)).err().unwrap()), OpenClass::Parent);
    // A row has no clear field for its geo; its key does not commit to it.
    let of_rows = [
        bucket.row_key().open(b'o', b"place", &row).err(),
        ours.directory().open(b'b', b"place", &directory).err(),
        service.geo_keys().open(b'n', b"place", &of_geo).err(),
    ];
    assert!(of_rows.iter().all(|refused| refused.unwrap().class() == OpenClass::Commitment));
    let elsewhere = BucketContext { tenant: TENANT, geo: there.geo, bucket: there.bucket };
    assert_ne!(bucket.row_key().context(), elsewhere);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "the provider was asked");
}
