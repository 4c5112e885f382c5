//! two hundred and more Authorization headers that are not right.

use super::Caller;
use geoseal_support::signer::Body;
use std::collections::BTreeSet;

/// Every way in which the three fields, the scope, the separators and the signature can be wrong, made from one that
/// is right.
fn table(right: &str) -> BTreeSet<String> {
    let (scheme, fields) = right.split_once(' ').expect("a scheme and fields");
    let parts: Vec<&str> = fields.split(',').collect();
    let [credential, names, signature] = parts[..] else { panic!("three fields") };
    let scope: Vec<&str> = credential.trim_start_matches("Credential=").split('/').collect();
    let hex = signature.trim_start_matches("Signature=");
    let mut bad = BTreeSet::new();
    let mut add = |text: String| bad.insert(text);
    let all = |c: &str, n: &str, s: &str| format!("{scheme} {c},{n},{s}");

    // The scheme.
    for other in [
        "AWS4-HMAC-SHA1",
        "AWS4-HMAC-SHA512",
        "aws4-hmac-sha256",
        "AWS4",
        "AWS4-HMAC-SHA256x",
        "Bearer",
        "AWS4-HMAC-SHA256-PAYLOAD",
        "AWS3-HMAC-SHA256",
        "\"AWS4-HMAC-SHA256\"",
    ] {
        add(format!("{other} {fields}"));
    }
    add(fields.to_owned());
    add(scheme.to_owned());
    add(format!("{scheme}{fields}"));
    add(format!("{scheme} {scheme} {fields}"));
    // Fields missing, empty, doubled, misspelt, unknown.
    for (i, field) in parts.iter().enumerate() {
        let mut without = parts.clone();
        without.remove(i);
        add(format!("{scheme} {}", without.join(",")));
        add(format!("{scheme} {fields},{field}"));
        let (name, value) = field.split_once('=').expect("a field has a value");
        for (spelt, what) in [
            (name.to_lowercase(), value),
            (format!("{name}x"), value),
            (name.to_owned(), ""),
            (String::new(), value),
            (format!(" {name} "), value),
            (name.to_owned(), "\""),
            (name.to_owned(), "="),
        ] {
            let mut changed: Vec<String> = parts.iter().map(|p| (*p).to_owned()).collect();
            changed[i] = format!("{spelt}={what}");
            let changed = changed.join(",");
            if changed != fields && spelt.trim() != name || what != value {
                add(format!("{scheme} {changed}"));
            }
        }
        let mut bare: Vec<&str> = parts.clone();
        bare[i] = name;
        add(format!("{scheme} {}", bare.join(",")));
    }
    for between in [";", "", ",,", "&", "|"] {
        add(format!("{scheme} {}", parts.join(between)));
    }
    add(format!("{scheme} {fields},"));
    add(format!("{scheme} ,{fields}"));
    add(format!("{scheme} {fields},Extra=1"));
    // The scope: each part missing, empty, doubled, wrong.
    for i in 0..scope.len() {
        let with = |part: Option<&str>| {
            let mut changed = scope.clone();
            match part {
                Some(part) => changed[i] = part,
                None => drop(changed.remove(i)),
            }
            all(&format!("Credential={}", changed.join("/")), names, signature)
        };
        for part in [
            "", "x", "*", "%", "..", "20260230", "99999999", "19700101", "2026112", "eastus", "iam", "sts", "s3 ",
            "a a", "\u{7e}",
        ] {
            if part != scope[i] {
                add(with(Some(part)));
            }
        }
        add(with(None));
        let doubled = [&scope[..=i], &scope[i..]].concat().join("/");
        add(all(&format!("Credential={doubled}"), names, signature));
    }
    add(all(&format!("Credential={}", "/".repeat(100)), names, signature));
    add(all(
        &format!("Credential={}{}", "A".repeat(4000), credential.trim_start_matches("Credential=")),
        names,
        signature,
    ));
    // The signed names.
    for wrong in [
        "host",
        "x-amz-date",
        "HOST;x-amz-content-sha256;x-amz-date",
        ";",
        "*",
        "host;host",
        "x-amz-date;x-amz-content-sha256;host",
        "host x-amz-content-sha256 x-amz-date",
        "host,x-amz-content-sha256,x-amz-date",
        ";host;x-amz-content-sha256;x-amz-date",
        "host;x-amz-content-sha256;x-amz-date;",
        "authorization;host;x-amz-content-sha256;x-amz-date",
    ] {
        add(all(credential, &format!("SignedHeaders={wrong}"), signature));
    }
    add(all(credential, &format!("SignedHeaders={}", "host;".repeat(1000)), signature));
    // The signature: lengths, alphabets, single digits.
    for wrong in [
        &hex[1..],
        &format!("{hex}0"),
        &format!("0x{hex}"),
        &hex.to_uppercase(),
        &"g".repeat(64),
        &"0".repeat(64),
        "AAAA",
        &format!("{hex}{hex}"),
        &format!(" {hex}0"),
        &"%".repeat(64),
        &hex.chars().rev().collect::<String>(),
    ] {
        if wrong != hex {
            add(all(credential, names, &format!("Signature={wrong}")));
        }
    }
    for at in 0..hex.len() {
        let digit = if hex.as_bytes()[at] == b'0' { "1" } else { "0" };
        add(all(credential, names, &format!("Signature={}{digit}{}", &hex[..at], &hex[at + 1..])));
    }
    bad.remove(right);
    bad
}

#[test]
fn a_01_malformed_authorization_headers_are_4xx_and_nobody_panics() {
    let mut caller = Caller::new("a-01-malformed");
    caller.put("k", b"hidden-away");
    let good = caller.of("GET", "k").signed(&caller.who, &caller.host(), Body::Hashed);
    let right = good.headers.iter().find(|(name, _)| name == "authorization").expect("it is signed").1.clone();
    let bad = table(&right);
    assert!(bad.len() >= 200, "only {}", bad.len());
    for authorization in &bad {
        let answer = caller.send(&good.clone().replace("authorization", authorization));
        assert!(matches!(answer.status, 400 | 403), "{authorization}: {}", answer.status);
        assert!(
            !answer.code().is_empty() && !answer.text().contains("hidden-away"),
            "{authorization}: {}",
            answer.text()
        );
    }
    assert_eq!(caller.send(&good).body, b"hidden-away", "and the right one is still right");
    assert!(!caller.server.log().contains("panicked"));
}
