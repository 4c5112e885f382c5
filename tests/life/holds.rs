//! D8, a legal hold: one administrator places it, another approves it, and from then on nothing that it covers is lost,
//! until two have released it.

use super::{blobs, tenant};
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
    assert_eq!(put(&server, &contoso, "2026/large.bin", &"7".repeat(200_000)).0, 200);

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
    let why = server.home().join("why");
    std::fs::write(&why, "letter of 8855's counsel\n").expect("our own file");
    let why = ["--reason-file", why.to_str().expect("UTF-8")];
    assert!(place("M-9", "prefix:letters/2026/", &why).ok().contains("M-9 pending_approval"));
    assert_eq!(place("M-9", "prefix:letters/2026/", &[]).code(), Some(4), "placed before, for a reason");
    assert!(place("M-10", "prefix:letters/2027/", &["--prospective"]).ok().contains("pending_approval"));
    assert!(place("M-11", "subject:contact:8855", &["--prospective"]).ok().contains("pending_approval"));
    let same = server.geoseal(&["hold", "approve", "M-9"]);
    assert!(same.code() == Some(5) && same.stderr().contains("SamePrincipal"), "{}", same.stderr());
    assert_eq!(put(&server, &contoso, "2026/b.json", "replaced while pending").0, 200);
    for id in ["M-9", "M-10", "M-11"] {
        assert!(deputy.run(&server, &["hold", "approve", id]).ok().contains(&format!("{id} in_force")));
    }

    // What it covers is not deleted, by any way in. It can be written over: the held version is kept where no client sees
    // it, whatever becomes of the name.
    assert_eq!(delete(&server, &contoso, "2026/a.json"), held());
    assert_eq!(get(&server, &contoso, "2026/a.json"), (200, b"as it was".to_vec()));
    assert_eq!(put(&server, &contoso, "2026/large.bin", "over it").0, 200);
    let copy = Request::new("PUT", &object_path("letters", "2026/large.bin"));
    let copy = copy.header("x-amz-copy-source", "/letters/2025/c.json");
    assert_eq!(call(&server, &contoso, copy).status, 200);
    assert_eq!(get(&server, &contoso, "2026/large.bin"), (200, b"as it was".to_vec()));
    assert_eq!(delete(&server, &contoso, "2026/large.bin").0, 204, "the new one came later, and is not held");
    assert_eq!(get(&server, &contoso, "2026/large.bin").0, 404);
    let listed = call(&server, &contoso, Request::new("GET", "/letters").query("list-type", "2")).text();
    assert!(listed.contains("2026/a.json") && !listed.contains("large.bin"), "{listed}");
    assert_eq!(blobs(&server), 1, "the bytes that are held");
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
    assert_eq!(shown["reason"], "letter of 8855's counsel", "{shown}");
    assert_eq!((&shown["state"], &shown["covered_objects"]), (&"in_force".into(), &3.into()), "{shown}");
    let shown = server.geoseal(&["hold", "show", "M-11", "--json"]).json();
    assert_eq!(shown["covered_objects"], 2, "{shown}");
    let listed = server.geoseal(&["hold", "list", "--tenant", "contoso"]).ok();
    assert!(["M-9", "M-10", "M-11", "contact:8855"].iter().all(|says| listed.contains(says)), "{listed}");
    // Of a tenant's holds the list says what each says of itself: how many objects, and which, by opaque ids.
    let listed = server.geoseal(&["hold", "list", "--tenant", "contoso", "--json"]).json();
    for hold in listed["holds"].as_array().expect("a list") {
        let shown = server.geoseal(&["hold", "show", hold["id"].as_str().expect("an id"), "--json"]).json();
        assert_eq!(*hold, shown);
        assert_eq!(hold["covered"].as_array().map_or(0, Vec::len) as u64, hold["covered_objects"].as_u64().unwrap());
        for at in hold["covered"].as_array().into_iter().flatten() {
            let is_id = |field: &str| at[field].as_str().is_some_and(|id| id.len() == 32);
            assert!(is_id("bucket") && is_id("object") && is_id("version") && at["region"] == "westeurope", "{hold}");
        }
    }
    let of_all = server.geoseal(&["hold", "list", "--json"]).json();
    assert!(of_all["holds"].as_array().is_some_and(|all| all.len() == 3), "{of_all}");
    assert!(of_all["holds"][0].get("covered_objects").is_none(), "of all tenants nothing is counted: {of_all}");
    assert!(server.geoseal(&["tenant", "show", "contoso"]).ok().contains("M-9"));

    // It outlives a kill, and its release needs two.
    server.kill();
    server.restart();
    assert_eq!(delete(&server, &contoso, "2026/a.json"), held());
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!(blobs(&server), 1, "no sweep takes what is held");
    assert!(server.geoseal(&["hold", "release", "M-9"]).ok().contains("M-9 release_asked"));
    assert_eq!(delete(&server, &contoso, "2026/a.json"), held(), "asked for is not released");
    assert_eq!(server.geoseal(&["hold", "release", "M-9"]).code(), Some(5), "the same twice");
    assert!(deputy.run(&server, &["hold", "release", "M-9"]).ok().contains("M-9 released"));
    assert_eq!(delete(&server, &contoso, "2026/a.json").0, 204);
    assert_eq!(delete(&server, &contoso, "2027/later.json"), held(), "other matters go on");
    // The sweep behind the release takes the version that was written over. Its blob goes once nobody can read it.
    server.geoseal(&["sweep", "run"]).ok();
    for _ in 0..100 {
        if blobs(&server) == 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        server.geoseal(&["sweep", "run"]).ok();
    }
    assert_eq!(blobs(&server), 0, "{}", server.log());
    assert_eq!(get(&server, &contoso, "2026/large.bin").0, 404, "nor does it come back");

    // The log knows the numbers and the principals, and nothing that the holds say.
    let log = server.geoseal(&["audit", "tail", "-n", "1000", "--json"]).ok();
    for event in ["hold-proposed", "hold-placed", "hold-release-proposed", "hold-released"] {
        assert!(log.contains(event), "{event}");
    }
    assert!(!log.contains("contact:8855") && !log.contains("Contoso v. F.") && !log.contains("letters/2026"));
    // Why it was placed lies under the tenant's keys, and the log has a salted hash.
    let tail: serde_json::Value = serde_json::from_str(&log).expect("JSON");
    let mut entries = tail["entries"].as_array().expect("entries").iter();
    let proposed = entries.find(|entry| entry["event"] == "hold-proposed" && entry["detail"]["reason"].is_string());
    let index = proposed.expect("the reason's hash")["index"].to_string();
    let shown = server.geoseal(&["audit", "show", &index, "--geo", "europe", "--json"]).json();
    assert_eq!(shown["reason"], "letter of 8855's counsel", "{shown}");
    assert!(!log.contains("8855's counsel"));
    assert!(!server.log().contains("8855") && !server.log().contains("Contoso v."), "nor has the server's own");
}

