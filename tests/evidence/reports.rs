//! The story: an auditor comes, with a credential that only looks. He asks who left, what is done against what, where bytes
//! are and which keys there are; he gets ids, times and counts, and never a name. What is missing or stale is in the answer.

use super::{alone, file, log_key, python, settings, tenant, text};
use geoseal_support::clients::Ran;
use geoseal_support::daemon::Daemon;
use geoseal_support::keepers::secret;
use geoseal_support::server::{Launch, Server, binary};
use geoseal_support::signer::{Body, Credentials, Request, object_path};
use geoseal_support::wire::{Wire, client_config};
use rustls::ALL_VERSIONS;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

const AUDITOR: &str = "auditor-2f1c5e7d9b8a46035d7e9f1c3b5a7d90";
/// In every name that a person chose: of the tenant, its contact, its bucket, its object, a data subject.
const CANARY: &str = "kanarienvogel";

/// One server for all of these: tenants that left, tenants that stay, a sweep every day of four months.
static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let mut server = Launch::default().flag("--simulated-clock").start();
    secret(&file(&server, "auditor-token"), AUDITOR);
    let token = text(&file(&server, "auditor-token")).to_owned();
    settings(&mut server, |toml| {
        toml.replacen("[admin]\n", &format!("[admin]\nauditor_token_file = \"{token}\"\n"), 1)
    });
    server
});

fn as_auditor(server: &Server, arguments: &[&str]) -> Ran {
    let mut command = Command::new(binary());
    command.env_clear().args(arguments);
    command
        .env("GEOSEAL_ADMIN_URL", server.variable("GEOSEAL_ADMIN_URL"))
        .env("GEOSEAL_CA", server.variable("GEOSEAL_CA"));
    Ran::of(command.env("GEOSEAL_ADMIN_TOKEN_FILE", file(server, "auditor-token")))
}

/// The entry's line in an exported log, found without any tool of ours: bundles of 256, each line behind two bytes of length.
fn exported(log: &Path, index: u64) -> Value {
    let bundles = log.join("tile/entries");
    let number = format!("{:03}", index / 256);
    let whole = bundles.join(&number);
    let partial = || fs::read_dir(bundles.join(format!("{number}.p"))).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(if whole.is_file() { whole } else { partial() }).unwrap();
    let (mut rest, mut at) = (&bytes[..], index / 256 * 256);
    loop {
        let (line, more) = rest[2..].split_at(usize::from(u16::from_be_bytes([rest[0], rest[1]])));
        if at == index {
            return serde_json::from_slice(line).expect("an entry is JSON");
        }
        (rest, at) = (more, at + 1);
    }
}

fn seconds(of: &Value) -> i64 {
    let text = of.as_str().expect("a time is text");
    assert!(text.ends_with('Z'), "{text}");
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().expect("digits");
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    // Days from civil, after Howard Hinnant: the test has its own calendar.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    days * 86_400 + number(11..13) * 3600 + number(14..16) * 60 + number(17..19)
}

