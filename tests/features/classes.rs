//! Classes of data: which are known, which are stored, and whose they are.

use super::{BUCKET, ask, call, contains, denied, feature, files, put, refused, said, text};
use crate::life::tenant;
use geoseal_support::daemon::login_of;
use geoseal_support::server::Server;
use geoseal_support::signer::{Request, object_path};
use serde_json::json;

#[test]
fn r33_r34_r35_classes_are_known_stored_and_owned() {
    let server = Server::start();
    let who = tenant(&server, "contoso");
    assert_eq!(said(&call(&server, &who, Request::new("PUT", &format!("/{BUCKET}")))).0, 200);
    let consent = text(&server, "agreed.txt", "yes\n");
    feature(&server, "enable", &["--consent", &consent, "--follow-only", "false"]);

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
    // Seen by whoever may read the bucket, and by no other tenant.
    let login = server.geoseal(&["credential", "create", "--tenant", "contoso", "--role", "read-only", "--json"]);
    assert_eq!(ask(&server, &login_of(&login.json()), "GET", "tracked").0, 200);
    let other = tenant(&server, "fabrikam");
    assert_eq!(ask(&server, &other, "GET", "tracked"), refused(404, "NoSuchBucket"));

    // A bucket's default is an object's own class from then on.
    let set = ["bucket", "set", BUCKET, "--tenant", "contoso"];
    let default = |class| denied(&server, &[&set[..], &["--default-class", class]].concat());
    assert_eq!(default("transient"), (422, "ClassNotStorable".into()));
    assert_eq!(default("gossip"), (422, "UnknownClass".into()));
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