/// What the holders of the two administrators' tokens and of counsel's see of a tenant.
pub(super) fn legal_token(server: &mut Server) -> PathBuf {
    server.terminate();
    let token = server.home().join("legal.token");
    std::fs::write(&token, "c0un5e1c0un5e1a9b8c7d6e5f40123456789abcdef").expect("our own directory");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("our own file");
    let config = server.data().join("geoseal.toml");
    let text = std::fs::read_to_string(&config).expect("dev wrote it");
    let more = format!("two_person = false\nlegal_token_file = {token:?}");
    std::fs::write(&config, text.replace("two_person = false", &more)).expect("our own file");
    server.restart();
    token
}

fn state(server: &Server, tenant: &str) -> String {
    server.geoseal(&["tenant", "show", tenant, "--json"]).json()["state"].as_str().expect("a state").to_owned()
}

/// Sweeps until the tenant is in this state: the schedule, whom the clock woke, may have been at it.
fn swept_to(server: &Server, tenant: &str, wanted: &str) {
    for _ in 0..100 {
        server.geoseal(&["sweep", "run"]).ok();
        if state(server, tenant) == wanted {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{} and not {wanted}\n{}", state(server, tenant), server.log());
}

fn place(server: &Server, id: &str, scope: &str) {
    let arguments = ["hold", "place", id, "--tenant", "contoso", "--scope", scope, "--matter", "Contoso v. F."];
    assert!(server.geoseal(&arguments).ok().contains("in_force"), "one may act alone here");
}

/// P3, from T to the last certificate: at due what no hold keeps is destroyed and certified; what is held is there for
/// counsel alone, through a kill; each release lets the next sweep destroy what it alone kept.
#[test]
fn p3_at_due_what_is_not_held_goes_and_each_release_lets_the_rest_go() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    let contoso = tenant(&server, "contoso");
    let legal = legal_token(&mut server);
    let counsel = |server: &Server, arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.args(arguments).envs(server.env()).env("GEOSEAL_ADMIN_TOKEN_FILE", &legal).stdin(Stdio::null());
        Ran::of(&mut command)
    };
    for bucket in ["/letters", "/other"] {
        assert_eq!(call(&server, &contoso, Request::new("PUT", bucket)).status, 200);
    }
    let large = "7".repeat(200_000);
    for name in ["case/held-1", "case/held-2", "free-1", "free-2"] {
        assert_eq!(put(&server, &contoso, name, &large).0, 200);
    }
    let elsewhere = Request::new("PUT", &object_path("other", "free-3")).body("in another bucket");
    assert_eq!(call(&server, &contoso, elsewhere).status, 200);
    for (name, subject) in [("of-held", "contact:8855"), ("of-free", "contact:8856")] {
        assert_eq!(put_of(&server, &contoso, name, subject), 200);
    }
    assert_eq!(blobs(&server), 4);
    place(&server, "M-1", "prefix:letters/case/");
    place(&server, "M-2", "subject:contact:8855");

    // An erasure that a hold stands in the way of is put off, and says so.
    let subject = server.home().join("subject");
    std::fs::write(&subject, "contact:8855\n").expect("our own directory");
    let subject = subject.to_str().expect("UTF-8").to_owned();
    let who = ["--subject-file", &subject, "--basis", "art17"];
    let erase = [&["dsr", "erase", "--tenant", "contoso", "--confirm", "contoso"], &who[..]].concat();
    let refused = server.geoseal(&erase);
    assert!(refused.code() == Some(7) && refused.stderr().contains("M-2"), "{}", refused.stderr());
    assert!(server.geoseal(&["hold", "show", "M-2"]).ok().contains("DSR-"));
    assert_eq!(get(&server, &contoso, "of-held").0, 200, "and nothing of it is gone");

    let id = server.geoseal(&["tenant", "show", "contoso", "--json"]).json()["id"].as_str().expect("an id").to_owned();
    server.geoseal(&["tenant", "terminate", "contoso", "--reason", "contract-end", "--confirm", "contoso"]).ok();
    server.geoseal(&["dev", "clock", "advance", "91d"]).ok();
    swept_to(&server, "contoso", "PURGE_HELD");
    // Killed before, within or behind the partial destruction: the next sweep ends it.
    server.kill();
    server.restart();
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!(blobs(&server), 2, "the held ones");
    let certificate = server.geoseal(&["certificate", "get", &id]).json();
    let says = &certificate["certificate"];
    assert_eq!((&says["kind"], &says["holds"]), (&"partial".into(), &serde_json::json!(["M-1", "M-2"])), "{says}");
    assert_eq!((&says["deleted"]["objects"], &says["deleted"]["blobs"]), (&4.into(), &2.into()), "{says}");
    let left: u64 =
        says["listings"].as_array().expect("listings").iter().filter_map(|at| at["rows_left"].as_u64()).sum();
    assert_eq!(left, 3, "{says}");
    let file = server.home().join("cert.json");
    std::fs::write(&file, serde_json::to_string_pretty(&certificate).expect("JSON")).expect("our own directory");
    server.geoseal(&["certificate", "verify", file.to_str().expect("UTF-8")]).ok();
    assert!(server.geoseal(&["hold", "show", "M-1"]).ok().contains("tenant purge"));

    // Readable to counsel alone: no service, no administrator.
    assert_eq!(get(&server, &contoso, "case/held-1").0, 403);
    let out = |name: &str| server.home().join(name).to_str().expect("UTF-8").to_owned();
    let export = |to: &str, keys: &str| {
        ["export", "--tenant", "contoso", "--out", to, "--key-file", keys, "--confirm", "contoso"].map(str::to_owned)
    };
    let asked = export(&out("by-admin"), &out("admin.key"));
    let by_admin = server.geoseal(&asked.each_ref().map(String::as_str));
    assert!(by_admin.code() == Some(5) && by_admin.stderr().contains("TenantTerminated"), "{}", by_admin.stderr());
    let asked = export(&out("by-counsel"), &out("counsel.key"));
    let exported = counsel(&server, &asked.each_ref().map(String::as_str)).ok();
    assert!(exported.contains('3'), "{exported}");
    assert_eq!(counsel(&server, &["tenant", "list"]).code(), Some(5), "and counsel sees nothing else");

    // One of two is released: what it alone kept goes at the next sweep, the other stays.
    let released = counsel(&server, &["hold", "release", "M-1"]).ok();
    assert!(released.contains("M-1 released"), "{released}");
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!((blobs(&server), state(&server, "contoso").as_str()), (0, "PURGE_HELD"));
    let certificate = server.geoseal(&["certificate", "get", &id]).json();
    assert_eq!(certificate["certificate"]["holds"], serde_json::json!(["M-2"]), "{certificate}");
    // The last one: no new 90 days.
    let released = counsel(&server, &["hold", "release", "M-2"]).ok();
    assert!(released.contains("2 deferred acts resume") && released.contains("tenant purge"), "{released}");
    swept_to(&server, &id, "PURGED");
    let certificate = server.geoseal(&["certificate", "get", &id]).json();
    let says = &certificate["certificate"];
    assert_eq!((&says["kind"], &says["deleted"]["objects"]), (&"final".into(), &7.into()), "{says}");
    server.geoseal(&["audit", "verify"]).ok();
}