#[test]
fn d12_p11_an_auditor_walks_from_the_population_to_the_log_with_files_alone() {
    let server = &*SERVER;
    let ids = ["walk-a", "walk-b", "walk-c"].map(|name| tenant(server, name, Some("dpo@example.org")));
    for name in ["walk-a", "walk-b"] {
        server.geoseal(&["tenant", "terminate", name, "--reason", "contract-end", "--confirm", name]).ok();
    }
    let year = server.geoseal(&["clock", "show", "--json"]).json()["proven"].as_str().unwrap()[..4].to_owned();
    let kept = file(server, "walk.checkpoint");
    as_auditor(server, &["audit", "checkpoint", "--geo", "europe", "--out", text(&kept)]).ok();
    server.geoseal(&["dev", "clock", "advance", "91d"]).ok();
    server.geoseal(&["sweep", "run"]).ok();
    server.geoseal(&["tenant", "terminate", "walk-c", "--reason", "contract-end", "--confirm", "walk-c"]).ok();

    // What he takes away, with his own credential: four files.
    let population =
        as_auditor(server, &["compliance", "population", "terminated", "--period", &year, "--json"]).json();
    let next = (year.parse::<u32>().unwrap() + 1).to_string();
    let later = as_auditor(server, &["compliance", "population", "terminated", "--period", &next, "--json"]).json();
    let all: Vec<Value> =
        [&population, &later].iter().flat_map(|p| p["terminated"].as_array().unwrap().clone()).collect();
    let of = |id: &str| all.iter().find(|one| one["tenant"] == id).expect("it is in the population").clone();
    let sample = of(&ids[0]);
    let (cert, log) = (file(server, "walk.json"), file(server, "walk-log"));
    let got = as_auditor(server, &["certificate", "get", &ids[0], "--since-checkpoint", text(&kept)]).ok();
    fs::write(&cert, &got).unwrap();
    let period = ["--from", sample["terminated_at"].as_str().unwrap(), "--to", sample["due_at"].as_str().unwrap()];
    let export = ["audit", "export", "--geo", "europe", "--out", text(&log)];
    as_auditor(server, &[&export[..], &period].concat()).ok();
    let key = log_key(server);

    // The period begins with what happened at its first moment and ends before its last; the log is whole all the same.
    let listed = fs::read_to_string(log.join("period.ndjson")).unwrap();
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).expect("an entry is JSON")).collect();
    let of_period = |entry: &Value| listed.iter().any(|listed| listed["index"] == *entry);
    assert!(of_period(&sample["terminated_entry"]) && !of_period(&sample["purged_entry"]), "{listed:?}");
    let backwards = [&export[..4], &["--out", "x", "--from", "2027-01-01", "--to", "2026-01-01"]].concat();
    assert_eq!(as_auditor(server, &backwards).code(), Some(2));

    // T → due → purge → certificate → log proof, by those files alone.
    assert_eq!((&sample["outcome"], &sample["exceptions"]), (&"purged".into(), &Value::Array(Vec::new())));
    let terminated = exported(&log, sample["terminated_entry"].as_u64().unwrap());
    let act = &terminated["act"];
    assert_eq!((&act["event"], &act["tenant"]), (&"tenant-terminated".into(), &sample["tenant"]));
    assert_eq!((&terminated["proven"], &act["due"]), (&sample["terminated_at"], &sample["due_at"]));
    assert_eq!(seconds(&sample["due_at"]) - seconds(&sample["terminated_at"]), 7_776_000);
    assert!(seconds(&sample["purge_begun_at"]) >= seconds(&sample["due_at"]));
    let purged = exported(&log, sample["purged_entry"].as_u64().unwrap());
    assert_eq!((&purged["act"]["event"], &purged["act"]["tenant"]), (&"tenant-purged".into(), &sample["tenant"]));
    let certificate: Value = serde_json::from_str(&got).unwrap();
    let certified = &certificate["certificate"];
    assert_eq!((&certified["tenant"], &certified["due_at"]), (&sample["tenant"], &sample["due_at"]));
    assert_eq!((&certified["audit"]["index"], &certified["audit"]["hash"]), (&purged["index"], &purged["hash"]));
    let issued = exported(&log, sample["certificate_entry"].as_u64().unwrap());
    assert_eq!(issued["act"]["certificate"], sample["certificate_sha256"]);
    let verify = ["certificate", "verify", text(&cert), "--log-key", &key, "--checkpoint", text(&kept)];
    assert!(alone(&verify).ok().starts_with("valid; in the log as entry "));
    assert!(python(&[text(&cert), &key, text(&kept)]).ok().starts_with("valid; final; "));
    alone(&["audit", "verify", "--log", text(&log), "--log-key", &key, "--checkpoint", text(&kept)]).ok();

    // One that is still kept, and one whose certificate somebody threw away.
    assert_eq!(of(&ids[2])["outcome"], "waiting");
    fs::remove_file(server.data().join(format!("data/geo/europe/certificates/{}.json", ids[1]))).unwrap();
    let said = as_auditor(server, &["compliance", "population", "terminated", "--period", &year]).ok();
    let line = said.lines().find(|line| line.starts_with(&ids[1])).expect("it is listed all the same");
    assert!(line.contains("its certificate is missing"), "{said}");
    let wrong = as_auditor(server, &["compliance", "population", "terminated", "--period", "2026Q5"]);
    assert!(wrong.code() == Some(2) && wrong.stderr().contains("2026Q4"), "{}", wrong.stderr());
}

