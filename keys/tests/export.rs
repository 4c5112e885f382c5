//! FX-22, FX-16: an export is read by a program that shares no line with us. tests/reader/geoseal_reader.py knows only
//! the written format; it must read every byte, and refuse whatever was altered, leaving no partial file.

use geoseal_keys::{
    Clock, GeoKeyService, Id, LocalKeyring, Manifest, ManifestObject, ManifestSegment, ManifestSubject, ObjectContext,
    SegmentInfo, SegmentKind, TenantKeys, Unlock,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

struct Fixed;

impl Clock for Fixed {
    fn cc_lo(&self) -> i64 {
        1_800_000_000
    }
}

const TENANT: Id = *b"tenant-0-tenant-";
const SUBJECT: Id = *b"subject-subject-";

struct Export {
    root: tempfile::TempDir,
    plains: Vec<(Id, Vec<u8>)>,
}

impl Export {
    fn dir(&self) -> PathBuf {
        self.root.path().join("export")
    }

    fn blobs(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(self.dir().join("blobs")).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Runs the reader into a fresh directory; its status, its last words, what it left.
    fn read(&self) -> (bool, String, Vec<(String, Vec<u8>)>) {
        let out = tempfile::tempdir().unwrap();
        let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reader/geoseal_reader.py");
        let run = Command::new("python3")
            .args([reader, self.dir(), self.root.path().join("tenant.key"), out.path().to_owned()])
            .output()
            .expect("python3 is installed");
        let mut left: Vec<_> = fs::read_dir(out.path())
            .unwrap()
            .map(|file| file.unwrap())
            .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
            .collect();
        left.sort();
        (run.status.success(), String::from_utf8(run.stderr).unwrap(), left)
    }
}

/// Objects of a single PUT around chunk borders, one of two parts, one of a data subject, one whose record was wrapped
/// before a rotation.
fn export() -> Export {
    let root = tempfile::tempdir().unwrap();
    let geo = geoseal_keys::geo_id("eu-fra-01").unwrap();
    let (key_file, keyring) = (root.path().join("key"), root.path().join("keyring"));
    LocalKeyring::create_key_file(&key_file).unwrap();
    let keyring = LocalKeyring::create(&keyring, geo, &Unlock::KeyFile(key_file)).unwrap();
    let service = GeoKeyService::open(&root.path().join("keystore"), geo, Box::new(keyring), Arc::new(Fixed)).unwrap();
    service.create_tenant(TENANT).unwrap();
    let mut maker = Maker { keys: service.tenant(TENANT).unwrap(), manifest: Manifest::default(), plains: Vec::new() };
    fs::create_dir_all(root.path().join("export/blobs")).unwrap();
    let blobs = root.path().join("export/blobs");
    for (n, len) in [0, 1, 65535, 65536, 65537, 196_613].into_iter().enumerate() {
        maker.add(&blobs, n as u8, &[(0, len)], None);
    }
    maker.add(&blobs, 20, &[(1, 131_072), (9_999, 77)], None);
    let subject = service.create_subject(TENANT, SUBJECT).unwrap();
    maker.add(&blobs, 30, &[(0, 1000)], Some(&subject));
    let record = service.subject_record(TENANT, SUBJECT).unwrap();
    maker.manifest.subject_keys.push(ManifestSubject { subject: SUBJECT, record });
    service.rotate_tenant(TENANT).unwrap();
    let keys = service.tenant(TENANT).unwrap();
    let sealed = keys.seal_manifest(&maker.manifest).unwrap();
    fs::write(root.path().join("export/manifest.rec"), sealed.record).unwrap();
    fs::write(root.path().join("export/manifest.seg"), sealed.segment).unwrap();
    let hand_over = format!(
        "{}\n{}\n",
        *service.danger_reveal_tenant_key(TENANT).unwrap(),
        *service.danger_reveal_subject_wrap_key(TENANT).unwrap()
    );
    fs::write(root.path().join("tenant.key"), hand_over).unwrap();
    Export { root, plains: maker.plains }
}

struct Maker {
    keys: Arc<TenantKeys>,
    manifest: Manifest,
    plains: Vec<(Id, Vec<u8>)>,
}

impl Maker {
    fn add(&mut self, blobs: &Path, n: u8, parts: &[(u16, usize)], subject: Option<&geoseal_keys::SubjectKey>) {
        let context = ObjectContext {
            tenant: TENANT,
            geo: self.keys.geo(),
            bucket: [1; 16],
            object: [n | 64; 16],
            version: [n; 16],
        };
        let (dek, dek_record) = match subject {
            Some(subject) => subject.new_dek(&context).unwrap(),
            None => self.keys.new_dek(&context).unwrap(),
        };
        let (mut whole, mut segments) = (Vec::new(), Vec::new());
        for (part, len) in parts {
            let plain: Vec<u8> = (0..*len).map(|i| (i % 251) as u8 ^ n).collect();
            let kind = if *part == 0 { SegmentKind::Whole } else { SegmentKind::Part };
            let segment_id = [n ^ *part as u8 ^ 0x80; 16];
            let info = SegmentInfo { kind, part: *part, context, segment_id, dek_id: dek.id() };
            fs::write(blobs.join(format!("{}.seg", hex::encode(segment_id))), dek.seal_whole(&info, &plain)).unwrap();
            segments.push(ManifestSegment { id: segment_id, part: *part, len: *len as u64 });
            whole.extend(plain);
        }
        let sha256 = ring::digest::digest(&ring::digest::SHA256, &whole).as_ref().try_into().unwrap();
        self.manifest.objects.push(ManifestObject {
            name: format!("inbox/ünïcode/{n}"),
            bucket: context.bucket,
            object: context.object,
            version: context.version,
            dek_record,
            sha256,
            segments,
        });
        self.plains.push((context.version, whole));
    }
}

#[test]
fn python_reads_every_object_byte_for_byte() {
    let export = export();
    let (ok, words, left) = export.read();
    assert!(ok, "{words}");
    let mut expected: Vec<_> = export.plains.iter().map(|(id, plain)| (hex::encode(id), plain.clone())).collect();
    expected.sort();
    assert!(left == expected);
}

/// What was altered, in which file, how.
type Case = (&'static str, PathBuf, fn(&mut Vec<u8>));

#[test]
fn python_refuses_what_was_altered_and_leaves_no_partial_file() {
    let export = export();
    let blobs = export.blobs();
    let long = blobs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let cases: [Case; 8] = [
        ("cut at a chunk border", long.clone(), |bytes| bytes.truncate(192 + 65_552)),
        ("cut by one", long.clone(), |bytes| bytes.truncate(bytes.len() - 1)),
        ("one byte more", long.clone(), |bytes| bytes.push(0)),
        ("a bit of the last tag", long.clone(), |bytes| *bytes.last_mut().unwrap() ^= 1),
        ("a bit of the header", long.clone(), |bytes| bytes[20] ^= 1),
        ("a bit of the salt", long.clone(), |bytes| bytes[130] ^= 1),
        ("a bit of the manifest", export.dir().join("manifest.seg"), |bytes| bytes[200] ^= 1),
        ("a bit of the manifest's record", export.dir().join("manifest.rec"), |bytes| bytes[150] ^= 1),
    ];
    for (what, path, change) in cases {
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        change(&mut bad);
        fs::write(&path, bad).unwrap();
        let (ok, words, left) = export.read();
        assert!(!ok && words.contains("FAIL"), "{what}: {words}");
        for (name, bytes) in &left {
            let whole = export.plains.iter().find(|(id, _)| hex::encode(id) == *name);
            assert!(whole.is_some_and(|(_, plain)| plain == bytes), "{what}: {name} is partial");
        }
        fs::write(&path, good).unwrap();
    }
    let parts: Vec<_> = [20 ^ 1 ^ 0x80, 20 ^ 9_999u16 as u8 ^ 0x80u8]
        .map(|byte: u8| export.dir().join(format!("blobs/{}.seg", hex::encode([byte; 16]))))
        .to_vec();
    let (one, two) = (fs::read(&parts[0]).unwrap(), fs::read(&parts[1]).unwrap());
    fs::write(&parts[0], two).unwrap();
    fs::write(&parts[1], one).unwrap();
    let (ok, words, _) = export.read();
    assert!(!ok && words.contains("FAIL"), "swapped parts: {words}");
}