/// P3: what was put off is done by the first sweep after the release, and not before.
#[test]
fn p3_a_deferred_erasure_is_carried_out_by_the_first_sweep_after_the_release() {
    let server = Launch::default().flag("--simulated-clock").start();
    let contoso = tenant(&server, "contoso");
    assert_eq!(call(&server, &contoso, Request::new("PUT", "/letters")).status, 200);
    assert_eq!(put_of(&server, &contoso, "of-held", "contact:8855"), 200);
    assert_eq!(put_of(&server, &contoso, "of-free", "contact:8856"), 200);
    place(&server, "M-2", "object:letters/of-held");
    let subject = server.home().join("subject");
    std::fs::write(&subject, "contact:8855\n").expect("our own directory");
    let subject = subject.to_str().expect("UTF-8").to_owned();
    let who = ["--subject-file", &subject, "--basis", "art17"];
    let erase = [&["dsr", "erase", "--tenant", "contoso", "--confirm", "contoso"], &who[..]].concat();
    let rehearsed = server.geoseal(&[&erase[..], &["--dry-run"]].concat()).ok();
    assert!(rehearsed.contains("1 object under hold M-2 → deferred"), "{rehearsed}");
    assert_eq!(server.geoseal(&erase).code(), Some(7));
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!(get(&server, &contoso, "of-held").0, 200, "the hold wins");
    assert!(server.geoseal(&["hold", "release", "M-2"]).ok().contains("1 deferred act resumes: DSR-"));
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!(get(&server, &contoso, "of-held").0, 404, "{}", server.log());
    assert_eq!(get(&server, &contoso, "of-free").0, 200);
    let log = server.geoseal(&["audit", "tail", "-n", "1000", "--json"]).ok();
    for event in ["act-deferred", "act-resumed", "subject-erased"] {
        assert!(log.contains(event), "{event}");
    }
    assert!(!log.contains("8855"));
}
