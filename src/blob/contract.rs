//! The contract suite: what every [`BlobStore`] keeps, run against a directory, memory, and an S3-compatible server.

use super::{BlobError, BlobStore, GET_BYTES_MAX, ListedBlob, ObjectStoreBlobs, RemoteStore, SourceError};
use crate::model::ids::SegmentId;
use crate::model::time::Millis;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;

const SEALED_CHUNK: usize = 65_552;

async fn keeps_the_contract(blobs: &ObjectStoreBlobs) {
    round_trips_every_length(blobs).await;
    refuses_ranges_that_are_not_there(blobs).await;
    shows_nothing_of_a_failed_put(blobs).await;
    deletes_for_good(blobs).await;
    lists_what_is_there(blobs).await;
    blobs.probe().await.unwrap();
}

/// Lengths around the part sizes: one put, exactly one part, several parts.
async fn round_trips_every_length(blobs: &ObjectStoreBlobs) {
    for len in [0, 1, 192 + 16 + 5, 1 << 20, (1 << 20) + 1, 3_500_000, 8 << 20, (8 << 20) + 1, 20_000_000] {
        let (id, bytes) = (SegmentId::random(), pattern(len));
        assert_eq!(put(blobs, id, &bytes).await.unwrap(), len as u64);
        assert_eq!(blobs.len(id).await.unwrap(), len as u64);
        let mut at = 0;
        while at < len {
            let end = (at + GET_BYTES_MAX as usize).min(len);
            let got = blobs.get(id, at as u64..end as u64).await.unwrap();
            assert!(got == bytes[at..end], "bytes {at}..{end} of {len} differ");
            at = end;
        }
        if len > 3 {
            assert_eq!(blobs.get(id, 1..3).await.unwrap(), bytes[1..3]);
        }
        blobs.delete(&[id]).await.unwrap();
    }
}

async fn refuses_ranges_that_are_not_there(blobs: &ObjectStoreBlobs) {
    let id = SegmentId::random();
    assert!(matches!(blobs.get(id, 0..1).await, Err(BlobError::Missing(m)) if m == id));
    assert!(matches!(blobs.len(id).await, Err(BlobError::Missing(m)) if m == id));
    put(blobs, id, &pattern(100)).await.unwrap();
    #[allow(clippy::reversed_empty_ranges)]
    let wrong = [5..5, 5..4, 0..101, 99..101, 100..101, 500..501, 0..GET_BYTES_MAX + 1];
    for range in wrong {
        let answer = blobs.get(id, range.clone()).await;
        assert!(matches!(answer, Err(BlobError::Range(_))), "{range:?} gave {answer:?}");
    }
    blobs.delete(&[id]).await.unwrap();
}

async fn shows_nothing_of_a_failed_put(blobs: &ObjectStoreBlobs) {
    for pieces in [0, 1, 200] {
        let id = SegmentId::random();
        let good = futures::stream::repeat_with(|| Ok(Bytes::from(pattern(SEALED_CHUNK)))).take(pieces);
        let bad = futures::stream::iter([Err(SourceError::from("the client went away"))]);
        let answer = blobs.put(id, good.chain(bad).boxed()).await;
        assert!(matches!(&answer, Err(BlobError::Source(e)) if e.to_string() == "the client went away"), "{answer:?}");
        assert!(matches!(blobs.len(id).await, Err(BlobError::Missing(_))));
    }
}

async fn deletes_for_good(blobs: &ObjectStoreBlobs) {
    let ids: Vec<_> = std::iter::repeat_with(SegmentId::random).take(5).collect();
    for id in &ids {
        put(blobs, *id, b"sealed").await.unwrap();
    }
    blobs.delete(&ids[..4]).await.unwrap();
    for id in &ids[..4] {
        assert!(matches!(blobs.len(*id).await, Err(BlobError::Missing(_))));
    }
    assert_eq!(blobs.len(ids[4]).await.unwrap(), 6);
    blobs.delete(&ids).await.unwrap();
    blobs.delete(&ids).await.unwrap();
    blobs.delete(&[]).await.unwrap();
    assert!(matches!(blobs.len(ids[4]).await, Err(BlobError::Missing(_))));
}

async fn lists_what_is_there(blobs: &ObjectStoreBlobs) {
    assert_eq!(list(blobs).await, []);
    let mut ids: Vec<_> = std::iter::repeat_with(SegmentId::random).take(20).collect();
    for id in &ids {
        put(blobs, *id, b"sealed").await.unwrap();
    }
    let listed = list(blobs).await;
    let mut seen: Vec<_> = listed.iter().map(|blob| blob.id).collect();
    seen.sort();
    ids.sort();
    assert_eq!(seen, ids);
    // 2026 to 2100: the store's clock, not zero and not seconds.
    assert!(listed.iter().all(|b| b.len == 6 && (1_700_000_000_000..4_100_000_000_000).contains(&b.modified.0)));
    blobs.delete(&ids).await.unwrap();
    assert_eq!(list(blobs).await, []);
}

async fn put(blobs: &ObjectStoreBlobs, id: SegmentId, bytes: &[u8]) -> Result<u64, BlobError> {
    let pieces: Vec<_> = bytes.chunks(SEALED_CHUNK).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    blobs.put(id, futures::stream::iter(pieces).boxed()).await
}

