//! The first row of the table of states and operations: a tenant whose keys are only being made. The provider that wraps them
//! takes its time, so that there is some to look.

use super::pair::{BUCKET, admin, ask, connect_to, over_a_socket_with};
use geoseal_support::daemon::Daemon;
use geoseal_support::keepers::Kms;
use geoseal_support::signer::{Credentials, Request, object_path};
use serde_json::{Value, json};
use std::thread;
use std::time::{Duration, Instant};

/// A tenant is looked at while it is made; where the machine was too slow for that, the next one is.
const ATTEMPTS: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(60);

fn post(daemon: &Daemon, path: &str, body: &Value) -> (u16, String) {
    let address = daemon.admin();
    let request = Request::new("POST", &format!("/admin/v1/{path}")).header("host", &address.to_string());
    let request = request.header("authorization", &format!("Bearer {}", daemon.admin_token()));
    let request = request.header("content-type", "application/json").body(body.to_string());
    let answer = connect_to(address, &daemon.authority()).exchange(&request).expect("it answers");
    let problem: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    (answer.status, problem["code"].as_str().unwrap_or_default().to_owned())
}

/// The id and state of the tenant of this name, once there is one.
fn tenant(daemon: &Daemon, name: &str) -> Option<(String, String)> {
    let shown = admin(daemon, &format!("/admin/v1/tenants/{name}"));
    let shown: Value = serde_json::from_slice(&shown.body).ok()?;
    Some((shown["id"].as_str()?.to_owned(), shown["state"].as_str()?.to_owned()))
}

#[test]
fn a_tenant_whose_keys_are_being_made_answers_503_to_everything() {
    let kms = Kms::start();
    let (_keys, daemon, other) = over_a_socket_with("", &kms.keyring(), 300);
    let consent = daemon.secret("consent.txt", "We agree.\n");
    let consent = consent.to_str().expect("a plain path");
    for attempt in 0..ATTEMPTS {
        let name = format!("young-{attempt}");
        kms.fail("late", u32::MAX);
        let seen = thread::scope(|scope| {
            let making = scope.spawn(|| {
                let create = ["tenant", "create", &name, "--geo", "europe", "--home", "westeurope"];
                daemon.geoseal(&[&create[..], &["--consent", consent]].concat())
            });
            let begun = Instant::now();
            let id = loop {
                if let Some((id, state)) = tenant(&daemon, &name) {
                    break (state == "PROVISIONING").then_some(id);
                }
                assert!(begun.elapsed() < PATIENCE, "{name} does not begin");
            };
            let seen = id.map(|id| row(&daemon, &other, &id));
            let whole = tenant(&daemon, &name).is_some_and(|(_, state)| state == "PROVISIONING");
            kms.mend();
            let made = making.join().expect("it ends");
            assert!(made.ok().contains("ACTIVE"), "its keys are there, and it is in service");
            seen.filter(|_| whole)
        });
        if let Some(seen) = seen {
            let refused = (503, "ServiceUnavailable".to_owned());
            for (operation, told) in seen {
                assert_eq!(told, refused, "PROVISIONING × {operation}");
            }
            return;
        }
    }
    panic!("no tenant was seen while it was made");
}

/// What each operation is answered. A service has no login yet: whoever asks for one waits until the keys are there.
fn row(daemon: &Daemon, other: &Credentials, id: &str) -> Vec<(&'static str, (u16, String))> {
    let erase = json!({ "subject": "contact:1", "confirm": "young", "basis": "art17" });
    let hold = json!({ "id": "T-1", "tenant": id, "scope": "tenant", "matter": "m", "prospective": true });
    let told = vec![
        ("AdminExport", post(daemon, &format!("tenants/{id}/export?dryRun=true"), &json!({}))),
        ("DataSubject, Delete", post(daemon, &format!("tenants/{id}/dsrs/erase"), &erase)),
        ("Hold", post(daemon, "holds", &hold)),
    ];
    assert_eq!(ask(daemon, other, "GET", &object_path(BUCKET, "k"), &[]).status, 404, "others are served meanwhile");
    told
}
