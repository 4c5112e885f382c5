//! M-01: the memory of the running process, read from outside as root does, and searched for keys: for those that must never
//! be there, for those that may be only while a lease runs, and only in locked memory.

use super::outside::{as_root, proc_file};
use geoseal::seal::{Clock, GeoKeyService, LocalKeyring, Unlock, geo_id};
use geoseal_support::clients::python;
use geoseal_support::records::bytes;
use geoseal_support::server::{BUCKET, Launch, Server};
use geoseal_support::signer::{Request, object_path};
use geoseal_support::tools::tools;
use geoseal_support::wire::Wire;
use ring::hkdf;
use std::fs;
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Writes every region of a process's memory that can be written to into a file, each behind its address and length.
const DUMP: &str = r#"
import struct, sys
pid, out = sys.argv[1:]
with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem, open(out, "wb") as file:
    for line in maps:
        where, flags = line.split()[:2]
        if not flags.startswith("rw"):
            continue
        start, end = (int(part, 16) for part in where.split("-"))
        pieces = []
        for at in range(start, end, 1 << 20):
            try:
                mem.seek(at)
                pieces.append(mem.read(min(1 << 20, end - at)))
            except OSError:
                pieces.append(bytes(min(1 << 20, end - at)))
        data = b"".join(pieces)
        file.write(struct.pack(">QQ", start, len(data)) + data)
"#;

const NOWHERE: [u64; 0] = [];

/// The memory of a process at one moment.
struct Dump {
    bytes: Vec<u8>,
    /// Where it was: address and place in `bytes`.
    regions: Vec<(u64, Range<usize>)>,
    /// Addresses of locked slabs.
    slabs: Vec<Range<u64>>,
    maps: String,
}

impl Dump {
    fn take(server: &Server) -> Self {
        let (slabs, maps) = (slabs(&proc_file(server.pid(), "smaps")), proc_file(server.pid(), "maps"));
        let python = tools().python().to_str().expect("UTF-8");
        let file = server.home().join("dump");
        let file = file.to_str().expect("UTF-8");
        as_root(python, &["-c", DUMP, &server.pid().to_string(), file]);
        let bytes = as_root("cat", &[file]);
        as_root("rm", &[file]);
        let (mut regions, mut at) = (vec![], 0);
        while at < bytes.len() {
            let word = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
            let (start, len) = (word(at), usize::try_from(word(at + 8)).expect("it fits in memory"));
            regions.push((start, at + 16..at + 16 + len));
            at += 16 + len;
        }
        assert!(regions.len() > 20 && bytes.len() > 10 << 20, "{} regions, {} bytes", regions.len(), bytes.len());
        Self { bytes, regions, slabs, maps }
    }

    /// Addresses at which `needle` lies.
    fn find(&self, needle: &[u8]) -> Vec<u64> {
        let mut found = vec![];
        for (start, range) in &self.regions {
            let inside = memchr::memmem::find_iter(&self.bytes[range.clone()], needle);
            found.extend(inside.map(|at| start + at as u64));
        }
        found
    }

    /// The line of `/proc/PID/maps` for an address.
    fn place(&self, address: u64) -> &str {
        let holds = |line: &&str| range_of(line).is_some_and(|range| range.contains(&address));
        self.maps.lines().find(holds).unwrap_or("?")
    }

    /// The same, outside of locked memory.
    fn find_outside(&self, needle: &[u8]) -> Vec<u64> {
        let mut found = self.find(needle);
        found.retain(|at| !self.slabs.iter().any(|slab| slab.contains(at)));
        found
    }
}

/// The addresses at the head of a line of `maps` or `smaps`.
fn range_of(line: &str) -> Option<Range<u64>> {
    let (from, to) = line.split(' ').next()?.split_once('-')?;
    Some(u64::from_str_radix(from, 16).ok()?..u64::from_str_radix(to, 16).ok()?)
}

fn slabs(smaps: &str) -> Vec<Range<u64>> {
    let (mut slabs, mut range) = (vec![], 0..0);
    for line in smaps.lines() {
        range = range_of(line).unwrap_or(range);
        let flags: Vec<&str> = line.strip_prefix("VmFlags:").unwrap_or_default().split_whitespace().collect();
        if ["lo", "dd", "wf"].iter().all(|flag| flags.contains(flag)) {
            slabs.push(range.clone());
        }
    }
    slabs
}

/// `Expand(root, "purpose-v1\0" | name | 0x00 | tenant | geo, 32)`, by another implementation than the product's.
fn purpose(root: &[u8], name: &str, tenant: &[u8; 16], geo: &[u8; 16]) -> Vec<u8> {
    let info: [&[u8]; 5] = [b"purpose-v1\0", name.as_bytes(), &[0], tenant, geo];
    let mut out = vec![0; 32];
    let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, root);
    prk.expand(&info, hkdf::HKDF_SHA256).and_then(|okm| okm.fill(&mut out)).expect("32 bytes");
    out
}

struct Ended;

impl Clock for Ended {
    fn cc_lo(&self) -> i64 {
        i64::MAX / 4
    }
}

/// The demo tenant's keys, learnt from its stopped server's directory with the keyring's own key file.
struct Keys {
    tenant_root: Vec<u8>,
    wrap_dek: Vec<u8>,
    wrap_sk: Vec<u8>,
    key_file: Vec<u8>,
}

