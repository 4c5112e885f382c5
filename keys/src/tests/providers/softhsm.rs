//! PKCS#11 against SoftHSM2. Each test runs in a process of its own: a module is initialised once in a process, by what
//! the environment says then.

use super::contract;
use super::{Place, in_own_process};
use crate::provider::MasterKeys;
use crate::tests::geo;
use crate::tests::world::TENANT;
use crate::{
    GuardLimits, KeyError, KeystoreError, Pkcs11Settings, ProviderError, ProviderFault, ProviderSettings, Unwatched,
    open_provider,
};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use geoseal_support::keepers::{PIN, SoftHsm, secret};
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn alone(test: &str, more: &str, body: impl FnOnce(&Path)) {
    let name = format!("tests::providers::softhsm::{test}");
    match std::env::var_os(SoftHsm::VARIABLE) {
        Some(settings) => body(PathBuf::from(settings).parent().expect("it lies in the token's home")),
        None => {
            let hsm = SoftHsm::new();
            hsm.configure(more);
            in_own_process(&name, (SoftHsm::VARIABLE, &hsm.settings()), || unreachable!("the variable is set there"));
        }
    }
}

fn settings(home: &Path) -> Pkcs11Settings {
    Pkcs11Settings {
        module: geoseal_support::tools::tools().softhsm().to_owned(),
        token: SoftHsm::TOKEN.into(),
        pin_file: home.join("pin"),
        label: "geoseal-test".into(),
    }
}

fn place(home: &Path) -> Place<impl Fn(&Path) -> ProviderSettings> {
    let settings = settings(home);
    Place::new(move |dir: &Path| ProviderSettings::Pkcs11 { ledger: dir.join("ledger"), settings: settings.clone() })
}

fn refused(home: &Path, settings: Pkcs11Settings) -> ProviderFault {
    let settings = ProviderSettings::Pkcs11 { ledger: home.join("none"), settings };
    let limits = GuardLimits::default();
    match open_provider(settings, geo(), limits, super::Real::now(), Arc::new(Unwatched)).err() {
        Some(ProviderError::Setup(fault)) => fault,
        other => panic!("{other:?}"),
    }
}

#[test]
fn softhsm_keeps_the_contract() {
    alone("softhsm_keeps_the_contract", "", |home| contract::hold(&place(home)));
}

#[test]
fn k18_a_missing_token_module_or_pin_is_said_clearly() {
    alone("k18_a_missing_token_module_or_pin_is_said_clearly", "", |home| {
        let good = settings(home);
        assert_eq!(refused(home, good.clone()), ProviderFault::LedgerMissing, "the token itself is well");
        let other = Pkcs11Settings { token: "another".into(), ..good.clone() };
        assert_eq!(refused(home, other), ProviderFault::TokenMissing);
        let module = Pkcs11Settings { module: home.join("no-such.so"), ..good.clone() };
        assert_eq!(refused(home, module), ProviderFault::Module);
        let missing = Pkcs11Settings { pin_file: home.join("no-such-pin"), ..good.clone() };
        // The application is logged in already, by the first call; a session of another token would ask.
        assert!(matches!(refused(home, missing), ProviderFault::SecretFile));
    });
}

#[test]
fn k18_a_wrong_pin_is_not_tried_until_the_token_locks() {
    alone("k18_a_wrong_pin_is_not_tried_until_the_token_locks", "", |home| {
        let token = place(home);
        secret(&home.join("pin"), "00000");
        for _ in 0..3 {
            assert_eq!(token.found().err(), Some(ProviderFault::PinWrong.into()));
        }
        secret(&home.join("pin"), PIN);
        let service = token.served();
        // The sessions are lost while the file holds a wrong PIN: one wrong attempt, however often we are asked.
        secret(&home.join("pin"), "00000");
        restart_module();
        token.end_leases();
        for _ in 0..30 {
            assert_eq!(service.tenant(TENANT).err(), Some(ProviderError::Refused.into()));
        }
        assert_eq!(token.watch.last_fault(), Some(ProviderFault::PinWrong));
        assert!(!is_pin_count_low_and_final(), "the token would lock itself");
        secret(&home.join("pin"), &format!("{PIN}\n"));
        assert!(service.tenant(TENANT).is_ok(), "recovers alone");
    });
}

#[test]
fn k18_lost_sessions_are_recovered_from() {
    alone("k18_lost_sessions_are_recovered_from", "", |home| {
        let token = place(home);
        let service = token.served();
        for _ in 0..3 {
            restart_module();
            token.end_leases();
            assert!(service.tenant(TENANT).is_ok());
        }
        let keys = token.open().unwrap();
        let keys: &dyn MasterKeys = &*keys;
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| assert!(keys.rotate_to(1).is_ok()));
            }
        });
    });
}

#[test]
fn k18_a_forbidden_mechanism_is_said_clearly() {
    let forbidden = "slots.mechanisms = CKM_AES_KEY_GEN,CKM_AES_CBC";
    alone("k18_a_forbidden_mechanism_is_said_clearly", forbidden, |home| {
        assert_eq!(refused(home, settings(home)), ProviderFault::Mechanism);
    });
}

