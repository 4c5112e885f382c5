//! Enabled with a consent, disabled without loss: by whom, of what, and what a race between the two leaves.

use super::{BUCKET, ask, call, denied, feature, put, refused, said, text};
use crate::life::tenant;
use geoseal_support::server::{Launch, Server};
use geoseal_support::signer::{Body, Request, object_path};
use geoseal_support::wire::Wire;
use serde_json::json;
use std::fs;

#[test]
fn r26_r28_r29_d3_a_feature_needs_a_consent_and_is_disabled_without_loss() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let who = tenant(&server, "contoso");
    assert_eq!(said(&call(&server, &who, Request::new("PUT", &format!("/{BUCKET}")))).0, 200);
    let enable = ["feature", "enable", "email-engagement", "--tenant", "contoso"];
    let disable = ["feature", "disable", "email-engagement", "--tenant", "contoso", "--reason", "uninstalled"];

    // Never enabled: a plain store, and no interactions.
    assert_eq!(put(&server, &who, "plain", None).0, 200);
    assert_eq!(put(&server, &who, "early", Some("interaction")), refused(409, "FeatureDisabled"));
    assert_eq!(denied(&server, &enable), (403, "ConsentRequired".into()));
    let unknown = ["feature", "show", "telepathy", "--tenant", "contoso"];
    assert_eq!(denied(&server, &unknown), (404, "NoSuchFeature".into()));
    assert!(server.geoseal(&disable).ok().contains("no change"));

    // Enabled: who, when, which text, which classes.
    let consent = text(&server, "agreed.txt", "Recipients' activity may be measured.\n");
    let terms = ["--consent", &consent, "--class", "contact", "--follow-only", "false"];
    let on = feature(&server, "enable", &terms);
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
        assert_eq!(denied(&server, &bad), (422, "BadField".into()), "{ttl}");
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

    // R28: an event that is half-way in: it is received when its last byte is, and that is too late.
    let mut late = Wire::to(&server);
    let host = late.host().to_owned();
    let bytes = Request::new("PUT", &object_path(BUCKET, "half")).body(vec![b'x'; 300_000]);
    let bytes = bytes.header("x-amz-meta-geoseal-class", "interaction").signed(&who, &host, Body::Hashed).bytes();
    late.send(&bytes[..150_000]).expect("the server reads");

    // Disabled: nothing of it goes in or out, nothing else is touched, nothing is lost.
    let off = feature(&server, "disable", &["--reason", "uninstalled"]);
    assert_eq!((&off["enabled"], &off["ttl_frozen"], &off["objects"]), (&json!(false), &json!(true), &json!(20)));
    assert!(server.geoseal(&disable).ok().contains("20 objects kept; TTL frozen at"));
    assert_eq!(put(&server, &who, "late", Some("interaction")), refused(409, "FeatureDisabled"));
    late.send(&bytes[150_000..]).expect("the server reads on");
    assert_eq!(said(&late.answer("PUT").expect("an answer")), refused(409, "FeatureDisabled"));
    assert_eq!(ask(&server, &who, "GET", "half").0, 404);
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
    assert!(dropped >= 4, "late ones are counted: {dropped}");
    assert_eq!(feature(&server, "show", &[])["objects"], json!(20), "and none of them is an object");
    // How many they were is known after a restart, too.
    server.terminate();
    server.restart();
    assert_eq!(feature(&server, "show", &[])["dropped"], json!(dropped));
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
    assert_eq!(denied(&server, &enable), (403, "ConsentRequired".into()), "the old consent ended");
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
    assert_eq!(denied(&server, &disable), (409, "WrongState".into()));
    let entries = server.geoseal(&["audit", "tail", "-n", "200", "--json"]).ok();
    assert!(entries.contains("feature-enabled") && entries.contains("feature-disabled"));
}

/// R28, P6: events come in while the feature is disabled, again and again. Each is received before or after: what was
/// acknowledged is what is kept, nothing is added later, and it is all there when the feature is enabled again.
#[test]
fn r28_p6_events_that_race_a_disable_are_in_or_out() {
    const CLIENTS: usize = 3;
    let server = Server::start();
    let who = tenant(&server, "contoso");
    assert_eq!(said(&call(&server, &who, Request::new("PUT", &format!("/{BUCKET}")))).0, 200);
    let consent = text(&server, "agreed.txt", "yes\n");
    let mut acknowledged = 0;
    for round in 0..4 {
        let on = feature(&server, "enable", &["--consent", &consent, "--follow-only", "false"]);
        if round > 0 {
            assert_eq!((&on["compared"]["missing"], &on["compared"]["same"]), (&json!(0), &json!(true)), "{on}");
        }
        let (server, who) = (&server, &who);
        let (off, put_through) = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    // Until it is refused: each client sees the moment itself.
                    scope.spawn(move || {
                        (0u64..)
                            .map(|i| put(server, who, &format!("{round}/{client}/{i}"), Some("interaction")))
                            .take_while(|answer| match answer.0 {
                                200 => true,
                                _ => {
                                    assert_eq!(*answer, refused(409, "FeatureDisabled"));
                                    false
                                }
                            })
                            .count()
                    })
                })
                .collect();
            std::thread::sleep(std::time::Duration::from_millis(60));
            let off = feature(server, "disable", &["--reason", "r"]);
            (off, clients.into_iter().map(|client| client.join().expect("a client")).sum::<usize>())
        });
        acknowledged += put_through;
        assert_eq!(off["objects"], json!(acknowledged), "what was acknowledged, and nothing else");
        assert_eq!(feature(server, "show", &[])["objects"], json!(acknowledged));
        assert_eq!(put(server, who, "late", Some("interaction")), refused(409, "FeatureDisabled"));
    }
    assert!(acknowledged > 0, "some were in time");
}
