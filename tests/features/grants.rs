//! Grants: a job reaches what its purpose, its classes and its buckets give it, and nothing once they end.

use super::{BUCKET, advance, ask, call, clock, denied, feature, put, refused, said, text, watermark};
use crate::life::tenant;
use geoseal_support::server::Launch;
use geoseal_support::signer::{Credentials, Request, object_path};
use serde_json::json;

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
    for (flags, code, status) in [
        (["--purpose", "kpi", "--class", "*"], "UnknownClass", 422),
        (["--purpose", "kpi", "--class", "contact"], "ConsentRequired", 403),
        (["--purpose", "gossip", "--class", "kpi"], "UnknownPurpose", 422),
    ] {
        assert_eq!(denied(&server, &create(&flags)), (status, code.into()), "{flags:?}");
    }
    let usual = ["--purpose", "kpi", "--class", "interaction", "--class", "kpi"];
    let long = create(&[&usual[..], &["--for", "25h"]].concat());
    assert_eq!(denied(&server, &long), (422, "BadField".into()));
    let grant = || {
        let made = server.geoseal(&[&create(&usual)[..], &["--json"]].concat()).json();
        let field = |name: &str| made[name].as_str().expect("a field").to_owned();
        Credentials { access_id: field("access_id"), secret: field("secret"), region: field("region") }
    };

    let job = grant();
    assert_eq!(ask(&server, &job, "GET", "i"), refused(403, "PurposeMismatch"), "the bucket is for nothing");
    let purpose = |of| ["bucket", "set", BUCKET, "--tenant", "contoso", "--purpose", of];
    assert_eq!(denied(&server, &purpose("gossip")), (422, "UnknownPurpose".into()));
    server.geoseal(&purpose("kpi")).ok();
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
