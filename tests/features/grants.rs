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

/// To disable a tenant is to uninstall: its consent and its jobs' grants end, what it stores and its features stay, and only
/// another consent brings the service back, never a grant.
#[test]
fn r40_r41_a_disabled_tenants_grants_are_revoked_and_it_comes_back_under_a_new_consent_only() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let who = tenant(&server, "contoso");
    assert_eq!(said(&call(&server, &who, Request::new("PUT", &format!("/{BUCKET}")))).0, 200);
    let consent = text(&server, "agreed.txt", "yes\n");
    feature(&server, "enable", &["--consent", &consent]);
    server.geoseal(&["bucket", "set", BUCKET, "--tenant", "contoso", "--purpose", "kpi"]).ok();
    assert_eq!(put(&server, &who, "i", Some("interaction")).0, 200);
    let create = ["grant", "create", "--tenant", "contoso", "--bucket", BUCKET, "--purpose", "kpi", "--class", "kpi"];
    let create = [&create[..], &["--class", "interaction", "--for", "24h"]].concat();
    let grant = |server: &geoseal_support::server::Server| {
        let made = server.geoseal(&[&create[..], &["--json"]].concat()).json();
        let field = |name: &str| made[name].as_str().expect("a field").to_owned();
        Credentials { access_id: field("access_id"), secret: field("secret"), region: field("region") }
    };
    let good = |server: &geoseal_support::server::Server| {
        let all = server.geoseal(&["grant", "list", "--tenant", "contoso", "--json"]).json();
        let all = all["grants"].as_array().expect("a list").clone();
        all.iter().filter(|grant| grant["good"] == json!(true)).count()
    };
    let shown = |server: &geoseal_support::server::Server| {
        let mut shown =
            server.geoseal(&["feature", "show", "email-engagement", "--tenant", "contoso", "--json"]).json();
        shown.as_object_mut().expect("an object").retain(|field, _| field != "now");
        shown
    };
    let (job, other) = (grant(&server), grant(&server));
    assert_eq!((ask(&server, &job, "GET", "i").0, ask(&server, &other, "GET", "i").0, good(&server)), (200, 200, 2));
    let enabled = shown(&server)["enabled"].clone();

    server.geoseal(&["tenant", "disable", "contoso", "--reason", "uninstalled"]).ok();
    server.kill();
    server.restart();
    for job in [&job, &other] {
        assert_eq!(ask(&server, job, "GET", "i").0, 403);
    }
    assert_eq!(good(&server), 0, "revoked, and not only refused");
    assert_eq!(denied(&server, &create), (409, "WrongState".into()), "no new one while it is disabled");
    let tenant = || server.geoseal(&["tenant", "show", "contoso", "--json"]).json();
    assert_eq!((&tenant()["state"], &tenant()["consent_sha256"]), (&json!("DISABLED"), &json!(null)));

    let enable = ["tenant", "enable", "contoso"];
    assert_eq!(denied(&server, &enable), (403, "ConsentRequired".into()), "it was withdrawn");
    let anew = text(&server, "anew.txt", "yes, again\n");
    server.geoseal(&[&enable[..], &["--consent", &anew]].concat()).ok();
    let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(b"yes, again\n"));
    assert_eq!((&tenant()["state"], &tenant()["consent_sha256"]), (&json!("ACTIVE"), &json!(sha256)));
    let page = server.geoseal(&["audit", "tail", "-n", "1000", "--json"]).json();
    let log = page["entries"].as_array().expect("a page has entries").clone();
    let of = |event: &str| log.iter().filter(|entry| entry["event"] == event).cloned().collect::<Vec<_>>();
    let recorded = &of("tenant-enabled")[0];
    assert_eq!(recorded["detail"]["consent"], json!(sha256));
    assert!(recorded["actor"].as_str().is_some_and(|who| who.starts_with("admin")) && recorded["at"].is_string());
    let at = |entry: &serde_json::Value| entry["index"].as_u64().expect("an index");
    let (disabled, revoked) = (of("tenant-disabled"), of("credential-revoked"));
    assert_eq!((disabled.len(), revoked.len()), (1, 2));
    assert!(revoked.iter().all(|entry| at(entry) > at(&disabled[0])), "the ledger has the reason first");

    // R29: what was there is there again, the feature under its own consent, and of the jobs nothing.
    assert_eq!(ask(&server, &who, "GET", "i").0, 200);
    assert_eq!(put(&server, &who, "later", Some("interaction")).0, 200);
    assert_eq!(shown(&server)["enabled"], enabled);
    for job in [&job, &other] {
        assert_eq!(ask(&server, job, "GET", "i").0, 403, "it stays revoked");
    }
    assert_eq!(ask(&server, &grant(&server), "GET", "i").0, 200);
}
