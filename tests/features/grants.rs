//! Grants: a job reaches what its purpose, its classes and its buckets give it, and nothing once they end.

use super::{BUCKET, FIGURES, advance, ask, call, clock, denied, feature, put, refused, said, text, watermark};
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
    feature(&server, "enable", &["--consent", &consent, "--follow-only", "false"]);
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
    let long = create(&[&FIGURES[..], &["--for", "25h"]].concat());
    assert_eq!(denied(&server, &long), (422, "BadField".into()));
    let grant = || super::job(&server, &FIGURES);

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
    // R24: where only followed messages are collected, also nothing of others that were collected before, or were
    // registered after what happened, or are followed no more.
    let of_message = |name: &str, occurred: &str| {
        let put = Request::new("PUT", &object_path(BUCKET, name)).header("x-amz-meta-geoseal-class", "interaction");
        let put = put.header("x-amz-meta-geoseal-message", "m-1").header("x-amz-meta-geoseal-occurred", occurred);
        assert_eq!(said(&call(&server, &who, put.body("opened"))).0, 200);
    };
    of_message("in-time", "2999-01-01T00:00:00Z");
    of_message("too-early", "2020-01-01T00:00:00Z");
    let given = || ["i", "in-time", "too-early"].map(|name| ask(&server, &job, "GET", name).1);
    assert_eq!(given(), ["", "", ""]);
    feature(&server, "enable", &["--follow-only", "true"]);
    assert_eq!(given(), ["NotFollowed", "NotFollowed", "NotFollowed"]);
    assert_eq!(ask(&server, &job, "GET", "i").0, 403);
    let messages = text(&server, "messages.txt", "m-1\n");
    let follow = |verb| server.geoseal(&["follow", verb, "--tenant", "contoso", "--message-file", &messages]).ok();
    follow("add");
    assert_eq!(given(), ["NotFollowed", "", "NotFollowed"]);
    follow("remove");
    assert_eq!(given(), ["NotFollowed", "NotFollowed", "NotFollowed"]);
    assert_eq!(ask(&server, &who, "GET", "in-time").0, 200, "what was collected stays");
    feature(&server, "enable", &["--follow-only", "false"]);
    assert_eq!(given(), ["", "", ""]);

    // Windows of watermarks meet, and stand where the newest one ends.
    let (now, _) = clock(&server);
    let day = |day: &str| format!("{day}T00:00:00Z");
    let commit = |from, until| watermark(&server, &job, (&day(from), &day(until)), &now, "kpi");
    let stands =
        || server.geoseal(&["bucket", "show", BUCKET, "--tenant", "contoso", "--json"]).json()["watermark"].clone();
    for (from, until, says, then) in [
        ("2020-01-01", "2020-01-02", refused(200, ""), "2020-01-02"),
        ("2020-01-03", "2020-01-04", refused(409, "WatermarkGap"), "2020-01-02"),
        ("2020-01-02", "2020-01-03", refused(200, ""), "2020-01-03"),
        ("2020-01-02", "2020-01-03", refused(200, ""), "2020-01-03"),
        ("2020-01-01", "2020-01-02", refused(200, ""), "2020-01-03"),
        ("2019-12-01", "2019-12-02", refused(409, "WatermarkGap"), "2020-01-03"),
        ("2019-12-31", "2020-01-01", refused(200, ""), "2020-01-03"),
    ] {
        assert_eq!((commit(from, until), stands()), (says, json!(day(then))), "{from} {until}");
    }
    let logged = server.geoseal(&["audit", "tail", "-n", "500", "--json"]).ok();
    let committed = logged.matches("watermark-committed").count();
    assert_eq!(committed, 3, "one that changes nothing, or is refused, is not on record");

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
    feature(&server, "enable", &["--consent", &consent, "--follow-only", "false"]);
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
