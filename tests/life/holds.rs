//! D8, a legal hold: one administrator places it, another approves it, and from then on nothing that it covers is deleted
//! or replaced, until two have released it.

use super::tenant;
use geoseal_support::clients::Ran;
use geoseal_support::server::{Launch, Server, binary};
use geoseal_support::signer::{Body, Credentials, Request, object_path};
use geoseal_support::wire::{Response, Wire};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A second administrator of a server.
pub(super) struct Deputy(PathBuf);

impl Deputy {
    /// Makes a `dev` server demand two persons, and names the second.
    pub(super) fn demanded_by(server: &mut Server) -> Self {
        server.terminate();
        let token = server.home().join("deputy.token");
        std::fs::write(&token, "0f1e2d3c4b5a69788796a5b4c3d2e1f00123456789abcdef").expect("our own directory");
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("our own file");
        let config = server.data().join("geoseal.toml");
        let text = std::fs::read_to_string(&config).expect("dev wrote it");
        assert!(text.contains("two_person = false"), "{text}");
        let more = format!("two_person = true\nmore_token_files = {{ deputy = {token:?} }}");
        std::fs::write(&config, text.replace("two_person = false", &more)).expect("our own file");
        server.restart();
        Self(token)
    }

    pub(super) fn run(&self, server: &Server, arguments: &[&str]) -> Ran {
        let mut command = Command::new(binary());
        command.args(arguments).envs(server.env()).env("GEOSEAL_ADMIN_TOKEN_FILE", &self.0).stdin(Stdio::null());
        Ran::of(&mut command)
    }
}

fn call(server: &Server, who: &Credentials, request: Request) -> Response {
    let mut wire = Wire::to(server);
    let host = wire.host().to_owned();
    wire.exchange(&request.signed(who, &host, Body::Hashed)).expect("the server answers")
}

fn put(server: &Server, who: &Credentials, name: &str, body: &str) -> (u16, String) {
    coded(&call(server, who, Request::new("PUT", &object_path("letters", name)).body(body)))
}

fn put_of(server: &Server, who: &Credentials, name: &str, subject: &str) -> u16 {
    let request = Request::new("PUT", &object_path("letters", name)).header("x-amz-meta-geoseal-subject", subject);
    call(server, who, request.body("about somebody")).status
}

fn delete(server: &Server, who: &Credentials, name: &str) -> (u16, String) {
    coded(&call(server, who, Request::new("DELETE", &object_path("letters", name))))
}

fn get(server: &Server, who: &Credentials, name: &str) -> (u16, Vec<u8>) {
    let got = call(server, who, Request::new("GET", &object_path("letters", name)));
    (got.status, got.body)
}

/// Status and S3 code.
fn coded(answer: &Response) -> (u16, String) {
    let text = answer.text();
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map_or("", |(code, _)| code);
    (answer.status, code.to_owned())
}

fn held() -> (u16, String) {
    (403, "LegalHold".into())
}

