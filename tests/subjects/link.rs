//! D5, the one-time link: whoever asked gets an address and no login. It gives one copy, for seven days, and is written nowhere.

use super::requests::{OPEN_BUNDLE, body, dsr, open, put, wait_until};
use crate::life::{state, tenant};
use crate::sealed::needles::Needles;
use geoseal_support::clients::python;
use geoseal_support::server::{Launch, Server};
use geoseal_support::signer::{Body, Request, object_path};
use geoseal_support::wire::Wire;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const ADA: &str = "contact:ada-8h2s";
const BOB: &str = "contact:bob-0j5w";

/// Asks for what stands in a file as a browser would: `METHOD FILE OUT`, or `cut FILE` to hang up after a first piece.
const FETCH: &str = r#"
import http.client, json, os, socket, ssl, sys, urllib.parse
verb, link = sys.argv[1], open(sys.argv[2]).read().strip()
url, now = urllib.parse.urlsplit(link), urllib.parse.urlsplit(os.environ["GEOSEAL_ADMIN_URL"])
plain = socket.socket()
plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
plain.connect((now.hostname, now.port))
client = http.client.HTTPSConnection(now.hostname, now.port)
client.sock = ssl.create_default_context(cafile=os.environ["GEOSEAL_CA"]).wrap_socket(plain, server_hostname=now.hostname)
client.request("GET" if verb == "cut" else verb, url.path)
answer = client.getresponse()
if verb == "cut":
    got = answer.read(4096)
    client.sock.close()
else:
    got = answer.read()
    if answer.status == 200:
        open(sys.argv[3], "wb").write(got)
said = got.decode() if answer.status != 200 and got else ""
print(json.dumps({"status": answer.status, "headers": {k.lower(): v for k, v in answer.getheaders()}, "said": said}))
"#;

/// A file that holds a link.
struct Link<'a>(&'a Server, String);

impl<'a> Link<'a> {
    fn of(server: &'a Server, tenant: &str, dsr: &str, name: &str) -> Self {
        let file = server.home().join(name).to_str().expect("UTF-8").to_owned();
        let made = server.geoseal(&["dsr", "link", dsr, "--tenant", tenant, "--out", &file]).ok();
        let link = Self(server, file);
        assert!(made.contains(dsr) && !made.contains(&link.token()), "{made}");
        link
    }

    fn token(&self) -> String {
        let text = fs::read_to_string(&self.1).expect("the link");
        text.trim().rsplit('/').next().expect("a token").to_owned()
    }

    fn with_token(&self, token: &str) -> Self {
        let other = format!("{}-other", self.1);
        fs::write(&other, format!("https://localhost/bundles/{token}\n")).expect("a scratch file");
        Self(self.0, other)
    }

    fn asked(&self, verb: &str) -> Value {
        python(self.0, FETCH, &[verb, &self.1, &format!("{}.zip", self.1)]).json()
    }

    fn status(&self) -> u64 {
        self.asked("GET")["status"].as_u64().expect("a status")
    }

    /// What the archive has that was fetched.
    fn opened(&self) -> Value {
        python(self.0, OPEN_BUNDLE, &[&format!("{}.zip", self.1)]).json()
    }
}

fn advance(server: &Server, time: &str) {
    server.geoseal(&["dev", "--dir", server.data().to_str().expect("UTF-8"), "clock", "advance", time]).ok();
}

fn told(server: &Server, event: &str) -> usize {
    let log = server.geoseal(&["audit", "tail", "-n", "1000", "--json"]).json();
    log["entries"].as_array().expect("entries").iter().filter(|entry| entry["event"] == event).count()
}

