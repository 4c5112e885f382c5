//! Transit against a real OpenBao over TLS.

use super::contract;
use super::softhsm::eventually;
use super::{Place, Watched};
use crate::tests::geo;
use crate::tests::world::TENANT;
use crate::{
    CallOutcome, GuardLimits, ObjectContext, ProviderAct, ProviderError, ProviderFault, ProviderSettings,
    TransitSettings,
};
use geoseal_support::keepers::{Link, OpenBao, secret};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// One server for the tests that leave it as it was.
fn shared() -> &'static OpenBao {
    static SHARED: OnceLock<OpenBao> = OnceLock::new();
    SHARED.get_or_init(OpenBao::start)
}

fn settings(bao: &OpenBao, key: &str, token_file: PathBuf) -> TransitSettings {
    TransitSettings {
        address: bao.address(),
        ca_file: Some(bao.ca_file()),
        token_file,
        mount: "transit".into(),
        key: key.into(),
        namespace: None,
        timeout: Duration::from_secs(3),
    }
}

fn place(settings: TransitSettings) -> Place<impl Fn(&Path) -> ProviderSettings> {
    Place::new(move |dir: &Path| ProviderSettings::Transit { ledger: dir.join("ledger"), settings: settings.clone() })
}

#[test]
fn openbao_keeps_the_contract_with_no_more_rights_than_the_page_says() {
    let bao = shared();
    contract::hold(&place(settings(bao, "contract", bao.token_file("1h"))));
    let key = bao.root("GET", "transit/keys/contract", &Value::Null);
    assert_eq!(key["data"]["min_available_version"], 3, "older versions are gone for good: {key}");
    assert_eq!((&key["data"]["exportable"], &key["data"]["allow_plaintext_backup"]), (&json!(false), &json!(false)));
}

#[test]
fn several_roots_are_opened_in_one_call() {
    let bao = shared();
    let place = place(settings(bao, "batch", bao.token_file("1h")));
    let service = place.served();
    place.watch.calls.lock().clear();
    place.end_leases();
    service.tenant(TENANT).unwrap();
    assert_eq!(*place.watch.calls.lock(), [(ProviderAct::Unwrap, CallOutcome::Done)], "three roots, one call");
}

#[test]
fn k19_an_expired_or_replaced_token_fails_closed_and_recovers() {
    let bao = shared();
    let token_file = bao.token_file("1h");
    let place = place(settings(bao, "tokens", token_file.clone()));
    let service = place.served();
    let keys = service.tenant(TENANT).unwrap();
    let token = std::fs::read_to_string(&token_file).unwrap();
    bao.root("POST", "auth/token/revoke", &json!({ "token": token }));
    place.end_leases();
    assert_eq!(service.tenant(TENANT).err(), Some(ProviderError::Refused.into()));
    assert_eq!(place.watch.last_fault(), Some(ProviderFault::Denied));
    assert!(keys.check().is_err(), "leases end at once");
    secret(&token_file, &std::fs::read_to_string(bao.token_file("1h")).unwrap());
    assert!(service.tenant(TENANT).is_ok(), "a token that replaced it is taken");
    std::fs::write(&token_file, "").unwrap();
    place.end_leases();
    assert_eq!(service.tenant(TENANT).err(), Some(ProviderError::Unreachable.into()), "an empty file");
    assert_eq!(place.watch.last_fault(), Some(ProviderFault::SecretFile));
}

#[test]
fn k19_a_short_token_is_renewed_while_it_is_used() {
    let bao = shared();
    let token_file = bao.token_file("4s");
    let place = place(settings(bao, "renewed", token_file.clone()));
    let service = place.served();
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(9) {
        place.end_leases();
        assert!(service.tenant(TENANT).is_ok(), "after {:?}: {:?}", begun.elapsed(), place.watch.last_fault());
        std::thread::sleep(Duration::from_millis(400));
    }
}

#[test]
fn k05_a_key_that_was_deleted_or_disallowed_ends_leases_at_once() {
    let bao = shared();
    let place = place(settings(bao, "deleted", bao.token_file("1h")));
    let service = place.served();
    let ends = |fault| {
        let keys = service.tenant(TENANT).unwrap();
        place.end_leases();
        move |service: &crate::GeoKeyService, watch: &Watched| {
            assert_eq!(service.tenant(TENANT).err(), Some(ProviderError::Refused.into()));
            assert_eq!(watch.last_fault(), Some(fault));
            assert!(keys.check().is_err(), "{fault}: purged at once");
        }
    };
    let ended = ends(ProviderFault::PendingDeletion);
    bao.root("DELETE", "transit/keys/deleted/soft-delete", &Value::Null);
    ended(&service, &place.watch);
    bao.root("POST", "transit/keys/deleted/soft-delete-restore", &json!({}));
    let ended = ends(ProviderFault::Disabled);
    bao.root("POST", "transit/keys/deleted/rotate", &json!({}));
    bao.root("POST", "transit/keys/deleted/config", &json!({ "min_decryption_version": 2 }));
    ended(&service, &place.watch);
    bao.root("POST", "transit/keys/deleted/config", &json!({ "min_decryption_version": 1, "deletion_allowed": true }));
    let ended = ends(ProviderFault::KeyMissing);
    bao.root("DELETE", "transit/keys/deleted", &Value::Null);
    ended(&service, &place.watch);
}