#[test]
fn r22_the_processors_record_fits_its_schema_and_says_what_is_missing() {
    let server = Launch::default().start();
    let id = tenant(&server, "no-contact", None);
    let export = ["compliance", "record", "export"];
    let incomplete = server.geoseal(&export);
    assert_eq!(incomplete.code(), Some(4), "{}", incomplete.stderr());
    let missing = format!("controller contact missing: tenant {id}");
    let record: Value = serde_json::from_str(&incomplete.stdout()).expect("it is printed all the same");
    assert!(incomplete.stderr().contains(&missing) && incomplete.stderr().contains("[compliance] processor"));
    assert!(record["incomplete"].as_array().unwrap().contains(&missing.into()), "{record}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schemas/processor-record.schema.json");
    let schema: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    fits(&record, &schema, &schema);

    let mut daemon = Daemon::start();
    daemon.terminate();
    let toml = fs::read_to_string(daemon.config()).unwrap();
    let compliance = "\n[compliance]\nprocessor = \"Example Ltd\"\ncontact = \"privacy@example.org\"\n\
        [[compliance.subprocessors]]\nname = \"Rack GmbH\"\npurpose = \"housing\"\nlocation = \"Frankfurt\"\n";
    fs::write(daemon.config(), toml + compliance).unwrap();
    daemon.serve();
    let consent = daemon.secret("consent.txt", "We agree.\n");
    let create =
        ["tenant", "create", "contoso", "--geo", "europe", "--home", "westeurope", "--consent", text(&consent)];
    daemon.geoseal(&[&create[..], &["--contact", "dpo@contoso.example"]].concat()).ok();
    let record = daemon.geoseal(&export).json();
    assert_eq!(record["incomplete"], Value::Array(Vec::new()));
    fits(&record, &schema, &schema);
    let of = |name: &str| record["controllers"].as_array().unwrap().iter().find(|c| c["name"] == name).cloned();
    assert_eq!(of("contoso").expect("an administrator sees names")["contact"], "dpo@contoso.example");
    assert_eq!(record["subprocessors"][0]["location"], "Frankfurt");
    let listed = daemon.geoseal(&["compliance", "subprocessors", "--json"]).json();
    assert_eq!((&listed["subprocessors"], &listed["processor"]), (&record["subprocessors"], &"Example Ltd".into()));
    assert!(record["transfers"].as_array().unwrap().is_empty() && !record["measures"].as_array().unwrap().is_empty());
}

/// The part of JSON Schema that the schema uses.
fn fits(value: &Value, schema: &Value, root: &Value) {
    if let Some(at) = schema["$ref"].as_str() {
        return fits(value, root.pointer(&at[1..]).expect("a reference within the schema"), root);
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(kinds.contains(&kind.into()), "{value} is no {kinds:?}");
    for item in value.as_array().into_iter().flatten() {
        fits(item, &schema["items"], root);
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let of = schema["properties"].get(name);
        fits(member, of.unwrap_or_else(|| panic!("{name} is not in the schema")), root);
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(name.as_str().unwrap()).is_some(), "{name} is missing");
    }
}