impl Keys {
    /// What a lease holds.
    fn purposes(&self) -> [(&'static str, &[u8]); 2] {
        [("the key that wraps data keys", &self.wrap_dek), ("the key that wraps subject keys", &self.wrap_sk)]
    }

    /// A tenant's root is nowhere, the keyring's key in locked memory at most.
    fn assert_roots_are_kept(&self, seen: &Dump) {
        assert_eq!(seen.find(&self.tenant_root), NOWHERE, "a tenant's root");
        assert_eq!(seen.find_outside(&self.key_file), NOWHERE, "the keyring's key");
    }
}

fn keys(server: &Server) -> Keys {
    let geo = geo_id("europe").expect("a geo's id");
    let place = server.data().join("data/geo/europe");
    let key_file = server.data().join("secrets/keyring.key");
    let keyring = LocalKeyring::open(&place.join("keyring"), geo, &Unlock::KeyFile(key_file.clone()));
    let keyring = keyring.expect("the keyring opens with its key file");
    let service = GeoKeyService::open(&place.join("keystore"), geo, Box::new(keyring), Arc::new(Ended));
    let service = service.expect("the key store opens");
    let tenant = service.status().expect("it says its state").tenants[0].tenant;
    let root = hex::decode(service.danger_reveal_tenant_key(tenant).expect("there").as_str()).expect("hex");
    let wrap_sk = service.danger_reveal_subject_wrap_key(tenant).expect("there");
    Keys {
        wrap_dek: purpose(&root, "wrap-dek", &tenant, &geo),
        wrap_sk: hex::decode(wrap_sk.as_str()).expect("hex"),
        tenant_root: root,
        key_file: fs::read(key_file).expect("the key file"),
    }
}

#[test]
fn m01_keys_are_in_locked_memory_while_a_lease_runs_and_nowhere_afterwards() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    server.terminate();
    let keys = keys(&server);
    server.restart();
    let mut wire = Wire::to(&server);
    for number in 0..40_u32 {
        let len = if number == 7 { 3 << 20 } else { 1024 };
        let path = object_path(BUCKET, &format!("record {number}"));
        let body = bytes(u64::from(number), len);
        assert_eq!(wire.call(&server, Request::new("PUT", &path).body(body.clone())).status, 200);
        let got = wire.call(&server, Request::new("GET", &path));
        assert!(got.status == 200 && got.body == body);
    }
    let seen = Dump::take(&server);
    assert!(!seen.find(&keys.wrap_dek).is_empty(), "the lease's key is not found while it runs: what is seen?");
    for (what, key) in keys.purposes() {
        assert_eq!(seen.find_outside(key), NOWHERE, "{what}, outside of locked memory");
    }
    keys.assert_roots_are_kept(&seen);

    // Longer than any lease, shorter than the sweeper's hour: its round would begin a lease of its own.
    server.geoseal(&["dev", "clock", "advance", "20m", "--dir", server.data().to_str().expect("UTF-8")]).ok();
    let begun = Instant::now();
    loop {
        let seen = Dump::take(&server);
        keys.assert_roots_are_kept(&seen);
        let left: Vec<_> = keys.purposes().into_iter().filter(|(_, key)| !seen.find(key).is_empty()).collect();
        if left.is_empty() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "still there after the lease: {:?}", left[0].0);
        thread::sleep(Duration::from_millis(200));
    }

    let used = data_keys(&server);
    assert_eq!(used.len(), 40 + 40, "each object's data key and the key of its segment");
    for (number, key) in used.iter().enumerate() {
        let left: Vec<_> = seen.find(key).into_iter().map(|at| (at, seen.place(at))).collect();
        assert!(left.is_empty(), "key {number} of {} after its request: {left:x?}", used.len());
    }
}

/// The data key of every object, and the key that its segment was sealed with, from an export.
fn data_keys(server: &Server) -> Vec<Vec<u8>> {
    let (export, key_file) = (server.home().join("export"), server.home().join("export.keys"));
    let path = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let (export, key_file) = (path(&export), path(&key_file));
    let words = ["export", "--tenant", "demo", "--confirm", "demo", "--out", &export, "--key-file", &key_file];
    server.geoseal(&words).ok();
    const KEYS: &str = r#"
import os, sys
reader, export, key_file = sys.argv[1:]
sys.path.insert(0, reader)
from geoseal_reader import *
trk = bytes.fromhex(open(key_file).read().split()[0])
owner, manifest = read_manifest(export, trk)
parent = purpose(trk, b"wrap-dek", owner[:16], owner[16:])
for entry in manifest["objects"]:
    context = owner + b"".join(bytes.fromhex(entry[field]) for field in ("bucket_id", "object_id", "version_id"))
    dek = unwrap(parent, bytes.fromhex(entry["rec"]), DEK, context)
    print(dek.hex())
    for piece in entry["segments"]:
        with open(os.path.join(export, "blobs", piece["id"] + ".seg"), "rb") as file:
            print(expand(dek, b"sealed-segment-v1\0" + file.read(HEADER)[:160], 71)[:32].hex())
"#;
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reader");
    let listed = python(server, KEYS, &[reader, &export, &key_file]).ok();
    listed.lines().map(|line| hex::decode(line).expect("hexadecimal")).collect()
}
