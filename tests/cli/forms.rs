//! D1, D3, D7: the lines that people read and paste from.

use super::{consent, create};
use geoseal_support::server::Server;

#[test]
fn d1_d10_what_creation_prints_can_be_pasted_into_every_key_verb() {
    let server = Server::shared();
    let terms = consent(server);
    let made = ["tenant", "create", "northwind", "--geo", "europe", "--home", "westeurope", "--consent", &terms];
    let line = server.geoseal(&made).ok();
    let (begin, rest) = line.trim().split_once(" key=").expect("a key");
    assert_eq!(begin, "northwind ACTIVE geo=europe home=westeurope replica=none");
    let (key, agreed) = rest.split_once(" consent=sha256:").expect("a consent");
    assert!(agreed.len() == 64 && agreed.bytes().all(|b| b.is_ascii_hexdigit()), "{line}");
    let (key, master) = key.split_once(" (mk/europe/").expect("the master key above it");
    assert!(key == "tdk/northwind/1" && master.strip_suffix(')').is_some_and(|n| n.parse::<u32>().is_ok()), "{line}");
    let shown = server.geoseal(&["tenant", "show", "northwind", "--json"]).json();
    assert!(shown["key"].as_str().is_some_and(|shown| shown.starts_with("tdk/northwind/1 (mk/europe/")), "{shown}");
    let id = shown["id"].as_str().expect("an id").to_owned();

    // By the tenant's name or id, from whatever line it was copied.
    server.geoseal(&["key", "rotate", "tenant", "northwind"]).ok();
    let by_id = format!("tdk/{id}/1");
    for key in [key, by_id.as_str()] {
        for verb in [
            &["key", "destroy", key, "--yes", "--dry-run"][..],
            &["key", "cancel-destroy", key],
            &["key", "report-compromise", key, "--yes", "--dry-run"],
        ] {
            let said = server.geoseal(verb);
            assert_eq!(said.code(), Some(0), "{verb:?}: {}", said.stderr());
        }
    }
    server.geoseal(&["key", "report-compromise", key, "--yes"]).ok();
    let status = server.geoseal(&["key", "status", "--tenant", "northwind", "--json"]).json();
    let versions = status["geos"][0]["tenants"][0]["versions"].as_array().expect("versions").clone();
    let known = versions.iter().find(|version| version["id"] == key).expect("it is named as it was pasted");
    assert_eq!(known["state"], "compromised", "{status}");
    for (other, code) in [("tdk/nobody/1", 3), ("tdk/northwind/99", 3), ("tdk/northwind", 2)] {
        assert_eq!(server.geoseal(&["key", "report-compromise", other, "--yes"]).code(), Some(code), "{other}");
    }
}

#[test]
fn d3_d7_what_is_kept_and_until_when_is_said_in_one_line() {
    let server = Server::shared();
    create(server, "adventure").ok();
    let terms = consent(server);
    let feature = |verb: &str, more: &[&str]| {
        let begin = ["feature", verb, "email-engagement", "--tenant", "adventure"];
        server.geoseal(&[&begin[..], more].concat()).ok().trim().to_owned()
    };
    assert!(feature("enable", &["--consent", &terms]).starts_with("enabled since "));
    let off = feature("disable", &["--reason", "uninstalled"]);
    assert!(off.starts_with("disabled; 0 objects kept; TTL frozen at 2"), "{off}");
    let again = feature("disable", &["--reason", "uninstalled"]);
    assert_eq!(again, format!("{off}; no change"));
    let on = feature("enable", &["--consent", &terms]);
    assert!(on.ends_with("; 0 objects, 0 missing, the same list"), "{on}");

    let ended = ["tenant", "terminate", "adventure", "--reason", "contract-end", "--confirm", "adventure"];
    let line = server.geoseal(&ended).ok();
    let parts: Vec<_> = line.trim().split("; ").collect();
    assert!(parts[0].starts_with("adventure TERMINATED 2") && parts[0].ends_with('Z'), "{line}");
    assert_eq!(parts[1], "read-only");
    assert!(parts[2].starts_with("purge due 2") && parts[2].ends_with("Z (90 d)"), "{line}");
    assert_eq!(parts[3], "export: geoseal export --tenant adventure --out DIR --key-file FILE");
}