async fn list(blobs: &ObjectStoreBlobs) -> Vec<ListedBlob> {
    blobs.list().try_collect().await.unwrap()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[tokio::test]
async fn a_directory_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    keeps_the_contract(&ObjectStoreBlobs::local(&dir.path().join("blobs")).unwrap()).await;
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    keeps_the_contract(&ObjectStoreBlobs::in_memory()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_survives_concurrent_puts_into_new_directories() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = std::sync::Arc::new(ObjectStoreBlobs::local(dir.path()).unwrap());
    let puts = (0..64u8).map(|n| {
        let blobs = blobs.clone();
        // Two fan-out directories, so that puts meet in them.
        let mut id = SegmentId::random();
        id.0[..2].copy_from_slice(&[7, n % 2]);
        tokio::spawn(async move { put(&blobs, id, &pattern(2_000_000)).await.map(|_| id) })
    });
    let ids = futures::future::try_join_all(puts).await.unwrap();
    let again = ObjectStoreBlobs::local(dir.path()).unwrap();
    for id in ids {
        assert_eq!(again.len(id.unwrap()).await.unwrap(), 2_000_000);
    }
}

/// A write that died leaves `name#1`; no listing shows it, and ciphertext of a purged object would survive in it.
#[tokio::test]
async fn leftovers_of_a_dead_write_are_found_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = ObjectStoreBlobs::local(dir.path()).unwrap();
    let id = SegmentId::random();
    put(&blobs, id, b"kept").await.unwrap();
    let name = dir.path().join(super::objects::name(id));
    let leftover = name.with_file_name(format!("{id}#1"));
    std::fs::write(&leftover, b"sealed bytes of the dead").unwrap();
    assert_eq!(list(&blobs).await.len(), 1);
    assert_eq!(blobs.remove_leftovers(Millis(1_000)).await.unwrap().files, 0, "too young");
    assert!(leftover.exists());
    let removed = blobs.remove_leftovers(Millis(i64::MAX)).await.unwrap();
    assert_eq!((removed.files, removed.bytes), (1, 24));
    assert!(!leftover.exists());
    assert_eq!(blobs.get(id, 0..4).await.unwrap(), "kept");
}

/// A dropped put must not leave its temporary file for ever: the upload aborts itself.
#[tokio::test]
async fn a_put_that_is_dropped_cleans_up() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = ObjectStoreBlobs::local(dir.path()).unwrap();
    let id = SegmentId::random();
    let (fed, mut asked) = tokio::sync::mpsc::channel::<()>(1);
    let pieces = futures::stream::iter(0..40).map(|_| Ok(Bytes::from(pattern(SEALED_CHUNK))));
    let endless = pieces.chain(futures::stream::once(async move {
        fed.send(()).await.unwrap();
        std::future::pending().await
    }));
    tokio::select! {
        _ = blobs.put(id, endless.boxed()) => panic!("the stream never ends"),
        _ = asked.recv() => {}
    }
    let folder = dir.path().join(super::objects::name(id)).parent().unwrap().to_owned();
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::fs::read_dir(&folder).unwrap().count() > 0 {
        assert!(Instant::now() < deadline, "the temporary file stayed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(list(&blobs).await, []);
}

/// moto stands in for an S3-compatible store.
#[tokio::test]
async fn an_s3_compatible_store_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let moto = Moto::start();
    moto.create_bucket("cellar").await;
    let credentials = write_credentials(dir.path(), "access_key_id = 'test'\nsecret_access_key = 'test'\n", 0o600);
    let mut settings = settings(&format!("http://127.0.0.1:{}", moto.port), credentials);
    keeps_the_contract(&ObjectStoreBlobs::remote(&settings).unwrap()).await;
    settings.prefix = Some("westeurope/blobs".into());
    keeps_the_contract(&ObjectStoreBlobs::remote(&settings).unwrap()).await;
}

struct Moto {
    server: Child,
    port: u16,
}

impl Moto {
    fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Command::new(geoseal_support::tools::tools().python())
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("tools.sh found a Python with moto");
        Self { server, port }
    }

    async fn create_bucket(&self, bucket: &str) {
        _ = rustls::crypto::ring::default_provider().install_default();
        let url = format!("http://127.0.0.1:{}/{bucket}", self.port);
        let client = reqwest::Client::new();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match client.put(&url).send().await {
                Ok(answer) if answer.status().is_success() => return,
                answer => assert!(Instant::now() < deadline, "moto does not answer: {answer:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        _ = self.server.kill();
        _ = self.server.wait();
    }
}

#[test]
fn settings_refuse_what_would_leak() {
    let (good, bad) = ("access_key_id = 'a'\nsecret_access_key = 'hunter2'\n", "secret = hunter2");
    let cases = [
        ("http://blobs.example.org", good, 0o600, "http is accepted for a loopback"),
        ("blobs.example.org", good, 0o600, "expected https://"),
        ("https://blobs.example.org", good, 0o644, "readable by others"),
        ("https://blobs.example.org", bad, 0o600, "expected access_key_id"),
    ];
    for (endpoint, text, mode, why) in cases {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(endpoint, write_credentials(dir.path(), text, mode));
        let error = ObjectStoreBlobs::remote(&settings).unwrap_err().to_string();
        assert!(error.contains(why) && !error.contains("hunter2"), "{error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let settings = settings("https://blobs.example.org", write_credentials(dir.path(), good, 0o640));
    assert!(ObjectStoreBlobs::remote(&settings).is_ok());
}

fn settings(endpoint: &str, credentials_file: PathBuf) -> RemoteStore {
    let (bucket, region) = ("cellar".into(), "us-east-1".into());
    RemoteStore { endpoint: endpoint.into(), bucket, region, credentials_file, ca_file: None, prefix: None }
}

fn write_credentials(dir: &Path, text: &str, mode: u32) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let file = dir.join("credentials.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    file
}