#[test]
fn k19_a_sealed_server_is_an_outage() {
    let bao = OpenBao::start();
    let place = place(settings(&bao, "sealed", bao.root_token_file()));
    let service = place.served();
    let keys = service.tenant(TENANT).unwrap();
    bao.root("POST", "sys/seal", &json!({}));
    place.end_leases();
    assert_eq!(service.tenant(TENANT).err(), Some(ProviderError::Unreachable.into()));
    assert_eq!(place.watch.last_fault(), Some(ProviderFault::Sealed));
    assert!(keys.check().is_ok(), "leases that were given run on");
    assert_eq!(place.open().err(), Some(ProviderFault::Sealed.into()), "nothing is opened anew");
}

#[test]
fn k19_a_wrong_authority_or_a_wrong_context_is_refused() {
    let (bao, impostor) = (shared(), OpenBao::start());
    let good = settings(bao, "authority", bao.token_file("1h"));
    let keys = place(good.clone());
    let service = keys.served();
    drop(service);
    let wrong = TransitSettings { ca_file: Some(impostor.ca_file()), ..good.clone() };
    let elsewhere = place(wrong);
    assert_eq!(elsewhere.found().err(), Some(ProviderFault::Untrusted.into()));
    // The same key, asked directly with another context: OpenBao itself refuses.
    let plain = json!({ "plaintext": "AAAA", "associated_data": "YWFh" });
    let sealed = bao.root("POST", "transit/encrypt/authority", &plain);
    let (opened, whose) = (keys.open().unwrap(), ObjectContext::of_root(TENANT, geo()));
    let fields = crate::RootFields {
        provider: opened.kind(),
        kind: crate::KeyKind::Trk,
        root: crate::KeyName { id: [1; 16], version: 1 },
        master: opened.active().unwrap(),
    };
    let blob = sealed["data"]["ciphertext"].as_str().unwrap().as_bytes();
    assert_eq!(opened.unwrap(&fields, blob, &whose).err(), Some(ProviderError::Wrong));
    assert_eq!(keys.watch.last_fault(), Some(ProviderFault::WrongKey));
}

#[test]
fn t06_somebody_in_between_is_not_talked_to() {
    let (bao, impostor) = (shared(), OpenBao::start());
    let link = Link::new(bao.socket());
    let good = settings(bao, "between", bao.token_file("1h"));
    let place = place(TransitSettings { address: format!("https://{}", link.socket()), ..good });
    let service = place.served();
    let keys = service.tenant(TENANT).unwrap();
    link.lead_to(impostor.socket());
    place.end_leases();
    assert_eq!(service.tenant(TENANT).err(), Some(ProviderError::Unreachable.into()));
    assert_eq!(place.watch.last_fault(), Some(ProviderFault::Untrusted));
    assert!(keys.check().is_ok(), "it is not believed when it refuses, either");
    link.lead_to(bao.socket());
    assert!(eventually(|| service.tenant(TENANT).is_ok()), "recovers alone");
}

#[test]
fn an_outage_opens_the_circuit_and_its_end_closes_it() {
    let bao = shared();
    let link = Link::new(bao.socket());
    let good = settings(bao, "outage", bao.token_file("1h"));
    let mut place = place(TransitSettings { address: format!("https://{}", link.socket()), ..good });
    place.limits =
        GuardLimits { pause: Duration::from_millis(5), open_for: Duration::from_millis(200), ..place.limits };
    let service = place.served();
    link.cut();
    place.end_leases();
    for _ in 0..30 {
        assert_eq!(service.tenant(TENANT).err(), Some(ProviderError::Unreachable.into()));
    }
    let is_held = |watch: &Watched| watch.calls.lock().iter().any(|(_, outcome)| *outcome == CallOutcome::Held);
    assert!(is_held(&place.watch), "after failures in a row calls are not made");
    link.mend();
    assert!(eventually(|| service.tenant(TENANT).is_ok()), "recovers alone");
}

#[test]
fn a_key_that_may_leave_or_has_a_history_is_not_used() {
    let bao = shared();
    let refused = |key: &str| place(settings(bao, key, bao.token_file("1h"))).found().err();
    bao.root("POST", "transit/keys/exportable", &json!({ "type": "aes256-gcm96", "exportable": true }));
    assert_eq!(refused("exportable"), Some(ProviderFault::Exportable.into()));
    bao.root("POST", "transit/keys/chacha", &json!({ "type": "chacha20-poly1305" }));
    assert_eq!(refused("chacha"), Some(ProviderFault::Exportable.into()));
    bao.root("POST", "transit/keys/used", &json!({ "type": "aes256-gcm96" }));
    bao.root("POST", "transit/keys/used/rotate", &json!({}));
    assert_eq!(refused("used"), Some(ProviderFault::Occupied.into()));
    assert!(matches!(refused("../sys/mounts"), Some(ProviderError::Setup(ProviderFault::Setting(_)))));
}
