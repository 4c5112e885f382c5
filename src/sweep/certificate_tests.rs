//! A certificate verifies with nothing but the public key, here and by other programs, and never after an edit.

use super::*;
use crate::sweep::backups::Backup;
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::process::Command;

struct TestSigner(Ed25519KeyPair);

impl Signer for TestSigner {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], crate::seal::KeyError> {
        Ok(self.0.sign(message).as_ref().try_into().unwrap())
    }

    fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap()
    }
}

fn signer(seed: u8) -> TestSigner {
    TestSigner(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
}

fn early() -> EarlyEnd {
    EarlyEnd {
        instruction: Hash([9; 32]),
        entered_by: "admin-01020304".into(),
        approved_by: "admin-05060708".into(),
        approved_at: "2026-12-01T12:00:00Z".into(),
        due_at: "2026-12-04T12:00:00Z".into(),
    }
}

fn backup() -> Backup {
    Backup { id: "0a".repeat(16), made_at: "2027-02-01T03:00:00Z".into(), age_s: 1_501_210 }
}

fn certificate() -> Certificate {
    Certificate {
        schema: Certificate::SCHEMA.into(),
        kind: Kind::Final,
        tenant: TenantId([0xab; 16]),
        geo: "europe".into(),
        terminated_at: "2026-11-20T11:30:00Z".into(),
        due_at: "2027-02-18T11:30:00Z".into(),
        early: None,
        purge_begun_at: "2027-02-18T12:00:00Z".into(),
        purge_ended_at: "2027-02-18T12:00:09Z".into(),
        deleted: Counts { buckets: 1, objects: 3, versions: 4, parts: 0, blobs: 2, bytes: 70_000 },
        manifest_sha256: "5".repeat(64),
        listings: vec![Listing { region: "westeurope".into(), rows_left: 0, blobs_left: 0, reached: true }],
        keys: Keys { destroyed: vec!["trk/abababab/1".into()], probe_opens: false },
        destruction: Destruction::judged(3, 0, true, "ext4"),
        reached: Some(Reached { s1: "2027-02-18T12:00:08Z".into(), s2: Some("2027-02-18T12:00:08Z".into()), s3: None }),
        epoch: None,
        backups: Some(Backups {
            known: 1,
            oldest: Some(backup()),
            newest: Some(backup()),
            ages_out_at: Some("2027-03-20T00:00:00Z".into()),
            note: "unreadable".into(),
        }),
        holds: vec![],
        audit: AuditEntry { index: 41, hash: Hash([6; 32]) },
        not_covered: Certificate::not_covered(),
        issued_at: "2027-02-18T12:00:10Z".into(),
    }
}

#[test]
fn it_verifies_pretty_and_compact_with_the_key_in_every_form() {
    let signed = certificate().sign(&signer(1)).unwrap();
    let key = PublicKey(signer(1).public_key());
    let forms = [key.pem(), BASE64.encode(key.0), hex::encode(key.0)];
    assert!(forms.iter().all(|form| PublicKey::parse(form) == Ok(key)));
    for bad in ["", "abc", &key.pem().replace("PUBLIC", "PRIVATE"), &"g".repeat(64)] {
        assert_eq!(PublicKey::parse(bad), Err(CertificateError::BadKey));
    }
    assert_eq!(verify(signed.text(), &key), Ok(certificate()));
    assert_eq!(verify(&format!("{}\n", signed.text()), &key), Ok(certificate()));
    let value: Value = serde_json::from_str(signed.text()).unwrap();
    assert_eq!(verify(&value.to_string(), &key), Ok(certificate()));
    let other = PublicKey(signer(2).public_key());
    assert_eq!(verify(signed.text(), &other), Err(CertificateError::OtherKey));
}

#[test]
fn d7_one_of_an_earlier_release_that_says_nothing_of_backups_verifies_and_one_that_contradicts_itself_does_not() {
    let key = PublicKey(signer(1).public_key());
    let earlier = Certificate { backups: None, ..certificate() };
    let signed = earlier.sign(&signer(1)).unwrap();
    assert!(!signed.text().contains("backups\": {"));
    assert_eq!(verify(signed.text(), &key), Ok(earlier));
    let mut wrong = certificate();
    wrong.backups.as_mut().unwrap().newest = None;
    assert_eq!(verify(wrong.sign(&signer(1)).unwrap().text(), &key), Err(CertificateError::Malformed));
}

#[test]
fn any_byte_changed_removed_or_added_and_it_fails() {
    let signed = certificate().sign(&signer(1)).unwrap();
    let key = PublicKey(signer(1).public_key());
    let good = signed.text().as_bytes();
    for at in 0..=good.len() {
        let mut variants = vec![[&good[..at], b" ", &good[at..]].concat(), [&good[..at], b"0", &good[at..]].concat()];
        if at < good.len() {
            variants.push([&good[..at], &good[at + 1..]].concat());
            variants.extend((0..7).map(|bit| [&good[..at], &[good[at] ^ 1 << bit], &good[at + 1..]].concat()));
        }
        for edited in variants {
            let edited = String::from_utf8(edited).unwrap();
            assert!(verify(&edited, &key).is_err(), "at byte {at}: {edited}");
        }
    }
    for cut in 0..good.len() {
        assert!(verify(&signed.text()[..cut], &key).is_err());
    }
}

/// Edits that leave a well-formed document: every leaf, every member, the order, a repetition.
#[test]
fn any_field_changed_removed_or_added_and_it_fails() {
    let signed = certificate().sign(&signer(1)).unwrap();
    let key = PublicKey(signer(1).public_key());
    let value: Value = serde_json::from_str(signed.text()).unwrap();
    let mut paths = Vec::new();
    leaves(&value, String::new(), &mut paths);
    assert!(paths.len() > 30, "{paths:?}");
    for path in paths {
        let mut edited = value.clone();
        let leaf = edited.pointer_mut(&path).unwrap();
        *leaf = match leaf {
            Value::String(text) => Value::String(format!("{text}x")),
            Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
            Value::Bool(on) => Value::Bool(!*on),
            _ => unreachable!("not a leaf"),
        };
        assert!(verify(&pretty(&edited), &key).is_err(), "{path} changed");
        let (parent, name) = path.rsplit_once('/').unwrap();
        let mut edited = value.clone();
        match edited.pointer_mut(parent).unwrap() {
            Value::Object(members) => drop(members.remove(name)),
            Value::Array(items) => drop(items.remove(name.parse().unwrap())),
            _ => unreachable!("a leaf's parent"),
        }
        assert!(verify(&pretty(&edited), &key).is_err(), "{path} removed");
    }
    let more = signed.text().replacen("\"certificate\": {", "\"certificate\": {\n    \"also\": 1,", 1);
    assert!(verify(&more, &key).is_err());
    let twice = signed.text().replacen("{\n", "{\n  \"certificate\": {},\n", 1);
    assert!(verify(&twice, &key).is_err(), "a repeated member");
}

fn leaves(value: &Value, path: String, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, of)| leaves(of, format!("{path}/{name}"), into)),
        Value::Array(items) => items.iter().enumerate().for_each(|(n, of)| leaves(of, format!("{path}/{n}"), into)),
        _ => into.push(path),
    }
}

