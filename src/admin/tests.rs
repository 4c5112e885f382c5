//! The router from outside, over a small house that remembers one tenant: what HTTP promises, not what acts do.

mod world;

use super::routes::routes;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use world::{ADMIN, AUDITOR, Server, bare};

/// docs/threat-cases.md A-18: the table is the router, so this is every route there is.
#[tokio::test]
async fn every_route_but_three_refuses_a_caller_without_credentials() {
    let server = Server::new();
    let mut open = vec![];
    for route in routes() {
        let target = route.path.replace("{tenant}", "contoso").replace("{geo}", "europe").replace("{login}", "x");
        let target = target.replace("{id}", "00");
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            for wrong in [None, Some("Bearer wrong"), Some("Basic YWRtaW46YWRtaW4="), Some("Bearer ")] {
                let status = server.send(bare(method, &target, wrong)).await.status();
                if status != StatusCode::UNAUTHORIZED && !open.contains(&route.path) {
                    open.push(route.path);
                }
            }
        }
    }
    // The third asks for a token that nobody guesses, and nothing else.
    assert_eq!(open, ["/healthz", "/readyz", "/bundles/{token}"]);
    let link = server.send(bare("GET", "/bundles/00", None)).await;
    assert_eq!(link.status(), StatusCode::NOT_FOUND);
    assert_eq!(server.send(bare("HEAD", "/bundles/00", None)).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    for unknown in ["/", "/admin", "/admin/v1", "/admin/v2/tenants", "/debug/pprof", "/metrics/"] {
        assert_eq!(server.send(bare("GET", unknown, None)).await.status(), StatusCode::UNAUTHORIZED, "{unknown}");
        assert_eq!(server.send(bare("GET", unknown, Some(ADMIN))).await.status(), StatusCode::NOT_FOUND, "{unknown}");
    }
}

#[tokio::test]
async fn an_auditor_reaches_exactly_the_routes_that_look_at_no_tenant() {
    let server = Server::new();
    let mut reached = vec![];
    for route in routes() {
        let target = route.path.replace("{tenant}", "contoso").replace("{geo}", "europe").replace("{login}", "x");
        let status = server.send(bare(route.method.as_str(), &target, Some(AUDITOR))).await.status();
        if status != StatusCode::FORBIDDEN {
            reached.push(route.name);
        }
    }
    let looks = [
        "health",
        "readiness",
        "fetchBundle",
        "metrics",
        "openapi",
        "regions",
        "certificate",
        "keyStatus",
        "operation",
    ];
    let more = ["sweepStatus", "auditTail", "auditVerify", "logKey", "logCheckpoint", "logLines", "logProof", "clock"];
    let published =
        ["publishedCheckpoint", "publishedTile", "publishedEntries", "publishedProof", "subprocessors", "restores"];
    let evidence = ["epochs", "epochCertificate", "listBackups", "logGrowth"];
    let reports = [
        "requestCertificate",
        "controls",
        "processorRecord",
        "population",
        "residency",
        "keyInventory",
        "exposure",
        "sweepHistory",
    ];
    let mut expected = [&looks[..], &more[..], &evidence[..], &reports[..]].concat();
    expected.extend(published);
    expected.sort_unstable();
    reached.sort_unstable();
    assert_eq!(reached, expected);
}

