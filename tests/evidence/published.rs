//! The story: an auditor has a client for transparency logs, and no tool of ours. It fetches the log over HTTPS, tile by
//! tile, builds the root from what it got, and finds the certificate of a destruction in it.

use super::{alone, file, log_key, purge, tenant, text};
use geoseal_support::clients::Ran;
use geoseal_support::server::{Launch, Server};
use geoseal_support::tools::tools;
use geoseal_support::wire::{Response, Wire, client_config};
use rustls::ALL_VERSIONS;
use std::fs;
use std::path::Path;
use std::process::Command;

fn get(server: &Server, path: &str, token: &str) -> Response {
    let mut wire = Wire::connect(server.admin(), client_config(&server.authority(), ALL_VERSIONS)).expect("it answers");
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    wire.send(head.as_bytes()).expect("it takes a request");
    wire.answer("GET").expect("it answers")
}

#[test]
fn d12_the_log_is_copied_over_https_by_a_generic_client_and_its_root_is_the_signed_one() {
    let server = Launch::default().flag("--simulated-clock").start();
    let id = tenant(&server, "contoso", None);
    let older = file(&server, "older.checkpoint");
    server.geoseal(&["audit", "checkpoint", "--geo", "europe", "--out", text(&older)]).ok();
    purge(&server, "contoso");
    // More than one tile: each of these is an entry.
    let mut wire = Wire::connect(server.admin(), client_config(&server.authority(), ALL_VERSIONS)).expect("it answers");
    for n in 0..250 {
        let body = r#"{"seconds":1}"#;
        let head = format!(
            "POST /admin/v1/clock/advance HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            server.admin_token(),
            body.len()
        );
        wire.send(head.as_bytes()).expect("it takes a request");
        assert_eq!(wire.answer("POST").expect("it answers").status, 200, "{n}");
    }
    let token = file(&server, "token");
    geoseal_support::keepers::secret(&token, &server.admin_token());
    let key = log_key(&server);
    let (base, log) = (format!("{}/audit/v1/europe", server.variable("GEOSEAL_ADMIN_URL")), file(&server, "copied"));
    let reader = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader").join(name);
    let python =
        |script: &Path, arguments: &[&str]| Ran::of(Command::new(tools().python()).arg(script).args(arguments));
    let ca = server.variable("GEOSEAL_CA").to_owned();
    let copied = python(&reader("audit_http.py"), &[&base, &ca, text(&token), text(&log)]).ok();
    let said = python(&reader("audit_log.py"), &[text(&log), &key, text(&older)]).ok();
    assert!(said.contains(copied.trim()), "{said} {copied}");
    alone(&["audit", "verify", "--log", text(&log), "--log-key", &key, "--checkpoint", text(&older)]).ok();

    // The certificate by its hash, and nothing by another.
    let year = &server.geoseal(&["clock", "show", "--json"]).json()["proven"].as_str().expect("a time")[..4].to_owned();
    let mut hash = None;
    for year in [year.clone(), (year.parse::<u32>().expect("a year") - 1).to_string()] {
        let all = server.geoseal(&["compliance", "population", "terminated", "--period", &year, "--json"]).json();
        let of = all["terminated"].as_array().expect("a list").iter().find(|one| one["tenant"] == id.as_str()).cloned();
        hash = hash.or(of.and_then(|one| one["certificate_sha256"].as_str().map(str::to_owned)));
    }
    let hash = hash.expect("it is certified");
    let admin = server.admin_token();
    let proof = get(&server, &format!("/audit/v1/europe/proof?certificate={hash}"), &admin);
    assert_eq!(proof.status, 200, "{}", proof.text());
    let proven = file(&server, "certificate.proof");
    fs::write(&proven, proof.text()).expect("the scratch directory is writable");
    let said = alone(&["audit", "verify", "--proof", text(&proven), "--log-key", &key]).ok();
    assert!(said.contains("valid: in the log") && said.contains(&hash), "{said}");
    for (path, status) in [
        ("checkpoint", 200),
        ("tile/0/000", 200),
        ("tile/0/000.p/5", 200),
        ("entries/000", 200),
        ("tile/0/0", 404),
        ("tile/0/000.p/256", 404),
        ("tile/8/000", 404),
        ("tile/0/999", 404),
        ("tile/entries/x001/000", 404),
        ("proof", 400),
        ("proof?certificate=abc", 400),
    ] {
        assert_eq!(get(&server, &format!("/audit/v1/europe/{path}"), &admin).status, status, "{path}");
    }
    let unknown = format!("/audit/v1/europe/proof?certificate={}", "ab".repeat(32));
    let refused = get(&server, &unknown, &admin);
    assert!(refused.status == 404 && refused.text().contains("NoCertificate"), "{}", refused.text());
    assert_eq!(get(&server, "/audit/v1/atlantis/checkpoint", &admin).status, 422);
    assert_eq!(get(&server, "/audit/v1/europe/checkpoint", "nobody").status, 401);
    let (bundle, same) = (get(&server, "/audit/v1/europe/tile/entries/000", &admin), "/audit/v1/europe/entries/000");
    assert_eq!(bundle.body, get(&server, same, &admin).body);
    assert!(!bundle.text().contains("contoso"), "ids, no names");
}