#[test]
fn r23_r51_controls_show_their_evidence_and_stale_evidence_is_flagged() {
    let server = Launch::default().flag("--simulated-clock").start();
    let control = |id: &str| {
        let all = server.geoseal(&["compliance", "controls", "--json"]).json();
        all["controls"].as_array().unwrap().iter().find(|c| c["id"] == id).expect("it is listed").clone()
    };
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!((&control("BCK-1")["status"], &control("RET-1")["status"]), (&"never".into(), &"fresh".into()));
    server.geoseal(&["backup", "create", "--out", text(&file(&server, "backup"))]).ok();
    server.geoseal(&["key", "rotate", "master", "--geo", "europe"]).ok();
    let made = control("BCK-1");
    assert_eq!((&made["status"], control("KEY-1")["status"].as_str()), (&"fresh".into(), Some("fresh")));
    let entry = server.geoseal(&["audit", "tail", "--geo", "europe", "-n", "1000", "--json"]).json();
    let entry = entry["entries"].as_array().unwrap().iter().find(|e| e["index"] == made["last_entry"]).unwrap().clone();
    assert_eq!(entry["event"], "backup-made", "the evidence is an entry of the log");
    server.geoseal(&["dev", "clock", "advance", "8d"]).ok();
    server.geoseal(&["sweep", "run"]).ok();
    assert_eq!((&control("BCK-1")["status"], &control("KEY-1")["status"]), (&"stale".into(), &"fresh".into()));
    let said = server.geoseal(&["compliance", "controls"]).ok();
    assert!(said.lines().any(|line| line.starts_with("BCK-1") && line.contains("STALE")), "{said}");
    // The schedule walked the whole log when a day was over, and put that on record.
    let begun = std::time::Instant::now();
    while control("LOG-1")["status"] != "fresh" {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "the log was not verified");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let runs = server.geoseal(&["sweep", "history", "--json"]).json();
    let runs = runs["runs"].as_array().unwrap();
    assert!(runs.len() >= 2, "{runs:?}");
    let (newest, oldest) = (&runs[0], &runs[runs.len() - 1]);
    assert!(seconds(&newest["started_at"]) - seconds(&oldest["started_at"]) >= 8 * 86_400, "{runs:?}");
    for run in runs {
        assert!(seconds(&run["ended_at"]) >= seconds(&run["started_at"]) && run["late_s"].is_u64(), "{run}");
    }
    let status = server.geoseal(&["sweep", "status"]).ok();
    for word in ["last began", "next", "late", "3600 s"] {
        assert!(status.contains(word), "{status}");
    }
    let config = server.data().join("geoseal.toml");
    let toml = fs::read_to_string(&config).unwrap();
    let daily = file(&server, "late.toml");
    fs::write(&daily, format!("sweep_interval_s = 86401\n{toml}")).unwrap();
    let refused = Ran::of(Command::new(binary()).args(["serve", "--config", text(&daily)]));
    assert!(refused.code() == Some(1) && refused.stderr().contains("sweep_interval_s = 86401"), "{}", refused.stderr());
}