#[test]
fn a_token_that_is_away_is_an_outage_and_a_key_that_is_gone_a_refusal() {
    alone("a_token_that_is_away_is_an_outage_and_a_key_that_is_gone_a_refusal", "", |home| {
        let token = place(home);
        let service = token.served();
        let keys = service.tenant(TENANT).unwrap();
        std::fs::rename(home.join("tokens"), home.join("away")).unwrap();
        std::fs::create_dir(home.join("tokens")).unwrap();
        restart_module();
        token.end_leases();
        assert_eq!(service.tenant(TENANT).err(), Some(ProviderError::Unreachable.into()));
        assert!(keys.check().is_ok(), "a lease that was given runs on");
        std::fs::remove_dir(home.join("tokens")).unwrap();
        std::fs::rename(home.join("away"), home.join("tokens")).unwrap();
        restart_module();
        // The circuit may have opened meanwhile: it closes again by itself.
        assert!(eventually(|| service.tenant(TENANT).is_ok()), "recovers alone");
        let keys = service.tenant(TENANT).unwrap();
        with_session(|session| {
            for key in session.find_objects(&[Attribute::Label(b"geoseal-test-v1".to_vec())]).unwrap() {
                session.destroy_object(key).unwrap();
            }
        });
        token.end_leases();
        assert_eq!(service.tenant(TENANT).err(), Some(KeyError::Provider(ProviderError::Refused)));
        assert!(keys.check().is_err(), "leases end at once (K-05)");
    });
}

#[test]
fn a_key_that_somebody_brought_or_could_take_is_not_used() {
    alone("a_key_that_somebody_brought_or_could_take_is_not_used", "", |home| {
        assert_eq!(refused(home, settings(home)), ProviderFault::LedgerMissing);
        let label = Attribute::Label(b"geoseal-test-v1".to_vec());
        with_session(|session| {
            let mut template = vec![Attribute::Token(true), Attribute::ValueLen(32.into()), Attribute::Encrypt(true)];
            template.extend([Attribute::Decrypt(true), Attribute::Sensitive(true), Attribute::Extractable(true)]);
            template.extend([label.clone(), Attribute::Id(vec![7; 16])]);
            session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
        });
        assert_eq!(place(home).found().err(), Some(ProviderFault::Exportable.into()));
    });
}

#[test]
fn the_token_itself_refuses_what_the_ledger_forbids() {
    alone("the_token_itself_refuses_what_the_ledger_forbids", "", |home| {
        let token = place(home);
        let keys = token.found().unwrap();
        keys.rotate_to(2).unwrap();
        let ledger = token.dir.path().join("ledger");
        let before = std::fs::read(&ledger).unwrap();
        let fields = |master| crate::RootFields {
            provider: keys.kind(),
            kind: crate::KeyKind::Trk,
            root: crate::KeyName { id: [5; 16], version: 1 },
            master,
        };
        let old = keys.versions().unwrap()[0].name;
        let whose = crate::ObjectContext::of_root(TENANT, geo());
        keys.set_enabled(1, false).unwrap();
        // Somebody puts the ledger of before back: it says that the version opens.
        std::fs::write(&ledger, before).unwrap();
        let back = token.open().unwrap();
        assert_eq!(back.versions().unwrap()[0].state, crate::MasterState::DecryptOnly);
        assert_eq!(back.unwrap(&fields(old), &[0; 60], &whose).err(), Some(ProviderError::Refused));
        assert_eq!(token.watch.last_fault(), Some(ProviderFault::Disabled));
    });
}

#[test]
fn k17_a_ledger_that_was_altered_cut_or_is_anothers_is_refused() {
    alone("k17_a_ledger_that_was_altered_cut_or_is_anothers_is_refused", "", |home| {
        let token = place(home);
        drop(token.served());
        let ledger = token.dir.path().join("ledger");
        let good = std::fs::read(&ledger).unwrap();
        for at in 0..good.len() {
            let mut altered = good.clone();
            altered[at] ^= 1 << (at % 8);
            std::fs::write(&ledger, altered).unwrap();
            assert!(matches!(token.open().err(), Some(ProviderError::Setup(_))), "byte {at}");
        }
        for len in [0, 1, 23, 24, 106, good.len() - 1] {
            std::fs::write(&ledger, &good[..len]).unwrap();
            assert_eq!(token.open().err(), Some(ProviderFault::LedgerDamaged.into()), "{len} bytes");
        }
        std::fs::write(&ledger, [good.as_slice(), &[0]].concat()).unwrap();
        assert_eq!(token.open().err(), Some(ProviderFault::LedgerDamaged.into()), "longer");
        // Another geo's, whole and under the same token.
        let other = [&good[..8], b"eu-fra-02\0\0\0\0\0\0\0", &good[24..]].concat();
        std::fs::write(&ledger, other).unwrap();
        assert_eq!(token.open().err(), Some(ProviderFault::LedgerDamaged.into()));
        std::fs::write(&ledger, &good).unwrap();
        assert!(token.serve(token.open().unwrap()).unwrap().tenant(TENANT).is_ok());
        // Without its witness the key store could be any older one.
        std::fs::remove_file(token.dir.path().join("ledger.witness")).unwrap();
        assert_eq!(token.serve(token.open().unwrap()).err(), Some(KeystoreError::NoWitness.into()));
    });
}

fn module() -> Pkcs11 {
    Pkcs11::new(geoseal_support::tools::tools().softhsm()).unwrap()
}

/// Ends every session of this process, as a token that was reset does.
fn restart_module() {
    module().finalize().unwrap();
    module().initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
}

fn slot(module: &Pkcs11) -> cryptoki::slot::Slot {
    module.get_slots_with_initialized_token().unwrap()[0]
}

fn is_pin_count_low_and_final() -> bool {
    let module = module();
    module.get_token_info(slot(&module)).unwrap().user_pin_final_try()
}

fn with_session(act: impl FnOnce(&cryptoki::session::Session)) {
    let module = module();
    let session = module.open_rw_session(slot(&module)).unwrap();
    // Logged in already where the provider has sessions.
    let _ = session.login(UserType::User, Some(&AuthPin::new(PIN.into())));
    act(&session);
}

pub(super) fn eventually(done: impl Fn() -> bool) -> bool {
    (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        done()
    })
}