/// Rightly signed, but saying what must never be certified.
#[test]
fn a_certificate_that_contradicts_its_kind_is_none() {
    let key = PublicKey(signer(1).public_key());
    let refuses = |change: fn(&mut Certificate)| {
        let mut certificate = certificate();
        change(&mut certificate);
        assert_eq!(verify(certificate.sign(&signer(1)).unwrap().text(), &key), Err(CertificateError::Malformed));
    };
    refuses(|of| of.listings[0].rows_left = 1);
    refuses(|of| of.listings[0].reached = false);
    refuses(|of| of.keys.probe_opens = true);
    refuses(|of| of.holds = vec!["M-9".into()]);
    refuses(|of| of.kind = Kind::Partial);
    refuses(|of| of.kind = Kind::Residual);
    refuses(|of| of.schema = "geoseal/certificate/v3".into());
    refuses(|of| of.early = Some(EarlyEnd { due_at: "2027-02-18T12:00:00.001Z".into(), ..early() }));
    let by_instruction = Certificate { early: Some(early()), ..certificate() };
    assert_eq!(verify(by_instruction.sign(&signer(1)).unwrap().text(), &key), Ok(by_instruction));
    let held = Certificate { kind: Kind::Partial, holds: vec!["M-9".into()], ..certificate() };
    assert_eq!(verify(held.sign(&signer(1)).unwrap().text(), &key), Ok(held));
}

#[test]
fn no_more_is_claimed_than_was_seen() {
    assert_eq!(Destruction::judged(3, 0, true, "ext4").level, Level::S2);
    assert_eq!(Destruction::judged(3, 0, false, "btrfs").level, Level::S1);
    assert_eq!(Destruction::judged(3, 1, true, "ext4").level, Level::S1);
}

/// The script of docs/retention.md, run as it is printed there.
#[test]
fn the_documented_scripts_verify_it_without_geoseal() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/retention.md")).unwrap();
    let block = |begin: &str| page.split(begin).nth(1).unwrap().split("```").next().unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let signed = certificate().sign(&signer(1)).unwrap();
    put("log-key.pem", &PublicKey(signer(1).public_key()).pem());
    put("verify.py", &block("```python\n"));
    put("verify.sh", &block("```sh\n# verify.sh\n"));
    let run = |program: &str, script: &str| {
        Command::new(program).arg(script).arg("cert.json").arg("log-key.pem").current_dir(dir.path()).output()
    };
    for (program, script, needs) in [("python3", "verify.py", "cryptography"), ("sh", "verify.sh", "openssl and jq")] {
        let probe = match script {
            "verify.py" => Command::new("python3").args(["-c", "import cryptography"]).output(),
            _ => Command::new("sh").args(["-c", "openssl version && jq --version"]).output(),
        };
        if !probe.is_ok_and(|out| out.status.success()) {
            eprintln!("not run: {needs} is not installed");
            continue;
        }
        put("cert.json", signed.text());
        let good = run(program, script).unwrap();
        assert!(good.status.success(), "{script}: {}", String::from_utf8_lossy(&good.stderr));
        put("cert.json", &signed.text().replace("\"objects\": 3", "\"objects\": 2"));
        assert!(!run(program, script).unwrap().status.success(), "{script} accepts an edit");
    }
}
