//! FX-15: the story is a volume that came up in the wrong country: all of it, or one folder of it, under a server that is
//! configured for another geo. It does not serve a byte of that; what it can tell, it calls by its name.

use super::attack::files_under;
use geoseal_support::daemon::Daemon;
use geoseal_support::signer::{Body, Credentials, Request, object_path};
use geoseal_support::wire::{Response, Wire, client_config};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const BUCKET: &str = "records";
const NAME: &str = "one";
/// More than rides in a row, so that it has a file.
const LEN: usize = 150_000;

struct Side {
    daemon: Daemon,
    who: Credentials,
    geo: &'static str,
    region: &'static str,
}

impl Side {
    /// A server of its own with one tenant, one bucket and one object, stopped.
    fn prepare(geo: &'static str, region: &'static str, fill: u8) -> Self {
        let mut daemon = Daemon::prepare_for(&[region]);
        daemon.serve();
        let who = daemon.tenant_in(geo, region, "contoso");
        let side = Self { daemon, who, geo, region };
        let constraint = format!(
            "<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        );
        let made = side.call(Request::new("PUT", &format!("/{BUCKET}")).body(constraint));
        assert_eq!(made.status, 200, "{}", made.text());
        let put = side.call(Request::new("PUT", &object_path(BUCKET, NAME)).body(vec![fill; LEN]));
        assert_eq!(put.status, 200, "{}", put.text());
        let mut side = side;
        side.daemon.terminate();
        side
    }

    fn call(&self, request: Request) -> Response {
        let config = client_config(&self.daemon.authority(), &[&rustls::version::TLS13]);
        let mut wire = Wire::connect(self.daemon.s3(), config).expect("the server accepts");
        let host = wire.host().to_owned();
        wire.exchange(&request.signed(&self.who, &host, Body::Hashed)).expect("the server answers")
    }

    fn get(&self) -> Response {
        self.call(Request::new("GET", &object_path(BUCKET, NAME)))
    }

    fn of_geo(&self, folder: &str) -> PathBuf {
        self.daemon.dir().join("data/geo").join(self.geo).join(folder)
    }

    fn of_region(&self, folder: &str) -> PathBuf {
        self.daemon.dir().join("data/region").join(self.region).join(folder)
    }
}

/// `to` becomes a copy of `from`.
fn transplant(from: &Path, to: &Path) {
    if to.is_dir() {
        fs::remove_dir_all(to).expect("our own directory");
    } else if to.exists() {
        fs::remove_file(to).expect("our own file");
    }
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp runs");
    assert!(copied.success());
}

#[test]
fn fx15_a_server_serves_nothing_of_another_geos_volumes() {
    let us = Side::prepare("unitedstates", "eastus", b'u');
    let mut eu = Side::prepare("europe", "westeurope", b'e');
    let data = eu.daemon.dir().join("data");
    let safe = eu.daemon.home().join("safe");
    transplant(&data, &safe);
    let folders = [
        ("everything of the geo", us.of_geo("."), eu.of_geo(".")),
        ("the keyring", us.of_geo("keyring"), eu.of_geo("keyring")),
        ("the key store", us.of_geo("keystore"), eu.of_geo("keystore")),
        ("the directory", us.of_geo("directory"), eu.of_geo("directory")),
        ("the index", us.of_region("index"), eu.of_region("index")),
    ];
    for (what, from, to) in folders {
        let clean = |path: &Path| path.components().collect::<PathBuf>();
        transplant(&clean(&from), &clean(&to));
        let ran = eu.daemon.refused(&[]);
        let (code, said) = (ran.code(), ran.refused());
        assert!(code == Some(1) && !said.contains("panicked"), "{what}: {code:?}\n{said}");
        transplant(&safe, &data);
    }

    // A blob is told by its header: before a key is derived, and in words that say that a border was crossed.
    let [theirs, ours] = [&us, &eu].map(|side| files_under(&side.of_region("blobs")).pop_first().expect("a blob"));
    let [theirs, kept] = [&theirs, &ours].map(|file| fs::read(file).expect("a blob"));
    assert_eq!(theirs.len(), kept.len());
    // As it is, and with every name of ours in its header but that of the geo.
    let mut renamed = theirs.clone();
    renamed[8..32].copy_from_slice(&kept[8..32]);
    renamed[48..128].copy_from_slice(&kept[48..128]);
    for forgery in [theirs, renamed] {
        fs::write(&ours, forgery).expect("our own file");
        eu.daemon.serve();
        let refused = eu.get();
        assert_eq!((refused.status, refused.code().as_str()), (500, "IntegrityFailure"));
        let log = eu.daemon.geoseal(&["audit", "tail", "--json"]).ok();
        let geo = log.contains("\"class\": \"geo\"") || log.contains("\"class\":\"geo\"");
        assert!(log.contains("integrity-failed") && geo, "{log}");
        eu.daemon.terminate();
    }
    fs::write(&ours, kept).expect("our own file");
    eu.daemon.serve();
    let served = eu.get();
    assert!(served.status == 200 && served.body == vec![b'e'; LEN], "{}", served.status);
}
