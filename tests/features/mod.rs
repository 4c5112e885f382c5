//! Features of a tenant, from outside: enabled with a consent, disabled without loss, and what their classes demand.
//! Source: docs/features.md.

use crate::life::tenant;
use geoseal_support::server::{Launch, Server};
use geoseal_support::signer::{Body, Credentials, Request, object_path};
use geoseal_support::wire::{Response, Wire};
use serde_json::{Value, json};
use std::fs;

const BUCKET: &str = "mail";

fn call(server: &Server, who: &Credentials, request: Request) -> Response {
    let mut wire = Wire::to(server);
    let host = wire.host().to_owned();
    wire.exchange(&request.signed(who, &host, Body::Hashed)).expect("the server answers")
}

fn put(server: &Server, who: &Credentials, name: &str, class: Option<&str>) -> (u16, String) {
    let mut request = Request::new("PUT", &object_path(BUCKET, name)).body(format!("the record {name}"));
    if let Some(class) = class {
        request = request.header("x-amz-meta-geoseal-class", class);
    }
    said(&call(server, who, request))
}

fn ask(server: &Server, who: &Credentials, method: &str, name: &str) -> (u16, String) {
    said(&call(server, who, Request::new(method, &object_path(BUCKET, name))))
}

fn said(answer: &Response) -> (u16, String) {
    (answer.status, answer.code())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

/// `geoseal feature VERB email-engagement --tenant contoso FLAGS --json`
fn feature(server: &Server, verb: &str, flags: &[&str]) -> Value {
    server.geoseal(&[&["feature", verb, "email-engagement", "--tenant", "contoso", "--json"], flags].concat()).json()
}

/// A command that is refused: its exit code and the problem's code.
fn denied(server: &Server, arguments: &[&str]) -> (Option<i32>, String) {
    let ran = server.geoseal(&[arguments, &["--json"]].concat());
    let problem: Value = serde_json::from_str(&ran.stdout()).unwrap_or_else(|_| panic!("{}", ran.stderr()));
    (ran.code(), problem["code"].as_str().unwrap_or_default().to_owned())
}

fn text(server: &Server, name: &str, words: &str) -> String {
    let path = server.home().join(name);
    fs::write(&path, words).expect("our own directory");
    path.to_str().expect("a plain path").to_owned()
}

#[test]
fn r26_r28_r29_d3_a_feature_needs_a_consent_and_is_disabled_without_loss() {
    let server = Launch::default().flag("--simulated-clock").start();
    let who = tenant(&server, "contoso");
    assert_eq!(said(&call(&server, &who, Request::new("PUT", &format!("/{BUCKET}")))).0, 200);
    let enable = ["feature", "enable", "email-engagement", "--tenant", "contoso"];
    let disable = ["feature", "disable", "email-engagement", "--tenant", "contoso", "--reason", "uninstalled"];

    // Never enabled: a plain store, and no interactions.
    assert_eq!(put(&server, &who, "plain", None).0, 200);
    assert_eq!(put(&server, &who, "early", Some("interaction")), refused(409, "FeatureDisabled"));
    assert_eq!(denied(&server, &enable), (Some(5), "ConsentRequired".into()));
    let unknown = ["feature", "show", "telepathy", "--tenant", "contoso"];
    assert_eq!(denied(&server, &unknown), (Some(3), "NoSuchFeature".into()));
    assert!(server.geoseal(&disable).ok().contains("no change"));

    // Enabled: who, when, which text, which classes.
    let consent = text(&server, "agreed.txt", "Recipients' activity may be measured.\n");
    let on = feature(&server, "enable", &["--consent", &consent, "--class", "contact"]);
    assert_eq!((&on["enabled"], &on["ttl_frozen"], &on["ttl_days"]), (&json!(true), &json!(false), &json!(30)));
    let recorded = &on["consents"][0];
    let sha256 = hex::encode(ring::digest::digest(&ring::digest::SHA256, &fs::read(&consent).unwrap()));
    assert_eq!(recorded["sha256"], json!(sha256));
    assert_eq!(recorded["classes"], json!(["interaction", "tracked-activity", "contact"]));
    assert!(recorded["by"].as_str().is_some_and(|by| by.starts_with("admin")) && recorded["at"].is_string(), "{on}");
    let again = server.geoseal(&[&enable[..], &["--consent", &consent, "--class", "contact"]].concat());
    assert!(again.ok().contains("no change"));
    for ttl in ["0", "366"] {
        let bad = [&enable[..], &["--ttl-days", ttl]].concat();
        assert_eq!(denied(&server, &bad), (Some(2), "BadField".into()), "{ttl}");
    }

    for i in 0..20 {
        assert_eq!(put(&server, &who, &format!("open-{i}"), Some("interaction")).0, 200);
    }
    assert_eq!(put(&server, &who, "a-contact", Some("contact")).0, 200);
    let upload = Request::new("POST", &object_path(BUCKET, "large")).query("uploads", "");
    let upload = call(&server, &who, upload.header("x-amz-meta-geoseal-class", "interaction")).text();
    let (_, rest) = upload.split_once("<UploadId>").expect("an upload");
    let part = |n: u8| {
        let id = rest.split_once('<').expect("its end").0;
        let put = Request::new("PUT", &object_path(BUCKET, "large")).query("partNumber", &n.to_string());
        said(&call(&server, &who, put.query("uploadId", id).body("part")))
    };
    assert_eq!(part(1).0, 200);

    // Disabled: nothing of it goes in or out, nothing else is touched, nothing is lost.
    let off = feature(&server, "disable", &["--reason", "uninstalled"]);
    assert_eq!((&off["enabled"], &off["ttl_frozen"], &off["objects"]), (&json!(false), &json!(true), &json!(20)));
    assert!(server.geoseal(&disable).ok().contains("20 objects kept; TTL frozen at"));
    assert_eq!(put(&server, &who, "late", Some("interaction")), refused(409, "FeatureDisabled"));
    assert_eq!(part(2), refused(409, "FeatureDisabled"));
    assert_eq!(ask(&server, &who, "GET", "open-3"), refused(403, "FeatureDisabled"));
    assert_eq!(ask(&server, &who, "HEAD", "open-3").0, 403);
    assert_eq!(ask(&server, &who, "DELETE", "open-3"), refused(409, "FeatureDisabled"));
    assert_eq!(put(&server, &who, "open-3", None), refused(409, "FeatureDisabled"), "it is not replaced either");
    let copy = Request::new("PUT", &object_path(BUCKET, "copied"));
    let copy = copy.header("x-amz-copy-source", &object_path(BUCKET, "open-3"));
    assert_eq!(said(&call(&server, &who, copy)), refused(403, "FeatureDisabled"));
    assert_eq!(ask(&server, &who, "GET", "plain").0, 200);
    assert_eq!(ask(&server, &who, "GET", "a-contact").0, 200);
    assert_eq!(put(&server, &who, "plain", None).0, 200);
    let dropped = feature(&server, "show", &[])["dropped"].as_u64().expect("a count");
    assert!(dropped >= 3, "late ones are counted: {dropped}");
    let subject = text(&server, "nobody", "contact:nobody\n");
    let erase = ["dsr", "erase", "--tenant", "contoso", "--subject-file", &subject, "--dry-run"];
    server.geoseal(&erase).ok();
    let (out, key) = (server.home().join("export"), server.home().join("export.key"));
    let (out, key) = (out.to_str().unwrap(), key.to_str().unwrap());
    let export = ["export", "--tenant", "contoso", "--out", out, "--key-file", key, "--confirm", "contoso"];
    server.geoseal(&export).ok();

    // 400 days later it is all there, under a new consent.
    server.geoseal(&["dev", "clock", "advance", "400d"]).ok();
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!(denied(&server, &enable), (Some(5), "ConsentRequired".into()), "the old consent ended");
    let back = feature(&server, "enable", &["--consent", &consent]);
    assert_eq!(back["compared"]["objects"], json!(20), "{back}");
    assert_eq!((&back["compared"]["missing"], &back["compared"]["same"]), (&json!(0), &json!(true)));
    assert_eq!(back["compared"]["manifest_sha256"], off["manifest_sha256"]);
    assert_eq!(back["consents"].as_array().map(Vec::len), Some(2));
    for i in 0..20 {
        let name = format!("open-{i}");
        let got = call(&server, &who, Request::new("GET", &object_path(BUCKET, &name)));
        assert_eq!((got.status, got.text()), (200, format!("the record {name}")));
    }

    // A tenant that ends has no features to change.
    server.geoseal(&["tenant", "terminate", "contoso", "--reason", "r", "--confirm", "contoso"]).ok();
    assert_eq!(denied(&server, &disable), (Some(4), "WrongState".into()));
    let entries = server.geoseal(&["audit", "tail", "-n", "200", "--json"]).ok();
    assert!(entries.contains("feature-enabled") && entries.contains("feature-disabled"));
}

#[test]
fn r33_r34_r35_classes_are_known_stored_and_owned() {
    let server = Server::start();
    let who = tenant(&server, "contoso");
    assert_eq!(said(&call(&server, &who, Request::new("PUT", &format!("/{BUCKET}")))).0, 200);
    let consent = text(&server, "agreed.txt", "yes\n");
    feature(&server, "enable", &["--consent", &consent]);

    let excerpt = "canary-excerpt-5f1d";
    let transient = Request::new("PUT", &object_path(BUCKET, "canary-name-77aa"));
    let transient = transient.header("x-amz-meta-geoseal-class", "transient").body(excerpt);
    assert_eq!(said(&call(&server, &who, transient)), refused(422, "ClassNotStorable"));
    assert_eq!(ask(&server, &who, "GET", "canary-name-77aa").0, 404);
    let everything = files(server.home());
    assert!(everything.len() > 5, "the scan looks at files");
    for (path, bytes) in everything {
        for canary in [excerpt, "canary-name-77aa"] {
            assert!(!contains(&bytes, canary), "{canary} in {path}");
        }
    }

    let unknown = Request::new("PUT", &object_path(BUCKET, "x")).header("x-amz-meta-geoseal-class", "gossip").body("x");
    let unknown = call(&server, &who, unknown);
    assert_eq!(said(&unknown), refused(422, "UnknownClass"));
    assert!(unknown.text().contains("tracked-activity"), "it names the known ones: {}", unknown.text());

    assert_eq!(put(&server, &who, "tracked", Some("tracked-activity")), refused(422, "ActorRequired"));
    let tracked = Request::new("PUT", &object_path(BUCKET, "tracked")).header("x-amz-meta-geoseal-actor", "user:7");
    let tracked = tracked.header("x-amz-meta-geoseal-class", "tracked-activity").body("t");
    assert_eq!(said(&call(&server, &who, tracked)).0, 200);
    let head = call(&server, &who, Request::new("HEAD", &object_path(BUCKET, "tracked")));
    assert_eq!(head.header("x-amz-meta-geoseal-actor"), Some("user:7"));

    // A bucket's default is an object's own class from then on.
    let set = ["bucket", "set", BUCKET, "--tenant", "contoso"];
    let default = |class| denied(&server, &[&set[..], &["--default-class", class]].concat());
    assert_eq!(default("transient"), (Some(2), "ClassNotStorable".into()));
    assert_eq!(default("gossip"), (Some(2), "UnknownClass".into()));
    let rules = server.geoseal(&[&set[..], &["--default-class", "interaction", "--json"]].concat()).json();
    assert_eq!(rules["default_class"], json!("interaction"));
    assert_eq!(put(&server, &who, "by-default", None).0, 200);
    let head = call(&server, &who, Request::new("HEAD", &object_path(BUCKET, "by-default")));
    assert_eq!(head.header("x-amz-meta-geoseal-class"), Some("interaction"));
    server.geoseal(&[&set[..], &["--default-class", ""]].concat()).ok();
    let off = feature(&server, "disable", &["--reason", "r"]);
    assert_eq!(off["objects"], json!(2), "the tracked one, and the one by default");
    assert_eq!(ask(&server, &who, "GET", "by-default"), refused(403, "FeatureDisabled"));
    assert_eq!(put(&server, &who, "plain", None).0, 200, "the bucket has no default any more");
}

fn files(dir: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let read = |path: std::path::PathBuf| match path.is_dir() {
        true => files(&path),
        false => fs::read(&path).map(|bytes| (path.display().to_string(), bytes)).into_iter().collect(),
    };
    entries.flat_map(read).collect()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}
