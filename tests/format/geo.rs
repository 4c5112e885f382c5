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
fn p5_p13_fx15_a_server_serves_nothing_of_another_geos_volumes() {
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

/// P5: one server for two geos. Everything that can be done with a tenant's data is done in one; the other's places, and
/// what belongs to neither, are searched for it afterwards: for what it stored and named, and for its id, which stands in
/// every row key, wrapped key and blob header of it.
#[test]
fn p5_nothing_of_a_tenant_is_in_any_place_of_another_geo() {
    let mut daemon = Daemon::prepare_for(&["westeurope", "eastus"]);
    daemon.serve();
    let theirs = daemon.tenant_in("unitedstates", "eastus", "fabrikam");
    let ours = daemon.tenant_in("europe", "westeurope", "contoso");
    let call = |daemon: &Daemon, who: &Credentials, request: Request| {
        let config = client_config(&daemon.authority(), &[&rustls::version::TLS13]);
        let mut wire = Wire::connect(daemon.s3(), config).expect("the server accepts");
        let host = wire.host().to_owned();
        wire.exchange(&request.signed(who, &host, Body::Hashed)).expect("the server answers")
    };
    let located = |region: &str| {
        let place = format!("<LocationConstraint>{region}</LocationConstraint>");
        format!("<CreateBucketConfiguration>{place}</CreateBucketConfiguration>")
    };
    let bucket = |name: &str, region: &str| Request::new("PUT", &format!("/{name}")).body(located(region));
    assert_eq!(call(&daemon, &theirs, bucket(BUCKET, "eastus")).status, 200);
    assert_eq!(
        call(&daemon, &theirs, Request::new("PUT", &object_path(BUCKET, NAME)).body(vec![b'u'; LEN])).status,
        200
    );

    assert_eq!(call(&daemon, &ours, bucket(BUCKET, "westeurope")).status, 200);
    let refused = call(&daemon, &ours, bucket("elsewhere", "eastus"));
    assert_eq!((refused.status, refused.code().as_str()), (403, "ResidencyViolation"));
    let canary = "kanarienvogel-5f0c";
    for (name, len) in [("small", 20), ("middle", 20_000), ("large", LEN)] {
        let put =
            Request::new("PUT", &object_path(BUCKET, &format!("{canary}/{name}"))).body(canary.repeat(len / 18 + 1));
        let put = put.header("x-amz-meta-geoseal-subject", canary).header("x-amz-tagging", &format!("who={canary}"));
        assert_eq!(call(&daemon, &ours, put).status, 200);
    }
    let upload = Request::new("POST", &object_path(BUCKET, "parts")).query("uploads", "");
    assert_eq!(call(&daemon, &ours, upload).status, 200);
    let subject = daemon.secret("subject", canary);
    let subject = subject.to_str().expect("a plain path");
    for act in [
        &["key", "rotate", "tenant", "contoso"][..],
        &["key", "reencrypt", "--tenant", "contoso"],
        &["hold", "place", "M-1", "--tenant", "contoso", "--scope", "bucket:records", "--matter", canary],
        &["hold", "release", "M-1"],
        &["dsr", "erase", "--tenant", "contoso", "--subject-file", subject, "--basis", "art17", "--confirm", "contoso"],
        &["sweep", "run"],
    ] {
        daemon.geoseal(act).ok();
    }
    assert_eq!(
        call(&daemon, &ours, Request::new("PUT", &object_path(BUCKET, canary)).body(vec![b'e'; LEN])).status,
        200
    );
    let id = |name: &str| {
        let shown = daemon.geoseal(&["tenant", "show", name, "--json"]).json();
        shown["id"].as_str().expect("an id").to_owned()
    };
    let (ours, theirs) = (id("contoso"), id("fabrikam"));
    daemon.terminate();

    let raw = |id: &str| id.parse::<geoseal::model::ids::TenantId>().expect("an id").0.to_vec();
    let data = daemon.dir().join("data");
    let of_europe = ["geo/europe", "region/westeurope", "region/northeurope"].map(|place| data.join(place));
    let of_states = ["geo/unitedstates", "region/eastus"].map(|place| data.join(place));
    let found = |places: &[PathBuf], needle: &[u8]| -> Vec<PathBuf> {
        let files = places.iter().flat_map(|place| files_under(place));
        let holds = |file: &PathBuf| memchr::memmem::find(&fs::read(file).expect("our own file"), needle).is_some();
        files.filter(holds).collect()
    };
    let elsewhere: Vec<PathBuf> =
        files_under(&data).into_iter().filter(|file| !of_europe.iter().any(|place| file.starts_with(place))).collect();
    assert!(elsewhere.len() > 5, "there is something to search: {elsewhere:?}");
    for needle in [raw(&ours), ours.clone().into_bytes(), canary.as_bytes().to_vec()] {
        for file in &elsewhere {
            let bytes = fs::read(file).expect("our own file");
            assert!(memchr::memmem::find(&bytes, &needle).is_none(), "of contoso in {}", file.display());
        }
    }
    // The control: each is found where it belongs, and the other one is not found here.
    for (places, id) in [(&of_europe[..], &ours), (&of_states, &theirs)] {
        let found = found(places, &raw(id));
        let blob = |file: &PathBuf| file.components().any(|part| part.as_os_str() == "blobs");
        assert!(found.iter().any(blob) && found.iter().any(|file| !blob(file)), "a blob, and rows: {found:?}");
    }
    assert_eq!(found(&of_europe, &raw(&theirs)), Vec::<PathBuf>::new());
    assert_eq!(found(&of_europe, canary.as_bytes()), Vec::<PathBuf>::new(), "and nothing lies open anywhere");
}
