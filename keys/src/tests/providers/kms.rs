//! AWS KMS against moto, through a proxy that checks signatures and enforces what moto does not.

use super::Place;
use super::contract;
use crate::tests::world::TENANT;
use crate::{AwsKmsSettings, GuardLimits, KeyError, ProviderError, ProviderFault, ProviderSettings};
use geoseal_support::keepers::{Kms, secret};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

fn settings(kms: &Kms) -> AwsKmsSettings {
    AwsKmsSettings {
        endpoint: kms.endpoint(),
        region: Kms::REGION.into(),
        credentials_file: kms.credentials_file(),
        ca_file: None,
        deletion_days: 7,
        timeout: Duration::from_secs(2),
    }
}

fn place(settings: AwsKmsSettings) -> Place<impl Fn(&Path) -> ProviderSettings> {
    let mut place = Place::new(move |dir: &Path| ProviderSettings::AwsKms {
        ledger: dir.join("ledger"),
        settings: settings.clone(),
    });
    place.limits = GuardLimits {
        call: Duration::from_secs(5),
        pause: Duration::from_millis(5),
        open_for: Duration::from_millis(100),
        ..place.limits
    };
    place
}

#[test]
fn k20_moto_keeps_the_contract_and_sees_ids_only() {
    let kms = Kms::start();
    contract::hold(&place(settings(&kms)));
    let captured = kms.captured();
    assert!(captured.len() > 100 && captured.iter().all(|request| request["signature"] == true));
    let mut seen = BTreeSet::new();
    for request in &captured {
        let act = request["act"].as_str().unwrap();
        seen.insert(act.to_owned());
        let Some(context) = request["body"].get("EncryptionContext") else { continue };
        let context = context.as_object().unwrap();
        assert_eq!(context.keys().collect::<Vec<_>>(), ["geoseal-geo", "geoseal-record", "geoseal-tenant"]);
        let hex = |name: &str, bytes: usize| {
            let text = context[name].as_str().unwrap();
            assert!(text.len() == 2 * bytes && hex::decode(text).is_ok(), "{name}: {text}");
        };
        hex("geoseal-record", 48);
        hex("geoseal-tenant", 16);
        assert!(context["geoseal-geo"] == "eu-fra-01" || context["geoseal-geo"].as_str().unwrap().starts_with("0x"));
    }
    for act in ["CreateKey", "Encrypt", "Decrypt", "DescribeKey", "DisableKey", "EnableKey", "ScheduleKeyDeletion"] {
        assert!(seen.contains(act), "{act} was not called");
    }
}

#[test]
fn k05_a_disabled_key_ends_leases_at_once() {
    let kms = Kms::start();
    let place = place(settings(&kms));
    let service = place.served();
    for (way, fault) in [("denied", ProviderFault::Denied), ("disabled", ProviderFault::Disabled)] {
        let keys = service.tenant(TENANT).unwrap();
        kms.fail(way, 1);
        place.end_leases();
        assert_eq!(service.tenant(TENANT).err(), Some(ProviderError::Refused.into()));
        assert_eq!(place.watch.last_fault(), Some(fault));
        assert!(keys.check().is_err(), "{way}: purged at once");
        assert!(service.tenant(TENANT).is_ok(), "{way}: it was given back");
    }
}

#[test]
fn k06_slow_throttled_garbled_and_oversized_answers_are_bounded_and_fail_closed() {
    let kms = Kms::start();
    let place = place(settings(&kms));
    let service = place.served();
    let outcomes = [
        ("slow", ProviderError::Unreachable, ProviderFault::Timeout),
        ("429", ProviderError::Unreachable, ProviderFault::Throttled),
        ("throttle", ProviderError::Unreachable, ProviderFault::Throttled),
        ("500", ProviderError::Unreachable, ProviderFault::Server(500)),
        ("cut", ProviderError::Unreachable, ProviderFault::NoConnection),
        ("garbage", ProviderError::Wrong, ProviderFault::Garbage),
        ("huge", ProviderError::Wrong, ProviderFault::TooLong),
    ];
    for (way, outcome, fault) in outcomes {
        let keys = service.tenant(TENANT).unwrap();
        place.end_leases();
        place.watch.faults.lock().clear();
        kms.fail(way, 1000);
        assert_eq!(service.tenant(TENANT).err(), Some(outcome.into()), "{way}");
        assert!(place.watch.faults.lock().contains(&fault), "{way}: {:?}", place.watch.faults.lock());
        assert!(keys.check().is_ok(), "{way}: no refusal, so what was given runs on");
        kms.mend();
        assert!(super::softhsm::eventually(|| service.tenant(TENANT).is_ok()), "{way}: recovers alone");
    }
}

