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
    assert_eq!(recorded["classes"], json!(["interaction", "tracked-activity", "contact", "kpi"]));
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
    let erase = ["dsr", "erase", "--tenant", "contoso", "--subject-file", &subject, "--basis", "art17", "--dry-run"];
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

/// What the server's clock says now, and the end of the newest whole hour.
fn clock(server: &Server) -> (String, String) {
    let wall = server.geoseal(&["clock", "show", "--json"]).json()["wall"].as_str().expect("a time").to_owned();
    let hour = format!("{}:00:00Z", &wall[..13]);
    (wall, hour)
}

fn watermark(server: &Server, who: &Credentials, until: &str, seen: &str, class: &str) -> (u16, String) {
    let put = Request::new("PUT", &object_path(BUCKET, "kpi/v1/watermark.json")).body("{}");
    let put = put.header("x-amz-meta-geoseal-class", class).header("x-amz-meta-geoseal-watermark", until);
    said(&call(server, who, put.header("x-amz-meta-geoseal-seen", seen)))
}

fn sweep(server: &Server) {
    server.geoseal(&["sweep", "run"]).ok();
}

fn advance(server: &Server, by: &str) {
    server.geoseal(&["dev", "clock", "advance", by]).ok();
}

#[test]
fn r32_x1_p17_lifetimes_run_behind_the_watermark_while_the_feature_is_on() {
    let server = Launch::default().flag("--simulated-clock").start();
    let who = tenant(&server, "contoso");
    assert_eq!(said(&call(&server, &who, Request::new("PUT", &format!("/{BUCKET}")))).0, 200);
    let consent = text(&server, "agreed.txt", "yes\n");
    feature(&server, "enable", &["--consent", &consent, "--ttl-days", "2"]);
    let there = |name: &str| ask(&server, &who, "GET", name).0 == 200;
    for name in ["first", "second"] {
        assert_eq!(put(&server, &who, name, Some("interaction")).0, 200);
    }
    assert_eq!(put(&server, &who, "plain", None).0, 200);

    // Without a watermark nothing is over, however old.
    advance(&server, "40d");
    sweep(&server);
    assert!(there("first") && there("second"));

    let (now, hour) = clock(&server);
    for (until, seen, class) in [
        ("2026-11-20T11:30:00Z", &now[..], "kpi"),
        ("9999-01-01T00:00:00Z", &now, "kpi"),
        ("soon", &now, "kpi"),
        (&hour, "never", "kpi"),
        (&hour, &now, "contact"),
    ] {
        let said = watermark(&server, &who, until, seen, class);
        assert_eq!(said, refused(422, "InvalidWatermark"), "{until} {seen} {class}");
    }
    assert_eq!(put(&server, &who, "later", Some("interaction")).0, 200);
    assert_eq!(watermark(&server, &who, &hour, &now, "kpi").0, 200);
    let shown = server.geoseal(&["bucket", "show", BUCKET, "--tenant", "contoso", "--json"]).json();
    assert_eq!((&shown["watermark"], &shown["ttl_days"]), (&json!(hour), &json!(2)));

    // A day of two; then 400 days that do not count; then the rest of the second, but for some minutes.
    advance(&server, "1d");
    feature(&server, "disable", &["--reason", "r"]);
    advance(&server, "400d");
    sweep(&server);
    let back = feature(&server, "enable", &["--consent", &consent]);
    assert_eq!((&back["compared"]["missing"], &back["compared"]["same"]), (&json!(0), &json!(true)), "{back}");
    sweep(&server);
    advance(&server, "23h30m");
    sweep(&server);
    assert!(there("first") && there("second"), "its lifetime is not over");

    advance(&server, "1h");
    let mut gone = false;
    for _ in 0..100 {
        sweep(&server);
        gone = !there("first") && !there("second");
        if gone {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert!(gone, "two days behind their watermark\n{}", server.log());
    assert!(there("later"), "no watermark covers what came after the job looked");
    assert!(there("plain") && there("kpi/v1/watermark.json"));
    assert!(server.geoseal(&["audit", "tail", "-n", "200", "--json"]).ok().contains("watermark-committed"));
}

#[test]
fn r21_r37_r40_r41_a_grant_reaches_its_classes_buckets_and_purpose_until_it_ends() {
    let server = Launch::default().flag("--simulated-clock").start();
    let who = tenant(&server, "contoso");
    for bucket in [BUCKET, "other"] {
        assert_eq!(said(&call(&server, &who, Request::new("PUT", &format!("/{bucket}")))).0, 200);
    }
    let consent = text(&server, "agreed.txt", "yes\n");
    feature(&server, "enable", &["--consent", &consent]);
    for (name, class) in [("i", Some("interaction")), ("c", Some("contact")), ("p", None)] {
        assert_eq!(put(&server, &who, name, class).0, 200);
    }
    let create =
        |flags: &[&'static str]| [&["grant", "create", "--tenant", "contoso", "--bucket", BUCKET], flags].concat();
    for (flags, code, exit) in [
        (["--purpose", "kpi", "--class", "*"], "UnknownClass", 2),
        (["--purpose", "kpi", "--class", "contact"], "ConsentRequired", 5),
        (["--purpose", "gossip", "--class", "kpi"], "UnknownPurpose", 2),
    ] {
        assert_eq!(denied(&server, &create(&flags)), (Some(exit), code.into()), "{flags:?}");
    }
    let usual = ["--purpose", "kpi", "--class", "interaction", "--class", "kpi"];
    let long = create(&[&usual[..], &["--for", "25h"]].concat());
    assert_eq!(denied(&server, &long), (Some(2), "BadField".into()));
    let grant = || {
        let made = server.geoseal(&[&create(&usual)[..], &["--json"]].concat()).json();
        let field = |name: &str| made[name].as_str().expect("a field").to_owned();
        Credentials { access_id: field("access_id"), secret: field("secret"), region: field("region") }
    };

    let job = grant();
    assert_eq!(ask(&server, &job, "GET", "i"), refused(403, "PurposeMismatch"), "the bucket is for nothing");
    server.geoseal(&["bucket", "set", BUCKET, "--tenant", "contoso", "--purpose", "kpi"]).ok();
    assert_eq!(ask(&server, &job, "GET", "i").0, 200);
    for name in ["c", "p"] {
        assert_eq!(ask(&server, &job, "GET", name), refused(403, "AccessDenied"), "{name}");
    }
    let list = |path: &str| said(&call(&server, &job, Request::new("GET", path))).0;
    assert_eq!((list(&format!("/{BUCKET}")), list("/other"), list("/")), (200, 403, 403));
    assert_eq!(put(&server, &job, "mine", Some("interaction")), refused(403, "AccessDenied"));
    assert_eq!(put(&server, &job, "mine", None), refused(403, "AccessDenied"));
    assert_eq!(put(&server, &job, "figures", Some("kpi")).0, 200);
    assert_eq!(put(&server, &job, "figures", Some("kpi")).0, 200, "a job writes its figures again");
    assert_eq!(put(&server, &job, "i", Some("kpi")), refused(403, "AccessDenied"), "not over a record");
    assert_eq!(ask(&server, &job, "DELETE", "figures").0, 403);
    // R31: of who opted out a job is given nothing, also of what was collected before.
    let of_shy = Request::new("PUT", &object_path(BUCKET, "of-shy")).header("x-amz-meta-geoseal-class", "interaction");
    let of_shy = of_shy.header("x-amz-meta-geoseal-subject", "contact:shy").body("opened");
    assert_eq!(said(&call(&server, &who, of_shy)).0, 200);
    assert_eq!(ask(&server, &job, "GET", "of-shy").0, 200);
    let shy = text(&server, "shy", "shy\n");
    server.geoseal(&["contact", "opt-out", "--tenant", "contoso", "--contact-file", &shy]).ok();
    assert_eq!(ask(&server, &job, "GET", "of-shy"), refused(403, "OptedOut"));
    assert_eq!(ask(&server, &who, "GET", "of-shy").0, 200);
    let (now, hour) = clock(&server);
    assert_eq!(watermark(&server, &job, &hour, &now, "kpi").0, 200);

    // Revoked, run out, or its consent ended: refused on the next request.
    assert!(server.geoseal(&["grant", "revoke", &job.access_id, "--tenant", "contoso"]).ok().contains("revoked"));
    assert_eq!(ask(&server, &job, "GET", "i").0, 403);
    let job = grant();
    assert_eq!(ask(&server, &job, "GET", "i").0, 200);
    advance(&server, "61m");
    assert_eq!(ask(&server, &job, "GET", "i"), refused(403, "ExpiredToken"));
    let job = grant();
    assert_eq!(ask(&server, &job, "GET", "i").0, 200);
    feature(&server, "disable", &["--reason", "uninstalled"]);
    assert_eq!(ask(&server, &job, "GET", "i").0, 403);
    assert_eq!(ask(&server, &job, "GET", "figures").0, 403);
    let all = server.geoseal(&["grant", "list", "--tenant", "contoso", "--json"]).json();
    let all = all["grants"].as_array().expect("a list").clone();
    assert_eq!((all.len(), all.iter().filter(|grant| grant["good"] == json!(false)).count()), (3, 3), "{all:?}");
    assert_eq!(all[0]["classes"], json!(["interaction", "kpi"]));
}

#[test]
fn r24_r27_r34_r35_only_followed_messages_are_collected_and_users_can_opt_out() {
    let server = Server::start();
    let who = tenant(&server, "contoso");
    assert_eq!(said(&call(&server, &who, Request::new("PUT", &format!("/{BUCKET}")))).0, 200);
    let (canary, later) = ("canary-message-91c4", "canary-message-5577");
    let messages = text(&server, "messages.txt", &format!("{canary}\n"));
    let later_file = text(&server, "later.txt", later);
    let add = ["follow", "add", "--tenant", "contoso", "--message-file", &messages];
    let event = |name: &str, more: &[(&str, &str)]| {
        let put = Request::new("PUT", &object_path(BUCKET, name)).body("{}");
        let put = put.header("x-amz-meta-geoseal-class", "interaction");
        let put = more.iter().fold(put, |put, (name, value)| put.header(&format!("x-amz-meta-geoseal-{name}"), value));
        said(&call(&server, &who, put))
    };

    // While the feature is off a message is followed by none of the three ways; there is no force.
    assert_eq!(denied(&server, &add), (Some(4), "FeatureDisabled".into()));
    assert_eq!(event("sent", &[("message", canary), ("follow", "true")]), refused(409, "FeatureDisabled"));
    assert_eq!(server.geoseal(&[&add[..], &["--force"]].concat()).code(), Some(2));
    let consent = text(&server, "agreed.txt", "yes\n");
    let on = feature(&server, "enable", &["--consent", &consent, "--follow-only", "true"]);
    assert_eq!(on["follow_only"], json!(true));

    let occurred = || ("occurred", "2999-01-01T00:00:00Z");
    assert_eq!(event("open", &[("message", canary), occurred()]), refused(422, "NotFollowed"));
    assert_eq!(event("open", &[]), refused(422, "NotFollowed"));
    assert_eq!(ask(&server, &who, "GET", "open").0, 404, "nothing is stored");
    assert!(server.geoseal(&add).ok().contains("1 messages are followed, 1 new"));
    assert!(server.geoseal(&add).ok().contains("0 new"));
    assert_eq!(event("open", &[("message", canary), occurred()]).0, 200);
    // The flag came after the event.
    let before = ("occurred", "2020-01-01T00:00:00Z");
    assert_eq!(event("early", &[("message", canary), before]), refused(422, "NotFollowed"));
    assert_eq!(event("open-2", &[("message", later), occurred()]), refused(422, "NotFollowed"));
    // The record of the sending registers it, too.
    assert_eq!(event("sent", &[("message", later), ("follow", "true")]).0, 200);
    assert_eq!(event("open-2", &[("message", later), occurred()]).0, 200);

    // A user who does not want to be captured.
    let user = text(&server, "user.txt", "user:7\n");
    let track = || {
        let put = Request::new("PUT", &object_path(BUCKET, "tracked")).header("x-amz-meta-geoseal-actor", "user:7");
        said(&call(&server, &who, put.header("x-amz-meta-geoseal-class", "tracked-activity").body("t")))
    };
    let capture = ["follow", "capture", "--tenant", "contoso", "--user-file", &user, "--on"];
    assert_eq!(track().0, 200);
    server.geoseal(&[&capture[..], &["false"]].concat()).ok();
    assert_eq!(track(), refused(409, "OptedOut"));
    server.geoseal(&[&capture[..], &["true"]].concat()).ok();
    assert_eq!(track().0, 200);

    // Only tokens of the ids are kept.
    for file in [&messages, &later_file, &user] {
        fs::remove_file(file).expect("our own file");
    }
    for (path, bytes) in files(server.home()) {
        for id in [canary, later, "user:7"] {
            assert!(!contains(&bytes, id), "{id} in {path}");
        }
    }
    feature(&server, "disable", &["--reason", "r"]);
    let messages = text(&server, "messages.txt", canary);
    let add = ["follow", "add", "--tenant", "contoso", "--message-file", &messages];
    assert_eq!(denied(&server, &add), (Some(4), "FeatureDisabled".into()));
    assert_eq!(event("sent-3", &[("message", "m"), ("follow", "true")]), refused(409, "FeatureDisabled"));
}