#[test]
fn r26_d12_an_auditor_sees_no_name_on_any_route_and_changes_nothing() {
    let server = &*SERVER;
    let name = format!("{CANARY}-gmbh");
    let id = tenant(server, &name, Some(&format!("{CANARY}@example.org")));
    let login = server.geoseal(&["credential", "create", "--tenant", &name, "--json"]).json();
    let of = |field: &str| login[field].as_str().unwrap().to_owned();
    let who = Credentials { access_id: of("access_id"), secret: of("secret"), region: of("region") };
    let (bucket, object) = (format!("{CANARY}-bucket"), format!("{CANARY}/letter.json"));
    let call = |request: Request| {
        let mut wire = Wire::to(server);
        let host = wire.host().to_owned();
        wire.exchange(&request.signed(&who, &host, Body::Hashed)).expect("the server answers").status
    };
    assert_eq!(call(Request::new("PUT", &format!("/{bucket}"))), 200);
    let put = Request::new("PUT", &object_path(&bucket, &object)).body(CANARY);
    assert_eq!(call(put.header("x-amz-meta-geoseal-subject", CANARY)), 200);
    let worked = server.geoseal(&["key", "rotate", "tenant", &name, "--json"]).json();
    let operation = worked["id"].as_str().map_or_else(|| operation_of(server, &name), str::to_owned);
    let reencrypted = server.geoseal(&["key", "reencrypt", "--tenant", &name, "--bucket", &bucket, "--json"]).json();
    let wanted = format!("{CANARY}: nothing that names it may be seen");
    let http = |method: &str, path: &str| {
        let config = client_config(&server.authority(), ALL_VERSIONS);
        let mut wire = Wire::connect(server.admin(), config).expect("the admin listener answers");
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {AUDITOR}");
        let body =
            if method == "POST" { "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" } else { "\r\n" };
        wire.send(format!("{head}\r\n{body}").as_bytes()).expect("it takes a request");
        let answer = wire.answer(method).expect("it answers");
        (answer.status, answer.text())
    };
    let (status, document) = http("GET", "/admin/v1/openapi.json");
    assert_eq!(status, 200);
    let document: Value = serde_json::from_str(&document).unwrap();
    let (mut seen, mut refused) = (0, 0);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, route) in methods.as_object().unwrap() {
            let filled = path
                .replace("{tenant}", &id)
                .replace("{geo}", "europe")
                .replace("{number}", "1")
                .replace("{path}", "0/000.p/1");
            let filled =
                filled.replace("{id}", &operation).replace("{login}", &who.access_id).replace("{bucket}", &bucket);
            let query = match path.rsplit('/').next().unwrap() {
                "population" => "?period=2026",
                "keys" => "?count=true",
                _ if path.contains("audit/proof") => "?index=0",
                _ if path.contains("audit/growth") => "?since=1",
                _ => "",
            };
            let (status, body) = http(&method.to_uppercase(), &format!("{filled}{query}"));
            match route["x-geoseal-role"].as_str() {
                Some("admin" | "legal") => {
                    assert_eq!(status, 403, "{method} {path}");
                    refused += 1;
                }
                _ => {
                    assert_eq!(method, "get", "{path}: whoever only looks only gets");
                    assert!(!body.to_lowercase().contains(CANARY), "{wanted}: {method} {path}: {body}");
                    seen += u32::from(status == 200);
                }
            }
        }
    }
    assert!(seen >= 21 && refused >= 20, "{seen} routes answered, {refused} refused: {reencrypted}");
    // Not even when he asks by a name that he guessed; and the command line is no other way.
    for arguments in [vec!["residency", "prove", "--tenant", &id], vec!["key", "inventory"], vec!["key", "status"]] {
        let said = as_auditor(server, &arguments).ok();
        assert!(said.contains(&id) && !said.contains(CANARY), "{said}");
    }
    let proof = server.geoseal(&["residency", "prove", "--tenant", &id, "--json"]).json();
    let west = proof["regions"].as_array().unwrap().iter().find(|r| r["region"] == "westeurope").unwrap().clone();
    assert_eq!((&west["buckets"], &west["objects"]), (&1.into(), &1.into()), "{proof}");
    assert_eq!((proof["objects"].as_array().unwrap().len(), proof["transfers"].as_array().unwrap().len()), (1, 0));
    assert!(proof["exceptions"].as_array().unwrap().iter().all(|e| e["used"] == false));
    // Page by page, and into a file: each object once, buckets in any number.
    for more in ["more-1", "more-2"] {
        assert_eq!(call(Request::new("PUT", &format!("/{more}"))), 200);
        for name in ["a", "b"] {
            assert_eq!(call(Request::new("PUT", &object_path(more, name)).body("x")), 200);
        }
    }
    let (mut seen, mut after, mut pages) = (std::collections::BTreeSet::new(), String::new(), 0);
    loop {
        let (status, page) = http("GET", &format!("/admin/v1/compliance/residency/{id}?limit=1{after}"));
        assert_eq!(status, 200, "{page}");
        let page: Value = serde_json::from_str(&page).unwrap();
        assert_eq!(page["regions"].as_array().is_some(), pages == 0, "regions are counted once");
        for object in page["objects"].as_array().into_iter().flatten() {
            assert!(seen.insert(object["object"].to_string()), "listed twice: {object}");
        }
        pages += 1;
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert!(seen.len() == 5 && pages >= 3, "{seen:?} on {pages} pages");
    assert_eq!(http("GET", &format!("/admin/v1/compliance/residency/{id}?after=nowhere")).0, 400);
    let list = file(server, "objects.ndjson");
    let said = as_auditor(server, &["residency", "prove", "--tenant", &id, "--objects", text(&list)]).ok();
    let listed = fs::read_to_string(&list).unwrap();
    assert!(said.contains("5 objects, in") && listed.lines().count() == 5, "{said}");
    assert!(seen.iter().all(|object| listed.contains(object.as_str())) && !listed.contains(CANARY));

    let keys = server.geoseal(&["key", "inventory", "--json"]).json();
    let lines: Vec<_> = keys["keys"].as_array().unwrap().iter().filter(|k| k["tenant"] == id.as_str()).collect();
    assert!(
        lines.iter().any(|k| k["kind"] == "tdk" && k["version"] == 2 && k["last_rotation_at"].is_string()),
        "{keys}"
    );
}

/// Work on a tenant's keys that is remembered; its id.
fn operation_of(server: &Server, name: &str) -> String {
    let begun = server.geoseal(&["key", "rotate", "tenant", name, "--no-wait", "--json"]).json();
    begun["id"].as_str().expect("work has an id").to_owned()
}
