//! The worked example: events of four mail providers go in through the S3 face, figures come out of it.

use geoseal_support::clients::{Ran, example, example_as};
use geoseal_support::fixtures;
use geoseal_support::server::{BUCKET, Server};
use geoseal_support::signer::{Request, object_path};
use geoseal_support::wire::Wire;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Providers, their golden file, and what storing it for the first time says.
const GOLDEN: [(&str, &str, &str); 5] = [
    ("ses", "ses.ndjson", r#"{"duplicate": 1, "malformed": 3, "silent": 2, "stored": 10}"#),
    ("sendgrid", "sendgrid.json", r#"{"duplicate": 1, "malformed": 0, "silent": 1, "stored": 11}"#),
    ("mailgun", "mailgun.ndjson", r#"{"malformed": 0, "silent": 1, "stored": 7}"#),
    ("postmark", "postmark.ndjson", r#"{"malformed": 0, "silent": 0, "stored": 6}"#),
    ("cloudevents", "cloudevents.ndjson", r#"{"duplicate": 1, "malformed": 1, "silent": 0, "stored": 5}"#),
];
const FIGURES: [&str; 3] = ["message.ndjson", "recipient.ndjson", "template.ndjson"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/email-interactions/golden").join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("our own path")
}

/// A job's login: for figures, an hour, these classes, this bucket.
struct Job(String, String);

impl Job {
    fn granted(server: &Server) -> Self {
        server.geoseal(&["bucket", "set", BUCKET, "--tenant", "demo", "--purpose", "kpi"]).ok();
        let asked = ["grant", "create", "--tenant", "demo", "--purpose", "kpi", "--bucket", BUCKET, "--json"];
        let made = server.geoseal(&[&asked[..], &["--class", "interaction", "--class", "kpi"]].concat()).json();
        let field = |name: &str| made[name].as_str().expect("a field").to_owned();
        Self(field("access_id"), field("secret"))
    }

    fn run(&self, server: &Server, arguments: &[&str]) -> Ran {
        let login = [("AWS_ACCESS_KEY_ID", self.0.as_str()), ("AWS_SECRET_ACCESS_KEY", &self.1)];
        let usual = ["--bucket", BUCKET, "--now", "2026-11-21T00:00:00+00:00"];
        example_as(server, &login, "kpi.py", &[&usual, arguments].concat())
    }

    fn figures(&self, server: &Server, until: &str) -> Ran {
        self.run(server, &["--from", "2026-11-03T00", "--until", until])
    }
}

/// Runs a command about somebody, who is named in a file.
fn about(server: &Server, who: &str, verb: &[&str], flag: &str, more: &[&str]) -> Ran {
    let file = server.home().join("who");
    fs::write(&file, who).expect("the scratch directory is writable");
    server.geoseal(&[verb, &["--tenant", "demo", flag, text(&file)], more].concat())
}

fn lines(bytes: &[u8]) -> Vec<Value> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(ring::digest::digest(&ring::digest::SHA256, bytes))
}

fn stored(server: &Server, name: &str) -> Vec<u8> {
    let got = Wire::to(server).call(server, Request::new("GET", &object_path(BUCKET, name)));
    assert_eq!(got.status, 200, "{name}: {}", got.text());
    got.body
}

#[test]
fn r25_r38_events_of_four_providers_and_the_figures_that_come_of_them() {
    let server = Server::start();
    for (provider, file, says) in GOLDEN {
        let file = golden(file);
        let quarantine = server.home().join(format!("{provider}.quarantine"));
        let arguments = ["--bucket", BUCKET, "--provider", provider, "--quarantine", text(&quarantine), text(&file)];
        assert_eq!(example(&server, "ingest.py", &arguments).ok().trim(), says, "{provider}");
        let quarantined = fs::read_to_string(&quarantine).expect("the quarantine").lines().count() as u64;
        let again = example(&server, "ingest.py", &arguments).json();
        assert_eq!(
            (&again["stored"], &again["malformed"]),
            (&Value::Null, &json!(quarantined)),
            "{provider}: duplicates"
        );
    }
    // What is no event stops nothing, and is told by name.
    let stray = "interactions/dt=2026-11-03/hr=11/stray.json";
    for body in ["{\"id\": 7", "{\"id\": \"i\", \"type\": \"something.else\"}"] {
        let put = Request::new("PUT", &object_path(BUCKET, &format!("{stray}.{}", body.len()))).body(body);
        let put = put.header("x-amz-meta-geoseal-class", "interaction");
        assert_eq!(Wire::to(&server).call(&server, put).status, 200);
    }
    // The store gives a job nothing of who opted out; nobody has to tell the job who that is.
    about(&server, "optedout@example.com", &["contact", "opt-out"], "--contact-file", &[]).ok();
    let job = Job::granted(&server);
    // Hours of one day, as they close: none takes the place of another, and the day is what all of them are together.
    let early = job.figures(&server, "2026-11-03T10").json();
    assert_eq!(early, json!({"events": 8, "events_excluded": 0, "inputs": 8, "quarantined": 0, "kept": []}));
    let missing = Wire::to(&server).call(&server, Request::new("GET", &object_path(BUCKET, "kpi/v1/watermark.json")));
    assert_eq!(missing.status, 404, "a day that is not over has no watermark");
    let counts = job.run(&server, &["--from", "2026-11-03T10", "--until", "2026-11-04T00"]).json();
    assert_eq!(counts, json!({"events": 36, "events_excluded": 3, "inputs": 36, "quarantined": 2, "kept": []}));
    let place = |file: &str| format!("kpi/v1/dt=2026-11-03/{file}");
    for file in FIGURES {
        let golden = fs::read(golden("kpi").join(file)).expect("a golden file");
        let found = stored(&server, &place(file));
        assert!(found == golden, "{file}:\n{}", String::from_utf8_lossy(&found));
        assert!(!String::from_utf8_lossy(&found).contains("optedout"), "{file}");
    }
    let manifest = stored(&server, &place("manifest.json"));
    // R38: what went in, what came out, and what made it.
    let told: Value = serde_json::from_slice(&manifest).expect("JSON");
    assert_eq!(told["window"], json!({"from": "2026-11-03T00Z", "until": "2026-11-04T00Z"}));
    assert_eq!(told["quarantined"].as_array().map(Vec::len), Some(2), "{told}");
    let inputs = told["inputs"].as_array().expect("a list");
    for input in [&inputs[0], &inputs[35]] {
        let name = input["name"].as_str().expect("a name");
        let found = Wire::to(&server).call(&server, Request::new("GET", &object_path(BUCKET, name)));
        assert_eq!(input["sha256"], json!(sha256(&found.body)), "{name}");
        assert_eq!(found.header("etag").map(|etag| etag.trim_matches('"')), input["etag"].as_str(), "{name}");
    }
    for file in FIGURES {
        assert_eq!(told["outputs"][place(file)], json!(sha256(&stored(&server, &place(file)))), "{file}");
    }
    for file in ["kpi.py", "figures.py", "kpi.sql"] {
        let code = fs::read(golden("..").join(file)).expect("the example");
        assert_eq!(told["code"][file], json!(sha256(&code)), "{file}");
    }
    let watermark = || stored(&server, "kpi/v1/watermark.json");
    assert_eq!(watermark(), br#"{"through":"2026-11-04T00Z"}"#);
    // The same inputs, the same bytes; also when less of the day is asked for.
    for until in ["2026-11-04T00", "2026-11-03T12"] {
        job.figures(&server, until).ok();
        assert!(stored(&server, &place("manifest.json")) == manifest, "{until}");
        assert_eq!(watermark(), br#"{"through":"2026-11-04T00Z"}"#);
    }
    // Windows meet, and providers deliver late: nothing is left out, and nothing counted that may still grow.
    let gap = ["--from", "2026-11-05T00", "--until", "2026-11-06T00"];
    assert!(job.run(&server, &gap).refused().contains("stands at 2026-11-04T00Z"));
    assert!(job.figures(&server, "2026-11-20T00").refused().contains("still open"));
    assert_eq!(job.run(&server, &["--recompute"]).json(), json!({"recomputed": [], "kept": []}));

    // R42: what was counted of somebody is theirs, and is in their copy: their own row and nobody else's.
    let ada = "contact:ada@example.com";
    let asked =
        about(&server, ada, &["dsr", "open"], "--subject-file", &["--kind", "access", "--basis", "a15", "--json"]);
    let (id, out) = (asked.json()["id"].as_str().expect("an id").to_owned(), server.home().join("ada.zip"));
    server.geoseal(&["dsr", "export", &id, "--tenant", "demo", "--out", text(&out)]).ok();
    let bundle = fs::read(&out).expect("the copy");
    let holds = |needle: &str| bundle.windows(needle.len()).any(|window| window == needle.as_bytes());
    let rows = lines(&fs::read(golden("kpi/recipient.ndjson")).expect("a golden file"));
    let engagement = |of: &str| {
        let row = rows.iter().find(|row| row["geosealsubject"] == of).expect("a row");
        format!("\"engagement\":{}", row["engagement"])
    };
    assert!(
        holds(&place("recipient.ndjson")) && holds(&engagement(ada)) && !holds(&engagement("contact:alan@example.com"))
    );

    // R44: a contact who wants to be forgotten is out of the recipients' figures at once, byte for byte the rest is as it
    // was; and out of everything that was counted when the window is computed again, without being told which.
    let was = stored(&server, &place("recipient.ndjson"));
    about(&server, ada, &["dsr", "erase"], "--subject-file", &["--confirm", "demo", "--basis", "art17"]).ok();
    let left: Vec<_> =
        was.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.windows(4).any(|w| w == b"ada@")).collect();
    assert!(stored(&server, &place("recipient.ndjson")) == left.concat());
    let of_message = stored(&server, &place("message.ndjson"));
    let window = json!({"from": "2026-11-03T00Z", "until": "2026-11-04T00Z"});
    assert_eq!(job.run(&server, &["--recompute"]).json(), json!({"recomputed": [window], "kept": []}));
    assert!(stored(&server, &place("message.ndjson")) != of_message, "her opens are in no count");
    let again = stored(&server, &place("manifest.json"));
    assert_eq!(job.figures(&server, "2026-11-04T00").json()["events"], 30);
    assert!(stored(&server, &place("manifest.json")) == again, "as if she had never been there");
    for file in FIGURES {
        assert!(!String::from_utf8_lossy(&stored(&server, &place(file))).contains("ada@"), "{file}");
    }
    // Who opts out later is in no figure from the next computation on: the job is told by what it is refused.
    about(&server, "alan@example.com", &["contact", "opt-out"], "--contact-file", &[]).ok();
    assert_eq!(job.run(&server, &["--recompute"]).json(), json!({"recomputed": [window], "kept": []}));
    for file in FIGURES {
        assert!(!String::from_utf8_lossy(&stored(&server, &place(file))).contains("alan@"), "{file}");
    }
    // What comes later than the lateness is found, and counted with its day.
    let late = server.home().join("late.ndjson");
    let crm = fs::read_to_string(golden("cloudevents.ndjson")).expect("a golden file");
    let again = crm.lines().next().expect("a line").replace("crm-1", "crm-late").replace("offer-7", "offer-8");
    fs::write(&late, again).expect("the scratch directory is writable");
    let ingest = ["--bucket", BUCKET, "--provider", "cloudevents", text(&late)];
    assert_eq!(example(&server, "ingest.py", &ingest).json()["stored"], 1);
    assert_eq!(job.run(&server, &["--recompute"]).json(), json!({"recomputed": [window], "kept": []}));
    assert!(String::from_utf8_lossy(&stored(&server, &place("message.ndjson"))).contains("crm-offer-8"));
    assert_eq!(job.run(&server, &["--recompute"]).json(), json!({"recomputed": [], "kept": []}));
    // Where the inputs are gone by themselves what was counted stays, and that is told.
    about(
        &server,
        "contact:barbara@example.com",
        &["dsr", "erase"],
        "--subject-file",
        &["--confirm", "demo", "--basis", "b"],
    )
    .ok();
    let listed =
        Wire::to(&server).call(&server, Request::new("GET", &format!("/{BUCKET}")).query("prefix", "interactions/"));
    let listed = listed.text();
    let names = listed.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
    for name in names {
        Wire::to(&server).call(&server, Request::new("DELETE", &object_path(BUCKET, name)));
    }
    let figures = stored(&server, &place("message.ndjson"));
    assert_eq!(job.run(&server, &["--recompute"]).json(), json!({"recomputed": [], "kept": [window]}));
    assert_eq!(job.figures(&server, "2026-11-04T00").json()["kept"], json!(["2026-11-03T00Z"]));
    assert!(stored(&server, &place("message.ndjson")) == figures, "no figure is lost with what it was made of");
}

#[test]
fn r25_the_adapters_and_signatures_by_themselves() {
    let fixtures = fixtures::ses_directory();
    assert_eq!(example(Server::shared(), "test_adapters.py", &[text(&fixtures)]).ok().matches("ok ").count(), 7);
}

#[test]
fn r25_c3_the_figures_by_themselves_as_counted_by_hand() {
    assert_eq!(example::<&str>(Server::shared(), "test_figures.py", &[]).ok().matches("ok ").count(), 6);
}