#[test]
fn d5_a_link_gives_one_copy_within_seven_days_and_is_written_nowhere() {
    let mut server = Launch::default().flag("--simulated-clock").start();
    for (name, len) in [("ada/small", 200), ("ada/large", 3_000_000)] {
        assert_eq!(put(&server, name, ADA, &body(name, len)).status, 200);
    }
    assert_eq!(put(&server, "bob/small", BOB, &body("bob/small", 300)).status, 200);
    let mut tokens = Vec::new();

    // Only of a request for access; and a rehearsal makes none.
    let erase = open(&server, BOB, "erase", &[]);
    assert_eq!(dsr(&server, &["link", &erase]).code(), Some(2));
    let id = open(&server, ADA, "access", &[]);
    assert!(dsr(&server, &["link", &id, "--dry-run"]).json()["plan_id"].is_string());
    assert_eq!((told(&server, "dsr-link-made"), dsr(&server, &["show", &id]).json().get("link")), (0, None));
    let shown = dsr(&server, &["link", &id]).json();
    let url = shown["url"].as_str().expect("an address").to_owned();
    assert!(url.starts_with(server.variable("GEOSEAL_ADMIN_URL")) && url.contains("/bundles/"), "{url}");
    tokens.push(url.rsplit('/').next().expect("a token").to_owned());

    // Another takes its place. It is a secret, and lies in a file of its owner's.
    let link = Link::of(&server, "demo", &id, "link");
    tokens.push(link.token());
    assert_eq!(fs::metadata(&link.1).expect("the file").permissions().mode() & 0o777, 0o600);
    let void = link.with_token(&tokens[0]).asked("GET");
    assert_eq!(void["status"], 404, "{void}");

    // Who does not know it learns nothing: not whether there is such a tenant, such a request or such a link.
    let token = link.token();
    let mut wrong = vec!["00".to_owned(), "x".repeat(112), "0".repeat(112), format!("{token}00")];
    for at in [0, 47, 48, 111] {
        let other = if token.as_bytes()[at] == b'0' { "1" } else { "0" };
        wrong.push(format!("{}{other}{}", &token[..at], &token[at + 1..]));
    }
    for wrong in wrong {
        let refused = link.with_token(&wrong).asked("GET");
        assert_eq!((&refused["status"], &refused["said"]), (&404.into(), &void["said"]), "{wrong}");
    }
    assert_eq!(link.asked("HEAD")["status"], 405, "to look at it takes nothing from it");

    // A power cut, and a download that breaks off: it is still good, once.
    drop(link);
    server.kill();
    let settings = server.data().join("geoseal.toml");
    let others =
        "\n[[compliance.subprocessors]]\nname = \"Rack GmbH\"\npurpose = \"housing\"\nlocation = \"Frankfurt\"\n";
    fs::write(&settings, fs::read_to_string(&settings).expect("dev wrote it") + others).expect("our own file");
    server.restart();
    let link = Link(&server, server.home().join("link").to_str().expect("UTF-8").to_owned());
    assert_eq!(link.asked("cut")["status"], 200);
    let shown = dsr(&server, &["show", &id]).json();
    assert_eq!((&shown["link"]["downloads_begun"], shown["link"].get("spent_at")), (&1.into(), None), "{shown}");
    let fetched = link.asked("GET");
    let header = |name: &str| fetched["headers"][name].as_str().unwrap_or_default().to_owned();
    assert_eq!((&fetched["status"], header("content-type")), (&200.into(), "application/zip".into()), "{fetched}");
    assert_eq!(header("content-disposition"), format!("attachment; filename=\"{id}.zip\""));
    assert_eq!((header("cache-control"), header("referrer-policy")), ("no-store".into(), "no-referrer".into()));
    let opened = link.opened();
    assert_eq!((&opened["manifest"]["objects"], opened["bodies"].as_object().map(|b| b.len())), (&2.into(), Some(2)));
    assert_eq!(opened["manifest"]["subject"], ADA);
    let others = serde_json::json!([{ "name": "Rack GmbH", "purpose": "housing", "location": "Frankfurt" }]);
    assert_eq!(opened["manifest"]["recipients"], others, "who else may see it");
    let over = link.asked("GET");
    assert!(over["status"] == 410 && over["said"].as_str().is_some_and(|said| said.contains("LinkOver")), "{over}");
    let shown = dsr(&server, &["show", &id]).json();
    assert!(shown["state"] == "done" && shown["link"]["spent_at"].is_string(), "{shown}");
    assert_eq!((told(&server, "dsr-link-made"), told(&server, "dsr-link-spent")), (2, 1));
    drop(link);
    server.kill();
    server.restart();
    let link = Link(&server, server.home().join("link").to_str().expect("UTF-8").to_owned());
    assert_eq!(link.status(), 410, "also after a power cut");

    // Downloads that break off are counted, too.
    let often = Link::of(&server, "demo", &id, "often");
    tokens.push(often.token());
    for _ in 0..5 {
        assert_eq!(often.asked("cut")["status"], 200);
    }
    assert_eq!(often.status(), 410);

    // Seven days, and no moment more; it is counted from the making.
    let of_bob = open(&server, BOB, "access", &[]);
    let in_time = Link::of(&server, "demo", &of_bob, "in-time");
    advance(&server, "167h");
    assert_eq!((in_time.status(), in_time.opened()["manifest"]["subject"].as_str()), (200, Some(BOB)));
    let late = Link::of(&server, "demo", &of_bob, "late");
    advance(&server, "7d");
    assert_eq!(late.status(), 410);
    tokens.extend([in_time.token(), late.token()]);

    // A terminated tenant's people have their rights until its end, and it takes their links along.
    let contoso = tenant(&server, "contoso");
    let send = |request: Request| {
        let mut wire = Wire::to(&server);
        let host = wire.host().to_owned();
        wire.exchange(&request.signed(&contoso, &host, Body::Hashed)).expect("the server answers").status
    };
    assert_eq!(send(Request::new("PUT", "/letters")), 200);
    let letter =
        Request::new("PUT", &object_path("letters", "a")).header("x-amz-meta-geoseal-subject", ADA).body("hers");
    assert_eq!(send(letter), 200);
    let file = super::subject_file(&server, ADA);
    let file = file.to_str().expect("UTF-8");
    let open = ["dsr", "open", "--tenant", "contoso", "--subject-file", file, "--kind", "access", "--basis", "art15"];
    assert!(server.geoseal(&open).ok().starts_with("DSR-1 due "));
    server.geoseal(&["tenant", "terminate", "contoso", "--reason", "contract-end", "--confirm", "contoso"]).ok();
    let served = Link::of(&server, "contoso", "DSR-1", "served");
    assert_eq!(served.status(), 200);
    advance(&server, "89d");
    let last = Link::of(&server, "contoso", "DSR-1", "last");
    let contoso =
        server.geoseal(&["tenant", "show", "contoso", "--json"]).json()["id"].as_str().expect("an id").to_owned();
    advance(&server, "25h");
    wait_until("it is destroyed", || {
        server.geoseal(&["sweep", "run"]).ok();
        state(&server, &contoso) == "PURGED"
    });
    let gone = last.asked("GET");
    assert_eq!((&gone["status"], &gone["said"]), (&404.into(), &void["said"]), "nothing is known of it");
    tokens.extend([served.token(), last.token()]);

    // It is in no log, no row and no other file of the server's.
    let log = server.geoseal(&["audit", "tail", "-n", "1000", "--json"]).ok();
    let mut needles = Needles::default();
    for (n, token) in tokens.iter().enumerate() {
        assert_eq!(token.len(), 112, "{token}");
        needles.add(&format!("token {n}"), &hex::decode(&token[48..]).expect("hexadecimal"));
    }
    let (found, read) = needles.found_under(server.data());
    assert!(found.is_empty() && read > 20, "{found:?}");
    assert_eq!(needles.found_in(&[server.log(), log].concat().into_bytes()), Vec::<&str>::new());
    assert!(!server.log().contains("/bundles/"), "no path is logged");
    server.geoseal(&["audit", "verify"]).ok();
}