#[tokio::test]
async fn the_document_tells_of_every_route_and_resolves_its_references() {
    let document = Server::new().ask("GET", "/admin/v1/openapi.json", &[], Value::Null).await.body;
    for route in routes() {
        let operation = &document["paths"][route.path.replace("{*", "{")][route.method.as_str().to_lowercase()];
        assert_eq!(operation["operationId"], route.name);
        assert_eq!(operation["x-geoseal-role"], route.role.as_str());
    }
    let text = document.to_string();
    let references: Vec<_> = text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(references.len() > 20);
    for reference in references {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
    assert_eq!(document["components"]["schemas"]["Terminate"]["additionalProperties"], false);
}

#[tokio::test]
async fn a_state_change_honours_if_match_and_answers_with_the_new_tag() {
    let server = Server::new();
    server.create().await;
    let shown = server.ask("GET", "/admin/v1/tenants/contoso", &[], Value::Null).await;
    assert_eq!(shown.etag.as_deref(), Some("\"1\""));
    let path = "/admin/v1/tenants/contoso/disable";
    let stale = server.ask("POST", path, &[("if-match", "\"9\"")], json!({ "reason": "r" })).await;
    assert_eq!(stale.code(), (412, "RevisionChanged"));
    let done = server.ask("POST", path, &[("if-match", "\"1\"")], json!({ "reason": "r" })).await;
    assert_eq!(
        (done.status.as_u16(), done.etag.as_deref(), &done.body["state"]),
        (200, Some("\"2\""), &json!("DISABLED"))
    );
    let odd = server.ask("POST", path, &[("if-match", "two")], json!({ "reason": "r" })).await;
    assert_eq!(odd.code(), (400, "BadHeader"));
    let elsewhere = server.ask("POST", "/admin/v1/sweep/run", &[("if-match", "\"1\"")], Value::Null).await;
    assert_eq!(elsewhere.code(), (400, "BadHeader"), "a condition is never ignored");
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_its_plan_has_a_stable_id() {
    let server = Server::new();
    server.create().await;
    let path = "/admin/v1/tenants/contoso/terminate?dryRun=true";
    let body = || json!({ "reason": "r", "confirm": "contoso" });
    let (one, two) = (server.ask("POST", path, &[], body()).await, server.ask("POST", path, &[], body()).await);
    assert_eq!((one.status, &one.body["plan_id"]), (StatusCode::OK, &two.body["plan_id"]));
    assert_eq!(one.body["plan_id"].as_str().unwrap().len(), 16);
    let other = server.ask("POST", path, &[], json!({ "reason": "other", "confirm": "contoso" })).await;
    assert_ne!(one.body["plan_id"], other.body["plan_id"]);
    let shown = server.ask("GET", "/admin/v1/tenants/contoso", &[], Value::Null).await;
    assert_eq!(shown.body["state"], "ACTIVE");
    for typo in ["?dryrun=true", "?dryRun=yes", "?dryRun=true&dryRun=false", "?force=1"] {
        let path = format!("/admin/v1/tenants/contoso/terminate{typo}");
        assert_eq!(server.ask("POST", &path, &[], body()).await.code(), (400, "BadQuery"), "{typo}");
    }
}

#[tokio::test]
async fn a_repeated_post_under_one_idempotency_key_acts_once() {
    let server = Server::new();
    server.create().await;
    let path = "/admin/v1/tenants/contoso/credentials";
    let once = [("idempotency-key", "k-1")];
    let first = server.ask("POST", path, &once, json!({ "role": "service" })).await;
    let second = server.ask("POST", path, &once, json!({ "role": "service" })).await;
    assert_eq!((first.status, first.replayed, second.replayed), (StatusCode::CREATED, false, true));
    assert_eq!((first.body, second.status), (second.body, StatusCode::CREATED));
    let other = server.ask("POST", path, &once, json!({ "role": "read-only" })).await;
    assert_eq!(other.code(), (422, "IdempotencyReused"));
    let fresh = server.ask("POST", path, &[("idempotency-key", "k-2")], json!({ "role": "service" })).await;
    assert_eq!(fresh.body["secret"], "secret-2", "the repeat made no credential");
    let endless = "k".repeat(129);
    let long = server.ask("POST", path, &[("idempotency-key", &endless)], json!({ "role": "service" })).await;
    assert_eq!(long.code(), (400, "BadHeader"));
}

#[tokio::test]
async fn a_caller_who_hangs_up_and_asks_again_does_not_act_twice() {
    let server = Server::new();
    server.create().await;
    let path = "/admin/v1/tenants/contoso/credentials";
    let once = [("idempotency-key", "k-1")];
    let mut hung_up = Box::pin(server.ask("POST", path, &once, json!({ "role": "service" })));
    assert!(futures::poll!(&mut hung_up).is_pending());
    drop(hung_up);
    let busy = server.ask("POST", path, &once, json!({ "role": "service" })).await;
    assert_eq!(busy.code(), (409, "IdempotencyInFlight"));
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    let again = server.ask("POST", path, &once, json!({ "role": "service" })).await;
    assert_eq!((again.replayed, &again.body["secret"]), (true, &json!("secret-1")));
}

#[tokio::test]
async fn a_refusal_frees_its_idempotency_key() {
    let server = Server::new();
    let once = [("idempotency-key", "k-1")];
    let path = "/admin/v1/tenants/contoso/disable";
    assert_eq!(server.ask("POST", path, &once, json!({ "reason": "r" })).await.code(), (404, "NoSuchTenant"));
    server.create().await;
    assert_eq!(server.ask("POST", path, &once, json!({ "reason": "r" })).await.status, StatusCode::OK);
}

#[tokio::test]
async fn bodies_are_refused_without_repeating_what_they_hold() {
    let server = Server::new();
    let path = "/admin/v1/tenants";
    for (body, detail) in [
        (json!({ "name": "a", "geo": "brazil", "canary": 1 }), "unknown field"),
        (json!({ "name": "a" }), "missing field `geo`"),
        (json!({ "name": "a", "geo": "brazil", "replication": "canary" }), "unknown variant"),
        (json!({ "name": ["canary"], "geo": "brazil" }), "invalid type"),
        (json!("canary"), "invalid type"),
    ] {
        let refused = server.ask("POST", path, &[], body).await;
        assert_eq!(refused.code(), (400, "BadBody"));
        assert!(refused.body["detail"].as_str().unwrap().contains(detail), "{}", refused.body);
        assert!(!refused.body.to_string().contains("canary"));
    }
    let long = json!({ "name": "a".repeat(65 * 1024), "geo": "brazil" });
    assert_eq!(server.ask("POST", path, &[], long).await.code(), (413, "TooLarge"));
    let form = Request::post(path).header("authorization", ADMIN).header("content-type", "text/plain");
    let response = server.send(form.body(Body::from("{}")).unwrap()).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn long_work_is_accepted_and_followed() {
    let server = Server::new();
    let started = server.ask("POST", "/admin/v1/keys/master/europe/rotate", &[], Value::Null).await;
    let location = started.location.clone().unwrap();
    assert_eq!(started.status, StatusCode::ACCEPTED);
    let followed = server.ask("GET", &location, &[], Value::Null).await;
    assert_eq!((&followed.body["kind"], &followed.body["state"]), (&json!("rotate-master"), &json!("running")));
    let unknown = server.ask("GET", &format!("/admin/v1/operations/{}", "0".repeat(32)), &[], Value::Null).await;
    assert_eq!(unknown.code(), (404, "NoSuchOperation"));
}

#[tokio::test]
async fn refusals_have_their_status_and_code() {
    let server = Server::new();
    assert_eq!(server.ask("GET", "/readyz", &[], Value::Null).await.status, StatusCode::SERVICE_UNAVAILABLE);
    server.create().await;
    assert_eq!(server.ask("GET", "/readyz", &[], Value::Null).await.status, StatusCode::OK);
    let t = "/admin/v1/tenants/contoso";
    for (method, target, body, code) in [
        ("POST", "/admin/v1/tenants".to_owned(), json!({ "name": "b", "geo": "brazil" }), (409, "NameTaken")),
        ("POST", format!("{t}/terminate"), json!({ "reason": "r", "confirm": "other" }), (422, "ConfirmMismatch")),
        ("POST", format!("{t}/reinstate"), json!({}), (403, "ConsentRequired")),
        ("POST", format!("{t}/reinstate"), json!({ "consent": { "sha256": "00" } }), (422, "BadField")),
        ("POST", format!("{t}/credentials/GSX/revoke"), Value::Null, (404, "NoSuchCredential")),
        ("GET", format!("{t}/certificate"), Value::Null, (404, "NoCertificate")),
        ("POST", "/admin/v1/keys/tenant/contoso/rotate".into(), Value::Null, (500, "InternalError")),
        ("POST", "/admin/v1/keys/master/atlantis/rotate".into(), Value::Null, (422, "UnknownGeo")),
        ("POST", "/admin/v1/sweep/run".into(), Value::Null, (409, "PurgeHeld")),
        ("GET", "/admin/v1/sweep".into(), Value::Null, (503, "Unavailable")),
        ("POST", "/admin/v1/clock/advance".into(), json!({ "seconds": 1 }), (409, "ClockIsReal")),
        ("GET", "/admin/v1/audit?after=3".into(), Value::Null, (400, "BadQuery")),
        ("GET", "/admin/v1/audit?limit=0".into(), Value::Null, (400, "BadQuery")),
        ("GET", "/admin/v1/tenants/no%2Fname".into(), Value::Null, (404, "NoSuchTenant")),
        ("PUT", t.to_owned(), Value::Null, (405, "MethodNotAllowed")),
    ] {
        let refused = server.ask(method, &target, &[], body).await;
        assert_eq!(refused.code(), code, "{method} {target}");
        assert_eq!(refused.body["status"], code.0);
    }
    let held = server.ask("POST", "/admin/v1/sweep/run", &[], Value::Null).await;
    assert_eq!(held.body["holds"], json!(["M-9"]));
}