/// D8 and P3, from the first word to the last: who may agree, what is kept, what is not, and that it ends.
#[test]
fn d8_two_administrators_place_a_hold_and_two_release_it() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let contoso = tenant(&server, "contoso");
    let deputy = Deputy::demanded_by(&mut server);
    assert_eq!(call(&server, &contoso, Request::new("PUT", "/letters")).status, 200);
    for name in ["2026/a.json", "2026/b.json", "2025/c.json", "d.json"] {
        assert_eq!(put(&server, &contoso, name, "as it was").0, 200);
    }
    assert_eq!(put_of(&server, &contoso, "of-8855.json", "contact:8855"), 200);

    // A scope that covers nothing is a typing error, unless it speaks of what is to come.
    let place = |id: &str, scope: &str, more: &[&str]| {
        let arguments = ["hold", "place", id, "--tenant", "contoso", "--scope", scope, "--matter", "Contoso v. F."];
        server.geoseal(&[&arguments, more].concat())
    };
    let nothing = place("M-1", "prefix:letters/2027/", &[]);
    assert!(nothing.code() == Some(2) && nothing.stderr().contains("UnknownScope"), "{}", nothing.stderr());
    assert_eq!(place("M-1", "letters", &[]).code(), Some(2), "not a scope");
    assert!(place("M-9", "prefix:letters/2026/", &["--dry-run"]).ok().contains("objects"), "a rehearsal counts");
    assert!(server.geoseal(&["hold", "show", "M-9"]).code() == Some(3), "and places nothing");

    // Placed, and pending: it keeps nothing yet, and who placed it cannot approve it.
    assert!(place("M-9", "prefix:letters/2026/", &[]).ok().contains("M-9 pending_approval"));
    assert!(place("M-10", "prefix:letters/2027/", &["--prospective"]).ok().contains("pending_approval"));
    assert!(place("M-11", "subject:contact:8855", &["--prospective"]).ok().contains("pending_approval"));
    let same = server.geoseal(&["hold", "approve", "M-9"]);
    assert!(same.code() == Some(5) && same.stderr().contains("SamePrincipal"), "{}", same.stderr());
    assert_eq!(put(&server, &contoso, "2026/b.json", "replaced while pending").0, 200);
    for id in ["M-9", "M-10", "M-11"] {
        assert!(deputy.run(&server, &["hold", "approve", id]).ok().contains(&format!("{id} in_force")));
    }

    // What it covers can be neither deleted nor replaced, by any way in; the rest can.
    assert_eq!(delete(&server, &contoso, "2026/a.json"), held());
    assert_eq!(put(&server, &contoso, "2026/a.json", "forged"), held());
    let copy = Request::new("PUT", &object_path("letters", "2026/a.json"));
    let copy = copy.header("x-amz-copy-source", "/letters/2025/c.json");
    assert_eq!(coded(&call(&server, &contoso, copy)), held());
    assert_eq!(get(&server, &contoso, "2026/a.json"), (200, b"as it was".to_vec()));
    assert_eq!(put(&server, &contoso, "2025/c.json", "new").0, 200);
    // Each item of a batch has its own answer.
    let batch = "<Delete><Object><Key>2026/b.json</Key></Object><Object><Key>d.json</Key></Object></Delete>";
    let many = Request::new("POST", "/letters").query("delete", "").body(batch);
    let digest = ring::digest::digest(&ring::digest::SHA256, batch.as_bytes());
    let digest = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
    let many = call(&server, &contoso, many.header("x-amz-checksum-sha256", &digest));
    let told = many.text();
    assert!(many.status == 200 && told.contains("<Code>LegalHold</Code>") && told.contains("2026/b.json"), "{told}");
    assert!(told.contains("<Deleted><Key>d.json</Key>") && get(&server, &contoso, "d.json").0 == 404, "{told}");
    assert_eq!(get(&server, &contoso, "2026/b.json").0, 200);

    // Not prospective: what came later is not kept. Prospective: it is.
    assert_eq!(put(&server, &contoso, "2026/later.json", "x").0, 200);
    assert_eq!(delete(&server, &contoso, "2026/later.json").0, 204);
    assert_eq!(put(&server, &contoso, "2027/later.json", "x").0, 200);
    assert_eq!(delete(&server, &contoso, "2027/later.json"), held());
    assert_eq!(put_of(&server, &contoso, "of-8855-later.json", "contact:8855"), 200);
    assert_eq!(put_of(&server, &contoso, "of-4712.json", "contact:4712"), 200);
    assert_eq!(delete(&server, &contoso, "of-8855.json"), held());
    assert_eq!(delete(&server, &contoso, "of-8855-later.json"), held());
    assert_eq!(delete(&server, &contoso, "of-4712.json").0, 204);

    let shown = server.geoseal(&["hold", "show", "M-9", "--json"]).json();
    assert_eq!((&shown["state"], &shown["covered_objects"]), (&"in_force".into(), &2.into()), "{shown}");
    let shown = server.geoseal(&["hold", "show", "M-11", "--json"]).json();
    assert_eq!(shown["covered_objects"], 2, "{shown}");
    let listed = server.geoseal(&["hold", "list", "--tenant", "contoso"]).ok();
    assert!(["M-9", "M-10", "M-11", "contact:8855"].iter().all(|says| listed.contains(says)), "{listed}");
    assert!(server.geoseal(&["tenant", "show", "contoso"]).ok().contains("M-9"));

    // It outlives a kill, and its release needs two.
    server.kill();
    server.restart();
    assert_eq!(delete(&server, &contoso, "2026/a.json"), held());
    assert!(server.geoseal(&["hold", "release", "M-9"]).ok().contains("M-9 release_asked"));
    assert_eq!(delete(&server, &contoso, "2026/a.json"), held(), "asked for is not released");
    assert_eq!(server.geoseal(&["hold", "release", "M-9"]).code(), Some(5), "the same twice");
    assert!(deputy.run(&server, &["hold", "release", "M-9"]).ok().contains("M-9 released"));
    assert_eq!(delete(&server, &contoso, "2026/a.json").0, 204);
    assert_eq!(delete(&server, &contoso, "2027/later.json"), held(), "other matters go on");

    // The log knows the numbers and the principals, and nothing that the holds say.
    let log = server.geoseal(&["audit", "tail", "-n", "1000", "--json"]).ok();
    for event in ["hold-proposed", "hold-placed", "hold-release-proposed", "hold-released"] {
        assert!(log.contains(event), "{event}");
    }
    assert!(!log.contains("contact:8855") && !log.contains("Contoso v. F.") && !log.contains("letters/2026"));
    assert!(!server.log().contains("8855") && !server.log().contains("Contoso v."), "nor has the server's own");
}