#[test]
fn k20_a_throttled_call_is_tried_again() {
    let kms = Kms::start();
    let place = place(settings(&kms));
    let service = place.served();
    for way in ["throttle", "429", "500", "cut"] {
        place.end_leases();
        kms.fail(way, 1);
        assert!(service.tenant(TENANT).is_ok(), "{way}: the second attempt is answered");
        kms.mend();
    }
}

#[test]
fn k07_a_provider_that_opens_the_wrong_key_is_caught() {
    let kms = Kms::start();
    let place = place(settings(&kms));
    let service = place.served();
    kms.fail("wrong-key", 1000);
    assert_eq!(service.create_tenant([9; 16]).err(), Some(ProviderError::Wrong.into()));
    assert!(service.tenant_status([9; 16]).unwrap().is_none(), "nothing left behind");
    place.end_leases();
    assert_eq!(service.tenant(TENANT).err(), Some(KeyError::Provider(ProviderError::Wrong)));
    kms.mend();
    assert!(super::softhsm::eventually(|| service.tenant(TENANT).is_ok()));
    kms.fail("any-wrong-key", 1000);
    let other = self::place(settings(&kms));
    assert_eq!(other.found().err(), Some(ProviderFault::WrongKey.into()), "not even the ledger is begun");
    assert!(!other.dir.path().join("ledger").exists());
}

#[test]
fn wrong_credentials_are_said_clearly_and_replaced_ones_taken() {
    let kms = Kms::start();
    let place = place(settings(&kms));
    let good = std::fs::read_to_string(kms.credentials_file()).unwrap();
    let wrong = [
        (good.replace("0001", "0002"), ProviderFault::Expired),
        (good.replace("secret_access_key", "secret"), ProviderFault::SecretFile),
        (String::new(), ProviderFault::SecretFile),
    ];
    for (text, fault) in wrong {
        secret(&kms.credentials_file(), &text);
        assert_eq!(place.found().err(), Some(fault.into()));
    }
    secret(&kms.credentials_file(), &format!("{good}session_token = \"IQoJb3JpZ2lu/abc+def==\"\n"));
    let service = place.served();
    assert!(service.tenant(TENANT).is_ok());
    assert!(kms.captured().iter().any(|r| r["headers"]["x-amz-security-token"] == "IQoJb3JpZ2lu/abc+def=="));
}

#[test]
fn the_kms_itself_refuses_what_the_ledger_forbids() {
    let kms = Kms::start();
    let place = place(settings(&kms));
    let keys = place.found().unwrap();
    keys.rotate_to(2).unwrap();
    let ledger = place.dir.path().join("ledger");
    let before = std::fs::read(&ledger).unwrap();
    let old = keys.versions().unwrap()[0].name;
    let fields = crate::RootFields {
        provider: keys.kind(),
        kind: crate::KeyKind::Trk,
        root: crate::KeyName { id: [5; 16], version: 1 },
        master: old,
    };
    let whose = crate::ObjectContext::of_root(TENANT, crate::tests::geo());
    let asked = |fault| {
        // Somebody puts the ledger of before back: it says that the version opens.
        std::fs::write(&ledger, &before).unwrap();
        let back = place.open().unwrap();
        assert_eq!(back.unwrap(&fields, &[0; 60], &whose).err(), Some(ProviderError::Refused));
        assert_eq!(place.watch.last_fault(), Some(fault));
    };
    keys.set_enabled(1, false).unwrap();
    asked(ProviderFault::Disabled);
    let receipt = keys.destroy(1).unwrap();
    assert!(receipt.starts_with("aws-kms:") && receipt.contains("deletion-at-unix-"), "{receipt}");
    asked(ProviderFault::PendingDeletion);
}
